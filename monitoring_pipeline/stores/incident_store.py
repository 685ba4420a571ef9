"""Incidents in the state database: what rules and people do to them, with the timeline and the notices it causes.

Each change is one transaction of alert, incident, timeline and outbox. Add queries about incidents here. Keep the rules
of opening, grouping and telling out: they belong in notify.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.judge.rules import RuleOutcome
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.actions import Action, ActionKind, IncidentNotFoundError
from monitoring_pipeline.notify.alerts import Alert, AlertPolicy, Status, Step, Transition
from monitoring_pipeline.notify.incidents import (
    GroupingPolicy,
    Incident,
    Kind,
    Known,
    Move,
    act_on,
    advance,
    reported,
    with_causes,
)
from monitoring_pipeline.notify.silences import Silence
from monitoring_pipeline.notify.stages import Context, DeliveryRules, Notice, announce, settle
from monitoring_pipeline.stores.engine import Database
from monitoring_pipeline.stores.tables import alerts, incident_events, incidents, outbox, silences

MOST_IN_EVENT = 5
"""Verdicts kept with each line of a timeline; the incident itself keeps more."""

_LONG_ENOUGH = timedelta(days=7)
"""How long after its end an incident may still be looked at as the one that comes back."""


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """One line of an incident's timeline."""

    incident_id: str
    at: datetime
    hour: datetime
    step: Step
    why: str
    severity: Level
    author: str
    reason: str
    evidence: tuple[dict[str, object], ...]  # as in the incident, without the bins


@dataclass(frozen=True, slots=True)
class Applied:
    """What some outcomes did: to alerts, in the order they were taken, and to incidents."""

    transitions: tuple[Transition, ...]
    moves: tuple[Move, ...]


