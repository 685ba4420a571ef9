"""Counts over the whole state database, for all models at once.

Add a count here when it is exported. Keep queries about single incidents and decisions out: those have stores.
"""

from datetime import datetime

import sqlalchemy as sa

from monitoring_pipeline.notify.alerts import Status
from monitoring_pipeline.publish.metrics import RecordedCounts
from monitoring_pipeline.stores.engine import Database
from monitoring_pipeline.stores.tables import incidents, retrain_decisions, retrain_episodes

FIRED = "fired"
"""The outcome of a decision that asked for a retraining; others have the reason why not."""

Counts = dict[tuple[str, str], int]


class DatabaseCounts:
    """Open incidents, decisions and episodes by model, as one state of the database each time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._decided: tuple[int | None, Counts, dict[str, datetime]] = None, {}, {}

    def read(self) -> RecordedCounts:
        is_open = incidents.c.status == Status.OPEN.value
        with self._database.reading() as connection:
            # One row an hour and model, and none ever changes: a year of them is counted only when there is a new one.
            newest = connection.execute(sa.select(sa.func.max(retrain_decisions.c.id))).scalar_one()
            if newest != self._decided[0]:
                self._decided = newest, *_decisions(connection)
            _, decisions, decided = self._decided
            return RecordedCounts(
                _count(connection, incidents.c.model, incidents.c.severity, is_open),
                decisions,
                decided,
                _count(connection, retrain_episodes.c.model, retrain_episodes.c.status),
            )


def _decisions(connection: sa.Connection) -> tuple[Counts, dict[str, datetime]]:
    model, hour = retrain_decisions.c.model, retrain_decisions.c.hour
    outcome = sa.case((retrain_decisions.c.fired, FIRED), else_=retrain_decisions.c.reason)
    newest = connection.execute(sa.select(model, sa.func.max(hour)).group_by(model).order_by(model))
    return _count(connection, model, outcome), {name: at for name, at in newest}  # noqa: C416 - typed as rows


def _count(
    connection: sa.Connection, model: sa.Column[str], by: sa.ColumnElement[str], *only: sa.ColumnElement[bool]
) -> Counts:
    query = sa.select(model, by, sa.func.count()).where(*only).group_by(model, by).order_by(model, by)
    return {(name, value): number for name, value, number in connection.execute(query)}
