"""The tables that logs in PostgreSQL are kept in, made when rows first need them.

    <schema>.predictions_churn          one table per model and log, a partition per day or hour, typed columns
    <schema>.parts                      what is stored: the digest of every batch's rows of every hour
    <schema>.row_types                  the Arrow types that rows came in, and the columns they are kept in
    <schema>.arrivals                   the journal of labels

A new column is added when it first comes. A column whose type changes gets another one beside it, `tenure (text)`, so
that nothing stored is written again. Add tables here. Keep reading and writing of rows out: they belong in
`postgres_log`.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import chain, count
from typing import Any

import psycopg2
import sqlalchemy as sa
from psycopg2 import sql

from monitoring_pipeline.capture.labels import hours_in
from monitoring_pipeline.capture.windows import EPOCH
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.files import digest
from monitoring_pipeline.stores.postgres_wire import Wire
from monitoring_pipeline.stores.roles import MONITOR, WRITER

LONGEST = 63
"""Bytes of a name; PostgreSQL cuts off the rest without a word."""

ROW_TYPE = "row_type"
"""The column that says what types a row came in."""

FUNCTIONS = ("make_relation", "make_partition", "make_column")

_SESSION = """
SET TRANSACTION ISOLATION LEVEL {level};
SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = hex
"""

_BASE = """
CREATE TABLE IF NOT EXISTS {row_types} (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, relation text NOT NULL, digest text NOT NULL,
    arrow bytea NOT NULL, columns text[] NOT NULL, types text[] NOT NULL, UNIQUE (relation, digest));
CREATE TABLE IF NOT EXISTS {parts} (
    relation text NOT NULL, hour timestamptz NOT NULL, digest text NOT NULL,
    row_type integer REFERENCES {row_types}, lost bytea, PRIMARY KEY (relation, hour, digest));
CREATE TABLE IF NOT EXISTS {arrivals} (
    model text NOT NULL, sequence bigint NOT NULL, rows bigint NOT NULL, hours timestamptz[] NOT NULL,
    PRIMARY KEY (model, sequence))
"""

# Run as the owner of the schema whoever calls them: a writer can add to a log what it lacks, and take nothing away.
_FUNCTIONS = """
CREATE OR REPLACE FUNCTION {make_relation}(relation text, time_column text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $made$
BEGIN
    IF relation !~ '^(predictions|labels)_' THEN RAISE 'not the table of a log: %', relation; END IF;
    EXECUTE format('CREATE TABLE IF NOT EXISTS %I.%I (row_type integer NOT NULL, %I timestamptz NOT NULL)
        PARTITION BY RANGE (%3$I)', {schema}, relation, time_column);
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I.%I USING brin (%I) WITH (autosummarize = on)',
        relation || '_time', {schema}, relation, time_column);
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = {writer}) THEN
        EXECUTE format('GRANT INSERT ON %I.%I TO %I', {schema}, relation, {writer});
        EXECUTE format('GRANT SELECT ON %I.%I TO %I', {schema}, relation, {monitor});
    END IF;
