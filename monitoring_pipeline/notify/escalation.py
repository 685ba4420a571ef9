"""Escalation: who is told next while nobody has taken an incident on, or what was done about it does not help.

Add a reason to climb to `_reached`. Keep out who is on call (on_call), and the sending (stages, delivery).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from monitoring_pipeline.capture.windows import HOUR, window_length
from monitoring_pipeline.notify.on_call import Person, Schedule, on_call_at


class Reason(StrEnum):
    """Why a level is told."""

    UNACKNOWLEDGED = "unacknowledged"
    HANDED_OVER = "handed_over"  # the pager's own ladder goes on from here
    NOT_MITIGATED = "not_mitigated"
    BUSINESS_LOSS = "business_loss"


@dataclass(frozen=True, slots=True)
class EscalationLevel:
    """A rung: `after` so long without an answer these are told, by `channels` or, if empty, those of the severity."""

    after: timedelta
    role: str
    people: tuple[Person, ...] = ()
    schedule: Schedule | None = None
    channels: tuple[str, ...] = ()

    def responders(self, now: datetime) -> tuple[Person, ...]:
        """Return who that is at a moment: whoever is on call first, each once."""
        on_call = () if self.schedule is None else (on_call_at(self.schedule, now),)
        return tuple(dict.fromkeys((*on_call, *self.people)))


FOUR_LEVELS = tuple(
    EscalationLevel(timedelta(minutes=minutes), role)
    for minutes, role in ((0, "on call"), (15, "second on call"), (30, "team lead"), (60, "head of engineering"))
)

RESPONSE_TARGETS: Mapping[int, timedelta] = {1: timedelta(minutes=5), 2: HOUR, 3: timedelta(hours=24)}
"""How soon somebody must have taken an incident on, by SEV; 5 minutes is what a person takes who is told at once."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The levels, and which incidents climb them: those of `sev` and worse.

    An incident that is still breaching `mitigated_within` after it was taken on, or mitigated, goes one level above
    whoever took it on; a critical verdict on a business metric goes to `business_level` at once. With `handed_to`, the
    channel of a pager, the times of the levels are its business.
    """

    levels: tuple[EscalationLevel, ...] = FOUR_LEVELS
    sev: int = 2
    mitigated_within: timedelta = HOUR
    business_level: int = 3
    handed_to: str = ""
    targets: Mapping[int, timedelta] = field(default_factory=lambda: RESPONSE_TARGETS)

    def __post_init__(self) -> None:
        waits = [level.after for level in self.levels]
        if not waits or waits != sorted(set(waits)) or waits[0] < timedelta(0):
            shown = ", ".join(map(str, waits)) or "none"
            raise ValueError(f"levels after {shown}: a ladder needs at least one, each later than the one before")


@dataclass(frozen=True, slots=True)
class IncidentFacts:
    """What escalation knows of an incident.

    `since` is when people were asked: opened or reopened. `breaching` says whether the evaluation of `last_hour`, the
    latest one, was a breach. `evidence` has the metric, level and window of its verdicts.
    """

    sev: int
    since: datetime
    last_hour: datetime
    breaching: bool = True
    acknowledged_at: datetime | None = None
    mitigated_at: datetime | None = None
    resolved_at: datetime | None = None
    evidence: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class EscalationStep:
    """One level to be told, counted from 1; the levels `passed` were due as well and get no message of their own."""

    level: int
    role: str
    to: tuple[Person, ...]
    channels: tuple[str, ...]
    why: Reason
    text: str
    passed: tuple[int, ...] = ()


def due_step(facts: IncidentFacts, ladder: Ladder, now: datetime, *, already: int) -> EscalationStep | None:
    """Return the level to be told now, if it is above `already`, the highest one told so far (0: none)."""
    if facts.resolved_at is not None or facts.sev > ladder.sev:
        return None
    reached = max(_reached(facts, ladder, now), key=lambda pair: pair[0], default=None)
    if reached is None or reached[0] <= already:
        return None
    number, why, text = reached
    level, passed = ladder.levels[number - 1], tuple(range(already + 1, number))
    if why is Reason.HANDED_OVER:
        return EscalationStep(number, level.role, (), (ladder.handed_to,), why, text, passed)
    return EscalationStep(number, level.role, level.responders(now), level.channels, why, text, passed)


def _reached(facts: IncidentFacts, ladder: Ladder, now: datetime) -> Iterator[tuple[int, Reason, str]]:
    """Yield every reason to be somewhere on the ladder, and how high."""
    top = len(ladder.levels)
    if any(str(e.get("metric")).startswith("business.") and e.get("level") == "critical" for e in facts.evidence):
        yield min(ladder.business_level, top), Reason.BUSINESS_LOSS, "a business metric is beyond its critical limit"
    if facts.acknowledged_at is None:
        number = _by_time(ladder, now - facts.since)
        if ladder.handed_to and number:
            yield 1, Reason.HANDED_OVER, f"handed to {ladder.handed_to}: who is told from here on is decided there"
        elif number:
            yield number, Reason.UNACKNOWLEDGED, f"nobody has acknowledged it for {_minutes(now - facts.since)}"
    elif (failing := _failing_since(facts)) is not None and now - failing >= ladder.mitigated_within:
        number = min(max(_by_time(ladder, facts.acknowledged_at - facts.since), 1) + 1, top)
        said = "acknowledged" if facts.mitigated_at is None else "mitigated"
        yield number, Reason.NOT_MITIGATED, f"still breaching {_minutes(now - failing)} after it was {said}"


def _by_time(ladder: Ladder, waited: timedelta) -> int:
    """Return how many levels are due after so long; with a pager there is only the first."""
    number = sum(level.after <= waited for level in ladder.levels)
    return min(number, 1) if ladder.handed_to else number


def _failing_since(facts: IncidentFacts) -> datetime | None:
    """Return since when what was done should have helped and has not; None where that cannot be said.

    A window of a day holds bad hours for a day after the mitigation: only one that began after it speaks of it.
    """
    if not facts.breaching or facts.mitigated_at is None:
        return facts.acknowledged_at if facts.breaching else None
    windows = [_length(entry.get("window")) for entry in facts.evidence]
    begun = facts.last_hour + HOUR - min(windows, default=HOUR)
    return facts.mitigated_at if begun >= facts.mitigated_at else None


def _length(window: object) -> timedelta:
    try:
        return window_length(str(window))
    except ValueError:  # one of the last so many predictions: no telling, so as short as they come
        return HOUR


def responded_late(facts: IncidentFacts, targets: Mapping[int, timedelta], now: datetime) -> bool:
    """Return whether the response target was missed, or is being missed now; what ended by itself in time was not."""
    answers = [moment for moment in (facts.acknowledged_at, facts.resolved_at) if moment is not None]
    return facts.sev in targets and min(answers, default=now) > facts.since + targets[facts.sev]


def late_responses(incidents: Iterable[IncidentFacts], targets: Mapping[int, timedelta], now: datetime) -> Counter[int]:
    """Return how many response targets were missed, by SEV."""
    return Counter(facts.sev for facts in incidents if responded_late(facts, targets, now))


def _minutes(length: timedelta) -> str:
    minutes = length // timedelta(minutes=1)
    hours, rest = divmod(minutes, 60)
    return f"{minutes} min" if not hours else f"{hours} h" if not rest else f"{hours} h {rest} min"
