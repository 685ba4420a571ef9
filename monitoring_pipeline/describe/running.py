"""Trailing windows over hourly counters, many at once and in a fraction of the additions.

Add another way of summing over hours here. Keep what is counted out: it belongs in `profiles`.
"""

import numpy as np

from monitoring_pipeline.describe.columns import FloatArray, IntArray

DAY_HOURS = 24


class RunningCounts:
    """Whole numbers by hour, shape (hours, counters): any window is the difference of two running totals."""

    def __init__(self, hourly: IntArray) -> None:
        self._totals = np.concatenate([np.zeros_like(hourly[:1]), np.cumsum(hourly, axis=0)])

    def trailing(self, ends: IntArray, length: int) -> IntArray:
        """Return the sums of `length` hours before each of `ends`."""
        return np.asarray(self._totals[ends] - self._totals[ends - length])


class RunningSums:
    """Floats by hour, shape (hours, counters), added up in an order that depends on nothing but the hours themselves.

    The rounding of a running total depends on where it starts, and the same hour must give the same bits in whatever
    range it is computed. So a window is the rest of its first UTC day, its whole days and the start of its last day.
    """

    def __init__(self, hourly: FloatArray, *, first_hour: int) -> None:
        days = -(-(first_hour + len(hourly)) // DAY_HOURS)
        self._first = first_hour
        self._hours = np.zeros((days, DAY_HOURS, hourly.shape[1]))
        self._hours.reshape(-1, hourly.shape[1])[first_hour : first_hour + len(hourly)] = hourly
        self._since_midnight = np.cumsum(self._hours, axis=1)
        self._to_midnight = np.cumsum(self._hours[:, ::-1], axis=1)[:, ::-1]

    def trailing(self, ends: IntArray, length: int) -> FloatArray:
        """Return the sums of `length` hours before each of `ends`."""
        ends = ends + self._first
        starts = ends - length
        if length < DAY_HOURS:
            flat = self._hours.reshape(-1, self._hours.shape[2])
            return _sum_of(flat, starts, length)
        first_day, last_day = -(-starts // DAY_HOURS), ends // DAY_HOURS
        total = np.zeros((len(ends), self._hours.shape[2]))
        for days in np.unique(last_day - first_day):
            place = np.flatnonzero(last_day - first_day == days)
            if days:
                total[place] = _sum_of(self._since_midnight[:, -1], first_day[place], int(days))
        ragged = np.flatnonzero(starts % DAY_HOURS)
        total[ragged] += self._to_midnight[starts[ragged] // DAY_HOURS, starts[ragged] % DAY_HOURS]
        ragged = np.flatnonzero(ends % DAY_HOURS)
        total[ragged] += self._since_midnight[last_day[ragged], ends[ragged] % DAY_HOURS - 1]
        return total


def _sum_of(values: FloatArray, starts: IntArray, length: int) -> FloatArray:
    """Return the sums of `length` rows from each of `starts` on, oldest first."""
    first, last = int(starts.min()), int(starts.max()) + 1
    total = values[first:last].copy()
    for step in range(1, length):
        total += values[first + step : last + step]
    return total[starts - first]