END $made$;
CREATE OR REPLACE FUNCTION {make_partition}(relation text, name text, first timestamptz, past timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $made$
BEGIN
    IF relation !~ '^(predictions|labels)_' OR left(name, length(relation) + 1) <> relation || '_' THEN
        RAISE 'not a partition of a log: %', name;
    END IF;
    -- Attached, not created as a partition: that would wait for every reader, and let every other one wait for it.
    EXECUTE format('CREATE TABLE IF NOT EXISTS %1$I.%2$I (LIKE %1$I.%3$I)', {schema}, name, relation);
    EXECUTE format('ALTER TABLE %1$I.%2$I ATTACH PARTITION %1$I.%3$I FOR VALUES FROM (%4$L) TO (%5$L)',
        {schema}, relation, name, first, past);
END $made$;
CREATE OR REPLACE FUNCTION {make_column}(relation text, name text, type text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $made$
BEGIN
    IF relation !~ '^(predictions|labels)_' THEN RAISE 'not the table of a log: %', relation; END IF;
    EXECUTE format('ALTER TABLE %I.%I ADD COLUMN %I %s', {schema}, relation, name, type::regtype);
END $made$;
REVOKE ALL ON FUNCTION {make_relation}, {make_partition}, {make_column} FROM PUBLIC
"""

_GRANTS = """
GRANT USAGE ON SCHEMA {own} TO {writer}, {monitor};
GRANT EXECUTE ON FUNCTION {make_relation}, {make_partition}, {make_column} TO {writer};
GRANT INSERT ON {row_types}, {parts}, {arrivals} TO {writer};
GRANT SELECT ON {row_types}, {arrivals} TO {writer};
GRANT SELECT ON {row_types}, {parts}, {arrivals} TO {monitor}
"""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one schema; `length` is that of a partition."""

    url: str
    schema: str
    length: timedelta

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Give a connection; what goes wrong on it becomes a StoreError that shows no password."""
        try:
            address = sa.make_url(self.url)
            if address.get_backend_name() != "postgresql":
                raise ValueError(address.get_backend_name())
            options = address.translate_connect_args(username="user", database="dbname") | dict(address.query)
        except (sa.exc.ArgumentError, ValueError):  # neither is quoted: it would show the password
            raise StoreError(
                "log in PostgreSQL: not the URL of a PostgreSQL database. Write "
                "postgresql://user:password@host/database, with special characters percent-encoded."
            ) from None
        try:
            with closing(psycopg2.connect(**{"connect_timeout": 10, **options, "client_encoding": "utf8"})) as opened:
                yield opened
        except psycopg2.Error as error:
            why = str(error).strip().partition("\n")[0]
            raise StoreError(
                f"log in PostgreSQL, schema {self.schema!r}: {why}. Check that the database can be reached, and that "
                "its user may create tables in this schema."
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Give a cursor that sees one state of the database."""
        with self.connected() as connection, transaction(connection, "REPEATABLE READ") as cursor:
            yield cursor

    def named(self, name: str) -> sql.Identifier:
        """Return the quoted name of a table of the schema."""
        return sql.Identifier(self.schema, name)

    def run(self, cursor: Any, statement: str, values: Sequence[object] = (), **names: sql.Composable) -> None:
        """Run a statement that has the names of tables and columns in braces."""
        own = {name: self.named(name) for name in ("arrivals", "parts", "row_types")}
        cursor.execute(sql.SQL(statement).format(**own, **names).as_string(cursor), values or None)

    def found(self, cursor: Any, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none before anything was stored."""
        if not self._has(cursor, ["parts"]):
            return []
        self.run(cursor, statement, values)
        return list(cursor.fetchall())

    def prepare(self, connection: Any, relation: str, time: str, wire: Wire) -> tuple[int, list[str]]:
        """Return the number of the type of some rows and the columns they go to, after making what is missing."""
        hours = hours_in(wire.columns[wire.schema.names.index(time)])
        starts = sorted({EPOCH + (hour - EPOCH) // self.length * self.length for hour in hours})
        arrow = wire.schema.serialize().to_pybytes()
        identity = digest(arrow + repr(wire.types).encode())
        with transaction(connection) as cursor:
            known = self._known(cursor, relation, identity)
            if known is not None and self._has(cursor, [self._partition(relation, start) for start in starts]):
                return known
        with transaction(connection) as cursor:
            # One at a time: of two who create a table at once one fails, even if it may exist already.
            lock(cursor, f"{self.schema} tables")
            self._make_tables(cursor, relation, time, starts)
            columns = self._make_columns(cursor, relation, wire)
            statement = """INSERT INTO {row_types} (relation, digest, arrow, columns, types)
                VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"""
            self.run(cursor, statement, [relation, identity, arrow, columns, list(wire.types)])
            known = self._known(cursor, relation, identity)
            assert known is not None
            return known

    def _known(self, cursor: Any, relation: str, identity: str) -> tuple[int, list[str]] | None:
        statement = "SELECT id, columns FROM {row_types} WHERE relation = %s AND digest = %s"
        found = self.found(cursor, statement, [relation, identity])
        return (found[0][0], found[0][1]) if found else None

    def _has(self, cursor: Any, names: Sequence[str]) -> bool:
        quoted = [self.named(name).as_string(cursor) for name in names]
        cursor.execute("SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s::text[]) AS name", [quoted])
        return cursor.fetchone()[0] is not False

    def _partition(self, relation: str, start: datetime) -> str:
        return f"{relation}_{start:{'%Y%m%d' if self.length >= timedelta(days=1) else '%Y%m%dT%H'}}"

    def make(self) -> None:
        """Make what every log of the schema needs, and let the users of deploy/postgres/roles.sql do their work there.

        A user who may only write cannot do this; without such users it is done when the first row comes.
        """
        with self.connected() as connection, transaction(connection) as cursor:
            lock(cursor, f"{self.schema} tables")
            self._make_base(cursor)

    def _make_base(self, cursor: Any) -> None:
        cursor.execute("SELECT to_regnamespace(quote_ident(%s)) IS NULL", [self.schema])
        if cursor.fetchone()[0]:  # even where it is there, only some users may ask for it to be created
            self.run(cursor, "CREATE SCHEMA {schema}", schema=sql.Identifier(self.schema))
        functions = {name: self.named(name) for name in FUNCTIONS}
        users = {"writer": WRITER, "monitor": MONITOR}
        self.run(cursor, _BASE)
        literals = {name: sql.Literal(user) for name, user in users.items()}
        self.run(cursor, _FUNCTIONS, **functions, **literals, schema=sql.Literal(self.schema))
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = ANY(%s)", [[*users.values()]])
        if cursor.fetchone()[0] == len(users):
            named = {name: sql.Identifier(user) for name, user in users.items()}
            self.run(cursor, _GRANTS, **functions, **named, own=sql.Identifier(self.schema))

    def _make_tables(self, cursor: Any, relation: str, time: str, starts: Sequence[datetime]) -> None:
        cursor.execute("SELECT to_regproc(%s) IS NULL", [self.named(FUNCTIONS[0]).as_string(cursor)])
        if cursor.fetchone()[0]:
            self._make_base(cursor)
        self._call(cursor, "make_relation", relation, short(time))
        for start in starts:
            if not self._has(cursor, [name := self._partition(relation, start)]):
                self._call(cursor, "make_partition", relation, name, start, start + self.length)

    def _call(self, cursor: Any, function: str, *values: object) -> None:
        places = ", ".join(["%s"] * len(values))
        self.run(cursor, f"SELECT {{function}}({places})", values, function=self.named(function))

    def _make_columns(self, cursor: Any, relation: str, wire: Wire) -> list[str]:
        """Return the column of the table for each column of some rows, "" for one without values."""
        cursor.execute(
            """SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
            WHERE attrelid = %s::regclass AND NOT attisdropped""",
            [self.named(relation).as_string(cursor)],
        )
        types = dict(cursor.fetchall())  # the system's own columns, such as xmin, among them
        columns: list[str] = []
        for name, type_ in zip(wire.schema.names, wire.types, strict=True):
            beside = f"{name or 'unnamed'} ({type_})"
            tried = chain([short(name)] * bool(name), [short(beside)], (short(f"{beside} {n}") for n in count(2)))
            column = next(each for each in tried if types.get(each, type_) == type_ and each not in columns)
            columns.append(column if type_ else "")
            if type_ and column not in types:
                types[column] = type_
                self._call(cursor, "make_column", relation, column, type_)
        return columns


@contextmanager
def transaction(connection: Any, level: str = "READ COMMITTED") -> Iterator[Any]:
    """Give a cursor in a transaction whose times, numbers and bytes are written in one way, whatever the server's."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_SESSION.format(level=level))
        yield cursor


def lock(cursor: Any, name: str) -> None:
    """Wait for everybody else who holds the lock of this name, and hold it to the end of the transaction."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def table_name(log: str, model: str) -> str:
    """Return a name for the table of a model that one can type, and that no other model has."""
    plain = re.sub(r"[^a-z0-9_]+", "_", model.lower())[:30]
    if plain != model or re.search(r"_[0-9a-f]{8}$", model):
        plain = f"{plain}_{sha256(model.encode()).hexdigest()[:8]}"
    return f"{log}_{plain}"


def short(name: str) -> str:
    """Return the name of a column, its end replaced by a digest where PostgreSQL would cut it off."""
    encoded = name.encode()
    if len(encoded) <= LONGEST:
        return name
    return f"{encoded[: LONGEST - 9].decode(errors='ignore')}~{sha256(encoded).hexdigest()[:8]}"
