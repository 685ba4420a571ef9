"""What the gate says of a challenger, on record where people look: a better one, and one that forgot a segment."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from mlflow import MlflowClient

from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline_tests.deployments import ASKED, MODEL, Deployment, customers
from monitoring_pipeline_tests.traffic import hour

pytestmark = pytest.mark.slow

SERVED_HOURS = 24


def retrain(
    deployment: Deployment, guard_rails: dict[str, Any], *, turned: tuple[str, ...], **retraining: Any
) -> dg.ExecuteInProcessResult:
    """Serve and label a day on which customers of some plans do the opposite of what they used to, and retrain."""
    asked = ASKED["retraining"] | retraining | {"guard_rails": guard_rails}
    deployment.watch({"retraining": asked, "segments": {"columns": ["plan"]}, "fairness": {"attributes": ["plan"]}})
    hours = [hour(number) for number in range(SERVED_HOURS)]
    rows, opposite = (customers(hours, turned=each) for each in (False, True))
    rows["actual"] = rows["actual"].where(~rows["plan"].isin(turned), opposite["actual"])
    deployment.log(rows)
    deployment.label(rows)
    deployment.set_clock(hour(SERVED_HOURS) + timedelta(minutes=45))
    return deployment.run(f"{MODEL}__retraining")


def test_the_verdict_is_with_the_version_in_mlflow_and_in_dagster_with_all_its_numbers(deployment: Deployment) -> None:
    rails_asked = {"back_test": {"folds": 1}, "required": ["back_test", "latency", "size"]}
    result = retrain(deployment, rails_asked, turned=("basic", "plus", "pro"))
    registry = deployment.monitoring.registry
    assert isinstance(registry, MlflowRegistry)
    judged = registry.version(MODEL, "2")
    document: Any = registry.read_json(judged, "evaluation.json")
    assert (document["champion"], document["challenger"], document["outcome"]) == ("1", "2", "promote"), document
    rails = {each["rail"]: each for each in document["guard_rails"]}
    assert list(rails) == ["segments", "fairness", "calibration", "latency", "size", "back_test"]
    assert {each["status"] for each in rails.values()} == {"passed"}
    assert "not checked: plan=pro: fewer than 100 rows" in rails["segments"]["reason"]
    (fold,) = document["back_test"]["folds"]
    assert fold["champion"] < 0.5 < fold["challenger"], "the champion was trained before any of this"

    auc = document["comparisons"]["roc_auc"]
    assert judged.tags["gate_outcome"] == "promote"
    assert judged.tags["gate_against"] == "1"
    assert judged.tags["gate_gain"] == f"{auc['gain']:+.4f}"
    assert judged.tags["gate_interval"] == f"{auc['low']:+.4f} to {auc['high']:+.4f}"
    assert "roc_auc" in judged.tags["gate_reason"]
    uri = deployment.monitoring.deployment.tracking_uri
    with registry.download(judged, "evaluation.md") as file:
        report = file.read_text("utf-8")
    assert "# churn: challenger v2 against champion v1" in report
    assert judged.tags["gate_gain"] in report
    assert "evaluation.md" in [each.path for each in MlflowClient(uri, uri).list_artifacts(judged.run_id)]

    (event,) = result.asset_materializations_for_node(f"{MODEL}__challenger_evaluation")
    assert event.metadata["report"].value == report
    assert event.metadata["gain"].value == auc["gain"]
    shown = event.metadata["guard_rails"]
    assert isinstance(shown, dg.TableMetadataValue)
    assert [record.data["status"] for record in shown.records] == ["passed"] * 6


def test_a_challenger_that_is_better_but_much_worse_in_a_segment_stays_out(deployment: Deployment) -> None:
    rails = {"fairness": None, "calibration": None}
    assert retrain(deployment, rails, turned=("basic",), metric="log_loss").success
    registry = deployment.monitoring.registry
    kept = registry.version(MODEL, "2")
    document: Any = registry.read_json(kept, "evaluation.json")
    assert document["comparisons"]["log_loss"]["low"] > 0, "on the whole it is better"
    assert len(document["reasons"]) == 1
    assert document["reasons"][0].startswith("the loss grows in plan=plus by")
    assert (kept.tags["gate_outcome"], kept.tags["rejection_reason"]) == ("keep_champion", document["reasons"][0])
    assert registry.version(MODEL, "champion").version == "1"
