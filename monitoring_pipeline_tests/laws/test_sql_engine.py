"""Laws of the SQL engine: whatever a table holds, counting it there gives what reading and counting its rows gives.

DuckDB and PostgreSQL are real. Add a kind of value to `kept` when tables can hold it. Keep the form of statements out:
it belongs in describe/engines/test_sql.py.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from monitoring_pipeline.capture.predictions import LogColumns, prepare_predictions
from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.describe.columns import (
    Column,
    ColumnKind,
    ColumnRole,
    DatetimePart,
    NumericBins,
    categorical_bins,
    numeric_bins,
)
from monitoring_pipeline.describe.engines.engine import ProfilePlan
from monitoring_pipeline.describe.engines.sql import SqlEngine
from monitoring_pipeline.describe.engines.sql_tables import LoggedTable, Run
from monitoring_pipeline.describe.engines.sql_values import Stored
from monitoring_pipeline.describe.hours import profile_hours
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.describe.segments import Segmentation
from monitoring_pipeline.errors import StoreError, TableError
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.sql_log import SqlPredictionLog, SqlTable
from monitoring_pipeline.workflow.push_down import StagesInPlace
from monitoring_pipeline.workflow.stages import Stages
from monitoring_pipeline_tests.laws.test_logs import CASES, MONITOR, filled, sql_on_postgres
from monitoring_pipeline_tests.laws.test_logs import reference as reference_of_rows
from monitoring_pipeline_tests.postgres import running_postgres
from monitoring_pipeline_tests.traffic import COMPUTED, MODEL, START, hour

ROUNDING = 1e-12
"""Of the sum of the sizes of what was added, as in the laws of merging."""

LOG = LogColumns(prediction_id="id", predicted_at="at", version="version", prediction=None, score=None)

TYPES = {
    Stored.INTEGER: ("BIGINT", "BIGINT"),
    Stored.FLOAT: ("DOUBLE", "DOUBLE PRECISION"),
    Stored.DECIMAL: ("DECIMAL(30, 12)", "NUMERIC(30, 12)"),
    Stored.BOOLEAN: ("BOOLEAN", "BOOLEAN"),
    Stored.TEXT: ("VARCHAR", "TEXT"),
    Stored.DATE: ("DATE", "DATE"),
    Stored.TIME: ("TIMESTAMP", "TIMESTAMP"),
    Stored.ZONED: ("TIMESTAMPTZ", "TIMESTAMPTZ"),
}
"""How DuckDB and PostgreSQL call what a column holds."""

Rows = list[tuple[Any, ...]]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Database:
    """A real database in which tables are made, read row by row, and counted in place."""

    make: Callable[[str, Mapping[str, Stored], Rows], None]
    read: Callable[[SqlTable, LogColumns, datetime, datetime], pa.Table]
    in_place: Callable[[SqlTable, Mapping[str, Stored], LogColumns], Any]
    execute: Callable[[str], list[tuple[Any, ...]]]


def in_duckdb() -> Database:
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'Asia/Kolkata'")  # half an hour off: no answer may depend on it

    def execute(statement: str) -> list[tuple[Any, ...]]:
        try:
            return connection.execute(statement).fetchall()
        except duckdb.Error as error:
            raise StoreError(str(error)) from error

    def make(name: str, stored: Mapping[str, Stored], rows: Rows) -> None:
        columns = ", ".join(f"{quoted(each)} {TYPES[held][0]}" for each, held in stored.items())
        connection.execute(f"CREATE OR REPLACE TABLE {quoted(name)} ({columns})")
        if rows:
            values = zip(*rows, strict=True)
            connection.register("given", pa.table([pa.array(each) for each in values], names=list(stored)))
            connection.execute(f"INSERT INTO {quoted(name)} SELECT * FROM given")

    def read(table: SqlTable, log: LogColumns, start: datetime, end: datetime) -> pa.Table:
        found = connection.sql(f"SELECT * FROM {quoted(table.name)}").to_arrow_table()
        for own, value in table.only.items():
            found = found.filter(pa.compute.equal(found[own], value)).drop_columns([own])
        named = {there: name for name, there in table.columns.items()}
        found = found.rename_columns([named.get(name, name) for name in found.column_names])
        moments = found[log.predicted_at].cast(pa.timestamp("us", tz="UTC"))
        inside = pa.compute.and_(pa.compute.greater_equal(moments, start), pa.compute.less(moments, end))
        return found.filter(inside)

    @contextmanager
    def in_place(table: SqlTable, stored: Mapping[str, Stored], log: LogColumns) -> Iterator[tuple[Run, LoggedTable]]:
        named = {there: name for name, there in table.columns.items()}
        fields = {named.get(own, own): (own, held) for own, held in stored.items() if own not in table.only}
        yield execute, LoggedTable("duckdb", table.name, fields, table.schema, table.only)

    return Database(make, read, in_place, execute)


def in_postgres(url: str) -> Database:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def execute(statement: str) -> list[tuple[Any, ...]]:
        with engine.connect() as connection:
            found = connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
            return [tuple(row) for row in found] if found.returns_rows else []

    def make(name: str, stored: Mapping[str, Stored], rows: Rows) -> None:
        from psycopg2.extras import execute_values

        columns = ", ".join(f"{quoted(each)} {TYPES[held][1]}" for each, held in stored.items())
        execute(f"DROP TABLE IF EXISTS {quoted(name)}")
        execute(f"CREATE TABLE {quoted(name)} ({columns})")
        raw = engine.raw_connection()
        if rows:
            execute_values(raw.cursor(), f"INSERT INTO {quoted(name).replace('%', '%%')} VALUES %s", rows)
        raw.commit()
        raw.close()

    def read(table: SqlTable, log: LogColumns, start: datetime, end: datetime) -> pa.Table:
        return SqlPredictionLog(url, table, log).read(Window(MODEL, start, end))

    def in_place(table: SqlTable, stored: Mapping[str, Stored], log: LogColumns) -> Any:
        return SqlPredictionLog(url, table, log).in_place()

    return Database(make, read, in_place, execute)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        Path(folder).chmod(0o755)  # the server runs as another user
        with running_postgres(Path(folder) / "server") as url:
            yield url


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Database:
    if request.param == "duckdb":
        return in_duckdb()
    return in_postgres(str(request.getfixturevalue("server")))


def numeric(name: str, values: Any, *, center: float | None = None) -> Column:
    bins = numeric_bins(np.sort(np.asarray(values, np.float64)), groups=10)
    return Column(
        name, ColumnRole.FEATURE, ColumnKind.NUMERIC, bins if center is None else replace(bins, center=center)
    )


def named(name: str, counts: dict[str, int], kind: ColumnKind = ColumnKind.CATEGORICAL) -> Column:
    return Column(name, ColumnRole.FEATURE, kind, categorical_bins(counts, groups=10))


def of_time(source: str, part: DatetimePart, values: Any) -> Column:
    bins = numeric_bins(np.sort(np.asarray(values, np.float64)), groups=10)
    return Column(f"{source}.{part}", ColumnRole.FEATURE, ColumnKind.DATETIME, bins, source, part)


def reference(columns: list[Column], version: str = "3", segments: tuple[Segmentation, ...] = ()) -> Reference:
    from monitoring_pipeline.describe.profiles import ColumnProfile
    from monitoring_pipeline.describe.references import ColumnReference

    entries = {each.name: ColumnReference(each, ColumnProfile.empty(each.bins), {}, {}) for each in columns}
    return Reference(MODEL, version, COMPUTED, 0, entries, None, segmentations=segments)


def both(
    database: Database,
    stored: Mapping[str, Stored],
    references: Mapping[str, Reference],
    hours: list[datetime],
    *,
    table: SqlTable | None = None,
    log: LogColumns = LOG,
) -> tuple[dict[datetime, list[Profile]], dict[datetime, list[Profile]]]:
    """Return the profiles of rows that are read, and of rows that are counted where they are."""
    table = table or SqlTable("log")
    read: dict[datetime, list[Profile]] = {}
    for at in hours:  # hour by hour, as the pipeline reads
        rows = database.read(table, log, at, at + HOUR)
        rows = prepare_predictions(rows, log) if rows.num_rows else rows
        read |= profile_hours(rows, references, [at], log)
    with database.in_place(table, stored, log) as (run, there):
        return read, SqlEngine(run).profile_hours(there, log, hours, lambda versions: references)


def assert_same(read: dict[datetime, list[Profile]], counted: dict[datetime, list[Profile]]) -> None:
    assert list(read) == list(counted)
    for at, profiles in read.items():
        described = [(each.version, each.segment, each.rows, each.bins) for each in profiles]
        assert [(each.version, each.segment, each.rows, each.bins) for each in counted[at]] == described, at
        for one, other in zip(profiles, counted[at], strict=True):
            assert list(one.columns) == list(other.columns)
            for name, column in one.columns.items():
                mine, where = other.columns[name], f"{at} {one.segment} {name}"
                assert mine.counts.tolist() == column.counts.tolist(), where
                for entry in ("nulls", "invalid", "low", "high", "unseen", "unseen_rows", "distinct"):
                    assert getattr(mine, entry) == getattr(column, entry), f"{where}: {entry}"
                size = np.sqrt(column.squares * column.counts[: len(column.sums)]) + np.abs(column.sums)
                assert (np.abs(mine.sums - column.sums) <= ROUNDING * size).all(), where
                assert abs(mine.squares - column.squares) <= ROUNDING * column.squares + 1e-270, where


INF, NAN = float("inf"), float("nan")
EDGES = [-2.5, 0.0, 1 / 3, 1.0, 7.25, 1e9]
SPECIAL = [
    *(None, NAN, -NAN, INF, -INF, 1e140, -1e140, float(np.nextafter(1e140, INF)), 1.7e308, -1.7e308, 5e-324, 1e-300),
    *(0.0, -0.0, 3.7e-160, *EDGES, *(float(np.nextafter(edge, INF)) for edge in EDGES)),
    *(float(np.nextafter(edge, -INF)) for edge in EDGES),
]
NUMBER_TEXTS = [
    *(
        None,
        "1",
        "1.0",
        " 7.25 ",
        "+.5",
        "-2.",
        "1e3",
        "1E-3",
        "1e400",
        "-1e400",
        "1e-149",
        "inf",
        "-inf",
        "nan",
        "NaN",
    ),
    *("", " ", "x", "1,5", "0x10", "1e", "--1", "'", "1e0000000000000000003", "9" * 160, "0." + "3" * 80, "true"),
]
NAMES = [
    *(None, "", " ", "a", "A", "a ", "1", "1.0", "true", "NULL", "NaN", "Zürich", "東京", "\N{PILE OF POO}", "it's"),
    *('"', "\\", "\\'", "' OR 1=1 --", "%s", "%(x)s", ":x", "?", "{}", "a\nb", "`", "$$", "; DROP TABLE log; --"),
]
MOMENTS = [
    None,
    *(datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(1970, 1, 1), datetime(1900, 1, 1, 5)),  # noqa: DTZ001
    *(datetime(2026, 11, 20, 23, 59, 59, 999999), datetime(2026, 11, 22), datetime(2199, 12, 31, 12)),  # noqa: DTZ001
]
KEPT: dict[str, tuple[Stored, list[Any]]] = {
    "double": (Stored.FLOAT, SPECIAL),
    "whole": (Stored.INTEGER, [None, 0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 7]),
    "decimal": (
        Stored.DECIMAL,
        [None, *map(Decimal, ("0.333333333333", "0", "-2.5", "7.25", "123456789012345678.1", "1.50", "1"))],
    ),
    "ones": (Stored.FLOAT, [None, 0.0, 1.0, NAN, -0.0, 2.0, 0.5]),
    "flag": (Stored.BOOLEAN, [None, True, False, True]),
    "text": (Stored.TEXT, NUMBER_TEXTS),
    "name": (Stored.TEXT, NAMES),
    "day": (Stored.DATE, [None if each is None else each.date() for each in MOMENTS] + [date(2024, 2, 29)]),
    "time": (Stored.TIME, MOMENTS),
    "zoned": (Stored.ZONED, [None if each is None else each.replace(tzinfo=UTC) for each in MOMENTS]),
}
STORED = {"id": Stored.TEXT, "at": Stored.ZONED, "version": Stored.TEXT} | {name: it for name, (it, _) in KEPT.items()}


def kept(rows: int) -> Rows:
    """Return rows over three hours, of which the middle one has none, of two versions and of none."""
    found = []
    for number in range(rows):
        at = START + (2 * HOUR if number % 3 == 2 else timedelta(0)) + timedelta(microseconds=number)
        values = [values[number % len(values)] for _, values in KEPT.values()]
        found.append((f"id {number}", at, [None, "3", "3", "3", "4"][number % 5], *values))
    return found


def every_reading() -> list[Column]:
    """Return every column of `KEPT` read in every way that makes sense, and one that is not there."""
    numbers = [numeric(name, EDGES) for name in ("double", "whole", "decimal", "flag", "text", "day")]
    wide = numeric("double", np.random.default_rng(1).normal(0, 2, 5000))
    counts = {"a": 5, "1": 4, "true": 3, "0.3333333333333333": 2, "Zürich": 2, "' OR 1=1 --": 1, "2024-02-29": 1}
    names = [named(name, counts) for name in ("name", "whole", "ones", "decimal", "flag", "day", "text", "double")]
    flags = [named(name, {"true": 2, "false": 3}, ColumnKind.BOOLEAN) for name in ("flag", "whole", "text", "ones")]
    parts = [
        of_time(source, part, [0.0, 1.5, 3.0, 23.999, -400.25, *range(30)])
        for source in ("day", "time", "zoned", "whole", "flag")
        for part in DatetimePart
    ]
    found = [*numbers, wide, *names, *flags, *parts, numeric("missing", EDGES), named("absent", counts)]
    return [replace(each, name=f"{place} {each.name}", source=each.read_from) for place, each in enumerate(found)]


def test_counting_there_is_reading_and_counting_whatever_a_table_holds(database: Database) -> None:
    database.make("log", STORED, kept(400))
    columns = every_reading()
    references = {version: reference(columns, version) for version in ("3", "unversioned")}
    read, counted = both(database, STORED, references, [hour(at) for at in range(4)])
    assert [len(each) for each in counted.values()] == [3, 0, 3, 0]
    assert_same(read, counted)


def test_segments_are_cut_where_the_rows_are(database: Database) -> None:
    database.make("log", STORED, kept(200))
    cuts = (
        Segmentation("name", ColumnKind.CATEGORICAL, ("a", "' OR 1=1 --", "never seen", "")),
        Segmentation("flag", ColumnKind.BOOLEAN, ("true", "false")),
        Segmentation("whole", ColumnKind.BOOLEAN, ("true",)),
        Segmentation("whole", ColumnKind.CATEGORICAL, ()),
        Segmentation("not there", ColumnKind.CATEGORICAL, ("a",)),
    )
    columns = [numeric("double", EDGES), named("name", {"a": 1, "b": 1})]
    read, counted = both(database, STORED, {"3": reference(columns, segments=cuts)}, [hour(0), hour(2)])
    assert_same(read, counted)


def test_an_id_counts_once_an_hour_and_the_earliest_row_is_it(database: Database) -> None:
    stored = {"id": Stored.TEXT, "at": Stored.TIME, "version": Stored.TEXT, "x": Stored.FLOAT, "B": Stored.TEXT}
    at = START.replace(tzinfo=None)
    second, next_hour = at + timedelta(seconds=1), at + HOUR
    rows = [
        *(
            ("twice", second, "3", 1.0, "late"),
            ("twice", at, "4", 2.0, "early"),
            ("twice", next_hour, "3", 3.0, "next"),
        ),
        *(("tied", at, "3", NAN, "a"), ("tied", at, "3", None, "a"), ("tied", at, "3", 5.0, "B")),
        *(("tied text", at, "3", 1.0, None), ("tied text", at, "3", 1.0, "b"), ("tied text", at, "3", 1.0, "B")),
        *(("same", at, "3", 6.0, "s"), ("same", at, "3", 6.0, "s"), (None, at, "3", 7.0, "no id")),
        ("no time", None, "3", 8.0, "lost"),
    ]
    database.make("log", stored, rows)
    columns = [numeric("x", range(9)), named("B", {"a": 1, "b": 1})]
    references = {version: reference(columns, version) for version in ("3", "4")}
    read, counted = both(database, stored, references, [hour(0), hour(1)])
    assert_same(read, counted)
    assert [(each.version, each.rows) for each in counted[hour(0)]] == [("3", 3), ("4", 1)]


def test_large_numbers_with_little_noise_keep_their_digits(database: Database) -> None:
    stored = {"id": Stored.TEXT, "at": Stored.ZONED, "version": Stored.TEXT, "x": Stored.FLOAT}
    values = 1e9 + np.random.default_rng(3).normal(0, 1e-3, 3000)
    database.make("log", stored, [(str(place), START, "3", float(value)) for place, value in enumerate(values)])
    column = numeric("x", 1e9 + np.random.default_rng(4).normal(0, 1e-3, 3000))
    read, counted = both(database, stored, {"3": reference([column])}, [hour(0)])
    assert_same(read, counted)
    bins, found = column.bins, counted[hour(0)][0].columns["x"]
    assert isinstance(bins, NumericBins)
    mean = bins.center + found.sums.sum() / found.rows
    assert mean == pytest.approx(values.mean(), abs=1e-12 * 1e9)
    variance = found.squares / found.rows - (mean - bins.center) ** 2
    assert variance == pytest.approx(values.var(), rel=1e-6)


def test_of_very_many_categories_all_known_ones_and_the_heaviest_new_ones_are_counted(database: Database) -> None:
    stored = {"id": Stored.TEXT, "at": Stored.ZONED, "version": Stored.TEXT, "c": Stored.TEXT}
    names = [*(f"new {number % 10_300}" for number in range(10_400)), *(f"rare {number}" for number in range(250))]
    database.make("log", stored, [(str(place), START, "3", name) for place, name in enumerate(names)])
    column = named("c", {f"rare {number}": 250 - number for number in range(240)})
    read, counted = both(database, stored, {"3": reference([column])}, [hour(0)])
    mine, theirs = counted[hour(0)][0].columns["c"], read[hour(0)][0].columns["c"]
    assert mine.distinct is None
    assert theirs.distinct is not None
    assert mine.unseen[0] == ("new 0", 2)
    assert_same(read, {hour(0): [replace(counted[hour(0)][0], columns={"c": replace(mine, distinct=theirs.distinct)})]})


@pytest.mark.parametrize("name", ['x" OR 1=1 --', "x'; DROP TABLE served; --", "Mixed Case", "a.b", "%(x)s", ":x", "?"])
def test_names_and_values_are_never_read_as_sql(name: str, database: Database) -> None:
    stored = {"id": Stored.TEXT, "at": Stored.ZONED, name: Stored.TEXT, "kind": Stored.TEXT}
    database.make("served", {"id": Stored.TEXT}, [("kept",)])
    rows: Rows = [("a", START, name, name), ("b", START, name, "k"), ("c", START, "\\' OR 1=1 --", name)]
    database.make(name, stored, rows)
    log = replace(LOG, version=None)
    table = SqlTable(name, columns={"feature": name}, only={"kind": name})
    column = named("feature", {name: 2, "\\' OR 1=1 --": 1})
    cut = Segmentation("feature", ColumnKind.CATEGORICAL, (name, "\\' OR 1=1 --"))
    references = {"unversioned": reference([column], "unversioned", (cut,))}
    read, counted = both(database, stored, references, [hour(0)], table=table, log=log)
    assert_same(read, counted)
    assert counted[hour(0)][0].columns["feature"].counts.tolist() == [1, 1, 0]
    assert database.execute("SELECT * FROM served") == [("kept",)]


def test_a_column_that_cannot_be_computed_is_named(database: Database) -> None:
    stored = {"id": Stored.TEXT, "at": Stored.ZONED, "version": Stored.TEXT, "x": Stored.TEXT}
    database.make("rows", stored, [("a", START, "3", "12"), ("b", START, "3", "not a number")])
    database.execute('CREATE VIEW checked AS SELECT id, "at", version, 1.5 AS good, CAST(x AS INT) AS bad FROM rows')
    held = {name: stored[name] for name in ("id", "at", "version")} | {"good": Stored.DECIMAL, "bad": Stored.INTEGER}
    columns = [numeric("good", EDGES), numeric("bad", EDGES)]
    with (
        database.in_place(SqlTable("checked"), held, LOG) as (run, table),
        pytest.raises(
            TableError, match=r"log in table 'checked', column\(s\) 'bad': they cannot be counted.*not a number"
        ),
    ):
        SqlEngine(run).profile_hours(table, LOG, [hour(0)], lambda versions: {"3": reference(columns)})
    database.execute("DROP VIEW checked")


def test_a_table_without_what_every_log_has_is_refused_with_what_it_has(database: Database) -> None:
    stored = {"id": Stored.TEXT, "at": Stored.TEXT}
    database.make("log", stored, [("a", "2026-11-20")])
    with database.in_place(SqlTable("log"), stored, LOG) as (run, table):
        with pytest.raises(TableError, match="'version' not found; it has 'id', 'at'"):
            SqlEngine(run).profile_hours(table, LOG, [hour(0)], lambda versions: {})
        with pytest.raises(TableError, match="'at': it holds text, engine sql needs a timestamp or a date"):
            SqlEngine(run).profile_hours(table, replace(LOG, version=None), [hour(0)], lambda versions: {})


def test_text_where_times_are_needed_is_refused(database: Database) -> None:
    database.make("log", STORED, kept(3))
    column = of_time("name", DatetimePart.HOUR_OF_DAY, range(24))
    with (
        database.in_place(SqlTable("log"), STORED, LOG) as (run, table),
        pytest.raises(TableError, match="column 'name': it holds text, engine sql needs a timestamp"),
    ):
        SqlEngine(run).profile_hours(table, LOG, [hour(0)], lambda versions: {"3": reference([column])})


def test_a_whole_table_is_counted_like_the_file_it_could_be(database: Database) -> None:
    database.make("log", STORED, kept(60))
    columns = {each.name: each for each in every_reading() if each.kind is ColumnKind.DATETIME}
    with database.in_place(SqlTable("log"), STORED, LOG) as (run, table):
        for time in ("at", None, "not there"):
            found = SqlEngine(run).profile(table, ProfilePlan("3", columns, time))
            rows = database.read(SqlTable("log"), LOG, START, hour(9))
            assert_same({START: [Profile.of(rows, "3", columns, time=time)]}, {START: [found]})
    database.make("log", STORED, [])
    with database.in_place(SqlTable("log"), STORED, LOG) as (run, table):
        assert SqlEngine(run).profile(table, ProfilePlan("3", columns, "at")).rows == 0


class TheReference:
    """All of a reference store that the stages use."""

    def fetch(self, model: str, version: str) -> Reference | None:
        return reference_of_rows() if version == "3" else None


@pytest.mark.postgres
@pytest.mark.parametrize("case", CASES)
def test_the_stages_write_what_they_write_of_rows_that_are_read(case: str, server: str, tmp_path: Path) -> None:
    name = f"stages_{list(CASES).index(case)}"
    in_postgres(server).execute(f"CREATE DATABASE {name}")
    logs = filled(sql_on_postgres(tmp_path, f"{server.rpartition('/')[0]}/{name}"), CASES[case]())
    assert isinstance(logs.predictions, SqlPredictionLog)
    hours = [hour(at) for at in range(5)]
    stores = HourlyStore(tmp_path / "read"), HourlyStore(tmp_path / "counted")
    known: Any = TheReference()
    Stages(MONITOR, logs.predictions, logs.labels, stores[0], known).describe(hours)
    there = StagesInPlace(MONITOR, logs.predictions, logs.labels, stores[1], known, served=logs.predictions)
    there.describe(hours)
    read, counted = (each.read_profiles(MODEL, hours[0], hours[-1] + HOUR) for each in stores)
    assert_same(read, counted)
    for kind in ("samples", "quarantine", "operations", "freshness", "intake"):
        one, other = (each.read(kind, MODEL, hours[0], hours[-1] + HOUR) for each in stores)
        assert one.keys() == other.keys()
        for at, table in one.items():
            assert repr(other[at].to_pylist()) == repr(table.to_pylist()), f"{kind} {at}"
