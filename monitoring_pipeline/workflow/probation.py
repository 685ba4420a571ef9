"""A new champion's first labelled rows: whether it is worse on them than the version it replaced, and what follows.

Add here what is looked at, and when. Keep the comparison out: it belongs in retrain.rollback.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg
import numpy as np
import pandas as pd

from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.publish.gate_report import plain
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.retrain.registry import ModelVersion
from monitoring_pipeline.retrain.rollback import Probation, look_at, replaced_version, rolled_back_from
from monitoring_pipeline.settings.logs import ParquetLog
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.jobs import op_job
from monitoring_pipeline.workflow.model_news import open_incident_once
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.rollback import RollbackAsked
from monitoring_pipeline.workflow.storage import rows_kept

SPAN = timedelta(days=30)
"""How long after its promotion a champion is looked at, unless its rows go before: later it shows in performance."""

ROWS, RESULT, PROPOSED = "probation_rows", "probation", "rollback_proposed_at"
"""Tags of a champion: the rows of its last look and since when it was champion, what came of it, and when it was found
to be worse."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A champion that is still looked at, and the version it replaced."""

    champion: ModelVersion
    previous: ModelVersion
    since: datetime

    @property
    def rows_seen(self) -> int:
        """Rows of the last look since this promotion."""
        rows, _, since = self.champion.tags.get(ROWS, "").partition(" since ")
        return int(rows) if since == self.since.isoformat() else 0

    @property
    def proposed_at(self) -> datetime | None:
        """When it was found to be worse, since this promotion."""
        at = self.champion.tags.get(PROPOSED)
        moment = None if at is None else datetime.fromisoformat(at)
        return moment if moment is not None and moment >= self.since else None


def standing_of(monitoring: Monitoring, monitor: Monitor) -> Standing | None:
    """Return the champion with the version it replaced; None where there is nothing to compare it with, or no more."""
    if monitor.task not in (Task.BINARY, Task.REGRESSION) or monitor.columns.version is None:
        return None
    versions = monitoring.registry.versions(monitor.registry_name)
    champion = next((each for each in versions if CHAMPION in each.aliases), None)
    if champion is None or "deployed_at" not in champion.tags or rolled_back_from(versions, champion.version):
        return None
    since, previous = datetime.fromisoformat(champion.tags["deployed_at"]), replaced_version(versions, champion.version)
    kept = rows_kept(monitor) if isinstance(monitor.log, ParquetLog) else None  # other logs are nobody's to tidy
    if previous is None or monitoring.now() - since > min(SPAN, kept or SPAN):
        return None
    return Standing(champion, previous, since)


def probation_of(monitor: Monitor) -> Probation:
    """Return what the monitor asks of a new champion."""
    return monitor.retraining.rollback.probation(monitor.retraining.metric)


def look_at_champion(monitoring: Monitoring, monitor: Monitor) -> list[str]:
    """Compare the champion with the version it replaced, and tell once where it is worse; returns each look in words.

    Both score the first rows that the champion served and whose labels are known, in the order these came, a few of
    each hour.
    """
    standing, probation = standing_of(monitoring, monitor), probation_of(monitor)
    if standing is None:
        return []
    rows = _first_rows(monitoring, monitor, standing)[: probation.rows]
    if len(rows) < probation.looks[0]:
        return []
    old, new = (_scores(monitoring, monitor, each.version, rows) for each in (standing.previous, standing.champion))
    times = rows[monitor.columns.predicted_at].dt.tz_localize(None)
    looks = look_at(rows["actual"].to_numpy(dtype=np.float64), old, new, times, probation)
    names = f"version {standing.champion.version}", f"version {standing.previous.version}"
    lines = [
        f"{names[0]} is {'worse' if look.is_worse else 'not worse'} than {names[1]} on its first {look.rows} labelled "
        f"rows: {probation.metric} {look.champion:.4f} against {look.previous:.4f}, {look.z:+.2f} standard errors, "
        f"limit {look.limit:.2f}"
        for look in looks
    ]
    tell = monitoring.registry.set_tags
    worse = next((line for look, line in zip(looks, lines, strict=True) if look.is_worse), None)
    if worse is not None:
        at = standing.proposed_at or monitoring.now()
        tell(monitor.registry_name, standing.champion.version, {PROPOSED: at.isoformat()})
        command = f'monitoring-pipeline rollback {monitor.model} --to {standing.previous.version} --why "it is worse"'
        cure = "it is rolled back" if monitor.retraining.rollback.automatic else f"take it back: {command}"
        open_incident_once(monitoring, monitor, f"{worse}; {cure}", author="probation", at=at, severity="warning")
    # Last: a look that was cut short is taken again.
    seen = f"{looks[-1].rows} since {standing.since.isoformat()}"
    tell(monitor.registry_name, standing.champion.version, {RESULT: worse or lines[-1], ROWS: seen})
    return lines


