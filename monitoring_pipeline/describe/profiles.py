"""Profiles: what the rows of some hours look like, in counters that add up.

Hours, hosts and segments merge by addition: any window costs a sum, and no raw row is read twice.
Add a counter here when it is additive (or a minimum, a maximum). Keep distances out: they belong in evaluate.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.arrays import int_values, row_numbers
from monitoring_pipeline.capture.windows import EPOCH, HOUR
from monitoring_pipeline.describe.columns import (
    Bins,
    CategoricalBins,
    Column,
    FloatArray,
    IntArray,
    NumericBins,
    bins_digest,
)
from monitoring_pipeline.describe.kernel import (
    NumericValues,
    Tally,
    bin_counts,
    column_values,
    counted,
    split_known,
)
from monitoring_pipeline.describe.running import RunningCounts, RunningSums
from monitoring_pipeline.stats.cardinality import DistinctCount

HEAVIEST_UNSEEN = 50
"""Unseen categories remembered by name; all of them are counted."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnProfile:
    """Counters of one column. Numeric columns fill `sums`, `squares`, `low`, `high`; categorical ones the last three.

    counts: rows per bin, shape (bins,). sums: sum of (value - center) per bin, shape (bins,), or (0,).
    squares: sum of (value - center)². invalid: infinite values, or what is no number in a column of numbers.
    unseen: the heaviest categories the reference never had; unseen_rows counts all of them. distinct: how many
    categories there were; numbers have none, since a hash of every value costs more than all other counters together,
    and where a database counted, very many names have none.
    """

    counts: IntArray
    sums: FloatArray
    squares: float = 0.0
    nulls: int = 0
    invalid: int = 0
    low: float = np.inf
    high: float = -np.inf
    unseen: tuple[tuple[str, int], ...] = ()
    unseen_rows: int = 0
    distinct: DistinctCount | None = None

    @classmethod
    def empty(cls, bins: Bins) -> "ColumnProfile":
        """Return the profile of no rows, the identity of `merge`."""
        counts = np.zeros(bins.size, np.int64)
        if isinstance(bins, CategoricalBins):
            return cls(counts, np.zeros(0), distinct=DistinctCount.empty())
        return cls(counts, np.zeros(bins.size))

    @classmethod
    def of(cls, values: pa.ChunkedArray, column: Column) -> "ColumnProfile":
        """Return the profile of one column of a batch of rows."""
        return cls.of_counted(counted(values, column.kind), column.bins)

    @classmethod
    def of_counted(cls, found: NumericValues | Tally, bins: Bins) -> "ColumnProfile":
        """Return the profile of values that are in order, or tallied, already."""
        if isinstance(found, Tally):
            known, unseen = split_known(found, cast("CategoricalBins", bins))
            return cls(
                known,
                np.zeros(0),
                nulls=found.nulls,
                unseen=tuple(unseen.heaviest(HEAVIEST_UNSEEN).items()),
                unseen_rows=int(unseen.counts.sum()),
                distinct=found.distinct(),
            )
        ordered = found.finite
        counts, sums, squares = bin_counts(ordered, cast("NumericBins", bins))
        # 0 and -0 are equal: which of them comes first depends on the order of the rows.
        low, high = (float(ordered[0]) + 0.0, float(ordered[-1]) + 0.0) if len(ordered) else (np.inf, -np.inf)
        return cls(counts, sums, squares, found.nulls, found.invalid, low, high)

    def merge(self, other: "ColumnProfile") -> "ColumnProfile":
        """Return the profile of both batches: counts exactly, sums up to floating-point rounding.

        The names of unseen categories are exact until more than `HEAVIEST_UNSEEN` of them have occurred.
        """
        unseen = Counter(dict(self.unseen))
        unseen.update(dict(other.unseen))
        return ColumnProfile(
            self.counts + other.counts,
            self.sums + other.sums,
            self.squares + other.squares,
            self.nulls + other.nulls,
            self.invalid + other.invalid,
            min(self.low, other.low),
            max(self.high, other.high),
            _heaviest(unseen),
            self.unseen_rows + other.unseen_rows,
            self.distinct.merge(other.distinct) if self.distinct and other.distinct else None,
        )

    @property
    def rows(self) -> int:
        """Rows counted, nulls and unusable values included."""
        return int(self.counts.sum()) + self.nulls + self.invalid + self.unseen_rows


