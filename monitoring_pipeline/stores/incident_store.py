"""Incidents in the state database: outcomes in, one transaction of incident, timeline and notifications out.

Add queries about incidents here. Keep the rules of opening and resolving out: they belong in notify.incidents.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.judge.rules import RuleOutcome
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.incidents import (
    Incident,
    IncidentPolicy,
    Status,
    Step,
    Transition,
    Why,
    next_incident,
)
from monitoring_pipeline.notify.messages import message_of
from monitoring_pipeline.stores.engine import Database
from monitoring_pipeline.stores.tables import incident_events, incidents, outbox


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """One line of an incident's timeline."""

    incident_id: str
    at: datetime
    hour: datetime
    step: Step
    why: Why
    severity: Level
    reason: str
    evidence: tuple[dict[str, object], ...]  # as in the incident, without the bins


class IncidentStore(Database):
    """Incidents and their timelines."""

    def apply_outcomes(
        self,
        outcomes: Sequence[RuleOutcome],
        *,
        now: datetime,
        policies: Mapping[str, IncidentPolicy],
        channels_for: Callable[[str], Sequence[str]],
    ) -> list[Transition]:
        """Move the incidents of all outcomes in one transaction, and put into the outbox what people are to be told.

        Outcomes are taken by fingerprint, then by hour; the same outcomes again change nothing. `policies` has one
        entry for each rule, `channels_for` names the channels of a severity.
        """
        missing = sorted({outcome.rule for outcome in outcomes} - set(policies))
        if missing:
            raise StoreError(
                f"no incident policy for rule(s) {', '.join(missing)}: policies given are {', '.join(sorted(policies))}"
            )
        # Every process takes the fingerprints in the same order, so that two of them wait but never block each other.
        ordered = sorted(outcomes, key=lambda outcome: (outcome.fingerprint, outcome.hour))

        def change(connection: sa.Connection) -> list[Transition]:
            latest: dict[str, Incident | None] = {}
            transitions = []
            for outcome in ordered:
                key = outcome.fingerprint
                current = latest[key] if key in latest else _latest_incident(connection, key)
                moved = next_incident(current, outcome, now=now, policy=policies[outcome.rule])
                _record(connection, current, moved, now, channels_for)
                latest[key] = moved.incident
                transitions.append(moved)
            return transitions

        return self.once(change)

    def incidents(self, model: str | None = None, status: Status | None = None) -> list[Incident]:
        """Return incidents, oldest first."""
        query = sa.select(incidents).order_by(incidents.c.opened_at, incidents.c.id)
        if model is not None:
            query = query.where(incidents.c.model == model)
        if status is not None:
            query = query.where(incidents.c.status == status.value)
        with self.reading() as connection:
            return [_incident(row) for row in connection.execute(query).mappings()]

    def incident_events(self, incident_id: str) -> list[IncidentEvent]:
        """Return the timeline of one incident, oldest first."""
        query = sa.select(incident_events).where(incident_events.c.incident_id == incident_id)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(incident_events.c.id)).mappings().all()
        return [
            IncidentEvent(
                incident_id=row["incident_id"],
                at=row["at"],
                hour=row["hour"],
                step=Step(row["step"]),
                why=Why(row["why"]),
                severity=Level(row["severity"]),
                reason=row["reason"],
                evidence=tuple(row["evidence"]),
            )
            for row in rows
        ]


def _latest_incident(connection: sa.Connection, fingerprint: str) -> Incident | None:
    query = (
        sa.select(incidents)
        .where(incidents.c.fingerprint == fingerprint)
        .order_by(incidents.c.first_hour.desc())
        .limit(1)
        .with_for_update()
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _incident(row)


def _record(
    connection: sa.Connection,
    before: Incident | None,
    moved: Transition,
    now: datetime,
    channels_for: Callable[[str], Sequence[str]],
) -> None:
    after = moved.incident
    if after is None or after == before:
        return
    values = {**asdict(after), "evidence_summary": list(after.evidence_summary)}
    del values["notified_at"]  # belongs to the outbox
    if moved.step is Step.OPENED:
        connection.execute(incidents.insert().values(values))
    else:
        connection.execute(incidents.update().where(incidents.c.id == after.id).values(values))
    if moved.step is Step.NONE:
        return
    connection.execute(
        incident_events.insert().values(
            incident_id=after.id,
            at=now,
            hour=moved.outcome.hour,
            step=moved.step.value,
            why=moved.why.value,
            severity=after.severity.value,
            reason=after.reason,
            evidence=[
                {key: item for key, item in record.items() if key != "bins"} for record in after.evidence_summary
            ],
        )
    )
    if moved.step.notifies:
        _enqueue(connection, after, moved.step, now, channels_for(after.severity.value))


def _enqueue(connection: sa.Connection, incident: Incident, step: Step, now: datetime, channels: Sequence[str]) -> None:
    # A severity only rises, and an incident opens and resolves once: each key names something that happens once.
    step_key = f"{step.value}:{incident.severity.value}" if step is Step.WORSENED else step.value
    message = message_of(incident, step).as_record()
    for channel in channels:
        connection.execute(
            outbox.insert().values(
                incident_id=incident.id,
                step_key=step_key,
                channel=channel,
                message=message,
                status="pending",
                attempts=0,
                created_at=now,
                next_attempt_at=now,
                lease_token=0,
                outcome_unknown=False,
            )
        )


def _incident(row: sa.RowMapping) -> Incident:
    return Incident(
        **{
            **row,
            "severity": Level(row["severity"]),
            "status": Status(row["status"]),
            "evidence_summary": tuple(row["evidence_summary"]),
        }
    )
