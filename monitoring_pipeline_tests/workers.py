"""What the pipeline does, in processes of their own that a test may end: a dispatcher, a tick, a run, a rollback.

A process ends by itself at the crash point it is given, as if its machine had lost power. Add work here. Keep
expectations out: they belong in the tests.
"""

import logging
import os
import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.crash_points import POINTS, VARIABLE
from monitoring_pipeline.definitions import deployment_definitions
from monitoring_pipeline.notify.channels.webhook import WebhookChannel
from monitoring_pipeline.notify.delivery import DeliveryPolicy, Outcome, deliver_pending
from monitoring_pipeline.serve.app import create_app
from monitoring_pipeline.serve.recorder import Recorder
from monitoring_pipeline.serve.routing import CHAMPION
from monitoring_pipeline.settings.load import load_monitors
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.parquet import ParquetPredictionLog
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.rollback import roll_back
from monitoring_pipeline_tests import scoring
from monitoring_pipeline_tests.deployments import MODEL, open_instance
from monitoring_pipeline_tests.processes import forks

NEVER = ""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SENSOR = f"{MODEL}__retraining"


def start(work: Callable[..., None], point: str, *arguments: Any) -> BaseProcess:
    """Start `work` in a process whose parent has imported all this, but has no thread and no connection."""
    assert point == NEVER or point.partition(":")[0] in POINTS, point
    variables = {name: value for name, value in os.environ.items() if name.startswith("MONITORING_")}
    variables |= {VARIABLE: point} if point else {}
    process = forks().Process(target=_live, args=(variables, work, *arguments))
    process.start()
    return process


def _live(variables: Mapping[str, str], work: Callable[..., None], *arguments: Any) -> None:
    for name in [name for name in os.environ if name.startswith(("MONITORING_", "MLFLOW_TRACKING"))]:
        del os.environ[name]
    os.environ.update(variables)
    logging.disable(logging.ERROR)
    work(*arguments)


def killed(work: Callable[..., None], point: str, *arguments: Any) -> None:
    """Run `work` until it is killed at a point."""
    process = start(work, point, *arguments)
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, point


def finished(work: Callable[..., None], *arguments: Any) -> None:
    """Run `work` to its end."""
    process = start(work, NEVER, *arguments)
    process.join(120)
    assert process.exitcode == 0


def full_disk(work: Callable[..., None], bytes_a_file: int, *arguments: Any) -> None:
    """Run `work` where no file grows beyond a size: what a full disk says, said of every file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file, bytes_a_file))
    work(*arguments)


# The scoring service


def serve(folder: Path, port: int) -> None:
    """Answer everybody with one half, and keep what is asked and labelled in `folder`, until the process is ended."""
    import uvicorn

    log = ParquetPredictionLog(folder, scoring.COLUMNS)
    service = scoring.Scoring(folder, scoring.Registered({"1": scoring.scorer("1", 0.5)}, {CHAMPION: "1"}))
    service.recorder.close()
    recorder = Recorder(log, scoring.MODEL, scoring.CONTRACT.schema, folder / "spool", flush_s=0.2)
    app = create_app(
        scoring.CONTRACT, service.models, recorder, service._store, instrument=service.instrument, begin=str
    )
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)


# A dispatcher


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """One that has loaded everything, and waits to be told."""

    process: BaseProcess
    child: Connection

    def go(self) -> None:
        self.child.send("go")

    def counts(self) -> dict[str, int]:
        """Return how many of its messages ended in which way, once it has delivered."""
        assert self.child.poll(60), "it is still at it"
        found: dict[str, int] = self.child.recv()
        return found

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def ended_by(self) -> int | None:
        """Return what it ended with, once it has ended."""
        self.process.join(60)
        return self.process.exitcode


def _deliver(parent: Connection, database: str, webhook: str, worker: str, now: datetime) -> None:
    state, channel = StateDatabase(database), WebhookChannel(Credential(webhook), Credential(SECRET), clock=lambda: now)
    parent.send("ready")
    parent.recv()
    policy = DeliveryPolicy(per_channel=1000)
    report = deliver_pending(state, {"webhook": channel}, worker=worker, clock=lambda: now, policy=policy)
    parent.send({outcome.value: report.count(outcome) for outcome in Outcome})


@contextmanager
def dispatcher(database: str, webhook: str, worker: str, point: str, *, now: datetime) -> Iterator[Dispatcher]:
    """Give a dispatcher that ends at `point`, in a process of its own."""
    child, parent = forks().Pipe()
    process = start(_deliver, point, parent, database, webhook, worker, now)
    parent.close()
    try:
        assert child.recv() == "ready"
        yield Dispatcher(process, child)
    finally:
        process.kill()
        process.join()
        child.close()


# What Dagster's daemon does


def retraining_job() -> dg.JobDefinition:
    return deployment_definitions().resolve_job_def(SENSOR)


def hourly_job() -> dg.JobDefinition:
    return deployment_definitions().resolve_job_def(f"{MODEL}__hourly")


def run_hours(home: Path, tags: Mapping[str, str]) -> None:
    """Execute the hourly job on the instance whose dagster.yaml is in `home`."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        dg.execute_job(dg.reconstructable(hourly_job), instance, tags=dict(tags), raise_on_error=True)


def tick_and_run(home: Path, together: Any = None) -> None:
    """Tick the retraining sensor as a daemon does, and execute what it asks for; `together` is a barrier to begin."""
    defs = deployment_definitions()
    sensor = defs.resolve_sensor_def(SENSOR)
    with open_instance(home) as instance:
        for _ in range(2):
            if together is not None:
                together.wait(60)
            resources = {"monitoring": Monitoring()}
            with dg.build_sensor_context(instance=instance, definitions=defs, resources=resources) as context:
                requests = sensor.evaluate_tick(context).run_requests or []
            for request in requests:
                dg.execute_job(dg.reconstructable(retraining_job), instance, tags=request.tags, raise_on_error=False)


def go_on(home: Path, run_id: str) -> None:
    """Start a failed run again from where it failed."""
    with open_instance(home) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        options = dg.ReexecutionOptions.from_failure(run_id, instance)
        tags = {name: text for name, text in run.tags.items() if name.startswith("monitoring/")}
        dg.execute_job(dg.reconstructable(retraining_job), instance, reexecution_options=options, tags=tags)


def take_back(key: str) -> None:
    """Roll back the champion."""
    monitoring = Monitoring()
    (monitor,) = load_monitors(monitoring.deployment.monitors_directory)
    roll_back(monitoring, monitor, key=key, by="anna", why="complaints")
