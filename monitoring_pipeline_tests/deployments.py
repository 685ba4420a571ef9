"""A whole deployment in a folder of its own: a small real model, logs, registry, state database, Dagster instance.

Add what tests of the workflow do to a deployment here. Keep expectations out: they belong in the tests.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.labels import hours_in
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.files import parquet_bytes
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.mlflow_reference import log_reference
from monitoring_pipeline.stores.parquet import hour_name
from monitoring_pipeline.workflow.build import build_definitions
from monitoring_pipeline.workflow.model_assets import materialise_references
from monitoring_pipeline.workflow.partitions import RANGE_END, RANGE_START, range_tags
from monitoring_pipeline.workflow.rehearsal import STORAGE
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store
from monitoring_pipeline_tests.traffic import START, hour
from monitoring_pipeline_tests.trainers import fit

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

MODEL = "churn"
FEATURES = ["usage", "tenure", "plan"]
ROLES: dict[str, Any] = {
    "features": FEATURES,
    "time": "predicted_at",
    "score": "score",
    "prediction": "prediction",
    "label": "actual",
}
ROWS = 60
REFERENCE_DAYS = 5
TRAINED_UNTIL = START - timedelta(days=REFERENCE_DAYS)
ASKED: dict[str, Any] = {
    "model": MODEL,
    "start": START.isoformat(),
    "owners": ["team:churn"],
    "features": {"numeric": ["usage", "tenure"], "categorical": ["plan"]},
    "windows": ["1h", "4h"],
    "drift": {"min_rows": 30},
    "performance": {"min_rows": 30},
    "rules": [
        {
            "name": "feature_drift",
            "condition": {"metric": "drift.psi", "window": "4h", "level": "warning"},
            "for": 2,
            "resolve_after": 2,
            "runbook": "https://runbooks.example/feature-drift",
        }
    ],
    "retraining": {
        "mode": "any",
        "triggers": [{"name": "age", "condition": {"metric": "model.age_days", "above": 30}}],
        "minimum_labelled_rows": 200,
        "trainer": "monitoring_pipeline_tests.trainers:fit",
        "training_window": "2d",
        "holdout": "12h",
    },
}
"""What the YAML file of the monitor says; a test changes what it is about."""


def customers(
    hours: Sequence[datetime], *, seed: int = 0, rows: int = ROWS, turned: bool = False, shift: float = 0.0
) -> pd.DataFrame:
    """Return `rows` customers an hour with what came true.

    `turned`: what used to keep them now drives them away. `shift` is added to their usage, and changes nothing else.
    """
    parts = []
    for at in hours:
        # Seeded by the hour, so that the same hour is served alike in whatever batch.
        generator = np.random.default_rng([seed, int(at.timestamp()) // 3600])
        usage, tenure = generator.normal(50, 10, rows), generator.gamma(2.0, 12.0, rows)
        plan = generator.choice(["basic", "plus", "pro"], rows, p=[0.6, 0.3, 0.1])
        logit = (usage - 50) / 5 - (tenure - 24) / 12 + np.where(plan == "pro", 1.0, 0.0)
        logit = -logit if turned else logit
        parts.append(
            pd.DataFrame(
                {
                    "prediction_id": [f"{seed}-{at:%d%H}-{number}" for number in range(rows)],
                    "predicted_at": [at + timedelta(minutes=59) * number / rows for number in range(rows)],
                    "usage": usage + shift,
                    "tenure": tenure,
                    "plan": plan.astype(object),
                    "actual": (generator.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def scored(rows: pd.DataFrame, model: Any) -> pd.DataFrame:
    score = model.predict_proba(rows[FEATURES])[:, 1]
    return rows.assign(score=score, prediction=(score >= 0.5).astype(np.int64))


def hours_before(end: datetime, days: int) -> list[datetime]:
    return [end - step * HOUR for step in range(24 * days, 0, -1)]


@cache
def champion() -> "Pipeline":
    """Return the fitted model that serves in a new deployment."""
    return fit(customers(hours_before(TRAINED_UNTIL, REFERENCE_DAYS)))


@cache
def definitions_of(documents: str) -> dg.Definitions:
    """Return the definitions of monitors, given as a JSON list; they hold nothing of any one deployment."""
    return build_definitions([parse_monitor(document) for document in json.loads(documents)], sensor_seconds=1)


def make_template(folder: Path) -> None:
    """Put into `folder` what every deployment starts from: a registered champion, and an empty Dagster instance."""
    folder.mkdir()
    uri = new_mlflow_store(folder)
    register_champion(uri, folder / "artifacts")
    with pytest.MonkeyPatch.context() as patch, open_instance(folder / "dagster"):
        point_to(folder, patch)
        materialise_references(Monitoring(), parse_monitor(ASKED))


def register_champion(uri: str, artifacts: Path) -> None:
    """Register the fitted model with the days after its training as reference."""
    import mlflow
    from mlflow.models import infer_signature

    estimator = champion()
    reference = scored(customers(hours_before(START, REFERENCE_DAYS)), estimator)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)  # another test may have set it elsewhere
    client = mlflow.MlflowClient(uri, uri)
    with mlflow.start_run(experiment_id=client.create_experiment(MODEL, artifact_location=artifacts.as_uri())):
        logged = mlflow.sklearn.log_model(
            estimator,
            name="model",
            registered_model_name=MODEL,
            signature=infer_signature(reference[FEATURES], reference["score"].to_numpy()),
            serialization_format="skops",
            pip_requirements=["scikit-learn"],
        )
    version = str(logged.registered_model_version)
    log_reference(reference, model_name=MODEL, version=version, tracking_uri=uri, **ROLES)
    client.set_model_version_tag(MODEL, version, "trained_until", TRAINED_UNTIL.isoformat())
    client.set_registered_model_alias(MODEL, "champion", version)


HOURLY_FILES = (
    *("samples", "quarantine", "intake", "profiles", "operations", "outcomes", "label_arrivals"),
    *("drift", "performance", "quality", "service", "objectives", "verdicts", "diagnoses", "rules"),
)
"""Kinds of files that an hour must leave alike whenever it is computed."""

VERSION = "1"
"""The champion of a new deployment."""


def copy_template(template: Path, home: Path) -> None:
    """Copy a template; the addresses of artifacts in the copy lead into the copy."""
    from mlflow.tracking._tracking_service import utils

    # Copies have the same run ids, and for each of them MLflow remembers where the first one kept its files.
    utils._artifact_repos_cache.clear()
    shutil.copytree(template, home)
    columns = {
        "experiments": "artifact_location",
        "runs": "artifact_uri",
        "model_versions": "source",
        "logged_models": "artifact_location",
    }
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        for table, column in columns.items():
            statement = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            connection.execute(statement, (template.as_uri(), home.as_uri()))
        storage = "UPDATE model_versions SET storage_location = replace(storage_location, ?, ?)"
        connection.execute(storage, (template.as_uri(), home.as_uri()))


NO_COMPUTE_LOGS = """\
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


