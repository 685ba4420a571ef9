"""Laws of every store a log can be kept in: the same rows give the same files of every stage that reads it."""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sqlalchemy as sa

from monitoring_pipeline.capture.labels import LabelColumns, LabelLog, hours_in, touched_hours
from monitoring_pipeline.capture.predictions import TIME_TYPE, PredictionLog, as_utc
from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline.stores.postgres_log import PostgresLabelLog, PostgresPredictionLog
from monitoring_pipeline.stores.sql_log import SqlLabelLog, SqlPredictionLog, SqlTable
from monitoring_pipeline.workflow.offline import table_reference
from monitoring_pipeline.workflow.stages import Stages
from monitoring_pipeline_tests.postgres import running_postgres
from monitoring_pipeline_tests.traffic import COMPUTED, MODEL, START, VERSION, hour, log_rows

MONITOR = parse_monitor(
    {
        "model": MODEL,
        "start": START.isoformat(),
        "features": {
            "numeric": ["tenure", "seats"],
            "categorical": ["plan"],
            "boolean": ["active"],
            "datetime": ["joined"],
        },
        "windows": ["1h", "4h"],
        "drift": {"min_rows": 20},
        "performance": {"min_rows": 20},
    }
)
HOURS = 5
databases = itertools.count()
india = timezone(timedelta(hours=5, minutes=30))


def predictions(rows: int, *, seed: int, at: int = 0, hours: int = 1, **columns: Any) -> pa.Table:
    """Return rows with a column of every type that both Arrow and databases have."""
    generator = np.random.default_rng([seed, 7])
    more = {
        "seats": generator.integers(-5, 5, rows),
        "active": generator.random(rows) < 0.5,
        "joined": pa.array([START - timedelta(days=int(day)) for day in generator.integers(0, 400, rows)], TIME_TYPE),
    }
    return log_rows(rows, seed=seed, at=at, hours=hours, **(more | columns))


def labels_of(rows: pa.Table, *, after: float = 0.25, turned: bool = False, seed: int = 0) -> pa.Table:
    """Return the labels of some predictions, known some hours later."""
    generator = np.random.default_rng(seed)
    came_true = (generator.random(rows.num_rows) < np.asarray(rows["score"])).astype(np.int64)
    moments = as_utc(rows["predicted_at"], name="predicted_at", table="test").to_pylist()
    return pa.table(
        {
            "prediction_id": rows["prediction_id"],
            "actual": 1 - came_true if turned else came_true,
            "labelled_at": pa.array([moment + after * HOUR for moment in moments], TIME_TYPE),
        }
    )


def instead(values: Sequence[Any], name: str, rows: int, type_: pa.DataType, **asked: Any) -> pa.Table:
    """Return predictions whose first rows have some values in a column."""
    usual = predictions(rows, **asked)[name].to_pylist()
    return predictions(rows, **asked, **{name: pa.array([*values, *usual[len(values) :]], type_)})


@dataclass(frozen=True)
class Case:
    """What is stored, in this order."""

    batches: tuple[pa.Table, ...]
    labels: tuple[pa.Table, ...] = field(default=())


def plain() -> Case:
    batches = tuple(predictions(60, seed=seed, at=at, hours=2) for seed, at in ((1, 0), (2, 1), (3, 4)))
    return Case(batches, tuple(map(labels_of, batches)))


def duplicates() -> Case:
    first = predictions(60, seed=1, hours=3)
    changed = predictions(60, seed=1, hours=3, score=np.linspace(0, 1, 60))
    known = labels_of(first)
    return Case((first, first, changed, first), (known, known, labels_of(first, turned=True)))


def out_of_order() -> Case:
    first, second = predictions(50, seed=1, at=3), predictions(50, seed=2, at=0)
    backwards = predictions(50, seed=4, hours=4).take(np.arange(50)[::-1])
    return Case((first, second, backwards), (labels_of(second), labels_of(backwards), labels_of(first)))


def corrected() -> Case:
    rows = predictions(80, seed=1, hours=2)
    late = labels_of(rows, after=2.5, turned=True)
    return Case((rows,), (late, labels_of(rows), labels_of(rows, after=0.5, turned=True).slice(0, 30)))


