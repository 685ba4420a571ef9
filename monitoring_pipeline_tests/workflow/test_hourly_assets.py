"""What the hourly assets write, what they say about it, and that no hour of trouble fails a run."""

import shutil
from typing import Any

import dagster as dg
import pytest

from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.workflow import partitions
from monitoring_pipeline_tests.deployments import HOURLY_FILES, Deployment, customers
from monitoring_pipeline_tests.traffic import hour


def checks(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def test_a_range_in_one_run_and_hour_by_hour_give_the_same_files_to_the_bit(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "PORTION_DAYS", 1)  # the range has two portions
    deployment.serve(22, 23)
    deployment.serve(25, 26, shift=8.0, rows=90)
    deployment.set_clock(hour(28))
    assert deployment.process(22, 26).success
    together = deployment.files()
    assert len(together) == len(HOURLY_FILES) * 5
    for kind in HOURLY_FILES:
        shutil.rmtree(deployment.monitoring.data / kind)
    for number in range(22, 27):
        assert deployment.process(number, number).success
    assert deployment.files() == together


def test_one_partition_may_also_be_asked_for_by_its_key(deployment: Deployment) -> None:
    deployment.serve(0, 0)
    deployment.set_clock(hour(2))
    deployment.process(0, 0)
    as_range = deployment.files()
    deployment.run("churn__hourly", partition_key="2026-11-20-00:00")
    assert deployment.files() == as_range


def test_every_hour_of_a_range_is_materialised_with_its_own_numbers(deployment: Deployment) -> None:
    deployment.serve(0, 0)
    deployment.serve(1, 1, rows=70)
    deployment.set_clock(hour(3))
    deployment.process(0, 2)
    records = deployment.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(["churn", "serving_profile"])), limit=10, ascending=True
    ).records
    materialised = [record.asset_materialization for record in records]
    rows = {each.partition: each.metadata["dagster/row_count"].value for each in materialised if each is not None}
    assert rows == {"2026-11-20-00:00": 60, "2026-11-20-01:00": 70, "2026-11-20-02:00": 0}


def test_the_last_hour_of_a_range_has_pictures_of_the_others_that_the_ui_does_not_fold_away(
    deployment: Deployment,
) -> None:
    deployment.serve(0, 3)
    deployment.set_clock(hour(5))
    result = deployment.process(0, 3)
    pictures = {
        (event.asset_key.path[-1], event.partition, name): value.value
        for event in result.get_asset_materialization_events()
        for name, value in event.materialization.metadata.items()
        if event.asset_key and name.endswith("_by_hour")
    }
    last = "2026-11-20-03:00"
    assert set(pictures) == {
        ("serving_profile", last, "rows_by_hour"),
        ("drift_report", last, "largest_psi_1h_by_hour"),
    }
    assert all(str(text).startswith("![") and len(str(text)) < 1000 for text in pictures.values())


def test_a_check_names_what_is_furthest_and_where_to_look(deployment: Deployment) -> None:
    condition = {"metric": "drift.psi", "window": "1h", "column": "usage", "level": "warning"}
    rule = {"name": "moved", "condition": condition, "runbook": "https://runbooks.example/moved"}
    deployment.watch({"windows": ["1h"], "rules": [rule]})
    deployment.serve(0, 0, shift=40.0)
    deployment.set_clock(hour(2))
    found = checks(deployment.process(0, 0))
    assert "columns compared; furthest: usage, PSI " in found["drift_is_known"].description
    told = found["no_rule_fires"].metadata
    assert told["incidents"].value == "monitoring-pipeline incidents --model churn"
    assert told["runbooks"].value == "https://runbooks.example/moved"


def test_without_a_reference_the_run_succeeds_and_the_checks_warn(deployment: Deployment) -> None:
    deployment.log(customers([hour(0), hour(1)]), version="7")
    deployment.set_clock(hour(3))
    result = deployment.process(0, 1)
    assert result.success
    found = checks(result)
    missing = found["every_version_has_a_reference"]
    assert (missing.passed, missing.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert missing.description == "no reference for version(s) 7: run churn__reference"
    assert (found["drift_is_known"].passed, found["drift_is_known"].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found["drift_is_known"].description == "nothing is known: no_reference"
    assert not found["model_is_known_to_be_well"].passed
    signals = deployment.store.read_signals("drift", "churn", hour(1), hour(2))[hour(1)]
    assert [(signal.version, signal.rows, signal.absence) for signal in signals] == [("7", 60, Absence.NO_REFERENCE)]


def test_a_model_nobody_uses_fails_no_run_and_is_not_called_well(deployment: Deployment) -> None:
    deployment.set_clock(hour(3))
    result = deployment.process(0, 1)
    assert result.success
    found = checks(result)
    failed = {name for name, check in found.items() if not check.passed}
    assert failed == {"drift_is_known", "labels_arrive", "features_mean_what_they_meant", "model_is_known_to_be_well"}
    assert {found[name].severity for name in failed} == {dg.AssetCheckSeverity.WARN}
    assert found["labels_arrive"].description == "no prediction in the last 4h"


def test_predictions_without_any_label_are_not_called_no_predictions(deployment: Deployment) -> None:
    deployment.watch({"windows": ["1h"], "rules": []})
    deployment.serve(0, 0, labels=False)
    deployment.set_clock(hour(2))
    check = checks(deployment.process(0, 0))["labels_arrive"]
    assert (check.passed, check.description) == (
        False,
        "0.0% of the predictions of the last 1h have labels, 60% are needed",
    )


@pytest.mark.parametrize(
    ("severity", "expected"),
    [("warning", dg.AssetCheckSeverity.WARN), ("critical", dg.AssetCheckSeverity.ERROR)],
)
def test_a_firing_rule_fails_its_check_and_not_the_run(
    deployment: Deployment, severity: str, expected: dg.AssetCheckSeverity
) -> None:
    condition = {"metric": "performance.accuracy", "window": "1h", "level": "warning"}
    deployment.watch({"windows": ["1h"], "rules": [{"name": "wrong", "condition": condition, "severity": severity}]})
    deployment.serve(0, 0, turned=True)
    deployment.set_clock(hour(2))
    result = deployment.process(0, 0)
    assert result.success
    check = checks(result)["no_rule_fires"]
    assert (check.passed, check.severity) == (False, expected)
    assert "wrong: " in (check.description or "")
    assert not checks(result)["model_is_known_to_be_well"].passed
