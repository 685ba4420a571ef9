"""The daily assets of one monitor: what needs rows rather than profiles, on the samples of a day.

Add an asset here when it is too heavy for every hour. Keep its body out, it has a file of its own, and computation too:
it belongs in evaluate and judge.
"""

import dagster as dg

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.attribution_report import report_attributions
from monitoring_pipeline.workflow.evidently_report import report_evidently
from monitoring_pipeline.workflow.experiment_report import report_experiments
from monitoring_pipeline.workflow.health_page import report_health
from monitoring_pipeline.workflow.monitor_assets import Body, Group, asset_spec, computed
from monitoring_pipeline.workflow.partitions import daily_partitions
from monitoring_pipeline.workflow.sample_report import report_samples
from monitoring_pipeline.workflow.shadow_report import is_watched, report_shadow
from monitoring_pipeline.workflow.slice_report import report_slices


def daily_assets(monitor: Monitor) -> list[dg.AssetsDefinition]:
    """Return the daily assets of one monitor, keyed [model, name]."""
    partitions = daily_partitions(monitor.start, monitor.end)
    if partitions is None:
        return []

    def daily(
        body: Body,
        name: str,
        description: str,
        page: str,
        checks: dict[str, str],
        *,
        deps: tuple[str, ...] = (),
        kinds: tuple[str, ...] = ("parquet",),
    ) -> dg.AssetsDefinition:
        above = ("serving_sample", "reference_distributions", *deps)
        spec = asset_spec(monitor, name, Group.DAILY, description, page=page, deps=above, kinds=kinds)
        return computed(monitor, body, spec, checks=checks, partitions=partitions)

    samples = daily(
        report_samples,
        "sample_report",
        "Drift of all features together, and exact tests of each, on the day's sample of rows. A classifier that "
        "tells the day from the reference with an AUC far from 0.5 has found what moved.",
        "metrics.md",
        {
            "features_move_together_as_they_did": "No test of all features together tells the last day of the run from "
            "the reference."
        },
    )
    attributions = daily(
        report_attributions,
        "attribution_report",
        "How much each feature matters to the model, and how much it tells of the outcome by itself. Importance is the "
        "performance lost when the feature's values are shuffled.",
        "metrics.md",
        {
            "features_matter_as_they_did": "The model leans on the features it leant on, and no feature suddenly tells "
            "the outcome."
        },
        deps=("label_log",),
        kinds=("parquet", "mlflow"),
    )
    slices = daily(
        report_slices,
        "slice_report",
        "The parts of the day's labelled rows that the model serves worst, of all features and pairs of them.",
        "metrics.md",
        {"no_slice_got_worse": "No slice that stands out does so further than in the reference rows."},
        deps=("label_log",),
    )
    evidently = daily(
        report_evidently,
        "evidently_report",
        "Evidently's own page on the day's sample against the reference rows, to look at: a file, its path is in the "
        "metadata. Nothing is judged by it.",
        "comparison.md",
        {
            "evidently_tests_pass": "Evidently's tests pass by its own limits, which take no account of how many "
            "columns there are."
        },
        kinds=("html",),
    )
    experiments = daily(
        report_experiments,
        "experiment_report",
        "What each arm of every experiment showed so far, with the looks at it and what follows.",
        "experiments.md",
        {
            "experiments_go_on": "No experiment of the last day of the run is decided; one that is wants somebody to "
            "act."
        },
        deps=("label_log",),
    )
    shadow = daily(
        report_shadow,
        "shadow_report",
        "What a shadow said of the rows that another version served, and which of the two was right so far.",
        "shadow.md",
        {
            "shadow_is_no_worse": "The shadow was compared, and is not worse than what is served; without a shadow "
            "nothing is compared."
        },
        deps=("label_log",),
    )
    page = daily(
        report_health,
        "health_page",
        "A page for people: how the model is now, since when and why, with what was measured of it. A file, its path "
        "is in the metadata; `monitoring-pipeline report --open` shows it.",
        "health-page.md",
        {"model_is_fine": "The model is known to be fine: no rule fires and no incident is open."},
        deps=("verdicts",),
        kinds=("html",),
    )
    asked = {
        experiments: bool(monitor.experiments),
        slices: monitor.slices.enabled and monitor.task is not Task.RANKING,
        evidently: monitor.evidently.enabled,
        shadow: is_watched(monitor),
    }
    return [samples, attributions, page, *(asset for asset, wanted in asked.items() if wanted)]