def missing() -> Case:
    nothing = [None] * 40
    rows = predictions(40, seed=1, tenure=pa.array(nothing, pa.float64()), plan=pa.array(nothing, pa.string()))
    some = instead([None] * 9, "plan", 40, pa.string(), seed=2, at=1)
    none = predictions(40, seed=3, at=2, seats=pa.array(nothing, pa.int64()), joined=pa.array(nothing, TIME_TYPE))
    unversioned = instead(
        [None] * 9, "active", 40, pa.bool_(), seed=4, at=3, model_version=pa.array(nothing, pa.string())
    )
    return Case((rows, some, none, unversioned), (labels_of(some),))


def numbers_of_all_sizes() -> Case:
    found = [
        float("inf"),
        -float("inf"),
        1e30,
        float(10**30),
        0.0,
        float("nan"),
        5e-324,
        1.7976931348623157e308,
        0.1 + 0.2,
        1 / 3,
    ]
    whole = [2**63 - 1, -(2**63), 2**53 + 1]
    return Case(
        (
            instead(found, "tenure", 40, pa.float64(), seed=1),
            instead(whole, "seats", 40, pa.int64(), seed=2, at=1),
        )
    )


def texts_of_all_kinds() -> Case:
    texts = [
        "",
        " ",
        "NULL",
        "\\N",
        "\\.",
        'a "quoted", text',
        "two\nlines\r\n\\.\n",
        "ü∶—’",
        "🙂\u200d",
        "'; DROP TABLE x;",
    ]
    texts += ["é", "é", "x" * 70_000, "%s %(a)s", ":name", "\t", "1", "1.0", "nan", "true"]
    rows = instead(texts, "plan", 40, pa.string(), seed=1)
    ids = instead(texts, "prediction_id", 40, pa.string(), seed=2, at=1)
    return Case((rows, ids), (labels_of(ids),))


def times_of_all_kinds() -> Case:
    moments = [START + timedelta(minutes=minute, microseconds=minute) for minute in range(0, 240, 4)]
    zoned = pa.array([moment.astimezone(india) for moment in moments], pa.timestamp("us", tz="Asia/Kolkata"))
    naive = pa.array([moment.replace(tzinfo=None) for moment in moments], pa.timestamp("ns"))
    text = [moment.astimezone(india).isoformat() for moment in moments]
    batches = tuple(predictions(60, seed=seed, predicted_at=each) for seed, each in enumerate((zoned, naive, text)))
    return Case(batches, tuple(map(labels_of, batches)))


CASES: dict[str, Callable[[], Case]] = {
    each.__name__: cache(each)
    for each in (
        plain,
        duplicates,
        out_of_order,
        corrected,
        missing,
        numbers_of_all_sizes,
        texts_of_all_kinds,
        times_of_all_kinds,
    )
}


@cache
def reference() -> Reference:
    return table_reference(MONITOR, predictions(400, seed=99, hours=4), version=VERSION, computed_at=COMPUTED)


class OneReference:
    """All of a reference store that the stages use."""

    def fetch(self, model: str, version: str) -> Reference | None:
        return reference() if version == VERSION else None


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        Path(folder).chmod(0o755)  # the server runs as another user
        with running_postgres(Path(folder) / "server") as url:
            yield url


@dataclass(frozen=True)
class Logs:
    """A pair of logs, and how whoever makes the rows stores them."""

    predictions: PredictionLog
    labels: LabelLog
    store: Callable[[pa.Table], object]
    store_labels: Callable[[pa.Table], object]


def parquet(folder: Path, database: str) -> Logs:
    return writable(ParquetPredictionLog(folder, MONITOR.columns), ParquetLabelLog(folder, MONITOR.labels.columns()))


def postgres(folder: Path, database: str, partition: timedelta = timedelta(days=1)) -> Logs:
    asked: dict[str, Any] = {"partition": partition, "schema": "Log of ours"}
    return writable(
        PostgresPredictionLog(database, MONITOR.columns, **asked),
        PostgresLabelLog(database, MONITOR.labels.columns(), **asked),
    )


def writable(served: PredictionLog, known: LabelLog) -> Logs:
    return Logs(
        served,
        known,
        partial(served.append, MODEL),
        lambda labels: known.append(MODEL, labels, hours=hours_in(labels["labelled_at"])),
    )


def sqlite(folder: Path, database: str) -> Logs:
    return tables(f"sqlite:///{folder / 'theirs.db'}", sa.Text())


def sql_on_postgres(folder: Path, database: str) -> Logs:
    return tables(database, sa.TIMESTAMP(timezone=True))


