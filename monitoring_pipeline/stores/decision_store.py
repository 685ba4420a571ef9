"""Retraining decisions and episodes in the state database: every decision is kept, a fired one opens one episode.

Add queries about retraining here. Keep clauses and cooldowns out: they belong in judge.triggers.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.judge.triggers import ClauseOutcome, NoRetrain, RetrainDecision
from monitoring_pipeline.stores.engine import Database
from monitoring_pipeline.stores.tables import retrain_decisions, retrain_episodes


class EpisodeStatus(StrEnum):
    """Where a retraining stands."""

    REQUESTED = "requested"
    RUNNING = "running"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Episode:
    """One retraining, from the decision that asked for it to what became of it."""

    id: str
    model: str
    hour: datetime
    version: str
    opened_at: datetime
    status: EpisodeStatus
    run_id: str | None
    finished_at: datetime | None
    outcome: dict[str, object]


class DecisionStore(Database):
    """Decisions and episodes."""

    def record_decision(self, decision: RetrainDecision) -> RetrainDecision:
        """Record the decision of an hour and, if it fired, its episode; returns the decision that stands.

        The first decision of an hour stands. One that fired while another process opened an episode of the same model
        is recorded as held back by it.
        """

        def change(connection: sa.Connection) -> RetrainDecision:
            this_hour = (retrain_decisions.c.model == decision.model, retrain_decisions.c.hour == decision.hour)
            row = connection.execute(sa.select(retrain_decisions).where(*this_hour)).mappings().one_or_none()
            if row is not None:
                return _decision(row)
            stands = decision
            if decision.fired and _open(connection, decision.model):
                explanation = f"{decision.explanation}; another retraining opened meanwhile"
                stands = replace(decision, fired=False, reason=NoRetrain.EPISODE_OPEN, explanation=explanation)
            connection.execute(
                retrain_decisions.insert().values({**asdict(stands), "clauses": [asdict(c) for c in stands.clauses]})
            )
            if stands.fired:
                connection.execute(retrain_episodes.insert().values(_new_episode(stands)))
            return stands

        return self.once(change)

    def decisions(self, model: str) -> list[RetrainDecision]:
        """Return every decision about a model, by hour."""
        query = sa.select(retrain_decisions).where(retrain_decisions.c.model == model)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(retrain_decisions.c.hour)).mappings().all()
        return [_decision(row) for row in rows]

    def last_decision(self, model: str) -> RetrainDecision | None:
        """Return the decision of the newest hour decided."""
        query = sa.select(retrain_decisions).where(retrain_decisions.c.model == model)
        with self.reading() as connection:
            newest = query.order_by(retrain_decisions.c.hour.desc()).limit(1)
            row = connection.execute(newest).mappings().one_or_none()
        return None if row is None else _decision(row)

    def episodes(self, model: str | None = None) -> list[Episode]:
        """Return every episode, by the hour that asked for it."""
        query = sa.select(retrain_episodes).order_by(retrain_episodes.c.hour, retrain_episodes.c.id)
        if model is not None:
            query = query.where(retrain_episodes.c.model == model)
        with self.reading() as connection:
            return [_episode(row) for row in connection.execute(query).mappings()]

    def open_episodes(self, model: str | None = None) -> list[Episode]:
        """Return the episodes that are requested or running."""
        return [episode for episode in self.episodes(model) if episode.finished_at is None]

    def start_episode(self, episode_id: str, run_id: str) -> bool:
        """Give the episode to a run; False when another run has it, or it is over. The same run may ask again."""
        free = sa.or_(retrain_episodes.c.run_id.is_(None), retrain_episodes.c.run_id == run_id)
        query = retrain_episodes.update().where(_is_open(episode_id), free)
        with self.writing() as connection:
            started = query.values(status=EpisodeStatus.RUNNING.value, run_id=run_id)
            return connection.execute(started).rowcount == 1

    def finish_episode(
        self, episode_id: str, status: EpisodeStatus, outcome: Mapping[str, object], now: datetime
    ) -> bool:
        """Close the episode as promoted, rejected or failed; False when it is already over, and nothing changes."""
        if status in (EpisodeStatus.REQUESTED, EpisodeStatus.RUNNING):
            raise ValueError(f"{episode_id}: {status.value} is not an end: use promoted, rejected or failed")
        query = retrain_episodes.update().where(_is_open(episode_id))
        with self.writing() as connection:
            ended = query.values(status=status.value, outcome=dict(outcome), finished_at=now)
            return connection.execute(ended).rowcount == 1


def _is_open(episode_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(retrain_episodes.c.id == episode_id, retrain_episodes.c.finished_at.is_(None))


def _open(connection: sa.Connection, model: str) -> bool:
    unfinished = sa.select(retrain_episodes.c.id).where(
        retrain_episodes.c.model == model, retrain_episodes.c.finished_at.is_(None)
    )
    return connection.execute(unfinished.limit(1)).first() is not None


def _new_episode(decision: RetrainDecision) -> dict[str, object]:
    return {
        "id": decision.episode_id,
        "model": decision.model,
        "hour": decision.hour,
        "version": decision.version,
        "opened_at": decision.decided_at,
        "status": EpisodeStatus.REQUESTED.value,
        "outcome": {},
    }


def _decision(row: sa.RowMapping) -> RetrainDecision:
    values = {key: value for key, value in row.items() if key != "id"}
    clauses = tuple(ClauseOutcome(**{**clause, "state": RuleState(clause["state"])}) for clause in row["clauses"])
    reason = None if row["reason"] is None else NoRetrain(row["reason"])
    return RetrainDecision(**{**values, "clauses": clauses, "reason": reason})


def _episode(row: sa.RowMapping) -> Episode:
    return Episode(**{**row, "status": EpisodeStatus(row["status"])})
