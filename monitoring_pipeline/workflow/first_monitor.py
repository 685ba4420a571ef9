"""The first YAML file of a monitor, from rows or from a registered version; no orchestrator needed.

Keep settings with good defaults out: the file is to stay as small as works. Keep guessing out: it belongs in describe.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.predictions import LogColumns, as_utc
from monitoring_pipeline.capture.windows import hour_of
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.guesses import NAMES, GuessedModel, guess_model, guess_roles
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import RegistryError, TableError
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.settings.sections import Drift
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.mlflow_signature import signature_types

DAY = timedelta(days=1)
FEWEST = 100
"""Rows that drift is looked for in at least, however few there are in a week."""

NEEDED = {
    ("prediction_id",): "the id of a prediction (--id)",
    ("predicted_at",): "the time of a prediction (--time)",
    ("score", "prediction"): "the score (--score) or what was predicted (--prediction)",
}
"""Columns without which nothing can be monitored."""

_PLAIN = re.compile(r"(?!(?i:null|true|false|yes|no|on|off|y|n)$)[A-Za-z_][\w.-]*")


@dataclass(frozen=True, slots=True)
class FirstMonitor:
    """What the file says, what it was made from, what was guessed, by key, and the columns it leaves out, with why."""

    document: Mapping[str, Any]
    source: str
    guesses: Mapping[str, str]
    left_out: Mapping[str, str] = field(default_factory=dict)
    has_labels: bool = False

    def text(self) -> str:
        """Return the YAML."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"# From {self.source}. What is left out has a default: docs/bring-your-own-model.md."
        for key, value in self.document.items():
            comment = f" # {self.guesses[key]}" if key in self.guesses else ""
            if key == "features":
                yield f"features:{comment}"
                yield from (f"  {kind}: {_yaml(names)}" for kind, names in value.items())
            else:
                yield f"{key}: {_yaml(value)}{comment}"
        for name, why in self.left_out.items():
            yield f"# left out: {json.dumps(name)}, {why}"


def monitor_of_rows(
    rows: pa.Table, *, model: str, source: str, told: Mapping[str, str], task: Task | None = None
) -> FirstMonitor:
    """Return the monitor of a table of predictions; `told` names the columns with a role, the others are guessed."""
    if rows.num_rows == 0:
        raise TableError(f"{source}: no rows. Give rows of predictions, the more the better.")
    roles, guesses = guess_roles(rows, told, source)
    for wanted, what in NEEDED.items():
        if not roles.keys() & set(wanted):
            raise TableError(
                f"{source}: no column is {what}; it has {', '.join(map(repr, rows.column_names))}. "
                "Name the column, or add one to the file."
            )
    times = pc.min_max(as_utc(rows[roles["predicted_at"]], name=roles["predicted_at"], table=source)).as_py()
    found = guess_model(rows, roles, task)
    columns = _unusual(roles, ("prediction_id", "predicted_at", "version"), LogColumns()) | dict(found.columns)
    labels: dict[str, str] = {}
    if "actual" in roles:
        if "labelled_at" not in roles:
            roles["labelled_at"] = roles["predicted_at"]
            guesses["labels"] = "labelled_at: as if known at once; name the time they really become known"
        labels = _unusual(roles, ("prediction_id", "actual", "labelled_at"), LabelColumns())
    if named := [f"{role} is {column}" for role, column in guesses.items() if role in NAMES]:
        guesses["columns"] = f"by their names: {', '.join(named)}; check them"
    told_apart = {key: why for key, why in guesses.items() if key not in NAMES}
    a_day = rows.num_rows / max((times["max"] - times["min"]) / DAY, 1.0)
    more = {"columns": columns, "labels": labels} | _for_traffic(a_day, rows.num_rows)
    if "windows" in more:
        told_apart["windows"] = f"{a_day:,.0f} rows a day are few: a week of them says something"
    source = f"{source}, {rows.num_rows:,} rows"
    first = _first(model, times["min"], found, more, source=source, guesses=told_apart)
    return replace(first, has_labels="actual" in roles)


def _for_traffic(a_day: float, rows: int) -> dict[str, Any]:
    """Return the settings without which little would be known of a model that is rarely asked."""
    if a_day >= Drift().min_rows:
        return {}
    a_week = min(round(7 * a_day), rows)
    fewer = {} if a_week >= Drift().min_rows else {"drift": {"min_rows": max(FEWEST, a_week // 2)}}
    return {"windows": ["1h", "7d"]} | fewer


def _unusual(roles: Mapping[str, str], wanted: Iterable[str], usual: LogColumns | LabelColumns) -> dict[str, str]:
    return {role: roles[role] for role in wanted if role in roles and roles[role] != getattr(usual, role)}


def monitor_of_version(registry: MlflowRegistry, name: str, version: str, task: Task | None = None) -> FirstMonitor:
    """Return the monitor of a registered version: from its logged reference rows, or else from its signature."""
    from monitoring_pipeline.workflow.model_references import read_reference_rows

    found = registry.version(name, version)
    source = f"{name} v{found.version}"
    try:
        rows, known = read_reference_rows(registry, found)
    except RegistryError:
        types = signature_types(registry.tracking_uri, name, found.version)
        if not types:
            raise RegistryError(
                f"{source}: neither reference rows nor a signature that names columns. Log its reference with "
                "log_reference, or write the monitor from a file: init --from-file rows.parquet."
            ) from None
        kinds = {column: _kind_of_signature(type_) for column, type_ in types.items()}
        told = {"features": "by the signature: no reference rows are logged, call log_reference"}
        told |= {} if task else {"task": "a guess: nothing tells"}
        return _first(
            name, found.created_at, GuessedModel(task or Task.BINARY, {}, kinds), {}, source=source, guesses=told
        )
    roles = {"predicted_at": known.time, "score": known.score, "prediction": known.prediction, "actual": known.label}
    model = guess_model(rows, {role: column for role, column in roles.items() if column is not None}, task)
    # The names of a log may differ from those of the rows: only what is not logged at all is told.
    columns = {role: None for role, column in model.columns.items() if column is None}
    return _first(name, found.created_at, model, {"columns": columns}, source=source, guesses={})


def _first(
    name: str, start: datetime, model: GuessedModel, more: Mapping[str, Any], *, source: str, guesses: Mapping[str, str]
) -> FirstMonitor:
    short = re.sub(r"\W", "_", name)
    document: dict[str, Any] = {"model": short} | ({} if short == name else {"registered_model": name})
    document["start"] = f"{hour_of(start):%Y-%m-%dT%H:%MZ}"
    document |= {} if model.task is Task.BINARY and "task" not in guesses else {"task": model.task.value}
    document |= {"classes": list(model.classes)} if model.classes else {}
    document |= {key: value for key, value in more.items() if value}
    features = {kind.value: [each for each, own in model.kinds.items() if own is kind] for kind in ColumnKind}
    document["features"] = {kind: names for kind, names in features.items() if names}
    if not model.kinds:
        raise TableError(f"{source}: no column is left for a feature. {'; '.join(model.left_out.values())}.")
    parse_monitor(document, name=source)  # what is written must be right
    return FirstMonitor(document, source, guesses, model.left_out)


def _kind_of_signature(type_: str) -> ColumnKind:
    kinds = {"string": ColumnKind.CATEGORICAL, "boolean": ColumnKind.BOOLEAN, "datetime": ColumnKind.DATETIME}
    return kinds.get(type_.removeprefix("optional "), ColumnKind.NUMERIC)


def _yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, str) and not (_PLAIN.fullmatch(value) or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", value)):
        return json.dumps(value)
    return "null" if value is None else str(value)
