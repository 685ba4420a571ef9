"""What was changed around a model, as it was recorded: versions, the registry, and assets upstream of its logs.

Add a place where changes are recorded here. Keep out what a change has caused: it belongs in judge. Nothing is guessed:
an alias that was moved by hand leaves no time in MLflow, and is not told.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import dagster as dg

from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.judge.recorded_facts import Change, ChangeKind
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.retrain.registry import ModelVersion
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.workflow.resources import Monitoring

_log = logging.getLogger(__name__)

EVENTS_PER_ASSET = 25
"""Newest materialisations and observations looked at of each asset: an hourly one shows that it is hourly."""

MOST_ASSETS = 50
COMPARED_VERSIONS = 3
"""Changes of version whose contents are compared, the newest: models are downloaded for it."""

MOST_DIFFERENCES = 10

TOLD_BY_TAGS = {
    "deployed_at": f"became {CHAMPION}",
    "replaced_at": f"was replaced as {CHAMPION}",
    "rejected_at": "was not promoted",
}
REASONS = {"deployed_at": "promotion_reason", "replaced_at": "replaced_by", "rejected_at": "rejection_reason"}
"""Tags with times that promotions leave, what they tell, and the tag that says more."""


def changes_before(
    instance: dg.DagsterInstance | None,
    monitoring: Monitoring,
    monitor: Monitor,
    start: datetime,
    end: datetime,
    *,
    upstream: Collection[dg.AssetKey] | None = None,
) -> list[Change]:
    """Return what is on record as changed in [start, end), oldest first.

    `upstream` are the assets whose events count: those of `upstream_of`, or the two logs alone where the graph
    of assets is not known. What cannot be read is left out, and logged.
    """
    served = monitoring.hourly.read_served(monitor.registry_name, start, end)
    found = versions_that_began(served)
    try:
        found += _of_registry(monitoring.registry, monitor.registry_name, found, start, end)
    except RegistryError as error:
        _log.warning("changes of %s in the registry are not known: %s", monitor.registry_name, error)
    if instance is not None:
        for key in sorted(upstream or logs_of(monitor))[:MOST_ASSETS]:
            found += _events(instance, key, start, end)
    return sorted(found, key=lambda change: change.at)


def logs_of(monitor: Monitor) -> list[dg.AssetKey]:
    """Return the assets that everything the monitor knows comes from."""
    return [dg.AssetKey([monitor.model, name]) for name in ("prediction_log", "label_log")]


def upstream_in(context: dg.OpExecutionContext, monitor: Monitor) -> list[dg.AssetKey]:
    """Return `upstream_of` for the code location a run belongs to; one executed in process belongs to none."""
    try:
        repository = context.repository_def
    except Exception:  # noqa: BLE001 - the error Dagster raises is not part of its interface
        return logs_of(monitor)
    return upstream_of(repository, monitor)


def upstream_of(assets: dg.RepositoryDefinition, monitor: Monitor) -> list[dg.AssetKey]:
    """Return the logs of a monitor and all their ancestors in the graph of assets, whatever their keys."""
    graph, logs = assets.asset_graph, logs_of(monitor)  # a selection would leave out what Dagster does not materialise
    known = [key for key in logs if graph.has(key)]
    return sorted({*logs, *(ancestor for key in known for ancestor in graph.get_ancestor_asset_keys(key))})


def versions_that_began(served: Mapping[datetime, Mapping[str, int]]) -> list[Change]:
    """Return when another version began to answer most requests; `served` counts them by hour and version."""
    leading = [(hour, max(counts, key=lambda v: (counts[v], v))) for hour, counts in sorted(served.items()) if counts]
    return [
        Change(hour, ChangeKind.MODEL_VERSION, f"version {version}", f"began to serve instead of version {before}")
        for (_, before), (hour, version) in pairwise(leading)
        if version != before
    ]


def _of_registry(
    registry: MlflowRegistry, model: str, began: Sequence[Change], start: datetime, end: datetime
) -> list[Change]:
    versions = {version.version: version for version in registry.versions(model)}
    found = [change for version in versions.values() for change in _of_version(version) if start <= change.at < end]
    for change in began[-COMPARED_VERSIONS:]:
        before, after = (versions.get(text.rpartition(" ")[2]) for text in (change.detail, change.what))
        if before is not None and after is not None:
            found += _differences(registry, before, after, change.at)
    return found


def _of_version(version: ModelVersion) -> Iterator[Change]:
    name = f"version {version.version}"
    yield Change(version.created_at, ChangeKind.REGISTERED, name, f"was registered from run {version.run_id}")
    for tag, words in TOLD_BY_TAGS.items():
        try:
            at = datetime.fromisoformat(version.tags.get(tag, ""))
        except ValueError:
            continue
        more = version.tags.get(REASONS[tag])
        yield Change(at.astimezone(UTC), ChangeKind.ALIAS, name, f"{words} ({more})" if more else words)


def _differences(registry: MlflowRegistry, before: ModelVersion, after: ModelVersion, at: datetime) -> Iterator[Change]:
    try:
        old, new = registry.contents(before), registry.contents(after)
    except RegistryError as error:
        _log.warning("versions %s and %s cannot be compared: %s", before.version, after.version, error)
        return
    for kind in (ChangeKind.REQUIREMENTS, ChangeKind.CONFIGURATION, ChangeKind.ARTIFACT):
        names = sorted(old[kind].keys() | new[kind].keys())
        differing = [name for name in names if old[kind].get(name) != new[kind].get(name)]
        words = [f"{name} {_shown(old[kind].get(name))} → {_shown(new[kind].get(name))}" for name in differing]
        if words:
            more = f" and {len(words) - MOST_DIFFERENCES} more" if len(words) > MOST_DIFFERENCES else ""
            of = f"{kind} of version {after.version} against {before.version}"
            yield Change(at, kind, of, ", ".join(words[:MOST_DIFFERENCES]) + more)


def _shown(value: str | None) -> str:
    return "none" if value is None else value or "any"


def _events(instance: dg.DagsterInstance, key: dg.AssetKey, start: datetime, end: datetime) -> Iterator[Change]:
    asked = dg.AssetRecordsFilter(asset_key=key, after_timestamp=start.timestamp(), before_timestamp=end.timestamp())
    name = key.to_user_string()
    for what, fetch in (("materialised", instance.fetch_materializations), ("observed", instance.fetch_observations)):
        for record in fetch(asked, limit=EVENTS_PER_ASSET).records:
            partition = f", partition {record.partition_key}" if record.partition_key else ""
            run = f" by run {record.run_id}" if record.run_id else ""
            at = datetime.fromtimestamp(record.timestamp, UTC)
            yield Change(at, ChangeKind.UPSTREAM_ASSET, name, f"{what}{partition}{run}")
