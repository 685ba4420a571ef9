"""Trailing windows of any hourly record that merges: what was counted in them, or why that says nothing yet.

Add here what such windows have in common. Keep metrics out: they belong in the reports.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Generic, Protocol, Self, TypeVar

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.hours import hours_by_version
from monitoring_pipeline.evaluate.signals import Absence, warming_up


class Mergeable(Protocol):
    """What counts rows and adds up."""

    @property
    def rows(self) -> int: ...

    def merge(self, other: Self, /) -> Self: ...


Record = TypeVar("Record", bound=Mergeable)


@dataclass(frozen=True, slots=True)
class TrailingWindow(Generic[Record]):
    """The records of one version in [start, end), merged; `missing` says why there are not enough of them."""

    version: str
    start: datetime
    end: datetime
    total: Record
    missing: tuple[Absence, str] | None

    def place(self, model: str) -> dict[str, Any]:
        """Return what tells the signals of one window from those of others."""
        return {"model": model, "version": self.version, "window_start": self.start, "window_end": self.end}


def trailing_windows(
    hourly: Mapping[datetime, Mapping[str, Record]],
    hours: Sequence[datetime],
    windows: Sequence[timedelta],
    empty: Record,
) -> Iterator[TrailingWindow[Record]]:
    """Yield the windows that end with each of `hours`, of every version that served in the longest of them."""
    served = {hour: {name: record.rows for name, record in entries.items()} for hour, entries in hourly.items()}
    traffic = {hour: sum(counts.values()) for hour, counts in served.items()}
    for version, own_hours in hours_by_version(served, hours, reach=max(windows)).items():
        total = totals({hour: entries[version] for hour, entries in hourly.items() if version in entries}, empty)
        for hour in own_hours:
            for window in windows:
                start, length = hour + HOUR - window, round(window / HOUR)
                described = (at for step in range(length) if (at := start + step * HOUR) in served)
                missing = warming_up(
                    {at: served[at].get(version, 0) for at in described}, traffic, start=start, length=length
                )
                yield TrailingWindow(version, start, hour + HOUR, total(hour + HOUR, length), missing)


def totals(own: Mapping[datetime, Record], empty: Record) -> Callable[[datetime, int], Record]:
    """Return a function that merges the last so many hours before a moment; hours that are missing count nothing.

    From blocks of 1, 2, 4 ... hours, each made once: a week is three of them, however many weeks overlap.
    """

    def added(first: Record, second: Record) -> Record:
        # Most of a month is no hour at all where a monitor is young; adding nothing to nothing would take longest.
        return second if first is empty else first if second is empty else first.merge(second)

    @cache
    def block(end: datetime, power: int) -> Record:
        if power == 0:
            return own.get(end - HOUR, empty)
        return added(block(end - 2 ** (power - 1) * HOUR, power - 1), block(end, power - 1))

    def total(end: datetime, length: int) -> Record:
        merged = empty
        for power in range(length.bit_length()):
            if length >> power & 1:
                merged = added(block(end, power), merged)
                end -= 2**power * HOUR
        return merged

    return total
