"""Predictive power of single features on labelled rows: one that suddenly tells the outcome may contain it.

Metrics, by feature: `attribution.predictive_power`, the area under the ROC curve of the feature alone (0.5 to 1; the
mean over classes where there are more than two), or its rank correlation with the outcome of a regression (0 to 1);
and `attribution.leakage`, its rise since the reference on the scale of the area, or its fall where the reference rows
were given away by it. No model is needed. A feature's values are put into groups (missing is one), and the rows of a
group are scored by the mean outcome of the group in the other folds: relations that turn round count, noise does not.
Add a measure of one feature against the outcome here. Keep importances to the model out: they belong in attributions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.describe.columns import Column, ColumnKind, ColumnRole, FloatArray, IntArray, numeric_bins
from monitoring_pipeline.describe.kernel import category_names, column_values, floats_with_nan
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.stats.classification import roc_auc_from_histograms, roc_auc_interval
from monitoring_pipeline.stats.intervals import normal_quantile

NAMES = ("attribution.predictive_power", "attribution.leakage")

GROUPS = 20
FOLDS = 5

PRIOR_ROWS = 5.0
"""A group's mean outcome is drawn to that of all rows as by so many rows of it."""

FEWEST_ROWS = 200
FEWEST_OF_CLASS = 30

RISE = 0.1
"""A rise whose interval lies above this is said to be a leak."""

GIVEN_AWAY = 0.95
"""A feature that was this strong at the reference and no longer is has leaked into the reference rows."""


