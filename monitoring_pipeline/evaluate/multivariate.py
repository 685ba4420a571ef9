"""Multivariate drift: whether whole rows differ from the reference, also where every column alone looks the same.

Metrics: `multivariate.mmd` (squared, unbiased), `multivariate.energy` (energy distance, freed of its bias),
`multivariate.domain_auc` (a classifier telling reference from current rows) and `multivariate.reconstruction_error`
(off the reference's principal components, over the reference's own). Add a metric to `METRICS`. Keep thresholds out:
they belong in judge.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtr

from monitoring_pipeline.capture.arrays import int_values, row_numbers
from monitoring_pipeline.capture.predictions import as_utc
from monitoring_pipeline.describe.blocks import BlockDistances
from monitoring_pipeline.describe.columns import AnyArray, ColumnRole, FloatArray
from monitoring_pipeline.describe.encoding import EncodedRows, encode_rows, varying_dimensions
from monitoring_pipeline.describe.references import ColumnReference, Reference
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.stats.block_limits import (
    block_moments,
    block_p_value_from_moments,
)
from monitoring_pipeline.stats.fitted_rows import fit_principal_components, folded_auc, reconstruction_errors
from monitoring_pipeline.stats.multivariate import energy_permutation_test, mmd_permutation_test

NAMED_COLUMNS = 5
"""Columns named in a signal: enough to see what happened, few enough for a message."""

ROUNDING = 1e-9
"""Reconstruction errors below this are those of components that keep everything."""

LARGEST_ODDS = 1e4
"""An area under the curve of 1 has infinite odds; these are as far as a few thousand rows can tell."""


@dataclass(frozen=True, slots=True)
class MultivariatePolicy:
    """What is measured, and on how many rows: fewer than `min_rows` a side say nothing, of more `max_rows` are sampled.

    permutations: behind a p-value. folds: of the classifier. share: of the variance that the principal components
    keep. max_blocks: of the reference that calibrate it.
    """

    metrics: tuple[str, ...] = ("mmd", "energy", "domain_auc", "reconstruction_error")
    min_rows: int = 200
    max_rows: int = 2000
    permutations: int = 100
    folds: int = 5
    share: float = 0.65
    max_blocks: int = 30


@dataclass(frozen=True, slots=True)
class _Measured:
    """One metric: its value, how often independent rows without change give as much, and what stands behind it.

    `noise` is what rows without change stay below 19 times in 20: a smaller value is not told from 0.
    """

    value: float
    p_value: float
    noise: float = 0.0
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Sides:
    """Rows of both sides as points of the same dimensions, in random order."""

    reference: EncodedRows
    current: EncodedRows


def multivariate_signals(
    reference: Reference,
    reference_rows: pa.Table,
    current_rows: pa.Table,
    *,
    start: datetime,
    end: datetime,
    policy: MultivariatePolicy,
    rng: np.random.Generator,
    calibration: Mapping[str, BlockDistances] | None = None,
    reference_time: str | None = None,
    current_time: str | None = None,
) -> list[Signal]:
    """Return every metric of one window's rows against the rows the version was validated on.

    p-values hold for independent rows, and rows of one day are not: with the `calibration` of
    `calibrate_multivariate` they say how rare the window is among blocks of the reference (never rarer than among
    rows). The detail says which it is. `reference_time` and `current_time` name the columns of the rows' own time,
    which ages are counted from.
    """
    entries, seed = _features(reference), int(rng.integers(2**32))
    tables = ((reference_rows, reference_time), (current_rows, current_time))
    sides = _sides(entries, tables, policy, rng)
    absence = _absence(reference_rows.num_rows, current_rows.num_rows, sides, policy)
    signals = []
    for name in policy.metrics:
        found = absence or _attempt(name, sides, policy, np.random.default_rng(seed))
        signal: dict[str, Any] = {}
        if isinstance(found, _Measured):
            blocks = (calibration or {}).get(name)
            signal["value"], signal["p_value"] = found.value, found.p_value
            signal["detail"] = {**found.detail, "p_value": "rows", "reference_rows": len(sides.reference.values)}
            if blocks is not None:
                signal["p_value"] = max(found.p_value, _block_p_value(name, found, blocks))
                signal["detail"] |= {"p_value": "blocks", "rows_p_value": found.p_value}
        else:
            signal["absence"], signal["reason"] = found
        signals.append(
            Signal(
                metric=f"multivariate.{name}",
                model=reference.model,
                version=reference.version,
                window_start=start,
                window_end=end,
                rows=len(sides.current.values),
                **signal,
            )
        )
    return signals


def calibrate_multivariate(
    reference: Reference,
    reference_rows: pa.Table,
    *,
    time: str,
    length: timedelta,
    policy: MultivariatePolicy,
    rng: np.random.Generator,
) -> dict[str, BlockDistances]:
    """Return, by metric, how far contiguous blocks of the reference of this length lie from the rest of it.

    `time` names the column that orders the rows; those without a time are left out. Blocks lie side by side; those with
    few rows (below `min_rows`, or a quarter of the usual) do not count, and of more than `max_blocks` evenly spaced
    ones are taken. Empty with fewer than 2 blocks. Areas under the curve are kept as odds.
    """
    table = f"reference rows of {reference.model} v{reference.version}"
    at = as_utc(reference_rows[time], name=time, table=table)
    rows, at = reference_rows.filter(at.is_valid()), int_values(at.drop_null().cast(pa.int64()))
    if not len(at):
        return {}
    number = (at - at.min()) // (length // timedelta(microseconds=1))
    counts = np.bincount(number)
    enough = np.maximum(policy.min_rows, np.median(counts[counts > 0]) / 4)
    blocks = np.flatnonzero((counts >= enough) & (len(at) - counts >= policy.min_rows))
    evenly = np.linspace(0, len(blocks) - 1, min(len(blocks), policy.max_blocks)).astype(np.int64)
    distances: dict[str, list[float]] = {name: [] for name in policy.metrics}
    for block in blocks[evenly]:
        inside = pa.array(number == block)
        tables = ((rows.filter(pc.invert(inside)), time), (rows.filter(inside), time))
        sides = _sides(_features(reference), tables, policy, rng)
        for name in policy.metrics if sides.current.columns else ():
            if isinstance(found := _attempt(name, sides, policy, rng), _Measured):
                distances[name].append(_distance(name, found))
    return {name: _block_distances(values) for name, values in distances.items() if len(values) >= 2}


def _block_distances(values: list[float]) -> BlockDistances:
    mean, variance = block_moments(values)
    return BlockDistances(len(values), float(mean), float(variance), max(values))


def _moments(blocks: BlockDistances) -> tuple[float, float]:
    return blocks.mean, blocks.variance


def _distance(name: str, found: _Measured) -> float:
    """Return a value on the scale its logarithm is spread on, no smaller than what rows alone give."""
    if name == "domain_auc":
        return found.value / max(1 - found.value, 1 / LARGEST_ODDS)
    return max(found.value, found.noise)


def _block_p_value(name: str, found: _Measured, blocks: BlockDistances) -> float:
    p_value = float(
        block_p_value_from_moments(_distance(name, found), *_moments(blocks), independent=blocks.independent)
    )
    # Columns that move together more than they used to reconstruct better: less than usual is a change too.
    return 2 * min(p_value, 1 - p_value) if name == "reconstruction_error" else p_value


def _features(reference: Reference) -> list[ColumnReference]:
    return [entry for entry in reference.columns.values() if entry.column.role is ColumnRole.FEATURE]


def _sides(
    entries: list[ColumnReference],
    tables: tuple[tuple[pa.Table, str | None], tuple[pa.Table, str | None]],
    policy: MultivariatePolicy,
    rng: np.random.Generator,
) -> _Sides:
    """Sample and encode the reference and the current rows, each given with the name of its time column."""
    encoded = []
    for rows, time in tables:
        chosen = rng.permutation(rows.num_rows)[: policy.max_rows]
        read = {time, *(entry.column.read_from for entry in entries)}
        names = [name for name in rows.column_names if name in read] or rows.column_names[:1]  # none at all has no rows
        encoded.append(encode_rows(entries, rows.select(names).take(row_numbers(chosen)), time=time))
    return _Sides(*varying_dimensions(encoded))


def _absence(
    reference_rows: int, current_rows: int, sides: _Sides, policy: MultivariatePolicy
) -> tuple[Absence, str] | None:
    if current_rows == 0:
        return Absence.EMPTY_HOUR, "no prediction was logged"
    for rows, side in ((current_rows, ""), (reference_rows, " of the reference")):
        if rows < policy.min_rows:
            return Absence.TOO_FEW_ROWS, f"{rows} rows{side}, multivariate drift needs {policy.min_rows}"
    if not sides.current.columns:
        return Absence.UNDEFINED, "no usable feature: each has one and the same value on both sides"
    return None


Measure = Callable[[_Sides, MultivariatePolicy, np.random.Generator], _Measured]


def _attempt(
    name: str, sides: _Sides, policy: MultivariatePolicy, rng: np.random.Generator
) -> _Measured | tuple[Absence, str]:
    try:
        found = METRICS[name](sides, policy, rng)
    except (ValueError, ArithmeticError, MemoryError) as error:
        return Absence.FAILED, " ".join(f"{name}: {type(error).__name__}: {error}".split())
    if not np.isfinite([found.value, found.p_value]).all():
        return Absence.UNDEFINED, "the formula divides by zero on these rows"
    return found


def _mmd(sides: _Sides, policy: MultivariatePolicy, rng: np.random.Generator) -> _Measured:
    test = mmd_permutation_test(sides.reference.values, sides.current.values, rng=rng, permutations=policy.permutations)
    return _Measured(test.value, test.p_value, test.ordinary, {"ordinary": test.ordinary})


def _energy(sides: _Sides, policy: MultivariatePolicy, rng: np.random.Generator) -> _Measured:
    test = energy_permutation_test(
        sides.reference.values, sides.current.values, rng=rng, permutations=policy.permutations
    )
    value, ordinary = (float(np.sqrt(max(square, 0.0))) for square in (test.value, test.ordinary))
    return _Measured(value, test.p_value, ordinary, {"ordinary": ordinary})


def _reconstruction_error(sides: _Sides, policy: MultivariatePolicy, _: np.random.Generator) -> _Measured:
    """Fit on half of the reference: the errors of rows that were fitted on are too small to be compared with."""
    half = len(sides.reference.values) // 2
    plane = fit_principal_components(sides.reference.values[:half], share=policy.share)
    own = reconstruction_errors(sides.reference.values[half:], plane)
    current = reconstruction_errors(sides.current.values, plane)
    detail = {"components": len(plane.directions), "share": round(plane.share, 4)}
    if own.mean() < ROUNDING:
        return _Measured(float("nan"), float("nan"), detail=detail)
    error = np.sqrt(own.var(ddof=1) / len(own) + current.var(ddof=1) / len(current))
    p_value = float(2 * ndtr(-abs(current.mean() - own.mean()) / error))
    return _Measured(float(current.mean() / own.mean()), p_value, detail=detail)


def _domain_auc(sides: _Sides, policy: MultivariatePolicy, rng: np.random.Generator) -> _Measured:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits

    points = np.concatenate([sides.reference.values, sides.current.values])
    labels = np.repeat([0, 1], [len(sides.reference.values), len(sides.current.values)])
    scores, folds = np.zeros(len(points)), np.zeros(len(points), dtype=np.int64)
    columns = list(dict.fromkeys(sides.current.columns))
    losses = np.zeros(len(columns))
    with threadpool_limits(1):  # a second thread would spend more on waiting than it saves
        splits = StratifiedKFold(policy.folds, shuffle=True, random_state=0).split(points, labels)
        for fold, (train, test) in enumerate(splits):
            model = HistGradientBoostingClassifier(
                max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0
            ).fit(points[train], labels[train])
            scores[test], folds[test] = model.decision_function(points[test]), fold
            area = folded_auc(scores[test], labels[test], folds[test]).auc
            for place, column in enumerate(columns):
                shuffled = _shuffled(points[test], sides.current.places(column), rng)
                without = folded_auc(model.decision_function(shuffled), labels[test], folds[test]).auc
                losses[place] += (area - without) / policy.folds
    found = folded_auc(scores, labels, folds)
    order = np.argsort(-losses, kind="stable")[:NAMED_COLUMNS]
    named = [{"column": columns[i], "importance": round(float(losses[i]), 4)} for i in order if losses[i] > 0]
    return _Measured(found.auc, found.p_value, detail={"columns": named})


def _shuffled(points: FloatArray, places: AnyArray, rng: np.random.Generator) -> FloatArray:
    """Return the rows with the dimensions of one column taken from other rows."""
    shuffled = points.copy()
    shuffled[:, places] = points[rng.permutation(len(points))][:, places]
    return shuffled


METRICS: Mapping[str, Measure] = {
    "mmd": _mmd,
    "energy": _energy,
    "domain_auc": _domain_auc,
    "reconstruction_error": _reconstruction_error,
}
"""What is measured, by the second half of the metric's name."""
