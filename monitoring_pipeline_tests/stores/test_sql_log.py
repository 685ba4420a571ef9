import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from monitoring_pipeline.capture.labels import LabelColumns, hours_in
from monitoring_pipeline.capture.predictions import LogColumns, as_utc
from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.errors import StoreError, TableError
from monitoring_pipeline.stores.sql_log import SqlLabelLog, SqlPredictionLog, SqlTable
from monitoring_pipeline_tests.stores.conftest import execute
from monitoring_pipeline_tests.traffic import MODEL, START, hour

COLUMNS = LogColumns(prediction_id="id", predicted_at="at", version=None, prediction=None, score=None)
LABELS = LabelColumns(prediction_id="id", actual="actual", labelled_at="at")
DAY = Window(MODEL, START, START + 24 * HOUR)


def made(folder: Path, *statements: str) -> str:
    with closing(sqlite3.connect(folder / "theirs.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return f"sqlite:///{folder / 'theirs.db'}"


def predictions(url: str, **asked: Any) -> SqlPredictionLog:
    return SqlPredictionLog(url, SqlTable(**({"name": "served"} | asked)), COLUMNS)


def touched(labels: pa.Table) -> tuple[datetime, ...]:
    return hours_in(as_utc(labels["predicted_at"], name="predicted_at", table="test"))


@pytest.mark.parametrize("name", ['x" OR 1=1 --', "x'; DROP TABLE served; --", "Mixed Case", "a.b", "%(x)s", ":x", "?"])
def test_names_and_values_are_never_read_as_sql(name: str, tmp_path: Path) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    text = "'" + name.replace("'", "''") + "'"
    url = made(
        tmp_path,
        "CREATE TABLE served (id TEXT)",
        "INSERT INTO served VALUES ('kept')",
        f"CREATE TABLE {quoted} (id TEXT, at TEXT, {quoted} TEXT, kind TEXT)",
        f"INSERT INTO {quoted} VALUES ('a', '2026-11-20T00:10:00Z', 'v', {text})",
        f"INSERT INTO {quoted} VALUES ('b', '2026-11-20T00:10:00Z', 'w', 'k')",
    )
    log = predictions(url, name=name, columns={"feature": name}, only={"kind": name})
    rows = log.read(DAY)
    assert rows.select(["id", "feature"]).to_pylist() == [{"id": "a", "feature": "v"}]
    assert log.hours(MODEL, since=START) == [START]
    for mistaken in ({"columns": {"feature": f"{name} "}}, {"only": {f"{name} ": "k"}}):
        with pytest.raises(TableError, match="not found; it has 'id', 'at'"):
            predictions(url, name=name, **mistaken).read(DAY)
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as connection:
        assert connection.execute("SELECT * FROM served").fetchall() == [("kept",)]


def test_rows_are_those_of_the_log_under_the_names_they_have_there(tmp_path: Path) -> None:
    url = made(
        tmp_path,
        'CREATE TABLE served ("key" TEXT, "when" TEXT, x REAL, y REAL, tenant TEXT)',
        """INSERT INTO served VALUES
        ('a', '2026-11-20 00:00:00', 1, 2, 'us'), ('b', '2026-11-20 00:59:59.999999', 3, 4, 'us'),
        ('c', '2026-11-20 01:00:00', 5, 6, 'us'), ('d', '2026-11-20 00:30:00', 7, 8, 'them'),
        ('e', NULL, 9, 9, 'us')""",
    )
    log = predictions(url, columns={"id": "key", "at": "when", "y": "x", "x": "y"}, only={"tenant": "us"})
    rows = log.read(Window.of_hour(MODEL, START))
    assert rows.column_names == ["id", "at", "y", "x"]
    assert rows.drop_columns(["at"]).to_pylist() == [{"id": "a", "y": 1.0, "x": 2.0}, {"id": "b", "y": 3.0, "x": 4.0}]
    assert log.hours(MODEL, since=START) == [START, START + HOUR]


@pytest.mark.parametrize("form", ["{:%Y-%m-%dT%H:%M:%SZ}", "{:%Y-%m-%d %H:%M}", "{:%Y-%m-%d %H:%M:%S.%f+00:00}"])
def test_times_are_text_of_one_form_in_utc(form: str, tmp_path: Path) -> None:
    moments = [START - timedelta(minutes=1), START, START + timedelta(minutes=59), START + HOUR, START + 24 * HOUR]
    rows = ", ".join(f"('{number}', '{form.format(moment)}')" for number, moment in enumerate(moments))
    url = made(tmp_path, "CREATE TABLE served (id TEXT, at TIMESTAMP)", f"INSERT INTO served VALUES {rows}")
    found = predictions(url).read(Window.of_hour(MODEL, START))
    assert found.to_pylist() == [{"id": "1", "at": moments[1]}, {"id": "2", "at": moments[2]}]
    assert predictions(url).hours(MODEL, since=START) == [START, START + HOUR, START + 24 * HOUR]


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("'2026-11-20T00:10:00+05:30'", "'2026-11-20T00:20:00Z'", r"'2026-11-20T00:10:00\+05:30' is neither"),
        (
            "'2026-11-20T00:10:00Z'",
            "'2026-11-20T06:20:00+05:30'",
            r"\+05:30' is neither a timestamp",
        ),
        ("1763596800", "1763596801", "1763596800 is neither a timestamp"),
        ("'20/11/2026'", "NULL", "'20/11/2026' is neither a timestamp"),
        ("'2026-11-20'", "NULL", "Name a view with such a column"),
    ],
)
def test_times_by_which_rows_cannot_be_found_are_refused(first: str, second: str, says: str, tmp_path: Path) -> None:
    values = f"INSERT INTO served VALUES ('a', {first}), ('b', {second})"
    url = made(tmp_path, "CREATE TABLE served (id TEXT, at TEXT)", values.replace("INTEGER", ""))
    if first.isdigit():
        url = made(tmp_path, "DROP TABLE served", "CREATE TABLE served (id TEXT, at INTEGER)", values)
    with pytest.raises(StoreError, match=says):
        predictions(url).read(DAY)