class IncidentStore(Database):
    """Alerts, incidents, their timelines, and silences."""

    def apply_outcomes(
        self,
        outcomes: Sequence[RuleOutcome],
        *,
        now: datetime,
        policies: Mapping[str, AlertPolicy],
        rules: DeliveryRules,
        grouping: GroupingPolicy | None = None,
        causes: Mapping[datetime, Sequence[Mapping[str, object]]] | None = None,
    ) -> Applied:
        """Move the alerts and incidents of all outcomes in one transaction, and put what people are told in the outbox.

        Outcomes are taken by hour; the same outcomes again change nothing. `policies` has one entry for each rule,
        `causes` are the ranked ones of the hours in which something may begin.
        """
        missing = sorted({outcome.rule for outcome in outcomes} - set(policies))
        if missing:
            raise StoreError(
                f"no alert policy for rule(s) {', '.join(missing)}: policies given are {', '.join(sorted(policies))}"
            )
        ordered = sorted(outcomes, key=lambda outcome: (outcome.hour, outcome.fingerprint))
        models = sorted({outcome.model for outcome in outcomes})

        def change(connection: sa.Connection) -> Applied:
            _lock(connection, models)
            known = {model: _known(connection, model, ordered) for model in models}
            before = {model: Known(dict(found.alerts), dict(found.incidents)) for model, found in known.items()}
            transitions, moves, events = [], defaultdict(list), []
            for outcome in ordered:
                found = known[outcome.model]
                moved, move = advance(
                    found, outcome, now=now, alerting=policies[outcome.rule], grouping=grouping or GroupingPolicy()
                )
                transitions.append(moved)
                if move is None:
                    continue
                if move.step.notifies and causes and (ranked := causes.get(outcome.hour)):
                    move = replace(move, incident=with_causes(move.incident, ranked))
                    found.incidents[move.incident.id] = move.incident
                moves[move.incident.id].append(move)
                events.append((move, outcome.rule, outcome.hour))
            changed = [
                incident
                for model in models
                for incident in known[model].incidents.values()
                if incident != before[model].incidents.get(incident.id)
            ]
            _keep_incidents(connection, changed)
            for model in models:
                latest = {
                    key: each for key, each in known[model].alerts.items() if each != before[model].alerts.get(key)
                }
                _keep_alerts(connection, [*known[model].past, *latest.values()])  # what ended first: one may be open
            for move, rule, hour in events:
                _write_event(connection, move, now, hour=hour, author=rule)
            for incident in changed:
                own = moves.get(incident.id, [])
                _tell(connection, [*own, *_unannounced(incident, own)], now, rules)
            return Applied(tuple(transitions), tuple(move for each in moves.values() for move in each))

        return self.once(change)

    def act(self, action: Action, *, rules: DeliveryRules) -> Incident:
        """Do what a person asks of an incident, on record and announced; raises ActionError where it makes no sense."""

        def change(connection: sa.Connection) -> Incident:
            if action.kind is ActionKind.OPEN:
                move = reported(action)
                _lock(connection, [move.incident.model])
            else:
                models = sa.select(incidents.c.model).where(incidents.c.id == action.incident_id)
                _lock(connection, connection.execute(models).scalars().all())
                row = connection.execute(
                    sa.select(incidents).where(incidents.c.id == action.incident_id).with_for_update()
                )
                found = row.mappings().one_or_none()
                if found is None:
                    raise IncidentNotFoundError(
                        f"there is no incident {action.incident_id!r}: `monitoring-pipeline incidents` lists them"
                    )
                move = act_on(_incident(found), action)
            if move.step is Step.RESOLVED:
                # The rules start anew: one that goes on firing after its cooldown brings the incident back.
                own = alerts.update().where(alerts.c.incident_id == move.incident.id, alerts.c.status == "open")
                ended = {"status": Status.RESOLVED.value, "resolved_at": action.at, "updated_at": action.at}
                connection.execute(own.values(ended))
            _keep_incidents(connection, [move.incident])
            at = move.incident.opened_at if action.kind is ActionKind.OPEN else action.at
            _write_event(connection, move, at, hour=move.incident.last_hour, author=action.author)
            _tell(connection, [move], at, rules)
            return move.incident

        return self.once(change)

    def escalate(
        self,
        incident_id: str,
        level: int,
        why: str,
        *,
        channels: Sequence[str],
        to: Sequence[str],
        now: datetime,
        rules: DeliveryRules,
    ) -> bool:
        """Tell the next level of an incident nobody has taken on; False when somebody has, or was told already."""

        def change(connection: sa.Connection) -> bool:
            query = sa.select(incidents).where(incidents.c.id == incident_id).with_for_update()
            incident = _incident(connection.execute(query).mappings().one())
            if incident.status is not Status.OPEN or incident.escalation_level >= level:
                return False
            move = Move(replace(incident, escalation_level=level, updated_at=now), Step.ESCALATED, why)
            _keep_incidents(connection, [move.incident])
            _write_event(connection, move, now, hour=incident.last_hour, author="escalation")
            _tell(connection, [move], now, rules, channels=channels, to=tuple(to))
            return True

        return self.once(change)

    def is_breaching(self, incident_id: str) -> bool:
        """Whether the latest evaluation of one of its rules was a breach."""
        query = sa.select(alerts.c.id).where(
            alerts.c.incident_id == incident_id, alerts.c.status == Status.OPEN.value, alerts.c.quiet_evaluations == 0
        )
        with self.reading() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def announce_waiting(self, model: str, *, now: datetime, rules: DeliveryRules) -> int:
        """Tell of open incidents that nobody heard of, now that nothing holds them back; returns how many."""

        def change(connection: sa.Connection) -> int:
            _lock(connection, [model])
            waiting = sa.select(incidents).where(
                incidents.c.model == model, incidents.c.status == Status.OPEN.value, incidents.c.announced_at.is_(None)
            )
            found = [_incident(row) for row in connection.execute(waiting).mappings()]
            return sum(_tell(connection, _unannounced(incident, []), now, rules, quietly=True) for incident in found)

        return self.once(change)

    def silence(self, silence: Silence) -> None:
        """Put a silence on record."""
        with self.writing() as connection:
            connection.execute(silences.insert().values({**asdict(silence), "matchers": list(silence.as_texts())}))

    def end_silence(self, silence_id: str, *, now: datetime) -> bool:
        """End a silence early; False when there is none of that id, or it is over."""
        query = silences.update().where(silences.c.id == silence_id, silences.c.ends_at > now)
        with self.writing() as connection:
            return connection.execute(query.values(ends_at=now)).rowcount == 1

    def silences(self, *, now: datetime) -> list[Silence]:
        """Return the silences that are not over."""
        with self.reading() as connection:
            return _silences(connection, now)

    def incidents(self, model: str | None = None, status: Status | None = None) -> list[Incident]:
        """Return incidents, oldest first."""
        query = sa.select(incidents).order_by(incidents.c.opened_at, incidents.c.first_hour, incidents.c.id)
        if model is not None:
            query = query.where(incidents.c.model == model)
        if status is not None:
            query = query.where(incidents.c.status == status.value)
        with self.reading() as connection:
            return [_incident(row) for row in connection.execute(query).mappings()]

    def incident(self, incident_id: str) -> Incident:
        """Return one incident; raises IncidentNotFoundError when there is none."""
        with self.reading() as connection:
            query = sa.select(incidents).where(incidents.c.id == incident_id)
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise IncidentNotFoundError(
                f"there is no incident {incident_id!r}: `monitoring-pipeline incidents` lists them"
            )
        return _incident(row)

    def alerts(self, model: str | None = None, status: Status | None = None) -> list[Alert]:
        """Return the alerts of a model, oldest first."""
        query = sa.select(alerts).order_by(alerts.c.first_hour, alerts.c.id)
        if model is not None:
            query = query.where(alerts.c.model == model)
        if status is not None:
            query = query.where(alerts.c.status == status.value)
        with self.reading() as connection:
            return [_alert(row) for row in connection.execute(query).mappings()]

    def incident_events(self, incident_id: str) -> list[IncidentEvent]:
        """Return the timeline of one incident, oldest first."""
        query = sa.select(incident_events).where(incident_events.c.incident_id == incident_id)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(incident_events.c.id)).mappings().all()
        return [
            IncidentEvent(
                **{
                    **{key: value for key, value in row.items() if key != "id"},
                    "step": Step(row["step"]),
                    "severity": Level(row["severity"]),
                    "evidence": tuple(row["evidence"]),
                }
            )
            for row in rows
        ]


