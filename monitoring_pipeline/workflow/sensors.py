"""Sensors of one monitor: missed hours, late labels, alerting, retraining, new model versions; and the outbox.

Add a sensor here when something outside a schedule has to start a run. Keep it thin (a tick has 60 seconds): it looks
at stores, asks a pure function, and requests runs whose keys make repeating it harmless.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import dagster as dg

from monitoring_pipeline.capture.labels import hours_of_labels_ahead
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.errors import ReferenceError, RegistryUnreachableError
from monitoring_pipeline.evaluate.heartbeats import DAEMON
from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.notify.alerts import Status
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.settings.logs import ParquetLog
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.files import digest
from monitoring_pipeline.stores.parquet import ParquetPredictionLog
from monitoring_pipeline.workflow.alerting import evaluated, notifications_of
from monitoring_pipeline.workflow.heartbeats import beat
from monitoring_pipeline.workflow.jobs import AssetJob
from monitoring_pipeline.workflow.partitions import hour_of_key, last_complete_hour, range_tags, ranges
from monitoring_pipeline.workflow.resources import Monitoring, wall_clock
from monitoring_pipeline.workflow.telling import deployment_channels, due_now, waiting_for

CATCH_UP_HOURS = 31 * 24
"""Hours made good in one run after an absence: a month, so that a year takes twelve bounded runs."""

GRACE = timedelta(minutes=15)
"""How long an hour that is over is left to the schedule before it counts as missed."""

WRITTEN_LAST = ("verdicts", "diagnoses")
"""Where an hour has these it has all there is of one: a run that fails, as when a disk is full, ends before."""

LATE_PREDICTIONS = timedelta(days=7)
"""How long it is watched whether an hour gets more predictions: a service that was killed may have kept some."""

RETRY_EVERY = timedelta(minutes=15)
"""How often hours whose run failed are tried again: an hour that cannot be processed must not start a run a minute."""

ALL_ASSETS = "__ASSET_JOB"
"""What Dagster calls the job of runs that people start from the assets themselves."""

ARRIVALS_PER_TICK = 500
MATERIALISATIONS_PER_TICK = 2000

IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def missed_hours_sensor(monitor: Monitor, job: AssetJob, *, seconds: int) -> dg.SensorDefinition:
    """Return the sensor that requests complete hours nothing has processed: schedules do not catch up."""

    @dg.sensor(
        name=f"{monitor.model}__missed_hours",
        job=job,
        minimum_interval_seconds=seconds,
        description="Has hours processed that are over and were not: after downtime, or before monitoring began. Up "
        "to a month is one run. Keep it on: schedules do not catch up.",
    )
    def missed_hours(context: dg.SensorEvaluationContext, monitoring: Monitoring) -> dg.SensorResult | dg.SkipReason:
        if running := _runs_in_progress(context.instance, job.name):
            return dg.SkipReason(f"{running} hourly run(s) in progress")
        if not monitoring.references.any_of(monitor.registry_name):
            # Described now, these hours would stay without profiles; the schedule still shows new ones as unknown.
            return dg.SkipReason(f"no version of {monitor.registry_name} has a reference: materialise it first")
        attempt = (monitoring.now() - monitor.start) // RETRY_EVERY
        missed = hours_to_process(monitoring, monitor, monitoring.now(), again=context.cursor != str(attempt))
        context.update_cursor(str(attempt))
        if not missed:
            return dg.SkipReason("every complete hour has been processed")
        portions = [
            portion
            for first, last in ranges(missed[:CATCH_UP_HOURS])
            for portion in _portions(context.instance, job.name, first, last)
        ]
        requests = [
            dg.RunRequest(run_key=f"{first:%Y-%m-%dT%H}..{last:%Y-%m-%dT%H}/{attempt}", tags=range_tags(first, last))
            for first, last in portions
        ]
        return dg.SensorResult(run_requests=requests)

    return missed_hours


def _portions(
    instance: dg.DagsterInstance, job: str, first: datetime, last: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Yield a stretch of hours whole, or in halves where its run failed: no hour holds the others back for ever."""
    tried = dg.RunsFilter(job_name=job, tags=range_tags(first, last), statuses=[dg.DagsterRunStatus.FAILURE])
    if first == last or not instance.get_runs_count(tried):
        yield first, last
        return
    middle = first + (last - first) // HOUR // 2 * HOUR
    yield from _portions(instance, job, first, middle)
    yield from _portions(instance, job, middle + HOUR, last)


