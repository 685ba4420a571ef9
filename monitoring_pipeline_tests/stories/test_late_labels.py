from collections.abc import Mapping

import dagster as dg

from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.workflow.sensors import GRACE
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour

LATE = "churn__late_labels"

LABELLED = {"outcomes", "label_arrivals", "performance", "verdicts"}
"""Files that say something of labels."""


def coverage(deployment: Deployment, number: int) -> Signal:
    signals = deployment.store.read_signals("performance", MODEL, hour(number), hour(number + 1))[hour(number)]
    (found,) = [each for each in signals if each.metric == "performance.label_coverage" and each.window == "1h"]
    return found


def test_late_labels_change_exactly_their_hours(deployment: Deployment) -> None:
    rows = deployment.serve(0, 6, labels=False)
    late = rows["predicted_at"].dt.floor("h").isin([hour(2), hour(4), hour(5)]) & (rows.index % 3 == 0)
    deployment.label(rows[~late])
    deployment.set_clock(hour(7) + 3 * GRACE)
    deployment.compute(0, 6)
    deployment.tick(LATE)  # its first batch is in these files already
    before = deployment.files()
    assert coverage(deployment, 2).value == 40 / 60

    deployment.set_clock(hour(9) + GRACE)
    deployment.label(rows[late], known_at=hour(8))
    results = deployment.pass_on(LATE)
    assert [result.success for result in results] == [True, True], "hour 2, and hours 4 and 5 in one run"

    after = deployment.files()
    changed = {name for name in after if after[name] != before.get(name)}
    assert set(after) == set(before)
    late_hours = {f"2026-11-20T{number:02}Z" for number in (2, 4, 5)}
    kinds = {name.partition("/")[0] for name in changed}
    assert kinds - {"diagnoses"} == LABELLED
    for kind in LABELLED:
        assert {name.partition("/")[2] for name in changed if name.startswith(f"{kind}/")} == late_hours
    assert {name.partition("/")[2] for name in changed} == late_hours, "and no file of another hour"
    assert coverage(deployment, 2).value == 1.0
    assert deployment.tick(LATE).run_requests == []


def test_a_corrected_label_replaces_the_first_one_and_a_repeated_one_changes_nothing(deployment: Deployment) -> None:
    rows = deployment.serve(0, 1)
    deployment.set_clock(hour(2) + GRACE)
    deployment.compute(0, 1)
    deployment.tick(LATE)
    before = deployment.files()

    deployment.label(rows)
    assert [result.success for result in deployment.pass_on(LATE)] == [True]
    assert deployment.files() == before, "asked for, because labels arrived; equal, because they say the same"

    wrong = rows[rows["predicted_at"] < hour(1)]
    deployment.label(wrong.assign(actual=1 - wrong["actual"]), known_at=hour(2))
    assert [result.success for result in deployment.pass_on(LATE)] == [True]
    after = deployment.files("outcomes")
    assert [name for name in after if after[name] != before[name]] == ["outcomes/2026-11-20T00Z"]


def test_what_late_labels_changed_is_shown_beside_what_was_seen_first(deployment: Deployment) -> None:
    rows = deployment.serve(0, 0, labels=False)
    right, wrong = rows.iloc[12:], rows.iloc[:12]
    deployment.label(right, known_at=hour(1))
    deployment.set_clock(hour(1) + GRACE)
    deployment.process(0, 0)
    deployment.tick(LATE)
    assert "changed_by_late_labels" not in of_performance(deployment)

    deployment.set_clock(hour(3) + GRACE)
    deployment.label(wrong.assign(actual=1 - wrong["actual"]), known_at=hour(2))
    assert [result.success for result in deployment.pass_on(LATE)] == [True]
    table = of_performance(deployment)["changed_by_late_labels"]
    assert isinstance(table, dg.TableMetadataValue)
    found = {(str(record.data["metric"]), record.data["window"]): record.data for record in table.records}
    coverage_row = found["performance.label_coverage", "1h"]
    assert (coverage_row["first seen"], coverage_row["now"]) == ("0.8", "1")
    accuracy = found["performance.accuracy", "1h"]
    assert float(str(accuracy["now"])) < float(str(accuracy["first seen"])), "every label that came later was turned"
    assert all(metric.startswith("performance.") for metric, _ in found)


def of_performance(deployment: Deployment) -> Mapping[str, dg.MetadataValue]:
    """Return the metadata of the newest materialisation of performance."""
    newest = deployment.instance.get_latest_materialization_event(dg.AssetKey([MODEL, "performance_report"]))
    assert newest is not None
    assert newest.asset_materialization is not None
    return newest.asset_materialization.metadata
