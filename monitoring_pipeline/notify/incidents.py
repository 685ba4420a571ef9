"""The Incident: the alerts of one model with a common cause, and the functions that move it.

Add a reason to belong together to `_together`, a thing people do to `act_on`. Keep what one rule does out: it belongs
in alerts; keep channels out (stages, delivery) and tables too (stores).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from monitoring_pipeline.errors import ActionError
from monitoring_pipeline.judge.rules import RuleOutcome
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.actions import Action, ActionKind
from monitoring_pipeline.notify.alerts import (
    MOST_EVIDENCE,
    Alert,
    AlertPolicy,
    Status,
    Step,
    Transition,
    Why,
    next_alert,
)


class Kind(StrEnum):
    """Whose trouble it is, as far as the evidence tells."""

    SYSTEM = "system"
    DATA = "data"
    MODEL = "model"
    INTEGRATION = "integration"


KIND_OF: Mapping[str, Kind] = {
    **dict.fromkeys(("operations", "health", "slo"), Kind.SYSTEM),
    **dict.fromkeys(("performance", "estimate", "concept", "fairness", "attribution", "business", "model"), Kind.MODEL),
    "schema": Kind.INTEGRATION,
}
"""By the first part of a metric's name; everything else is about data."""

_HURTS_NOW = ("performance", "business", "operations", "health")
"""Reports whose critical verdicts mean that somebody is being hurt now, rather than that somebody may be."""


INFORMATIVE = 4
"""The SEV of what is worth knowing and no reason to call anybody."""


class Tie(StrEnum):
    """Why an alert belongs to an incident that is already open."""

    SAME_COLUMNS = "same_columns"  # quality explains drift
    SAME_SOURCE = "same_source"
    WHOLE_EXPLAINS_PART = "whole_explains_part"  # what the model does everywhere it does in every segment
    SAME_REPORT = "same_report"  # two metrics of the whole model's performance, or of its service
    SAME_ONSET = "same_onset"


@dataclass(frozen=True, slots=True)
class GroupingPolicy:
    """What belongs together, and what comes back.

    `same_onset` is the longest time between the onsets of two alerts with one cause. `reopen_within`: an incident whose
    rule fires again so soon after it was resolved is the same one. `sources` names the source of columns, where known.
    Rules that are merely `informative` are grouped among themselves: what nobody is called for must hide nothing.
    """

    same_onset: timedelta = timedelta(hours=24)
    reopen_within: timedelta = timedelta(hours=24)
    sources: Mapping[str, str] = field(default_factory=dict)
    informative: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Incident:
    """Trouble of one model that one person can look into; `severity` is the worst it has been.

    `fingerprint` is that of the alert that opened it, `rule` that of the one that opened it, brought it back or made it
    worse, `rules` all that took part, `firing` those that still do. `sev` is 1 (people are hurt now) to 4. `causes` are
    ranked. `announced_at` is when people were first to be told, `notified_at` when a channel first took it.
    """

    id: str
    fingerprint: str
    model: str
    rule: str
    severity: Level
    status: Status
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    first_hour: datetime  # when the trouble began
    last_hour: datetime  # the latest evaluation that counted
    evidence_summary: tuple[dict[str, object], ...]  # worst first
    runbook: str
    reason: str
    sev: int
    kind: Kind
    owner: str = ""
    rules: tuple[str, ...] = ()
    firing: tuple[str, ...] = ()
    causes: tuple[dict[str, object], ...] = ()
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    mitigated_at: datetime | None = None
    announced_at: datetime | None = None
    notified_at: datetime | None = None
    escalation_level: int = 0
    times_reopened: int = 0

    @property
    def time_to_detect(self) -> timedelta:
        """From the start of the trouble to the moment it was on record."""
        return self.opened_at - self.first_hour

    @property
    def time_to_acknowledge(self) -> timedelta | None:
        """From the record, or from its coming back, to the person who took it on; None while nobody has."""
        since = self.announced_at if self.times_reopened and self.announced_at else self.opened_at
        return None if self.acknowledged_at is None else self.acknowledged_at - since

    @property
    def time_to_mitigate(self) -> timedelta | None:
        """From the record to the end of the harm; None while nobody has said so and it is open."""
        ended = self.mitigated_at or self.resolved_at
        return None if ended is None else ended - self.opened_at

    @property
    def time_to_resolve(self) -> timedelta | None:
        """From the record to its end; None while it is open."""
        return None if self.resolved_at is None else self.resolved_at - self.opened_at

    def labels(self) -> dict[str, str]:
        """Return what silences match."""
        return {
            "model": self.model,
            "rule": self.rule,
            "severity": self.severity.value,
            "kind": self.kind.value,
            "sev": str(self.sev),
            "column": ",".join(sorted(_columns(self.evidence_summary))),
        }


