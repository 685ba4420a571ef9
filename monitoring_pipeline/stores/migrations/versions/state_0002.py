"""Incidents of several alerts, what people do with them, silences, and what a channel calls what it posted.

Every incident of the first revision had one rule: it becomes an incident with that one alert.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)

SHARED = (
    *("id", "fingerprint", "model", "rule", "severity", "status", "opened_at", "updated_at", "resolved_at"),
    *("first_hour", "last_hour", "evidence_summary", "runbook", "reason"),
)


def upgrade() -> None:
    """Give each incident an alert, and incidents what people and causes say of them."""
    _alerts()
    op.drop_index("one_open_incident_per_fingerprint", "incidents")
    op.drop_index("incidents_by_fingerprint", "incidents")
    # Column by column: SQLite would have to make the table anew to do it at once, and others refer to it.
    op.drop_column("incidents", "quiet_evaluations")
    columns: list[sa.Column[Any]] = [
        sa.Column("sev", sa.Integer, nullable=False, server_default="3"),
        sa.Column("kind", sa.Text, nullable=False, server_default="data"),
        *(sa.Column(name, sa.Text, nullable=False, server_default="") for name in ("owner", "acknowledged_by")),
        *(sa.Column(name, sa.JSON, nullable=False, server_default="[]") for name in ("rules", "firing", "causes")),
        *(sa.Column(name, MOMENT) for name in ("acknowledged_at", "mitigated_at", "announced_at")),
        *(
            sa.Column(name, sa.Integer, nullable=False, server_default="0")
            for name in ("escalation_level", "times_reopened")
        ),
    ]
    for column in columns:
        op.add_column("incidents", column)
    _fill()
    op.create_index("incidents_by_model", "incidents", ["model", "status", "opened_at"])
    op.add_column("incident_events", sa.Column("author", sa.Text, nullable=False, server_default=""))
    op.add_column("outbox", sa.Column("receipt", sa.Text))
    op.create_table(
        "silences",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("matchers", sa.JSON, nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
    )
    op.create_index("ix_silences_ends_at", "silences", ["ends_at"])
    op.create_table(
        "webhook_messages",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("received_at", MOMENT, nullable=False),
    )


def downgrade() -> None:
    """Not possible: an incident of several rules has no place in the first revision."""
    raise NotImplementedError("restore the backup that was made before the upgrade")


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("fingerprint", "model", "rule", "severity", "status")),
        *(sa.Column(name, MOMENT, nullable=False) for name in ("opened_at", "updated_at")),
        sa.Column("resolved_at", MOMENT),
        *(sa.Column(name, MOMENT, nullable=False) for name in ("first_hour", "last_hour")),
        sa.Column("evidence_summary", sa.JSON, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("runbook", "reason", "owner")),
        sa.Column("quiet_evaluations", sa.Integer, nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("incident_id", sa.Text, sa.ForeignKey("incidents.id"), nullable=False),
    )
    columns = ", ".join(SHARED)
    op.execute(
        f"INSERT INTO alerts ({columns}, owner, quiet_evaluations, since, incident_id) "  # noqa: S608 - names of ours
        f"SELECT {columns}, '', quiet_evaluations, first_hour, id FROM incidents"
    )
    op.create_index("alerts_by_fingerprint", "alerts", ["fingerprint", "first_hour"])
    op.create_index("ix_alerts_incident_id", "alerts", ["incident_id"])
    where = sa.text("status = 'open'")
    op.create_index(
        "one_open_alert_per_fingerprint",
        "alerts",
        ["fingerprint"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )


def _fill() -> None:
    incidents = sa.table(
        "incidents",
        *(sa.column(name, sa.Text) for name in ("id", "rule", "status", "severity")),
        sa.column("sev", sa.Integer),
        *(sa.column(name, sa.JSON) for name in ("rules", "firing")),
        *(sa.column(name, MOMENT) for name in ("opened_at", "announced_at")),
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(incidents)).mappings().all():
        firing = [row["rule"]] if row["status"] == "open" else []
        values = {"rules": [row["rule"]], "firing": firing, "announced_at": row["opened_at"]}
        values["sev"] = 2 if row["severity"] == "critical" else 3
        connection.execute(incidents.update().where(incidents.c.id == row["id"]).values(values))