def hours_to_process(monitoring: Monitoring, monitor: Monitor, now: datetime, *, again: bool = True) -> list[datetime]:
    """Return the hours of a monitor that are over, and left to the schedule long enough, without verdicts.

    An hour in which a reference could not be read is one of them `again` once it can be; so is one of the last days
    with predictions that were logged after it had been described. To find out takes a look at every hour's files.
    """
    last = last_complete_hour(now - GRACE)
    if monitor.end is not None:
        last = min(last, monitor.end - HOUR)
    done = set.intersection(*(set(monitoring.hourly.hours(kind, monitor.registry_name)) for kind in WRITTEN_LAST))
    if again:
        late = logged_late(monitoring, monitor, {hour for hour in done if hour > now - LATE_PREDICTIONS})
        done -= readable_again(monitoring, monitor) | late
    # What has expired has been processed, or can no longer be.
    start = max(monitor.start, monitoring.hourly.expired("verdicts", monitor.registry_name) or monitor.start)
    span = round((last - start) / HOUR) + 1
    return [hour for step in range(max(span, 0)) if (hour := start + step * HOUR) not in done]


def readable_again(monitoring: Monitoring, monitor: Monitor) -> set[datetime]:
    """Return the hours, of the newest ones, that were computed without a reference which can be read by now."""
    model, store = monitor.registry_name, monitoring.hourly
    hours = store.hours("unread", model)[-CATCH_UP_HOURS:]
    unread = store.read("unread", model, hours[0], hours[-1] + HOUR, ["version"]) if hours else {}
    versions = {hour: set(table["version"].to_pylist()) for hour, table in unread.items()}
    readable = {version for version in set().union(*versions.values()) if _is_readable(monitoring, model, version)}
    return {hour for hour, needed in versions.items() if needed <= readable}


def logged_late(monitoring: Monitoring, monitor: Monitor, hours: Iterable[datetime]) -> set[datetime]:
    """Return the hours with predictions that were logged after the hour had been described, where files can tell."""
    if not isinstance(monitor.log, ParquetLog):
        return set()
    model, log = monitor.registry_name, ParquetPredictionLog(monitoring.data, monitor.columns)
    described = {hour: monitoring.hourly.written_at("intake", model, hour) for hour in hours}
    return {hour for hour, moment in described.items() if moment and log.added_since(model, hour, moment)}


def _is_readable(monitoring: Monitoring, model: str, version: str) -> bool:
    try:
        return monitoring.references.fetch(model, version) is not None
    except (ReferenceError, RegistryUnreachableError):
        return False


def late_labels_sensor(monitor: Monitor, job: AssetJob, hourly: AssetJob, *, seconds: int) -> dg.SensorDefinition:
    """Return the sensor that requests exactly the hours whose labels changed after `hourly` had processed them."""

    @dg.sensor(
        name=f"{monitor.model}__late_labels",
        job=job,
        minimum_interval_seconds=seconds,
        description="Has exactly those hours evaluated and judged again whose labels arrived or changed since. Keep "
        "it on where labels are later than predictions.",
    )
    def late_labels(context: dg.SensorEvaluationContext, monitoring: Monitoring) -> dg.SensorResult | dg.SkipReason:
        cursor, labelled = newly_labelled(monitoring, monitor, context.cursor or "0")
        if cursor == (context.cursor or "0"):
            return dg.SkipReason(f"no labels since arrival {cursor.partition(' ')[0]}")
        # A run that is under way may have read the labels before these arrived, and has not said which hours it does.
        # Looked up after the arrivals and before the hours, or one that starts or ends meanwhile would be overlooked.
        if running := _runs_in_progress(context.instance, hourly.name, ALL_ASSETS):
            return dg.SkipReason(f"{running} run(s) in progress that may or may not have seen the newest labels")
        processed = set(monitoring.hourly.hours("outcomes", monitor.registry_name))
        # An hour that has not been processed reads these labels when it is.
        name = cursor if cursor.isdigit() else digest(cursor.encode())
        requests = [
            dg.RunRequest(run_key=f"labels:{name}:{first:%Y-%m-%dT%H}", tags=range_tags(first, last))
            for first, last in ranges(labelled & processed)
        ]
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return late_labels


