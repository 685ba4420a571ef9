"""The prediction log and the label log in PostgreSQL: for several writers, and for people who ask them questions.

Rows are written and read by COPY, and come back in the types they came in. A batch is stored as a whole or not at all,
and the same rows of an hour once. Add what a log does here. Keep tables out: they belong in `postgres_tables`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from tempfile import TemporaryFile
from typing import Any

import pyarrow as pa
from psycopg2 import sql

from monitoring_pipeline.capture.labels import LabelArrival, LabelColumns
from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import EPOCH, Window, hour_of
from monitoring_pipeline.describe.profiles import rows_by_hour
from monitoring_pipeline.stores.files import digest
from monitoring_pipeline.stores.logs import by_presence_of_time, together
from monitoring_pipeline.stores.postgres_tables import ROW_TYPE, Tables, lock, short, table_name, transaction
from monitoring_pipeline.stores.postgres_wire import Wire, csv_bytes, read_csv, restored

DAY = timedelta(days=1)

NO_HOUR = "-infinity"
"""The hour of the rows of batches in which no row has a time."""

_READ = """COPY (SELECT {columns} FROM {relation} WHERE row_type = {row_type} AND {time} >= {start} AND {time} < {end})
TO STDOUT (FORMAT csv, HEADER)"""


class PostgresPredictionLog:
    """Prediction log in PostgreSQL (`capture.predictions.PredictionLog`); partitions are days or hours.

    Rows without a time are kept as they came, with the latest hour of their batch, as in files.
    """

    def __init__(
        self, url: str, columns: LogColumns, *, schema: str = "monitoring", partition: timedelta = DAY
    ) -> None:
        self._time = columns.predicted_at
        self._rows = _Rows(Tables(url, schema, partition), "predictions", self._time)

    def append(self, model: str, rows: pa.Table) -> int:
        with self._rows.storing(model, *by_presence_of_time(rows, self._time)):
            return int(rows.num_rows)

    def read(self, window: Window) -> pa.Table:
        rows = together(self._rows.read(window.model, window.start, window.end))
        return pa.table({}) if rows is None else rows

    def unplaced(self, model: str) -> pa.Table:
        """Return the rows of batches in which no row has a time."""
        rows = together(self._rows.unplaced(model))
        return pa.table({}) if rows is None else rows

    def hours(self, model: str, *, since: datetime) -> Sequence[datetime]:
        return self._rows.hours(model, since)


class PostgresLabelLog:
    """Label log in PostgreSQL, with a journal of arrivals (`capture.labels.LabelLog`)."""

    def __init__(
        self, url: str, columns: LabelColumns, *, schema: str = "monitoring", partition: timedelta = DAY
    ) -> None:
        self._time = columns.labelled_at
        self._tables = Tables(url, schema, partition)
        self._rows = _Rows(self._tables, "labels", self._time)

    def append(self, model: str, labels: pa.Table, *, hours: Sequence[datetime]) -> LabelArrival:
        placed, _ = by_presence_of_time(labels, self._time)
        with self._rows.storing(model, placed) as cursor:
            # Held to the end of the transaction: a number can be seen only once all smaller ones can.
            lock(cursor, f"{self._tables.schema} arrivals of {model}")
            statement = """INSERT INTO {arrivals} SELECT %s, coalesce(max(sequence), 0) + 1, %s, %s::timestamptz[]
                FROM {arrivals} WHERE model = %s RETURNING sequence"""
            self._tables.run(cursor, statement, [model, labels.num_rows, list(hours), model])
            return LabelArrival(cursor.fetchone()[0], labels.num_rows, tuple(hours))

    def read(self, model: str, *, start: datetime, end: datetime) -> pa.Table | None:
        labels = together(self._rows.read(model, start, end))
        return labels if labels is not None and labels.num_rows else None

    def arrivals(self, model: str, *, after: int, limit: int) -> Sequence[LabelArrival]:
        statement = """SELECT sequence, rows, hours FROM {arrivals} WHERE model = %s AND sequence > %s
            ORDER BY sequence LIMIT %s"""
        with self._tables.reading() as cursor:
            found = self._tables.found(cursor, statement, [model, after, limit])
        return [LabelArrival(number, rows, tuple(map(_utc, hours))) for number, rows, hours in found]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one log, a table for each model."""

    tables: Tables
    log: str
    time: str

    @contextmanager
    def storing(self, model: str, placed: pa.Table, lost: pa.Table | None = None) -> Iterator[Any]:
        """Store rows that are not there yet; what is done with the cursor is in the same transaction."""
        relation, wire = table_name(self.log, model), Wire.of(placed)
        with self.tables.connected() as connection:
            row_type, columns = self.tables.prepare(connection, relation, self.time, wire)
            sent = {name: values for name, values in zip(columns, wire.columns, strict=True) if name}
            rows = pa.table(sent | {ROW_TYPE: pa.repeat(row_type, placed.num_rows)})
            copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(self.tables.named(relation), _listed(rows))
            hour: datetime | str = NO_HOUR
            with transaction(connection) as cursor:
                # In the order of time: two who write the same rows wait for each other, and do not lock each other up.
                for hour, part in rows_by_hour(rows, time=short(self.time)).items():
                    content = csv_bytes(part)
                    if self._is_new(cursor, [relation, hour, digest(content), row_type, None]):
                        cursor.copy_expert(copy.as_string(cursor), BytesIO(content))
                if lost is not None and lost.num_rows:
                    content = ipc_bytes(lost)
                    self._is_new(cursor, [relation, hour, digest(content), None, content])
                yield cursor

    def _is_new(self, cursor: Any, part: Sequence[object]) -> bool:
        """Note a part; returns whether it was not there. Who writes the same one waits until this one is."""
        self.tables.run(cursor, "INSERT INTO {parts} VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", part)
        return bool(cursor.rowcount)

    def read(self, model: str, start: datetime, end: datetime) -> list[pa.Table]:
        """Return the rows of [start, end): a table for each type that rows came in."""
        relation, hours = table_name(self.log, model), (hour_of(start), end)
        statement = """SELECT id, arrow, columns, types FROM {row_types} WHERE id IN (SELECT row_type FROM {parts}
            WHERE relation = %s AND hour >= %s AND hour < %s) ORDER BY id"""
        with self.tables.reading() as cursor:
            found = self.tables.found(cursor, statement, [relation, *hours])
            span = {"time": sql.Identifier(short(self.time)), "start": sql.Literal(start), "end": sql.Literal(end)}
            names = {"relation": self.tables.named(relation), **span}
            tables = [_copied(cursor, row_type, names) for row_type in found]
            return [*tables, *self._lost(cursor, relation, *hours)]

    def unplaced(self, model: str) -> list[pa.Table]:
        """Return the rows that belong to no hour."""
        with self.tables.reading() as cursor:
            return self._lost(cursor, table_name(self.log, model), NO_HOUR, EPOCH.replace(year=1))

    def _lost(self, cursor: Any, relation: str, start: datetime | str, end: datetime) -> list[pa.Table]:
        statement = """SELECT lost FROM {parts} WHERE relation = %s AND hour >= %s AND hour < %s AND lost IS NOT NULL
            ORDER BY hour, digest"""
        found = self.tables.found(cursor, statement, [relation, start, end])
        return [pa.ipc.open_stream(pa.py_buffer(lost)).read_all() for (lost,) in found]

    def hours(self, model: str, since: datetime) -> list[datetime]:
        """Return the hours from `since` on that hold a row, oldest first."""
        statement = "SELECT DISTINCT hour FROM {parts} WHERE relation = %s AND hour >= %s ORDER BY hour"
        with self.tables.reading() as cursor:
            found = self.tables.found(cursor, statement, [table_name(self.log, model), hour_of(since)])
        return [_utc(hour) for (hour,) in found]


def _copied(cursor: Any, row_type: tuple[Any, ...], names: dict[str, sql.Composable]) -> pa.Table:
    """Return rows of one type as they were stored. They wait in a file; only a block of its text is in memory."""
    number, arrow, columns, types = row_type
    schema = pa.ipc.read_schema(pa.py_buffer(arrow))
    kept = {name: type_ for name, type_ in zip(columns, types, strict=True) if name}
    query = sql.SQL(_READ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, kept)), row_type=sql.Literal(number), **names
    )
    with TemporaryFile() as file:
        cursor.copy_expert(query.as_string(cursor), file)
        file.seek(0)
        found = read_csv(file, kept)
    arrays = [
        restored(found[name], kept[name], field.type) if name else pa.nulls(found.num_rows, field.type)
        for name, field in zip(columns, schema, strict=True)
    ]
    return pa.table(arrays, schema=schema)


def _listed(rows: pa.Table) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Identifier, rows.column_names))


def ipc_bytes(rows: pa.Table) -> bytes:
    """Return rows in the form in which those without a time are kept."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
