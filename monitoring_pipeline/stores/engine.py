"""The connection to the state database: transactions, the differences between SQLite and PostgreSQL, migration.

Add what every store of the database needs here. Keep tables out (tables.py) and queries too: each store has its own.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.notify.alerts import json_ready
from monitoring_pipeline.stores.roles import grant_on_state

Result = TypeVar("Result")

BUSY_TIMEOUT_S = 30
"""How long a writer waits for another one on SQLite; ours hold the file for milliseconds."""

ATTEMPTS = 5
"""How often a transaction is repeated that lost a race for a unique row: the second time it finds the winner's."""

_MIGRATION_LOCK = 7_403_218_551  # any number nobody else in the same PostgreSQL database uses


class Database:
    """An engine whose transactions are either readers or writers; the stores of the state database inherit it."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(
            url,
            pool_pre_ping=not url.startswith("sqlite"),
            json_serializer=lambda value: json.dumps(json_ready(value)),
            hide_parameters=True,  # an error may be logged, and rows hold what people are
        )
        self._writing = self._engine.execution_options(writes=True)
        self._name = self._engine.url.render_as_string(hide_password=True)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        if self._is_sqlite:
            sa.event.listen(self._engine, "connect", _configure_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a transaction that sees one state of the database."""
        with self._named(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give a transaction that may write; on SQLite it is the only one from its first statement on."""
        with self._named(), self._writing.begin() as connection:
            yield connection

    def once(self, change: Callable[[sa.Connection], Result]) -> Result:
        """Run `change` in a transaction; repeat it when another process wrote the same unique row first."""
        for _ in range(ATTEMPTS - 1):
            with suppress(IntegrityError), self.writing() as connection:
                return change(connection)
        with self.writing() as connection:
            return change(connection)

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables to the newest revision, or up to one; any number of processes may do so at the same time."""
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        if self._is_sqlite and self._engine.url.database not in (None, "", ":memory:"):
            self._prepare_sqlite_file(Path(self._engine.url.database).absolute())
        with self.writing() as connection:
            if not self._is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, revision)
            except CommandError as error:
                raise StoreError(
                    f"state database {self._name}: {error}. A newer version of this program has migrated it: upgrade "
                    "this one."
                ) from error
            grant_on_state(connection)

    def revision(self) -> str | None:
        """Return the revision the tables are at; None before the first migration."""
        from alembic.runtime.migration import MigrationContext

        with self.reading() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def _prepare_sqlite_file(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            # The switch to WAL does not wait for other connections as all else does: it has to be tried again.
            try:
                with closing(sqlite3.connect(path)) as connection:
                    connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise StoreError(f"state database {self._name}: {error}, while switching to WAL") from error
                time.sleep(0.05)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, ProgrammingError) as error:
            problem = f"state database {self._name}: {error.orig}"
            raise StoreError(f"{problem}. Check that it is reachable and that its tables are migrated.") from error


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # or Python's driver opens transactions of its own kind
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later fails at once when another one wrote in between.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