def test_a_column_is_of_its_own_type_also_where_all_of_it_is_missing_and_text_where_it_is_mixed(tmp_path: Path) -> None:
    url = made(
        tmp_path,
        "CREATE TABLE served (id TEXT, at TEXT, whole INTEGER, yes BOOLEAN, x DOUBLE, name VARCHAR(9), bytes BLOB, of)",
        "INSERT INTO served VALUES ('a', '2026-11-20T00:00:00Z', NULL, NULL, NULL, NULL, NULL, NULL)",
        "INSERT INTO served VALUES ('b', '2026-11-20T01:00:00Z', 7, 1, 1e400, 'é', x'00ff', 2.5)",
        "INSERT INTO served VALUES ('c', '2026-11-20T01:00:00Z', 'seven', 0, 2, '', x'', 'many')",
    )
    empty, full = (predictions(url).read(Window.of_hour(MODEL, hour(number))) for number in (0, 1))
    types = {"whole": "int64", "yes": "bool", "x": "double", "name": "string", "bytes": "binary"}
    assert {name: str(empty.schema.field(name).type) for name in types} == types
    assert full.drop_columns(["id", "at"]).to_pylist() == [
        {"whole": "7", "yes": True, "x": float("inf"), "name": "é", "bytes": b"\x00\xff", "of": "2.5"},
        {"whole": "seven", "yes": False, "x": 2.0, "name": "", "bytes": b"", "of": "many"},
    ]


