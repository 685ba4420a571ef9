"""Columns of a model's traffic: their roles, kinds, and the bins every profile of them is counted in.

Add a kind of column here, with its bins. Keep counting out: it belongs in `kernel`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
AnyArray = npt.NDArray[Any]

FINE_BINS = 100
"""Bins behind KS and Wasserstein. More would cost memory and change the distances by less than their own noise."""

EXACT_VALUES = 20
"""Numeric columns with at most this many distinct values get a bin of their own for every value."""

COUNTED_CATEGORIES = 100
"""Categories counted one by one; the rarer known ones are counted together."""

Z_FENCE, IQR_FENCE = 3.0, 1.5
"""Outliers are this many standard deviations from the mean, or interquartile ranges beyond the quartiles."""

KNOWN_CATEGORIES = 10_000
"""Names remembered to tell a rare category from a new one; beyond it, new names count as rare."""


class DatetimePart(StrEnum):
    """What a date and time is described by: its date always moves.

    Hours of the day and days of the week go round: KS and Wasserstein cut them at midnight and at the end of Sunday,
    PSI and JS do not mind. The age is the time of the row less the value, in days.
    """

    HOUR_OF_DAY = "hour_of_day"
    DAY_OF_WEEK = "day_of_week"
    AGE_DAYS = "age_days"


def datetime_parts(name: str, *, aged: bool) -> tuple[tuple[str, DatetimePart], ...]:
    """Return the columns that describe a date and time, by name; no age where rows have no time of their own."""
    parts = [part for part in DatetimePart if aged or part is not DatetimePart.AGE_DAYS]
    return tuple((f"{name}.{part}", part) for part in parts)


class ColumnKind(StrEnum):
    """How a column is read. A datetime is described by its parts."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    DATETIME = "datetime"

    @property
    def is_binned(self) -> bool:
        """Whether the column is counted in numeric bins rather than by category."""
        return self in (ColumnKind.NUMERIC, ColumnKind.DATETIME)


class ColumnRole(StrEnum):
    """What a column is for."""

    FEATURE = "feature"
    SCORE = "score"
    PREDICTION = "prediction"
    LABEL = "label"


