"""Describes the hours of a run where the monitor's engine says: in the run, in a process of its own, or on Spark.

Add an engine of the settings here. Keep describing out: it is `Stages.describe`, wherever it runs. What it made is in
the store afterwards, and is read from there.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.describe.freshness import Reading
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.engine import ProcessEngine, SparkEngine
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.partitions import hours_of
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.stages import stages_at

Readings = Mapping[datetime, Mapping[str, Reading]]


def describe_hours(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> Mapping[str, Any]:
    """Sample and describe the hours of a run; return what the engine says of its work."""
    hours, engine = hours_of(context), monitor.engine
    if isinstance(engine, ProcessEngine):
        return _in_a_process(context, monitoring, monitor)
    if isinstance(engine, SparkEngine) and len(hours) > 1:  # an hour alone is one task, sooner done than Spark starts
        _on_spark(engine, monitoring, monitor, hours)
    else:
        monitoring.stages(monitor).describe(hours, readings=readings_of(monitoring, monitor, hours))
    return {}


def readings_of(monitoring: Monitoring, monitor: Monitor, hours: Sequence[datetime]) -> Readings:
    """Return how old the sources are where the hour that ended last is one of `hours`."""
    return monitoring.readings(monitor) if hour_of(monitoring.now()) - HOUR in hours else {}


def _in_a_process(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> Mapping[str, Any]:
    run = dg.PipesSubprocessClient().run(
        context=context.op_execution_context,
        command=[sys.executable, "-m", "monitoring_pipeline.workflow.describing_process"],
        extras={
            "root": str(Path(monitoring.root).absolute()),
            "model": monitor.model,
            "hours": [hour.isoformat() for hour in hours_of(context)],
        },
    )
    for failure in run.get_custom_messages():
        raise MonitoringError(failure)
    results = run.get_results(implicit_materializations=False)
    return {name: value for result in results for name, value in (result.metadata or {}).items()}


def _on_spark(engine: SparkEngine, monitoring: Monitoring, monitor: Monitor, hours: Sequence[datetime]) -> None:
    from monitoring_pipeline.describe.engines.spark import SparkEngine as Engine
    from monitoring_pipeline.describe.engines.spark import spark_session

    deployment, read = monitoring.deployment, readings_of(monitoring, monitor, hours)
    data = deployment.data_address
    # A worker stands elsewhere, and needs no database.
    seen = replace(deployment, data=data if "://" in data else str(Path(data).absolute()), database_url="")
    with spark_session(engine.master, engine.conf) as session:
        Engine(session).each(partial(_on_a_worker, monitor, seen, read), hours)


def _on_a_worker(monitor: Monitor, deployment: Deployment, readings: Readings, hours: Sequence[datetime]) -> None:
    data = deployment.data_address
    if "://" not in data and not Path(data).is_dir():
        fix = "Mount it under the same path on every worker, or have MONITORING_DATA name a bucket."
        raise MonitoringError(f"engine spark: a worker has no folder {data}. {fix}")
    stages_at(monitor, deployment, Monitoring().secret).describe(hours, readings=readings)