@pytest.mark.postgres
def test_views_and_types_of_postgresql_are_read(postgres_url: str) -> None:
    statements = (
        "DROP SCHEMA IF EXISTS theirs CASCADE; CREATE SCHEMA theirs",
        """CREATE TABLE theirs.served (id uuid, at timestamp, small smallint, short real, exact numeric, day date,
            seen timestamptz, raw bytea, more jsonb, old boolean)""",
        """INSERT INTO theirs.served VALUES ('6f2c1c1e-0000-4000-8000-000000000001', '2026-11-20 00:10:00', 3, 0.1,
            10 ^ 30, '2026-01-02', '2026-11-20 05:30:00+05:30', '\\x00ff', '[1, 2]', true)""",
        "INSERT INTO theirs.served (at) VALUES ('2026-11-20 01:00:00')",
        "CREATE VIEW theirs.seen AS SELECT * FROM theirs.served",
    )
    for statement in statements:
        execute(postgres_url, statement)
    log = predictions(postgres_url, name="seen", schema="theirs")
    rows = log.read(Window.of_hour(MODEL, START))
    (row,) = rows.to_pylist()
    assert rows["short"].combine_chunks().equals(pa.array([0.1], pa.float32()))
    assert (row["at"], row["seen"], row["raw"]) == (START + timedelta(minutes=10), START, b"\x00\xff")
    assert (row["small"], row["exact"], row["old"], row["more"]) == (3, Decimal(10**30), True, [1, 2])
    assert log.hours(MODEL, since=START) == [START, START + HOUR]


def test_a_log_of_others_is_not_written(tmp_path: Path) -> None:
    url = made(tmp_path, "CREATE TABLE served (id TEXT, at TEXT)")
    labels = SqlLabelLog(url, SqlTable("served"), LABELS, touched=touched)
    with pytest.raises(StoreError, match="'served': it is only read here"):
        predictions(url).append(MODEL, pa.table({}))
    with pytest.raises(StoreError, match="only read"):
        labels.append(MODEL, pa.table({}), hours=[])


def test_changed_labels_arrive_when_they_were_changed_and_once_they_have_settled(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    changed = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 9, tzinfo=UTC), now - HOUR]
    rows = ", ".join(f"('{number}', 1, '{START}', '{hour(number)}', '{at}')" for number, at in enumerate(changed))
    url = made(
        tmp_path,
        "CREATE TABLE known (id TEXT, actual INTEGER, at TEXT, predicted_at TEXT, changed TEXT)",
        f"INSERT INTO known VALUES {rows}",
    )
    log = SqlLabelLog(url, SqlTable("known"), LABELS, touched=touched, arrived_at="changed", settled=2 * HOUR)
    (arrival,) = log.arrivals(MODEL, after=0, limit=9)
    assert (arrival.rows, arrival.hours) == (2, (hour(0), hour(1)))
    assert log.arrivals(MODEL, after=arrival.sequence, limit=9) == []
    made(tmp_path, "UPDATE known SET actual = 0, changed = '2026-01-01 03:00:00+00:00' WHERE id = '0'")
    (again,) = log.arrivals(MODEL, after=arrival.sequence, limit=9)
    assert (again.rows, again.hours) == (1, (hour(0),))
    found = log.read(MODEL, start=START, end=START + HOUR)
    assert found is not None
    assert sorted(found["actual"].to_pylist()) == [0, 1, 1]


@pytest.mark.parametrize("url", ["hidden", "nosuch://me:hidden@h/d", "postgresql://me:hidden@127.0.0.1:1/d"])
def test_a_database_that_cannot_be_read_is_named_without_its_password(url: str) -> None:
    with pytest.raises(StoreError, match="log in table 'served'") as caught:
        predictions(url).read(DAY)
    assert "hidden" not in str(caught.value)


def test_a_table_or_a_time_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = made(tmp_path, "CREATE TABLE served (id TEXT, moment TEXT)")
    with pytest.raises(TableError, match="'at' not found; it has 'id', 'moment'"):
        predictions(url).read(DAY)
    with pytest.raises(StoreError, match=r"log in table 'nowhere': nowhere\. Check that"):
        predictions(url, name="nowhere").read(DAY)
    assert sa.inspect(sa.create_engine(url)).get_table_names() == ["served"]
