from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.labels import (
    LABELLED,
    LabelColumns,
    hours_in,
    join_labels,
    prepare_labels,
    timely_labels,
    touched_hours,
)
from monitoring_pipeline.capture.predictions import TIME_TYPE, prepare_predictions
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.errors import TableError
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline_tests.traffic import LOG, MODEL, START, hour, log_rows

NAMES = LabelColumns()


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def labels(*rows: tuple[Any, Any, datetime | None]) -> pa.Table:
    ids, actuals, moments = zip(*rows, strict=True)
    columns = {"prediction_id": pa.array(ids), "actual": pa.array(actuals), "labelled_at": pa.array(moments, TIME_TYPE)}
    return pa.table(columns)


def known(table: pa.Table) -> dict[str, Any]:
    return dict(zip(table["prediction_id"].to_pylist(), table["actual"].to_pylist(), strict=True))


def test_a_correction_replaces_what_was_known_before() -> None:
    table = labels(("a", 0, at(3)), ("a", 1, at(5)), ("b", 1, at(4)), ("a", 0, at(4)))
    assert known(prepare_labels(table, NAMES)) == {"a": 1, "b": 1}


def test_the_order_in_which_labels_were_stored_does_not_matter() -> None:
    generator = np.random.default_rng(1)
    rows = [
        (f"{generator.integers(20)}", int(generator.integers(2)), at(float(generator.integers(4)))) for _ in range(99)
    ]
    expected = prepare_labels(labels(*rows), NAMES)
    for seed in range(5):
        shuffled = [rows[place] for place in np.random.default_rng(seed).permutation(99)]
        assert prepare_labels(labels(*shuffled, *shuffled[:9]), NAMES).equals(expected)


def test_of_two_values_known_at_the_same_moment_the_larger_stays() -> None:
    assert known(prepare_labels(labels(("a", 1, at(3)), ("a", 0, at(3))), NAMES)) == {"a": 1}
    assert known(prepare_labels(labels(("a", 0, at(3)), ("a", 1, at(3))), NAMES)) == {"a": 1}


def test_rows_without_an_id_a_value_or_a_time_are_no_labels() -> None:
    table = labels(
        (None, 1.0, at(1)), ("b", None, at(1)), ("c", 1.0, None), ("d", float("nan"), at(9)), ("d", 0.0, at(1))
    )
    assert known(prepare_labels(table, NAMES)) == {"d": 0.0}
    assert prepare_labels(table.slice(0, 0), NAMES).num_rows == 0


def test_labels_may_be_called_otherwise_and_missing_ones_are_named() -> None:
    table = labels(("a", 1, at(1))).rename_columns(["key", "late", "seen"])
    assert known(prepare_labels(table, LabelColumns("key", "late", "seen"))) == {"a": 1}
    with pytest.raises(TableError, match="'prediction_id', 'actual', 'labelled_at' not found"):
        prepare_labels(table, NAMES)


PREDICTIONS = prepare_predictions(log_rows(4, seed=1, prediction_id=["d", "c", "b", "a"]), LOG)


def joined(table: pa.Table | None, as_of: datetime) -> list[Any]:
    known = None if table is None else prepare_labels(table, NAMES)
    found = join_labels(PREDICTIONS, known, id_column="prediction_id", as_of=as_of)
    assert found.drop_columns(list(LABELLED)).equals(PREDICTIONS)
    values: list[Any] = found["actual"].to_pylist()
    return values


def test_a_prediction_gets_its_label_and_null_where_there_is_none() -> None:
    assert joined(labels(("d", 1, at(2)), ("b", 0, at(3)), ("stranger", 1, at(2))), at(9)) == [None, 0, None, 1]
    assert joined(None, at(9)) == [None] * 4
    assert joined(labels(("a", 1, at(1))).slice(0, 0), at(9)) == [None] * 4


def test_what_becomes_known_at_the_moment_of_asking_is_not_known_yet() -> None:
    table = labels(("a", 1, at(2)))
    assert joined(table, at(2)) == [None] * 4
    assert joined(table, at(2) + timedelta(microseconds=1)) == [1, None, None, None]


