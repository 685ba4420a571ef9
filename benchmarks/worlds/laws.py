"""Columns that follow a known law, drawn and counted by the hour as profiles are.

Add a law to `LAWS`. Keep judgements out: they belong in alarms and the other parts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from scipy.signal import lfilter

from monitoring_pipeline.describe.blocks import BlockDistances, block_distances, combined, selected
from monitoring_pipeline.describe.columns import (
    Column,
    ColumnKind,
    ColumnRole,
    IntArray,
    NumericBins,
    categorical_bins,
    numeric_bins,
)
from monitoring_pipeline.describe.distances import expected_windows
from monitoring_pipeline.describe.profiles import ColumnProfile, ColumnWindows
from monitoring_pipeline.describe.references import ColumnReference, Reference
from monitoring_pipeline.evaluate.signals import Signal

Array = np.ndarray
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MONTH_HOURS = 720
PERSISTENCE = 0.9
"""Of the level from one hour to the next; half of a departure is gone after seven hours."""
RESTLESSNESS = 0.5
"""Standard deviation of the level, in those of the rows around it."""


@dataclass(frozen=True)
class Law:
    """How values come about: from the hour's level and noise, or as one of so many categories."""

    name: str
    values: Callable[[np.random.Generator, Array], Array] | None = None
    categories: int = 0

    def rows(self, rng: np.random.Generator, levels: Array, rows: int) -> Array:
        """Return values of shape (hours, rows), or counts of shape (hours, categories)."""
        if self.values is not None:
            return self.values(rng, np.broadcast_to(levels[:, None], (len(levels), rows)))
        return rng.multinomial(rows, self.shares(levels))

    def shares(self, levels: Array) -> Array:
        """Return the shares of the categories: 1, 1/2, 1/3 ... of the first, the odd ones moving with the level."""
        ranks = np.arange(1, self.categories + 1)
        weights = np.exp(levels[:, None] * np.where(ranks % 2, 0.5, -0.5)) / ranks
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


LAWS = (
    Law("normal", lambda rng, level: rng.normal(level)),
    Law("lognormal", lambda rng, level: np.exp(rng.normal(level))),
    Law("heavy tails (t, 2.5)", lambda rng, level: level + rng.standard_t(2.5, level.shape)),
    Law("ties (in tenths)", lambda rng, level: np.round(rng.normal(level), 1)),
    *(Law(f"{count:,} categories", categories=count) for count in (2, 5, 20, 1000)),
)


def levels(rng: np.random.Generator, hours: int, restlessness: float) -> Array:
    """Return the level of each hour: an autoregressive walk about 0, or always 0."""
    noise = rng.normal(size=hours + 100) * restlessness * np.sqrt(1 - PERSISTENCE**2)
    return np.asarray(lfilter([1], [1, -PERSISTENCE], noise)[100:])


@dataclass(frozen=True)
class Drawn:
    """A column with the bins its reference rows gave it, and its counters by hour."""

    law: Law
    column: Column
    order: Array
    hours: ColumnWindows

    @classmethod
    def reference(cls, law: Law, rows: Array, name: str = "x") -> "Drawn":
        """Return the column described by its reference rows."""
        if law.values is not None:
            bins = numeric_bins(np.sort(rows, axis=None), groups=10)
            column = Column(name, ColumnRole.FEATURE, ColumnKind.NUMERIC, bins)
            return cls(law, column, np.zeros(0, int), _counted(column, np.zeros(0, int), rows))
        counts = {f"{place:04}": int(count) for place, count in enumerate(rows.sum(axis=0)) if count}
        known = categorical_bins(counts, groups=10)
        order = np.array([int(category) for category in (*known.categories, *known.others)])
        column = Column(name, ColumnRole.FEATURE, ColumnKind.CATEGORICAL, known)
        return cls(law, column, order, _counted(column, order, rows))

    def counted(self, rows: Array) -> ColumnWindows:
        """Return later rows counted in the same bins."""
        return _counted(self.column, self.order, rows)

    @property
    def expected(self) -> ColumnWindows:
        """All hours as the one window that later ones are held against."""
        whole = total(self.hours)
        return expected_windows(self.column, ColumnProfile(whole.counts[0], whole.sums[0], float(whole.squares[0])))

    def blocks(self, length: int, metrics: tuple[str, ...]) -> dict[str, BlockDistances]:
        """Return what `describe.blocks.calibrate` learns from these hours.

        It takes a profile of each hour, which would take longer to make than all the rest.
        """
        parts = moving(self.hours, length)
        rest = combined(total(self.hours), parts, -1)
        return block_distances(self.column, rest, parts, length, metrics)


def _counted(column: Column, order: Array, rows: Array) -> ColumnWindows:
    hours, size, nothing = len(rows), column.bins.size, np.zeros(len(rows), np.int64)
    if not isinstance(column.bins, NumericBins):
        known = rows[:, order]
        listed = known[:, : size - 1]
        kept = np.concatenate([listed, known[:, size - 1 :].sum(axis=1, keepdims=True)], axis=1)
        unseen = rows.sum(axis=1) - kept.sum(axis=1)
        return ColumnWindows(kept, np.zeros((hours, 0)), np.zeros(hours), nothing, nothing, unseen)
    place = np.searchsorted(column.bins.edges, rows, side="right") + np.arange(hours)[:, None] * size
    apart = rows - column.bins.center
    counts: IntArray = np.bincount(place.ravel(), minlength=hours * size).reshape(hours, size)
    sums = np.bincount(place.ravel(), apart.ravel(), minlength=hours * size).reshape(hours, size)
    return ColumnWindows(counts, sums.astype(np.float64), np.square(apart).sum(axis=1), nothing, nothing, nothing)


def total(hours: ColumnWindows) -> ColumnWindows:
    """Return all hours as one window."""
    return moving(hours, len(hours.nulls))


def moving(hours: ColumnWindows, length: int) -> ColumnWindows:
    """Return every stretch of `length` hours."""

    def summed(values: Array) -> Array:
        running = np.concatenate([np.zeros_like(values[:1]), values.cumsum(axis=0)])
        return np.asarray(running[length:] - running[:-length])

    everything = selected(hours, slice(None))
    return ColumnWindows(*(summed(getattr(everything, name)) for name in ColumnWindows.__slots__))


def reference_of(version: str, columns: dict[str, tuple[Column, dict[str, BlockDistances]]], window: str) -> Reference:
    """Return a reference whose columns know how restless they are over one window."""
    entries = {
        name: ColumnReference(
            column, ColumnProfile.empty(column.bins), {}, {metric: {window: known} for metric, known in blocks.items()}
        )
        for name, (column, blocks) in columns.items()
    }
    return Reference("m", version, START, 0, entries, None)


def signal(metric: str, version: str, at: int, column: str, value: float, p_value: float | None) -> Signal:
    """Return one distance over a day as the drift report gives it; `at` tells one window from another."""
    end = START + at * DAY
    known = None if p_value is None else float(p_value)
    return Signal(f"drift.{metric}", "m", version, end - DAY, end, value=float(value), column=column, p_value=known)
