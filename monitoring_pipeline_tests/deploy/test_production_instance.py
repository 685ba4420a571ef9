"""Every service of docker-compose.yml but Grafana as a process of this machine, with the command it has there."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from ruamel.yaml import YAML

from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.parquet import ParquetPredictionLog
from monitoring_pipeline.stores.reference_store import ReferenceStore
from monitoring_pipeline.workflow.partitions import range_tags
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.mlflow_store import load_mlflow
from monitoring_pipeline_tests.postgres import running_postgres
from monitoring_pipeline_tests.processes import free_port, graphql, listens, running, wait_until
from monitoring_pipeline_tests.prometheus import put, ready
from monitoring_pipeline_tests.traffic import LOG, MODEL, START, hour, log_rows, reference

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
WEB = {"prometheus": "9090", "alertmanager": "9093"}
"""What has its program in the image, and says where to listen by an option of its own."""

PROGRAMS = {"alertmanager": "prometheus-alertmanager"}
"""Names that Debian gives."""

PORTS = ("3000", "4000", "5000", "8008", "9090", "9093", "9400")
KEY = "a-key-of-a-caller"
HOURS = 3
ROWS = 40
ASSETS = {
    *("serving_sample", "serving_profile", "outcomes", "drift_report", "performance_report", "quality_report"),
    *("operations_report", "verdicts"),
}
MONITOR = {
    "model": MODEL,
    "start": START.isoformat(),
    "features": {"numeric": ["tenure"], "categorical": ["plan"]},
    "windows": ["1h"],
    "drift": {"min_rows": 30},
}
REPOSITORY = {"repositoryLocationName": "monitoring_pipeline", "repositoryName": "__repository__"}
SENSOR = REPOSITORY | {"sensorName": f"{MODEL}__missed_hours"}
RUNS = """
query ($job: String!) {
  runsOrError(filter: {pipelineName: $job}) { ... on Runs { results { runId status tags { key value } } } }
}"""
DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message } }
}"""
START_SENSOR = """
mutation ($selector: SensorSelector!) {
  startSensor(sensorSelector: $selector) { __typename ... on Sensor { name } }
}"""
TICKS = """
query ($selector: InstigationSelector!) {
  instigationStateOrError(instigationSelector: $selector) {
    ... on InstigationState { ticks(limit: 20) { status skipReason error { message } } }
  }
}"""


