"""The daily assets of one monitor: what needs rows rather than profiles, on the samples of a day.

Add an asset here when it is too heavy for every hour. Keep its body out, it has a file of its own, and computation too:
it belongs in evaluate and judge.
"""

from typing import Any

import dagster as dg

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.attribution_report import report_attributions
from monitoring_pipeline.workflow.evidently_report import report_evidently
from monitoring_pipeline.workflow.experiment_report import report_experiments
from monitoring_pipeline.workflow.health_page import report_health
from monitoring_pipeline.workflow.partitions import daily_partitions
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.sample_report import report_samples
from monitoring_pipeline.workflow.shadow_report import is_watched, report_shadow
from monitoring_pipeline.workflow.slice_report import report_slices


def daily_assets(monitor: Monitor) -> list[dg.AssetsDefinition]:
    """Return the daily assets of one monitor, keyed [model, name]."""
    partitions = daily_partitions(monitor.start, monitor.end)
    if partitions is None:
        return []

    def daily(name: str, description: str, check: str, passes: str, *, deps: tuple[str, ...] = ()) -> dict[str, Any]:
        above = ("serving_sample", "reference_distributions", *deps)
        key = dg.AssetKey([monitor.model, name])
        return {
            "name": name,
            "key_prefix": [monitor.model],
            "description": description,
            "deps": [dg.AssetKey([monitor.model, dep]) for dep in above],
            "partitions_def": partitions,
            "backfill_policy": dg.BackfillPolicy.single_run(),
            "check_specs": [dg.AssetCheckSpec(check, asset=key, description=passes)],
            "group_name": f"{monitor.model}_daily",
            "owners": list(monitor.owners) or None,
        }

    @dg.asset(
        **daily(
            "sample_report",
            "Drift of all features together, and exact tests of each, on the day's sample of rows.",
            "features_move_together_as_they_did",
            "No test of all features together tells the last day of the run from the reference.",
        ),
        kinds={"parquet"},
    )
    def sample_report(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_samples(context, monitoring, monitor)

    @dg.asset(
        **daily(
            "attribution_report",
            "How much each feature matters to the model, and how much it tells of the outcome by itself.",
            "features_matter_as_they_did",
            "The model leans on the features it leant on, and no feature suddenly tells the outcome.",
            deps=("label_log",),
        ),
        kinds={"parquet", "mlflow"},
    )
    def attribution_report(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_attributions(context, monitoring, monitor)

    @dg.asset(
        **daily(
            "slice_report",
            "The parts of the day's labelled rows that the model serves worst, of all features and pairs of them.",
            "no_slice_got_worse",
            "No slice that stands out does so further than in the reference rows.",
            deps=("label_log",),
        ),
        kinds={"parquet"},
    )
    def slice_report(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_slices(context, monitoring, monitor)

    @dg.asset(
        **daily(
            "evidently_report",
            "Evidently's own page on the day's sample against the reference rows, to look at.",
            "evidently_tests_pass",
            "Evidently's tests pass by its own limits, which take no account of how many columns there are.",
        ),
        kinds={"html"},
    )
    def evidently_report(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_evidently(context, monitoring, monitor)

    @dg.asset(
        **daily(
            "experiment_report",
            "What each arm of every experiment showed so far, with the looks at it and what follows.",
            "experiments_go_on",
            "No experiment of the last day of the run is decided; one that is wants somebody to act.",
            deps=("label_log",),
        ),
        kinds={"parquet"},
    )
    def experiments(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_experiments(context, monitoring, monitor)

    @dg.asset(
        **daily(
            "shadow_report",
            "What a shadow said of the rows that another version served, and which of the two was right so far.",
            "shadow_is_no_worse",
            "The shadow was compared, and is not worse than what is served; without a shadow nothing is compared.",
            deps=("label_log",),
        ),
        kinds={"parquet"},
    )
    def shadow(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_shadow(context, monitoring, monitor)

    @dg.asset(
        **daily(
            "health_page",
            "A page for people: how the model is now, since when and why, with what was measured of it.",
            "model_is_fine",
            "The model is known to be fine: no rule fires and no incident is open.",
            deps=("verdicts",),
        ),
        kinds={"html"},
    )
    def health_page(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_health(context, monitoring, monitor)

    asked = {
        experiments: bool(monitor.experiments),
        slice_report: monitor.slices.enabled and monitor.task is not Task.RANKING,
        evidently_report: monitor.evidently.enabled,
        shadow: is_watched(monitor),
    }
    return [sample_report, attribution_report, health_page, *(asset for asset, wanted in asked.items() if wanted)]
