from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.predictions import TIME_TYPE, prepare_predictions
from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.errors import StoreError, TableError
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog, hour_name, parse_hour
from monitoring_pipeline_tests.traffic import LOG, MODEL, START, hour, log_rows


def test_an_hour_has_the_same_name_in_every_time_zone() -> None:
    india = START.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert hour_name(START) == hour_name(india) == "2026-11-20T00Z"
    assert parse_hour("2026-11-20T00Z") == START


def test_rows_lie_in_a_folder_per_hour_that_other_tools_can_read(tmp_path: Path) -> None:
    ParquetPredictionLog(tmp_path, LOG).append("a/b", log_rows(6, seed=1, hours=2))
    folders = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*/*"))
    assert folders == [f"predictions/model=a%2Fb/hour=2026-11-20T0{number}Z" for number in range(2)]


def test_rows_without_a_time_are_kept_with_the_last_hour_of_their_batch(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LOG)
    rows = log_rows(3, seed=1, predicted_at=pa.array([START, None, START + HOUR], TIME_TYPE))
    assert log.append(MODEL, rows) == 3
    assert log.append(MODEL, rows) == 3
    assert log.read(Window.of_hour(MODEL, START)).num_rows == 1
    kept = log.read(Window.of_hour(MODEL, START + HOUR))
    assert (kept.num_rows, kept["predicted_at"].null_count) == (2, 1)
    assert prepare_predictions(kept, LOG).num_rows == 1
    assert log.unplaced(MODEL).num_rows == 0


def test_a_batch_without_any_time_is_kept_in_a_place_of_its_own(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LOG)
    rows = log_rows(2, seed=1, predicted_at=pa.nulls(2, TIME_TYPE))
    assert log.append(MODEL, rows) == 2
    assert log.hours(MODEL, since=START - 24 * HOUR) == []
    assert log.unplaced(MODEL)["prediction_id"].to_pylist() == rows["prediction_id"].to_pylist()


def test_a_time_that_cannot_be_read_is_kept_as_it_was_written_and_costs_no_other_row(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LOG)
    log.append(MODEL, log_rows(3, seed=1, predicted_at=["2026-11-20T00:10:00Z", "yesterday", "2026-11-20T00:20:00Z"]))
    log.append(MODEL, log_rows(2, seed=2))
    rows = log.read(Window.of_hour(MODEL, START))
    assert rows.num_rows == 5
    assert "yesterday" in rows["predicted_at"].to_pylist()
    assert prepare_predictions(rows, LOG).num_rows == 4
    with pytest.raises(TableError, match="none of 2 texts can be read, such as 'soon'"):
        log.append(MODEL, log_rows(2, seed=3, predicted_at=["soon", "later"]))


@pytest.mark.parametrize("year", [1, 9999])
def test_a_time_that_nobody_means_makes_no_hour_of_its_own(year: int, tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LOG)
    log.append(MODEL, log_rows(2, seed=1, predicted_at=[START, datetime(year, 1, 1, tzinfo=UTC)]))
    assert log.hours(MODEL, since=datetime(1, 1, 1, tzinfo=UTC)) == [START]
    assert log.read(Window.of_hour(MODEL, START)).num_rows == 2


def test_rows_that_have_no_time_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="'predicted_at' not found; it has 'prediction_id'"):
        ParquetPredictionLog(tmp_path, LOG).append(MODEL, log_rows(3, seed=1).drop_columns(["predicted_at"]))


def test_times_written_as_text_are_stored_as_times(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LOG)
    log.append(MODEL, log_rows(2, seed=1, predicted_at=["2026-11-20T01:30:00+01:00", "2026-11-20 00:59:59"]))
    log.append(MODEL, log_rows(2, seed=2))
    found = log.read(Window.of_hour(MODEL, START))
    assert (found.num_rows, found["predicted_at"].type) == (4, TIME_TYPE)


def test_a_producer_that_changes_a_type_within_a_day_costs_nothing_but_that_column(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LOG)
    log.append(MODEL, log_rows(20, seed=1, at=0))
    log.append(MODEL, log_rows(20, seed=2, at=1, tenure=[str(number) for number in range(20)]))
    log.append(MODEL, log_rows(20, seed=3, at=2, prediction_id=list(range(20))))
    rows = prepare_predictions(log.read(Window(MODEL, START, START + 3 * HOUR)), LOG)
    assert rows.num_rows == 60
    assert (rows["tenure"].type, rows["score"].type) == (pa.string(), pa.float64())


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LOG)
    log.append(MODEL, log_rows(3, seed=1))
    (path,) = tmp_path.rglob("*.parquet")
    path.write_bytes(b"not Parquet")
    with pytest.raises(StoreError, match=path.name):
        log.read(Window.of_hour(MODEL, START))


def labels(*moments: datetime | None) -> pa.Table:
    ids = [f"id {place}" for place in range(len(moments))]
    columns = {"prediction_id": ids, "actual": [1] * len(moments), "labelled_at": pa.array(moments, TIME_TYPE)}
    return pa.table(columns)


def test_labels_are_read_from_the_first_moment_up_to_the_last_and_no_further(tmp_path: Path) -> None:
    log = ParquetLabelLog(tmp_path, LabelColumns())
    minutes = [START + timedelta(minutes=minute) for minute in (0, 20, 40, 60, 80)]
    log.append(MODEL, labels(*minutes), hours=[])
    found = log.read(MODEL, start=minutes[1], end=minutes[4])
    assert found is not None
    assert found["prediction_id"].to_pylist() == ["id 1", "id 2", "id 3"]
    assert log.read(MODEL, start=minutes[0] + HOUR * 9, end=minutes[4] + HOUR * 9) is None


def test_a_batch_without_a_usable_row_is_an_arrival_that_touches_nothing(tmp_path: Path) -> None:
    log = ParquetLabelLog(tmp_path, LabelColumns())
    log.append(MODEL, labels(None), hours=[])
    log.append(MODEL, labels(), hours=[])
    assert [(arrival.sequence, arrival.hours) for arrival in log.arrivals(MODEL, after=0, limit=9)] == [
        (1, ()),
        (2, ()),
    ]


def test_arrivals_are_read_in_pages_after_a_cursor(tmp_path: Path) -> None:
    log = ParquetLabelLog(tmp_path, LabelColumns())
    for number in range(12):
        log.append(MODEL, labels(hour(number)), hours=[hour(number), hour(number + 1)])
    page = log.arrivals(MODEL, after=7, limit=3)
    assert [arrival.sequence for arrival in page] == [8, 9, 10]
    assert page[0].hours == (hour(7), hour(8))
    assert page[0].rows == 1
    assert log.arrivals(MODEL, after=12, limit=3) == []
