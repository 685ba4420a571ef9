"""Spans of hours added up for many evaluations at once: the windows under test and what they are held against.

Add another kind of baseline here, as a frozen record with a `name` and `spans`. Keep what a window is compared by out:
it belongs in distances and evaluate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import ClassVar

import numpy as np

from monitoring_pipeline.capture.windows import EPOCH, HOUR
from monitoring_pipeline.describe.blocks import combined
from monitoring_pipeline.describe.columns import Column
from monitoring_pipeline.describe.profiles import ColumnWindows, HourlyProfiles, HourlyTotals, ProfileSeries

Span = tuple[datetime, datetime]
"""A half-open stretch of whole hours, [start, end)."""

WEEK = timedelta(weeks=1)


@dataclass(frozen=True, slots=True)
class TrailingWeeks:
    """The weeks that end where the window begins."""

    weeks: int

    @property
    def name(self) -> str:
        return f"trailing_{self.weeks}w"

    @property
    def reach(self) -> timedelta:
        """How far before a window the baseline begins, at most."""
        return self.weeks * WEEK

    def spans(self, start: datetime, end: datetime) -> list[Span]:
        """Return the stretches a window [start, end) is held against, none of which touches it."""
        return [(start - self.weeks * WEEK, start)]


@dataclass(frozen=True, slots=True)
class SameHoursOfWeek:
    """The same hours of the weeks before: Sunday night against earlier Sunday nights. For windows up to a week."""

    PREFIX: ClassVar[str] = "same_hours_"

    weeks: int

    @property
    def name(self) -> str:
        return f"{self.PREFIX}{self.weeks}w"

    @property
    def reach(self) -> timedelta:
        return self.weeks * WEEK

    def spans(self, start: datetime, end: datetime) -> list[Span]:
        if end - start > WEEK:
            return []
        return [(start - back * WEEK, end - back * WEEK) for back in range(self.weeks, 0, -1)]


@dataclass(frozen=True, slots=True)
class FixedPeriod:
    """A period in which all was well, such as the first month after a launch, without the window itself."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        return f"{self.start:%Y-%m-%dT%HZ}/{self.end:%Y-%m-%dT%HZ}"

    @property
    def reach(self) -> timedelta:
        return timedelta(0)

    def spans(self, start: datetime, end: datetime) -> list[Span]:
        around = [(self.start, min(self.end, start)), (max(self.start, end), self.end)]
        return [(first, last) for first, last in around if first < last]


Baseline = TrailingWeeks | SameHoursOfWeek | FixedPeriod


def last_rows_span(rows: Mapping[datetime, int], end: datetime, *, wanted: int, reach: timedelta) -> Span | None:
    """Return the shortest stretch of whole hours before `end` with at least `wanted` rows, or None within `reach`."""
    found, start = 0, end
    while found < wanted:
        start -= HOUR
        if end - start > reach:
            return None
        found += rows.get(start, 0)
    return start, end


class SpanSeries:
    """The hourly profiles of one version, added up over any number of spans; empty spans (None) count as no rows.

    Several that share their totals are fastest when all of them are asked for a column before the next one.
    """

    def __init__(self, profiles: HourlyProfiles | HourlyTotals, spans: Sequence[Span | None]) -> None:
        self._count = len(spans)
        if not isinstance(profiles, HourlyTotals):
            profiles = totals_of(profiles, [span for span in spans if span is not None])
        by_length: dict[int, list[int]] = {}
        for index, span in enumerate(spans):
            if span is not None:
                by_length.setdefault(round((span[1] - span[0]) / HOUR), []).append(index)
        self._groups = [
            (length, np.array(places), ProfileSeries(profiles, [_last(spans[at]) for at in places], reach=length))
            for length, places in by_length.items()
        ]

    def column(self, column: Column) -> ColumnWindows:
        """Return the counters of one column by span."""
        if len(self._groups) == 1 and len(self._groups[0][1]) == self._count:
            length, _, series = self._groups[0]
            return series.column(column, length)
        total = ColumnWindows.empty(column.bins, self._count)
        for length, places, series in self._groups:
            part = series.column(column, length)
            for entry in fields(ColumnWindows):
                getattr(total, entry.name)[places] = getattr(part, entry.name)
        return total

    def unseen_names(self, column: str, index: int) -> Mapping[str, int]:
        """Return the heaviest unseen categories of one span."""
        for length, places, series in self._groups:
            if (found := np.flatnonzero(places == index)).size:
                return series.unseen_names(column, int(found[0]), length)
        return {}


def totals_of(profiles: HourlyProfiles, spans: Sequence[Span]) -> HourlyTotals:
    """Return the running totals that cover some spans."""
    first, end = min((span[0] for span in spans), default=EPOCH), max((span[1] for span in spans), default=EPOCH)
    return HourlyTotals(profiles, first, end - HOUR)


def _last(span: Span | None) -> datetime:
    assert span is not None
    return span[1] - HOUR


class BaselineSeries:
    """What each window is held against: the sum of its baseline's spans."""

    def __init__(self, profiles: HourlyProfiles, baseline: Baseline, windows: Sequence[Span | None]) -> None:
        self.pieces = pieces = [baseline.spans(*window) if window is not None else [] for window in windows]
        self._parts = [
            SpanSeries(profiles, [spans[place] if place < len(spans) else None for spans in pieces])
            for place in range(max(map(len, pieces), default=0))
        ]
        self._count = len(windows)

    def column(self, column: Column) -> ColumnWindows:
        """Return the counters of one column by window."""
        total = ColumnWindows.empty(column.bins, self._count)
        for part in self._parts:
            total = combined(total, part.column(column))
        return total


def hours_of(span: Span) -> list[datetime]:
    """Return the hours of a span, oldest first."""
    return [span[0] + step * HOUR for step in range(_hours(span))]


def _hours(span: Span) -> int:
    return round((span[1] - span[0]) / HOUR)