class Power(NamedTuple):
    """How well a feature alone tells the outcome, and the 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class _Labelled:
    """Rows with an outcome: a target for each class (or the ranks of the outcomes), and the fold of every row in it."""

    rows: pa.Table
    targets: FloatArray  # (classes, rows)
    folds: IntArray  # (classes, rows)


def predictive_power_signals(
    reference: Reference,
    reference_rows: pa.Table,
    rows: pa.Table,
    *,
    start: datetime,
    end: datetime,
    reference_label: str | None,
    label: str = "actual",
    regression: bool = False,
    time: str | None = None,
    seed: int = 0,
) -> Iterator[Signal]:
    """Yield the power of every feature on the labelled ones of the rows of [start, end), against the reference's.

    `time` names the rows' own time, in both tables.
    """
    place = {"model": reference.model, "version": reference.version, "window_start": start, "window_end": end}
    before = _labelled(reference_rows, reference_label, regression=regression, seed=seed)
    now = _labelled(rows, label, regression=regression, seed=seed)
    for entry in reference.columns.values():
        column, why = entry.column, None
        if column.role is not ColumnRole.FEATURE:
            continue
        at: dict[str, Any] = place | {"column": column.name}
        if isinstance(before, str):
            why = Absence.NO_REFERENCE, f"reference rows: {before}"
        elif isinstance(now, str):
            why = Absence.TOO_FEW_ROWS, f"sampled rows: {now}"
        elif column.read_from not in rows.column_names:
            why = Absence.MISSING_COLUMN, "the sampled rows lack it"
        else:
            try:
                expected, found = (_power(column, side, regression=regression, time=time) for side in (before, now))
                yield from _signals(expected, found, at | {"rows": now.rows.num_rows}, regression=regression)
            except Exception as error:  # noqa: BLE001 - a feature that cannot be read costs itself alone
                why = Absence.FAILED, f"{type(error).__name__}: {error}"
        if why is not None:
            for name in NAMES:
                yield Signal(name, **at, absence=why[0], reason=why[1])


def _signals(expected: Power, found: Power, at: dict[str, Any], *, regression: bool) -> Iterator[Signal]:
    value, low, high = found
    yield Signal(NAMES[0], **at, value=value, low=low, high=high, baseline_value=expected.value)
    rise = found.value - expected.value
    # The interval of a difference from those of its sides: Zou and Donner (2008), equation 6.
    low = rise - float(np.hypot(found.value - found.low, expected.high - expected.value))
    high = rise + float(np.hypot(found.high - found.value, expected.value - expected.low))
    what, scale = ("separates the classes with AUC", 1.0)
    if regression:  # a rank correlation has twice the range of an area
        what, scale = ("orders the outcomes with a rank correlation of", 0.5)
    said = f"{at['column']} {what} {found.value:.2f}, {expected.value:.2f} at the reference"
    if rise < 0 and 1 - scale * (1 - expected.value) >= GIVEN_AWAY:
        rise, low, high = -rise, -high, -low
        reason = f"{said}: the reference rows may have contained the outcome"
    else:
        reason = f"{said}: it may contain the outcome"
    yield Signal(
        NAMES[1],
        **at,
        value=scale * rise,
        low=scale * low,
        high=scale * high,
        reason=reason if scale * low > RISE else "",
    )


def _labelled(rows: pa.Table, label: str | None, *, regression: bool, seed: int) -> _Labelled | str:
    """Return the rows that have an outcome, or why they cannot tell anything of it."""
    if label is None or label not in rows.column_names:
        return "without labels"
    if regression:
        outcomes = floats_with_nan(rows[label], ColumnKind.NUMERIC)
        known = np.isfinite(outcomes)
        targets = _ranks(outcomes[known])[None]
    else:
        names = category_names(rows[label], ColumnKind.BOOLEAN).combine_chunks().dictionary_encode()
        codes = np.asarray(pc.fill_null(names.indices, -1).to_numpy(zero_copy_only=False))
        known = codes >= 0
        targets = (codes[known] == np.arange(len(names.dictionary))[:, None]).astype(np.float64)
        counts = targets.sum(axis=1)
        targets = targets[(counts >= FEWEST_OF_CLASS) & (known.sum() - counts >= FEWEST_OF_CLASS)]
        targets = targets[:1] if len(counts) == 2 else targets  # the area of one class is that of the other
    if known.sum() < FEWEST_ROWS:
        return f"{known.sum()} have a label, {FEWEST_ROWS} are needed"
    if targets.shape[0] == 0:
        return f"too few of one class, {FEWEST_OF_CLASS} are needed"
    order = np.random.default_rng(seed).random(int(targets.shape[1]))
    folds = np.empty(targets.shape, dtype=np.int64)
    for target, fold in zip(targets, folds, strict=True):
        fold[np.lexsort((order, target))] = np.arange(order.size) % FOLDS
    return _Labelled(rows.filter(pa.array(known)), targets, folds)


def _power(column: Column, labelled: _Labelled, *, regression: bool, time: str | None) -> Power:
    groups = _groups(column, labelled.rows, time)
    found = []
    for target, folds in zip(labelled.targets, labelled.folds, strict=True):
        scores = _cross_fitted(groups, target, folds)
        found.append(_correlation(scores, target) if regression else _area(scores, target))
    # Classes share their rows, so their mean is taken for no surer than one of them.
    return Power(*(float(each) for each in np.mean(found, axis=0)))


def _groups(column: Column, rows: pa.Table, time: str | None) -> IntArray:
    """Return the group of each row, by places: about equally many values each, and missing ones."""
    values = column_values(rows, column.read_from, column.part, time)
    if not column.is_ordered:
        names = category_names(values, column.kind).combine_chunks().dictionary_encode()
        return np.asarray(pc.fill_null(names.indices, len(names.dictionary)).to_numpy(zero_copy_only=False))
    numbers = floats_with_nan(values, ColumnKind.NUMERIC if column.part else column.kind)
    finite = np.isfinite(numbers)
    bins = numeric_bins(np.sort(numbers[finite]), groups=GROUPS)
    places = bins.groups[np.searchsorted(bins.edges, numbers, side="right")]
    return np.where(finite, places, bins.group_count + 1)


def _cross_fitted(groups: IntArray, target: FloatArray, folds: IntArray) -> FloatArray:
    """Return for each row the mean target of its group in the other folds."""
    scores = np.empty(len(target))
    size = int(groups.max()) + 1
    for fold in range(FOLDS):
        inside = folds == fold
        counts = np.bincount(groups[~inside], minlength=size)
        sums = np.bincount(groups[~inside], weights=target[~inside], minlength=size)
        means = (sums + PRIOR_ROWS * target[~inside].mean()) / (counts + PRIOR_ROWS)
        scores[inside] = means[groups[inside]]
    return scores


def _area(scores: FloatArray, target: FloatArray) -> Power:
    """Return the area under the ROC curve; the direction is learnt, so below one half is noise."""
    places = np.unique(scores, return_inverse=True)[1]
    positives, negatives = (np.bincount(places, weights=each) for each in (target, 1 - target))
    low, high = roc_auc_interval(positives, negatives)
    return Power(*(max(float(each), 0.5) for each in (roc_auc_from_histograms(positives, negatives), low, high)))


def _correlation(scores: FloatArray, target: FloatArray) -> Power:
    """Return Spearman's rank correlation, its interval by Bonett and Wright (2000)."""
    ranks, rows = _ranks(scores), scores.shape[0]
    spread = float(ranks.std() * target.std())
    value = float(np.mean((ranks - ranks.mean()) * (target - target.mean())) / spread) if spread > 0 else 0.0
    value = min(max(value, 0.0), 1 - 1e-12)
    half = float(normal_quantile(0.95)) * np.sqrt((1 + value**2 / 2) / (rows - 3))
    return Power(value, max(float(np.tanh(np.arctanh(value) - half)), 0.0), float(np.tanh(np.arctanh(value) + half)))


def _ranks(values: FloatArray) -> FloatArray:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), dtype=np.float64)
