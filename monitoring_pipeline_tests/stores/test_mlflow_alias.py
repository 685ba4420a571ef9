"""Asked of a store MLflow itself has made, and over HTTP of something that answers as its API does."""

import json
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.mlflow_alias import version_of_alias
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store

ALIAS = "/api/2.0/mlflow/registered-models/alias"


def test_an_alias_in_a_database_of_mlflow_is_found(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = new_mlflow_store(tmp_path)
    client = MlflowClient(uri, uri)
    client.create_registered_model("churn's")
    for _ in range(2):
        client.create_model_version("churn's", source=f"{tmp_path.as_uri()}/model")
    assert version_of_alias(uri, "churn's", "champion") is None
    client.set_registered_model_alias("churn's", "champion", "2")
    assert version_of_alias(uri, "churn's", "champion") == "2"
    assert version_of_alias(uri, "other", "champion") is None


def test_an_alias_is_asked_of_a_server_by_its_api(httpserver: HTTPServer) -> None:
    asked = {"name": "churn", "alias": "champion"}
    found = json.dumps({"model_version": {"name": "churn", "version": "7"}})
    httpserver.expect_oneshot_request(ALIAS, query_string=asked).respond_with_data(found)
    assert version_of_alias(httpserver.url_for("/"), "churn", "champion") == "7"
    httpserver.expect_oneshot_request(ALIAS).respond_with_data("{}", status=404)
    assert version_of_alias(httpserver.url_for(""), "churn", "champion") is None
    httpserver.expect_oneshot_request(ALIAS).respond_with_data("", status=503)
    with pytest.raises(StoreError, match="MLflow answered 503"):
        version_of_alias(httpserver.url_for(""), "churn", "champion")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("sqlite:////nowhere/mlflow.db", "there is no file"),
        ("http://127.0.0.1:1", "no connection"),
        ("postgresql://mlflow:hunter2@127.0.0.1:1/mlflow", "MLflow's database"),
    ],
)
def test_where_nobody_answers_it_is_said_without_the_password(uri: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as raised:
        version_of_alias(uri, "churn", "champion")
    assert "hunter2" not in str(raised.value)
