"""What the users of a PostgreSQL may do with the tables of the state database; deploy/postgres/roles.sql makes them.

Add here what a process needs that has a user of its own. Keep the logs out: `postgres_tables` grants those.
"""

import sqlalchemy as sa

OWNER, MONITOR, WRITER, READER = (f"monitoring_{name}" for name in ("owner", "monitor", "writer", "reader"))

_GRANTS = (
    f"GRANT USAGE ON SCHEMA public TO {MONITOR}, {READER}",
    f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {MONITOR}, {READER}",
    f"GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {MONITOR}",
    f"REVOKE INSERT, UPDATE ON alembic_version FROM {MONITOR}",
    f"GRANT DELETE ON webhook_messages TO {MONITOR}",  # nothing else is ever deleted
    f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {MONITOR}",
)


def grant_on_state(connection: sa.Connection) -> None:
    """Let the users do their work, where there are such users and it is their owner who asks."""
    if connection.dialect.name != "postgresql":
        return
    asked = "SELECT current_user = :owner AND EXISTS (SELECT FROM pg_roles WHERE rolname = :monitor)"
    if connection.execute(sa.text(asked), {"owner": OWNER, "monitor": MONITOR}).scalar():
        for statement in _GRANTS:
            connection.execute(sa.text(statement))