def newly_labelled(monitoring: Monitoring, monitor: Monitor, cursor: str) -> tuple[str, set[datetime]]:
    """Return the hours whose labels arrived, or came true, since a cursor; and the next cursor.

    That is the number of the newest arrival, and the hours with labels whose time is ahead of the clock until then.
    """
    number, _, rest = cursor.partition(" ")
    ahead = {datetime.fromisoformat(hour): moment for hour, moment in json.loads(rest or "{}").items()}
    stages, now = monitoring.stages(monitor), monitoring.now()
    arrivals = stages.labels.arrivals(monitor.registry_name, after=int(number), limit=ARRIVALS_PER_TICK)
    due = {hour for hour, moment in ahead.items() if datetime.fromisoformat(moment) <= now}
    if not arrivals and not due:
        return cursor, set()
    waiting = hours_of_labels_ahead(
        stages.labels,
        stages.predictions,
        model=monitor.registry_name,
        columns=monitor.labels.columns(),
        id_column=monitor.columns.prediction_id,
        max_delay=monitor.labels.max_delay,
        now=now,
    )
    number = str(arrivals[-1].sequence) if arrivals else number
    rest = json.dumps({f"{hour:%Y-%m-%dT%H:%MZ}": f"{moment:%Y-%m-%dT%H:%MZ}" for hour, moment in waiting.items()})
    hours = {hour for arrival in arrivals for hour in arrival.hours} | due
    return f"{number} {rest}" if waiting else number, hours


def alerting_sensor(monitor: Monitor, job: dg.JobDefinition, *, seconds: int) -> dg.SensorDefinition:
    """Return the sensor that has newly judged hours applied to incidents, where there is anything to apply."""
    key = dg.AssetKey([monitor.model, "verdicts"])

    @dg.sensor(
        name=f"{monitor.model}__verdict_alerts",
        job=job,
        minimum_interval_seconds=seconds,
        description="Has incidents opened, updated and resolved when hours have been judged. Keep it on: without it "
        "rules fire and nobody hears of it.",
    )
    def alerting(context: dg.SensorEvaluationContext, monitoring: Monitoring) -> dg.SensorResult | dg.SkipReason:
        newest, hours = materialised_since(context.instance, key, int(context.cursor or 0))
        if not hours:
            return dg.SkipReason("no newly judged hours")
        if not _anything_to_apply(monitoring, monitor, hours):
            return dg.SensorResult(skip_reason=f"{len(hours)} quiet hours, no open incident", cursor=str(newest))
        name = f"{monitor.model}__apply_rules"
        requests = [
            dg.RunRequest(
                run_key=f"verdicts:{newest}:{first:%Y-%m-%dT%H}",
                run_config=dg.RunConfig(ops={name: evaluated(first, last)}),
            )
            for first, last in ranges(hours)
        ]
        return dg.SensorResult(run_requests=requests, cursor=str(newest))

    return alerting


