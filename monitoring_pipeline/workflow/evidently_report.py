"""Evidently's page on the sample of a day, linked from its asset; what it finds is shown, never judged.

Add what the asset says of a page here. Keep what is in the page out: it belongs in publish.
"""

from typing import Any

import dagster as dg

from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.evidently_reports import EvidentlyDay, EvidentlyReports
from monitoring_pipeline.workflow.daily_samples import SEED, DaySample, day_samples
from monitoring_pipeline.workflow.monitor_assets import checked
from monitoring_pipeline.workflow.partitions import day_key, days_of
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.tables import SHOWN, rounded, table

NAMED = 5
"""Failed tests named in the check."""


def report_evidently(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Make the page of each day; where there is none the metadata and the check say why."""
    made = EvidentlyDay(None, 0, (), {}, "no day was asked for")
    for day, sample in day_samples(monitoring, monitor, days_of(context)):
        made = EvidentlyDay(None, 0, (), {}, sample) if isinstance(sample, str) else _page(monitoring, monitor, sample)
        context.add_asset_metadata(_facts(made), asset_key=context.asset_key, partition_key=day_key(day))
    failed = [test.name for test in made.tests if not test.passed]
    more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    said = f"{len(failed)} of {len(made.tests)} fail: {', '.join(failed[:NAMED])}{more}"
    said = made.failure or (said if failed else f"all {len(made.tests)} pass")
    passed = not made.failure and not failed
    return checked("evidently_tests_pass", said, passed=passed, failed=len(failed), tests=len(made.tests))


def _page(monitoring: Monitoring, monitor: Monitor, sample: DaySample) -> EvidentlyDay:
    kinds = {spec.name: spec.kind for spec in monitor.column_specs() if spec.name == spec.read_from}
    return EvidentlyReports(monitoring.data).make(
        monitor.registry_name,
        sample.start.date(),
        sample.before,
        sample.rows,
        columns={**monitor.features.kinds(), **kinds},
        policy=monitor.evidently.policy(),
        seed=SEED,
    )


def _facts(made: EvidentlyDay) -> dict[str, Any]:
    shown = sorted(made.tests, key=lambda test: (test.passed, test.name))[:SHOWN]
    facts: dict[str, Any] = {
        "tests_passed": sum(test.passed for test in made.tests),
        "tests_failed": sum(not test.passed for test in made.tests),
        "size_mb": rounded(made.size / 1e6),
    }
    if made.path is not None:
        # Not as an address: browsers follow no link from the UI to a file.
        facts["page"] = dg.MetadataValue.path(made.path.absolute())
    if shown:
        rows = [
            {"result": "pass" if test.passed else "FAIL", "test": test.name, "what": test.description} for test in shown
        ]
        facts["tests"] = table(["result", "test", "what"], rows)
    if made.left_out:
        left = [{"column": name, "why": why} for name, why in made.left_out.items()]
        facts["left_out"] = table(["column", "why"], left[:SHOWN])
    return facts | ({"failure": made.failure} if made.failure else {})
