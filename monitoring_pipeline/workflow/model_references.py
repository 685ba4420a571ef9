"""From the reference rows logged with a model version to its Reference.

Add what a version's tags or logged columns say about its reference here. Keep describing out: it belongs in describe.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from monitoring_pipeline.describe.reference_building import build_reference
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import ReferenceError, RegistryError
from monitoring_pipeline.retrain.registry import ModelRegistry, ModelVersion
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.mlflow_reference import REFERENCE_COLUMNS, REFERENCE_ROWS
from monitoring_pipeline.stores.mlflow_signature import signature_types
from monitoring_pipeline.workflow.resources import Monitoring

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReferenceRoles:
    """What the columns of logged reference rows are for (`log_reference`)."""

    time: str
    score: str | None = None
    prediction: str | None = None
    label: str | None = None
    importances: Mapping[str, float] = field(default_factory=dict)


def read_reference_rows(registry: ModelRegistry, version: ModelVersion) -> tuple[pa.Table, ReferenceRoles]:
    """Return the rows a training script logged with a version, and the roles of their columns."""
    where, roles = f"{version.name} v{version.version}", registry.read_json(version, REFERENCE_COLUMNS)
    try:
        named = TypeAdapter(ReferenceRoles).validate_python(roles)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = "".join(f" {part}:" for part in problem["loc"])
        raise ReferenceError(
            f"{where}: {REFERENCE_COLUMNS}:{place} {problem['msg']}. Log it again with log_reference."
        ) from None
    rows = registry.read_parquet(version, REFERENCE_ROWS)
    if named.time not in rows.column_names or not pa.types.is_timestamp(rows.schema.field(named.time).type):
        raise ReferenceError(f"{where}: {REFERENCE_ROWS} has no times in a column {named.time!r}. Log it again.")
    return rows, named


def reference_rows(monitoring: Monitoring, monitor: Monitor, version: ModelVersion) -> tuple[pa.Table, ReferenceRoles]:
    """Return the logged reference rows of a version as they may be shown, outputs named as in the monitor's log."""
    rows, roles = read_reference_rows(monitoring.registry, version)
    rows = monitor.privacy.protection(monitoring.secret, model=monitor.model).redact(rows)
    renamed = {roles.score: monitor.columns.score, roles.prediction: monitor.columns.prediction}
    return rows.rename_columns([renamed.get(name) or name for name in rows.column_names]), roles


def build_version_reference(monitoring: Monitoring, monitor: Monitor, version: ModelVersion) -> Reference:
    """Return the reference of a version, from the rows its training script logged with log_reference."""
    rows, roles = reference_rows(monitoring, monitor, version)
    specs = monitor.column_specs()
    missing = sorted({spec.read_from for spec in specs}.difference(rows.column_names))
    if missing:
        raise ReferenceError(
            f"{version.name} v{version.version}: its reference rows lack {', '.join(missing)}, which the "
            f"monitor watches; they have {', '.join(rows.column_names)}. Log them with log_reference, or correct the "
            "monitor's YAML."
        )
    return build_reference(
        rows,
        specs,
        model=version.name,
        version=version.version,
        computed_at=monitoring.now(),
        time=roles.time,
        label=roles.label,
        plan=monitor.reference_plan(),
        importances=roles.importances,
        signature=_signature(monitoring, version),
        trained_until=_moment(version),
    )


def _signature(monitoring: Monitoring, version: ModelVersion) -> dict[str, str]:
    """Return the types the model asks for; a version without a readable signature is watched all the same."""
    try:
        return signature_types(monitoring.deployment.tracking_uri, version.name, version.version)
    except RegistryError as error:
        _log.warning("no signature: %s", error)
        return {}


def _moment(version: ModelVersion) -> datetime | None:
    text = version.tags.get("trained_until")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fix = "Write it as 2026-11-20T06:00:00+00:00."
        raise ReferenceError(f"{version.name} v{version.version}: tag trained_until is {text!r:.60}. {fix}") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
