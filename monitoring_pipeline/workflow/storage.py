"""The job that keeps a deployment small: hours become days, what is old enough goes, and so do Dagster's old runs.

Add here what has to be done once a day for all models. Keep what goes at which age out: it belongs in stores.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.settings.retention import Retention
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.hours import DAY
from monitoring_pipeline.stores.objects import Place
from monitoring_pipeline.stores.retention import Limits, Removal, compact, remove_expired, remove_training_rows
from monitoring_pipeline.workflow.episodes import EPISODE_TAG
from monitoring_pipeline.workflow.jobs import op_job
from monitoring_pipeline.workflow.reports import performance_reach
from monitoring_pipeline.workflow.resources import Monitoring, wall_clock
from monitoring_pipeline.workflow.stages import DIAGNOSED_SPAN

FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
LATEST = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION)
"""Events of which the UI shows the latest of every partition."""

PAGE = 500


class Upkeep(dg.Config):
    """`keep_runs_days`: how long finished runs stay in Dagster; with `dry_run` nothing is changed."""

    keep_runs_days: int = 30
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Tidied:
    """What was done, or with a dry run would be done, for one model."""

    model: str
    files_saved: int
    removed: tuple[Removal, ...]

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.removed)


def limits_of(monitor: Monitor, now: datetime) -> Limits | None:
    """Return what of a model may go by now, None where nothing may; what an hour of today looks back at stays."""
    asked = monitor.retention
    if asked is None:
        return None
    drift, volume, rows = monitor.drift_policy(), monitor.quality.volume_policy(monitor.lengths), rows_kept(monitor)
    hours = max(
        *(asked.warm, drift.reach, performance_reach(monitor), volume.reach, DIAGNOSED_SPAN),
        *(monitor.labels_policy().reach, monitor.objectives_policy().period),
    )
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return Limits(
        # A day more, for the hours of today that are still to come.
        rows=None if rows is None else midnight - rows - DAY,
        hours=midnight - hours - DAY,
        days=midnight - max(asked.cold, hours) - DAY,
        periods=drift.periods,
    )


def rows_kept(monitor: Monitor) -> timedelta | None:
    """Return for how long rows as they were logged stay at least; None for ever."""
    asked, training = monitor.retention, monitor.retraining
    trained_on = timedelta(0) if training.trainer is None else training.training_window
    if asked is None or trained_on is None:  # a training set of all there is needs all of it
        return None
    return max(asked.hot, monitor.labels.max_delay, trained_on + training.holdout + monitor.labels.maturity)


def tidy(monitor: Monitor, place: Place, now: datetime, *, here: Path | None = None, dry_run: bool) -> Tidied:
    """Make one file a day of old hourly ones, and remove what has expired.

    `here` is the folder of this machine that retrainings work in, where it is not `place`.
    """
    store, model, limits = HourlyStore(place), monitor.registry_name, limits_of(monitor, now)
    before = (now - (monitor.retention or Retention()).hot).replace(hour=0, minute=0, second=0, microsecond=0)
    removed = remove_expired(store, place, model, limits, dry_run=dry_run) if limits is not None else []
    if limits is not None and isinstance(folder := here or place, Path):
        removed += remove_training_rows(folder / "retraining" / monitor.model, before, dry_run=dry_run)
    saved = 0 if dry_run else compact(store, place, model, before=before)
    return Tidied(monitor.model, saved, tuple(removed))


def prune_runs(instance: dg.DagsterInstance, *, before: datetime, dry_run: bool = False) -> int:
    """Delete runs that were created before a moment and are over, with their event logs; returns how many.

    Those stay that hold the latest materialisation of anything: it is what the UI shows. So do retrainings, whose
    episodes are started once by the id of their run.
    """
    needed, doomed = _latest(instance), list[str]()
    filters = dg.RunsFilter(statuses=list(FINISHED), created_before=before)
    cursor: str | None = None
    while page := instance.get_run_records(filters, limit=PAGE, cursor=cursor):
        cursor = page[-1].dagster_run.run_id
        runs = (record.dagster_run for record in page)
        doomed += [run.run_id for run in runs if run.run_id not in needed and EPISODE_TAG not in run.tags]
    for run_id in () if dry_run else doomed:
        instance.delete_run(run_id)
    return len(doomed)


def _latest(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs with the latest event of every partition of every asset; one question, not one for each asset."""
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise MonitoringError(f"event log of {type(storage).__name__}: not in a database, so its runs are left alone.")
    kinds = Events.c.dagster_event_type.in_([kind.value for kind in LATEST])
    newest = sa.select(sa.func.max(Events.c.id)).where(kinds, Events.c.asset_key.is_not(None))
    newest = newest.group_by(Events.c.asset_key, Events.c.partition, Events.c.dagster_event_type)
    with storage.index_connection() as connection:
        return {row[0] for row in connection.execute(sa.select(Events.c.run_id).where(Events.c.id.in_(newest)))}


def storage_job(monitors: Mapping[str, Monitor]) -> dg.JobDefinition:
    """Return the job; a model whose files cannot be tidied does not keep those of others from it."""

    @dg.op
    def tidy_files(context: dg.OpExecutionContext, config: Upkeep, monitoring: Monitoring) -> None:
        failed, removed = [], {}
        for name, monitor in monitors.items():
            try:
                now, here = monitoring.now(), monitoring.data
                done = tidy(monitor, monitoring.kept, now, here=here, dry_run=config.dry_run)
            except (MonitoringError, OSError) as error:
                failed.append(f"{name}: {error}")
                continue
            context.log.info(f"{name}: {done.files_saved} files fewer, {done.bytes:,} bytes expired")
            if done.removed:
                removed[name] = dg.MetadataValue.json(
                    [asdict(each) | {"before": f"{each.before:%Y-%m-%d}"} for each in done.removed]
                )
        context.add_output_metadata(removed)
        if failed:
            raise MonitoringError("\n".join(failed))

    @dg.op
    def prune_event_logs(context: dg.OpExecutionContext, config: Upkeep) -> None:
        # By the wall clock, which runs are dated by also where a replay has another.
        before = wall_clock() - timedelta(days=config.keep_runs_days)
        deleted = prune_runs(context.instance, before=before, dry_run=config.dry_run)
        context.add_output_metadata({"runs_deleted": deleted})

    return op_job(
        "tidy_storage",
        "Make daily files of old hourly ones, remove what has expired, and delete Dagster's runs of more than a month "
        "ago that nothing needs. The schedule every_night starts it.",
        tidy_files,
        prune_event_logs,
    )


def storage_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Return the schedule of the job, after the daily reports."""
    return dg.ScheduleDefinition(
        name="every_night",
        job=job,
        cron_schedule="20 3 * * *",
        execution_timezone="UTC",
        description="Has files and event logs tidied once a day. Switch it on where a deployment is to stay small.",
    )
