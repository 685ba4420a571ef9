"""Service level objectives: what counts as kept in an hour, how much of the error budget is left, how fast it goes.

Metrics by column = objective: `slo.budget_remaining` and `slo.compliance` over the period, `slo.burn_rate` over 1h,
6h, 24h and 3d. Add an objective as a function of a `JudgedHour`, and its name to `SERVICE` or to `MODEL`. Keep targets
out: they belong in settings.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from scipy.special import betaincinv

from monitoring_pipeline.capture.windows import HOUR, window_name
from monitoring_pipeline.describe.columns import IntArray
from monitoring_pipeline.describe.freshness import FreshnessProfile
from monitoring_pipeline.describe.objectives import Count, ObjectiveCounts
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.evaluate.lifecycle import AGE
from monitoring_pipeline.evaluate.signals import TRAINING, Absence, Signal
from monitoring_pipeline.judge.verdicts import Level, Verdict

BUDGET, COMPLIANCE, BURN_RATE = "slo.budget_remaining", "slo.compliance", "slo.burn_rate"

SERVICE = ("availability", "latency_p99", "fallback", "freshness")
"""Promises to whoever waits for an answer, counted in requests: breaking one fast is worth waking somebody."""

MODEL = ("model_age", "drift", "performance", "fairness")
"""Promises about the model, counted in hours: each has an alarm of its own that pages where that is called for."""

NOTHING_KNOWN: Count = (0, 0)

CERTAINTY = 0.999
"""How sure it must be that the longer window burns too fast: else one failure of ten requests is a fast burn.

