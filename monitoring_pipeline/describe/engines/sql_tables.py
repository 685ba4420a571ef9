"""A table of a warehouse, and the parts of statements that read from it.

Add here what every statement of the SQL engine needs. Keep what is counted out: it belongs in `sql_counts`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlglot import exp

from monitoring_pipeline.capture.predictions import UNVERSIONED, LogColumns
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.engines.sql_values import Stored, hour_number, micros, moment, name_of, quoted, text
from monitoring_pipeline.errors import TableError

Run = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a statement and returns its rows."""

Part = tuple[str, exp.Query]
"""A named query that later ones of the statement read from."""


@dataclass(frozen=True, slots=True)
class LoggedTable:
    """A table or view. `fields` are its columns by the names they have in the log: their own names and what they hold.

    `only` are values that the rows of the log have in some columns.
    """

    dialect: str
    name: str
    fields: Mapping[str, tuple[str, Stored]]
    schema: str | None = None
    only: Mapping[str, str | int | bool] = field(default_factory=dict)

    def select(self, *columns: exp.Expr) -> exp.Select:
        """Return a query of the rows that belong to the log."""
        wanted = [exp.EQ(this=quoted(name), expression=exp.convert(value)) for name, value in self.only.items()]
        return exp.select(*columns).from_(exp.table_(self.name, db=self.schema, quoted=True)).where(*wanted)

    def own(self, name: str) -> exp.Column:
        return quoted(self.fields[name][0])

    def stored(self, name: str) -> Stored:
        return self.fields[name][1]

    def micros(self, name: str) -> exp.Expr:
        """Return a column of times as microseconds since 1970."""
        return micros(self.own(name), self.stored(name), self.dialect)


def unreadable(table: LoggedTable, name: str, needed: str) -> TableError:
    """Return the error of a column that holds something else than is needed."""
    return TableError(
        f"log in table {table.name!r}, column {name!r}: it holds {table.stored(name)}, engine sql needs {needed}. "
        "Name a view in which it is one, or choose engine: {kind: local}."
    )


def logged_rows(table: LoggedTable, log: LogColumns, start: datetime, end: datetime, *columns: exp.Expr) -> exp.Select:
    """Return a query of the rows of [start, end): hour, moment, version and some columns."""
    version = text(UNVERSIONED)
    if log.version is not None:
        name = name_of(table.own(log.version), table.stored(log.version), ColumnKind.CATEGORICAL)
        version = exp.Coalesce(this=name, expressions=[version])
    time, stored, at = table.own(log.predicted_at), table.stored(log.predicted_at), table.micros(log.predicted_at)
    found = table.select(
        hour_number(at).as_("hour", quoted=True),
        at.as_("moment", quoted=True),
        version.as_("version", quoted=True),
        *columns,
    )
    return found.where(time >= moment(start, stored), time < moment(end, stored))


def rows_of(part: str, *columns: exp.Expr) -> exp.Select:
    """Return a query of columns of a part of the statement."""
    return exp.select(*columns, copy=False).from_(exp.table_(part, quoted=True), copy=False)


def row_count() -> exp.Expr:
    """Return the number of rows."""
    return exp.Count(this=exp.Star())


def by_bytes(value: exp.Expr, dialect: str) -> exp.Expr:
    """Return text that sorts by its bytes, as it does everywhere but in PostgreSQL."""
    in_c = exp.Collate(this=value, expression=exp.to_identifier("C", quoted=True))
    return in_c if dialect == "postgres" else value


def statement(parts: Sequence[Part], query: exp.Query, dialect: str) -> str:
    """Return a query, with the parts it reads from, as text."""
    for name, part in parts:
        # DuckDB plans anew what is read more than once, unless it is told to keep it.
        kept = True if name == "binned" and dialect == "duckdb" else None
        query = query.with_(exp.to_identifier(name, quoted=True), as_=part, materialized=kept, copy=False)
    return query.sql(dialect=dialect, copy=False)
