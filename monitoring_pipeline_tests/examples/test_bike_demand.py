"""The second demonstration's data is what its README says, and its model learns from it without seeing the answer."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from examples.bike_demand import build_data
from examples.bike_demand.model import BIKES, BOOLEAN, CATEGORICAL, FEATURES, TRUSTED_TYPES, bikes_between, fit
from examples.bike_demand.replay import labels_between, prediction_ids, predictions_between
from examples.bike_demand.train import train_first_version
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.serve.scoring import Scorer, load_scorer
from monitoring_pipeline.stores.mlflow_reference import REFERENCE_COLUMNS, REFERENCE_ROWS
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store

HOUR = timedelta(hours=1)


def first_of(month: int) -> datetime:
    return datetime(2011, month, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return pq.read_table(BIKES)


@pytest.fixture(scope="module")
def bikes() -> pd.DataFrame:
    return bikes_between(first_of(7), datetime(2012, 1, 2, tzinfo=UTC))


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bikes")
    uri = new_mlflow_store(folder)
    assert train_first_version(uri, artifacts=folder / "artifacts") == "1"
    return uri


@pytest.fixture(scope="module")
def scorer(tracking_uri: str) -> Scorer:
    return load_scorer(tracking_uri, "bike_demand", 1, TRUSTED_TYPES, task=Task.REGRESSION)


def test_every_hour_with_a_rental_is_there_once_in_order(table: pa.Table) -> None:
    assert table.schema.equals(build_data.SCHEMA)
    assert table.num_rows == 8_645
    assert pc.all(pc.less(table["hour_start"][:-1], table["hour_start"][1:])).as_py()
    assert not any(column.null_count for column in table.columns)
    assert pc.min(table["bikers"]).as_py() == 1
    assert pc.sum(table["bikers"]).as_py() == 1_243_103


def test_the_hours_without_a_row_are_those_of_snow_ice_and_a_hurricane(table: pa.Table) -> None:
    hours = table["hour_start"].to_pandas()
    lengths = (hours.diff() / pd.Timedelta(HOUR) - 1).astype(float)
    assert lengths.sum() == 115
    longest = hours[lengths >= 12].dt.strftime("%m-%d %H").tolist()
    assert longest == ["01-18 17", "01-27 21", "08-28 11"]


def test_local_time_follows_the_clock_of_washington_through_both_changes(table: pa.Table) -> None:
    rows = table.select(["hour_start", "hr", "weekday", "workingday", "holiday"]).to_pandas()
    local = rows["hour_start"].dt.tz_convert("America/New_York")
    assert (local.dt.hour == rows["hr"]).all()
    assert ((local.dt.weekday + 1) % 7 == rows["weekday"]).all()
    assert (rows["workingday"] == (rows["weekday"].between(1, 5) & ~rows["holiday"])).all()


def test_the_committed_file_is_what_the_source_gives(table: pa.Table, tmp_path: Path) -> None:
    source = os.environ.get("ISLP_BIKESHARE_CSV")
    if source is None:
        pytest.skip("ISLP_BIKESHARE_CSV does not name a copy of Bikeshare.csv from the wheel of ISLP 0.6.0")
    built = build_data.build(build_data.read_source(Path(source)))
    assert built.equals(table)
    for name in ("first", "second"):
        build_data.write(built, tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Bikeshare.csv").write_bytes(b"something else")
    with pytest.raises(SystemExit, match="sha256"):
        build_data.read_source(tmp_path / "Bikeshare.csv")


def test_the_model_sees_nothing_that_is_known_only_when_the_hour_is_over(bikes: pd.DataFrame) -> None:
    assert set(FEATURES) == set(bikes.columns) - {"hour_start", "bikers", "actual"}
    # The count of members, which the source has too, gives the answer away: its correlation is above .98.
    numbers = bikes[[name for name in FEATURES if name not in CATEGORICAL]].astype(float)
    assert numbers.corrwith(bikes["actual"], method="spearman").abs().max() < 0.7


def test_fitting_twice_gives_the_same_model() -> None:
    rows = bikes_between(first_of(1), first_of(2))
    first, second = (fit(rows).predict(rows[list(FEATURES)]) for _ in range(2))
    assert np.array_equal(first, second)


def test_weather_never_seen_in_training_is_predicted_too(scorer: Scorer, bikes: pd.DataFrame) -> None:
    strange = bikes.head(20).assign(**dict.fromkeys(CATEGORICAL, "??"))
    assert (scorer.score(strange) > 0).all()


def test_the_first_version_is_registered_with_everything_the_monitor_needs(tracking_uri: str, scorer: Scorer) -> None:
    registry = MlflowRegistry(tracking_uri)
    champion = registry.version("bike_demand", "champion")
    assert champion.version == "1"
    assert champion.tags["deployed_at"] == first_of(7).isoformat()
    assert champion.tags["trained_until"] == first_of(6).isoformat()
    columns = registry.read_json(champion, REFERENCE_COLUMNS)
    assert isinstance(columns, dict)
    importances = columns.pop("importances")
    assert set(importances) == set(FEATURES)
    assert max(importances, key=importances.__getitem__) == "hr"
    assert columns == {
        "features": list(FEATURES),
        "time": "predicted_at",
        "score": None,
        "prediction": "prediction",
        "label": "actual",
    }
    reference = registry.read_parquet(champion, REFERENCE_ROWS).to_pandas()
    assert len(reference) == 30 * 24
    assert {(at.year, at.month) for at in reference["predicted_at"]} == {(2011, 6)}
    assert np.array_equal(scorer.score(reference), reference["prediction"])


def test_the_model_knows_june_and_every_month_of_autumn_less(
    tracking_uri: str, scorer: Scorer, bikes: pd.DataFrame
) -> None:
    from mlflow import MlflowClient

    run_id = MlflowRegistry(tracking_uri).version("bike_demand", 1).run_id
    run = MlflowClient(tracking_uri).get_run(run_id)
    assert run.data.metrics["reference_mae"] == pytest.approx(28.4, abs=0.5)
    assert run.data.metrics["reference_r2"] == pytest.approx(0.93, abs=0.01)
    assert run.inputs is not None
    assert [each.dataset.name for each in run.inputs.dataset_inputs] == ["bikes_2011_01_05"]
    errors = pd.Series(scorer.score(bikes)) - bikes["actual"]
    month = bikes["hour_start"].dt.month
    sizes = {name: errors[month == name].abs().mean() for name in (9, 10, 11)}
    assert sizes[9] + 5 < sizes[10] < sizes[11] - 2
    assert errors[month == 11].mean() < -25, "more people ride than the spring taught it"


def test_hours_of_the_replay_add_up_to_the_day_of_the_hurricane(bikes: pd.DataFrame, scorer: Scorer) -> None:
    start = datetime(2011, 8, 27, tzinfo=UTC)
    hours = [
        predictions_between(bikes, start + HOUR * hour, start + HOUR * (hour + 1), scorer, "1") for hour in range(24)
    ]
    day = predictions_between(bikes, start, start + timedelta(days=1), scorer, "1")
    assert pa.concat_tables(hours).equals(day)
    assert [hour.num_rows for hour in hours] == [1] * 22 + [0, 0]
    assert not any(column.null_count for column in day.columns)
    assert [day.schema.field(name).type for name in BOOLEAN] == [pa.bool_()] * 2


def test_a_label_is_known_when_its_hour_is_over_and_belongs_to_a_prediction(
    bikes: pd.DataFrame, scorer: Scorer
) -> None:
    predictions = predictions_between(bikes, first_of(7), first_of(8), scorer, "1")
    days = [
        labels_between(bikes, first_of(7) + timedelta(days=n), first_of(7) + timedelta(days=n + 1)) for n in range(31)
    ]
    labels = pa.concat_tables(days)
    assert labels.equals(labels_between(bikes, first_of(7), first_of(8)))
    assert labels.num_rows == predictions.num_rows - 1, "the last hour is over when August begins"
    assert set(labels["prediction_id"].to_pylist()) < set(predictions["prediction_id"].to_pylist())
    assert pc.unique(pc.subtract(labels["labelled_at"], labels["predicted_at"])).to_pylist() == [HOUR]


def test_an_hour_always_has_the_same_prediction_id() -> None:
    first, again, other = prediction_ids([first_of(7), pd.Timestamp(first_of(7)), first_of(8)])
    assert first == again != other