@dataclass(frozen=True)
class Stack:
    """The running services of docker-compose.yml, without the containers."""

    home: Path
    server: str
    ports: Mapping[str, int]
    env: Mapping[str, str]
    logs: list[Path]

    def adapted(self, words: list[str]) -> list[str]:
        """Return a command of the stack for this machine: its ports, its addresses, its paths."""
        here = {"0.0.0.0": "127.0.0.1", "/opt/dagster/workspace.yaml": str(self.home / "dagster" / "workspace.yaml")}
        here |= {port: str(own) for port, own in self.ports.items()}
        here |= {"/app/monitors/flight_delays.yaml": str(self.home / "monitors" / f"{MODEL}.yaml")}
        texts = {"=/etc/": f"={self.home}/", "=/prometheus": f"={self.home}/series", "=/alert": f"={self.home}/alert"}
        # The services run from an image in which python is the one that everything is installed for.
        tools = Path(sysconfig.get_path("scripts"))
        program = sys.executable if words[0] == "python" else str(require(words[0], str(tools / words[0])))
        moved = [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", here.get(word, word)) for word in words[1:]]
        for old, new in texts.items():
            moved = [word.replace(old, new) for word in moved]
        return [program, *moved]

    def service(self, name: str, command: list[str]) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Run a service for as long as a `with` block lasts."""
        self.logs.append(self.home / f"{name}.log")
        return running(self.adapted(command), env=self.env, cwd=ROOT, log=self.logs[-1])

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        return graphql(self.ports["3000"], query, **variables)

    def get(self, port: str, path: str) -> bytes:
        """Return what a service answers, which it has at `port` in the stack."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def found(self, query: str) -> list[Any]:
        """Return what Prometheus knows."""
        return list(json.loads(self.get("9090", f"/api/v1/query?query={urllib.parse.quote(query)}"))["data"]["result"])

    def wait_until(self, what: str, find: Any, *, seconds: float) -> Any:
        return wait_until(what, find, seconds=seconds, logs=self.logs)

    def finished_runs(self, job: str) -> list[dict[str, Any]]:
        """Return the runs of a job that have come to an end."""
        runs = self.ask(RUNS, job=job)["runsOrError"]["results"]
        return [run for run in runs if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    require("postgres", "/usr/lib/postgresql/*/bin/postgres")
    with ExitStack() as cleanup:
        # Not tmp_path: its parents are closed to the user the server runs as.
        home = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="production-")))
        home.chmod(0o755)
        server = cleanup.enter_context(running_postgres(home / "server")).rpartition("/")[0]
        ports = {port: free_port() for port in PORTS}
        made = Stack(home, server, ports, environment(home, server, ports), [])
        create_databases(server)
        image = json.loads((ROOT / "deploy" / "Dockerfile").read_text().rpartition("CMD ")[2])

        def start(name: str, command: list[str]) -> None:
            cleanup.enter_context(made.service(name, command))

        lay_out(made)
        start("code-location", image)
        start("mlflow", SERVICES["mlflow"]["command"])
        # While both of them load; the code location touches no database by that.
        subprocess.run(SERVICES["migrate"]["command"], env=made.env, cwd=ROOT, check=True, capture_output=True)
        made.wait_until("the code location listens", lambda: listens(made.ports["4000"]), seconds=60)
        for name in ("webserver", "daemon", "alertmanager", "prometheus"):
            own = ["--web.listen-address", f"127.0.0.1:{ports[WEB[name]]}"] if name in WEB else []
            start(
                name, [PROGRAMS.get(name, name), *SERVICES[name]["command"], *own] if own else SERVICES[name]["command"]
            )
        made.wait_until("MLflow answers", lambda: made.get("5000", "/health"), seconds=90)
        register_champion(made)
        for name in ("dispatcher", "exporter", "scoring-service"):
            start(name, SERVICES[name]["command"])
        made.wait_until("the webserver listens", lambda: listens(made.ports["3000"]), seconds=60)
        yield made


def environment(home: Path, server: str, ports: Mapping[str, int]) -> dict[str, str]:
    """Return what docker-compose.yml and the image say, with the addresses of this machine."""
    return {
        **os.environ,
        **dict.fromkeys(SERVICES["code-location"]["environment"], ""),
        "DAGSTER_POSTGRES_HOST": "127.0.0.1",
        "DAGSTER_POSTGRES_PORT": server.rpartition(":")[2],
        "DAGSTER_POSTGRES_USER": "postgres",
        "DAGSTER_POSTGRES_PASSWORD": "not asked for",
        "DAGSTER_POSTGRES_DB": "dagster",
        "DAGSTER_CODE_LOCATION_HOST": "127.0.0.1",
        "DAGSTER_CODE_LOCATION_PORT": str(ports["4000"]),
        "DAGSTER_HOME": str(home / "dagster"),
        "MONITORING_HOME": str(home / "monitoring"),
        "MONITORING_MONITORS": str(home / "monitors"),
        "MONITORING_CLOCK": str(home / "clock"),
        "MONITORING_SENSOR_SECONDS": "1",
        "MONITORING_DATABASE_URL": f"{server.replace('postgresql:', 'postgresql+psycopg2:')}/monitoring",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports['5000']}",
        "MLFLOW_BACKEND_STORE_URI": f"{server.replace('postgresql:', 'postgresql+psycopg2:')}/mlflow",
        "MLFLOW_ARTIFACTS_DESTINATION": str(home / "mlflow"),
        "MLFLOW_SERVER_ALLOWED_HOSTS": SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"],
        "MONITORING_API_KEYS": KEY,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
    }


def lay_out(stack: Stack) -> None:
    """Put in place what is there before the services start: settings, databases, a monitor, a few hours of its log."""
    home = stack.home
    for folder in ("dagster", "monitors", "monitoring"):
        (home / folder).mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copyfile(ROOT / name, home / "dagster" / name)
    (home / "monitors" / f"{MODEL}.yaml").write_text(json.dumps(MONITOR))
    (home / "clock").write_text((hour(HOURS) + timedelta(minutes=20)).isoformat())
    data = home / "monitoring" / "data"
    traffic = log_rows(ROWS * HOURS, seed=1, hours=HOURS, model_version=["1"] * (ROWS * HOURS))
    ParquetPredictionLog(data, LOG).append(MODEL, traffic)
    secrets = home / "secrets"
    secrets.mkdir()
    (secrets / "scoring_api_key").write_text(KEY)
    names = {"exporter": "9400", "scoring-service": "8008", "localhost": "9090", "alertmanager": "9093"}
    shown = {f"{name}:{port}": f"127.0.0.1:{stack.ports[port]}" for name, port in names.items()}
    for name in WEB:
        put(ROOT / "deploy" / name, secrets, shown | {"model: flight_delays": f"model: {MODEL}"})


