from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from monitoring_pipeline.capture.predictions import (
    TIME_TYPE,
    UNVERSIONED,
    LogColumns,
    as_text,
    as_utc,
    prepare_predictions,
)
from monitoring_pipeline.errors import TableError
from monitoring_pipeline_tests.traffic import LOG, START, log_rows

ONE = datetime(2026, 11, 20, 13, tzinfo=UTC)
NAIVE = ONE.replace(tzinfo=None)


def times(values: Any, type_: pa.DataType | None = None) -> list[datetime | None]:
    column = pa.chunked_array([pa.array(values, type=type_)])
    found: list[datetime | None] = as_utc(column, name="at", table="t").to_pylist()
    return found


@pytest.mark.parametrize(
    "column",
    [
        [NAIVE],
        [ONE],
        [ONE.astimezone(timezone(timedelta(hours=-5)))],
        ["2026-11-20T13:00:00Z"],
        ["2026-11-20 13:00"],
        ["2026-11-20T08:00:00-05:00"],
        pa.array([NAIVE], pa.timestamp("s")),
        pa.array([NAIVE], pa.timestamp("ns")),
        pa.array(["2026-11-20T13:00:00Z"], pa.large_string()),
        pa.array(["2026-11-20T13:00:00Z"]).dictionary_encode(),
        pa.array(pd.Series([pd.Timestamp("2026-11-20T13:00")])),
    ],
)
def test_a_time_is_utc_however_it_is_written(column: Any) -> None:
    assert times(column) == [ONE]


def test_text_of_several_zones_and_missing_times_are_read_row_by_row() -> None:
    written = ["2026-11-20T13:00:00Z", None, "2026-11-20T14:00:00+01:00", "2026-11-20T13:00:00.000001"]
    assert times(written) == [ONE, None, ONE, ONE + timedelta(microseconds=1)]
    assert times([date(2026, 11, 20)]) == [START]
    assert times([None, None], pa.null()) == [None, None]


@pytest.mark.parametrize("column", [["yesterday"], [1_763_643_600], [Decimal(1)], [[ONE]], [b"\xff"], [True]])
def test_what_is_no_time_is_refused_with_the_name_of_the_column(column: Any) -> None:
    with pytest.raises(TableError, match=r"t, column 'at': not a time .* ISO 8601"):
        times(column)


def texts(values: Any) -> list[str | None]:
    found: list[str | None] = as_text(pa.chunked_array([pa.array(values)])).to_pylist()
    return found


def test_ids_are_the_same_text_whatever_type_a_table_keeps_them_in() -> None:
    large = 123_456_789_012
    for column in ([7, large], [7.0, float(large)], ["7", str(large)], pa.array(["7", str(large)]).dictionary_encode()):
        assert texts(column) == ["7", str(large)]
    assert texts(np.array([7, np.nan])) == ["7", None]
    assert texts([2.5, None, float("inf")]) == ["2.5", None, "inf"]


@pytest.mark.parametrize(("column", "text"), [([[1]], "[1]"), ([{"a": 1}], "{'a': 1}"), ([b"\xff", b"7"], "\\xff")])
def test_an_id_that_is_no_text_is_written_as_one(column: Any, text: str) -> None:
    assert texts(column)[0] == text


def prepared(rows: pa.Table, columns: LogColumns = LOG) -> pa.Table:
    return prepare_predictions(rows, columns)


def test_preparing_keeps_one_row_per_id_in_a_fixed_order() -> None:
    rows = log_rows(200, seed=1)
    found = prepared(pa.concat_tables([rows, rows.slice(20, 90), rows.slice(0, 50)]))
    assert found["prediction_id"].to_pylist() == sorted(rows["prediction_id"].to_pylist())
    assert found.equals(prepared(rows))


def test_preparing_what_is_prepared_changes_nothing() -> None:
    rows = prepared(log_rows(50, seed=2))
    assert prepared(rows).equals(rows)


