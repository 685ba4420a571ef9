"""What the daily reports say of a day like the reference, of one that is not, and of one without rows."""

from typing import Any

import dagster as dg
import numpy as np
import pytest

from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.workflow.build import build_definitions
from monitoring_pipeline_tests.deployments import ASKED, MODEL, Deployment, customers
from monitoring_pipeline_tests.traffic import hour

pytestmark = pytest.mark.slow

DAY = "2026-11-20"
CHECKS = {
    "sample_report": "features_move_together_as_they_did",
    "attribution_report": "features_matter_as_they_did",
    "slice_report": "no_slice_got_worse",
    "evidently_report": "evidently_tests_pass",
}
Verdicts = dict[tuple[str, str], Verdict]


def run_day(deployment: Deployment, *only: str) -> dg.ExecuteInProcessResult:
    """Run the daily job, or only some of its assets, on the first day."""
    chosen = [dg.AssetKey([MODEL, name]) for name in only] or None
    result = deployment.run(f"{MODEL}__daily", partition_key=DAY, asset_selection=chosen)
    assert result.success
    return result


def verdicts(deployment: Deployment, kind: str) -> Verdicts:
    """Return what was kept of the first day, with its last hour, by metric and column."""
    found = deployment.store.read_verdicts(MODEL, hour(0), hour(24), kind=kind)
    assert list(found) == [hour(23)]
    return {(verdict.signal.metric, verdict.signal.column): verdict for verdict in found[hour(23)]}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    for event in result.get_asset_materialization_events():
        if event.asset_key == dg.AssetKey([MODEL, asset]):
            assert event.partition == DAY
            found = event.materialization.metadata
            return {name: getattr(value, "records", value.value) for name, value in found.items()}
    raise AssertionError(asset)


def test_a_day_like_the_reference_is_not_told_from_it_and_the_same_when_computed_again(deployment: Deployment) -> None:
    deployment.watch({"attributions": {"enabled": True}, "slices": {"min_rows": 700}})
    deployment.serve(0, 23)
    deployment.set_clock(hour(25))
    deployment.compute(0, 23)
    result = run_day(deployment)
    said = checks(result)
    own = [check for asset, check in CHECKS.items() if asset != "evidently_report"]
    assert {name: said[name].passed for name in own} == dict.fromkeys(own, True)

    quiet = verdicts(deployment, "sample_verdicts")
    together = [verdict for (metric, _), verdict in quiet.items() if metric.startswith("multivariate.")]
    assert len(together) == 4
    assert {verdict.level for verdict in together} == {Level.OK}
    assert {verdict.signal.detail["p_value"] for verdict in together} == {"blocks"}
    exact = quiet["exact.anderson_darling", "usage"]
    assert exact.level is Level.OK
    assert exact.signal.p_value is not None

    alone = verdicts(deployment, "attribution_verdicts")
    assert {metric for metric, _ in alone} == {"attribution.predictive_power", "attribution.leakage"}
    assert alone["attribution.leakage", "usage"].level is Level.OK
    assert alone["attribution.leakage", "usage"].signal.window == "24h"
    shown = metadata(result, "attribution_report")
    assert shown["importances"].startswith("not measured: no trust list.")
    assert {row.data["feature"] for row in shown["predictive_power"]} == {"usage", "tenure", "plan"}

    shown = metadata(result, "evidently_report")
    page = deployment.monitoring.data / "evidently" / f"model={MODEL}" / f"{DAY}.html"
    assert shown["page"] == str(page)
    assert page.stat().st_size > 1e6 * shown["size_mb"] - 1e4 > 1e6
    failed = [row.data["test"] for row in shown["tests"] if row.data["result"] == "FAIL"]
    assert len(shown["tests"]) == 6, "five columns, and how many of them drifted"
    assert (shown["tests_passed"], shown["tests_failed"]) == (6 - len(failed), len(failed))
    assert said["evidently_tests_pass"].passed is not bool(failed)
    assert all(name in str(said["evidently_tests_pass"].description) for name in failed)

    (found, worsened) = verdicts(deployment, "slice_verdicts").values()
    assert (found.signal.metric, found.signal.value) == ("performance.slices_found", 0.0)
    assert (worsened.signal.metric, worsened.level) == ("performance.slice_worsened", Level.OK)

    run_day(deployment, "sample_report", "attribution_report")
    assert verdicts(deployment, "sample_verdicts") == quiet
    assert verdicts(deployment, "attribution_verdicts") == alone


