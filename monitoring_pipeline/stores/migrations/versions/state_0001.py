"""Incidents with their timeline and outbox, retraining decisions with their episodes.

A revision is history: it spells its tables out and does not import those of today.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the first tables."""
    _incidents()
    _outbox()
    _retraining()


def downgrade() -> None:
    """Drop all tables, children first."""
    for table in (
        "retrain_decisions",
        "retrain_episodes",
        "outbox",
        "incident_events",
        "incidents",
    ):
        op.drop_table(table)


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("resolved_at", MOMENT),
        sa.Column("first_hour", MOMENT, nullable=False),
        sa.Column("last_hour", MOMENT, nullable=False),
        sa.Column("quiet_evaluations", sa.Integer, nullable=False),
        sa.Column("evidence_summary", sa.JSON, nullable=False),
        sa.Column("runbook", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("notified_at", MOMENT),
    )
    op.create_index("incidents_by_fingerprint", "incidents", ["fingerprint", "first_hour"])
    _create_partial_unique_index("one_open_incident_per_fingerprint", "incidents", "fingerprint", "status = 'open'")
    op.create_table(
        "incident_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("incident_id", sa.Text, sa.ForeignKey("incidents.id"), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.JSON, nullable=False),
    )
    op.create_index("ix_incident_events_incident_id", "incident_events", ["incident_id"])


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("incident_id", sa.Text, sa.ForeignKey("incidents.id"), nullable=False),
        sa.Column("step_key", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("message", sa.JSON, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("leased_until", MOMENT),
        sa.Column("leased_by", sa.Text),
        sa.Column("lease_token", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("sent_at", MOMENT),
        sa.Column("outcome_unknown", sa.Boolean, nullable=False),
        sa.UniqueConstraint("incident_id", "step_key", "channel", name="one_notification_per_step_and_channel"),
    )
    op.create_index("outbox_due", "outbox", ["status", "channel", "next_attempt_at"])


def _retraining() -> None:
    op.create_table(
        "retrain_episodes",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("finished_at", MOMENT),
        sa.Column("outcome", sa.JSON, nullable=False),
    )
    op.create_index("ix_retrain_episodes_model", "retrain_episodes", ["model"])
    _create_partial_unique_index("one_open_episode_per_model", "retrain_episodes", "model", "finished_at IS NULL")
    op.create_table(
        "retrain_decisions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("fired", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("explanation", sa.Text, nullable=False),
        sa.Column("clauses", sa.JSON, nullable=False),
        sa.Column("episode_id", sa.Text, nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.UniqueConstraint("model", "hour", name="one_decision_per_model_and_hour"),
    )


def _create_partial_unique_index(name: str, table: str, column: str, where: str) -> None:
    op.create_index(name, table, [column], unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
