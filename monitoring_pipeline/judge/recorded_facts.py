"""What is on record up to an hour: which thresholds were left and since when, and what was changed just before.

Add a question about the record here when a root cause asks it. Keep out what an answer means: it belongs in
root_causes. Nothing is concluded from what was not recorded.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from monitoring_pipeline.capture.windows import HOUR, window_length
from monitoring_pipeline.judge.drift_types import DriftDiagnosis, DriftType, History
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.stats.change_points import locate_change

RECENT = timedelta(hours=24)
"""A threshold left longer ago than this has nothing to do with the present; a change longer before, nothing with it."""

SPELL_GAP = timedelta(hours=6)
"""Breaches this far apart belong to one spell: a night without traffic ends nothing."""

CHANGED = 0.01
"""p-value below which a series is said to have changed its level."""

SHOWN = 5
"""Signals told one by one; of more there is the number."""


class ChangeKind(StrEnum):
    """What somebody or something changed."""

    MODEL_VERSION = "model_version"  # another version began to serve
    ALIAS = "alias"
    REGISTERED = "registered"
    UPSTREAM_ASSET = "upstream_asset"
    REQUIREMENTS = "requirements"  # of two versions compared, as the next two
    CONFIGURATION = "configuration"
    ARTIFACT = "artifact"


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was changed, as it was recorded: when, what (`version 3`, `churn/users`), and how."""

    at: datetime
    kind: ChangeKind
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{moment(self.at)}, {self.what}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Spell:
    """An unbroken stretch of breaches: those of its newest hour, the one it opened with, and whether it is over."""

    verdicts: Sequence[Verdict]
    opening: Verdict
    first: datetime
    last: datetime
    hours: int
    over: bool

    @property
    def critical(self) -> bool:
        return any(verdict.level is Level.CRITICAL for verdict in self.verdicts)

    @property
    def columns(self) -> list[str]:
        """What is affected, worst first."""
        return list(dict.fromkeys(name for verdict in self.verdicts for name in _columns(verdict)))

    @property
    def sentences(self) -> list[str]:
        told = [sentence(verdict) for verdict in self.verdicts[:SHOWN]]
        return told + ([f"and {more} more signals"] if (more := len(self.verdicts) - SHOWN) > 0 else [])