@dataclass(frozen=True, slots=True)
class Move:
    """What an alert or a person did to an incident: the step, why, and the incident after it."""

    incident: Incident
    step: Step
    why: str


@dataclass(slots=True)
class Known:
    """The latest alert of each fingerprint of one model, and its incidents: those open and those that lately ended.

    `past` are alerts that ended since and were followed by another of their fingerprint.
    """

    alerts: dict[str, Alert] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    past: list[Alert] = field(default_factory=list)


def advance(
    known: Known, outcome: RuleOutcome, *, now: datetime, alerting: AlertPolicy, grouping: GroupingPolicy
) -> tuple[Transition, Move | None]:
    """Take one rule outcome into what is known; returns what it did to its alert, and to an incident if it did.

    The same outcomes again change nothing. A replay over stored outcomes moves incidents as the live system did.
    """
    current = known.alerts.get(outcome.fingerprint)
    moved = next_alert(current, outcome, now=now, policy=alerting)
    alert = moved.alert
    if alert is None or alert == current:
        return moved, None
    move = None
    if moved.step is not Step.NONE:
        home, why = known.incidents.get(alert.incident_id or ""), ""
        if alert.incident_id is None:
            home, why = home_of(alert, list(known.incidents.values()), grouping) or (None, "")
        move = moved_by(alert, moved, home, why, now=now)
        if move.step is Step.JOINED and alert.severity is Level.CRITICAL and not _critical_beside(alert, known, move):
            move = replace(move, step=Step.WORSENED, why=Why.CRITICAL_AGAIN.value)
        if alert.rule in grouping.informative:
            move = replace(move, incident=replace(move.incident, sev=INFORMATIVE))
        known.incidents[move.incident.id] = move.incident
        alert = replace(alert, incident_id=move.incident.id)
        moved = replace(moved, alert=alert)
    if current is not None and current.id != alert.id:
        known.past.append(current)
    known.alerts[alert.fingerprint] = alert
    return moved, move


def _critical_beside(alert: Alert, known: Known, move: Move) -> bool:
    """Whether another rule of the same incident is critical now: then people are at it already."""
    return any(
        other.severity is Level.CRITICAL and other.status is Status.OPEN and other.incident_id == move.incident.id
        for other in known.alerts.values()
        if other.fingerprint != alert.fingerprint
    )


def home_of(alert: Alert, known: Sequence[Incident], policy: GroupingPolicy) -> tuple[Incident, str] | None:
    """Return the incident that a new alert belongs to, and why; None where it is trouble of its own.

    `known` are the incidents of the model, open and resolved, newest last. An open one with the strongest tie is
    preferred; else the latest one that this very rule had led and that ended a moment ago.
    """
    informs = alert.rule in policy.informative
    known = [each for each in known if (each.sev == INFORMATIVE) == informs]
    ties = [
        (tie, incident)
        for incident in known
        if incident.status is Status.OPEN
        if (tie := _together(alert, incident, policy))
    ]
    if ties:
        tie, incident = min(ties, key=lambda pair: list(Tie).index(pair[0]))
        return incident, tie.value
    for incident in reversed(known):
        again = alert.rule in incident.rules and alert.since - incident.last_hour <= policy.reopen_within
        if incident.status is Status.RESOLVED and again:
            return incident, "fires_again"
    return None


def _together(alert: Alert, incident: Incident, policy: GroupingPolicy) -> Tie | None:
    mine, theirs = _columns(alert.evidence_summary), _columns(incident.evidence_summary)
    if mine & theirs:
        return Tie.SAME_COLUMNS
    if {policy.sources.get(name) for name in mine} & {policy.sources.get(name) for name in theirs} - {None}:
        return Tie.SAME_SOURCE
    whole = {entry["metric"] for entry in incident.evidence_summary if not entry["segment"]}
    parts = {entry["metric"] for entry in alert.evidence_summary if entry["segment"]}
    if parts & whole and all(entry["segment"] for entry in alert.evidence_summary):
        return Tie.WHOLE_EXPLAINS_PART
    if _of_all(alert.evidence_summary) & _of_all(incident.evidence_summary):
        return Tie.SAME_REPORT
    if abs(alert.since - incident.first_hour) <= policy.same_onset:
        return Tie.SAME_ONSET
    return None