def _lock(connection: sa.Connection, models: Iterable[str]) -> None:
    """Let one process at a time group the alerts of a model: two that see no incident would open two."""
    if connection.dialect.name == "postgresql":
        for model in models:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(zlib.crc32(f"incidents of {model}".encode()))))


def _known(connection: sa.Connection, model: str, outcomes: Sequence[RuleOutcome]) -> Known:
    oldest = min(outcome.hour for outcome in outcomes) - _LONG_ENOUGH
    recent = sa.or_(incidents.c.status == Status.OPEN.value, incidents.c.last_hour >= oldest)
    # Held until the end: what a person does meanwhile must not be overwritten.
    query = (
        sa.select(incidents)
        .where(incidents.c.model == model, recent)
        .order_by(incidents.c.first_hour, incidents.c.id)
        .with_for_update()
    )
    found = [_incident(row) for row in connection.execute(query).mappings()]
    newest = sa.func.row_number().over(partition_by=alerts.c.fingerprint, order_by=alerts.c.first_hour.desc())
    numbered = sa.select(alerts, newest.label("place")).where(alerts.c.model == model).subquery()
    columns = [column for column in numbered.c if column.name != "place"]
    rows = connection.execute(sa.select(*columns).where(numbered.c.place == 1)).mappings()
    latest = list(map(_alert, rows))
    return Known({alert.fingerprint: alert for alert in latest}, {incident.id: incident for incident in found})


def _keep_incidents(connection: sa.Connection, changed: Sequence[Incident]) -> None:
    for incident in changed:
        values = asdict(incident)
        del values["notified_at"]  # belongs to the outbox
        _keep(connection, incidents, values)


def _keep_alerts(connection: sa.Connection, changed: Iterable[Alert]) -> None:
    for alert in changed:
        _keep(connection, alerts, asdict(alert))


def _keep(connection: sa.Connection, table: sa.Table, values: dict[str, object]) -> None:
    if connection.execute(table.update().where(table.c.id == values["id"]).values(values)).rowcount == 0:
        connection.execute(table.insert().values(values))