def _heaviest(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:HEAVIEST_UNSEEN])


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Profile of every column of one model version's rows; `bins` names the bins they were counted in."""

    version: str
    rows: int
    columns: Mapping[str, ColumnProfile]
    segment: str = ""
    bins: str = ""

    @classmethod
    def empty(cls, version: str, columns: Mapping[str, Column], segment: str = "") -> "Profile":
        blank = {name: ColumnProfile.empty(column.bins) for name, column in columns.items()}
        return cls(version, 0, blank, segment, bins_digest(columns))

    @classmethod
    def of(
        cls, rows: pa.Table, version: str, columns: Mapping[str, Column], segment: str = "", *, time: str | None = None
    ) -> "Profile":
        """Return the profile of a batch of rows. A column the batch lacks counts as null in every row.

        `time` names the rows' own time, which ages are counted from.
        """
        profiles = {
            name: ColumnProfile.of(column_values(rows, column.read_from, column.part, time), column)
            for name, column in columns.items()
        }
        return cls(version, rows.num_rows, profiles, segment, bins_digest(columns))

    def merge(self, other: "Profile") -> "Profile":
        """Return the profile of both; they must be of the same version and segment, counted in the same bins."""
        mine, others = ((each.version, each.segment, each.bins) for each in (self, other))
        if mine != others or set(self.columns) != set(other.columns):
            raise ValueError(f"profiles of {mine} and {others} (version, segment, bins) do not add up")
        merged = {name: profile.merge(other.columns[name]) for name, profile in self.columns.items()}
        return Profile(self.version, self.rows + other.rows, merged, self.segment, self.bins)


HourlyProfiles = Mapping[datetime, Profile]
"""Profiles of one version by the start of their hour. An hour that is not there has not been described yet."""


def all_hours(described: Collection[datetime]) -> list[datetime]:
    """Return the hours from the first of some to the last, those between that are not among them included."""
    first, last = min(described), max(described)
    return [first + step * HOUR for step in range(round((last - first) / HOUR) + 1)]


def rows_by_hour(rows: pa.Table, *, time: str) -> dict[datetime, pa.Table]:
    """Split prepared rows by the UTC hour of their time column; hours without rows do not occur."""
    if rows.num_rows == 0:
        return {}
    hours = int_values(rows[time].cast(pa.int64())) // 3_600_000_000
    order = np.argsort(hours, kind="stable")
    ordered = rows.take(row_numbers(order))
    numbers, starts = np.unique(hours[order], return_index=True)
    ends = [*starts[1:], len(order)]
    return {
        EPOCH + int(number) * HOUR: ordered.slice(start, end - start)
        for number, start, end in zip(numbers, starts, ends, strict=True)
    }


def rows_by_version(rows: pa.Table, *, version: str | None, default: str) -> dict[str, pa.Table]:
    """Split rows by the model version that made them."""
    if version is None:
        return {default: rows} if rows.num_rows else {}
    names = sorted(pc.unique(rows[version]).to_pylist())
    return {name: rows.filter(pc.equal(rows[version], name)) for name in names}


class HourlyTotals:
    """The hours of one version from `first` to `last` as running totals, a column at a time.

    Those of the column that was asked for last are kept: whoever adds up windows of several lengths asks for all of
    them before the next column. Hours that are not described count as zero rows and as missing.
    """

    def __init__(self, profiles: HourlyProfiles, first: datetime, last: datetime) -> None:
        self.first = first
        self.profiles = [profiles.get(first + step * HOUR) for step in range(round((last - first) / HOUR) + 1)]
        self._latest: tuple[Column, RunningCounts, RunningSums] | None = None

    def of(self, column: Column) -> tuple[RunningCounts, RunningSums]:
        """Return the whole numbers and the sums of one column."""
        latest = self._latest
        if latest is None or latest[0] is not column:
            latest = self._latest = (column, *self._running(column))
        return latest[1:]

    def _running(self, column: Column) -> tuple[RunningCounts, RunningSums]:
        blank = ColumnProfile.empty(column.bins)
        parts = [p.columns.get(column.name, blank) if p else blank for p in self.profiles]
        scalars = np.array([(p.nulls, p.invalid, p.unseen_rows) for p in parts], dtype=np.int64)
        squares = np.array([(p.squares,) for p in parts])
        counts = np.concatenate([p.counts for p in parts]).reshape(len(parts), -1)
        sums = np.concatenate([p.sums for p in parts]).reshape(len(parts), -1)
        return (
            RunningCounts(np.concatenate([counts, scalars], axis=1)),
            RunningSums(np.concatenate([sums, squares], axis=1), first_hour=self.first.hour),
        )