def _place(entry: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(entry[name] for name in ("metric", "column", "segment", "window"))


def _of_all(evidence: Sequence[Mapping[str, object]]) -> set[str]:
    """Return the reports that say something of the whole model, not of a column or a segment."""
    return {_report(entry) for entry in evidence if not entry["column"] and not entry["segment"]}


def _report(entry: Mapping[str, object]) -> str:
    return str(entry["metric"]).partition(".")[0]


def _columns(evidence: Sequence[Mapping[str, object]]) -> set[str]:
    return {str(entry["column"]) for entry in evidence if entry["column"]}


def moved_by(alert: Alert, moved: Transition, home: Incident | None, why: str, *, now: datetime) -> Move:
    """Return what the step of an alert does to its incident; `home` is None where it opens one."""
    if home is None:
        return Move(_opened(alert, now), Step.OPENED, moved.why.value)
    if moved.step is Step.RESOLVED:
        return _less(home, alert, now)
    reopened = home.status is Status.RESOLVED
    # What comes back is as grave as it is now, not as it was.
    worst = alert.severity if reopened else max(home.severity, alert.severity, key=lambda level: level.rank)
    leads = alert.rule == home.rule or worst is not home.severity
    mine = {_place(entry) for entry in alert.evidence_summary}
    others = tuple(
        entry
        for entry in home.evidence_summary
        if not reopened and entry.get("rule") != alert.rule and _place(entry) not in mine
    )
    evidence = _ranked([*(entry | {"rule": alert.rule} for entry in alert.evidence_summary), *others])
    grown = replace(
        home,
        rule=alert.rule if reopened or leads else home.rule,
        severity=worst,
        updated_at=now,
        last_hour=max(home.last_hour, alert.last_hour),
        rules=tuple(dict.fromkeys([*home.rules, alert.rule])),
        firing=tuple(dict.fromkeys([*home.firing, alert.rule])),
        evidence_summary=evidence,
        reason=alert.reason if reopened or leads else home.reason,
        runbook=home.runbook or alert.runbook,
        owner=home.owner or alert.owner,
        # What goes on is no news: a person may have said by now how grave it is.
        sev=home.sev if moved.step is Step.UPDATED else min(4 if reopened else home.sev, _sev(worst, evidence)),
    )
    if reopened:
        return Move(_reopened(grown, now), Step.REOPENED, why)
    if worst is not home.severity:
        return Move(grown, Step.WORSENED, Why.SEVERITY_ROSE.value)
    return Move(grown, Step.JOINED if moved.step is Step.OPENED else Step.UPDATED, why or moved.why.value)


def _reopened(incident: Incident, at: datetime) -> Incident:
    """Return the incident open again: somebody has to be told, and to take it on, again."""
    return replace(
        incident,
        status=Status.OPEN,
        updated_at=at,
        resolved_at=None,
        acknowledged_at=None,
        acknowledged_by="",
        mitigated_at=None,
        announced_at=None,
        escalation_level=0,
        times_reopened=incident.times_reopened + 1,
    )


def _opened(alert: Alert, now: datetime) -> Incident:
    evidence = tuple(entry | {"rule": alert.rule} for entry in alert.evidence_summary)
    shared = ("id", "fingerprint", "model", "rule", "severity", "last_hour", "runbook", "reason", "owner")
    return _begun(
        now,
        **{name: getattr(alert, name) for name in shared},
        first_hour=alert.since,
        evidence_summary=evidence,
        sev=_sev(alert.severity, evidence),
        kind=_kind(evidence),
    )


def _begun(now: datetime, *, rule: str, **rest: Any) -> Incident:
    firing = (rule,)
    times: dict[str, Any] = {"opened_at": now, "updated_at": now, "resolved_at": None}
    return Incident(status=Status.OPEN, rule=rule, rules=firing, firing=firing, **times, **rest)


def _less(home: Incident, alert: Alert, now: datetime) -> Move:
    firing = tuple(rule for rule in home.firing if rule != alert.rule)
    fewer = replace(home, firing=firing, updated_at=now, last_hour=max(home.last_hour, alert.last_hour))
    if firing:
        return Move(fewer, Step.UPDATED, "others_still_fire")
    return Move(replace(fewer, status=Status.RESOLVED, resolved_at=now), Step.RESOLVED, "all_quiet")


def _ranked(evidence: Sequence[dict[str, object]]) -> tuple[dict[str, object], ...]:
    rank = {level.value: level.rank for level in Level}
    worst_first = sorted(evidence, key=lambda entry: -rank.get(str(entry["level"]), 0))  # stable: each rule's own order
    return tuple(worst_first[:MOST_EVIDENCE])


def _sev(severity: Level, evidence: Sequence[Mapping[str, object]]) -> int:
    """Return 1 where people are hurt now, 2 for anything else critical, 3 for warnings."""
    if severity is not Level.CRITICAL:
        return 3
    hurts = any(_report(entry) in _HURTS_NOW for entry in evidence if entry["level"] == "critical")
    return 1 if hurts else 2


def _kind(evidence: Sequence[Mapping[str, object]]) -> Kind:
    return KIND_OF.get(_report(evidence[0]), Kind.DATA) if evidence else Kind.DATA


def with_causes(incident: Incident, causes: Sequence[Mapping[str, object]]) -> Incident:
    """Return the incident with its ranked causes; a likely first cause says whose trouble it is."""
    likely = causes[0] if causes and float(str(causes[0].get("confidence", 0))) >= 0.5 else None
    kind = Kind(str(likely["kind"])) if likely else incident.kind
    return replace(incident, causes=tuple(map(dict, causes)), kind=kind)


def act_on(incident: Incident, action: Action) -> Move:
    """Return what a person does to an incident; raises ActionError where that makes no sense."""
    at, author = action.at, action.author
    is_open = incident.status is Status.OPEN
    match action.kind:
        case ActionKind.NOTE | ActionKind.POST_MORTEM:
            step = Step.NOTED if action.kind is ActionKind.NOTE else Step.POST_MORTEM
            return Move(replace(incident, updated_at=at), step, action.text)
        case ActionKind.TRIAGE:
            changes = {
                "sev": int(str(action.fields.get("sev", incident.sev))),
                "kind": Kind(str(action.fields.get("kind", incident.kind))),
            }
            said = f"SEV-{changes['sev']}, {changes['kind']}" + (f": {action.text}" if action.text else "")
            return Move(replace(incident, updated_at=at, **changes), Step.TRIAGED, said)  # type: ignore[arg-type]
        case ActionKind.ACKNOWLEDGE if is_open:
            if incident.acknowledged_at is not None:
                raise ActionError(
                    f"{incident.id} was acknowledged by {incident.acknowledged_by} "
                    f"at {incident.acknowledged_at:%Y-%m-%d %H:%M}Z"
                )
            taken = replace(incident, updated_at=at, acknowledged_at=at, acknowledged_by=author)
            return Move(taken, Step.ACKNOWLEDGED, action.text)
        case ActionKind.MITIGATE if is_open:
            return Move(replace(incident, updated_at=at, mitigated_at=at), Step.MITIGATED, action.text)
        case ActionKind.RESOLVE if is_open:
            done = replace(incident, updated_at=at, status=Status.RESOLVED, resolved_at=at, firing=())
            return Move(done, Step.RESOLVED, action.text)
        case ActionKind.REOPEN if not is_open:
            return Move(_reopened(incident, at), Step.REOPENED, action.text)
    raise ActionError(f"{incident.id} is {incident.status.value}: {action.kind.value} does not apply to it")


def reported(action: Action) -> Move:
    """Return the incident that a person opens, with what they say: a user's complaint, a finding in the logs."""
    model, severity = str(action.fields["model"]), Level(str(action.fields.get("severity", "warning")))
    incident = _begun(
        action.said_at or action.at,
        id=f"{model}/reported@{action.at:%Y-%m-%dT%H:%M:%S}Z",
        fingerprint=f"{model}/reported",
        model=model,
        rule="reported",
        severity=severity,
        first_hour=action.at,
        last_hour=action.at,
        evidence_summary=(),
        runbook=str(action.fields.get("runbook", "")),
        reason=action.text,
        sev=int(str(action.fields.get("sev", 1 if severity is Level.CRITICAL else 3))),
        kind=Kind(str(action.fields.get("kind", "model"))),
        owner=str(action.fields.get("owner", "")),
    )
    return Move(incident, Step.OPENED, f"reported by {action.author}")
