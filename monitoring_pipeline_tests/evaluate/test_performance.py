from collections.abc import Mapping
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.evaluate.performance import (
    PerformancePolicy,
    performance_by_version,
    performance_signals,
)
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.stats.classification import roc_auc_error_bound
from monitoring_pipeline_tests.traffic import hour, log_rows, reference

Array = NDArray[np.float64]
KNOWN = datetime(2026, 11, 20, 1, 30, tzinfo=UTC)
SCORED = ("roc_auc", "average_precision", "log_loss", "brier", "expected_calibration_error", "mean_score")
SERVED = ("accuracy", "precision", "recall", "f1")


def rows(size: int, seed: int) -> tuple[Array, Array, Array]:
    """Truth, scores that are calibrated, and served classes."""
    generator = np.random.default_rng(seed)
    score = generator.beta(2, 3, size)
    truth = (generator.random(size) < score).astype(float)
    return truth, score, (score > 0.5).astype(float)


def outcome(truth: Any, score: Any, served: Any, *, unlabelled: int = 0) -> BinaryOutcomes:
    pad = [None] * unlabelled
    known = [KNOWN] * len(truth) + pad
    table = pa.table(
        {
            "actual": pa.array([*list(truth), *pad], pa.float64()),
            "score": pa.array([*list(score), *pad], pa.float64()),
            "prediction": pa.array([*list(served), *pad], pa.float64()),
            "labelled_at": pa.array(known, pa.timestamp("us", tz="UTC")),
        }
    )
    return BinaryOutcomes.of(table, score="score", prediction="prediction")


def measured(
    outcomes: Mapping[datetime, BinaryOutcomes], *, length: int = 1, at: int = 0, **more: Any
) -> dict[str, Signal]:
    baseline = more.pop("baseline", None)
    policy = PerformancePolicy((length * HOUR,), **{"min_rows": 1, **more})
    signals = performance_signals("m", "1", outcomes, [hour(at)], policy, baseline=baseline)
    return {signal.metric.removeprefix("performance."): signal for signal in signals}


def test_the_numbers_are_those_of_scikit_learn_on_the_raw_rows() -> None:
    parts = [rows(size, seed) for seed, size in enumerate((900, 3, 1200))]
    found = measured({hour(at): outcome(*part) for at, part in enumerate(parts)}, length=3, at=2)
    truth, score, served = (np.concatenate(column) for column in zip(*parts, strict=True))
    exact = {
        "accuracy": sk.accuracy_score(truth, served),
        "precision": sk.precision_score(truth, served),
        "recall": sk.recall_score(truth, served),
        "f1": sk.f1_score(truth, served),
        "log_loss": sk.log_loss(truth, score),
        "brier": sk.brier_score_loss(truth, score),
        "positive_rate": truth.mean(),
        "mean_score": score.mean(),
    }
    for name, expected in exact.items():
        assert found[name].value == pytest.approx(expected, rel=1e-9), name
    total = reduce(OutcomeProfile.merge, [outcome(*part) for part in parts])
    assert isinstance(total, BinaryOutcomes)
    assert total.confusion.tolist() == sk.confusion_matrix(truth, served).tolist()
    bound = float(roc_auc_error_bound(total.positives, total.negatives))
    assert found["roc_auc"].value == pytest.approx(sk.roc_auc_score(truth, score), abs=bound + 1e-12)
    assert bound < 0.003
    assert found["average_precision"].value == pytest.approx(sk.average_precision_score(truth, score), abs=0.01)
    places = np.minimum((score * 20).astype(int), 19)
    gaps = [abs(truth[places == place].sum() - score[places == place].sum()) for place in range(20)]
    assert found["expected_calibration_error"].value == pytest.approx(sum(gaps) / len(truth), rel=1e-9)
    assert {found[name].rows for name in SCORED} == {len(truth)}


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    truth = {"accuracy": 0.0, "roc_auc": 0.0, "log_loss": 0.0, "brier": 0.0, "f1": 0.0, "recall": 0.0}
    everything = measured({hour(0): outcome(*rows(200_000, 99))})
    for seed in range(150):
        found = measured({hour(0): outcome(*rows(400, seed))})
        for name in truth:
            low, value, high = found[name].low, everything[name].value, found[name].high
            assert low is not None
            assert high is not None
            assert value is not None
            truth[name] += low <= value <= high
    assert all(132 <= hits <= 149 for hits in truth.values()), truth  # 142 are expected at 95 %


def test_equal_losses_have_an_interval_without_width() -> None:
    found = measured({hour(0): outcome([1.0, 1.0, 1.0], [0.3] * 3, [0.0] * 3)})
    loss = found["log_loss"]
    assert loss.low == loss.high == loss.value == pytest.approx(-np.log(0.3))
    assert found["brier"].value == pytest.approx(0.49)


def absences(found: Mapping[str, Signal]) -> dict[str, Absence | None]:
    return {name: signal.absence for name, signal in found.items()}