def test_a_day_that_changed_is_told_what_changed_is_named_and_rules_fire_on_the_day_after(
    deployment: Deployment,
) -> None:
    conditions = {
        "together": {"metric": "multivariate.domain_auc", "window": "24h", "level": "warning"},
        "leak": {"metric": "attribution.leakage", "window": "24h", "level": "warning"},
        "leaning": {"metric": "attribution.importance", "window": "24h", "column": "usage", "above": 0.999},
        "slice": {"metric": "performance.slice_worsened", "window": "24h", "segment": "*", "level": "warning"},
    }
    deployment.watch(
        {
            "rules": [{"name": name, "condition": condition} for name, condition in conditions.items()],
            "attributions": {"enabled": True, "trusted_types": [], "repeats": 3, "max_rows": 300},
            "evidently": {"max_megabytes": 0.001},
        }
    )
    rows = customers([hour(number) for number in range(24)], shift=12.0)
    rows["usage"] = np.where(rows["actual"] == 1, rows["usage"] + 20, rows["usage"])
    deployment.log(rows)
    deployment.label(rows)
    deployment.serve(24, 25)
    deployment.set_clock(hour(27))
    deployment.compute(0, 23)
    result = run_day(deployment)
    said = {name: checks(result)[check] for name, check in CHECKS.items()}
    assert not any(each.passed for each in said.values())
    assert {each.severity for each in said.values()} == {dg.AssetCheckSeverity.WARN}

    changed = verdicts(deployment, "sample_verdicts")
    assert changed["multivariate.domain_auc", ""].level is Level.WARNING
    columns = changed["multivariate.domain_auc", ""].signal.detail["columns"]
    assert isinstance(columns, list)
    assert columns[0]["column"] == "usage"
    p_value = changed["exact.ks", "usage"].signal.p_value
    assert p_value is not None
    assert p_value < 1e-6

    leaked = verdicts(deployment, "attribution_verdicts")
    assert {name for (name, _), verdict in leaked.items() if verdict.level.rank > 0} >= {"attribution.leakage"}
    assert leaked["attribution.importance", "usage"].signal.baseline_value is not None
    assert leaked["attribution.loss_ndcg", ""].signal.value is not None
    assert "usage separates the classes with AUC" in str(said["attribution_report"].description)
    learnt = list((deployment.monitoring.data / "importances" / f"model={MODEL}").glob("*.json"))
    assert len(learnt) == 1

    worst = metadata(result, "slice_report")["slices"][0].data
    assert worst["slice"].startswith("usage in [")
    assert float(worst["mean loss"]) > float(worst["in all others"])

    assert str(said["evidently_report"].description).endswith("0.001 are allowed (evidently.max_megabytes)")
    shown = metadata(result, "evidently_report")
    assert "page" not in shown
    assert shown["failure"] == said["evidently_report"].description
    assert shown["tests"][0].data["result"] == "FAIL"

    deployment.compute(24, 25)
    files = deployment.files("rules")
    states = {
        at: {outcome.rule: outcome.state for outcome in outcomes}
        for at, outcomes in deployment.store.read_rules(MODEL, hour(23), hour(26)).items()
    }
    after = {
        "together": RuleState.FIRING,
        "leak": RuleState.FIRING,
        "leaning": RuleState.QUIET,
        "slice": RuleState.FIRING,
    }
    assert states == {hour(23): dict.fromkeys(conditions, RuleState.UNKNOWN), hour(24): after, hour(25): after}
    deployment.compute(23, 25)
    assert deployment.files("rules") == files, "hours judged again see the same day"


def test_a_day_without_rows_is_unknown_and_fails_no_run(deployment: Deployment) -> None:
    deployment.set_clock(hour(25))
    deployment.compute(0, 23)
    said = checks(run_day(deployment))
    assert {name: (said[name].passed, said[name].description) for name in CHECKS.values()} == dict.fromkeys(
        CHECKS.values(), (False, "no row was served")
    )
    assert verdicts(deployment, "sample_verdicts") == verdicts(deployment, "attribution_verdicts") == {}


def test_a_monitor_that_ends_before_its_first_whole_day_has_no_daily_report() -> None:
    definitions = build_definitions([parse_monitor({**ASKED, "end": hour(20).isoformat()})])
    assert "churn__daily" not in {job.name for job in definitions.resolve_all_job_defs()}


def test_the_page_of_evidently_the_search_for_slices_and_shadows_can_be_left_out() -> None:
    left_out = {"evidently": {"enabled": False}, "slices": {"enabled": False}, "aliases": ["champion"]}
    definitions = build_definitions([parse_monitor({**ASKED, **left_out})])
    daily = definitions.resolve_job_def("churn__daily").asset_layer.executable_asset_keys
    assert {key.path[-1] for key in daily} == {"sample_report", "attribution_report", "health_page"}