def materialised_since(instance: dg.DagsterInstance, key: dg.AssetKey, storage_id: int) -> tuple[int, list[datetime]]:
    """Return the newest event's storage id and the hours materialised since `storage_id`."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, after_storage_id=storage_id),
        limit=MATERIALISATIONS_PER_TICK,
        ascending=True,
    ).records
    hours = {hour_of_key(record.partition_key) for record in records if record.partition_key}
    return (records[-1].storage_id if records else storage_id), sorted(hours)


def _anything_to_apply(monitoring: Monitoring, monitor: Monitor, hours: Sequence[datetime]) -> bool:
    if monitoring.database.incidents(monitor.registry_name, Status.OPEN):
        return True
    rules = monitoring.hourly.read_rules(monitor.registry_name, min(hours), max(hours) + HOUR)
    return any(outcome.state is RuleState.FIRING for outcomes in rules.values() for outcome in outcomes)


def registry_sensor(monitor: Monitor, job: AssetJob, *, seconds: int) -> dg.SensorDefinition:
    """Return the sensor that has references built when a version appears or an alias moves."""

    @dg.sensor(
        name=f"{monitor.model}__model_registry",
        job=job,
        minimum_interval_seconds=seconds,
        description="Notices new model versions and moved aliases, and has what they are compared with built. Keep it "
        "on: a version without a reference has no drift and no baseline.",
    )
    def model_registry(context: dg.SensorEvaluationContext, monitoring: Monitoring) -> dg.SensorResult | dg.SkipReason:
        versions = monitoring.registry.versions(monitor.registry_name)
        served = sorted((alias, entry.version) for entry in versions for alias in entry.aliases)
        state = ", ".join(f"{alias} -> v{version}" for alias, version in served if alias in monitor.aliases)
        if not state:
            return dg.SkipReason(f"no version of {monitor.registry_name} has a monitored alias such as {CHAMPION}")
        if state == context.cursor:
            return dg.SkipReason(f"unchanged: {state}")
        # No run key: an alias that moves there and back again is news each time, and the job may run twice.
        return dg.SensorResult(run_requests=[dg.RunRequest(tags={"aliases": state})], cursor=state)

    return model_registry


def dispatch_sensor(monitors: Mapping[str, Monitor], job: dg.JobDefinition, *, seconds: int) -> dg.SensorDefinition:
    """Return the sensor that starts the dispatcher when something in the outbox is due."""

    @dg.sensor(
        name="outbox",
        job=job,
        minimum_interval_seconds=seconds,
        description="Has what waits in the outbox sent when something is due. Keep it on: without it notifications "
        "wait. One for all models.",
    )
    def outbox(context: dg.SensorEvaluationContext, monitoring: Monitoring) -> dg.SensorResult | dg.SkipReason:
        beat(monitoring, DAEMON, context.log)
        if running := _runs_in_progress(context.instance, job.name):
            return dg.SkipReason(f"{running} delivery run(s) in progress")
        due = monitoring.database.channels_due(now=monitoring.now())
        channels, wanting = deployment_channels(
            notifications_of(monitoring, monitors), monitoring.secret, clock=wall_clock
        )
        if not (served := [name for name in due if name in channels]):
            return dg.SkipReason(waiting_for(due, wanting) if due else "nothing due")
        return dg.SensorResult(run_requests=[dg.RunRequest(tags={"channels": ", ".join(served)})])

    return outbox


def _runs_in_progress(instance: dg.DagsterInstance, *jobs: str) -> int:
    return sum(instance.get_runs_count(dg.RunsFilter(job_name=name, statuses=IN_PROGRESS)) for name in jobs)


def keep_up_sensor(monitors: Mapping[str, Monitor], job: dg.JobDefinition, *, seconds: int) -> dg.SensorDefinition:
    """Return the sensor that has done what time alone makes due of incidents."""

    @dg.sensor(
        name="incidents_waiting",
        job=job,
        minimum_interval_seconds=seconds,
        description="Notices incidents that nobody has taken on in time, and silences that have ended, and has the "
        "next people told. One for all models.",
    )
    def incidents_waiting(
        context: dg.SensorEvaluationContext, monitoring: Monitoring
    ) -> dg.SensorResult | dg.SkipReason:
        if running := _runs_in_progress(context.instance, job.name):
            return dg.SkipReason(f"{running} run(s) in progress")
        waiting = [
            name
            for name, monitor in monitors.items()
            if any(due_now(monitoring.database, monitor, now=monitoring.now()))
        ]
        if not waiting:
            return dg.SkipReason("nobody waits for an answer")
        return dg.SensorResult(run_requests=[dg.RunRequest(tags={"models": ", ".join(waiting)})])

    return incidents_waiting
