from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from monitoring_pipeline.errors import RegistryError, TableError
from monitoring_pipeline.stores.mlflow_reference import REFERENCE_COLUMNS, REFERENCE_ROWS, log_reference
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store

ROLES: dict[str, Any] = {
    "features": ["carrier", "distance"],
    "time": "at",
    "score": "score",
    "prediction": "late",
    "label": "actual",
}


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with two versions of one model, the second without a run."""
    folder = tmp_path_factory.mktemp("registry")
    uri = new_mlflow_store(folder)
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("delays", artifact_location=(folder / "artifacts").as_uri())
    run = client.create_run(experiment).info
    client.create_registered_model("delays")
    client.create_model_version("delays", source=f"{run.artifact_uri}/model", run_id=run.run_id)
    client.create_model_version("delays", source=f"{run.artifact_uri}/model")
    return uri


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "unused": [object(), object()],
            "carrier": ["AA", None],
            "distance": [2475.0, float("nan")],
            "at": pd.to_datetime(["2013-03-01T08:00", "2013-03-01T09:30"]).tz_localize("America/New_York"),
            "score": [0.25, 0.75],
            "late": [0, 1],
            "actual": [1.0, float("nan")],
        },
        index=[7, 7],
    )


def test_rows_and_the_meaning_of_their_columns_come_back_with_the_version(
    tracking_uri: str, rows: pd.DataFrame
) -> None:
    weights = {"distance": 0.02}
    log_reference(rows, model_name="delays", version=1, importances=weights, tracking_uri=tracking_uri, **ROLES)
    registry = MlflowRegistry(tracking_uri)
    version = registry.version("delays", 1)
    expected = pa.table(
        {
            "carrier": ["AA", None],
            "distance": [2475.0, None],
            "at": pa.array(
                [datetime(2013, 3, 1, 13, 0, tzinfo=UTC), datetime(2013, 3, 1, 14, 30, tzinfo=UTC)],
                pa.timestamp("us", tz="UTC"),
            ),
            "score": [0.25, 0.75],
            "late": [0, 1],
            "actual": [1.0, None],
        }
    )
    assert registry.read_parquet(version, REFERENCE_ROWS).equals(expected)
    assert registry.read_json(version, REFERENCE_COLUMNS) == ROLES | {"importances": weights}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": "probability"}, "'probability' not found; it has"),
        ({"importances": {"score": 1.0}}, "importance of 'score' is of no feature"),
        ({"importances": {"carrier": float("nan")}}, "importance of 'carrier'"),
        ({"features": ["carrier", "actual"]}, "'actual' named for two uses"),
        ({"features": []}, "no features named"),
        ({"time": "distance", "features": ["carrier"]}, "need a timestamp with a time zone"),
    ],
)
def test_columns_that_cannot_serve_are_refused(
    tracking_uri: str, rows: pd.DataFrame, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(TableError, match=words):
        log_reference(rows, model_name="delays", version=1, tracking_uri=tracking_uri, **{**ROLES, **change})


def test_times_without_a_zone_are_refused(tracking_uri: str, rows: pd.DataFrame) -> None:
    rows["at"] = rows["at"].dt.tz_localize(None)
    with pytest.raises(TableError, match="tz_localize"):
        log_reference(rows, model_name="delays", version=1, tracking_uri=tracking_uri, **ROLES)


def test_rows_without_a_time_are_refused(tracking_uri: str, rows: pd.DataFrame) -> None:
    rows["at"] = rows["at"].where(rows["late"] == 0)
    with pytest.raises(TableError, match=r"missing in 1 row\(s\)"):
        log_reference(rows, model_name="delays", version=1, tracking_uri=tracking_uri, **ROLES)


def test_no_rows_are_no_reference(tracking_uri: str, rows: pd.DataFrame) -> None:
    with pytest.raises(TableError, match="no rows"):
        log_reference(rows.head(0), model_name="delays", version=1, tracking_uri=tracking_uri, **ROLES)


def test_a_column_of_mixed_types_is_refused(tracking_uri: str, rows: pd.DataFrame) -> None:
    rows["carrier"] = pd.Series(["AA", 7], dtype=object, index=rows.index)
    with pytest.raises(TableError, match="mixes types"):
        log_reference(rows, model_name="delays", version=1, tracking_uri=tracking_uri, **ROLES)


@pytest.mark.parametrize(("version", "words"), [(9, "not found"), ("2", "has no run")])
def test_a_version_that_cannot_keep_a_reference_is_named(
    tracking_uri: str, rows: pd.DataFrame, version: str | int, words: str
) -> None:
    with pytest.raises(RegistryError, match=words):
        log_reference(rows, model_name="delays", version=version, tracking_uri=tracking_uri, **ROLES)
