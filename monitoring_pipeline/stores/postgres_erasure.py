"""What a log in PostgreSQL holds about one subject, found and removed in one transaction.

Add a table of the log here when it has rows of predictions. Keep files out: they belong in `erasure`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from psycopg2 import sql

from monitoring_pipeline.capture.subjects import Subject
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.postgres_log import ipc_bytes
from monitoring_pipeline.stores.postgres_tables import Tables, short, table_name, transaction


@dataclass(frozen=True, slots=True)
class PostgresErasure:
    """The rows of one log (`predictions` or `labels`) of a model; `time` is its column of times."""

    tables: Tables
    log: str
    model: str
    time: str

    @property
    def relation(self) -> str:
        return table_name(self.log, self.model)

    def known_of(self, subject: Subject) -> tuple[Subject, set[str]]:
        """Return the subject with the ids of its predictions, and the days (2013-04-18) on which it has rows."""
        ids, days = set[str](), set[str]()
        with self.tables.reading() as cursor:
            kept, where = self._kept(cursor), self._where(cursor, subject)
            for key in {column for name in subject.keys for column in kept.get(name, ())} if where else ():
                assert where is not None
                statement = "SELECT DISTINCT {key}::text, to_char({time}, 'YYYY-MM-DD') FROM {relation} WHERE {where}"
                self.tables.run(cursor, statement, key=sql.Identifier(key), where=where, **self._names())
                for id_, day in cursor.fetchall():
                    ids |= {id_} if id_ is not None else set()
                    days.add(day)
            for _, _, rows in self._lost(cursor):
                ids |= subject.ids_in(rows)
        return subject.with_ids(ids), days

    def erase(self, subject: Subject, *, dry: bool) -> int:
        """Remove the rows about a subject; return how many there are."""
        with self.tables.connected() as connection, transaction(connection) as cursor:
            where, count = self._where(cursor, subject), 0
            if where is not None:
                statement = (
                    "SELECT count(*) FROM {relation} WHERE {where}" if dry else "DELETE FROM {relation} WHERE {where}"
                )
                self.tables.run(cursor, statement, where=where, relation=self.tables.named(self.relation))
                count = cursor.fetchone()[0] if dry else cursor.rowcount
            for hour, digest, rows in self._lost(cursor):
                about = subject.rows_of(rows)
                count += int(about.sum())
                if about.any() and not dry:
                    left = rows.filter(pa.array(~about))
                    statement = "UPDATE {parts} SET lost = %s WHERE relation = %s AND hour = %s AND digest = %s"
                    values = [ipc_bytes(left) if left.num_rows else None, self.relation, hour, digest]
                    self.tables.run(cursor, statement, values)
        return int(count)

    def _names(self) -> dict[str, sql.Composable]:
        return {"relation": self.tables.named(self.relation), "time": sql.Identifier(short(self.time))}

    def _kept(self, cursor: Any, *asked: str) -> dict[str, set[str]]:
        """Return the columns of the table that each column of the log is kept in, one for each type it came in."""
        statement = "SELECT arrow, columns, types FROM {row_types} WHERE relation = %s"
        found: dict[str, set[str]] = {}
        for arrow, columns, types in self.tables.found(cursor, statement, [self.relation]):
            names = pa.ipc.read_schema(pa.py_buffer(arrow)).names
            for name, column, type_ in zip(names, columns, types, strict=True):
                if type_ == "bytea" and name in asked:
                    raise StoreError(
                        f"log in PostgreSQL, table {self.relation}: {column!r} is kept as bytes, which are not looked "
                        "through. Delete those rows by hand."
                    )
                found.setdefault(name, set()).update([column] * bool(column))
        return found

    def _where(self, cursor: Any, subject: Subject) -> sql.Composable | None:
        """Return the condition that a row is about the subject, None where the log has no such column."""
        kept = self._kept(cursor, subject.column, *subject.keys)
        wanted: Collection[str] = subject.values
        columns = kept.get(subject.column, set())
        if not columns:
            wanted, columns = subject.ids, {column for name in subject.keys for column in kept.get(name, ())}
        if not columns:
            return None
        texts = sql.Literal(sorted(wanted))
        each = [sql.SQL("{}::text = ANY({}::text[])").format(sql.Identifier(name), texts) for name in sorted(columns)]
        return sql.SQL(" OR ").join(each)

    def _lost(self, cursor: Any) -> list[tuple[Any, str, pa.Table]]:
        """Return the rows that have no time, with what tells their parts apart."""
        statement = "SELECT hour::text, digest, lost FROM {parts} WHERE relation = %s AND lost IS NOT NULL"
        found = self.tables.found(cursor, statement, [self.relation])
        return [(hour, digest, pa.ipc.open_stream(pa.py_buffer(lost)).read_all()) for hour, digest, lost in found]