class ProfileSeries:
    """Trailing windows that end with `hours`, of up to `reach` hours, as arrays with a leading axis of hours.

    Series that share their totals, and one that is asked for several lengths, add up no hour twice.
    """

    def __init__(self, profiles: HourlyProfiles | HourlyTotals, hours: Sequence[datetime], *, reach: int) -> None:
        if not isinstance(profiles, HourlyTotals):
            profiles = HourlyTotals(profiles, min(hours) - (reach - 1) * HOUR, max(hours))
        self.reach = reach
        self._totals = profiles
        self._ends = np.array([round((hour - profiles.first) / HOUR) + 1 for hour in hours])

    def described(self, length: int) -> IntArray:
        """Return how many hours of each trailing window have been described, shape (hours,)."""
        known = np.array([[profile is not None] for profile in self._totals.profiles], dtype=np.int64)
        return RunningCounts(known).trailing(self._ends, length)[:, 0]

    def rows(self, length: int) -> IntArray:
        """Return the rows in each trailing window, shape (hours,)."""
        rows = np.array([[profile.rows if profile else 0] for profile in self._totals.profiles], dtype=np.int64)
        return RunningCounts(rows).trailing(self._ends, length)[:, 0]

    def column(self, column: Column, length: int) -> "ColumnWindows":
        """Return the counters of one column summed over the trailing windows."""
        counts, sums = self._totals.of(column)
        whole, real = counts.trailing(self._ends, length), sums.trailing(self._ends, length)
        return ColumnWindows(
            counts=whole[:, :-3],
            sums=real[:, :-1],
            squares=real[:, -1],
            nulls=whole[:, -3],
            invalid=whole[:, -2],
            unseen=whole[:, -1],
        )

    def unseen_names(self, column: str, index: int, length: int) -> Mapping[str, int]:
        """Return the heaviest unseen categories of the window that ends with hour `index`."""
        end = int(self._ends[index])
        names: Counter[str] = Counter()
        for profile in self._totals.profiles[end - length : end]:
            if profile and column in profile.columns:
                names.update(dict(profile.columns[column].unseen))
        return dict(_heaviest(names))


@dataclass(frozen=True, slots=True, eq=False)
class ColumnWindows:
    """Counters of one column over several windows; the leading axis is the windows."""

    counts: IntArray
    sums: FloatArray
    squares: FloatArray
    nulls: IntArray
    invalid: IntArray
    unseen: IntArray

    @classmethod
    def empty(cls, bins: Bins, windows: int) -> "ColumnWindows":
        """Return windows without rows."""
        blank = ColumnProfile.empty(bins)
        counts, sums = np.zeros((windows, len(blank.counts)), np.int64), np.zeros((windows, len(blank.sums)))
        nothing = np.zeros(windows, np.int64)
        return cls(counts, sums, np.zeros(windows), nothing, nothing.copy(), nothing.copy())

    @property
    def rows(self) -> IntArray:
        return np.asarray(self.counts.sum(axis=-1) + self.nulls + self.invalid + self.unseen)

    def grouped(self, bins: Bins) -> IntArray:
        """Return counts per coarse bin, then unseen or unusable, then null; shape (windows, groups + 2)."""
        from monitoring_pipeline.stats.histograms import sum_groups

        coarse = sum_groups(self.counts, bins.groups, bins.group_count + 1)
        coarse[..., -1] += self.invalid + self.unseen
        return np.concatenate([coarse, self.nulls[..., None]], axis=-1)

    def bin_means(self) -> FloatArray:
        """Return mean - center per fine bin, shape (windows, bins); 0 where a bin is empty."""
        return np.asarray(self.sums / np.maximum(self.counts, 1))