Simulated at exactly the promised rate over 28 days, from 1 to 50,000 requests an hour: with this at most 0.15 slow
alarms and 0.006 fast ones, with 0.975 up to 1.9 and 0.7; ten times the rate at 1,000 requests an hour takes both 6
hours.
"""


class Pair(NamedTuple):
    """A burn rate that is too fast in a long window, and is still so in a short one; in hours."""

    rate: float
    long: int
    short: int
    level: Level


PAIRS = (
    Pair(14.4, 1, 1, Level.CRITICAL),
    Pair(6.0, 6, 1, Level.CRITICAL),
    Pair(3.0, 24, 2, Level.WARNING),
    Pair(1.0, 72, 6, Level.WARNING),
)
"""Beyer et al. (2018), "The Site Reliability Workbook", chapter 5, with the hour as the shortest window."""


@dataclass(frozen=True, slots=True)
class JudgedHour:
    """One hour: verdicts on the version that served, and how the requests of every version were answered."""

    verdicts: Sequence[Verdict] = ()
    operations: Collection[OperationsProfile] = ()
    freshness: Collection[FreshnessProfile] = ()


@dataclass(frozen=True, slots=True)
class Objective:
    """A promise: at least the share `target` of what `count` counts is good."""

    name: str
    target: float
    count: Callable[[JudgedHour], Count]


@dataclass(frozen=True, slots=True)
class ObjectivesPolicy:
    """The promises, and the period over which each is to be kept."""

    objectives: tuple[Objective, ...] = ()
    period: timedelta = field(default=timedelta(days=28))


def answered(hour: JudgedHour) -> Count:
    """Return the requests that did not fail."""
    rows = sum(part.rows for part in hour.operations)
    return rows - sum(part.errors for part in hour.operations), rows


def fast(hour: JudgedHour, *, stage: str, limit_s: float) -> Count:
    """Return the requests whose latency was at most `limit_s`, to 1 %, of those that have a latency."""
    found = [part.latency[stage] for part in hour.operations if stage in part.latency]
    return sum(histogram.count_up_to(limit_s) for histogram in found), sum(histogram.count for histogram in found)


def by_model(hour: JudgedHour, *, primary: Collection[str]) -> Count:
    """Return the requests that no fallback answered, of those that say who did."""
    good = sum(part.served_by.get(name, 0) for part in hour.operations for name in primary)
    return good, sum(part.answered for part in hour.operations)


def fresh(hour: JudgedHour, *, sources: Collection[str]) -> Count:
    """Return the requests all of whose features were fresh, where every source was read."""
    known = [part for part in hour.freshness if part.sources.keys() >= set(sources)]
    return sum(part.all_fresh for part in known), sum(part.rows for part in known)


def young(hour: JudgedHour, *, days: float) -> Count:
    """Return whether the model is at most so many days old."""
    ages = (verdict.signal.value for verdict in hour.verdicts if verdict.signal.metric == AGE)
    age = next((value for value in ages if value is not None), None)
    return NOTHING_KNOWN if age is None else (int(age <= days), 1)


def free_of(hour: JudgedHour, *, metrics: str, window: str, level: Level) -> Count:
    """Return whether nothing of a report or metric is at `level` or worse, for all traffic, against training."""
    levels = [
        verdict.level
        for verdict in hour.verdicts
        if verdict.level is not Level.UNKNOWN
        # What only informs is always fine.
        and verdict.threshold_origin != "none"
        and f"{verdict.signal.metric}.".startswith(f"{metrics}.")
        and (verdict.signal.window, verdict.signal.baseline, verdict.signal.segment) == (window, TRAINING, "")
    ]
    return (int(all(each.rank < level.rank for each in levels)), 1) if levels else NOTHING_KNOWN


def count_objectives(hour: JudgedHour, policy: ObjectivesPolicy) -> ObjectiveCounts:
    """Return what kept each promise in one hour."""
    return ObjectiveCounts.of([{objective.name: objective.count(hour) for objective in policy.objectives}])


def judge_objectives(
    model: str,
    hourly: Mapping[datetime, Mapping[str, ObjectiveCounts]],
    serving: Mapping[datetime, str],
    hours: Sequence[datetime],
    policy: ObjectivesPolicy,
) -> dict[datetime, list[Verdict]]:
    """Return the verdicts on budget and burn rates of every promise at the end of each hour.

    `hourly` reaches the period back from each; an hour that it lacks is unknown. A budget outlives versions: verdicts
    name the one that was `serving`, so that rules see them.
    """
    found: dict[datetime, list[Verdict]] = {hour: [] for hour in hours}
    start, period = min(hours) + HOUR - policy.period, round(policy.period / HOUR)
    ends = np.array([round((hour + HOUR - start) / HOUR) for hour in hours])
    numbers = {at: round((at - start) / HOUR) for at in hourly}
    merged = {
        number: ObjectiveCounts.of(record.counts for record in hourly[at].values()).counts
        for at, number in numbers.items()
        if 0 <= number < ends.max()
    }
    lengths = {period, *(length for pair in PAIRS for length in pair[1:3])}
    for objective in policy.objectives:
        counts = np.zeros((int(ends.max()), 2), np.int64)
        for number, known in merged.items():
            counts[number] = known.get(objective.name, NOTHING_KNOWN)
        course = _Course.of(counts)
        windows = {length: course.window(ends, length).tolist() for length in lengths}
        for number, hour in enumerate(hours):
            place: dict[str, Any] = {"model": model, "version": serving.get(hour, ""), "window_end": hour + HOUR}
            place |= {"column": objective.name, "baseline": ""}
            totals = {length: _Total(*rows[number]) for length, rows in windows.items()}
            found[hour] += _of_period(place, totals[period], objective, period)
            found[hour] += (_of_pair(place, pair, totals, objective) for pair in PAIRS)
    return found


class _Total(NamedTuple):
    """What is known of a window: events, hours in which any were known, and hours since the first of those."""

    good: int
    known: int
    known_hours: int
    elapsed: int

    @property
    def bad(self) -> int:
        return self.known - self.good

    def burn_rate(self, target: float) -> float | None:
        """Return how many times as fast as promised the budget went."""
        return self.bad / self.known / (1 - target) if self.known else None

    def detail(self, target: float) -> dict[str, object]:
        unknown = self.elapsed - self.known_hours
        return {"bad": self.bad, "known_hours": self.known_hours, "unknown_hours": unknown, "target": target}


@dataclass(frozen=True, slots=True)
class _Course:
    """Counts of all hours before each, shape (hours + 1, 3), and from each hour on the first that is known."""

    before: IntArray
    next_known: IntArray

    @classmethod
    def of(cls, counts: IntArray) -> "_Course":
        known = counts[:, 1] > 0
        before = np.concatenate([np.zeros((1, 3), np.int64), np.cumsum(np.column_stack([counts, known]), axis=0)])
        numbers = np.where(known, np.arange(len(known)), len(known))
        return cls(before, np.minimum.accumulate(numbers[::-1])[::-1])

    def window(self, ends: IntArray, length: int) -> IntArray:
        """Return the fields of `_Total` of the windows of `length` hours that end with `ends`, a row each."""
        elapsed = np.maximum(ends - self.next_known[ends - length], 0)
        return np.column_stack([self.before[ends] - self.before[ends - length], elapsed])


def _of_period(place: dict[str, Any], total: _Total, objective: Objective, hours: int) -> Iterator[Verdict]:
    place = place | {"window_start": place["window_end"] - hours * HOUR, "rows": total.known}
    place |= {"detail": total.detail(objective.target)}
    if not total.known:
        for metric in (BUDGET, COMPLIANCE):
            yield _unknown(metric, place)
        return
    # Until the first period is over, its budget is that of a whole one at the traffic there was: the first failure of
    # the first hour must not be all there is.
    allowed = (1 - objective.target) * total.known * hours / total.elapsed
    left = 1 - total.bad / allowed
    unit = "requests" if objective.name in SERVICE else "hours"
    reason = f"{left:.0%} of the budget of {objective.name} is left: {total.bad} bad {unit}, {allowed:.4g} are allowed"
    level = Level.OK if left > 0 else Level.WARNING
    yield Verdict(Signal(BUDGET, **place, value=left), level, 0.0, "objective", reason)
    kept = Signal(COMPLIANCE, **place, value=total.good / total.known)
    yield Verdict(kept, Level.OK, None, "none", f"informational: {objective.target:g} is promised")


def _of_pair(place: dict[str, Any], pair: Pair, totals: Mapping[int, _Total], objective: Objective) -> Verdict:
    total, target = totals[pair.long], objective.target
    place = place | {"window_start": place["window_end"] - pair.long * HOUR, "rows": total.known}
    place |= {"detail": total.detail(target)}
    rate, latest = total.burn_rate(target), totals[pair.short].burn_rate(target)
    if rate is None:
        return _unknown(BURN_RATE, place)
    low, high = (end / (1 - target) for end in _share_interval(total.bad, total.known))
    signal = Signal(BURN_RATE, **place, value=rate, low=low, high=high)
    if latest is None:
        reason = f"nothing is known of {objective.name} in the last {window_name(pair.short * HOUR)}"
        return Verdict(signal, Level.UNKNOWN, pair.rate, "objective", reason)
    if not (low > pair.rate and latest > pair.rate):
        return Verdict(signal, Level.OK, pair.rate, "objective", f"{rate:,.1f} times as fast as promised")
    level = pair.level if objective.name in SERVICE else Level.WARNING
    reason = f"the budget of {objective.name} goes {rate:,.1f} times as fast as promised, above {pair.rate:g}"
    return Verdict(signal, level, pair.rate, "objective", reason)


def _share_interval(count: int, rows: int) -> tuple[float, float]:
    """Return the ends of Clopper and Pearson's (1934) interval, each beyond the true share once in a thousand."""
    low = float(betaincinv(count, rows - count + 1, 1 - CERTAINTY)) if count else 0.0
    return low, float(betaincinv(count + 1, rows - count, CERTAINTY)) if count < rows else 1.0


def _unknown(metric: str, place: dict[str, Any]) -> Verdict:
    reason = f"nothing is known of {place['column']} in this window"
    signal = Signal(metric, **place, absence=Absence.UNDEFINED, reason=reason)
    return Verdict(signal, Level.UNKNOWN, None, "none", reason)