def tables(url: str, time: sa.types.TypeEngine[Any]) -> Logs:
    """Return logs that are tables of somebody else's, where features have other names and other models have rows."""
    types: dict[pa.DataType, sa.types.TypeEngine[Any]] = {
        pa.float64(): sa.Double(),
        pa.int64(): sa.BigInteger(),
        pa.string(): sa.Text(),
        pa.bool_(): sa.Boolean(),
    }
    metadata = sa.MetaData()

    def made(name: str, rows: pa.Table) -> sa.Table:
        own = [sa.Column(names.get(each.name, each.name), types.get(each.type, time)) for each in rows.schema]
        return sa.Table(name, metadata, sa.Column("model", sa.Text()), *own)

    names = {"tenure": "Tenure, in months", "predicted_at": "at"}
    served, known = made("Served", predictions(1, seed=0)), made("Known", labels_of(predictions(1, seed=0)))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    metadata.create_all(engine)
    stored: list[tuple[str, pa.Table]] = []

    def store(table: sa.Table, column: str, rows: pa.Table) -> None:
        moments = as_utc(rows[column], name=column, table="test")
        rows = rows.set_column(rows.column_names.index(column), column, moments)
        if any(name == table.name and rows.equals(other) for name, other in stored):
            return  # whoever writes the table does not write the same twice
        stored.append((table.name, rows))
        there = []
        for row in rows.rename_columns([names.get(name, name) for name in rows.column_names]).to_pylist():
            if isinstance(time, sa.Text):
                row = {name: each.isoformat() if isinstance(each, datetime) else each for name, each in row.items()}
            there += [row | {"model": MODEL}, row | {"model": "another"}]
        with engine.begin() as connection:
            connection.execute(table.insert(), there)

    log = SqlPredictionLog(url, SqlTable("Served", columns=names, only={"model": MODEL}), MONITOR.columns)
    touched = partial(
        touched_hours,
        log=log,
        model=MODEL,
        columns=LabelColumns(),
        id_column="prediction_id",
        max_delay=timedelta(days=7),
    )
    return Logs(
        log,
        SqlLabelLog(url, SqlTable("Known", only={"model": MODEL}), LabelColumns(), touched=touched),
        partial(store, served, "predicted_at"),
        partial(store, known, "labelled_at"),
    )


Store = Callable[[Path, str], Logs]
STORES: dict[str, Store] = {
    "postgres by day": postgres,
    "postgres by hour": partial(postgres, partition=HOUR),
    "sqlite": sqlite,
    "sql on postgres": sql_on_postgres,
}
every_case = pytest.mark.parametrize("case", CASES)
every_other_store = pytest.mark.parametrize("store", STORES)
every_store = pytest.mark.parametrize("store", ["parquet", *STORES])


@pytest.fixture
def database(server: str, request: pytest.FixtureRequest) -> str:
    """A database of the test's own, where its store needs one."""
    if request.node.callspec.params.get("store") in ("parquet", "sqlite"):
        return ""
    name = f"logs_{next(databases)}"
    with closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
    return server.rpartition("/")[0] + f"/{name}"


def opened(store: str, folder: Path, database: str) -> Logs:
    folder.mkdir()
    return ({"parquet": parquet} | STORES)[store](folder, database)


def filled(logs: Logs, case: Case) -> Logs:
    for batch in case.batches:
        logs.store(batch)
    for known in case.labels:
        logs.store_labels(known)
    return logs


def files_of(logs: Logs, folder: Path) -> dict[str, bytes]:
    """Return what the stages that read a log write of its hours, by the path of the file; others read these files."""
    stages = Stages(
        MONITOR,
        logs.predictions,
        logs.labels,
        HourlyStore(folder),
        OneReference(),  # type: ignore[arg-type]
    )
    hours = [hour(number) for number in range(HOURS + 1)]
    stages.describe(hours)
    stages.join(hours, as_of=START + timedelta(days=2))
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


@cache
def expected(case: str, lite: bool) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        logs = opened("parquet", Path(folder) / "log", "")
        return files_of(filled(logs, asked(case, lite)), Path(folder) / "hourly")


