"""Jobs over the assets of one monitor.

Add a job here when people or sensors start a selection of assets together. Keep conditions for starting it out: they
belong in sensors.
"""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from monitoring_pipeline.settings.monitor import Monitor

LATE_LABELS = ("outcomes", "performance_report", "verdicts")
RETRAINING = ("training_set", "challenger", "challenger_evaluation", "promotion")

AssetJob = UnresolvedAssetJobDefinition  # what define_asset_job returns; Dagster has no public name for it
MINUTES_PAST = 10
"""Minutes past the hour at which it is processed: the last batches of the log have been flushed by then."""

DAILY_MINUTES_PAST = 40
"""Minutes past midnight UTC at which a day is processed: after its last hour, and late hours, have been."""


def asset_job(monitor: Monitor, name: str, assets: Sequence[str], description: str) -> AssetJob:
    """Return a job over some of a monitor's assets, run in one process."""
    return dg.define_asset_job(
        name=f"{monitor.model}__{name}",
        selection=dg.AssetSelection.assets(*([monitor.model, asset] for asset in assets)),
        description=description,
        executor_def=dg.in_process_executor,
        tags={"monitoring/model": monitor.model},
    )


def hourly_job(monitor: Monitor, assets: Sequence[str]) -> AssetJob:
    """Return the job the schedule starts, and backfills use."""
    return asset_job(
        monitor,
        "hourly",
        assets,
        "Describe, evaluate and judge an hour of predictions: the heart of monitoring. The schedule every_hour starts "
        "it; a backfill of any number of hours is one run.",
    )


def daily_job(monitor: Monitor, assets: Sequence[str]) -> AssetJob:
    """Return the job of what needs rows rather than profiles."""
    return asset_job(
        monitor,
        "daily",
        assets,
        "Look at the sampled rows of a day, with what is too slow for every hour, and write the health page. "
        "The schedule every_day starts it.",
    )


def late_labels_job(monitor: Monitor) -> AssetJob:
    """Return the job for hours that have been processed and whose labels have changed since."""
    return asset_job(
        monitor,
        "late_labels",
        LATE_LABELS,
        "Evaluate and judge again exactly the hours whose labels came late or changed. The sensor late_labels starts "
        "it.",
    )


def reference_job(monitor: Monitor) -> AssetJob:
    """Return the job that builds what serving is compared with."""
    return asset_job(
        monitor,
        "reference",
        ("reference_distributions",),
        "Describe the reference rows of every served version: run it once before the first hour. "
        "The sensor model_registry starts it for new versions.",
    )


def retraining_job(monitor: Monitor) -> AssetJob:
    """Return the job of one retraining, from its training set to the promotion or the reason against it."""
    return asset_job(
        monitor,
        "retraining",
        RETRAINING,
        "Train a challenger, compare it with the champion on recent rows, and promote it if it is better. "
        "The sensor retraining starts it when its triggers say so; launched by hand, the same gate decides.",
    )
