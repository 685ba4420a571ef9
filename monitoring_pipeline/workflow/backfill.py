"""A range of hours computed anew, by whoever asks for it, in this process and on record in Dagster's instance.

Add here what a backfill by hand needs beyond the hourly job. Keep what an hour is out: that belongs in hourly_assets.
"""

import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg
from dagster._core.utils import make_new_run_id

from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.errors import MonitoringError, Problem, SettingsError
from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.build import build_definitions
from monitoring_pipeline.workflow.hourly_assets import hourly_assets
from monitoring_pipeline.workflow.partitions import last_complete_hour, range_tags
from monitoring_pipeline.workflow.rehearsal import STORAGE
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.sensors import CATCH_UP_HOURS, IN_PROGRESS

STORED = ("drift_report", "performance_report", "quality_report", "operations_report", "verdicts")
"""Assets that are made of what is stored: after a change of thresholds, windows or rules nothing else is due."""


@dataclass(frozen=True, slots=True)
class Backfilled:
    """The hours of [start, end): the runs that computed them, their predictions, and in how many each rule fires."""

    start: datetime
    end: datetime
    runs: tuple[str, ...]
    predictions: int
    fired: dict[str, int]


def check_range(monitor: Monitor, start: datetime, end: datetime, *, now: datetime) -> None:
    """Refuse hours that cannot be computed."""
    over = min(last_complete_hour(now) + HOUR, monitor.end or now)
    for name, moment in {"--from": start, "--to": end}.items():
        if hour_of(moment) != moment:
            raise _wrong(name, moment, "is not a whole hour.", f"Write {hour_of(moment):%Y-%m-%dT%H:00}.")
    if start >= end:
        raise _wrong("--to", end, "is not after --from.", "It is the hour to stop before.")
    if start < monitor.start:
        raise _wrong("--from", start, "is before the monitor starts.", f"Begin at {monitor.start:%Y-%m-%dT%H:00}.")
    if end > over:
        raise _wrong("--to", end, "has hours that are not over, or not monitored.", f"Stop at {over:%Y-%m-%dT%H:00}.")


def _wrong(option: str, moment: datetime, message: str, fix: str) -> SettingsError:
    return SettingsError([Problem("command line", None, option, f"{moment:%Y-%m-%d %H:%M}Z {message}", fix)])


def backfill(
    monitor: Monitor, start: datetime, end: datetime, *, done: Callable[[int], None], stored: bool = False
) -> Backfilled:
    """Compute every hour of [start, end), a month in one run; `done` is told of each hour of each asset.

    `stored`: evaluate and judge again what is described and joined already; neither log is read.
    """
    monitoring, model = Monitoring(), monitor.registry_name
    check_range(monitor, start, end, now=monitoring.now())
    if not monitoring.references.any_of(model):
        fix = f"Run the job {monitor.model}__reference first: described now, these hours would stay without profiles."
        raise MonitoringError(f"backfill of {monitor.model}: no version of {model} has a reference. {fix}")
    runs: list[str] = []
    with _quiet(), _instance(monitoring) as instance:
        job = build_definitions([monitor], root=str(Path.cwd())).resolve_job_def(f"{monitor.model}__hourly")
        # One run of a model at a time, as the queue of the production stack has it: an older result must not land last.
        others = dg.RunsFilter(tags={"monitoring/model": monitor.model}, statuses=IN_PROGRESS)
        if running := instance.get_runs(others, limit=1):
            fix = "Wait for it: two runs would replace each other's hours."
            raise MonitoringError(f"backfill of {monitor.model}: a run of {running[0].job_name} is in progress. {fix}")
        first = start
        while first < end:
            last = min(first + (CATCH_UP_HOURS - 1) * HOUR, end - HOUR)
            runs.append(_run(job, instance, first, last, done, _keys(monitor, stored=stored)))
            first = last + HOUR
    served = monitoring.hourly.read_served(model, start, end)
    outcomes = monitoring.hourly.read_rules(model, start, end)
    fired = Counter(each.rule for hour in outcomes.values() for each in hour if each.state is RuleState.FIRING)
    return Backfilled(start, end, tuple(runs), sum(sum(rows.values()) for rows in served.values()), dict(fired))


def materialisations(monitor: Monitor, start: datetime, end: datetime, *, stored: bool = False) -> int:
    """Return how often `done` is called for [start, end)."""
    with _quiet():
        return round((end - start) / HOUR) * len(_keys(monitor, stored=stored))


def _keys(monitor: Monitor, *, stored: bool) -> list[dg.AssetKey]:
    keys = (key for each in hourly_assets(monitor) for key in each.keys)
    return [key for key in keys if key.path[-1] in STORED or not stored]


def _run(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    first: datetime,
    last: datetime,
    done: Callable[[int], None],
    assets: Sequence[dg.AssetKey],
) -> str:
    def heard(event: dg.EventLogEntry) -> None:
        if event.dagster_event is not None and event.dagster_event.is_step_materialization:
            done(1)

    run_id = make_new_run_id()
    instance.add_event_listener(run_id, heard)
    result = job.execute_in_process(
        instance=instance, run_id=run_id, tags=range_tags(first, last), raise_on_error=False, asset_selection=assets
    )
    if not result.success:
        failed = next(event for event in result.all_events if event.is_step_failure)
        error = failed.step_failure_data.error
        cause = error.cause or error if error else None
        why = (cause.message if cause else failed.message or "").strip()
        raise MonitoringError(f"backfill from {first:%Y-%m-%d %H:%M}Z: {failed.step_key} failed in run {run_id}: {why}")
    return run_id


@contextmanager
def _instance(monitoring: Monitoring) -> Iterator[dg.DagsterInstance]:
    """Open the instance DAGSTER_HOME names, or one beside the deployment's state."""
    if named := os.environ.get("DAGSTER_HOME"):  # noqa: TID251 - where Dagster itself looks
        if not Path(named).is_dir():
            raise MonitoringError(f"DAGSTER_HOME: {named} is no folder. Name that of the instance, or make it.")
        with dg.DagsterInstance.get() as instance:
            yield instance
        return
    home = (monitoring.deployment.state_directory / "dagster").absolute()
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        settings.write_text(STORAGE.format(home=home))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Dagster writes of every event off the terminal: it is all in the instance."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
