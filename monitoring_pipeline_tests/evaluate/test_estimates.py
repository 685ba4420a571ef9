from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task
from monitoring_pipeline.evaluate.estimates import EstimatePolicy, estimates_by_version
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline_tests.traffic import hour, reference

CLASSES = ("blue", "green", "red")
BINARY = OutcomePlan()
MULTICLASS = OutcomePlan(
    Task.MULTICLASS, LogColumns(probabilities={name: f"p_{name}" for name in CLASSES}), classes=CLASSES
)
DAY = timedelta(days=1)


def binary(rows: int, seed: int, *, shift: float = 0.0, labels: float = 1.0, flipped: float = 0.0) -> pa.Table:
    """Rows whose scores are too bold, moved by `shift`; a share of labels is known, and a share flipped."""
    generator = np.random.default_rng(seed)
    score = np.clip(generator.beta(2, 3, rows) + shift, 0.001, 0.999)
    truth = (generator.random(rows) < 0.25 + 0.5 * score).astype(float)
    truth = np.where(generator.random(rows) < flipped, 1 - truth, truth)
    known = generator.random(rows) < labels
    return pa.table(
        {
            "actual": pa.array(truth, mask=~known),
            "score": score,
            "prediction": (score > 0.5).astype(float),
            "labelled_at": pa.nulls(rows, pa.timestamp("us", tz="UTC")),
        }
    )


def multiclass(rows: int, seed: int, *, labels: float = 1.0, alpha: tuple[float, ...] = (2.0, 1.0, 0.5)) -> pa.Table:
    generator = np.random.default_rng(seed)
    scores = generator.dirichlet(alpha, rows)
    bold = np.square(scores) / np.square(scores).sum(axis=1, keepdims=True)
    truth = np.array(CLASSES)[(generator.random((rows, 1)) > scores.cumsum(axis=1)).sum(axis=1)]
    known = generator.random(rows) < labels
    columns = {f"p_{name}": bold[:, at] for at, name in enumerate(CLASSES)}
    served = np.array(CLASSES)[bold.argmax(axis=1)]
    columns |= {"actual": pa.array(truth, mask=~known), "prediction": served}
    return pa.table(columns | {"labelled_at": pa.nulls(rows, pa.timestamp("us", tz="UTC"))})


def estimated(
    parts: dict[int, pa.Table], before: pa.Table, plan: OutcomePlan = BINARY, *, at: int | None = None, **more: Any
) -> dict[str, Signal]:
    outcomes: dict[datetime, dict[str, OutcomeProfile]] = {hour(n): {"3": plan.of(rows)} for n, rows in parts.items()}
    own = _reference(plan.of(before))
    policy = EstimatePolicy((HOUR,), plan, **more)
    signals = estimates_by_version("m", outcomes, {"3": own}, [hour(max(parts) if at is None else at)], policy)
    return {signal.metric.removeprefix("estimate."): signal for signal in signals}


def _reference(outcomes: OutcomeProfile) -> Any:
    from dataclasses import replace

    from monitoring_pipeline_tests.traffic import log_rows

    return replace(reference(log_rows(300, seed=1)), outcomes=outcomes)


def test_estimates_are_what_labels_show_later_although_the_scores_are_no_probabilities_and_have_moved() -> None:
    rows = binary(20_000, 1, shift=0.05)
    found = estimated({0: binary(20_000, 1, shift=0.05, labels=0.0)}, binary(60_000, 2))
    truth, score, served = (rows[name].to_numpy() for name in ("actual", "score", "prediction"))
    shown = {
        "accuracy": sk.accuracy_score(truth, served),
        "precision": sk.precision_score(truth, served),
        "recall": sk.recall_score(truth, served),
        "f1": sk.f1_score(truth, served),
        "roc_auc": sk.roc_auc_score(truth, score),
        "log_loss": sk.log_loss(truth, score),
        "brier": sk.brier_score_loss(truth, score),
        "positive_rate": truth.mean(),
    }
    for name, value in shown.items():
        signal = found[name]
        assert signal.low is not None
        assert signal.high is not None
        assert signal.low < value < signal.high, (name, value, signal)
        assert signal.high - signal.low < 0.03
        assert signal.baseline_value is not None
    assert found["error"].absence is Absence.NO_LABELS_YET


