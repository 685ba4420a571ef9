"""Tables of a database as the SQL engine describes them where they are (`describe.engines.sql`).

Add a dialect or a type of column here when the engine knows it. Keep reading of rows out: it belongs in `sql_log`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from monitoring_pipeline.describe.engines.sql_tables import LoggedTable
from monitoring_pipeline.describe.engines.sql_values import DIALECTS, Stored
from monitoring_pipeline.errors import StoreError

NAMED = {"postgresql": "postgres"}
"""Dialects that SQLAlchemy calls by another name."""

HELD: tuple[tuple[type[Any], Stored], ...] = (
    (sa.Enum, Stored.OTHER),  # not text: it cannot be compared with what is no value of it
    (sa.Boolean, Stored.BOOLEAN),
    (sa.Integer, Stored.INTEGER),
    (sa.Float, Stored.FLOAT),
    (sa.Numeric, Stored.DECIMAL),
    (sa.Date, Stored.DATE),
    (sa.String, Stored.TEXT),
)


def described(dialect: str, table: Any, types: Mapping[str, Any]) -> LoggedTable:
    """Return a `sql_log.SqlTable` whose columns, by the names they have in the log, are of these types."""
    known = NAMED.get(dialect, dialect)
    if known not in DIALECTS:
        raise StoreError(
            f"log in table {table.name!r}: engine sql speaks {', '.join(DIALECTS)}, not {known}. "
            "Choose engine: {kind: local}."
        )
    fields = {name: (table.columns.get(name, name), _stored(type_, known)) for name, type_ in types.items()}
    return LoggedTable(known, table.name, fields, table.schema, table.only)


def _stored(type_: Any, dialect: str) -> Stored:
    if isinstance(type_, sa.DateTime):
        zoned = type_.timezone or (dialect == "bigquery" and isinstance(type_, sa.TIMESTAMP))  # its others are DATETIME
        return Stored.ZONED if zoned else Stored.TIME
    return next((stored for kind, stored in HELD if isinstance(type_, kind)), Stored.OTHER)


def rows_of(connection: sa.Connection, statement: str) -> Sequence[Sequence[Any]]:
    """Return the rows of a statement that is sent as it is: a percent sign or a colon in it means nothing."""
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True}).fetchall()


def on_one_state(connection: sa.Connection) -> None:
    """Have all statements from now on see the same rows, where that has to be asked for."""
    if connection.dialect.name == "postgresql":
        connection.commit()
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("SET LOCAL jit = off")  # compiling many columns takes longer than counting them
