import itertools
import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.predictions import TIME_TYPE, prepare_predictions
from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.errors import StoreError, TableError
from monitoring_pipeline.stores.parquet import ParquetPredictionLog
from monitoring_pipeline.stores.postgres_log import PostgresLabelLog, PostgresPredictionLog
from monitoring_pipeline.stores.postgres_tables import LONGEST, short, table_name
from monitoring_pipeline_tests.stores.conftest import execute, sibling
from monitoring_pipeline_tests.traffic import LOG, MODEL, START, hour, log_rows

pytestmark = pytest.mark.postgres
DAY = Window(MODEL, START, START + 24 * HOUR)
TABLE = f'monitoring."{table_name("predictions", MODEL)}"'
_numbers = itertools.count()


@pytest.fixture
def url(postgres_url: str) -> str:
    name = f"log_{next(_numbers)}"
    execute(postgres_url, f"CREATE DATABASE {name}")
    return sibling(postgres_url, name)


def asked(url: str, question: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(question)]


def columns_of(url: str) -> dict[str, str]:
    question = f"""SELECT attname, format_type(atttypid, -1) FROM pg_attribute
        WHERE attrelid = '{TABLE}'::regclass AND attnum > 0"""
    return {str(name): str(type_) for name, type_ in asked(url, question)}


def labels(ids: Sequence[str], *, at: float = 0.5) -> pa.Table:
    moments = pa.array([START + at * HOUR] * len(ids), TIME_TYPE)
    return pa.table({"prediction_id": list(ids), "actual": [1] * len(ids), "labelled_at": moments})


def test_rows_can_be_asked_for_in_sql_by_the_names_and_types_they_have(url: str) -> None:
    PostgresPredictionLog(url, LOG).append(MODEL, log_rows(50, seed=1, hours=30, active=[True] * 50))
    assert columns_of(url) == {
        "row_type": "integer",
        "predicted_at": "timestamp with time zone",
        "prediction_id": "text",
        "model_version": "text",
        "prediction": "bigint",
        "score": "double precision",
        "tenure": "double precision",
        "plan": "text",
        "active": "boolean",
    }
    ((count, newest),) = asked(url, f"SELECT count(*), max(predicted_at) FROM {TABLE} WHERE active AND tenure > 0")
    assert (count, newest) == (50, START + 29.4 * HOUR)
    assert [name for (name,) in asked(url, f"SELECT relid::text FROM pg_partition_tree('{TABLE}') OFFSET 1")] == [
        "monitoring.predictions_churn_20261120",
        "monitoring.predictions_churn_20261121",
    ]


EXACT: dict[str, pa.Array] = {
    "int8": pa.array([-128, None, 127], pa.int8()),
    "uint64": pa.array([2**64 - 1, 0, None], pa.uint64()),
    "int64": pa.array([2**63 - 1, -(2**63), None], pa.int64()),
    "float32": pa.array([0.1, None, -float("inf")], pa.float32()),
    "float16": pa.array([0.5, None, 1.0], pa.float16()),
    "float64": pa.array([-0.0, 5e-324, 0.1 + 0.2], pa.float64()),
    "decimal": pa.array([Decimal(10**30), None, Decimal("-0.01")], pa.decimal128(38, 2)),
    "date": pa.array([date(1, 1, 1), None, date(9998, 12, 31)], pa.date32()),
    "date64": pa.array([date(2026, 1, 1), None, None], pa.date64()),
    "time": pa.array([time(1, 2, 3), None, time(0)], pa.time64("us")),
    "milliseconds": pa.array([1_767_225_600_001, None, -62_135_596_800_000], pa.timestamp("ms")),
    "nanoseconds": pa.array([1, None, 10**18], pa.timestamp("ns", tz="Europe/Berlin")),
    "far away": pa.array([253_402_300_800, None, 0], pa.timestamp("s")),
    "duration": pa.array([timedelta(1), None, timedelta(0)], pa.duration("us")),
    "list": pa.array([[1, None], None, []], pa.list_(pa.int64())),
    "vector": pa.array([[0.1, 0.2], None, [1e300, 2.0]], pa.list_(pa.float64(), 2)),
    "not json": pa.array([[float("inf")], None, [1.0]], pa.list_(pa.float64())),
    "record": pa.array([{"a": "é", "b": 1}, None, {"a": None, "b": None}]),
    "record of times": pa.array([{"a": START}, None, {"a": None}]),
    "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "bytes": pa.array([b"\x00\xff", None, b""]),
    "zero": pa.array(["a\0b", None, ""], pa.string()),
    "large": pa.array(["\\.", None, ""], pa.large_string()),
    "nothing": pa.nulls(3),
    "xmin": pa.array([1.0, 2.0, 3.0]),
    "row_type": pa.array(["a", "b", None]),
    'a "name" with % and :colon and %(value)s': pa.array([1, 2, 3]),
    "long " * 20: pa.array([1, 2, 3]),
    "long " * 20 + "too": pa.array(["a", "b", "c"]),
}


