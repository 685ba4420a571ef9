"""Rules replayed over history: what each would have sent, when and how early, had it been in force.

Add a figure of a replay here. Keep judging of signals out: outcomes arrive evaluated. The incidents are moved by the
very functions that move the real ones, on an empty past, with a clock that follows the hours.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.notify.alerts import AlertPolicy, Step
from monitoring_pipeline.notify.incidents import GroupingPolicy, Incident, Known, Move, advance
from monitoring_pipeline.notify.stages import Context, DeliveryRules, announce, settle, step_key

KNOWN_AFTER = timedelta(minutes=70)
"""When an hour is judged, counted from its start: it ends, and the schedule runs ten minutes later."""

FIGURES = ("hours_firing", "hours_unknown", "alerts", "messages", "pages")
"""What is counted of a rule."""

PAGE = "critical"
"""The severity that wakes somebody."""


@dataclass(frozen=True, slots=True)
class RuleReplay:
    """What one rule did: hours it fired in, and when each stretch of that, an alert, was known."""

    rule: str
    hours_firing: int
    hours_unknown: int
    alerts_at: tuple[datetime, ...]
    messages: int  # announcements of incidents it opened, brought back or made worse
    pages: int  # those of them that are critical

    @property
    def alerts(self) -> int:
        return len(self.alerts_at)

    @property
    def first_at(self) -> datetime | None:
        return self.alerts_at[0] if self.alerts_at else None

    @property
    def by_week(self) -> Mapping[str, int]:
        """Alerts by ISO week."""
        return Counter(f"{at.isocalendar().year}-W{at.isocalendar().week:02}" for at in self.alerts_at)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a set of rules would have done to the people who read its messages, from its first hour to its last."""

    hours: int
    first_hour: datetime
    last_hour: datetime
    rules: tuple[RuleReplay, ...]
    incidents: tuple[Incident, ...]
    told: tuple[tuple[datetime, str, str, str], ...]  # when, step, severity, incident
    pages: int
    duplicates_avoided: int  # hours a rule fired in without anybody being told again

    def as_record(self) -> dict[str, object]:
        """Return the figures, JSON-ready."""
        return {
            "hours": self.hours,
            "from": self.first_hour.isoformat(),
            "to": (self.last_hour + HOUR).isoformat(),
            "messages": len(self.told),
            "pages": self.pages,
            "duplicates_avoided": self.duplicates_avoided,
            "incidents": [
                {
                    "id": found.id,
                    "severity": found.severity.value,
                    "rules": list(found.rules),
                    "since": found.first_hour.isoformat(),
                    "detected": found.opened_at.isoformat(),
                    "resolved": found.resolved_at.isoformat() if found.resolved_at else None,
                    "reopened": found.times_reopened,
                    "worst": worst_of(found),
                }
                for found in self.incidents
            ],
            "rules": [
                {"rule": each.rule, **{name: getattr(each, name) for name in FIGURES}}
                | {"first": each.first_at.isoformat() if each.first_at else None, "alerts_by_week": dict(each.by_week)}
                for each in self.rules
            ],
        }


def replay(
    outcomes: Sequence[RuleOutcome], policies: Mapping[str, AlertPolicy], grouping: GroupingPolicy | None = None
) -> Replay:
    """Return what these outcomes of one model would have led to; every severity has one reader."""
    known, rules = Known(), DeliveryRules(lambda severity: [severity], per_hour=1_000_000)
    told: list[tuple[datetime, str, str, str]] = []
    by: dict[str, list[tuple[datetime, str]]] = {name: [] for name in policies}
    alerts: dict[str, list[datetime]] = {name: [] for name in policies}
    sent: set[tuple[str, str]] = set()
    hours: dict[datetime, list[RuleOutcome]] = {}
    for outcome in outcomes:
        hours.setdefault(outcome.hour, []).append(outcome)
    for hour, entries in sorted(hours.items()):
        now = hour + KNOWN_AFTER
        moves: dict[str, list[tuple[Move, str]]] = {}
        for outcome in entries:
            moved, move = advance(
                known, outcome, now=now, alerting=policies[outcome.rule], grouping=grouping or GroupingPolicy()
            )
            if moved.step is Step.OPENED:
                alerts[outcome.rule].append(now)
            if move is not None:
                moves.setdefault(move.incident.id, []).append((move, outcome.rule))
        for each in moves.values():
            for news in settle([move for move, _ in each]):
                incident, key = news.incident, (news.incident.id, step_key(news))
                notices, _ = announce(news, Context(rules, now))
                if not notices or key in sent:
                    continue
                sent.add(key)
                told.append((now, news.step.value, incident.severity.value, incident.id))
                known.incidents[incident.id] = replace(
                    known.incidents[incident.id], announced_at=incident.announced_at or now
                )
                if news.step is not Step.RESOLVED:
                    speaker = next(rule for move, rule in each if move.step.notifies)
                    by[speaker].append((now, incident.severity.value))
    found = tuple(_of_rule(name, hours, alerts[name], by[name]) for name in policies)
    firing = sum(rule.hours_firing for rule in found)
    announced = sum(step != Step.RESOLVED.value for _, step, _, _ in told)
    pages = sum(step != Step.RESOLVED.value and severity == PAGE for _, step, severity, _ in told)
    incidents = tuple(known.incidents.values())
    return Replay(len(hours), min(hours), max(hours), found, incidents, tuple(told), pages, firing - announced)


def worst_of(incident: Incident) -> str:
    """Return in a few words what was worst when the incident was last bad."""
    if not incident.evidence_summary:
        return incident.reason
    worst = incident.evidence_summary[0]
    what = " ".join(str(worst[name]) for name in ("metric", "column", "segment") if worst[name])
    value = worst["value"]
    return f"{what} {value:.3g} over {worst['window']}" if isinstance(value, float) else what


def _of_rule(
    name: str,
    hours: Mapping[datetime, Sequence[RuleOutcome]],
    alerts: Sequence[datetime],
    spoken: Sequence[tuple[datetime, str]],
) -> RuleReplay:
    states = Counter(outcome.state for entries in hours.values() for outcome in entries if outcome.rule == name)
    return RuleReplay(
        name,
        states[RuleState.FIRING],
        states[RuleState.UNKNOWN],
        tuple(alerts),
        len(spoken),
        sum(severity == PAGE for _, severity in spoken),
    )