def test_an_hour_without_predictions_labels_or_enough_of_them_says_which() -> None:
    empty = absences(measured({hour(0): BinaryOutcomes()}))
    assert set(empty.values()) == {Absence.EMPTY_HOUR}
    unlabelled = measured({hour(0): outcome([], [], [], unlabelled=40)})
    coverage = unlabelled.pop("label_coverage")
    assert (coverage.value, coverage.rows) == (0.0, 40)
    assert set(absences(unlabelled).values()) == {Absence.NO_LABELS_YET}
    young = measured({hour(0): outcome(*rows(50, 1), unlabelled=50)}, min_coverage=0.6)
    assert young.pop("label_coverage").value == 0.5
    assert set(absences(young).values()) == {Absence.LABELS_IMMATURE}
    assert "50 of 100 predictions have labels, 60% are needed" in young["accuracy"].reason
    few = measured({hour(0): outcome(*rows(50, 1))}, min_rows=51)
    assert few.pop("label_coverage").value == 1.0
    assert set(absences(few).values()) == {Absence.TOO_FEW_ROWS}


def test_a_window_with_missing_hours_is_warming_up() -> None:
    found = measured({hour(0): outcome(*rows(50, 1)), hour(2): outcome(*rows(50, 2))}, length=3, at=2)
    assert set(absences(found).values()) == {Absence.WARMING_UP}
    assert found["accuracy"].reason == "2 of 3 hours described"


def test_with_one_class_only_the_ranking_is_not_known_and_the_rest_is() -> None:
    found = measured({hour(0): outcome([0.0] * 30, [0.2] * 30, [0.0] * 30)})
    names = absences(found)
    assert names["roc_auc"] is names["average_precision"] is Absence.ONE_CLASS_ONLY
    assert found["roc_auc"].reason == "0 positives among 30 scored labels"
    assert names["precision"] is names["recall"] is names["f1"] is Absence.UNDEFINED
    assert found["accuracy"].value == 1.0


def test_a_model_whose_scores_or_classes_are_not_usable_loses_those_numbers_alone() -> None:
    truth, score, served = rows(200, 3)
    without_scores = measured({hour(0): outcome(truth, [None] * 199 + [0.5], served)}, min_rows=100)
    assert {without_scores[name].absence for name in SCORED} == {Absence.TOO_FEW_ROWS}
    assert "1 labelled rows with a usable score, 100 are needed" in without_scores["log_loss"].reason
    assert without_scores["accuracy"].value is not None
    without_classes = measured({hour(0): outcome(truth, score, [None] * 200)}, min_rows=100)
    assert {without_classes[name].absence for name in SERVED} == {Absence.TOO_FEW_ROWS}
    assert without_classes["roc_auc"].value is not None
    assert without_classes["positive_rate"].value == truth.mean()


def test_coverage_counts_usable_labels_and_says_as_of_when() -> None:
    found = measured({hour(0): outcome([1.0, 0.0, 2.0], [0.5] * 3, [1.0] * 3, unlabelled=1)})["label_coverage"]
    assert (found.value, found.rows) == (0.5, 4)
    assert found.detail == {"labels_as_of": KNOWN.isoformat(), "labelled": 2, "unusable": 1}
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < 0.5 < found.high < 1


def test_the_baseline_of_the_version_stands_beside_every_number_it_defines() -> None:
    baseline = outcome(*rows(2000, 4))
    found = measured({hour(0): outcome(*rows(300, 5))}, baseline=baseline)
    own = measured({hour(0): baseline})
    for name in (*SCORED, *SERVED):
        assert found[name].baseline_value == own[name].value
    one_class = measured({hour(0): outcome(*rows(300, 5))}, baseline=outcome([0.0] * 9, [0.2] * 9, [0.0] * 9))
    assert one_class["roc_auc"].baseline_value is None
    assert measured({hour(0): outcome(*rows(300, 5))})["roc_auc"].baseline_value is None


def test_late_labels_change_the_windows_that_hold_their_hour_and_no_other() -> None:
    outcomes = {hour(number): outcome(*rows(60, number)) for number in range(30)}
    hours = [hour(number) for number in range(24, 30)]
    policy = PerformancePolicy((HOUR, 24 * HOUR), min_rows=1)
    before = performance_signals("m", "1", outcomes, hours, policy)
    after = performance_signals("m", "1", {**outcomes, hour(3): outcome(*rows(61, 3))}, hours, policy)
    changed = {(old.window, old.window_end) for old, new in zip(before, after, strict=True) if old != new}
    assert changed == {("24h", hour(number)) for number in (25, 26, 27)}


def test_every_version_that_served_is_measured_against_its_own_baseline() -> None:
    actual = pa.array(np.random.default_rng(6).integers(0, 2, 500).astype(float))
    own = reference(log_rows(500, seed=6).append_column("late", actual), label="late")
    outcomes = {hour(0): {"3": outcome(*rows(50, 1)), "4": outcome(*rows(50, 2))}, hour(1): {}}
    policy = PerformancePolicy((HOUR,), min_rows=1)
    signals = performance_by_version("m", outcomes, {"3": own}, [hour(0), hour(1)], policy)
    accuracy = [signal for signal in signals if signal.metric == "performance.accuracy"]
    assert [(signal.version, signal.baseline_value is not None) for signal in accuracy] == [("3", True), ("4", False)]


def test_a_calibrated_model_has_an_error_that_reaches_from_zero_and_a_bold_one_has_not() -> None:
    zero = 0
    for seed in range(100):
        calibrated = measured({hour(0): outcome(*rows(300, seed))})["expected_calibration_error"]
        zero += calibrated.low == 0
        assert calibrated.value is not None
        assert calibrated.value > 0.02, "noise alone"
    assert zero >= 92
    truth, score, served = rows(300, 1)
    bold = measured({hour(0): outcome(truth, np.where(score > 0.4, 0.95, 0.05), served)})["expected_calibration_error"]
    assert bold.low is not None
    assert bold.low > 0.1
