"""The event log of an instance without a server: SQLite, written in batches over one connection.

Dagster's own SQLite event log opens a connection for every statement and commits about eight times a materialisation,
which makes a backfill of hours wait for its bookkeeping. Here a batch of events is one transaction. Add what the
embedded instance stores differently here. PostgreSQL needs none of it.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage

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