@pytest.mark.parametrize("name", EXACT)
def test_values_of_every_type_come_back_exactly(name: str, url: str) -> None:
    rows = log_rows(3, seed=1, **{name: EXACT[name]})
    log = PostgresPredictionLog(url, LOG)
    log.append(MODEL, rows)
    found = log.read(DAY)
    assert found.schema.field(name).type == EXACT[name].type
    assert found.column_names == rows.column_names
    assert found[name].combine_chunks().equals(EXACT[name])
    assert all(len(column.encode()) <= LONGEST for column in columns_of(url))


def test_all_types_of_columns_fit_in_one_table_and_dictionaries_come_back_as_their_values(url: str) -> None:
    rows = log_rows(3, seed=1, **EXACT, coded=pa.array(["a", None, "a"]).dictionary_encode())
    log = PostgresPredictionLog(url, LOG)
    log.append(MODEL, rows)
    found = log.read(DAY)
    assert found.drop_columns(["coded"]).cast(rows.drop_columns(["coded"]).schema).equals(rows.drop_columns(["coded"]))
    assert found["coded"].combine_chunks().equals(pa.array(["a", None, "a"]))


def test_a_new_column_appears_and_a_changed_type_stands_beside_the_old_one(url: str, tmp_path: Any) -> None:
    logs = (PostgresPredictionLog(url, LOG), ParquetPredictionLog(tmp_path, LOG))
    batches = [
        log_rows(20, seed=1, at=0),
        log_rows(20, seed=2, at=1, tenure=[str(number) for number in range(20)], country=["FR"] * 20),
        log_rows(20, seed=3, at=2, prediction_id=list(range(20)), tenure=list(range(20))),
        log_rows(20, seed=4, at=3).drop_columns(["plan"]),
    ]
    for log in logs:
        for batch in batches:
            log.append(MODEL, batch)
        for number, batch in enumerate(batches):
            assert log.read(Window.of_hour(MODEL, hour(number))).equals(
                batch.cast(log.read(Window.of_hour(MODEL, hour(number))).schema)
            )
    ours, files = (prepare_predictions(log.read(DAY), LOG) for log in logs)
    assert ours.select(sorted(ours.column_names)).equals(files.select(sorted(files.column_names)))
    names = columns_of(url)
    assert {name: type_ for name, type_ in names.items() if name.startswith(("tenure", "country"))} == {
        "tenure": "double precision",
        "tenure (text)": "text",
        "tenure (bigint)": "bigint",
        "country": "text",
    }


def test_rows_without_a_time_are_kept_with_the_last_hour_of_their_batch_once(url: str, tmp_path: Any) -> None:
    times = ["2026-11-20T00:10:00Z", "yesterday", None, "2026-11-20T01:20:00+00:00"]
    rows, nothing = log_rows(4, seed=1, predicted_at=times), log_rows(2, seed=2, predicted_at=pa.nulls(2, TIME_TYPE))
    for log in (PostgresPredictionLog(url, LOG), ParquetPredictionLog(tmp_path, LOG)):
        for batch in (rows, nothing, rows, nothing):
            assert log.append(MODEL, batch) == batch.num_rows
        assert log.read(Window.of_hour(MODEL, START)).num_rows == 1
        kept = log.read(Window.of_hour(MODEL, START + HOUR))
        assert {"yesterday", None} < set(kept["predicted_at"].to_pylist())
        assert (kept.num_rows, prepare_predictions(kept, LOG).num_rows) == (3, 1)
        assert log.unplaced(MODEL).equals(nothing)
        assert log.hours(MODEL, since=datetime(1, 1, 1, tzinfo=UTC)) == [START, START + HOUR]
    with pytest.raises(TableError, match="'predicted_at' not found"):
        PostgresPredictionLog(url, LOG).append(MODEL, rows.drop_columns(["predicted_at"]))