def test_intervals_hold_what_labels_show_as_often_as_they_say() -> None:
    names = ("accuracy", "f1", "roc_auc", "log_loss")
    hits = dict.fromkeys(names, 0)
    for seed in range(100):
        rows = binary(800, 1000 + seed)
        found = estimated({0: rows}, binary(4000, seed))
        truth, score, served = (rows[name].to_numpy() for name in ("actual", "score", "prediction"))
        of_classes = sk.accuracy_score(truth, served), sk.f1_score(truth, served)
        shown = (*of_classes, sk.roc_auc_score(truth, score), sk.log_loss(truth, score))
        for name, value in zip(names, shown, strict=True):
            low, high = found[name].low, found[name].high
            assert low is not None
            assert high is not None
            hits[name] += low < value < high
    assert all(88 <= count <= 100 for count in hits.values()), hits  # 95 are expected


def test_several_classes_are_estimated_too() -> None:
    rows = multiclass(20_000, 1, alpha=(1.0, 1.5, 0.8))
    found = estimated({0: multiclass(20_000, 1, alpha=(1.0, 1.5, 0.8), labels=0.0)}, multiclass(60_000, 2), MULTICLASS)
    truth, served = rows["actual"].to_pylist(), rows["prediction"].to_pylist()
    scores = np.stack([rows[f"p_{name}"].to_numpy() for name in CLASSES], axis=-1)
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(truth, served), abs=0.015)
    assert found["f1"].value == pytest.approx(sk.f1_score(truth, served, average="macro"), abs=0.02)
    area = sk.roc_auc_score(truth, scores, multi_class="ovr", labels=list(CLASSES))
    assert found["roc_auc"].value == pytest.approx(area, abs=0.02)
    assert found["accuracy"].low is not None


def test_a_change_in_what_scores_mean_is_seen_only_in_the_error_once_labels_land() -> None:
    well = {number: binary(300, number) for number in range(72)}
    fine = estimated(well, binary(20_000, 999))["largest_error"]
    assert (fine.value, fine.reason) == (0.0, "estimates agreed with the labels of 3 days")
    storm = {number: binary(300, number, flipped=0.9 if 24 <= number < 48 else 0.0) for number in range(72)}
    during = estimated(storm, binary(20_000, 999), at=47)
    assert during["accuracy"].value is not None
    assert during["accuracy"].value > 0.55  # the estimate itself sees nothing
    assert judge_by_limits(during["error"], LIMITS["estimate.error"]).level == "warning"
    later = estimated(storm, binary(20_000, 999))["largest_error"]
    verdict = judge_by_limits(later, LIMITS["estimate.largest_error"])
    assert verdict.level == "warning"
    assert verdict.reason.startswith("estimates of accuracy were off by 0.")
    assert verdict.reason.endswith("in the 24 hours to 2026-11-22 00:00Z: do not rely on them")


def test_what_cannot_be_estimated_says_why() -> None:
    assert estimated({0: binary(50, 1)}, binary(900, 2))["accuracy"].absence is Absence.TOO_FEW_ROWS
    nothing = binary(300, 1).set_column(1, "score", pa.array([None] * 300, pa.float64()))
    found = estimated({0: nothing}, binary(900, 2))
    assert found["accuracy"].absence is Absence.TOO_FEW_ROWS
    outcomes = {hour(0): {"3": BINARY.of(binary(300, 1))}}
    (error, largest) = estimates_by_version("m", outcomes, {}, [hour(0)], EstimatePolicy((HOUR,)))
    assert error.absence is Absence.NO_REFERENCE
    assert largest.absence is Absence.NO_LABELS_YET


def test_estimates_do_not_look_at_labels() -> None:
    with_labels = estimated({0: binary(900, 1)}, binary(5000, 2))
    without = estimated({0: binary(900, 1, labels=0.0)}, binary(5000, 2))
    names = with_labels.keys() - {"error", "largest_error"}
    assert len(names) == 9
    assert {name: with_labels[name] for name in names} == {name: without[name] for name in names}
