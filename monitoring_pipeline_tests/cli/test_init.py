"""A reader's own file, from nothing to an evaluation."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.settings.load import load_monitor
from monitoring_pipeline_tests.deployments import Deployment
from monitoring_pipeline_tests.traffic import hour


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rentals() -> pa.Table:
    """Rows of a regression, with names of somebody's own."""
    rng = np.random.default_rng(3)
    heat = rng.normal(15, 8, 600)
    demand = 100 + 4 * heat + rng.normal(0, 10, 600)
    return pa.table(
        {
            "event_id": [f"e{number}" for number in range(600)],
            "ts": [hour(0) + timedelta(minutes=5 * number) for number in range(600)],
            "temperature": heat,
            "weather": rng.choice(["dry", "rain"], 600),
            "y_pred": 100 + 4 * heat,
            "y_true": demand,
        }
    )


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_what_it_writes_passes_the_check_and_evaluates_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if suffix == "csv":
        pyarrow.csv.write_csv(rentals(), "rentals.csv")
    else:
        pq.write_table(rentals(), "rentals.parquet")
    done = run("init", "--from-file", f"rentals.{suffix}", "--format", "json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert (answer["file"], answer["monitor"]["task"]) == ("monitors/rentals.yaml", "regression")
    assert len([line for line in Path(answer["file"]).read_text().splitlines() if not line.startswith("#")]) <= 10
    for step in answer["next"]:
        taken = run(*step.split()[1:])
        assert taken.exit_code == 0, (step, taken.output)
    assert "600 of the predictions have labels" in taken.stdout
    metrics = set(pq.read_table("evaluation/signals.parquet", columns=["metric"])["metric"].to_pylist())
    assert {"drift.psi", "performance.rmse"} <= metrics


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    pq.write_table(rentals(), tmp_path / "rentals.parquet")
    path = tmp_path / "mine.yaml"
    asked = ("init", "--from-file", tmp_path / "rentals.parquet", "--output", path)
    assert run(*asked).exit_code == 0
    path.write_text("mine")
    again = run(*asked)
    assert (again.exit_code, path.read_text()) == (2, "mine")
    assert "mine.yaml: File exists. Name a file that is not there yet with --output." in again.stderr


def test_without_anything_to_begin_with_it_says_what_to_give() -> None:
    done = run("init")
    assert done.exit_code == 2
    assert "Give --from-file rows.parquet, or --model NAME." in done.stderr


def test_a_registered_version_is_described_by_its_reference_rows(deployment: Deployment, tmp_path: Path) -> None:
    done = run("init", "--model", "churn", "--output", tmp_path / "churn.yaml")
    assert done.exit_code == 0, done.output
    monitor = load_monitor(tmp_path / "churn.yaml")
    assert monitor.features.numeric == ("usage", "tenure")
    assert monitor.features.categorical == ("plan",)
    assert monitor.task.value == "binary_classification"
    assert "--job churn__reference" in done.stdout


def test_a_version_without_reference_rows_is_described_by_its_signature(deployment: Deployment, tmp_path: Path) -> None:
    import mlflow
    from mlflow.models import infer_signature

    from monitoring_pipeline_tests.deployments import FEATURES, champion, customers

    uri = deployment.monitoring.deployment.tracking_uri
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    client = mlflow.MlflowClient(uri, uri)
    location = (tmp_path / "artifacts").as_uri()
    with mlflow.start_run(experiment_id=client.create_experiment("returns", artifact_location=location)):
        mlflow.sklearn.log_model(
            champion(),
            name="model",
            registered_model_name="prod.returns",
            signature=infer_signature(customers([hour(0)])[FEATURES]),
            serialization_format="skops",
            pip_requirements=["scikit-learn"],
        )
    done = run("init", "--model", "prod.returns", "--version", "1", "--output", tmp_path / "returns.yaml")
    assert done.exit_code == 0, done.output
    monitor = load_monitor(tmp_path / "returns.yaml")
    assert (monitor.model, monitor.registered_model) == ("prod_returns", "prod.returns")
    assert set(monitor.features.kinds()) == set(FEATURES)
    assert monitor.features.categorical == ("plan",)
    assert "# a guess: nothing tells" in done.stdout
    assert "call log_reference" in done.stdout


def test_a_model_nobody_registered_is_said(deployment: Deployment, tmp_path: Path) -> None:
    done = run("init", "--model", "chrun", "--output", tmp_path / "x.yaml")
    assert done.exit_code == 2
    assert "alias 'champion' of model 'chrun'" in done.stderr
    assert not (tmp_path / "x.yaml").exists()