def test_the_order_of_the_rows_changes_no_bit_even_where_one_id_has_several_payloads() -> None:
    rows = log_rows(60, seed=3)
    lists = pa.array([[number % 3, 1] for number in range(60)])
    rows = rows.append_column("list", lists).append_column("kept", rows["plan"].combine_chunks().dictionary_encode())
    # Three rows per id, alike in time, version, prediction and score, unlike in the features.
    third = pa.array([number % 20 for number in range(60)])
    for name in ("prediction_id", "predicted_at", "model_version", "prediction", "score"):
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].take(third))
    expected = prepared(rows)
    assert expected.num_rows == 20
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(60)
        assert prepared(rows.take(pa.array(order))).equals(expected)


def test_the_earliest_of_several_rows_of_one_id_stays() -> None:
    moments = [START + timedelta(minutes=minute) for minute in (30, 10, 20)]
    rows = log_rows(3, seed=4, prediction_id=["a"] * 3, predicted_at=moments, tenure=[1.0, 2.0, 3.0])
    assert prepared(rows)["tenure"].to_pylist() == [2.0]


def test_an_hour_is_prepared_the_same_alone_and_in_a_range() -> None:
    first = log_rows(5, seed=5, prediction_id=list("abcde"))
    second = log_rows(5, seed=6, at=1, prediction_id=list("abxyz"))
    both = prepared(pa.concat_tables([second, first]))
    early = pc.less(both["predicted_at"], pa.scalar(START + timedelta(hours=1), TIME_TYPE))
    assert both.filter(early).equals(prepared(first))
    assert both.filter(pc.invert(early)).equals(prepared(second))


def test_rows_without_an_id_or_a_time_are_left_out() -> None:
    rows = log_rows(
        4,
        seed=7,
        prediction_id=["a", None, "c", "d"],
        predicted_at=pa.array([START, START, None, START], TIME_TYPE),
    )
    assert prepared(rows)["prediction_id"].to_pylist() == ["a", "d"]
    assert prepared(rows.slice(1, 2)).num_rows == 0
    assert prepared(rows.slice(0, 0)).num_rows == 0


def test_one_time_that_cannot_be_read_costs_its_own_row() -> None:
    moments = ["2026-11-20T00:10:00Z", "soon", None, "2026-11-20 00:20"]
    rows = log_rows(4, seed=7, prediction_id=list("abcd"), predicted_at=moments)
    assert prepared(rows)["prediction_id"].to_pylist() == ["a", "d"]
    with pytest.raises(TableError, match=r"'predicted_at': not a time \(none of 2 texts can be read, such as 'soon'"):
        prepared(rows.slice(1, 2))


@pytest.mark.parametrize("micros", [-62_135_596_800_000_000, 253_402_300_799_000_000, 1_795_000_000_000_000_000])
def test_a_time_that_nobody_means_costs_its_own_row(micros: int) -> None:
    rows = log_rows(10, seed=1)
    written = rows["predicted_at"].cast(pa.int64()).to_pylist()
    times = pa.array([micros, *written[1:]]).cast(pa.timestamp("us", tz="UTC"))
    assert prepared(rows.set_column(1, "predicted_at", times)).equals(prepared(rows.slice(1)))


def test_numbers_are_ids_and_versions_too() -> None:
    rows = log_rows(3, seed=8, prediction_id=[3, 1, 2], model_version=[2.0, None, float("nan")])
    found = prepared(rows)
    assert found["prediction_id"].to_pylist() == ["1", "2", "3"]
    assert found["model_version"].to_pylist() == [UNVERSIONED, UNVERSIONED, "2"]


def test_a_log_without_versions_scores_or_predictions_is_a_log() -> None:
    rows = log_rows(3, seed=9).select(["prediction_id", "predicted_at", "tenure"])
    assert prepared(rows, LogColumns(version=None, prediction=None, score=None)).num_rows == 3


def test_every_missing_column_is_named_together_with_those_there_are() -> None:
    rows = log_rows(3, seed=10).drop_columns(["score", "predicted_at"])
    with pytest.raises(TableError, match="column\\(s\\) 'predicted_at', 'score' not found; it has 'prediction_id'"):
        prepared(rows)