def _first_rows(monitoring: Monitoring, monitor: Monitor, standing: Standing) -> pd.DataFrame:
    now = monitoring.now()
    table = monitoring.stages(monitor).labelled_rows(hour_of(standing.since), hour_of(now) + HOUR, as_of=now)
    rows: pd.DataFrame = table.to_pandas()
    if rows.empty:
        return rows
    served = rows[str(monitor.columns.version)] == standing.champion.version
    actual = pd.to_numeric(rows["actual"], errors="coerce")
    usable = actual.isin([0, 1]) if monitor.task is Task.BINARY else actual.abs() < np.inf
    known = rows.assign(actual=actual)[served & usable]
    known = known.sort_values(["labelled_at", monitor.columns.prediction_id], kind="stable")
    hours = known[monitor.columns.predicted_at].dt.floor("h")
    return known[known.groupby(hours).cumcount() < probation_of(monitor).most_of_an_hour]


def _scores(monitoring: Monitoring, monitor: Monitor, version: str, rows: pd.DataFrame) -> np.ndarray:
    from monitoring_pipeline.serve.scoring import load_scorer

    uri, trusted = monitoring.deployment.tracking_uri, monitor.retraining.trusted_types
    scorer = load_scorer(uri, monitor.registry_name, version, trusted, task=monitor.task)
    return scorer.score(rows[list(monitor.features.kinds())])


def probation_job(monitor: Monitor) -> dg.JobDefinition:
    """Return the job that compares a new champion with the version it replaced."""

    @dg.op(name=f"{monitor.model}__compare_with_previous")
    def compare_with_previous(context: dg.OpExecutionContext, monitoring: Monitoring) -> None:
        looks = look_at_champion(monitoring, monitor)
        context.add_output_metadata({"looks": dg.MetadataValue.md("\n".join(f"- {plain(look)}" for look in looks))})

    said = "Compare a new champion with the version it replaced, on the first rows it served. "
    name = f"{monitor.model}__probation"
    return op_job(name, f"{said}The sensor probation starts it.", compare_with_previous, model=monitor.model)


def probation_sensor(
    monitor: Monitor, looking: dg.JobDefinition, rollback: dg.JobDefinition, *, seconds: int
) -> dg.SensorDefinition:
    """Return the sensor that has a new champion looked at, and rolled back where that is automatic."""

    @dg.sensor(
        name=f"{monitor.model}__probation",
        jobs=[looking, rollback],
        minimum_interval_seconds=seconds,
        description="Has a new champion compared with the one before it, when enough of its rows have labels.",
    )
    def probation(monitoring: Monitoring) -> dg.SensorResult | dg.SkipReason:
        standing, looks = standing_of(monitoring, monitor), probation_of(monitor).looks
        if standing is None:
            return dg.SkipReason("the champion has no predecessor to be compared with, or not any more")
        promotion = f"v{standing.champion.version}:{standing.since.isoformat()}"
        if standing.proposed_at is not None and standing.rows_seen:
            if not monitor.retraining.rollback.automatic:
                return dg.SkipReason(f"a rollback was proposed: {standing.champion.tags.get(RESULT)}")
            why = str(standing.champion.tags.get(RESULT))
            asked = RollbackAsked(reason=why, by="probation", version=standing.previous.version)
            config = dg.RunConfig(ops={f"{monitor.model}__roll_back": asked})
            request = dg.RunRequest(run_key=f"rollback:{promotion}", job_name=rollback.name, run_config=config)
            return dg.SensorResult(run_requests=[request])
        if standing.rows_seen >= looks[-1]:
            return dg.SkipReason(f"looked at: {standing.champion.tags.get(RESULT)}")
        labelled = _labelled(monitoring, monitor, standing)
        due = max((rows for rows in looks if rows <= labelled), default=0)
        if due <= standing.rows_seen:
            return dg.SkipReason(f"{labelled} labelled rows, the next look is at {_next(looks, standing.rows_seen)}")
        # Once an hour: a look that failed is tried again, and no more often.
        key = f"probation:{promotion}:{due}:{hour_of(monitoring.now()):%Y-%m-%dT%H}"
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key, job_name=looking.name)])

    return probation


def _next(looks: tuple[int, ...], seen: int) -> int:
    return next(rows for rows in looks if rows > seen)


def _labelled(monitoring: Monitoring, monitor: Monitor, standing: Standing) -> int:
    """Return how many labelled rows of the champion are on record: cheap, where rows themselves are not."""
    start, end = hour_of(standing.since), hour_of(monitoring.now()) + HOUR
    tables = monitoring.hourly.read("outcomes", monitor.registry_name, start, end, ["version", "labelled"])
    rows, most = (row for table in tables.values() for row in table.to_pylist()), probation_of(monitor).most_of_an_hour
    return sum(min(row["labelled"], most) for row in rows if row["version"] == standing.champion.version)
