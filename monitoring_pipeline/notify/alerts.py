"""The Alert, a stretch of trouble of one rule, and the one function that moves it: what an evaluated rule does to it.

Add a reason here when an outcome can mean something new. Keep what alerts have in common out: it belongs in incidents.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level, Verdict


class Status(StrEnum):
    """Whether an alert or an incident still asks for somebody."""

    OPEN = "open"
    RESOLVED = "resolved"


class Step(StrEnum):
    """What an evaluation, or a person, did to an alert or an incident."""

    OPENED = "opened"
    UPDATED = "updated"
    WORSENED = "worsened"
    JOINED = "joined"  # another rule fires for the same cause
    REOPENED = "reopened"
    ACKNOWLEDGED = "acknowledged"
    TRIAGED = "triaged"
    MITIGATED = "mitigated"
    NOTED = "noted"
    ESCALATED = "escalated"
    WITHHELD = "withheld"  # somebody would have been told, and was not
    RESOLVED = "resolved"
    POST_MORTEM = "post_mortem"
    NONE = "none"

    @property
    def notifies(self) -> bool:
        """Whether people are told; an hour that merely goes on being bad is not news."""
        return self in _NEWS


MOST_EVIDENCE = 25
"""Verdicts an alert keeps, worst first: enough for a person, and bounded however many columns there are."""

_NEWS = (Step.OPENED, Step.REOPENED, Step.WORSENED, Step.ACKNOWLEDGED, Step.ESCALATED, Step.RESOLVED)


class Why(StrEnum):
    """Why a step was, or was not, taken."""

    STARTED_FIRING = "started_firing"
    STILL_BREACHED = "still_breached"
    SEVERITY_ROSE = "severity_rose"
    QUIET_LONG_ENOUGH = "quiet_long_enough"
    NOT_FIRING = "not_firing"
    PENDING_OPENS_NOTHING = "pending_opens_nothing"
    UNKNOWN_KEEPS_STATE = "unknown_keeps_state"
    IN_COOLDOWN = "in_cooldown"
    QUIET_NOT_LONG_ENOUGH = "quiet_not_long_enough"
    HOUR_ALREADY_SEEN = "hour_already_seen"
    CRITICAL_AGAIN = "critical_again"  # in an incident that was critical before, and had calmed down


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """When an alert of one rule ends, and how long after that it may not come back.

    `resolve_after` counts quiet evaluations in a row. `cooldown` is counted in evaluated hours, not on the wall clock,
    so that a backfill opens the same alerts as the live run did; a critical alert may follow after `critical_cooldown`.
    """

    resolve_after: int = 3
    cooldown: timedelta = timedelta(hours=4)
    critical_cooldown: timedelta | None = None

    def __post_init__(self) -> None:
        if self.resolve_after < 1 or self.cooldown < timedelta(0):
            raise ValueError(
                f"resolve_after is {self.resolve_after} and cooldown {self.cooldown}: "
                "an alert needs at least 1 quiet evaluation to resolve, and a cooldown of 0 or longer"
            )


@dataclass(frozen=True, slots=True)
class Alert:
    """One stretch of trouble of one rule of one model; `severity` is the worst it has been, `since` when it began."""

    id: str
    fingerprint: str
    model: str
    rule: str
    severity: Level
    status: Status
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    first_hour: datetime  # the evaluation that opened it
    last_hour: datetime  # the latest evaluation that counted: a breach or a quiet one
    quiet_evaluations: int  # in a row, up to last_hour; 0 means last_hour was a breach
    evidence_summary: tuple[dict[str, object], ...]  # of the latest breach, worst first
    runbook: str
    reason: str
    since: datetime
    owner: str = ""
    incident_id: str | None = None  # what it is part of


@dataclass(frozen=True, slots=True)
class Transition:
    """What one outcome did: the step, why, and the alert as it stands after it (None: there is none)."""

    outcome: RuleOutcome
    step: Step
    why: Why
    alert: Alert | None


def next_alert(current: Alert | None, outcome: RuleOutcome, *, now: datetime, policy: AlertPolicy) -> Transition:
    """Return what `outcome` does to `current`, the latest alert of its fingerprint, open or resolved.

    An hour counts once: repeating an evaluation changes nothing, an older one is ignored, and only for the latest hour
    may a corrected evaluation replace what was seen.
    """
    if outcome.state is RuleState.UNKNOWN:
        return Transition(outcome, Step.NONE, Why.UNKNOWN_KEEPS_STATE, current)
    if current is None or current.status is Status.RESOLVED:
        return _without_open(current, outcome, now=now, policy=policy)
    if outcome.hour < current.last_hour:
        return Transition(outcome, Step.NONE, Why.HOUR_ALREADY_SEEN, current)
    if outcome.state is RuleState.QUIET:
        return _quieter(current, outcome, now=now, policy=policy)
    return _breached_again(current, outcome, now=now)


def _without_open(current: Alert | None, outcome: RuleOutcome, *, now: datetime, policy: AlertPolicy) -> Transition:
    why, cooldown = None, policy.cooldown
    if outcome.severity is Level.CRITICAL and policy.critical_cooldown is not None:
        cooldown = policy.critical_cooldown
    if current is not None and outcome.hour <= current.last_hour:
        why = Why.HOUR_ALREADY_SEEN
    elif outcome.state is RuleState.PENDING:
        why = Why.PENDING_OPENS_NOTHING
    elif outcome.state is RuleState.QUIET:
        why = Why.NOT_FIRING
    elif current is not None and outcome.hour < current.last_hour + cooldown:
        why = Why.IN_COOLDOWN
    if why is not None:
        return Transition(outcome, Step.NONE, why, current)
    opened = Alert(
        # Named after the hour, so that two processes opening the same alert collide instead of opening two.
        id=f"{outcome.fingerprint}@{outcome.hour:{'%Y-%m-%dT%H:%M' if outcome.hour.minute else '%Y-%m-%dT%H'}}Z",
        **{name: getattr(outcome, name) for name in _TAKEN_OVER},
        status=Status.OPEN,
        opened_at=now,
        updated_at=now,
        resolved_at=None,
        first_hour=outcome.hour,
        last_hour=outcome.hour,
        quiet_evaluations=0,
        evidence_summary=summarise(outcome.evidence),
    )
    return Transition(outcome, Step.OPENED, Why.STARTED_FIRING, opened)


_TAKEN_OVER = ("fingerprint", "model", "rule", "severity", "runbook", "reason", "since", "owner")


def _quieter(current: Alert, outcome: RuleOutcome, *, now: datetime, policy: AlertPolicy) -> Transition:
    if outcome.hour == current.last_hour and current.quiet_evaluations > 0:
        return Transition(outcome, Step.NONE, Why.HOUR_ALREADY_SEEN, current)
    quiet = current.quiet_evaluations + 1
    calmer = replace(current, quiet_evaluations=quiet, last_hour=outcome.hour, updated_at=now)
    if quiet < policy.resolve_after:
        return Transition(outcome, Step.NONE, Why.QUIET_NOT_LONG_ENOUGH, calmer)
    resolved = replace(calmer, status=Status.RESOLVED, resolved_at=now, reason=outcome.reason)
    return Transition(outcome, Step.RESOLVED, Why.QUIET_LONG_ENOUGH, resolved)


def _breached_again(current: Alert, outcome: RuleOutcome, *, now: datetime) -> Transition:
    # PENDING on an open alert is a breach too: the run of quiet evaluations is broken, but it raises no severity.
    rose = outcome.state is RuleState.FIRING and outcome.severity.rank > current.severity.rank
    worse = replace(
        current,
        severity=outcome.severity if rose else current.severity,
        last_hour=outcome.hour,
        quiet_evaluations=0,
        evidence_summary=summarise(outcome.evidence),
        runbook=outcome.runbook or current.runbook,
        reason=outcome.reason,
    )
    if worse == current:
        return Transition(outcome, Step.NONE, Why.HOUR_ALREADY_SEEN, current)
    worse = replace(worse, updated_at=now)
    if rose:
        return Transition(outcome, Step.WORSENED, Why.SEVERITY_ROSE, worse)
    return Transition(outcome, Step.UPDATED, Why.STILL_BREACHED, worse)


def summarise(evidence: Sequence[Verdict]) -> tuple[dict[str, object], ...]:
    """Return the verdicts as JSON-ready records: what a message and a later reader need, without the signals."""
    return tuple(
        {name: getattr(verdict.signal, name) for name in ("metric", "column", "segment", "window")}
        | {
            "value": json_ready(verdict.signal.value),
            "threshold": json_ready(verdict.threshold),
            "threshold_origin": verdict.threshold_origin,
            "level": verdict.level.value,
            "reason": verdict.reason,
            "bins": json_ready(verdict.signal.detail.get("bins", ())),
        }
        for verdict in evidence[:MOST_EVIDENCE]
    )


def json_ready(value: object) -> object:
    """Return `value` in types that survive JSON unchanged; a number that is not finite becomes None.

    PostgreSQL refuses NaN in JSON, and numpy's numbers have no JSON at all.
    """
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, str | bool | None):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Sequence):
        return [json_ready(item) for item in value]
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return json_ready(value.tolist())
    if hasattr(value, "__float__"):
        number = float(value)
        return number if math.isfinite(number) else None
    return str(value)
