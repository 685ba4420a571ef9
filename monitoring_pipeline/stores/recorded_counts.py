"""What the state database knows of all models at once: counts, and moments that charts mark.

Add a count here when it is exported. Keep queries about single incidents and decisions out: those have stores.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from monitoring_pipeline.notify.alerts import Status
from monitoring_pipeline.publish.metrics import RecordedCounts
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.stores.engine import Database
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline.stores.tables import incidents, outbox, retrain_decisions, retrain_episodes

FIRED = "fired"
"""The outcome of a decision that asked for a retraining; others have the reason why not."""

MOST_DEPLOYMENTS = 20
"""Newest deployments of a model that are told."""

DEPLOYED_BY = {EpisodeStatus.PROMOTED.value: "promotion", EpisodeStatus.ROLLED_BACK.value: "rollback"}

Counts = dict[tuple[str, str], int]
Deployed = dict[tuple[str, str, str], datetime]


class DatabaseCounts:
    """Open incidents, decisions and episodes by model, as one state of the database each time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._decided: tuple[int | None, Counts, dict[str, datetime]] = None, {}, {}
        self._deployed: tuple[Sequence[Any], Deployed] = (), {}

    def read(self) -> RecordedCounts:
        table, opened = retrain_episodes.c, incidents.c
        is_rollback = table.outcome["to"].as_string().is_not(None)
        with self._database.reading() as connection:
            # One row an hour and model, and none ever changes: a year of them is counted only when there is a new one.
            newest = connection.execute(sa.select(sa.func.max(retrain_decisions.c.id))).scalar_one()
            if newest != self._decided[0]:
                self._decided = newest, *_decisions(connection)
            _, decisions, decided = self._decided
            grouped = sa.select(table.model, table.status, is_rollback, sa.func.count(), sa.func.max(table.finished_at))
            by = table.model, table.status, is_rollback
            episodes = connection.execute(grouped.group_by(*by).order_by(*by)).all()
            if episodes != self._deployed[0]:
                self._deployed = episodes, _deployments(connection)
            columns = opened.model, opened.severity, opened.id, opened.opened_at
            found = connection.execute(sa.select(*columns).where(opened.status == Status.OPEN.value).order_by(*columns))
            known = {(model, severity, identity): at for model, severity, identity, at in found}
            status = outbox.c.status
            unsent = sa.select(status, sa.func.count()).where(status.in_((Posted.PENDING, Posted.DEAD)))
            messages = {name: number for name, number in connection.execute(unsent.group_by(status))}  # noqa: C416
        counted: Counter[tuple[str, str]] = Counter()
        for model, status, _, number, _ in episodes:
            counted[model, status] += number
        finished = {(model, status): at for model, status, rollback, _, at in episodes if at and not rollback}
        return RecordedCounts(known, decisions, decided, counted, finished, self._deployed[1], messages)


def _deployments(connection: sa.Connection) -> Deployed:
    table = retrain_episodes.c
    version = sa.func.coalesce(table.outcome["to"].as_string(), table.outcome["challenger"].as_string())
    query = sa.select(table.model, version, table.status, table.finished_at).where(table.status.in_(DEPLOYED_BY))
    found: Deployed = {}
    told: Counter[str] = Counter()
    for model, to, status, at in connection.execute(query.order_by(table.finished_at.desc())):
        told[model] += 1
        if told[model] <= MOST_DEPLOYMENTS:
            found.setdefault((model, to, DEPLOYED_BY[status]), at)
    return found


def _decisions(connection: sa.Connection) -> tuple[Counts, dict[str, datetime]]:
    model, hour = retrain_decisions.c.model, retrain_decisions.c.hour
    outcome = sa.case((retrain_decisions.c.fired, FIRED), else_=retrain_decisions.c.reason)
    counted = connection.execute(
        sa.select(model, outcome, sa.func.count()).group_by(model, outcome).order_by(model, outcome)
    )
    newest = connection.execute(sa.select(model, sa.func.max(hour)).group_by(model).order_by(model))
    return {(name, value): number for name, value, number in counted}, {name: at for name, at in newest}  # noqa: C416 - typed as rows