@contextmanager
def open_instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Open a Dagster instance that keeps everything in SQLite files in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").write_text(STORAGE.format(home=folder) + NO_COMPUTE_LOGS)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


@dataclass(slots=True)
class Deployment:
    """One deployment, its clock, and everything a test does to it."""

    home: Path
    instance: dg.DagsterInstance
    monitors: list[Monitor]
    monitoring: Monitoring = field(default_factory=Monitoring)
    cursors: dict[str, str | None] = field(default_factory=dict)
    documents: str = ""

    @property
    def monitor(self) -> Monitor:
        return self.monitors[0]

    @property
    def store(self) -> HourlyStore:
        return self.monitoring.hourly

    @property
    def defs(self) -> dg.Definitions:
        return definitions_of(self.documents)

    def watch(self, *asked: Mapping[str, Any]) -> None:
        """Monitor what `asked` says, each on top of what all monitors here say."""
        documents = [{**ASKED, **each} for each in asked]
        folder = self.home / "monitors"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for document in documents:
            (folder / f"{document['model']}.yaml").write_text(json.dumps(document))
        self.monitors = [parse_monitor(document) for document in documents]
        self.documents = json.dumps(documents)

    def set_clock(self, moment: datetime) -> None:
        (self.home / "clock").write_text(moment.isoformat())

    def log(self, rows: pd.DataFrame, *, version: str = VERSION, model: str = MODEL) -> None:
        """Score rows with the champion's estimator and log them as served by `version`."""
        served = scored(rows, champion()).drop(columns="actual").assign(model_version=version)
        self.log_table(pa.Table.from_pandas(served, preserve_index=False), model=model)

    def log_table(self, rows: pa.Table, *, model: str = MODEL) -> None:
        self.monitoring.stages(self.monitor).predictions.append(model, rows.replace_schema_metadata(None))

    def label(self, rows: pd.DataFrame, *, known_at: datetime | None = None, model: str = MODEL) -> None:
        """Log what came true, half an hour after the prediction or at `known_at`."""
        known = rows["predicted_at"] + timedelta(minutes=30) if known_at is None else known_at
        labels = pa.Table.from_pandas(
            rows[["prediction_id", "predicted_at", "actual"]].assign(labelled_at=known), preserve_index=False
        ).replace_schema_metadata(None)
        log = self.monitoring.stages(self.monitor).labels
        log.append(model, labels, hours=hours_in(labels["predicted_at"]))

    def serve(self, first: int, last: int, *, labels: bool = True, **asked: Any) -> pd.DataFrame:
        """Serve the hours numbered `first` to `last`, and label them unless told otherwise; returns the rows."""
        rows = customers([hour(number) for number in range(first, last + 1)], **asked)
        self.log(rows)
        if labels:
            self.label(rows)
        return rows

    def add_version(self, rows: pd.DataFrame, *, trained_until: datetime, alias: str = "challenger") -> str:
        """Register a version with reference rows and an alias; it has no model, which the monitor never loads."""
        from mlflow import MlflowClient

        uri = self.monitoring.deployment.tracking_uri
        client = MlflowClient(uri, uri)
        experiment = client.get_run(self.monitoring.registry.version(MODEL, "1").run_id).info.experiment_id
        run = client.create_run(experiment)
        made = client.create_model_version(MODEL, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
        version = str(made.version)
        client.set_model_version_tag(MODEL, version, "trained_until", trained_until.isoformat())
        log_reference(scored(rows, champion()), model_name=MODEL, version=version, tracking_uri=uri, **ROLES)
        client.set_registered_model_alias(MODEL, alias, version)
        return version

    def run(self, job: str, *, raise_on_error: bool = True, **asked: Any) -> dg.ExecuteInProcessResult:
        """Execute a job in this process, on the instance."""
        definition = self.defs.resolve_job_def(job)
        return definition.execute_in_process(instance=self.instance, raise_on_error=raise_on_error, **asked)

    def process(self, first: int, last: int, *, model: str = MODEL, job: str = "hourly") -> dg.ExecuteInProcessResult:
        """Process the hours numbered `first` to `last` in one run."""
        return self.run(f"{model}__{job}", tags=range_tags(hour(first), hour(last)))

    def compute(self, first: int, last: int) -> None:
        """Do what a run does for the hours numbered `first` to `last`, without one: for tests of what follows."""
        hours = [hour(number) for number in range(first, last + 1)]
        stages = self.monitoring.stages(self.monitor)
        stages.describe(hours)
        stages.join(hours, as_of=self.monitoring.now())
        stages.measure_drift(hours)
        stages.measure_performance(hours)
        stages.measure_quality(hours)
        stages.measure_operations(hours)
        stages.judge(hours)
        stages.diagnose(hours)

    def tick(self, name: str) -> Any:
        """Evaluate a sensor once as its daemon does, and keep its cursor; returns what it asked for."""
        sensor = self.defs.resolve_sensor_def(name)
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(name),
            definitions=self.defs,
            resources={"monitoring": Monitoring()},
        )
        with context:
            found = sensor.evaluate_tick(context)
        self.cursors[name] = found.cursor
        return found

    def start(self, name: str, found: Any) -> list[dg.ExecuteInProcessResult]:
        """Execute what a tick asked for."""
        job = str(self.defs.resolve_sensor_def(name).job_name)
        return [
            self.run(job, raise_on_error=False, tags=request.tags, run_config=request.run_config)
            for request in found.run_requests
        ]

    def pass_on(self, name: str) -> list[dg.ExecuteInProcessResult]:
        """Tick, and execute what the tick asked for."""
        return self.start(name, self.tick(name))

    def files(self, *kinds: str, model: str = MODEL) -> dict[str, bytes]:
        """Return what is kept of every hour as a file of its own would hold it, by kind and hour."""
        return {
            f"{kind}/{hour_name(at)}": parquet_bytes(table)
            for kind in kinds or HOURLY_FILES
            for at in self.store.hours(kind, model)
            for table in self.store.read(kind, model, at, at + HOUR).values()
        }


def point_to(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the environment name the deployment in `home`."""
    variables = {"HOME": home, "MONITORS": home / "monitors", "CLOCK": home / "clock", "SENSOR_SECONDS": 1}
    for name, value in variables.items():
        monkeypatch.setenv(f"MONITORING_{name}", str(value))
    for name in ("MONITORING_DATABASE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def deploying(template: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """Make a deployment below `home` and point the environment to it."""
    copy_template(template, home)
    point_to(home, monkeypatch)
    with open_instance(home / "dagster") as instance:
        deployment = Deployment(home, instance, [])
        deployment.watch({})
        deployment.set_clock(START)
        yield deployment


def requested_hours(found: Any) -> list[tuple[str, str]]:
    """Return the first and last partition of every run a tick asked for."""
    return [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in found.run_requests]
