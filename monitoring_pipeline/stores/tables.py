"""The tables of the state database, on SQLite and PostgreSQL alike.

Add a table or a column here together with a migration in `migrations/versions`; a test compares the two. Keep queries
out: they belong in the store that asks.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment: stored in UTC, returned aware. A naive one is refused, because its zone would be a guess."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone: moments are stored in UTC, pass an aware one")
        moment = value.astimezone(UTC)
        # SQLite keeps text: without a zone every moment has the same form, and comparing text compares time.
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _trouble() -> list[sa.Column[Any]]:
    """Return the columns that alerts and incidents share."""
    return [
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("opened_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("resolved_at", UtcDateTime),
        sa.Column("first_hour", UtcDateTime, nullable=False),
        sa.Column("last_hour", UtcDateTime, nullable=False),
        sa.Column("evidence_summary", sa.JSON, nullable=False),
        sa.Column("runbook", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
    ]


incidents = sa.Table(
    "incidents",
    metadata,
    *_trouble(),
    sa.Column("sev", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("rules", sa.JSON, nullable=False),
    sa.Column("firing", sa.JSON, nullable=False),
    sa.Column("causes", sa.JSON, nullable=False),
    sa.Column("acknowledged_at", UtcDateTime),
    sa.Column("acknowledged_by", sa.Text, nullable=False),
    sa.Column("mitigated_at", UtcDateTime),
    sa.Column("announced_at", UtcDateTime),
    sa.Column("notified_at", UtcDateTime),
    sa.Column("escalation_level", sa.Integer, nullable=False),
    sa.Column("times_reopened", sa.Integer, nullable=False),
    sa.Index("incidents_by_model", "model", "status", "opened_at"),
)
alerts = sa.Table(
    "alerts",
    metadata,
    *_trouble(),
    sa.Column("quiet_evaluations", sa.Integer, nullable=False),
    sa.Column("since", UtcDateTime, nullable=False),
    sa.Column("incident_id", sa.Text, sa.ForeignKey("incidents.id"), nullable=False, index=True),
    sa.Index("alerts_by_fingerprint", "fingerprint", "first_hour"),
)
sa.Index(
    "one_open_alert_per_fingerprint",
    alerts.c.fingerprint,
    unique=True,
    sqlite_where=alerts.c.status == "open",
    postgresql_where=alerts.c.status == "open",
)

incident_events = sa.Table(
    "incident_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("incident_id", sa.Text, sa.ForeignKey("incidents.id"), nullable=False, index=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("hour", UtcDateTime, nullable=False),  # the evaluation it rests on; the latest one where a person acted
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),  # who did it: a rule's name, or a person
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
)

silences = sa.Table(
    "silences",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("matchers", sa.JSON, nullable=False),
    sa.Column("starts_at", UtcDateTime, nullable=False),
    sa.Column("ends_at", UtcDateTime, nullable=False, index=True),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
)

webhook_messages = sa.Table(
    "webhook_messages",  # signed requests that were carried out: a second one with the same id is a replay
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("received_at", UtcDateTime, nullable=False),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("incident_id", sa.Text, sa.ForeignKey("incidents.id"), nullable=False),
    sa.Column("step_key", sa.Text, nullable=False),  # what happens to an incident once: opened, worsened:critical, …
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("message", sa.JSON, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("next_attempt_at", UtcDateTime, nullable=False),
    sa.Column("leased_until", UtcDateTime),  # set while a worker holds it; past: that worker never reported back
    sa.Column("leased_by", sa.Text),
    sa.Column("lease_token", sa.Integer, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("receipt", sa.Text),  # what the channel calls what was posted
    sa.Column("sent_at", UtcDateTime),
    sa.Column("outcome_unknown", sa.Boolean, nullable=False),
    sa.UniqueConstraint("incident_id", "step_key", "channel", name="one_notification_per_step_and_channel"),
    sa.Index("outbox_due", "status", "channel", "next_attempt_at"),
)

retrain_episodes = sa.Table(
    "retrain_episodes",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, nullable=False, index=True),
    sa.Column("hour", UtcDateTime, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("opened_at", UtcDateTime, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("outcome", sa.JSON, nullable=False),
)
_unfinished = retrain_episodes.c.finished_at.is_(None)
sa.Index(
    "one_open_episode_per_model",
    retrain_episodes.c.model,
    unique=True,
    sqlite_where=_unfinished,
    postgresql_where=_unfinished,
)

retrain_decisions = sa.Table(
    "retrain_decisions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("hour", UtcDateTime, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("fired", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("explanation", sa.Text, nullable=False),
    sa.Column("clauses", sa.JSON, nullable=False),
    sa.Column("episode_id", sa.Text, nullable=False),  # the identity it would have had; an episode exists if it fired
    sa.Column("decided_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("model", "hour", name="one_decision_per_model_and_hour"),
)
