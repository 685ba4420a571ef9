from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.reference_building import ColumnSpec
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.predictive_power import predictive_power_signals
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.traffic import hour, reference

Columns = Mapping[str, Any]


def table(columns: Columns, actual: Any) -> pa.Table:
    rows = len(actual)
    return pa.table({**columns, "actual": actual, "prediction_id": [str(number) for number in range(rows)]})


def against(rows: pa.Table, kinds: Mapping[str, ColumnKind] | None = None) -> Reference:
    specs = [
        ColumnSpec(name, ColumnRole.FEATURE, (kinds or {}).get(name, ColumnKind.NUMERIC))
        for name in rows.column_names
        if name not in ("actual", "prediction_id")
    ]
    return reference(rows, specs)


def power(
    before: pa.Table, now: pa.Table, kinds: Mapping[str, ColumnKind] | None = None, **asked: Any
) -> dict[tuple[str, str], Signal]:
    asked = {"reference_label": "actual"} | asked
    found = predictive_power_signals(against(before, kinds), before, now, start=hour(0), end=hour(24), **asked)
    return {(each.metric.removeprefix("attribution."), each.column): each for each in found}


def classes(rows: int, *, seed: int, rate: float = 0.3) -> npt.NDArray[np.int64]:
    return (np.random.default_rng(seed).random(rows) < rate).astype(np.int64)


def noisy(outcomes: npt.NDArray[Any], *, by: float, seed: int) -> npt.NDArray[np.float64]:
    return outcomes * by + np.random.default_rng(seed).standard_normal(len(outcomes))


def level(signal: Signal) -> Level:
    return judge_by_limits(signal, LIMITS[signal.metric]).level


def test_a_feature_that_now_contains_the_outcome_is_critical_and_said_to() -> None:
    was, now = classes(4000, seed=1), classes(800, seed=2)
    before = table({"visits": noisy(was, by=0.5, seed=3), "age": noisy(was, by=1.0, seed=4)}, was)
    after = table({"visits": noisy(now, by=9.0, seed=5), "age": noisy(now, by=1.0, seed=6)}, now)
    found = power(before, after)
    leak = found["leakage", "visits"]
    assert level(leak) is Level.CRITICAL
    assert (
        leak.reason == "visits separates the classes with AUC 1.00, 0.63 at the reference: it may contain the outcome"
    )
    assert found["predictive_power", "visits"].baseline_value == pytest.approx(0.63, abs=0.01)
    assert level(found["leakage", "age"]) is Level.OK
    assert found["leakage", "age"].reason == ""


def test_a_missing_value_can_give_the_outcome_away_and_so_can_a_category() -> None:
    was, now = classes(2000, seed=1), classes(600, seed=2)
    plans = np.random.default_rng(3).choice(["a", "b", "c"], 2000).tolist()
    before = table({"closed": noisy(was, by=0.0, seed=4), "plan": plans}, was)
    closed = [None if churned else float(number) for number, churned in enumerate(now)]
    after = table({"closed": closed, "plan": ["ended" if churned else "a" for churned in now]}, now)
    found = power(before, after, {"plan": ColumnKind.CATEGORICAL})
    assert {level(found["leakage", name]) for name in ("closed", "plan")} == {Level.CRITICAL}


def test_a_feature_that_gave_the_reference_away_and_no_longer_does_is_said_to() -> None:
    was, now = classes(2000, seed=1), classes(600, seed=2)
    before, after = (table({"x": noisy(rows, by=by, seed=3)}, rows) for rows, by in ((was, 9.0), (now, 1.0)))
    leak = power(before, after)["leakage", "x"]
    assert level(leak) is not Level.OK
    assert leak.reason.endswith("at the reference: the reference rows may have contained the outcome")


def test_a_feature_that_grew_weaker_without_ever_being_that_strong_is_no_leak() -> None:
    was, now = classes(2000, seed=1), classes(600, seed=2)
    before, after = (table({"x": noisy(rows, by=by, seed=3)}, rows) for rows, by in ((was, 1.5), (now, 0.0)))
    leak = power(before, after)["leakage", "x"]
    assert leak.value is not None
    assert leak.value < -0.2
    assert level(leak) is Level.OK


@pytest.mark.parametrize("rate", [0.5, 0.1])
def test_the_power_of_a_number_is_close_to_the_area_of_its_values(rate: float) -> None:
    outcomes = classes(5000, seed=1, rate=rate)
    for by in (0.5, 1.0, 2.0, -1.0):
        values = noisy(outcomes, by=by, seed=2)
        rows = table({"x": values}, outcomes)
        found = power(rows, rows)["predictive_power", "x"]
        area = roc_auc_score(outcomes, values)
        assert found.value == pytest.approx(max(area, 1 - area), abs=0.03)
        assert found.low is not None
        assert found.high is not None
        assert found.low < max(area, 1 - area) < found.high + 0.01


