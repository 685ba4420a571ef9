"""Metrics of a classifier with more than two classes: of all rows, averaged over the classes, and of each class.

accuracy, log_loss, brier, expected_calibration_error (of the largest probability), cost; precision, recall, f1 and
roc_auc (one class against the rest) of each class, their plain averages under the same names, and with `_weighted`
those weighted by how frequent the class is; positive_rate of each class. Averages are scikit-learn's: over the classes
that occur or were served, a class that was never served having a precision of 0. Add a metric here. Keep windows and
absences out: they belong in performance.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from monitoring_pipeline.describe.columns import FloatArray, IntArray
from monitoring_pipeline.describe.multiclass_outcomes import MulticlassOutcomes
from monitoring_pipeline.evaluate.binary_measures import cost_measure
from monitoring_pipeline.evaluate.measures import Costs, Measure
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.stats.classification import (
    calibration_error_interval,
    expected_calibration_error,
    roc_auc_from_histograms,
    roc_auc_interval,
)
from monitoring_pipeline.stats.intervals import f1_interval, normal_interval, wilson_interval

RESAMPLED = 400
"""Times the rows are drawn again for the intervals of averages."""

SEED = 20_130_101


def multiclass_measures(total: MulticlassOutcomes, costs: Costs) -> Iterator[Measure]:
    """Yield every metric of the rows."""
    confusion, classes = confusion_matrix(total)
    yield from _of_all(confusion, classes, costs)
    yield from _of_each(confusion, classes)
    yield from _of_scores(total)


def confusion_matrix(total: MulticlassOutcomes) -> tuple[IntArray, list[str]]:
    """Return rows by actual and predicted class, shape (k, k), and the k classes that occur or were served."""
    classes = sorted({*total.confusion, *(name for row in total.confusion.values() for name in row)})
    counts = [[total.confusion.get(actual, {}).get(served, 0) for served in classes] for actual in classes]
    return np.array(counts, dtype=np.int64).reshape(len(classes), len(classes)), classes


def _of_all(confusion: IntArray, classes: list[str], costs: Costs) -> Iterator[Measure]:
    rows = int(confusion.sum())
    measure = partial(Measure, rows=rows, basis="prediction", basis_rows=rows)
    hits = int(np.trace(confusion))
    low, high = map(float, wilson_interval(hits, rows))
    yield measure(name="accuracy", value=hits / rows if rows else np.nan, low=low, high=high)
    if costs:
        each = np.array([[costs.get(actual, {}).get(served, 0.0) for served in classes] for actual in classes])
        yield cost_measure(confusion, each.reshape(confusion.shape))
    drawn = np.empty((0, *confusion.shape))
    if rows:
        generator = np.random.default_rng(SEED)
        drawn = generator.multinomial(rows, confusion.ravel() / rows, RESAMPLED).reshape(-1, *confusion.shape)
    values, again = averages(confusion), averages(drawn)
    for name, value in values.items():
        ends = np.nanquantile(again[name], [0.025, 0.975]) if rows else (np.nan, np.nan)
        yield measure(name=name, value=float(value), low=float(ends[0]), high=float(ends[1]))


def averages(confusion: FloatArray | IntArray) -> dict[str, FloatArray]:
    """Return the averages over classes of confusion matrices, shape (..., k, k), by name; NaN without rows."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    actual, served = confusion.sum(axis=-1), confusion.sum(axis=-2)
    present = (actual + served) > 0
    each = {
        "precision": hits / np.maximum(served, 1),
        "recall": hits / np.maximum(actual, 1),
        "f1": 2 * hits / np.maximum(actual + served, 1),
    }
    rows, known = actual.sum(axis=-1), present.sum(axis=-1)
    found = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for name, values in each.items():
            found[name] = np.asarray(np.where(present, values, 0.0).sum(axis=-1) / known)
            if name != "recall":  # weighted, that is the accuracy
                found[f"{name}_weighted"] = np.asarray((values * actual).sum(axis=-1) / rows)
    return found


def _of_each(confusion: IntArray, classes: list[str]) -> Iterator[Measure]:
    rows = int(confusion.sum())
    for place, name in enumerate(classes):
        hits, actual, served = (
            int(each) for each in (confusion[place, place], confusion[place].sum(), confusion[:, place].sum())
        )
        measure = partial(Measure, part=f"class={name}", basis="prediction", basis_rows=rows)
        for metric, k, n in (("precision", hits, served), ("recall", hits, actual), ("positive_rate", actual, rows)):
            low, high = map(float, wilson_interval(k, n))
            yield measure(name=metric, value=k / n if n else np.nan, rows=n, low=low, high=high)
        low, high = map(float, f1_interval(hits, served - hits, actual - hits))
        f1 = 2 * hits / (actual + served) if actual + served else np.nan
        yield measure(name="f1", value=f1, rows=actual, low=low, high=high)


def _of_scores(total: MulticlassOutcomes) -> Iterator[Measure]:
    scored = total.scored
    measure = partial(Measure, rows=scored, basis="score", basis_rows=scored)
    areas: dict[str, tuple[float, float, float, int]] = {}
    for name in sorted(total.positives):
        positives, negatives = total.positives[name], total.negatives[name]
        area = float(roc_auc_from_histograms(positives, negatives))
        low, high = map(float, roc_auc_interval(positives, negatives))
        found = int(positives.sum())
        reason = f"{found} of {scored} scored labels are {name!r}"
        yield measure(
            name="roc_auc", part=f"class={name}", value=area, low=low, high=high,
            absence=Absence.ONE_CLASS_ONLY, reason=reason,
        )  # fmt: skip
        areas[name] = area, low, high, found
    table = np.array(list(areas.values())).reshape(-1, 4)
    defined = bool(len(table)) and bool(np.isfinite(table[:, 0]).all())
    for name, weights in (("roc_auc", np.ones(len(table))), ("roc_auc_weighted", table[:, 3])):
        # As wide as if all classes erred together: how they depend on each other is not counted.
        value, low, high = np.average(table[:, :3], axis=0, weights=weights) if defined else (np.nan,) * 3
        yield measure(
            name=name, value=float(value), low=float(low), high=float(high),
            absence=Absence.ONE_CLASS_ONLY, reason=f"not every class occurs among {scored} scored labels",
        )  # fmt: skip
    for name, unit, place in (("log_loss", "nat", 0), ("brier", "1", 2)):
        mean, square = (total.losses[place] / scored, total.losses[place + 1] / scored) if scored else (np.nan, np.nan)
        low, high = map(float, normal_interval(mean, max(square - mean**2, 0.0), rows=scored))
        yield measure(name=name, value=float(mean), low=low, high=high, unit=unit)
    low, high = map(float, calibration_error_interval(*total.confidence))
    error = float(expected_calibration_error(*total.confidence))
    yield measure(name="expected_calibration_error", value=error, low=low, high=high)