def _write_event(
    connection: sa.Connection, move: Move, now: datetime, *, hour: datetime, author: str, why: str | None = None
) -> None:
    incident = move.incident
    evidence = [
        {key: item for key, item in record.items() if key != "bins"}
        for record in incident.evidence_summary[: 0 if move.step is Step.UPDATED else MOST_IN_EVENT]
    ]
    connection.execute(
        incident_events.insert().values(
            incident_id=incident.id,
            at=now,
            hour=hour,
            step=move.step.value,
            why=move.why if why is None else why,
            severity=incident.severity.value,
            author=author,
            reason=incident.reason,
            evidence=evidence,
        )
    )


def _unannounced(incident: Incident, moves: Sequence[Move]) -> list[Move]:
    """Return the announcement an open incident still lacks: what held it back may be over."""
    news = any(move.step.notifies for move in moves)
    if incident.announced_at is not None or incident.status is not Status.OPEN or news:
        return []
    return [Move(incident, Step.OPENED, "not announced before")]


def _tell(
    connection: sa.Connection,
    moves: Sequence[Move],
    now: datetime,
    rules: DeliveryRules,
    *,
    channels: Sequence[str] | None = None,
    to: tuple[str, ...] = (),
    quietly: bool = False,
) -> int:
    """Put what is to be told of one incident in the outbox, and what is not on its timeline; returns how many."""
    count = 0
    for move in settle(moves):
        level = 0
        if move.step in (Step.OPENED, Step.REOPENED, Step.WORSENED):
            level, to = rules.first(move.incident, now)
        notices, withheld = announce(move, _context(connection, move, now, rules), channels=channels, to=to)
        for notice in notices:
            _enqueue(connection, notice, now)
        if notices and (move.incident.announced_at is None or level > move.incident.escalation_level):
            mark = incidents.update().where(incidents.c.id == move.incident.id)
            connection.execute(mark.values(announced_at=move.incident.announced_at or now, escalation_level=level))
        for why in () if quietly else withheld:
            held = replace(move, step=Step.WITHHELD, why=f"{move.step.value}: {why.why}")
            _write_event(connection, held, now, hour=move.incident.last_hour, author=why.stage)
        count += bool(notices)
    return count


def _context(connection: sa.Connection, move: Move, now: datetime, rules: DeliveryRules) -> Context:
    own = sa.select(outbox.c.step_key, outbox.c.channel).where(outbox.c.incident_id == move.incident.id)
    lately = sa.select(outbox.c.channel, outbox.c.next_attempt_at).where(
        outbox.c.next_attempt_at > now - timedelta(hours=1)
    )
    recent: dict[str, list[datetime]] = defaultdict(list)
    for channel, at in connection.execute(lately):
        recent[channel].append(at)
    told = {(key, channel) for key, channel in connection.execute(own)}
    return Context(rules, now, _silences(connection, now), told, recent)


def _silences(connection: sa.Connection, now: datetime) -> list[Silence]:
    query = sa.select(silences).where(silences.c.ends_at > now).order_by(silences.c.starts_at, silences.c.id)
    return [
        Silence.from_texts(**{**row, "matchers": tuple(row["matchers"])})
        for row in connection.execute(query).mappings()
    ]


def _enqueue(connection: sa.Connection, notice: Notice, now: datetime) -> None:
    assert notice.message is not None
    connection.execute(
        outbox.insert().values(
            incident_id=notice.incident.id,
            step_key=notice.step_key,
            channel=notice.channel,
            message=notice.message.as_record(),
            status="pending",
            attempts=0,
            created_at=now,
            next_attempt_at=notice.not_before,
            lease_token=0,
            outcome_unknown=False,
        )
    )


def _incident(row: sa.RowMapping) -> Incident:
    lists = {name: tuple(row[name]) for name in ("evidence_summary", "rules", "firing", "causes")}
    kinds = {"severity": Level(row["severity"]), "status": Status(row["status"]), "kind": Kind(row["kind"])}
    return Incident(**{**row, **lists, **kinds})


def _alert(row: sa.RowMapping) -> Alert:
    kinds = {"severity": Level(row["severity"]), "status": Status(row["status"])}
    return Alert(**{**row, **kinds, "evidence_summary": tuple(row["evidence_summary"])})