def test_relations_that_turn_round_count_and_noise_does_not() -> None:
    values = np.random.default_rng(1).standard_normal(3000)
    outcomes = (np.abs(values) > 1.0).astype(np.int64)
    ids = [f"user {number}" for number in range(3000)]
    noise = np.random.default_rng(2).standard_normal(3000)
    rows = table({"both ends": values, "id": ids, "noise": noise, "one": [1.0] * 3000}, outcomes)
    found = power(rows, rows, {"id": ColumnKind.CATEGORICAL})
    values_of = {name: found["predictive_power", name].value for name in ("both ends", "id", "noise", "one")}
    assert values_of == {"both ends": pytest.approx(1.0, abs=0.02), "id": 0.5, "noise": 0.5, "one": 0.5} | {
        "noise": pytest.approx(0.5, abs=0.03)
    }


def test_a_regression_is_judged_by_rank_correlation() -> None:
    was, now = (np.random.default_rng(seed).standard_normal(1500) for seed in (1, 2))
    before, after = (table({"x": noisy(rows, by=by, seed=3)}, rows) for rows, by in ((was, 0.3), (now, 50.0)))
    found = power(before, after, regression=True)
    correlation = np.corrcoef(np.argsort(np.argsort(was)), np.argsort(np.argsort(before["x"].to_numpy())))[0, 1]
    assert found["predictive_power", "x"].baseline_value == pytest.approx(correlation, abs=0.04)
    assert level(found["leakage", "x"]) is Level.CRITICAL
    assert found["leakage", "x"].reason.startswith(
        "x orders the outcomes with a rank correlation of 1.00, 0.31 at the reference"
    )


def test_with_more_than_two_classes_power_is_the_mean_over_classes() -> None:
    outcomes = np.random.default_rng(1).choice(["a", "b", "c"], 3000)
    rows = table({"x": (outcomes == "a") * 9.0 + np.random.default_rng(2).standard_normal(3000)}, outcomes.tolist())
    # Alone `a` is told apart; each of the other two is told from it, half of the rest.
    assert power(rows, rows)["predictive_power", "x"].value == pytest.approx((1.0 + 0.75 + 0.75) / 3, abs=0.02)


def test_no_change_raises_no_alarm_with_few_rows_in_a_class() -> None:
    raised = 0
    was = classes(5000, seed=1, rate=0.15)
    before = table({f"x{place}": noisy(was, by=0.5, seed=place) for place in range(20)}, was)
    for seed in range(10):
        now = classes(300, seed=seed + 100, rate=0.15)
        after = table({f"x{place}": noisy(now, by=0.5, seed=1000 * seed + place) for place in range(20)}, now)
        found = power(before, after)
        raised += sum(level(each) is not Level.OK for (name, _), each in found.items() if name == "leakage")
    assert raised == 0


@pytest.mark.parametrize(
    ("columns", "label", "absence", "reason"),
    [
        ({"x": [1.0] * 300}, None, Absence.NO_REFERENCE, "reference rows: without labels"),
        ({"y": [1.0] * 300}, "actual", Absence.MISSING_COLUMN, "the sampled rows lack it"),
        ({"x": [1.0] * 10}, "actual", Absence.TOO_FEW_ROWS, "sampled rows: 10 have a label, 200 are needed"),
    ],
)
def test_what_cannot_be_known_is_absent_with_the_reason(
    columns: Columns, label: str | None, absence: Absence, reason: str
) -> None:
    before = table({"x": [1.0, 2.0] * 200}, [0, 1] * 200)
    rows = len(next(iter(columns.values())))
    found = power(before, table(columns, ([0, 1] * rows)[:rows]), reference_label=label)
    assert {(each.absence, each.reason) for each in found.values()} == {(absence, reason)}


def test_rows_without_a_label_and_classes_with_few_rows_do_not_count() -> None:
    before = table({"x": [1.0, 2.0] * 200}, [0, 1] * 200)
    few = power(before, table({"x": [1.0] * 420}, [0] * 395 + [1] * 5 + [None] * 20))
    assert few["leakage", "x"].reason == "sampled rows: too few of one class, 30 are needed"


def test_a_poisoned_feature_leaves_the_others_as_they_are() -> None:
    was, now = classes(1000, seed=1), classes(400, seed=2)
    before = table({"good": noisy(was, by=1, seed=3), "bad": noisy(was, by=1, seed=4)}, was)
    good = noisy(now, by=1, seed=5)
    plain = power(before, table({"good": good, "bad": noisy(now, by=1, seed=6)}, now))
    for bad in (["x"] * 400, [float("inf")] * 400, [[1]] * 400, [None] * 400, [b"\xff"] * 400):
        found = power(before, table({"good": good, "bad": bad}, now))
        assert {key: each for key, each in found.items() if key[1] == "good"} == {
            key: each for key, each in plain.items() if key[1] == "good"
        }
