"""Counts over the whole state database, for all models at once.

Add a count here when it is exported. Keep queries about single incidents and decisions out: those have stores.
"""

import sqlalchemy as sa

from monitoring_pipeline.notify.alerts import Status
from monitoring_pipeline.publish.metrics import RecordedCounts
from monitoring_pipeline.stores.engine import Database
from monitoring_pipeline.stores.tables import incidents, retrain_decisions, retrain_episodes

FIRED = "fired"
"""The outcome of a decision that asked for a retraining; others have the reason why not."""


def recorded_counts(database: Database) -> RecordedCounts:
    """Return open incidents, decisions and episodes by model, as one state of the database."""
    outcome = sa.case((retrain_decisions.c.fired, FIRED), else_=retrain_decisions.c.reason)
    is_open = incidents.c.status == Status.OPEN.value
    with database.reading() as connection:

        def count(
            model: sa.Column[str], by: sa.ColumnElement[str], *only: sa.ColumnElement[bool]
        ) -> dict[tuple[str, str], int]:
            query = sa.select(model, by, sa.func.count()).where(*only).group_by(model, by).order_by(model, by)
            return {(name, value): number for name, value, number in connection.execute(query)}

        newest = sa.select(retrain_decisions.c.model, sa.func.max(retrain_decisions.c.hour))
        return RecordedCounts(
            incidents=count(incidents.c.model, incidents.c.severity, is_open),
            decisions=count(retrain_decisions.c.model, outcome),
            decided={name: hour for name, hour in connection.execute(newest.group_by(retrain_decisions.c.model))},  # noqa: C416 - rows are no pairs to a type checker
            episodes=count(retrain_episodes.c.model, retrain_episodes.c.status),
        )
