"""The flights model behind HTTP: what it serves is what the pipeline reads."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from examples.flight_delays.model import CATEGORICAL, FEATURES, NAME, TRUSTED_TYPES, flights_between
from examples.flight_delays.train import train_first_version
from monitoring_pipeline.capture.labels import join_labels, prepare_labels
from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.capture.windows import HOUR, Window, hour_of
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.reference_building import build_reference
from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.serve.routing import CHAMPION, SHADOW
from monitoring_pipeline.serve.scoring import load_scorer
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.load import load_monitor
from monitoring_pipeline.stores.mlflow_reference import REFERENCE_ROWS
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline.stores.reference_store import ReferenceStore
from monitoring_pipeline.workflow.scoring_service import scoring_service, service_clock, switch_to
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store
from monitoring_pipeline_tests.pages import ROOT
from monitoring_pipeline_tests.processes import free_port, running, wait_until
from monitoring_pipeline_tests.scoring import Port, listening

pytestmark = pytest.mark.slow

NOW = datetime(2013, 4, 18, 13, 30, tzinfo=UTC)
MONITOR = load_monitor(ROOT / "monitors" / "flight_delays.yaml")
COMMAND = "import monitoring_pipeline.cli.models; from monitoring_pipeline.cli import app; app()"


@dataclass
class Served:
    """A deployment with the flights model in its registry, and a reference of it."""

    deployment: Deployment

    @property
    def predictions(self) -> ParquetPredictionLog:
        return ParquetPredictionLog(self.deployment.state_directory / "data", MONITOR.columns)

    def point(self, alias: str, version: str = "1") -> None:
        mlflow.MlflowClient(self.deployment.tracking_uri).set_registered_model_alias(NAME, alias, version)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("served")
    uri = new_mlflow_store(folder)
    train_first_version(uri, artifacts=folder / "artifacts")
    env = {"MONITORING_HOME": str(folder), "MLFLOW_TRACKING_URI": uri, "MONITORING_CLOCK": "clock"}
    found = Served(Deployment.from_environment(env, root=folder))
    assert found.deployment.clock_file is not None
    found.deployment.clock_file.write_text(NOW.isoformat())
    registry = MlflowRegistry(uri)
    version = registry.version(NAME, CHAMPION)
    rows = registry.read_parquet(version, REFERENCE_ROWS)
    reference = build_reference(
        rows,
        MONITOR.column_specs(),
        model=NAME,
        version="1",
        computed_at=NOW,
    )
    ReferenceStore(folder / "data", registry).save(reference)
    return found


@pytest.fixture
def port(served: Served) -> Iterator[Port]:
    clock = service_clock(served.deployment, lambda: datetime.now(UTC))
    with listening(scoring_service(MONITOR, served.deployment, clock=clock, poll_s=0.1)) as found:
        yield found


def requests(flights: pd.DataFrame) -> list[dict[str, Any]]:
    rows = flights[list(FEATURES)].astype(object).where(flights[list(FEATURES)].notna(), None)
    return [{"features": row} for row in rows.to_dict("records")]


def test_flights_are_scored_as_the_model_scores_them_recorded_labelled_and_described(
    served: Served, port: Port
) -> None:
    flights = flights_between(NOW, NOW + HOUR)
    assert len(flights) > 50
    status, answer, _ = port.ask("POST", "/predict/batch", {"rows": requests(flights)})
    assert status == 200, answer
    scores = load_scorer(served.deployment.tracking_uri, NAME, 1, TRUSTED_TYPES).score(flights)
    assert [each["score"] for each in answer["predictions"]] == pytest.approx(scores.tolist())

    said = [
        {"prediction_id": each["prediction_id"], "actual": int(at % 3 == 0), "labelled_at": "2013-04-18T16:00:00Z"}
        for at, each in enumerate(answer["predictions"])
    ]
    assert port.ask("POST", "/feedback", {"labels": said})[1] == {"stored": len(flights)}

    window = Window.of_hour(NAME, NOW)
    rows = prepare_predictions(served.predictions.read(window), MONITOR.columns)
    assert rows.num_rows == len(flights)
    reference = ReferenceStore(served.deployment.state_directory / "data", MlflowRegistry("")).load(NAME, "1")
    assert reference is not None
    profile = Profile.of(rows, "1", reference.specs, time=MONITOR.columns.predicted_at)
    nulls = {name: column.nulls for name, column in profile.columns.items() if name in FEATURES}
    assert (profile.rows, nulls) == (len(flights), flights[list(FEATURES)].isna().sum().to_dict())
    assert OperationsProfile.of(rows, MONITOR.columns).rows == len(flights)

    log = ParquetLabelLog(served.deployment.state_directory / "data", MONITOR.labels.columns())
    labels = log.read(NAME, start=hour_of(NOW), end=hour_of(NOW) + 5 * HOUR)
    assert labels is not None
    assert [arrival.hours for arrival in log.arrivals(NAME, after=0, limit=9)] == [(window.start,)]
    joined = join_labels(
        rows,
        prepare_labels(labels, MONITOR.labels.columns()),
        id_column="prediction_id",
        as_of=NOW + timedelta(days=1),
    )
    actual = dict(zip(joined["prediction_id"].to_pylist(), joined["actual"].to_pylist(), strict=True))
    assert actual == {label["prediction_id"]: label["actual"] for label in said}


def test_what_reaches_the_service_broken_is_answered_by_the_rule_from_the_reference(served: Served, port: Port) -> None:
    reference = ReferenceStore(served.deployment.state_directory / "data", MlflowRegistry("")).load(NAME, "1")
    assert reference is not None
    answer = port.predict({"carrier": "UA", "temp": 1.3e9})
    assert (answer["served_by"], answer["version"]) == ("rule", "1")
    assert answer["score"] == pytest.approx(reference.columns["score"].summary["mean"])


def test_an_example_is_documented_and_scored_by_the_model(port: Port) -> None:
    document = port.ask("GET", "/openapi.json")[1]
    example = document["components"]["schemas"]["PredictionRequest"]["examples"][0]
    assert {type(example["features"][name]) for name in CATEGORICAL} == {str}
    assert port.predict(**example)["served_by"] == CHAMPION


def test_traffic_is_switched_by_a_file_that_every_instance_reads(served: Served, port: Port) -> None:
    example = requests(flights_between(NOW, NOW + HOUR).head(1))[0]
    try:
        switch_to(served.deployment, MONITOR, "rule")
        assert port.predict(**example)["served_by"] == "rule"
    finally:
        switch_to(served.deployment, MONITOR, CHAMPION)
    assert port.predict(**example)["served_by"] == CHAMPION


def test_an_alias_that_is_set_in_the_registry_is_followed(served: Served, port: Port) -> None:
    assert "shadow" not in port.ask("GET", "/model")[1]["aliases"]
    served.point(SHADOW)
    wait_until("a shadow", lambda: port.ask("GET", "/model")[1]["aliases"].get("shadow"), seconds=20)


def test_a_registry_without_a_champion_is_said(tmp_path: Path) -> None:
    uri = new_mlflow_store(tmp_path)
    env = {"MONITORING_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": uri}
    deployment = Deployment.from_environment(env, root=tmp_path)
    with pytest.raises(RegistryError, match=r"flight_delays.*Register the model"):
        scoring_service(MONITOR, deployment, clock=lambda: NOW)


def test_the_command_serves_until_it_is_told_to_end(served: Served, tmp_path: Path) -> None:
    number, log = free_port(), tmp_path / "log"
    env = {
        **os.environ,
        "MONITORING_HOME": str(served.deployment.state_directory),
        "MLFLOW_TRACKING_URI": served.deployment.tracking_uri,
        "MONITORING_API_KEYS": "the-key",
    }
    before = len(served.predictions.hours(NAME, since=datetime(2020, 1, 1, tzinfo=UTC)))
    command = [sys.executable, "-W", "ignore", "-c", COMMAND, "serve", "--port", str(number), "--monitor"]
    with running([*command, ROOT / "monitors" / "flight_delays.yaml"], env=env, cwd=ROOT, log=log):
        port = Port(number)
        wait_until("ready", lambda: port.ask("GET", "/ready")[0] == 200, seconds=60, logs=[log])
        example = requests(flights_between(NOW, NOW + HOUR).head(1))[0]
        assert port.ask("POST", "/predict", example)[0] == 401
        assert port.ask("POST", "/predict", example, x_api_key="the-key")[0] == 200
    assert len(served.predictions.hours(NAME, since=datetime(2020, 1, 1, tzinfo=UTC))) == before + 1
    lines = log.read_text().splitlines()
    assert all(line.startswith("{") for line in lines), "every line is JSON"
    assert sum('"prediction_id"' in line for line in lines) == 1
    assert "the-key" not in log.read_text()