def asked(case: str, lite: bool) -> Case:
    """Return a case as SQLite can hold it: dates are text, and what is not a number is nothing."""
    found = CASES[case]()
    if not lite:
        return found
    nan = [pc.if_else(pc.is_nan(rows["tenure"]), None, rows["tenure"]) for rows in found.batches]
    dates = [
        [None if date is None else date.isoformat() for date in rows["joined"].to_pylist()] for rows in found.batches
    ]
    batches = [
        rows.set_column(rows.column_names.index("joined"), "joined", pa.array(each, pa.string())).set_column(
            rows.column_names.index("tenure"), "tenure", numbers
        )
        for rows, each, numbers in zip(found.batches, dates, nan, strict=True)
    ]
    return Case(tuple(batches), found.labels)


@pytest.mark.postgres
@every_other_store
@every_case
def test_the_same_rows_give_the_same_files_to_the_byte(case: str, store: str, tmp_path: Path, database: str) -> None:
    form = (case, store == "sqlite")
    found = files_of(filled(opened(store, tmp_path / "log", database), asked(*form)), tmp_path / "hourly")
    assert len(found) > 6 * HOURS
    assert found.keys() == expected(*form).keys()
    assert [name for name, content in found.items() if content != expected(*form)[name]] == []


@pytest.mark.postgres
@every_store
def test_an_empty_log_reads_as_nothing(store: str, tmp_path: Path, database: str) -> None:
    logs = opened(store, tmp_path / "log", database)
    assert logs.predictions.read(Window(MODEL, START, START + HOUR)).num_rows == 0
    assert logs.predictions.hours(MODEL, since=START) == []
    assert logs.labels.read(MODEL, start=START, end=START + HOUR) is None
    assert logs.labels.arrivals(MODEL, after=0, limit=9) == []


@pytest.mark.postgres
@every_store
def test_hours_hold_what_was_predicted_in_them_and_no_more(store: str, tmp_path: Path, database: str) -> None:
    logs = opened(store, tmp_path / "log", database)
    edges = [START, START + HOUR - timedelta(microseconds=1), START + HOUR, START + 30 * HOUR]
    logs.store(predictions(4, seed=1, predicted_at=pa.array(edges, TIME_TYPE)))
    found = [logs.predictions.read(Window(MODEL, START + n * HOUR, START + (n + 1) * HOUR)).num_rows for n in range(3)]
    assert found == [2, 1, 0]
    assert logs.predictions.hours(MODEL, since=START) == [START, START + HOUR, START + 30 * HOUR]
    assert logs.predictions.hours(MODEL, since=START + 1.5 * HOUR) == [START + HOUR, START + 30 * HOUR]
    assert logs.predictions.read(Window(MODEL, START, START + 31 * HOUR)).num_rows == 4


@pytest.mark.postgres
@every_store
def test_labels_are_read_from_the_first_moment_up_to_the_last(store: str, tmp_path: Path, database: str) -> None:
    logs = opened(store, tmp_path / "log", database)
    minutes = [START + timedelta(minutes=minute, seconds=7) for minute in (0, 20, 40, 60, 80)]
    known = labels_of(predictions(5, seed=1)).set_column(2, "labelled_at", pa.array(minutes, TIME_TYPE))
    logs.store_labels(known)
    found = logs.labels.read(MODEL, start=minutes[1], end=minutes[4])
    assert found is not None
    assert sorted(found["prediction_id"].to_pylist()) == known["prediction_id"].to_pylist()[1:4]
    assert logs.labels.read(MODEL, start=minutes[4] + timedelta(microseconds=1), end=minutes[4] + HOUR) is None


@pytest.mark.postgres
@every_store
def test_a_cursor_sees_every_label_that_arrives_once(store: str, tmp_path: Path, database: str) -> None:
    logs = opened(store, tmp_path / "log", database)
    first = datetime(2024, 3, 1, tzinfo=UTC)  # long enough ago for every database
    cursor, seen, touched = 0, 0, set()
    for number in range(4):
        moments = pa.array([first + number * HOUR + timedelta(seconds=each) for each in range(3)], TIME_TYPE)
        rows = predictions(3, seed=number, predicted_at=moments)
        logs.store(rows)
        logs.store_labels(labels_of(rows))
        while page := logs.labels.arrivals(MODEL, after=cursor, limit=1):
            assert page[0].sequence > cursor
            cursor, seen = page[0].sequence, seen + page[0].rows
            touched |= set(page[0].hours)
    assert seen == 12
    assert touched == {first + number * HOUR for number in range(4)}
    assert logs.labels.arrivals(MODEL, after=cursor, limit=9) == []
    assert sum(page.rows for page in logs.labels.arrivals(MODEL, after=0, limit=99)) == 12
