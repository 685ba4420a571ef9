"""What an instance without a server keeps in SQLite: events, in batches over one connection, and runs and ticks.

Dagster's own SQLite event log opens a connection for every statement and commits about eight times a materialisation,
which makes a backfill of hours wait for its bookkeeping. Here a batch of events is one transaction. The other two
differ in that a process looks once, and not at every tick of a sensor, whether a file has to be made or migrated. Add
what the embedded instance stores differently here. PostgreSQL needs none of it.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any, Self

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string

BUSY_TIMEOUT_S = 60


class BatchedSqliteEventLog(ConsolidatedSqliteEventLogStorage):
    """One SQLite file for all runs. `DAGSTER_EVENT_BATCH_SIZE` says how many events make a batch."""

    @cached_property
    def _shared(self) -> tuple[sa.Engine, threading.local]:
        engine = sa.create_engine(self._conn_string, connect_args={"timeout": BUSY_TIMEOUT_S})

        @sa.event.listens_for(engine, "connect")
        def relax(connection: object, _: object) -> None:
            # With a write-ahead log this can lose the last transactions in a power cut, never corrupt the file.
            connection.execute("PRAGMA synchronous = NORMAL")  # type: ignore[attr-defined]  # a DBAPI connection

        return engine, threading.local()

    @contextmanager
    def _connect(self) -> Iterator[sa.Connection]:
        engine, local = self._shared
        if (batch := getattr(local, "connection", None)) is not None:
            yield batch
            return
        with engine.begin() as connection:
            yield connection

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events in one transaction."""
        _, local = self._shared
        with self._connect() as connection:
            local.connection = connection
            try:
                for event in events:
                    self.store_event(event)
            finally:
                local.connection = None

    def dispose(self) -> None:
        """Close the connection."""
        if "_shared" in self.__dict__:
            self._shared[0].dispose()


class SqliteRuns(SqliteRunStorage):
    """The runs."""

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        return cls(_made(SqliteRunStorage, config_value["base_dir"], "runs"), inst_data)


class SqliteTicks(SqliteScheduleStorage):
    """The ticks of sensors and schedules."""

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        return cls(_made(SqliteScheduleStorage, config_value["base_dir"], "schedules"), inst_data)


@cache
def _made(storage: Any, folder: str, name: str) -> str:
    """Make or migrate a file as Dagster does; returns its address."""
    storage.from_local(folder)
    return create_db_conn_string(folder, name)
