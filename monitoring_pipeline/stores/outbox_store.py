"""The outbox in the state database: leases with fencing tokens, so that many dispatchers may work at once.

Add queries about notifications here. Keep delays and channels out: they belong in notify.delivery.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from monitoring_pipeline.notify.delivery import Claim
from monitoring_pipeline.notify.messages import Message, undelivered
from monitoring_pipeline.stores.engine import Database
from monitoring_pipeline.stores.tables import incidents, outbox

UNDELIVERED = "undelivered"
"""How the step key of a notice begins that tells of one that was given up."""


class Posted(StrEnum):
    """Where a notification stands."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"  # given up; `revive_dead` sends it on its way again
    OVERTAKEN = "overtaken"  # given up, and a later step of its incident was told since: it would be no news


@dataclass(frozen=True, slots=True)
class Notification:
    """One row of the outbox, as people read it."""

    id: int
    incident_id: str
    step_key: str
    channel: str
    status: Posted
    attempts: int
    next_attempt_at: datetime
    last_error: str | None
    sent_at: datetime | None
    outcome_unknown: bool  # of some attempt it is not known whether it arrived: it may have been read twice
    message: Message


class OutboxStore(Database):
    """Implements `notify.delivery.Outbox`."""

    def channels_due(self, *, now: datetime) -> list[str]:
        """Return the names of the channels something is due for."""
        query = sa.select(outbox.c.channel).where(_due(now)).distinct().order_by(outbox.c.channel)
        with self.reading() as connection:
            return list(connection.execute(query).scalars())

    def claim(
        self, channel: str, *, now: datetime, lease: timedelta, worker: str, after: Collection[int] = ()
    ) -> Claim | None:
        """Lease the oldest due notification whose incident has no older one waiting for the same channel.

        Those `after` which it is sent, in one message, are not waited for.
        """
        older = outbox.alias("older")
        overtakes = sa.exists().where(
            older.c.incident_id == outbox.c.incident_id,
            older.c.channel == outbox.c.channel,
            older.c.id < outbox.c.id,
            older.c.status == Posted.PENDING.value,
            older.c.id.not_in(after),
        )
        query = (
            sa.select(outbox)
            .where(_due(now), outbox.c.channel == channel, ~overtakes)
            .order_by(outbox.c.id)
            .limit(1)
            .with_for_update(skip_locked=True, of=outbox)
        )
        with self.writing() as connection:
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                return None
            first = sa.select(outbox.c.receipt).where(
                outbox.c.incident_id == row["incident_id"], outbox.c.channel == channel, outbox.c.receipt.is_not(None)
            )
            abandoned = row["leased_until"] is not None
            claim = Claim(
                id=row["id"],
                channel=channel,
                message=Message.from_record(row["message"]),
                dedup_key=f"{row['incident_id']}/{row['step_key']}",
                attempts=row["attempts"] + 1,
                token=row["lease_token"] + 1,
                thread=connection.execute(first.order_by(outbox.c.id).limit(1)).scalar_one_or_none(),
            )
            connection.execute(
                outbox.update()
                .where(outbox.c.id == claim.id)
                .values(
                    attempts=claim.attempts,
                    lease_token=claim.token,
                    leased_until=now + lease,
                    leased_by=worker,
                    outcome_unknown=row["outcome_unknown"] or abandoned,
                    last_error=f"worker {row['leased_by']} did not report back" if abandoned else row["last_error"],
                )
            )
        return claim

    def mark_sent(self, claim: Claim, *, now: datetime, receipt: str | None = None) -> bool:
        """Record that the channel took it, and what it calls it; False when another worker holds it by now."""
        with self.writing() as connection:
            if not _release(connection, claim, {"status": Posted.SENT.value, "sent_at": now, "receipt": receipt}):
                return False
            incident = sa.select(outbox.c.incident_id).where(outbox.c.id == claim.id).scalar_subquery()
            first = incidents.update().where(incidents.c.id == incident, incidents.c.notified_at.is_(None))
            connection.execute(first.values(notified_at=now))
        return True

    def mark_retry(
        self, claim: Claim, *, at: datetime, error: str, outcome_unknown: bool, pause: datetime | None = None
    ) -> bool:
        """Record a failure that passes, and when to try again; False when another worker holds it by now.

        Nothing else is due for the channel before `pause`.
        """
        with self.writing() as connection:
            if not _release(connection, claim, {"next_attempt_at": at, **_failure(error, outcome_unknown)}):
                return False
            if pause is not None:
                # What others are just claiming is skipped: two that wait for each other would be a deadlock.
                sooner = sa.select(outbox.c.id).where(
                    _due(pause), outbox.c.channel == claim.channel, outbox.c.leased_until.is_(None)
                )
                rest = outbox.update().where(outbox.c.id.in_(sooner.with_for_update(skip_locked=True)))
                connection.execute(rest.values(next_attempt_at=pause))
        return True

    def mark_dead(
        self, claim: Claim, *, now: datetime, error: str, outcome_unknown: bool, instead: Sequence[str] = ()
    ) -> bool:
        """Record that it was given up at `now`, and queue that, once, on the first channel of `instead`.

        False when another worker holds it by now. What tells of a dead letter and dies itself is queued on the last.
        """
        failure = _failure(error, outcome_unknown)
        with self.writing() as connection:
            if not _release(connection, claim, {"status": Posted.DEAD.value, "next_attempt_at": now, **failure}):
                return False
            if instead:
                _tell_elsewhere(connection, claim, error, instead, now)
        return True

    def revive_dead(self, *, now: datetime, channel: str | None = None) -> int:
        """Make what was given up due again, once its cause is gone; returns how many.

        What was overtaken stays where it is: nobody is to hear of a beginning after the end.
        """
        newer = outbox.alias("newer")
        overtaken = sa.exists().where(
            newer.c.incident_id == outbox.c.incident_id,
            newer.c.channel == outbox.c.channel,
            newer.c.id > outbox.c.id,
            newer.c.step_key.not_like(f"{UNDELIVERED}:%"),
            sa.or_(newer.c.status == Posted.SENT.value, newer.c.leased_until.is_not(None)),
        )
        query = outbox.update().where(outbox.c.status == Posted.DEAD.value)
        if channel is not None:
            query = query.where(outbox.c.channel == channel)
        with self.writing() as connection:
            connection.execute(query.where(overtaken).values(status=Posted.OVERTAKEN.value))
            fresh = query.values(status=Posted.PENDING.value, attempts=0, next_attempt_at=now)
            return int(connection.execute(fresh).rowcount)

    def notifications(self, status: Posted | None = None) -> list[Notification]:
        """Return the outbox, oldest first."""
        query = sa.select(outbox).order_by(outbox.c.id)
        if status is not None:
            query = query.where(outbox.c.status == status.value)
        with self.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            Notification(
                id=row["id"],
                incident_id=row["incident_id"],
                step_key=row["step_key"],
                channel=row["channel"],
                status=Posted(row["status"]),
                attempts=row["attempts"],
                next_attempt_at=row["next_attempt_at"],
                last_error=row["last_error"],
                sent_at=row["sent_at"],
                outcome_unknown=row["outcome_unknown"],
                message=Message.from_record(row["message"]),
            )
            for row in rows
        ]


