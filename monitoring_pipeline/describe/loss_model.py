"""How wrong a model that predicts numbers is expected to be, given the features and what it predicts.

Learnt on labelled reference rows, kept as plain arrays: nothing is unpickled. Add how a kind of column is read by the
trees here. Keep the estimates out: they belong in evaluate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from monitoring_pipeline.describe.columns import CategoricalBins, Column, ColumnKind, ColumnRole, FloatArray, IntArray
from monitoring_pipeline.describe.kernel import column_values, floats_with_nan, row_places
from monitoring_pipeline.describe.log_histogram import LARGEST

FOLDS = 5
"""Parts of the reference, each left out by one of as many fits: how far those lie apart is how sure they are."""

LEAST_ROWS = 200
"""Reference rows a loss model is worth learning from."""

MOST_ROWS = 20_000

TREES, DEPTH, RATE = 40, 3, 0.12
"""Trees of a fold, their depth, and how much of what is left to explain each of them takes."""

DIGITS = 6
"""Significant digits of losses in the trees; where they cut is exact, since days of this decade differ in the fifth."""

PRIOR_ROWS = 20
"""A category's mean loss counts as if so many rows had the overall mean besides."""

SEED = 20_130_101


class ExpectedLosses(NamedTuple):
    """Of each row the expected |error| and error^2 by every fold, and how far the losses of one row lie from them.

    means: shape (FOLDS, 2, rows). variances: shape (2, rows).
    """

    means: FloatArray
    variances: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """Boosted trees, one after another in the same arrays; a leaf is its own child on both sides.

    values: what a leaf adds to both losses, shape (2, nodes). start: where both begin. tables: mean loss by place of a
    category.
    """

    roots: IntArray
    feature: IntArray
    threshold: FloatArray
    left: IntArray
    right: IntArray
    values: FloatArray
    start: FloatArray
    tables: Mapping[int, FloatArray]

    def sums(self, encoded: Sequence[FloatArray]) -> FloatArray:
        """Return the sums of the trees, shape (2, rows)."""
        read = _with_tables(encoded, self.tables)
        total = np.repeat(self.start[:, None], len(read[0]), axis=1)
        for root in self.roots.tolist():
            total += self.values[:, self._leaves(root, read)]
        return total

    def _leaves(self, node: int, read: Sequence[FloatArray]) -> IntArray:
        left, right = int(self.left[node]), int(self.right[node])
        if left == node:
            return np.full(len(read[0]), node)
        below = read[self.feature[node]] <= self.threshold[node]
        return np.where(below, self._leaves(left, read), self._leaves(right, read))

    def expected(self, encoded: Sequence[FloatArray]) -> FloatArray:
        """Return both expected losses, shape (2, rows)."""
        absolute, squared = np.maximum(self.sums(encoded), 0.0)
        return np.stack([absolute, np.maximum(squared, np.square(absolute))])

    def to_json(self) -> dict[str, Any]:
        arrays = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "tables"}
        tables = {str(at): table.tolist() for at, table in self.tables.items()}
        return {name: array.tolist() for name, array in arrays.items()} | {"tables": tables}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "_Fold":
        arrays = {name: np.array(values) for name, values in document.items() if name != "tables"}
        return cls(**arrays, tables={int(at): np.array(table) for at, table in document["tables"].items()})


@dataclass(frozen=True, slots=True, eq=False)
class LossModel:
    """What is expected of the losses of rows without labels.

    columns: what it looks at. fills: what stands for a missing number. kurtosis: mean of error^4 over that of the
    squared expected error^2.
    """

    columns: tuple[Column, ...]
    fills: tuple[float, ...]
    folds: tuple[_Fold, ...]
    kurtosis: float

    @classmethod
    def of(
        cls, rows: pa.Table, columns: Mapping[str, Column], residuals: FloatArray, *, time: str | None = None
    ) -> "LossModel | None":
        """Learn from rows and their residuals, NaN where there is none; None where too few have one.

        `time` orders the rows, whatever order they come in: folds are stretches of time, since rows of one hour err
        alike.
        """
        known = np.flatnonzero(np.abs(residuals) <= LARGEST)
        looked_at = tuple(each for each in columns.values() if each.role is not ColumnRole.LABEL)
        if len(known) < LEAST_ROWS or not looked_at:
            return None
        rows, residual = rows.take(pa.array(known)), residuals[known]
        read = [_read(rows, column, time) for column in looked_at]
        fills = tuple(_fill(part) for part in read)
        encoded = [_filled(part, fill) for part, fill in zip(read, fills, strict=True)]
        order = np.lexsort((*encoded, residual))
        if time is None:
            order = np.random.default_rng(SEED).permutation(order)
        else:
            order = order[np.argsort(rows[time].cast(pa.int64()).to_numpy()[order], kind="stable")]
        order = order[np.linspace(0, len(order) - 1, min(len(order), MOST_ROWS)).astype(np.int64)]
        return cls(looked_at, fills, *_fitted([part[order] for part in encoded], residual[order], looked_at))

    def expected(self, rows: pa.Table, *, time: str | None = None) -> ExpectedLosses:
        """Return what is expected of each row; a value that is missing or means nothing costs no more than itself."""
        pairs = zip(self.columns, self.fills, strict=True)
        encoded = [_filled(_read(rows, column, time), fill) for column, fill in pairs]
        means = np.stack([fold.expected(encoded) for fold in self.folds])
        absolute, squared = means.mean(axis=0)
        return ExpectedLosses(means, np.stack([squared - absolute**2, (self.kurtosis - 1) * squared**2]))

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": [column.name for column in self.columns],
            "fills": list(self.fills),
            "folds": [fold.to_json() for fold in self.folds],
            "kurtosis": self.kurtosis,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], columns: Mapping[str, Column]) -> "LossModel":
        """Read what `to_json` wrote; the columns themselves are kept with the reference."""
        return cls(
            tuple(columns[name] for name in document["columns"]),
            tuple(document["fills"]),
            tuple(_Fold.from_json(fold) for fold in document["folds"]),
            float(document["kurtosis"]),
        )


