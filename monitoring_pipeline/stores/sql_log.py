"""Logs that are tables or views of a database SQLAlchemy knows: read in ranges of time, never written.

A time is a timestamp, with a zone or in UTC, or ISO 8601 text in UTC to the minute or finer, which sorts as time does;
SQLite has only the latter. Rows without a time are in no hour. Add a kind of column here when databases have it. Keep
names of tables and URLs out: they belong in settings.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from monitoring_pipeline.capture.labels import LabelArrival, LabelColumns
from monitoring_pipeline.capture.predictions import TIME_TYPE, LogColumns, as_utc
from monitoring_pipeline.capture.subjects import Subject
from monitoring_pipeline.capture.windows import EPOCH, HOUR, Window, hour_of
from monitoring_pipeline.errors import StoreError, TableError
from monitoring_pipeline.stores.logs import together

if TYPE_CHECKING:
    from monitoring_pipeline.describe.engines.sql_tables import LoggedTable, Run

MINUTE = timedelta(minutes=1)
ARRIVED_TOGETHER = 10 * MINUTE
"""Labels that arrived within such a span of the clock are one arrival: a service stores them one by one."""

ROWS_AT_ONCE = 20_000
"""Rows that are Python objects at one time."""

TYPES: tuple[tuple[type[Any], pa.DataType], ...] = (
    (sa.Boolean, pa.bool_()),
    (sa.Integer, pa.int64()),
    (sa.REAL, pa.float32()),
    (sa.Float, pa.float64()),
    (sa.Date, pa.date32()),
    (sa.String, pa.string()),
    (sa.LargeBinary, pa.binary()),
)
"""What columns of a type are read as, even where all values are missing; those of other types are what they hold."""


@dataclass(frozen=True, slots=True)
class SqlTable:
    """A table or view. `columns` says what a column of the log is called in it; every other one keeps its name.

    `only` are values that the rows of this log have in some columns of a table that holds other rows too; these columns
    are not part of the log.
    """

    name: str
    schema: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, str | int | bool] = field(default_factory=dict)


class SqlPredictionLog:
    """Prediction log that somebody else writes (`capture.predictions.PredictionLog`)."""

    def __init__(self, url: str, table: SqlTable, columns: LogColumns) -> None:
        self._source = _Source(url, table)
        self._time, self._key = columns.predicted_at, columns.prediction_id

    def append(self, model: str, rows: pa.Table) -> int:
        raise self._source.read_only()

    def read(self, window: Window) -> pa.Table:
        with self._source.opened() as opened:
            rows = opened.read(self._time, window.start, window.end)
        return pa.table({}) if rows is None else rows

    def hours(self, model: str, *, since: datetime) -> Sequence[datetime]:
        with self._source.opened() as opened:
            return list(opened.steps(self._time, HOUR, start=hour_of(since)))

    def read_columns(self, window: Window, names: Sequence[str]) -> pa.Table:
        """Return some columns of all rows of a window."""
        with self._source.opened() as opened:
            kept = [name for name in opened.types if name in {self._time, *names}]
            rows = opened.read(self._time, window.start, window.end, names=kept)
        return pa.table({}) if rows is None else rows

    def read_where(self, window: Window, condition: str) -> pa.Table:
        """Return the rows of a window for which a condition of the SQL engine holds."""
        with self._source.opened() as opened:
            rows = opened.read(
                self._time, window.start, window.end, where=sa.literal_column(f"({condition})", sa.Boolean())
            )
        return pa.table({}) if rows is None else rows

    @contextmanager
    def in_place(self) -> Iterator[tuple["Run", "LoggedTable"]]:
        """Give what runs statements where the rows are, all on one state of them, and the table they speak of."""
        # With sqlglot, which only this needs.
        from monitoring_pipeline.stores.sql_in_place import described, on_one_state, rows_of

        with self._source.opened() as opened:
            table = described(opened.connection.dialect.name, opened.table, opened.types)
            on_one_state(opened.connection)

            def run(statement: str) -> Sequence[Sequence[Any]]:
                try:
                    with self._source.telling():
                        return rows_of(opened.connection, statement)
                except StoreError:
                    opened.connection.rollback()  # the next statement may be one that the database takes
                    on_one_state(opened.connection)
                    raise

            yield run, table

    def about(self, subject: Subject) -> pa.Table:
        """Return which predictions of whatever time are a subject's; there are too few of them to fill the memory."""
        with self._source.opened() as opened:
            return opened.about(subject, [self._key, self._time])


