"""The state database: what the pipeline decided and has to remember, in SQLite or PostgreSQL.

Add a kind of state as a store of its own and inherit it here. Keep measurements out: signals and profiles are files.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from monitoring_pipeline.stores.decision_store import DecisionStore
from monitoring_pipeline.stores.incident_store import IncidentStore
from monitoring_pipeline.stores.outbox_store import OutboxStore
from monitoring_pipeline.stores.tables import label_watermarks, webhook_messages


class StateDatabase(IncidentStore, OutboxStore, DecisionStore):
    """Incidents, outbox, retraining decisions and label watermarks behind one URL; call `migrate` once before use."""

    def watermark(self, model: str) -> str | None:
        """Return how far the labels of a model have been taken in; None when none were."""
        query = sa.select(label_watermarks.c.watermark).where(label_watermarks.c.model == model)
        with self.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def set_watermark(self, model: str, watermark: str, *, expected: str | None, now: datetime) -> bool:
        """Move the watermark from `expected` (None: there is none yet); False when it stands somewhere else."""

        def change(connection: sa.Connection) -> bool:
            row = {"model": model, "watermark": watermark, "updated_at": now}
            this = label_watermarks.c.model == model
            if expected is not None:
                unmoved = label_watermarks.update().where(this, label_watermarks.c.watermark == expected)
                return connection.execute(unmoved.values(row)).rowcount == 1
            if connection.execute(sa.select(label_watermarks.c.model).where(this)).first() is not None:
                return False
            connection.execute(label_watermarks.insert().values(row))
            return True

        return self.once(change)


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