@dataclass(frozen=True, slots=True)
class Facts:
    """The record of one model: verdicts on the version that served, diagnoses, changes and past values.

    `verdicts` hold every verdict of `hour` and of the hour of `diagnoses`; of the others what was breached and what is
    known of performance is enough.
    """

    hour: datetime
    verdicts: Mapping[datetime, Sequence[Verdict]]
    diagnosed_at: datetime | None
    diagnoses: Mapping[DriftType, DriftDiagnosis]
    changes: Sequence[Change]
    outputs: Collection[str]
    history: History = field(default_factory=dict)

    def spell(self, accept: Callable[[Verdict], bool]) -> Spell | None:
        """Return the stretch of accepted breaches that goes on or has just ended; segments are left out."""

        def breached(hour: datetime) -> list[Verdict]:
            return [v for v in self.verdicts[hour] if v.level.rank > 0 and not v.signal.segment and accept(v)]

        hours = [hour for hour in sorted(self.verdicts, reverse=True) if hour <= self.hour and breached(hour)]
        if not hours or hours[0] <= self.hour - RECENT:
            return None
        found = sorted(breached(hours[0]), key=worst_first)
        gap = max(SPELL_GAP, min(verdict.signal.length for verdict in found))
        run = [hours[0]]
        for hour in hours[1:]:
            if run[-1] - hour > gap:
                break
            run.append(hour)
        opening = min(breached(run[-1]), key=lambda verdict: (verdict.signal.length, worst_first(verdict)))
        places = {_place(verdict) for verdict in found}
        now = [v for v in self.verdicts.get(self.hour, ()) if _place(v) in places and v.level is not Level.UNKNOWN]
        return Spell(found, opening, run[-1], run[0], len(run), run[0] < self.hour and bool(now))

    def known(self, hour: datetime) -> list[Verdict]:
        """Return the verdicts of one hour that say something, of all rows."""
        found = self.verdicts.get(hour, ())
        return [verdict for verdict in found if verdict.level is not Level.UNKNOWN and not verdict.signal.segment]

    def began(self, spell: Spell) -> tuple[datetime | None, str]:
        """Return when a stretch of breaches began, and how that is known; None when it did before this record.

        An hour that is beyond its threshold says so itself. A longer window is so only when enough of it has changed:
        the values of its hours are asked first, then its own.
        """
        signal = spell.opening.signal
        name = f"{signal.metric}{f' of {signal.column}' if signal.column else ''}"
        for window in dict.fromkeys(("1h", signal.window)) if signal.length > HOUR else ():
            values = self.history.get((signal.metric, signal.column, signal.baseline, window), {})
            if (found := _located(values, window, spell.first)) is not None:
                since, low, high, before, after = found
                levels = f"from {before:.4g} to {after:.4g}, between {moment(low)} and {moment(high)} (95 %)"
                return since, f"{name} over {window} changed its level at {moment(since)}, {levels}"
        place = f"in the {signal.window} that ended {moment(spell.first + HOUR)}"
        if spell.first == min(self.verdicts) < self.hour:
            return None, f"{name} was beyond its threshold {place} already, where this record begins"
        return spell.first, f"{name} was first beyond its threshold {place}"

    def bad_hours(
        self, accept: Callable[[Verdict], bool], level: Level, start: datetime, end: datetime
    ) -> tuple[int, int]:
        """Return in how many hours of [start, end) an accepted signal was at `level`, and in how many one was known."""
        hours = [[v for v in self.known(hour) if accept(v)] for hour in self.verdicts if start <= hour < end]
        return sum(any(v.level.rank >= level.rank for v in known) for known in hours), sum(map(bool, hours))

    def compared(self, verdict: Verdict, at: datetime) -> list[str]:
        """Return the last value of a signal before `at` beside the present one, in words."""
        now, place = verdict.signal, _place(verdict)
        for hour in sorted((hour for hour in self.verdicts if hour < at), reverse=True):
            then = next((v.signal for v in self.known(hour) if _place(v) == place), None)
            if then is not None:
                values = f"{then.value:.4g} with version {then.version}, {now.value:.4g} with version {now.version}"
                return [f"{now.metric} over {now.window}: {values}"]
        return []

    def served(self, hour: datetime) -> str:
        """Return the version that served at an hour, or last before it."""
        hours = sorted((at for at, found in self.verdicts.items() if at <= hour and found), reverse=True)
        return self.verdicts[hours[0]][0].signal.version if hours else "unknown"

    def from_baseline(self, metric: str) -> float | None:
        """Return how far the value of a metric lies from its baseline, in the hour of the diagnoses."""
        signals = (verdict.signal for verdict in self.verdicts.get(self.diagnosed_at or self.hour, ()))
        known = (each for each in signals if each.metric == metric and each.baseline_value is not None)
        return next((each.value - (each.baseline_value or 0.0) for each in known if each.value is not None), None)

    def changed_before(self, since: datetime | None) -> list[Change]:
        """Return what was changed within a day before a moment, or in its hour; the newest first."""
        if since is None:
            return []
        return [change for change in reversed(self.changes) if since - RECENT <= change.at < since + HOUR]

    def routine(self, change: Change) -> int:
        """Return how often the same thing is on record: what happens every hour always happens just before."""
        return sum((each.kind, each.what) == (change.kind, change.what) for each in self.changes)


def moment(at: datetime) -> str:
    """Return a moment as evidence shows it."""
    return f"{at:%Y-%m-%d %H:%MZ}"


def sentence(verdict: Verdict) -> str:
    """Return a breach in words: the value, its threshold, and what the signal itself says of it."""
    signal = verdict.signal
    of = f" of {signal.column}" if signal.column else ""
    value = "unknown" if signal.value is None else f"{signal.value:.4g}"
    limit = "" if verdict.threshold is None else f", threshold {verdict.threshold:.4g}"
    said = f": {signal.reason}" if signal.reason else ""
    return f"{signal.metric}{of} over {signal.window} is {value}{limit}{said}"


def worst_first(verdict: Verdict) -> tuple[int, float, timedelta, str]:
    """Sort key: the level, how rare the value is where that is known, the shorter window, the column."""
    rarity = verdict.q_value if verdict.q_value is not None else 1.0
    return -verdict.level.rank, rarity, verdict.signal.length, verdict.signal.column


def _columns(verdict: Verdict) -> list[str]:
    named = verdict.signal.detail.get("columns")
    return [verdict.signal.column] if verdict.signal.column else [*named] if isinstance(named, list | dict) else []


def _place(verdict: Verdict) -> tuple[str, str, str, str]:
    signal = verdict.signal
    return signal.metric, signal.column, signal.window, signal.baseline


def _located(
    values: Mapping[datetime, float], window: str, breached: datetime
) -> tuple[datetime, datetime, datetime, float, float] | None:
    """Return when a series changed its level, the ends of that moment's interval, and both levels.

    Windows that overlap turn every step into a ramp, so only each one beside the last is taken.
    """
    if not values:
        return None
    length, last = round(window_length(window) / HOUR), max(values)
    steps = round((last - min(values)) / HOUR) // length
    hours = [last - back * length * HOUR for back in range(steps, -1, -1)]
    change = locate_change([values.get(hour, np.nan) for hour in hours])
    if change is None or change.p_value > CHANGED or hours[change.index] > breached:
        return None
    starts = [hours[at] + HOUR - length * HOUR for at in (change.index, change.low, change.high)]
    return starts[0], starts[1], starts[2], change.before, change.after
