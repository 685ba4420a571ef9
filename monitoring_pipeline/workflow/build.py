"""Assembly: monitors in, Dagster definitions out.

Add a new kind of definition to `build_definitions`. Keep its body out: it has a file of its own.
"""

from collections.abc import Sequence

import dagster as dg

from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow import jobs, sensors
from monitoring_pipeline.workflow.alerting import alerting_job, apply_health, dispatch_job, keep_up_job
from monitoring_pipeline.workflow.daily_assets import daily_assets
from monitoring_pipeline.workflow.health import health_job, health_schedule
from monitoring_pipeline.workflow.hourly_assets import hourly_assets
from monitoring_pipeline.workflow.model_assets import model_assets
from monitoring_pipeline.workflow.partitions import daily_partitions, hourly_partitions
from monitoring_pipeline.workflow.probation import probation_job, probation_sensor
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.retraining_sensor import retraining_sensor
from monitoring_pipeline.workflow.rollback import rollback_job
from monitoring_pipeline.workflow.storage import storage_job, storage_schedule


def build_definitions(monitors: Sequence[Monitor], *, root: str = ".", sensor_seconds: int = 30) -> dg.Definitions:
    """Return assets, jobs, schedules and sensors of every monitor, and the dispatcher they share."""
    by_model = {monitor.model: monitor for monitor in monitors}
    dispatcher = dispatch_job(by_model)
    outbox = sensors.dispatch_sensor(by_model, dispatcher, seconds=sensor_seconds)
    keeper = keep_up_job(by_model)
    waiting = sensors.keep_up_sensor(by_model, keeper, seconds=sensor_seconds)
    health = health_job(by_model, apply=apply_health)
    storage = storage_job(by_model)
    shared = dg.Definitions(
        jobs=[dispatcher, keeper, health, storage],
        schedules=[health_schedule(health), storage_schedule(storage)],
        sensors=[outbox, waiting],
    )
    own = [monitor_definitions(monitor, sensor_seconds=sensor_seconds) for monitor in monitors]
    # What a person materialises takes this executor: with a process for each step most of the time goes into loading.
    resources = dg.Definitions(resources={"monitoring": Monitoring(root=root)}, executor=dg.in_process_executor)
    return dg.Definitions.merge(shared, resources, *own)


def monitor_definitions(monitor: Monitor, *, sensor_seconds: int) -> dg.Definitions:
    """Return everything that belongs to one monitor."""
    hourly_parts, daily_parts = hourly_assets(monitor), daily_assets(monitor)
    hourly = jobs.asset_job(monitor, *jobs.HOURLY_JOB, _names(hourly_parts))
    again = (jobs.LATE_LABELS, jobs.REFERENCE, jobs.RETRAINING)
    late_labels, reference, retraining = (jobs.asset_job(monitor, *each) for each in again)
    alerting, probation, rollback = alerting_job(monitor), probation_job(monitor), rollback_job(monitor)
    days = daily_partitions(monitor.start, monitor.end)
    daily = [(jobs.asset_job(monitor, *jobs.DAILY_JOB, _names(daily_parts)), days)] if days else []
    return dg.Definitions(
        assets=[*hourly_parts, *daily_parts, *model_assets(monitor)],
        jobs=[hourly, *(job for job, _ in daily), late_labels, reference, retraining, alerting, probation, rollback],
        schedules=[
            jobs.latest_partition(
                hourly,
                f"{monitor.model}__every_hour",
                jobs.HOURLY,
                hourly_partitions(monitor.start, monitor.end),
                "Has each hour described, evaluated and judged ten minutes after it is over. Switch it on first: "
                "without it nothing is monitored.",
            ),
            *(
                jobs.latest_partition(
                    job,
                    f"{monitor.model}__every_day",
                    jobs.DAILY,
                    partitions,
                    "Has the sampled rows of each day looked at when its last hour has been processed, and the health "
                    "page written.",
                )
                for job, partitions in daily
            ),
        ],
        sensors=[
            sensors.registry_sensor(monitor, reference, seconds=sensor_seconds),
            sensors.missed_hours_sensor(monitor, hourly, seconds=sensor_seconds),
            sensors.late_labels_sensor(monitor, late_labels, hourly, seconds=sensor_seconds),
            sensors.alerting_sensor(monitor, alerting, seconds=sensor_seconds),
            retraining_sensor(monitor, retraining, seconds=sensor_seconds),
            probation_sensor(monitor, probation, rollback, seconds=sensor_seconds),
        ],
    )


def _names(parts: Sequence[dg.AssetsDefinition]) -> list[str]:
    return [key.path[-1] for part in parts for key in part.keys]
