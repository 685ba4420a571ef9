"""The stages between a step of an incident and the outbox: a flat list; each lets pass, postpones or says why not.

Add a stage as a function and name it in `STAGES`, in the order in which they are asked. Sending is not among them: the
outbox sends (delivery). Everything here is pure; what was withheld is a line of the incident's timeline.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from monitoring_pipeline.notify.alerts import Status, Step, Why
from monitoring_pipeline.notify.incidents import INFORMATIVE, Incident, Move
from monitoring_pipeline.notify.messages import Message, message_of
from monitoring_pipeline.notify.silences import Silence, silencing


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing one channel may be told: `step_key` names it once and for all, `not_before` is when it may be sent."""

    incident: Incident
    step: Step
    step_key: str
    channel: str
    not_before: datetime
    to: tuple[str, ...] = ()
    message: Message | None = None


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why a channel is not told."""

    stage: str
    why: str


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """What holds for all notices of a monitor.

    `late_after`: what is found out longer after it happened is history, and history pages nobody. `per_hour`: more
    notices on one channel in an hour wait for the next one. `digests` names channels that are written to once a day, at
    `digest_hour` UTC. `first` tells which level of an escalation hears of a new incident at once, and how to reach
    whoever that is. `links` are shown with every message.
    """

    channels_for: Callable[[str], Sequence[str]]
    late_after: timedelta = timedelta(hours=24)
    per_hour: int = 20
    digests: Collection[str] = ()
    digest_hour: int = 8
    first: Callable[[Incident, datetime], tuple[int, tuple[str, ...]]] = lambda _incident, _now: (0, ())
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """What the stages know besides the notice: the rules, silences, and what has been queued already."""

    rules: DeliveryRules
    now: datetime
    silences: Sequence[Silence] = ()
    told: Collection[tuple[str, str]] = ()  # step keys and channels of this incident that are in the outbox
    recent: Mapping[str, Sequence[datetime]] = field(default_factory=dict)  # when each channel gets what is queued


Stage = Callable[[Notice, Context], Notice | Withheld]


def settle(moves: Sequence[Move]) -> list[Move]:
    """Return what is left to tell of several steps of one incident at once: the last state, under its gravest name.

    Several hours are applied together after a pause; an incident that opened and worsened in them is one piece of news,
    one that opened and ended in them is none.
    """
    news = [move for move in moves if move.step.notifies]
    if not news:
        return []
    last, first = moves[-1].incident, news[0].step
    began = first in (Step.OPENED, Step.REOPENED)
    if last.status is Status.RESOLVED:
        return [] if began else [replace(news[-1], incident=last)]
    step = first if began else max((move.step for move in news), key=_GRAVITY.index)
    return [Move(last, step, news[-1].why)]


_GRAVITY = [Step.ACKNOWLEDGED, Step.WORSENED, Step.ESCALATED, Step.RESOLVED, Step.REOPENED, Step.OPENED]


def announce(
    move: Move, context: Context, *, channels: Sequence[str] | None = None, to: tuple[str, ...] = ()
) -> tuple[list[Notice], list[Withheld]]:
    """Return what the channels are to be told of one step, and what they are not to be told and why.

    `channels` replaces those of the incident's severity, where an escalation names its own.
    """
    incident = move.incident
    severity = "info" if incident.sev == INFORMATIVE else incident.severity.value
    names = context.rules.channels_for(severity) if channels is None else channels
    if move.step in (Step.ACKNOWLEDGED, Step.RESOLVED):
        # Whoever was told, by an escalation or by a route that has changed since, hears how it went on.
        time = str(incident.times_reopened or "")
        asked = {
            name for key, name in context.told if not key.startswith("undelivered") and key.partition("#")[2] == time
        }
        names = [*names, *sorted(asked - set(names))]
    passed: list[Notice] = []
    withheld: dict[Withheld, None] = {}
    for name in names:
        found: Notice | Withheld = Notice(incident, move.step, step_key(move), name, context.now, to)
        for stage in STAGES:
            if isinstance(found, Withheld):
                break
            found = stage(found, context)
        if isinstance(found, Withheld):
            withheld[found] = None
        else:
            passed.append(found)
    return passed, list(withheld)


def step_key(move: Move) -> str:
    """Return what names a step of an incident once: a severity only rises, and each time it is open it ends once."""
    incident = move.incident
    key = move.step.value
    if move.step is Step.WORSENED:
        key = f"{key}:{incident.severity.value}"
    if move.why == Why.CRITICAL_AGAIN.value:
        key = f"{key}@{incident.last_hour:%Y-%m-%dT%H}"
    if move.step is Step.ESCALATED:
        key = f"{key}:{incident.escalation_level}"
    return f"{key}#{incident.times_reopened}" if incident.times_reopened else key


def _inhibit(notice: Notice, context: Context) -> Notice | Withheld:
    """What happened long ago pages nobody, and nobody is told the end of what they were never told."""
    late = context.now - notice.incident.last_hour
    if notice.step in (Step.OPENED, Step.REOPENED, Step.WORSENED) and late > context.rules.late_after:
        return Withheld("inhibit", f"history: it was evaluated {late} after it happened")
    if notice.step is Step.RESOLVED and notice.incident.announced_at is None:
        return Withheld("inhibit", "nobody was told that it had begun")
    return notice


def _silence(notice: Notice, context: Context) -> Notice | Withheld:
    found = silencing(context.silences, notice.incident.labels(), context.now)
    if found is None or notice.step is Step.RESOLVED:
        return notice
    return Withheld("silence", f"silenced by {found.author} until {found.ends_at:%Y-%m-%d %H:%M}Z: {found.comment}")


def _deduplicate(notice: Notice, context: Context) -> Notice | Withheld:
    if (notice.step_key, notice.channel) in context.told:
        return Withheld("deduplicate", "it has been told already")
    return notice


def _rate_limit(notice: Notice, context: Context) -> Notice | Withheld:
    """Postpone, never drop: the end of an incident does not wait, or people would work on what is over."""
    rules = context.rules
    if notice.channel in rules.digests:
        today = context.now.replace(hour=rules.digest_hour, minute=0, second=0, microsecond=0)
        return replace(notice, not_before=today if context.now < today else today + timedelta(days=1))
    hour_ago = context.now - timedelta(hours=1)
    recent = sorted(at for at in context.recent.get(notice.channel, ()) if at > hour_ago)
    if len(recent) < rules.per_hour or notice.step is Step.RESOLVED:
        return notice
    return replace(notice, not_before=recent[-rules.per_hour] + timedelta(hours=1))


def _render(notice: Notice, context: Context) -> Notice | Withheld:
    message = message_of(notice.incident, notice.step, to=notice.to, links=context.rules.links)
    return replace(notice, message=message)


STAGES: tuple[Stage, ...] = (_inhibit, _silence, _deduplicate, _rate_limit, _render)
"""In this order; before them the steps of one incident are put together (`settle`), after them the outbox sends."""