def _read(rows: pa.Table, column: Column, time: str | None) -> FloatArray:
    """Return numbers, NaN where there is none; of categories their places in the bins, then unseen, then null."""
    found = column_values(rows, column.read_from, column.part, time)
    if isinstance(column.bins, CategoricalBins):
        return row_places(found, column.kind, column.bins).astype(np.float64)
    values = floats_with_nan(found, ColumnKind.NUMERIC if column.part else column.kind)
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def _fill(values: FloatArray) -> float:
    """Return a number below all others where the reference has missing ones, so that trees can tell them apart."""
    missing = np.isnan(values)
    return -2 * LARGEST if missing.any() else float(np.median(values))


def _filled(values: FloatArray, fill: float) -> FloatArray:
    return np.where(np.isnan(values), fill, values)


def _with_tables(encoded: Sequence[FloatArray], tables: Mapping[int, FloatArray]) -> list[FloatArray]:
    return [tables[at][part.astype(np.int64)] if at in tables else part for at, part in enumerate(encoded)]


def _fitted(
    encoded: Sequence[FloatArray], residual: FloatArray, columns: Sequence[Column]
) -> tuple[tuple[_Fold, ...], float]:
    """Return the folds and the kurtosis, both by what trees expected of rows they had not seen."""
    losses = np.stack([np.abs(residual), np.square(residual)])
    part = np.arange(len(residual)) * FOLDS // len(residual)
    of_part = [[each[part == number] for each in encoded] for number in range(FOLDS)]
    grown = [
        _grown([each[part != number] for each in encoded], losses[:, part != number], columns)
        for number in range(FOLDS)
    ]
    found = [fold.sums(rows) - fold.start[:, None] for fold, rows in zip(grown, of_part, strict=True)]
    slope = _slope(np.concatenate(found, axis=1), losses)
    folds = tuple(replace(fold, values=_rounded(fold.values * slope[:, None])) for fold in grown)
    expected = np.concatenate([fold.expected(rows)[1] for fold, rows in zip(folds, of_part, strict=True)])
    spread = float(np.square(expected).sum())
    return folds, max(float(np.square(losses[1]).sum()) / spread, 1.0) if spread else 1.0


def _slope(foreseen: FloatArray, losses: FloatArray) -> FloatArray:
    """Return how much of what trees say of unseen rows comes true: what they learnt of noise, does not."""
    centred = foreseen - foreseen.mean(axis=1, keepdims=True)
    spread = np.square(centred).sum(axis=1)
    return np.asarray(np.clip((centred * losses).sum(axis=1) / np.where(spread > 0, spread, np.inf), 0.0, 2.0))


def _grown(encoded: Sequence[FloatArray], losses: FloatArray, columns: Sequence[Column]) -> _Fold:
    """Return trees that boost both losses at once."""
    from sklearn.tree import DecisionTreeRegressor

    random = np.random.default_rng(SEED)
    tables = {
        at: _table(encoded[at].astype(np.int64), losses[0], column.bins.size + 2)
        for at, column in enumerate(columns)
        if isinstance(column.bins, CategoricalBins)
    }
    read = np.stack(_with_tables(encoded, tables), axis=1)
    rows = len(read)
    # Both on one scale: else the squares alone would say where to cut.
    start, scale = losses.mean(axis=1), np.maximum(losses.std(axis=1), np.finfo(np.float64).tiny)
    left = (losses - start[:, None]) / scale[:, None]
    trees = []
    for _ in range(TREES):
        half = random.permutation(rows)[: rows // 2]
        tree = DecisionTreeRegressor(
            max_depth=DEPTH,
            min_samples_leaf=max(20, rows // 400),
            max_features=max(1, round(len(columns) / 3)),
            random_state=int(random.integers(2**31)),
        ).fit(read[half], left[:, half].T)
        left -= RATE * tree.predict(read).T
        trees.append(tree.tree_)
    roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    places = [root + np.arange(tree.node_count) for root, tree in zip(roots, trees, strict=True)]
    leaf = np.concatenate([tree.children_left < 0 for tree in trees])
    left_of, right_of = (
        np.concatenate(
            [
                np.where(getattr(tree, side) < 0, place, getattr(tree, side) + place[0])
                for tree, place in zip(trees, places, strict=True)
            ]
        )
        for side in ("children_left", "children_right")
    )
    values = np.concatenate([tree.value[:, :, 0] for tree in trees]).T * (RATE * scale[:, None])
    return _Fold(
        roots=roots,
        feature=np.where(leaf, 0, np.concatenate([tree.feature for tree in trees])),
        threshold=np.where(leaf, 0.0, np.concatenate([tree.threshold for tree in trees])),
        left=left_of,
        right=right_of,
        values=np.where(leaf, values, 0.0),
        start=start,
        tables=tables,
    )


def _table(places: IntArray, loss: FloatArray, size: int) -> FloatArray:
    counts, sums = np.bincount(places, minlength=size), np.bincount(places, loss, minlength=size)
    return _rounded((sums + PRIOR_ROWS * loss.mean()) / (counts + PRIOR_ROWS))


def _rounded(values: FloatArray) -> FloatArray:
    return np.array([float(f"{value:.{DIGITS}g}") for value in values.ravel().tolist()]).reshape(values.shape)