class SqlLabelLog:
    """Label log that somebody else writes (`capture.labels.LabelLog`).

    `arrived_at` names the column with the moment a row was stored or last changed, by the clock of the database (in UTC
    where it has no zone); without one that is taken to be when the label became known. What arrived less than `settled`
    ago is left for later, as transactions become visible after the moments they write; what becomes visible later still
    is not noticed.
    `touched` finds the hours of the predictions that labels speak of.
    """

    def __init__(
        self,
        url: str,
        table: SqlTable,
        columns: LabelColumns,
        *,
        touched: Callable[[pa.Table], Sequence[datetime]],
        arrived_at: str | None = None,
        settled: timedelta = 5 * MINUTE,
    ) -> None:
        self._source = _Source(url, table)
        self._time = columns.labelled_at
        self._arrived_at = arrived_at or columns.labelled_at
        self._settled = settled
        self._touched = touched

    def append(self, model: str, labels: pa.Table, *, hours: Sequence[datetime]) -> LabelArrival:
        raise self._source.read_only()

    def read(self, model: str, *, start: datetime, end: datetime) -> pa.Table | None:
        with self._source.opened() as opened:
            return opened.read(self._time, start, end)

    def arrivals(self, model: str, *, after: int, limit: int) -> Sequence[LabelArrival]:
        """Return at most `limit` spans of ten minutes in which labels arrived; they are numbered from 1970 on."""
        found = []
        with self._source.opened() as opened:
            start, end = EPOCH + (after + 1) * ARRIVED_TOGETHER, opened.now() - self._settled
            end = EPOCH + (end - EPOCH) // ARRIVED_TOGETHER * ARRIVED_TOGETHER
            for moment in islice(opened.steps(self._arrived_at, ARRIVED_TOGETHER, start=start, end=end), limit):
                labels = opened.read(self._arrived_at, moment, moment + ARRIVED_TOGETHER)
                if labels is not None:
                    number = (moment - EPOCH) // ARRIVED_TOGETHER
                    found.append(LabelArrival(number, labels.num_rows, tuple(self._touched(labels))))
        return found


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a table is."""

    url: str
    table: SqlTable

    def read_only(self) -> StoreError:
        return StoreError(
            f"log in table {self.table.name!r}: it is only read here. Whoever writes this table has to store the rows."
        )

    @contextmanager
    def opened(self) -> Iterator["_Opened"]:
        """Give the table in a transaction; what goes wrong becomes a StoreError that shows no password."""
        try:
            engine = sa.create_engine(self.url, poolclass=sa.NullPool, hide_parameters=True)
        except (sa.exc.ArgumentError, ValueError, ImportError):  # none is quoted: they would show the password
            raise StoreError(
                f"log in table {self.table.name!r}: not the URL of a database with an installed driver. Write "
                "dialect://user:password@host/database, with special characters percent-encoded."
            ) from None
        with self.telling(), engine.connect() as connection:
            yield _Opened(connection, self.table, _types(connection, self.table))

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Have what the database refuses become a StoreError."""
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            why = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise StoreError(
                f"log in table {self.table.name!r}: {why}. Check that the database can be reached, and the names of "
                "the table and its columns under log."
            ) from error


