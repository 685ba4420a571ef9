"""Retraining decisions, episodes and rollbacks in the state database: every decision is kept, a fired one opens one.

An episode is a row from the moment it is asked for; promotions and rollbacks are the rows with these statuses, so that
charts can mark deployments. Add queries about retraining here. Keep clauses and cooldowns out: they belong in
judge.triggers.
"""

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from monitoring_pipeline.capture.windows import hour_of
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
    BLOCKED = "blocked"  # the data were not to be learnt from
    ROLLING_BACK = "rolling_back"  # on record before the alias moves; one that was cut short is finished by the next
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class Episode:
    """One retraining or rollback, from the decision that asked for it to what became of it.

    `outcome` names who asked and why (`by`, `why`) where that was a person.
    """

    id: str
    model: str
    hour: datetime
    version: str
    opened_at: datetime
    status: EpisodeStatus
    run_id: str | None = None
    finished_at: datetime | None = None
    outcome: dict[str, object] = field(default_factory=dict)

    @property
    def is_rollback(self) -> bool:
        return self.status in (EpisodeStatus.ROLLING_BACK, EpisodeStatus.ROLLED_BACK)

    @property
    def by_hand(self) -> bool:
        return "by" in self.outcome


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
                _insert(connection, _asked_by(stands))
            return stands

        return self.once(change)

    def open_episode(self, episode: Episode) -> bool:
        """Open an episode that no decision asked for; False when another one of the model is open."""

        def change(connection: sa.Connection) -> bool:
            if _open(connection, episode.model):
                return False
            _insert(connection, episode)
            return True

        return self.once(change)

    def record_episode(self, episode: Episode) -> None:
        """Put an episode on record that is over already; one of its id stays as it is."""

        def change(connection: sa.Connection) -> None:
            if _find(connection, episode.id) is None:
                _insert(connection, episode)

        self.once(change)

    def begin_rollback(self, episode: Episode) -> Episode:
        """Put on record what is about to be rolled back; returns what stands: that of this id, or one cut short.

        It counts as finished from the start, because it must not wait for a retraining that is open.
        """

        def change(connection: sa.Connection) -> Episode:
            if connection.dialect.name == "postgresql":
                lock = sa.func.pg_advisory_xact_lock(zlib.crc32(f"rollbacks of {episode.model}".encode()))
                connection.execute(sa.select(lock))
            if (known := _find(connection, episode.id)) is not None:
                return known
            if (cut_short := _unfinished(connection, episode.model)) is not None:
                return cut_short
            _insert(connection, episode)
            return episode

        return self.once(change)

    def unfinished_rollback(self, model: str) -> Episode | None:
        """Return the rollback of a model that was begun and not ended."""
        with self.reading() as connection:
            return _unfinished(connection, model)

    def end_rollback(self, episode_id: str, status: EpisodeStatus, reason: str, now: datetime) -> None:
        """Close a rollback as rolled back or failed, if it is not closed."""
        query = retrain_episodes.update().where(
            retrain_episodes.c.id == episode_id, retrain_episodes.c.status == EpisodeStatus.ROLLING_BACK.value
        )

        def change(connection: sa.Connection) -> None:
            known = _find(connection, episode_id)
            outcome = {**(known.outcome if known else {}), "reasons": [reason]}
            connection.execute(query.values(status=status.value, outcome=outcome, finished_at=now))

        self.once(change)

    def decisions(self, model: str, after: datetime | None = None) -> list[RetrainDecision]:
        """Return the decisions about a model, or those of hours after one, by hour."""
        query = sa.select(retrain_decisions).where(retrain_decisions.c.model == model)
        if after is not None:
            query = query.where(retrain_decisions.c.hour > after)
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

    def episode(self, episode_id: str) -> Episode | None:
        """Return one episode; None when there is none."""
        with self.reading() as connection:
            return _find(connection, episode_id)

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
        """Close the episode as promoted, rejected or failed; False when it is already over, and nothing changes.

        What its outcome said before stays where it is not said anew.
        """
        if status in (EpisodeStatus.REQUESTED, EpisodeStatus.RUNNING):
            raise ValueError(f"{episode_id}: {status.value} is not an end: use promoted, rejected, failed or blocked")
        return self._add(episode_id, outcome, status=status.value, finished_at=now)

    def add_outcome(self, episode_id: str, outcome: Mapping[str, object]) -> bool:
        """Add to what an open episode says of its outcome; False when it is over."""
        return self._add(episode_id, outcome)

    def _add(self, episode_id: str, outcome: Mapping[str, object], **values: object) -> bool:
        def change(connection: sa.Connection) -> bool:
            known = _find(connection, episode_id)
            said = {**(known.outcome if known else {}), **outcome}
            query = retrain_episodes.update().where(_is_open(episode_id)).values(outcome=said, **values)
            return connection.execute(query).rowcount == 1

        return self.once(change)


def _unfinished(connection: sa.Connection, model: str) -> Episode | None:
    query = sa.select(retrain_episodes).where(
        retrain_episodes.c.model == model, retrain_episodes.c.status == EpisodeStatus.ROLLING_BACK.value
    )
    row = connection.execute(query.limit(1)).mappings().first()
    return None if row is None else _episode(row)


def _is_open(episode_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(retrain_episodes.c.id == episode_id, retrain_episodes.c.finished_at.is_(None))


def _open(connection: sa.Connection, model: str) -> bool:
    unfinished = sa.select(retrain_episodes.c.id).where(
        retrain_episodes.c.model == model, retrain_episodes.c.finished_at.is_(None)
    )
    return connection.execute(unfinished.limit(1)).first() is not None


def _asked_by(decision: RetrainDecision) -> Episode:
    return Episode(
        id=decision.episode_id,
        model=decision.model,
        hour=decision.hour,
        version=decision.version,
        opened_at=decision.decided_at,
        status=EpisodeStatus.REQUESTED,
    )


def asked_by_hand(
    episode_id: str, model: str, version: str, status: EpisodeStatus, *, now: datetime, **said: object
) -> Episode:
    """Return the record of what a person asks for now; `said` is who, why and what else there is to say."""
    finished = None if status is EpisodeStatus.REQUESTED else now
    return Episode(episode_id, model, hour_of(now), version, now, status, finished_at=finished, outcome=said)


def _insert(connection: sa.Connection, episode: Episode) -> None:
    connection.execute(retrain_episodes.insert().values({**asdict(episode), "status": episode.status.value}))


def _find(connection: sa.Connection, episode_id: str) -> Episode | None:
    query = sa.select(retrain_episodes).where(retrain_episodes.c.id == episode_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _episode(row)


def _decision(row: sa.RowMapping) -> RetrainDecision:
    values = {key: value for key, value in row.items() if key != "id"}
    clauses = tuple(ClauseOutcome(**{**clause, "state": RuleState(clause["state"])}) for clause in row["clauses"])
    reason = None if row["reason"] is None else NoRetrain(row["reason"])
    return RetrainDecision(**{**values, "clauses": clauses, "reason": reason})


def _episode(row: sa.RowMapping) -> Episode:
    return Episode(**{**row, "status": EpisodeStatus(row["status"])})