def _due(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        outbox.c.status == Posted.PENDING.value,
        outbox.c.next_attempt_at <= now,
        sa.or_(outbox.c.leased_until.is_(None), outbox.c.leased_until <= now),
    )


def _tell_elsewhere(connection: sa.Connection, claim: Claim, error: str, instead: Sequence[str], now: datetime) -> None:
    incident, step = connection.execute(
        sa.select(outbox.c.incident_id, outbox.c.step_key).where(outbox.c.id == claim.id)
    ).one()
    again = step.startswith(UNDELIVERED)
    channel = instead[-1 if again else 0]
    key = step if again else f"{UNDELIVERED}:{claim.channel}:{step}"
    told = sa.select(outbox.c.channel).where(outbox.c.incident_id == incident, outbox.c.step_key == key)
    before = set(connection.execute(told).scalars())
    if channel in before or (before and not again) or key.startswith(f"{UNDELIVERED}:{channel}:"):
        return
    connection.execute(
        outbox.insert().values(
            incident_id=incident,
            step_key=key,
            channel=channel,
            message=undelivered(claim.message, claim.channel, error).as_record(),
            status=Posted.PENDING.value,
            attempts=0,
            created_at=now,
            next_attempt_at=now,
            lease_token=0,
            outcome_unknown=False,
        )
    )


def _failure(error: str, outcome_unknown: bool) -> dict[str, object]:
    # What is once unknown stays so: a later refusal says nothing of the earlier attempt.
    return {"last_error": error, "outcome_unknown": sa.or_(outbox.c.outcome_unknown, sa.literal(outcome_unknown))}


def _release(connection: sa.Connection, claim: Claim, values: dict[str, object]) -> bool:
    held = (outbox.c.id == claim.id, outbox.c.lease_token == claim.token, outbox.c.status == Posted.PENDING.value)
    query = outbox.update().where(*held).values(leased_until=None, leased_by=None, **values)
    return connection.execute(query).rowcount == 1
