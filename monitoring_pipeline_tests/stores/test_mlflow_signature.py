from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.stores.mlflow_signature import signature_types
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store

COLUMNS = Schema(
    [
        ColSpec(DataType.double, "tenure"),
        ColSpec(DataType.string, "plan", required=False),
        ColSpec(DataType.datetime, "since"),
    ]
)
TENSOR = Schema([TensorSpec(type=np.dtype("float64"), shape=(-1, 3))])


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with three versions of one model that are descriptions and nothing else."""
    folder = tmp_path_factory.mktemp("signatures")
    uri = new_mlflow_store(folder)
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("e", artifact_location=(folder / "artifacts").as_uri())
    client.create_registered_model("churn")
    for number, schema in enumerate((COLUMNS, TENSOR, None)):
        run = client.create_run(experiment)
        place = Path(folder / f"{number}")
        place.mkdir()
        Model(signature=ModelSignature(inputs=schema) if schema else None).save(str(place / "MLmodel"))
        client.log_artifact(run.info.run_id, str(place / "MLmodel"), "model")
        client.create_model_version("churn", f"{run.info.artifact_uri}/model", run.info.run_id)
    return uri


def test_the_types_of_a_signature_are_read_without_the_model(tracking_uri: str) -> None:
    assert signature_types(tracking_uri, "churn", 1) == {
        "tenure": "double",
        "plan": "optional string",
        "since": "datetime",
    }


@pytest.mark.parametrize("version", [2, "3"])
def test_a_model_that_names_no_columns_has_none(tracking_uri: str, version: int | str) -> None:
    assert signature_types(tracking_uri, "churn", version) == {}


def test_a_version_that_is_not_there_is_an_error_that_names_it(tracking_uri: str) -> None:
    with pytest.raises(RegistryError, match=r"signature of churn v9 cannot be fetched: .*See that the version exists"):
        signature_types(tracking_uri, "churn", 9)