@dataclass(frozen=True, slots=True)
class _Opened:
    """A table that is being read; `types` are those of its columns, by the names they have in the log."""

    connection: sa.Connection
    table: SqlTable
    types: Mapping[str, Any]

    def read(
        self,
        time: str,
        start: datetime,
        end: datetime,
        *,
        names: Sequence[str] | None = None,
        where: sa.ColumnElement[bool] | None = None,
    ) -> pa.Table | None:
        """Return the rows of [start, end) by a column of times, None where there are none.

        `names` are the columns that are read, all by default, and `where` holds for each of the rows.
        """
        form = self._form(time)
        types = {name: type_ for name, type_ in self.types.items() if names is None or name in names}
        query = self._where(sa.select(*(self._column(name) for name in types)), time, start, end)
        query = query if where is None else query.where(where)
        result = self.connection.execution_options(stream_results=True).execute(query)
        parts = []
        for rows in result.partitions(ROWS_AT_ONCE):
            values = zip(types.items(), zip(*rows, strict=True), strict=True)
            parts.append(pa.table({name: _arrow(each, self._arrow_type(type_)) for (name, type_), each in values}))
        if (found := together(parts)) is None:
            return None
        moments = as_utc(found[time], name=time, table=f"log in table {self.table.name!r}", each_alone=True)
        if form:
            self._check(found[time], moments, form, time)
        found = found.set_column(found.column_names.index(time), time, moments)
        first, last = (pa.scalar(moment, TIME_TYPE) for moment in (start, end))
        found = found.filter(pc.and_(pc.greater_equal(moments, first), pc.less(moments, last)))
        return found if found.num_rows else None

    def steps(
        self, time: str, length: timedelta, *, start: datetime, end: datetime | None = None
    ) -> Iterator[datetime]:
        """Yield the starts of the spans of `length` from `start` on that hold a row: one look at an index for each."""
        while end is None or start < end:
            first = self._where(sa.select(sa.func.min(self._column(time))), time, start, end)
            found = self.connection.execute(first).scalar()
            if found is None:
                return
            moment = _moment(found)
            if moment < start:
                raise self._unsorted(time, found)
            yield (start := EPOCH + (moment - EPOCH) // length * length)
            start += length

    def about(self, subject: Subject, wanted: Sequence[str]) -> pa.Table:
        """Return the wanted columns of the rows that name a subject, and the column that names it."""
        columns = list(dict.fromkeys([*wanted, subject.column]))
        if missing := [name for name in columns if name not in self.types]:
            raise TableError.missing_columns(f"log in table {self.table.name!r}", missing, list(self.types))
        query = sa.select(*(self._column(name) for name in columns)).select_from(self._rows())
        for name, value in self.table.only.items():
            query = query.where(sa.column(sa.quoted_name(name, quote=True)) == value)
        query = query.where(sa.cast(self._column(subject.column), sa.String()).in_(sorted(subject.values)))
        rows = self.connection.execute(query).all()
        values = zip(*rows, strict=True) if rows else [()] * len(columns)
        return pa.table(
            {name: _arrow(each, self._arrow_type(self.types[name])) for name, each in zip(columns, values, strict=True)}
        )

    def now(self) -> datetime:
        """Return what time it is in the database."""
        return _moment(self.connection.execute(sa.select(sa.func.current_timestamp())).scalar_one())

    def _rows(self) -> sa.TableClause:
        # Always quoted, as all others: a name is never read as SQL.
        schema = None if self.table.schema is None else sa.quoted_name(self.table.schema, quote=True)
        return sa.table(sa.quoted_name(self.table.name, quote=True), schema=schema)

    def _column(self, name: str) -> sa.ColumnClause[Any]:
        return sa.column(sa.quoted_name(self.table.columns.get(name, name), quote=True))

    def _where(self, query: sa.Select[Any], time: str, start: datetime, end: datetime | None) -> sa.Select[Any]:
        query = query.select_from(self._rows())
        for name, value in self.table.only.items():
            query = query.where(sa.column(sa.quoted_name(name, quote=True)) == value)
        query = query.where(self._column(time) >= self._bound(time, start))
        return query if end is None else query.where(self._column(time) < self._bound(time, end, is_end=True))

    def _bound(self, time: str, moment: datetime, *, is_end: bool = False) -> sa.BindParameter[Any]:
        """Return a moment as the column has them; text is compared by its minute, and looked at closer afterwards."""
        moment = moment.astimezone(UTC)
        if form := self._form(time):
            whole = moment.replace(second=0, microsecond=0)
            return sa.literal((whole + MINUTE if is_end and whole != moment else whole).strftime(form), sa.String())
        zoned = bool(self.types[time].timezone)
        return sa.literal(moment if zoned else moment.replace(tzinfo=None), sa.DateTime(timezone=zoned))

    def _form(self, time: str) -> str:
        """Return how minutes are written where times are text, "" where they are timestamps."""
        if time not in self.types:
            raise TableError.missing_columns(f"log in table {self.table.name!r}", [time], list(self.types))
        type_ = self.types[time]
        if isinstance(type_, sa.DateTime) and self.connection.dialect.name != "sqlite":
            return ""
        query = sa.select(self._column(time)).select_from(self._rows())
        example = self.connection.execute(query.where(self._column(time).is_not(None)).limit(1)).scalar()
        if example is not None and not (isinstance(example, str) and example[10:11] in ("T", " ")):
            raise self._unsorted(time, example)
        return f"%Y-%m-%d{(example or ' ' * 11)[10]}%H:%M"

    def _check(self, texts: pa.ChunkedArray, moments: pa.ChunkedArray, form: str, time: str) -> None:
        """Raise StoreError unless all texts are written in one form, in UTC: others are not found where they belong."""
        written = pc.utf8_slice_codeunits(texts, 0, 16)
        wrong = texts.filter(pc.not_equal(pc.strftime(moments, format=form), written))
        if len(wrong):
            raise self._unsorted(time, wrong[0].as_py())

    def _unsorted(self, time: str, example: object) -> StoreError:
        return StoreError(
            f"log in table {self.table.name!r}, column {time!r}: {example!r} is neither a timestamp nor ISO 8601 "
            "text in UTC in the same form as the others, so rows cannot be found by it. Name a view with such a column."
        )

    def _arrow_type(self, type_: Any) -> pa.DataType | None:
        is_sqlite = self.connection.dialect.name == "sqlite"  # which has no times, and numbers of one length
        if isinstance(type_, sa.DateTime):
            return pa.string() if is_sqlite else pa.timestamp("us", tz="UTC" if type_.timezone else None)
        if isinstance(type_, sa.REAL) and is_sqlite:
            return pa.float64()
        return next((found for kind, found in TYPES if isinstance(type_, kind)), None)


def _types(connection: sa.Connection, table: SqlTable) -> dict[str, Any]:
    """Return the columns of a table by the names they have in the log, each with its type."""
    own = {entry["name"]: entry["type"] for entry in sa.inspect(connection).get_columns(table.name, table.schema)}
    if missing := [name for name in [*table.columns.values(), *table.only] if name not in own]:
        raise TableError.missing_columns(f"log in table {table.name!r}", missing, list(own))
    found: dict[str, Any] = {}
    for column, type_ in own.items():  # in the order they have there
        names = [name for name, there in table.columns.items() if there == column]
        unnamed = column not in table.columns and column not in table.only
        found |= dict.fromkeys(names or [column] * unnamed, type_)
    return found


def _arrow(values: Sequence[Any], type_: pa.DataType | None) -> pa.Array:
    """Return values as an array of a type, where they are of it, or else of their own; as text where they are mixed."""
    with_bytes = [bytes(each) if isinstance(each, memoryview) else each for each in values]
    try:
        return pa.array(with_bytes, type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    try:
        found = pa.array(with_bytes)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array([None if each is None else str(each) for each in with_bytes], pa.string())
    try:
        return found if type_ is None else found.cast(type_)
    except pa.ArrowException:
        return found


def _moment(found: Any) -> datetime:
    moment = datetime.fromisoformat(found) if isinstance(found, str) else found
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
