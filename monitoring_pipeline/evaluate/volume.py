"""Volume: the predictions of an hour, or a window up to a week, against the same hours of earlier weeks.

Metric: `quality.volume_ratio`, predictions over the mean of the earlier weeks; `p_value` says how often chance alone
strays as far, also from what came an hour earlier or later in those weeks, and `low` and `high` include 1 unless that
is rare. Add another measure of how much came here. Keep what
came out: it belongs in intake and quality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from scipy.special import betainc, gammaincinv

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import FloatArray
from monitoring_pipeline.describe.hours import serving_version
from monitoring_pipeline.evaluate.signals import DESCRIBED_SHARE, Absence, Signal

WEEK_HOURS = 168

FEWEST_WEEKS = 3
"""Two weeks do not say how much weeks differ."""

CONFIDENCE = 0.95
"""Few weeks may look alike by accident: their spread is taken for as large as it can be with this confidence."""

NOBODY = 0.5
"""Predictions expected in all earlier weeks together where none came: half of one (Jeffreys)."""


@dataclass(frozen=True, slots=True)
class VolumePolicy:
    """Windows to evaluate, how many weeks back count, and how rare a volume by chance must be to be called unusual."""

    windows: tuple[timedelta, ...]
    weeks: int = 6
    rarity: float = 0.001

    @property
    def reach(self) -> timedelta:
        """How far before its end an evaluation reads counts, at most."""
        return (self.weeks + 2) * WEEK_HOURS * HOUR


class _Counts:
    """Predictions by hour as running totals, and how many of the hours are known."""

    def __init__(self, counts: Mapping[datetime, int]) -> None:
        self._first = min(counts)
        size = round((max(counts) - self._first) / HOUR) + 1
        hourly = np.zeros((size, 2), np.int64)
        for hour, count in counts.items():
            hourly[round((hour - self._first) / HOUR)] = count, 1
        self._totals = np.concatenate([np.zeros((1, 2), np.int64), np.cumsum(hourly, axis=0)])

    def weeks_before(self, end: datetime) -> int:
        """Return how many weeks before `end` may have anything."""
        return max(round((end - self._first) / HOUR) // WEEK_HOURS, 0)

    def weekly(self, end: datetime, length: int, first: int, count: int) -> FloatArray:
        """Return the predictions in `length` hours up to `end` and to each hour of the week before it.

        Shape (count, 168): one row for each of `count` weeks, the latest of which ends `first` weeks before `end`. NaN
        where an hour is not known.
        """
        back = WEEK_HOURS * np.arange(first, first + count)[:, None] + np.arange(WEEK_HOURS)
        ends = round((end - self._first) / HOUR) - back
        inside = (ends >= length) & (ends < len(self._totals))
        last = np.where(inside, ends, 0)
        counts, known = np.moveaxis(self._totals[last] - self._totals[np.maximum(last - length, 0)], -1, 0)
        return np.where(inside & (known >= DESCRIBED_SHARE * length), counts, np.nan)


def volume_signals(
    model: str,
    served: Mapping[datetime, Mapping[str, int]],
    hours: Sequence[datetime],
    policy: VolumePolicy,
    *,
    reference: Mapping[datetime, int] | None = None,
) -> list[Signal]:
    """Return the volume of each window that ends with one of `hours`, under the version that served last.

    `served` counts predictions by described hour and version and reaches `policy.reach` back. `reference` counts those
    of a time before, where there are too few weeks; hours between its first and its last that it lacks were empty.
    """
    if not served:
        return []
    recent = _Counts({hour: sum(entries.values()) for hour, entries in served.items()})
    older = _Counts(_without_gaps(reference)) if reference else None
    windows = [window for window in policy.windows if window <= WEEK_HOURS * HOUR]
    versions = {hour: serving_version(served, hour) for hour in hours}
    return [
        _signal((model, version, hour + HOUR - window, hour + HOUR), recent, older, policy)
        for hour, version in versions.items()
        if version is not None
        for window in windows
    ]


def _without_gaps(counts: Mapping[datetime, int]) -> dict[datetime, int]:
    first, last = min(counts), max(counts)
    every = (first + step * HOUR for step in range(round((last - first) / HOUR) + 1))
    return {hour: counts.get(hour, 0) for hour in every}


def _signal(
    place: tuple[str, str, datetime, datetime], recent: _Counts, older: _Counts | None, policy: VolumePolicy
) -> Signal:
    name, (_, _, start, end) = "quality.volume_ratio", place
    length = round((end - start) / HOUR)
    found = float(recent.weekly(end, length, 0, 1)[0, 0])
    if np.isnan(found):
        return Signal(name, *place, absence=Absence.WARMING_UP, reason="hours of the window have not been described")

    def weeks_before(end: datetime) -> FloatArray:
        earlier = recent.weekly(end, length, 1, policy.weeks)
        # Another time only where there are too few weeks: traffic of last year is another traffic.
        if older is not None and _weeks(earlier) < FEWEST_WEEKS:
            earlier = np.concatenate([earlier, older.weekly(end, length, 1, older.weeks_before(end))])
        return earlier

    earlier = weeks_before(end)
    if (count := _weeks(earlier)) < FEWEST_WEEKS:
        words = f"{count} earlier weeks with the same hours, {FEWEST_WEEKS} are needed"
        return Signal(name, *place, absence=Absence.WARMING_UP, reason=words, rows=int(found))
    usual = float(np.nanmean(earlier[:, 0]))
    p_value = volume_p_value(found, earlier, length)
    if p_value <= policy.rarity:
        # Where people put their clocks forward or back, every hour is for weeks what the one beside it was.
        beside = [weeks for shift in (-HOUR, HOUR) if _weeks(weeks := weeks_before(end + shift)) >= FEWEST_WEEKS]
        p_value = max([p_value, *(volume_p_value(found, weeks, length) for weeks in beside)])
    value = found / max(usual, NOBODY / count) if found or usual else 1.0
    rare = p_value <= policy.rarity
    return Signal(
        name,
        *place,
        value=value,
        rows=int(found),
        low=None if rare else min(value, 1.0),
        high=None if rare else max(value, 1.0),
        p_value=p_value,
        reason=f"{found:.0f} predictions, {usual:.1f} in the same hours of {count} other weeks" if rare else "",
        detail={"usual": usual, "weeks": count},
    )


def _weeks(earlier: FloatArray) -> int:
    """Return how many weeks know the window itself."""
    return int(np.isfinite(earlier[:, 0]).sum())


def volume_p_value(found: float, earlier: FloatArray, length: int) -> float:
    """Return how often chance strays as far as `found` from the first column of `earlier`, to either side.

    `earlier` are counts, shape (weeks, hours of the week), NaN where not known. Counts are taken for negative binomial
    about the mean of their hour of the week, with one dispersion by moments for all hours (Var = m + d m^2). Windows of
    `length` hours overlap, so that 168 / length of a week count as independent.
    """
    weeks = np.isfinite(earlier).sum(axis=0)
    kept = weeks >= 2
    means = np.nanmean(earlier[:, kept], axis=0)
    squares = np.nansum(np.square(earlier[:, kept] - means), axis=0).sum()
    degrees = weeks[kept] - 1
    independent = max(float(degrees.sum()) / length, float(degrees.max()))
    largest = squares * independent / (2 * gammaincinv(independent / 2, 1 - CONFIDENCE))
    dispersion = max(float(largest - (degrees * means).sum()), 0.0) / max(float((degrees * means**2).sum()), 1e-9)
    count = int(weeks[0])
    mean = max(float(np.nanmean(earlier[:, 0])), NOBODY / count)
    # The mean of so many weeks is itself uncertain.
    variance = (mean + dispersion * mean**2) * (1 + 1 / count)
    size = mean**2 / (variance - mean)
    share = size / (size + mean)
    at_most = float(betainc(size, found + 1, share))
    at_least = float(betainc(found, size, 1 - share)) if found > 0 else 1.0
    return min(2 * min(at_most, at_least), 1.0)
