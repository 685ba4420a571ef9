"""The state database: what the pipeline decided and has to remember, in SQLite or PostgreSQL.

Add a kind of state as a store of its own and inherit it here. Keep measurements out: signals and profiles are files.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError

from monitoring_pipeline.stores.decision_store import DecisionStore
from monitoring_pipeline.stores.incident_store import IncidentStore
from monitoring_pipeline.stores.outbox_store import OutboxStore
from monitoring_pipeline.stores.tables import webhook_messages


class StateDatabase(IncidentStore, OutboxStore, DecisionStore):
    """Incidents, outbox and retraining decisions behind one URL; call `migrate` once before use."""


@dataclass(frozen=True, slots=True)
class SignedRequests:
    """Signed requests that were carried out, so that none is twice; as many processes as there are may ask."""

    database: StateDatabase
    remembered: timedelta = timedelta(days=1)

    def claim(self, message_id: str, now: datetime) -> bool:
        """Take on a request; False where somebody has already."""
        old = webhook_messages.delete().where(webhook_messages.c.received_at < now - self.remembered)
        try:
            with self.database.writing() as connection:
                connection.execute(old)
                connection.execute(webhook_messages.insert().values(id=message_id, received_at=now))
        except IntegrityError:
            return False
        return True

    def release(self, message_id: str) -> None:
        """Forget a request that changed nothing: its sender may try again under the same id."""
        with self.database.writing() as connection:
            connection.execute(webhook_messages.delete().where(webhook_messages.c.id == message_id))