def test_models_do_not_see_each_other_whatever_they_are_called(url: str) -> None:
    names = ["a", "A", "A/../a", "..", "mødel ∶ 1", "m" * 200, "m" * 199, "", '"; DROP SCHEMA monitoring; --', "100%"]
    names += [table_name("predictions", "A").removeprefix("predictions_")]
    log, known = PostgresPredictionLog(url, LOG), PostgresLabelLog(url, LabelColumns())
    for number, name in enumerate(names, start=1):
        assert log.read(Window(name, DAY.start, DAY.end)).num_rows == 0
        log.append(name, log_rows(number, seed=number))
        assert known.append(name, labels(["1"]), hours=[START]).sequence == 1
    assert [log.read(Window(name, DAY.start, DAY.end)).num_rows for name in names] == list(range(1, len(names) + 1))


def test_writers_at_the_same_time_make_each_table_and_store_each_batch_once(url: str) -> None:
    more: list[dict[str, Any]] = [{f"column {seed}": [seed] * 30} for seed in range(4)]
    batches = [log_rows(30, seed=seed, hours=60, **each) for seed, each in enumerate(more)]
    together, failed = threading.Barrier(6, timeout=60), []

    def write(writer: int) -> None:
        log = PostgresPredictionLog(url, LOG, partition=HOUR)
        together.wait()
        try:
            for step in range(4):
                log.append(MODEL, batches[(writer + step) % 4])
        except Exception as error:  # noqa: BLE001 - looked at in the thread of the test
            failed.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert failed == []
    rows = PostgresPredictionLog(url, LOG).read(Window(MODEL, START, START + 60 * HOUR))
    assert rows.num_rows == 120
    assert len(set(rows["prediction_id"].to_pylist())) == 120


def test_a_cursor_sees_every_arrival_once_and_in_order_while_others_append(url: str) -> None:
    writers, each = 4, 12

    def append(writer: int) -> None:
        log = PostgresLabelLog(url, LabelColumns())
        for number in range(each):
            log.append(MODEL, labels([f"{writer}-{number}"]), hours=[hour(writer), hour(number)])

    threads = [threading.Thread(target=append, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    log, cursor, seen, writing = PostgresLabelLog(url, LabelColumns()), 0, [], True
    while writing:
        writing = any(thread.is_alive() for thread in threads)
        while page := log.arrivals(MODEL, after=cursor, limit=3):
            assert [arrival.sequence for arrival in page] == list(range(cursor + 1, cursor + 1 + len(page)))
            cursor = page[-1].sequence
            seen += [arrival.hours for arrival in page]
    assert sorted(seen) == sorted((hour(writer), hour(number)) for writer in range(writers) for number in range(each))
    found = log.read(MODEL, start=START, end=START + HOUR)
    assert found is not None
    assert found.num_rows == writers * each


def test_labels_and_their_arrival_are_stored_together_or_not_at_all(url: str) -> None:
    log = PostgresLabelLog(url, LabelColumns())
    log.append(MODEL, labels(["1"]), hours=[START])
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE monitoring.arrivals ADD CONSTRAINT full_up CHECK (rows < 2)")
    with pytest.raises(StoreError, match="full_up"):
        log.append(MODEL, labels(["2", "3"]), hours=[START])
    found = log.read(MODEL, start=START, end=START + HOUR)
    assert found is not None
    assert found["prediction_id"].to_pylist() == ["1"]
    assert log.append(MODEL, labels(["2"]), hours=[]).sequence == 2


def test_a_batch_without_a_usable_row_is_an_arrival_that_touches_nothing(url: str) -> None:
    log = PostgresLabelLog(url, LabelColumns())
    log.append(MODEL, labels([]), hours=[])
    log.append(MODEL, labels(["1"]).set_column(2, "labelled_at", pa.nulls(1)), hours=[])
    assert [(arrival.sequence, arrival.rows) for arrival in log.arrivals(MODEL, after=0, limit=9)] == [(1, 0), (2, 1)]
    assert log.read(MODEL, start=START, end=START + HOUR) is None


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:hidden@127.0.0.1:1/db", "hidden", "postgresql://me:hidden@host:port/db", "mysql://a:hidden@h/b"],
)
def test_a_database_that_cannot_be_reached_is_named_without_its_password(url: str) -> None:
    with pytest.raises(StoreError, match=r"log in PostgreSQL.*\.") as caught:
        PostgresPredictionLog(url, LOG).read(DAY)
    assert "hidden" not in str(caught.value)


def test_names_of_columns_that_would_be_cut_off_end_in_a_digest() -> None:
    assert short("tenure") == "tenure"
    assert len(short("é" * 60).encode()) <= LONGEST
    assert short("é" * 60) != short("é" * 61)
