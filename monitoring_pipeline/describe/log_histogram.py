"""Quantiles of any numbers with a stated relative error, from counters that add up.

Add what all such distributions need here: latencies, delays, ages and residuals. Keep out what one of them means: that
belongs in the record that holds it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtrik

from monitoring_pipeline.describe.columns import FloatArray, IntArray
from monitoring_pipeline.describe.counters import Counters

ACCURACY = 0.01
"""Largest relative error of a quantile."""

SMALLEST, LARGEST = 1e-30, 1e30
"""A smaller magnitude counts as zero and a larger one as `LARGEST`, so that there are at most 13,819 buckets."""

_LOG_GAMMA = math.log((1 + ACCURACY) / (1 - ACCURACY))
_OFFSET = 1 - math.floor(math.log(SMALLEST) / _LOG_GAMMA)


@dataclass(frozen=True, slots=True)
class LogHistogram(Counters):
    """Rows per bucket, where the bounds of a bucket are 2 % apart; only buckets that have rows are kept.

    buckets: by number; zero is number 0, positive numbers and their mirror images count away from it. total: the sum
    of the values. Masson, Rim and Lee (2019), "DDSketch", section 2: the geometry and its guarantee.
    """

    buckets: Mapping[int, int] = field(default_factory=dict)
    total: float = 0.0

    @classmethod
    def of(cls, values: FloatArray) -> "LogHistogram":
        """Return the histogram of the finite ones among `values`; the caller counts the others."""
        # Sorted, so that the sum does not depend on the order of the rows.
        finite = np.clip(np.sort(values[np.isfinite(values)]), -LARGEST, LARGEST)
        numbers, counts = np.unique(_numbers(finite), return_counts=True)
        return cls(dict(zip(numbers.tolist(), counts.tolist(), strict=True)), float(finite.sum()))

    def merge(self, other: "LogHistogram") -> "LogHistogram":
        """Return the histogram of both batches: counts exactly, the total up to floating-point rounding."""
        few, many = sorted((self.buckets, other.buckets), key=len)
        added = dict(many)
        for number, count in few.items():
            added[number] = added.get(number, 0) + count
        return LogHistogram(added, self.total + other.total)

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.buckets.values())

    @property
    def mean(self) -> float:
        """The exact mean, NaN of no values."""
        return self.total / self.count if self.buckets else math.nan

    def count_up_to(self, value: float) -> int:
        """Return how many values are at most `value`, those within 1 % of it included."""
        last = int(_numbers(np.array([value]))[0])
        return sum(count for number, count in self.buckets.items() if number <= last)

    def quantile(self, shares: ArrayLike) -> FloatArray:
        """Return quantiles as `numpy.quantile` defines them, NaN of no values; shape of `shares`.

        Each is within 1 % of the exact one, or, between neighbours of different sign, within 1 % of the larger.
        """
        wanted = np.asarray(shares, dtype=np.float64)
        if not self.buckets:
            return np.full(wanted.shape, np.nan)
        numbers = np.array(sorted(self.buckets), np.int64)
        ends = np.cumsum([self.buckets[number] for number in numbers.tolist()])
        place = wanted * (ends[-1] - 1)
        lower = np.floor(place)
        below, above = (
            _values(numbers[np.minimum(np.searchsorted(ends, rank, side="right"), len(ends) - 1)])
            for rank in (lower, lower + 1)
        )
        return np.asarray(below + (above - below) * (place - lower))

    def quantile_interval(self, share: float, *, confidence: float = 0.95) -> tuple[float | None, float | None]:
        """Return the interval of a quantile that two of the values make, None where no value is that far out.

        The number of independent values below the true quantile is binomial, whatever their distribution.
        """
        rows = self.count
        if rows == 0:
            return None, None
        low, high = (max(math.ceil(bdtrik(p, rows, share)), 0) for p in ((1 - confidence) / 2, (1 + confidence) / 2))
        ends = self.quantile(np.array([max(low - 1, 0), min(high, rows - 1)]) / max(rows - 1, 1))
        return float(ends[0]) if low > 0 else None, float(ends[1]) if high < rows else None

    def to_json(self) -> dict[str, Any]:
        """Return the buckets as `counts_to_json` writes them, and the total."""
        return counts_to_json(self.buckets) | {"total": self.total}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "LogHistogram":
        return cls(counts_from_json(document), float(document["total"]))


def counts_to_json(counts: Mapping[int, int]) -> dict[str, Any]:
    """Return rows by number in short: each number by its distance from the one before, and its rows."""
    numbers = sorted(counts)
    return {
        "gaps": [number - before for before, number in pairwise([0, *numbers])],
        "rows": [counts[number] for number in numbers],
    }


def counts_from_json(document: Mapping[str, Any]) -> dict[int, int]:
    """Return what `counts_to_json` wrote."""
    return dict(zip(accumulate(document["gaps"]), document["rows"], strict=True))


def _numbers(values: FloatArray) -> IntArray:
    """Return the number of each value's bucket, which grows with the value."""
    size = np.abs(values)
    distance = np.ceil(np.log(np.maximum(size, SMALLEST)) / _LOG_GAMMA) + _OFFSET
    return np.asarray(np.where(size < SMALLEST, 0, np.copysign(distance, values)), np.int64)


def _values(numbers: IntArray) -> FloatArray:
    """Return the value of a bucket that is nearest to both its bounds, relative to each."""
    upper = np.exp((np.abs(numbers) - _OFFSET) * _LOG_GAMMA)
    return np.asarray(np.where(numbers == 0, 0.0, np.sign(numbers) * upper * (1 - ACCURACY)))
