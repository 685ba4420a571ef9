"""What the daily report says of a day like the reference, of one that is not, and of one without rows."""

from typing import Any

import dagster as dg

from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.workflow.build import build_definitions
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour

DAY = "2026-11-20"


def of_day(deployment: Deployment) -> dict[tuple[str, str], Verdict]:
    """Run the daily job on the first day and return its verdicts by metric and column."""
    result = deployment.run(f"{MODEL}__daily", partition_key=DAY)
    assert result.success
    found = deployment.store.read_verdicts(MODEL, hour(0), hour(24), kind="sample_verdicts")
    return {(verdict.signal.metric, verdict.signal.column): verdict for verdict in found[hour(23)]}


def check(deployment: Deployment) -> Any:
    records = deployment.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey([MODEL, "sample_report"]), "features_move_together_as_they_did"), limit=1
    )
    event = records[0].event
    assert event is not None
    assert event.dagster_event is not None
    return event.dagster_event.event_specific_data


def test_a_day_like_the_reference_is_not_told_from_it(deployment: Deployment) -> None:
    deployment.serve(0, 23)
    deployment.set_clock(hour(25))
    deployment.process(0, 23)
    quiet = of_day(deployment)
    together = [verdict for (metric, _), verdict in quiet.items() if metric.startswith("multivariate.")]
    assert len(together) == 4
    assert {verdict.level for verdict in together} == {Level.OK}
    assert {verdict.signal.detail["p_value"] for verdict in together} == {"blocks"}
    exact = quiet["exact.anderson_darling", "usage"]
    assert exact.level is Level.OK
    assert exact.signal.p_value is not None


def test_a_day_on_which_a_feature_moved_is_told_from_the_reference_and_the_feature_named(
    deployment: Deployment,
) -> None:
    deployment.serve(0, 23, shift=12.0)
    deployment.set_clock(hour(25))
    deployment.process(0, 23)
    changed = of_day(deployment)
    assert changed["multivariate.domain_auc", ""].level is Level.WARNING
    columns = changed["multivariate.domain_auc", ""].signal.detail["columns"]
    assert isinstance(columns, list)
    assert columns[0]["column"] == "usage"
    p_value = changed["exact.ks", "usage"].signal.p_value
    assert p_value is not None
    assert p_value < 1e-6
    assert not check(deployment).passed


def test_a_day_without_rows_is_unknown_and_fails_no_run(deployment: Deployment) -> None:
    deployment.set_clock(hour(25))
    deployment.process(0, 23)
    assert of_day(deployment) == {}
    assert not check(deployment).passed


def test_a_day_computed_again_gives_the_same_numbers(deployment: Deployment) -> None:
    deployment.serve(0, 23)
    deployment.set_clock(hour(25))
    deployment.process(0, 23)
    assert of_day(deployment) == of_day(deployment)


def test_a_monitor_that_ends_before_its_first_whole_day_has_no_daily_report() -> None:
    from monitoring_pipeline.settings.load import parse_monitor
    from monitoring_pipeline_tests.deployments import ASKED

    definitions = build_definitions([parse_monitor({**ASKED, "end": hour(20).isoformat()})])
    assert "churn__daily" not in {job.name for job in definitions.resolve_all_job_defs()}
