"""The search for slices: groups of rows, and pairs of groups, whose losses are larger than those of other rows.

Add another shape of slices here. Keep names, tables and signals out: they belong in `slices`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitoring_pipeline.describe.columns import FloatArray, IntArray
from monitoring_pipeline.stats.larger_means import fisher_larger_share, welch_larger_mean

RETRIED = 200
"""Slices that stand out are looked at one after another, the most striking first, up to so many."""

BoolArray = npt.NDArray[np.bool_]


class Losses(NamedTuple):
    """The loss of every row, and whether all are 0 or 1: a wrong class."""

    values: FloatArray
    wrong: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """Rows of a slice, pairs of groups that are compared, and how often a search may find any slice by chance."""

    min_rows: int
    max_candidates: int
    alpha: float


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows in a group of one column or of two: how far they stand out, and the p-value corrected for the search.

    groups: pairs of a column's and a group's number. comparisons: what the p-value was multiplied with.
    """

    groups: tuple[tuple[int, int], ...]
    statistic: float
    p_value: float
    comparisons: float

    def among(self, codes: Sequence[IntArray] | Mapping[int, IntArray]) -> BoolArray:
        """Return which rows are in it."""
        inside = [codes[at] == group for at, group in self.groups]
        return np.asarray(inside[0] & inside[-1])


class _Sums(NamedTuple):
    """Of one or many groups: rows, losses and squared losses."""

    rows: FloatArray
    losses: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, codes: IntArray, losses: Losses, size: int) -> "_Sums":
        rows = np.bincount(codes, minlength=size).astype(np.float64)
        sums = np.bincount(codes, losses.values, minlength=size).astype(np.float64)
        squares = sums if losses.wrong else np.bincount(codes, np.square(losses.values), minlength=size)
        return cls(rows, sums, np.asarray(squares, np.float64))

    def without(self, part: "_Sums") -> "_Sums":
        return _Sums(*(whole - own for whole, own in zip(self, part, strict=True)))

    def at(self, places: IntArray) -> "_Sums":
        return _Sums(*(each[places] for each in self))


def search(codes: Sequence[IntArray], losses: Losses, limits: Limits) -> tuple[list[Slice], int]:
    """Return the slices that stand out, the most striking first, and how many were compared.

    codes: of every column the group of each row. By Bonferroni, half of alpha is for single groups and half for pairs;
    for all pairs there are, since which of them are compared depends on the losses.
    """
    rows = len(losses.values)
    whole = _Sums.of(np.zeros(rows, np.int64), losses, 1)
    kept, small, sums = [], [], []
    for code in codes:
        counted = _Sums.of(code, losses, int(code.max()) + 1)
        groups = np.flatnonzero((counted.rows >= limits.min_rows) & (counted.rows <= rows - limits.min_rows))
        place = np.full(len(counted.rows), len(groups))
        place[groups] = np.arange(len(groups))
        kept.append(groups)
        small.append(place[code])
        sums.append(counted.at(groups))
    sizes = [len(groups) for groups in kept]
    single = [_compared(each, whole.without(each), wrong=losses.wrong) for each in sums]
    comparisons = 2.0 * sum(sizes)
    found = [
        Slice(((at, int(kept[at][group])),), float(t[group]), float(p[group]) * comparisons, comparisons)
        for at, (t, p) in enumerate(single)
        for group in np.flatnonzero(p * comparisons <= limits.alpha)
    ]
    striking = {at: float(np.nan_to_num(t).max()) for at, (t, _) in enumerate(single) if len(t)}
    ranked = sorted(striking, key=lambda at: -striking[at])
    pairs = [(ranked[i], ranked[j]) for i, j in sorted(combinations(range(len(ranked)), 2), key=sum)]
    comparisons = 2.0 * sum(min(sizes[i] * sizes[j], rows // limits.min_rows) for i, j in pairs)
    compared, room = sum(sizes), limits.max_candidates
    for i, j in pairs:
        room -= sizes[i] * sizes[j]
        if room < 0:
            break
        cells = _Sums.of(small[i] * (sizes[j] + 1) + small[j], losses, (sizes[i] + 1) * (sizes[j] + 1))
        a, b = (each.ravel() for each in np.mgrid[: sizes[i], : sizes[j]])
        enough = cells.rows[a * (sizes[j] + 1) + b] >= limits.min_rows
        a, b = a[enough], b[enough]
        pair = cells.at(a * (sizes[j] + 1) + b)
        compared += len(a)
        # Worse than the rest, and than what is left of both its groups: else one of those says as much.
        others = (whole, sums[i].at(a), sums[j].at(b))
        tests = [_compared(pair, other.without(pair), wrong=losses.wrong) for other in others]
        t, p = np.min([each[0] for each in tests], axis=0), np.max([each[1] for each in tests], axis=0) * comparisons
        found += [
            Slice(((i, int(kept[i][a[at]])), (j, int(kept[j][b[at]]))), float(t[at]), float(p[at]), comparisons)
            for at in np.flatnonzero(p <= limits.alpha)
        ]
    return sorted(found, key=lambda each: -each.statistic), compared


def set_apart(
    found: Sequence[Slice], codes: Sequence[IntArray], losses: Losses, limits: Limits, *, most: int
) -> list[Slice]:
    """Return the first slices, each of which still stands out without the rows of those before it."""
    left, named = np.ones(len(losses.values), bool), list[Slice]()
    for each in found[:RETRIED]:
        own = each.among(codes) & left
        if own.sum() < limits.min_rows:
            continue
        both = _Sums.of(own[left].astype(np.int64), Losses(losses.values[left], losses.wrong), 2)
        _, p = _compared(both.at(np.array([1])), both.at(np.array([0])), wrong=losses.wrong)
        if float(p[0]) * each.comparisons <= limits.alpha:
            named.append(each)
            left &= ~own
        if len(named) == most:
            break
    return named


def _compared(own: _Sums, other: _Sums, *, wrong: bool) -> tuple[FloatArray, FloatArray]:
    if wrong:
        return fisher_larger_share(own.losses, own.rows, other_hits=other.losses, other_rows=other.rows)
    return welch_larger_mean(*own, other_rows=other.rows, other_sums=other.losses, other_squares=other.squares)