def test_ids_join_whatever_type_either_side_keeps_them_in() -> None:
    predictions = prepare_predictions(log_rows(2, seed=2, prediction_id=[10, 11]), LOG)
    known = prepare_labels(labels((11.0, 1, at(2)), (None, 1, at(2))), NAMES)
    found = join_labels(predictions, known, id_column="prediction_id", as_of=at(9))
    assert found["actual"].to_pylist() == [None, 1]


def test_what_a_log_itself_says_of_the_outcome_is_not_taken_for_a_label() -> None:
    predictions = PREDICTIONS.append_column("actual", pa.array([9, 9, 9, 9]))
    for known in (None, prepare_labels(labels(("a", 1, at(2))), NAMES)):
        found = join_labels(predictions, known, id_column="prediction_id", as_of=at(9))
        assert found.column_names.count("actual") == 1
        assert 9 not in found["actual"].to_pylist()


def test_a_correction_after_the_watermark_does_not_hide_what_was_known_then(tmp_path: Path) -> None:
    log = ParquetLabelLog(tmp_path, NAMES)
    log.append(MODEL, labels(("a", 0, at(2.1)), ("a", 1, at(2.6))), hours=[])
    for as_of, expected in ((at(2.5), 0), (at(2.7), 1)):
        table = log.read(MODEL, start=START, end=as_of)
        assert joined(table, as_of) == [expected, None, None, None]
    assert log.read(MODEL, start=at(2.2), end=at(2.6)) is None


def test_a_label_counts_only_up_to_the_longest_delay_after_its_hour() -> None:
    rows = labels(("a", 1, at(4.9)), ("b", 1, at(5)), ("c", 1, at(-0.1)), ("stranger", 1, at(1)), ("d", 1, at(0)))
    timely = timely_labels(rows, PREDICTIONS, columns=NAMES, log=LOG, max_delay=4 * HOUR)
    assert timely["prediction_id"].to_pylist() == ["a", "d"]


def test_labels_touch_the_hours_of_their_predictions(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LOG)
    for number in (0, 3, 4, 30):
        log.append(MODEL, log_rows(5, seed=number, at=number))
    batch = labels(("4-4-1", 1, at(6)), ("0-0-2", 1, at(7)), ("stranger", 1, at(7)), ("30-30-1", 0, at(7)))
    asked: dict[str, Any] = {"model": MODEL, "columns": NAMES, "id_column": "prediction_id"}
    assert touched_hours(batch, log, **asked, max_delay=24 * HOUR) == (hour(0), hour(4))
    assert touched_hours(batch, log, **asked, max_delay=2 * HOUR) == (hour(4),)
    assert touched_hours(batch.slice(0, 0), log, **asked, max_delay=24 * HOUR) == ()


def test_a_batch_that_carries_the_times_of_its_predictions_needs_no_log(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LOG)
    log.append(MODEL, log_rows(5, seed=3, at=3))
    asked: dict[str, Any] = {"model": MODEL, "columns": NAMES, "id_column": "prediction_id", "max_delay": 24 * HOUR}
    batch = labels(("x", 1, at(6)), ("3-3-1", 1, at(6)))
    told = batch.append_column("predicted_at", pa.array([at(1.5), at(3.2)], TIME_TYPE))
    assert touched_hours(told, log, **asked) == (hour(1), hour(3))
    half_told = batch.append_column("predicted_at", pa.array([at(1.5), None], TIME_TYPE))
    assert touched_hours(half_told, log, **asked) == (hour(3),)


def test_hours_are_distinct_in_order_and_in_utc() -> None:
    column = pa.chunked_array([pa.array([at(2.9), None, at(0), at(2.0), at(-0.5)], TIME_TYPE)])
    assert hours_in(column) == (hour(-1), hour(0), hour(2))
    assert hours_in(column.slice(1, 1)) == ()


def test_what_was_said_first_is_kept_beside_what_is_known_now() -> None:
    table = labels(("a", 1, at(3)), ("a", 0, at(1)), ("a", 0, at(1)), ("b", 1, at(2)))
    first = prepare_labels(table, NAMES)
    assert first["actual"].to_pylist() == [1, 1]
    assert first["label: first_actual"].to_pylist() == [0, 1]
    assert first["label: first_labelled_at"].to_pylist() == [at(1), at(2)]
    assert first["label: reports"].to_pylist() == [2, 1], "the same report stored twice is one report"