def create_databases(server: str) -> None:
    """Do what the container of PostgreSQL does when it starts for the first time."""
    create = (ROOT / "deploy" / "postgres" / "create-databases.sql").read_text().splitlines()
    engine = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in ["CREATE DATABASE dagster", *(line for line in create if not line.startswith("--"))]:
            connection.exec_driver_sql(statement)
    engine.dispose()


def register_champion(stack: Stack) -> None:
    """Register a model, through the server, that the service loads and of whose rows there is a reference."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    load_mlflow()
    uri, rows = stack.env["MLFLOW_TRACKING_URI"], log_rows(1000, seed=2)
    inputs, known = rows.select(["tenure", "plan"]).to_pandas(), rows["prediction"].to_pandas()
    columns = make_column_transformer((OneHotEncoder(), ["plan"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(inputs, known)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    mlflow.set_experiment(MODEL)
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=MODEL,
            signature=infer_signature(inputs, np.array([0.5])),
            serialization_format="skops",
            pip_requirements=["scikit-learn"],
        )
    mlflow.MlflowClient().set_registered_model_alias(MODEL, "champion", "1")
    data = stack.home / "monitoring" / "data"
    ReferenceStore(data, MlflowRegistry(uri)).save(reference(rows, version="1"))


def rows(stack: Stack, database: str, statement: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(f"{stack.server}/{database}")
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]
    finally:
        engine.dispose()


@pytest.fixture(scope="module")
def hourly_run(stack: Stack) -> dict[str, Any]:
    """The run that was requested after the sensor for missed hours had been switched on."""
    started = stack.wait_until(
        "the webserver knows the sensor",
        lambda: stack.ask(START_SENSOR, selector=SENSOR)["startSensor"].get("name"),
        seconds=30,
    )
    assert started == SENSOR["sensorName"]
    (run,) = stack.wait_until("the hourly run ends", lambda: stack.finished_runs(f"{MODEL}__hourly"), seconds=90)
    return dict(run)


def test_the_daemon_ticks_a_sensor_whose_run_processes_the_missed_hours(hourly_run: dict[str, Any]) -> None:
    assert hourly_run["status"] == "SUCCESS"
    tags = {tag["key"]: tag["value"] for tag in hourly_run["tags"]}
    assert tags["dagster/sensor_name"] == SENSOR["sensorName"]
    assert tags["dagster/asset_partition_range_start"] == f"{START:%Y-%m-%d-%H:%M}"
    assert tags["dagster/asset_partition_range_end"] == f"{hour(HOURS - 1):%Y-%m-%d-%H:%M}"


def test_what_was_materialised_is_in_postgresql_and_on_disk(stack: Stack, hourly_run: dict[str, Any]) -> None:
    stored = rows(
        stack,
        "dagster",
        "SELECT asset_key, count(DISTINCT partition) FROM event_logs "
        "WHERE dagster_event_type = 'ASSET_MATERIALIZATION' GROUP BY asset_key",
    )
    assert {json.loads(key)[1]: count for key, count in stored} == dict.fromkeys(ASSETS, HOURS)
    store = HourlyStore(stack.home / "monitoring" / "data")
    assert store.hours("verdicts", MODEL) == [hour(number) for number in range(HOURS)]
    measured = store.read_signals("drift", MODEL, START, hour(HOURS))
    known = [{signal.column for signal in signals if signal.value is not None} for signals in measured.values()]
    assert known == [{"tenure", "plan", "score", "prediction"}] * HOURS


def test_a_tick_that_finds_nothing_more_to_do_says_so(stack: Stack, hourly_run: dict[str, Any]) -> None:
    sensor = REPOSITORY | {"name": SENSOR["sensorName"]}

    def skipped() -> list[str]:
        state = stack.ask(TICKS, selector=sensor)["instigationStateOrError"]
        assert [tick["error"] for tick in state["ticks"] if tick["error"]] == []
        return [tick["skipReason"] for tick in state["ticks"] if tick["status"] == "SKIPPED"]

    said = "every complete hour has been processed"
    stack.wait_until("a tick without a run", lambda: said in skipped(), seconds=30)


def test_every_daemon_the_instance_needs_is_healthy(stack: Stack) -> None:
    def unhealthy() -> list[str]:
        statuses = stack.ask(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        assert {"SENSOR", "QUEUED_RUN_COORDINATOR"} <= {status["daemonType"] for status in statuses}
        return [status["daemonType"] for status in statuses if status["required"] and not status["healthy"]]

    stack.wait_until("every daemon is healthy", lambda: not unhealthy(), seconds=30)


def test_the_health_checks_of_the_services_pass_while_they_run(stack: Stack) -> None:
    checks = {}
    for name in ("code-location", "webserver", "daemon", "mlflow", "dispatcher", "exporter", "scoring-service"):
        kind, *words = SERVICES[name]["healthcheck"]["test"]
        command = stack.adapted(words) if kind == "CMD" else ["sh", "-c", words[0].replace("$$", "$")]
        for port, own in stack.ports.items():  # in a line of Python there is an address
            command = [word.replace(f":{port}/", f":{own}/") for word in command]
        checks[name] = subprocess.Popen(
            command, env=stack.env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    said = {name: check.communicate(timeout=60)[0] for name, check in checks.items()}
    assert {name: check.returncode for name, check in checks.items()} == dict.fromkeys(checks, 0), said
    assert "not healthy" not in said["daemon"]


def test_the_state_database_was_migrated_before_anything_ran(stack: Stack) -> None:
    assert rows(stack, "monitoring", "SELECT count(*) FROM alembic_version") == [(1,)]


def test_a_run_that_the_ui_launches_ends_well_and_prometheus_has_what_it_found(
    stack: Stack, hourly_run: dict[str, Any]
) -> None:
    asked = {
        "selector": REPOSITORY
        | {"pipelineName": f"{MODEL}__hourly", "assetSelection": [], "assetCheckSelection": None},
        "mode": "default",
        "runConfigData": {},
        "executionMetadata": {
            "tags": [{"key": key, "value": value} for key, value in range_tags(hour(0), hour(HOURS - 1)).items()]
        },
    }
    launched = stack.ask(LAUNCH, params=asked)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    ended = stack.wait_until(
        "the launched run ends",
        lambda: {run["runId"]: run["status"] for run in stack.finished_runs(f"{MODEL}__hourly")}.get(
            launched["run"]["runId"]
        ),
        seconds=90,
    )
    assert ended == "SUCCESS"
    evaluated = f'monitor_last_evaluated_timestamp_seconds{{model="{MODEL}"}} == {hour(HOURS).timestamp():.0f}'
    stack.wait_until("Prometheus knows of the hour", lambda: stack.found(evaluated), seconds=30)
    assert stack.found(f'drift_psi{{model="{MODEL}", feature="tenure"}}')


def test_the_service_answers_those_who_have_a_key_and_prometheus_counts_them(stack: Stack) -> None:
    stack.wait_until("the service is ready", lambda: stack.get("8008", "/ready"), seconds=60)
    address = f"http://127.0.0.1:{stack.ports['8008']}/predict"
    body = json.dumps({"features": {"tenure": 12.0, "plan": "plus"}}).encode()
    headers = {"Content-Type": "application/json", "X-API-Key": KEY}
    with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=10) as answer:
        assert json.load(answer)["version"] == "1"
    every = {"monitoring-pipeline", "scoring-service", "prometheus", "alertmanager"}
    stack.wait_until(
        "all of them are scraped",
        lambda: {found["metric"]["job"] for found in stack.found("up == 1")} == every,
        seconds=30,
    )
    stack.wait_until("the prediction is counted", lambda: stack.found("serving_predictions_total > 0"), seconds=20)


def test_prometheus_and_alertmanager_are_ready(stack: Stack) -> None:
    for port in WEB.values():
        stack.wait_until("it is ready", lambda port=port: ready(f"http://127.0.0.1:{stack.ports[port]}"), seconds=20)