@dataclass(frozen=True, slots=True, eq=False)
class NumericBins:
    """Bins on reference quantiles: bin i holds values in [edges[i-1], edges[i]), bin 0 and the last are open.

    `groups` maps every bin to one of `group_count` coarse bins, the ones PSI and JS use; a bin mapped to
    `group_count` itself holds values the reference never had. `center` and `scale` are the mean and standard
    deviation of the reference: sums are kept relative to `center`, which makes them additive and stable.
    """

    edges: FloatArray
    groups: IntArray
    group_count: int
    center: float
    scale: float

    @property
    def size(self) -> int:
        return len(self.edges) + 1

    def describe_group(self, group: int) -> str:
        """Return the range of a coarse bin as a person reads it."""
        if group >= self.group_count:
            return "never seen in the reference"
        first, last = np.flatnonzero(self.groups == group)[[0, -1]]
        if first == last and self._holds_one_value(last):
            return f"= {self.edges[last - 1]:g}"
        low, high = "(-inf", "inf)"
        if first > 0:
            after = self._holds_one_value(first - 1)
            low = f"({self.edges[first - 2]:g}" if after else f"[{self.edges[first - 1]:g}"
        if last < len(self.edges):
            high = f"{self.edges[last - 1]:g}]" if self._holds_one_value(last) else f"{self.edges[last]:g})"
        return f"{low}, {high}"

    def _holds_one_value(self, place: int) -> bool:
        """Whether a bin ends with the float next to its start: people read the value, not the next float."""
        return bool(0 < place < len(self.edges) and np.nextafter(self.edges[place - 1], np.inf) >= self.edges[place])

    def to_json(self) -> dict[str, Any]:
        return {
            "edges": self.edges.tolist(),
            "groups": self.groups.tolist(),
            "group_count": self.group_count,
            "center": self.center,
            "scale": self.scale,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "NumericBins":
        return cls(
            edges=np.asarray(document["edges"], dtype=np.float64),
            groups=np.asarray(document["groups"], dtype=np.int64),
            group_count=int(document["group_count"]),
            center=float(document["center"]),
            scale=float(document["scale"]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class CategoricalBins:
    """One bin per counted category, most frequent first, then one for all other known ones.

    `groups` maps bins to coarse bins as in `NumericBins`; unseen categories have a count of their own.
    `complete` says that `categories` and `others` name everything the reference had. `singletons` of them came once.
    """

    categories: tuple[str, ...]
    others: tuple[str, ...]
    complete: bool
    groups: IntArray
    group_count: int
    singletons: int = 0

    @property
    def size(self) -> int:
        return len(self.categories) + 1

    def describe_group(self, group: int) -> str:
        """Return the categories of a coarse bin as a person reads them."""
        if group >= self.group_count:
            return "never seen in the reference"
        members = [self.categories[i] for i in np.flatnonzero(self.groups[:-1] == group)]
        if self.groups[-1] == group and (len(members) != 1 or self.others):
            return "all other known categories"
        return f"= {members[0]}" if members else "all other known categories"

    def to_json(self) -> dict[str, Any]:
        return {
            "categories": list(self.categories),
            "others": list(self.others),
            "complete": self.complete,
            "groups": self.groups.tolist(),
            "group_count": self.group_count,
            "singletons": self.singletons,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "CategoricalBins":
        return cls(
            categories=tuple(document["categories"]),
            others=tuple(document["others"]),
            complete=bool(document["complete"]),
            groups=np.asarray(document["groups"], dtype=np.int64),
            group_count=int(document["group_count"]),
            singletons=int(document["singletons"]),
        )


Bins = NumericBins | CategoricalBins


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what it is called, what it is for, how it is read, and its bins.

    `source` is the column of the log it is read from, its own name unless it is a `part` of a date and time.
    """

    name: str
    role: ColumnRole
    kind: ColumnKind
    bins: Bins
    source: str = ""
    part: DatetimePart | None = None

    @property
    def read_from(self) -> str:
        """The column of the log it is read from."""
        return self.source or self.name

    @property
    def is_ordered(self) -> bool:
        """Whether the bins have an order, so that KS and Wasserstein mean something."""
        return isinstance(self.bins, NumericBins)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "role": self.role.value,
            "kind": self.kind.value,
            "bins": self.bins.to_json(),
            "source": self.source,
            "part": self.part.value if self.part else None,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Column":
        kind = ColumnKind(document["kind"])
        bins: Bins
        if kind.is_binned:
            bins = NumericBins.from_json(document["bins"])
        else:
            bins = CategoricalBins.from_json(document["bins"])
        part = DatetimePart(document["part"]) if document["part"] else None
        return cls(document["name"], ColumnRole(document["role"]), kind, bins, document["source"], part)


def bins_digest(columns: Mapping[str, Column]) -> str:
    """Return a short name of the bins of some columns: profiles add up only where it is the same."""
    return sha256("".join(_column_digest(columns[name]) for name in sorted(columns)).encode()).hexdigest()[:12]


@lru_cache(maxsize=2_000)  # every entry keeps its column alive, which may know 10,000 names
def _column_digest(column: Column) -> str:
    return sha256(json.dumps(column.to_json(), sort_keys=True).encode()).hexdigest()


def numeric_bins(values: FloatArray, *, groups: int) -> NumericBins:
    """Return the bins of a numeric reference column from its usable values in ascending order, shape (rows,).

    At most `EXACT_VALUES` distinct values: a bin for each value and for each gap between them, so that a value the
    reference never had is known as such. Otherwise up to `FINE_BINS` quantile bins, cut where outliers begin, grouped
    into `groups` coarse ones of about equal mass. No values at all: every value is unseen.
    """
    from monitoring_pipeline.stats.histograms import group_equal_mass, quantile_edges

    if len(values) == 0:
        return NumericBins(np.array([0.0]), np.array([0, 0]), 0, 0.0, 0.0)
    distinct = values[np.append(0, np.flatnonzero(values[1:] != values[:-1])[:EXACT_VALUES] + 1)]
    center, scale = float(np.mean(values)), float(np.std(values))
    if len(distinct) == 1:  # exactly: the mean of equal values can be off by rounding, and then is a scale
        center, scale = float(distinct[0]), 0.0
    if len(distinct) <= EXACT_VALUES:
        edges = np.unique(np.concatenate([distinct, np.nextafter(distinct, np.inf)]))
        place = np.full(len(edges) + 1, len(distinct), dtype=np.int64)
        place[np.searchsorted(edges, distinct, side="right")] = np.arange(len(distinct))
        return NumericBins(edges, place, len(distinct), center, scale)
    edges, fences = quantile_edges(values, FINE_BINS), _fences(values, center, scale)
    edges = np.union1d(edges, fences[(fences > edges[0]) & (fences < edges[-1])])
    counts = np.diff(np.searchsorted(values, edges, side="left"))
    inner = group_equal_mass(counts, groups)
    place = np.concatenate([inner[:1], inner, inner[-1:]]).astype(np.int64)
    return NumericBins(edges, place, int(inner[-1]) + 1, center, scale)


def _fences(values: FloatArray, center: float, scale: float) -> FloatArray:
    """Return where outliers begin; a value on an upper fence is none."""
    from monitoring_pipeline.stats.histograms import sorted_quantiles

    first, third = sorted_quantiles(values, [0.25, 0.75])
    reach = IQR_FENCE * (third - first)
    upper = np.nextafter([center + Z_FENCE * scale, third + reach], np.inf)
    return np.array([center - Z_FENCE * scale, first - reach, *upper])


def categorical_bins(counts: dict[str, int], *, groups: int) -> CategoricalBins:
    """Return the bins of a categorical reference column from the count of every category.

    The `groups` - 1 most frequent categories have a coarse bin of their own (all, when there are at most `groups` or
    `EXACT_VALUES`); the others share one.
    """
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    categories = tuple(ranked[:COUNTED_CATEGORIES])
    others = tuple(ranked[COUNTED_CATEGORIES:KNOWN_CATEGORIES])
    alone = len(ranked) if len(ranked) <= max(EXACT_VALUES, groups) else groups - 1
    place = np.minimum(np.arange(len(categories) + 1), alone).astype(np.int64)
    group_count = alone + (1 if len(ranked) > alone else 0)
    singletons = sum(count == 1 for count in counts.values())
    return CategoricalBins(categories, others, len(ranked) <= KNOWN_CATEGORIES, place, group_count, singletons)
