"""Raw rows as points: every column becomes a few dimensions in which distances between rows mean something.

Numeric values become normal scores of their place in the reference, so that one value of 1e12 is just far out;
categories become one dimension for each coarse bin. Add the encoding of a kind of column here. Keep statistics of the
points out: they belong in stats and evaluate.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtri

from monitoring_pipeline.describe.columns import CategoricalBins, ColumnKind, FloatArray, IntArray, NumericBins
from monitoring_pipeline.describe.distances import as_windows
from monitoring_pipeline.describe.kernel import (
    LARGEST,
    category_names,
    category_places,
    column_values,
    floats_with_nan,
)
from monitoring_pipeline.describe.profiles import ColumnProfile
from monitoring_pipeline.describe.references import ColumnReference

FURTHEST = 3.0
"""Normal scores end here: 1 value in 740 lies further out, on either side."""

OUTSIDE = 4.0
"""Score of a value beyond all the reference had."""

LEAST_VARIANCE = 0.1
"""Columns are scaled to the same variance, but none as if it had less than this: else a category that 1 row in 1,000
has would lie thirty times as far out as a common one."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedRows:
    """Rows as points, shape (rows, dimensions), with the name and the column of each dimension."""

    values: FloatArray
    dimensions: tuple[str, ...]
    columns: tuple[str, ...]

    def places(self, column: str) -> IntArray:
        """Return which dimensions a column has become."""
        return np.flatnonzero(np.array(self.columns) == column)


def encode_rows(entries: Iterable[ColumnReference], rows: pa.Table, *, time: str | None = None) -> EncodedRows:
    """Return rows as points, by what the reference knows of each column; a column the rows lack is null throughout.

    The same entries give the same dimensions for any rows. `time` names the rows' own time, which ages count from.
    """
    blocks: list[FloatArray] = []
    dimensions: list[str] = []
    columns: list[str] = []
    for entry in entries:
        name, bins = entry.column.name, entry.column.bins
        found = column_values(rows, entry.column.read_from, entry.column.part, time)
        if isinstance(bins, CategoricalBins):
            groups = [bins.describe_group(group) for group in range(bins.group_count + 1)]
            block = _one_hot(category_names(found, entry.column.kind), bins)
            labels = [*(f"{name} {group}" for group in groups), f"{name} is null"]
        else:
            kind = ColumnKind.NUMERIC if entry.column.part else entry.column.kind  # a part of a time is a number
            block = _scored(floats_with_nan(found, kind), bins, entry.profile)
            labels = [name, f"{name} is null or unusable"]
        blocks.append(block / np.sqrt(max(_reference_variance(entry), LEAST_VARIANCE)))
        dimensions += labels
        columns += [name] * len(labels)
    values = np.concatenate(blocks, axis=1) if blocks else np.empty((rows.num_rows, 0))
    return EncodedRows(values, tuple(dimensions), tuple(columns))


def varying_dimensions(sides: Sequence[EncodedRows]) -> list[EncodedRows]:
    """Return the sides without the dimensions that are one constant over all of them."""
    pooled = np.concatenate([side.values for side in sides])
    kept = np.ptp(pooled, axis=0) > 0 if len(pooled) else np.zeros(pooled.shape[1], dtype=bool)
    places = np.flatnonzero(kept)
    return [
        EncodedRows(
            np.ascontiguousarray(side.values[:, kept]),
            tuple(side.dimensions[place] for place in places),
            tuple(side.columns[place] for place in places),
        )
        for side in sides
    ]


def _one_hot(names: pa.ChunkedArray, bins: CategoricalBins) -> FloatArray:
    """Return a column per coarse bin, then unseen, then null."""
    encoded = names.combine_chunks().dictionary_encode()
    groups = np.append(bins.groups, bins.group_count)[category_places(encoded.dictionary, bins)]
    codes = np.asarray(pc.fill_null(encoded.indices, len(groups)).to_numpy(zero_copy_only=False), dtype=np.int64)
    return np.asarray(np.eye(bins.group_count + 2)[np.append(groups, bins.group_count + 1)[codes]])


def _scored(values: FloatArray, bins: NumericBins, profile: ColumnProfile) -> FloatArray:
    """Return normal scores, 0 where there is none, and which have none."""
    usable = np.abs(values) <= LARGEST
    scores = np.zeros(len(values))
    scores[usable] = _normal_scores(values[usable], bins, profile)
    return np.stack([scores, (~usable).astype(np.float64)], axis=1)


def _normal_scores(values: FloatArray, bins: NumericBins, profile: ColumnProfile) -> FloatArray:
    edges, passed = bins.edges, np.concatenate([[0], np.cumsum(profile.counts)])
    if passed[-1] == 0:
        return np.zeros(len(values))
    place = np.searchsorted(edges, values, side="right")
    starts, ends = edges[np.maximum(place - 1, 0)], edges[np.minimum(place, len(edges) - 1)]
    width = np.where(ends > starts, ends - starts, 1.0)
    share = np.clip((values - starts) / width, 0.0, 1.0)
    share[values == starts] = 0.5  # one value of few, or one so frequent that it has a bin of its own: mid-rank
    below = (passed[place] + share * (passed[place + 1] - passed[place])) / passed[-1]
    scores = np.clip(ndtri(below), -FURTHEST, FURTHEST)
    return np.where(place == 0, -OUTSIDE, np.where(place == len(edges), OUTSIDE, scores))


def _reference_variance(entry: ColumnReference) -> float:
    """Return the variance of the reference rows over all dimensions of a column, from its profile."""
    bins, profile = entry.column.bins, entry.profile
    if isinstance(bins, CategoricalBins):
        return _spread(as_windows(profile).grouped(bins)[0])
    counts = profile.counts
    usable, rows = int(counts.sum()), max(profile.rows, 1)
    middles = np.clip(ndtri((np.cumsum(counts) - counts / 2) / max(usable, 1)), -FURTHEST, FURTHEST)
    middles = np.where(counts > 0, middles, 0.0)
    mean = float(counts @ middles) / rows
    return float(counts @ np.square(middles)) / rows - mean**2 + _spread(np.array([usable, rows - usable])) / 2


def _spread(counts: IntArray) -> float:
    """Return 1 - sum of squared shares: the variance of a one-hot category over all its dimensions."""
    shares = counts / max(int(counts.sum()), 1)
    return float(1 - np.square(shares).sum())
