"""Training-serving skew: features that are missing, stored as something else, or mean something else than in training.

Metrics: `skew.distance` from training of an hour's sampled rows (Kolmogorov-Smirnov of numbers, total variation of
categories), and as 0 or 1 `skew.missing`, `skew.retyped` and `skew.changed_meaning`, whose reason names the change.
Add a way in which a feature differs between training and serving here. Keep recognising a change by its shape out, it
belongs in stats, and how far whole windows drift belongs in drift.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring_pipeline.capture.predictions import UNVERSIONED, LogColumns
from monitoring_pipeline.capture.windows import HOUR, window_name
from monitoring_pipeline.describe.columns import (
    CategoricalBins,
    Column,
    ColumnKind,
    ColumnRole,
    FloatArray,
    NumericBins,
)
from monitoring_pipeline.describe.hours import hours_by_version
from monitoring_pipeline.describe.kernel import category_counts, column_values, floats_with_nan, numeric_values
from monitoring_pipeline.describe.layouts import Layout, order_counts, stored_kind
from monitoring_pipeline.describe.profiles import rows_by_version
from monitoring_pipeline.describe.references import ColumnReference, Reference
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.stats.changed_meaning import (
    LEAST_ROWS,
    MOVED,
    MeaningChange,
    NumberShape,
    distance_from_shape,
    recognise_numbers,
)
from monitoring_pipeline.stats.recoding import recognise_categories

STORED = {
    ColumnKind.NUMERIC: "numbers",
    ColumnKind.CATEGORICAL: "text",
    ColumnKind.BOOLEAN: "true and false",
    ColumnKind.DATETIME: "times",
}
HARMLESS = frozenset({ColumnKind.NUMERIC, ColumnKind.BOOLEAN})
"""Kinds that stand for each other: missing values turn booleans into 0 and 1."""

FEW_NULLS = 0.05
"""A column that was null in a smaller share of the training rows is missing when it is null in every row."""

UNSTEADY = 0.05
"""Share of training rows with a name of their own, beyond which new names are what is to be expected."""

REVERSED, ORDER_HOURS = 0.97, 12
"""Share of rows, and hours, in which a column must exceed the one it never exceeded: in a few hours weather does."""


@dataclass(frozen=True, slots=True)
class SkewPolicy:
    """Windows of sampled rows, and how many usable values a feature needs; longer windows serve quiet hours.

    unasked: features that are not asked whether they mean something else.
    """

    windows: tuple[timedelta, ...] = (HOUR, 24 * HOUR)
    min_rows: int = 20
    unasked: frozenset[str] = frozenset()


def skew_by_version(
    model: str,
    samples: Mapping[datetime, pa.Table],
    references: Mapping[str, Reference],
    hours: Sequence[datetime],
    policy: SkewPolicy,
    *,
    log: LogColumns,
    layouts: Mapping[str, Layout],
) -> list[Signal]:
    """Return the skew of every version that served in a window, from the sampled and prepared rows of every hour.

    `samples` reach back as far as the longest window does. Without the layout of a version's reference rows nothing is
    said of types, and swapped features are found by their distributions alone.
    """
    parts = {
        hour: {version: _Hour(part, log.predicted_at) for version, part in _versions(rows, log).items()}
        for hour, rows in samples.items()
    }
    served = {hour: {version: part.rows.num_rows for version, part in each.items()} for hour, each in parts.items()}
    signals: list[Signal] = []
    for version, own_hours in hours_by_version(served, hours, reach=max(policy.windows)).items():
        if version not in references:
            reason = f"version {version} has no reference"
            signals += (
                Signal("skew.distance", model, version, at, at + HOUR, absence=Absence.NO_REFERENCE, reason=reason)
                for at in own_hours
            )
            continue
        training = _Training.of(references[version], layouts.get(version, Layout()))
        for hour in own_hours:
            for window in policy.windows:
                first = hour + HOUR - window
                spanned = [each[version] for at, each in parts.items() if first <= at <= hour and version in each]
                place = {"model": model, "version": version, "window_start": first, "window_end": hour + HOUR}
                signals += _window_signals(training, spanned, place, window, policy)
    return signals


def _versions(rows: pa.Table, log: LogColumns) -> dict[str, pa.Table]:
    """Return the rows of each version; an hour without rows has no columns either."""
    return rows_by_version(rows, version=log.version, default=UNVERSIONED) if rows.num_rows else {}


@dataclass(frozen=True, slots=True, eq=False)
class _Hour:
    """Rows of one version in an hour; each column is read once, however many windows hold the hour."""

    rows: pa.Table
    time: str
    finite: dict[str, FloatArray] = field(default_factory=dict)
    rowwise: dict[str, FloatArray] = field(default_factory=dict)
    counted: dict[str, dict[str, int]] = field(default_factory=dict)

    def numbers(self, column: Column) -> FloatArray:
        if column.name not in self.finite:
            self.finite[column.name] = numeric_values(self._values(column), column.kind).finite
        return self.finite[column.name]

    def by_row(self, column: Column) -> FloatArray:
        """Return the numbers row by row, NaN where there is none."""
        if column.name not in self.rowwise:
            self.rowwise[column.name] = floats_with_nan(self.rows[column.name], column.kind)
        return self.rowwise[column.name]

    def counts(self, column: Column) -> dict[str, int]:
        if column.name not in self.counted:
            self.counted[column.name] = category_counts(self._values(column), column.kind)
        return self.counted[column.name]

    def _values(self, column: Column) -> pa.ChunkedArray:
        return column_values(self.rows, column.read_from, column.part, self.time)


@dataclass(frozen=True, slots=True, eq=False)
class _Training:
    """What the features of one version were like in training."""

    features: tuple[ColumnReference, ...]
    shapes: Mapping[str, NumberShape]
    layout: Layout

    @classmethod
    def of(cls, reference: Reference, layout: Layout) -> "_Training":
        features = tuple(entry for entry in reference.columns.values() if entry.column.role is ColumnRole.FEATURE)
        shapes = {entry.column.name: shape for entry in features if (shape := _shape(entry, layout)) is not None}
        return cls(features, shapes, layout)


def _shape(entry: ColumnReference, layout: Layout) -> NumberShape | None:
    bins, counts = entry.column.bins, entry.profile.counts
    if not isinstance(bins, NumericBins) or not counts.sum():
        return None
    known = layout.known.get(entry.column.name, np.zeros(0))
    return NumberShape(bins.edges, np.cumsum(counts)[:-1] / counts.sum(), bins.center, bins.scale, known)


@dataclass(slots=True)
class _Found:
    """What a window says of one feature; an absence stands for the distance and the meaning alike."""

    rows: int = 0
    distance: float | None = None
    change: MeaningChange | None = None
    ranges: str = ""
    absence: tuple[Absence, str] | None = None


def _window_signals(
    training: _Training, hours: Sequence[_Hour], place: dict[str, Any], window: timedelta, policy: SkewPolicy
) -> Iterator[Signal]:
    found: dict[str, _Found] = {}
    for entry in training.features:
        try:
            found[entry.column.name] = _measured(training, entry, hours, place["window_end"], window, policy)
        except Exception as error:  # noqa: BLE001 - whatever one column does, the others are measured
            found[entry.column.name] = _failed(error)
    try:
        swapped = _swapped(training, hours, found)
    except Exception:  # noqa: BLE001 - what each column says by itself stands
        swapped = {}
    parts = {entry.column.name for entry in training.features if entry.column.part is not None}
    for name, each in found.items():
        each.change = swapped.get(name, each.change)
        yield _signal("distance", name, place, each, each.distance)
        if name not in policy.unasked and name not in parts:
            yield _meaning(name, place, each, training)
    if window == min(policy.windows):
        yield from _stored_signals(training, hours, place)


def _failed(error: Exception) -> _Found:
    return _Found(absence=(Absence.FAILED, " ".join(f"{type(error).__name__}: {error}".split())))


def _measured(
    training: _Training,
    entry: ColumnReference,
    hours: Sequence[_Hour],
    end: datetime,
    window: timedelta,
    policy: SkewPolicy,
) -> _Found:
    column, bins = entry.column, entry.column.bins
    if not hours:
        return _Found(absence=(Absence.EMPTY_HOUR, "no prediction was logged"))
    if all(column.read_from not in hour.rows.column_names for hour in hours):
        return _Found(absence=(Absence.MISSING_COLUMN, "the column is not in the log: infinitely far from training"))
    if isinstance(bins, CategoricalBins):
        return _categories(entry, bins, hours, policy)
    numbers = _pooled(hours, column)
    shape = training.shapes.get(column.name)
    if shape is None:
        return _Found(len(numbers), absence=(Absence.NO_REFERENCE, "training had no usable value of this column"))
    if (few := _too_few(len(numbers), policy)) is not None:
        return _Found(len(numbers), absence=few)
    own = entry.calibrated("ks", window_name(window))
    change = recognise_numbers(shape, numbers, now=end.timestamp(), usual=own.largest if own else 0.0)
    low, high = entry.profile.low, entry.profile.high
    ranges = f"; {low:.6g} to {high:.6g} in training, now {numbers[0]:.6g} to {numbers[-1]:.6g}"
    return _Found(len(numbers), distance_from_shape(shape, numbers), change, ranges)


def _too_few(rows: int, policy: SkewPolicy) -> tuple[Absence, str] | None:
    if rows >= policy.min_rows:
        return None
    return Absence.TOO_FEW_ROWS, f"{rows} usable values, {policy.min_rows} are needed (skew.min_rows)"


def _categories(entry: ColumnReference, bins: CategoricalBins, hours: Sequence[_Hour], policy: SkewPolicy) -> _Found:
    counts: Counter[str] = Counter()
    for hour in hours:
        counts.update(hour.counts(entry.column))
    rows = counts.total()
    if (few := _too_few(rows, policy)) is not None:
        return _Found(rows, absence=few)
    trained = entry.profile.counts
    if not trained.sum():
        return _Found(rows, absence=(Absence.NO_REFERENCE, "training had no usable value of this column"))
    # Rare names that training had are counted together in the last bin, and so is here what it never had.
    named = np.array([counts[name] for name in bins.categories], dtype=np.float64)
    shares = np.append(named, rows - named.sum()) / rows - trained / trained.sum()
    before = dict(zip(bins.categories, map(int, trained), strict=False)) | dict.fromkeys(bins.others, 0)
    # Where names come and go, as those of customers do, new ones say nothing.
    steady = bins.complete and bins.singletons <= UNSTEADY * trained.sum()
    change = recognise_categories(before, counts) if steady else None
    return _Found(rows, float(np.abs(shares).sum() / 2), change)


def _swapped(training: _Training, hours: Sequence[_Hour], found: Mapping[str, _Found]) -> dict[str, MeaningChange]:
    """Return the features that changed places: each looks like the other, or the order they always had is reversed."""
    columns = {entry.column.name: entry.column for entry in training.features if entry.column.part is None}
    usable = {
        name: each.distance
        for name, each in found.items()
        if name in training.shapes and name in columns and each.distance is not None and each.rows >= LEAST_ROWS
    }
    numbers = {name: _pooled(hours, columns[name]) for name, distance in usable.items() if distance >= MOVED}

    def exchanged(pair: tuple[str, str]) -> list[float]:
        """Return how far each would lie from training if it were the other."""
        pooled = [numbers[name] if name in numbers else _pooled(hours, columns[name]) for name in pair]
        return [distance_from_shape(training.shapes[at], values) for at, values in zip(pair[::-1], pooled, strict=True)]

    swaps: dict[str, MeaningChange] = {}
    for pair in combinations(numbers, 2):
        own, other = [usable[name] for name in pair], exchanged(pair)
        noise = 1 / np.sqrt(min(len(numbers[name]) for name in pair))
        closer = min(before - after for before, after in zip(own, other, strict=True))
        if max(other) <= 1.5 * noise + 0.02 and closer >= 0.15 + noise:
            for at, (name, partner) in enumerate((pair, pair[::-1])):
                swaps[name] = MeaningChange(f"the values of {partner!r}: the two changed places", own[at], other[at])
    known = swaps.keys() | {name for name, each in found.items() if each.change}
    for pair in training.layout.orders if len(hours) >= ORDER_HOURS else ():
        if not usable.keys() >= set(pair) or not numbers.keys() & set(pair) or known & set(pair):
            continue
        own, other = [usable[name] for name in pair], exchanged(pair)
        if sum(other) < sum(own) and _is_reversed(columns[pair[0]], columns[pair[1]], hours):
            for at, (name, partner) in enumerate((pair, pair[::-1])):
                words = f"values on the wrong side of {partner!r}: {pair[0]!r} never exceeded {pair[1]!r}, and now does"
                swaps[name] = MeaningChange(words, own[at], other[at])
    return swaps


def _pooled(hours: Sequence[_Hour], column: Column) -> FloatArray:
    numbers = np.concatenate([hour.numbers(column) for hour in hours])
    numbers.sort()
    return numbers


def _is_reversed(smaller: Column, larger: Column, hours: Sequence[_Hour]) -> bool:
    held = [hour for hour in hours if {smaller.name, larger.name} <= set(hour.rows.column_names)]
    counts = [order_counts(hour.by_row(smaller), hour.by_row(larger)) for hour in held]
    above, both = sum(each[1] for each in counts), sum(each[2] for each in counts)
    return both >= LEAST_ROWS and above >= REVERSED * both


def _signal(name: str, column: str, place: dict[str, Any], found: _Found, value: float | None, **said: Any) -> Signal:
    if found.absence is not None:
        absence, reason = found.absence
        return Signal(f"skew.{name}", **place, absence=absence, reason=reason, column=column, rows=found.rows)
    return Signal(f"skew.{name}", **place, value=value, column=column, rows=found.rows, **said)


def _meaning(name: str, place: dict[str, Any], found: _Found, training: _Training) -> Signal:
    change = found.change
    if change is None:
        return _signal("changed_meaning", name, place, found, 0.0)
    numeric = name in training.shapes
    measure = ("Kolmogorov-Smirnov distance", "ks") if numeric else ("share of unknown names", "unknown")
    undone = f", {change.after:.2f} with that undone" if change.after < change.before else ""
    reason = f"looks like {change.words}: {measure[0]} from training {change.before:.2f}{undone}{found.ranges}"
    detail = {"change": change.words, "factor": change.factor, "offset": change.offset}
    detail |= {f"{measure[1]}_before": change.before, f"{measure[1]}_after": change.after}
    return _signal("changed_meaning", name, place, found, 1.0, reason=reason, detail=detail)


def _stored_signals(training: _Training, hours: Sequence[_Hour], place: dict[str, Any]) -> Iterator[Signal]:
    """Yield whether each column of the log is there, and whether it is stored as in training."""
    rows = sum(hour.rows.num_rows for hour in hours)
    for entry in {entry.column.read_from: entry for entry in training.features}.values():
        name = entry.column.read_from
        found = _Found(rows, absence=None if rows else (Absence.EMPTY_HOUR, "no prediction was logged"))
        columns = [hour.rows[name] for hour in hours if name in hour.rows.column_names]
        missing = _missing(entry, columns, rows) if rows else ""
        yield _signal("missing", name, place, found, float(bool(missing)), reason=missing)
        before, kinds = training.layout.kinds.get(name), {stored_kind(column) for column in columns} - {None}
        if rows and before is None:
            found.absence = (Absence.NO_REFERENCE, "it is not known how training stored this column")
        elif rows and not kinds:
            found.absence = (Absence.MISSING_COLUMN, missing or "no value in the window")
        others = [kind for kind in kinds if kind is not None and kind is not before and {kind, before} != HARMLESS]
        stored = " and ".join(STORED[kind] for kind in sorted(others))
        reason = f"stored as {stored}, training had {STORED[before]}" if others and before else ""
        yield _signal("retyped", name, place, found, float(bool(others)), reason=reason)


def _missing(entry: ColumnReference, columns: Sequence[pa.ChunkedArray], rows: int) -> str:
    """Return in words that a column is missing from all rows, nothing where it is not."""
    if not columns:
        return "the column is not in the log"
    # Nulls come in stretches: a column of which training lacked more may well be null for an hour.
    null_rate = entry.profile.nulls / max(entry.profile.rows, 1)
    empty = all(column.null_count == len(column) for column in columns)
    return (
        f"null in all {rows} rows, {null_rate:.1%} in training"
        if empty and null_rate < FEW_NULLS and rows >= LEAST_ROWS
        else ""
    )
