"""The forms of jobs and schedules, and the jobs over the assets of one monitor.

Add a job here when people or sensors start a selection of assets together. Keep conditions for starting it out: they
belong in sensors.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from monitoring_pipeline.settings.monitor import Monitor

HOURLY_JOB = (
    "hourly",
    "Describe, evaluate and judge an hour of predictions: the heart of monitoring. The schedule every_hour starts it; "
    "a backfill of any number of hours is one run.",
)
DAILY_JOB = (
    "daily",
    "Look at the sampled rows of a day, with what is too slow for every hour, and write the health page. The schedule "
    "every_day starts it.",
)
LATE_LABELS = (
    "late_labels",
    "Evaluate and judge again exactly the hours whose labels came late or changed. The sensor late_labels starts it.",
    ("outcomes", "performance_report", "verdicts"),
)
REFERENCE = (
    "reference",
    "Describe the reference rows of every served version: run it once before the first hour. The sensor model_registry "
    "starts it for new versions.",
    ("reference_distributions",),
)
RETRAINING = (
    "retraining",
    "Train a challenger, compare it with the champion on recent rows, and promote it if it is better. The sensor "
    "retraining starts it when its triggers say so; launched by hand, the same gate decides.",
    ("training_set", "challenger", "challenger_evaluation", "promotion"),
)
"""Jobs over assets: their names, what the UI says of them, and the assets where they are always the same."""

HOURLY = "10 * * * *"
"""When hours are processed: the last batches of the log have been flushed by then."""

DAILY = "40 0 * * *"
"""When days are processed: after their last hour, and late hours, have been."""


class AssetJob(UnresolvedAssetJobDefinition):
    """What `define_asset_job` returns, with its assets looked for among those of its model.

    Dagster looks through all assets of a code location for every job: with a hundred monitors for nine seconds.
    """

    def resolve(self, asset_graph: AssetGraph, *args: Any, **named: Any) -> dg.JobDefinition:
        return super().resolve(_parts(asset_graph)((self.tags or {})["monitoring/model"]), *args, **named)


@lru_cache(maxsize=1)
def _parts(asset_graph: AssetGraph) -> Callable[[str], AssetGraph]:
    """Return what gives the part of a graph that is of one model: no asset of a monitor needs one of another's."""
    assets = defaultdict[str, list[dg.AssetsDefinition]](list)
    for asset in asset_graph.assets_defs:
        for model in {key.path[0] for key in (*asset.keys, *(check.asset_key for check in asset.check_keys))}:
            assets[model].append(asset)
    return cache(lambda model: AssetGraph.from_assets(assets[model]))


def asset_job(monitor: Monitor, name: str, description: str, assets: Sequence[str]) -> AssetJob:
    """Return a job over some of a monitor's assets, run in one process."""
    return AssetJob(
        name=f"{monitor.model}__{name}",
        selection=dg.AssetSelection.assets(*([monitor.model, asset] for asset in assets)),
        description=description,
        executor_def=dg.in_process_executor,
        tags={"monitoring/model": monitor.model},
    )


def op_job(name: str, description: str, *ops: dg.OpDefinition, model: str = "") -> dg.JobDefinition:
    """Return a job of ops that need nothing of each other, run in one process."""

    @dg.job(
        name=name,
        description=description,
        executor_def=dg.in_process_executor,
        tags={"monitoring/model": model} if model else None,
    )
    def own() -> None:
        for op in ops:
            op()

    return own


def latest_partition(
    job: AssetJob, name: str, cron: str, partitions: dg.TimeWindowPartitionsDefinition, description: str
) -> dg.ScheduleDefinition:
    """Return the schedule that requests the last partition that is over.

    Dagster's own asks the job for its partitions, and so has two jobs of every monitor resolved in each run's process.
    """

    @dg.schedule(name=name, job=job, cron_schedule=cron, execution_timezone="UTC", description=description)
    def latest(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        with partition_loading_context(effective_dt=context.scheduled_execution_time):
            key = partitions.get_last_partition_key()
        return dg.SkipReason("nothing is over yet") if key is None else dg.RunRequest(run_key=key, partition_key=key)

    return latest
