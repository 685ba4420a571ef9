"""Metrics of a classifier with two classes.

accuracy, precision, recall, f1, cost (of the class that was served); roc_auc, average_precision, log_loss, brier,
expected_calibration_error, mean_score (of the score); positive_rate. Add a metric here. Keep windows and absences out:
they belong in performance.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from monitoring_pipeline.describe.binary_outcomes import SCORE_BINS, BinaryOutcomes
from monitoring_pipeline.describe.columns import FloatArray, IntArray
from monitoring_pipeline.evaluate.measures import Costs, Measure
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.stats.classification import (
    average_precision_from_histograms,
    calibration_error_interval,
    expected_calibration_error,
    roc_auc_from_histograms,
    roc_auc_interval,
)
from monitoring_pipeline.stats.intervals import f1_interval, normal_interval, wilson_interval

CALIBRATION_BINS = 20
"""Score bins of the expected calibration error; each sums 25 of the fine ones."""


def binary_measures(total: BinaryOutcomes, costs: Costs) -> Iterator[Measure]:
    """Yield every metric of the rows."""
    yield from _of_classes(total, costs)
    yield from _of_scores(total)


def _of_classes(total: BinaryOutcomes, costs: Costs) -> Iterator[Measure]:
    (tn, fp), (fn, tp) = total.confusion.tolist()
    decided = int(tn + fp + fn + tp)
    measure = partial(Measure, basis="prediction", basis_rows=decided)
    for name, hits, trials in (
        ("accuracy", tp + tn, decided),
        ("precision", tp, tp + fp),
        ("recall", tp, tp + fn),
    ):
        low, high = map(float, wilson_interval(hits, trials))
        yield measure(name=name, value=hits / trials if trials else np.nan, rows=int(trials), low=low, high=high)
    low, high = map(float, f1_interval(tp, fp, fn))
    f1 = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else np.nan
    yield measure(name="f1", value=f1, rows=decided, low=low, high=high)
    if costs:
        each = np.array([[costs.get(actual, {}).get(served, 0.0) for served in "01"] for actual in "01"])
        yield cost_measure(total.confusion, each)
    low, high = map(float, wilson_interval(total.positive, total.labelled))
    value = total.positive / total.labelled if total.labelled else np.nan
    yield Measure(name="positive_rate", value=value, rows=total.labelled, low=low, high=high)


def cost_measure(confusion: IntArray, costs: FloatArray) -> Measure:
    """Return the mean cost of a prediction, from counts and costs by actual and predicted class, shape (k, k)."""
    decided = int(confusion.sum())
    mean = float((confusion * costs).sum() / decided) if decided else np.nan
    variance = float((confusion * np.square(costs - mean)).sum() / decided) if decided else np.nan
    low, high = map(float, normal_interval(mean, variance, rows=decided))
    return Measure(
        name="cost", value=mean, rows=decided, low=low, high=high, unit="cost", basis="prediction", basis_rows=decided
    )


def _of_scores(total: BinaryOutcomes) -> Iterator[Measure]:
    positives, negatives, scored = total.positives, total.negatives, total.scored
    measure = partial(Measure, rows=scored, basis="score", basis_rows=scored)
    one_class = f"{int(positives.sum())} positives among {scored} scored labels"
    ranking = partial(measure, absence=Absence.ONE_CLASS_ONLY, reason=one_class)
    low, high = map(float, roc_auc_interval(positives, negatives))
    yield ranking(name="roc_auc", value=float(roc_auc_from_histograms(positives, negatives)), low=low, high=high)
    yield ranking(name="average_precision", value=float(average_precision_from_histograms(positives, negatives)))
    for name, unit, place in (("log_loss", "nat", 0), ("brier", "1", 2)):
        mean, square = (total.losses[place] / scored, total.losses[place + 1] / scored) if scored else (np.nan, np.nan)
        # Rounding can take a variance below zero.
        low, high = map(float, normal_interval(mean, max(square - mean**2, 0.0), rows=scored))
        yield measure(name=name, value=float(mean), low=low, high=high, unit=unit)
    counts, hits, sums = calibration_table(total)
    table = [
        {"rows": int(n), "mean_score": float(score / n), "positive_rate": float(hit / n)}
        for n, hit, score in zip(counts, hits, sums, strict=True)
        if n
    ]
    low, high = map(float, calibration_error_interval(counts, hits, sums))
    yield measure(
        name="expected_calibration_error",
        value=float(expected_calibration_error(counts, hits, sums)),
        low=low,
        high=high,
        detail={"reliability": table} if table else {},
    )
    yield measure(name="mean_score", value=float(total.score_sums.sum() / scored) if scored else np.nan)


def calibration_table(total: BinaryOutcomes) -> tuple[IntArray, IntArray, FloatArray]:
    """Return rows, positives and sums of the score by coarse score bin, each of shape (CALIBRATION_BINS,)."""
    counts = (total.positives + total.negatives).reshape(CALIBRATION_BINS, -1).sum(axis=1)
    hits = total.positives.reshape(CALIBRATION_BINS, -1).sum(axis=1)
    sums = total.score_sums.reshape(CALIBRATION_BINS, SCORE_BINS // CALIBRATION_BINS).sum(axis=1)
    return counts, hits, sums
