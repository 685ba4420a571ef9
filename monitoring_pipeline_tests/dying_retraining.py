"""A daemon's tick, a retraining and a rollback in processes of their own, that end at a named point without a word.

Add a point here, where the process does something whose loss would matter. Keep expectations out: they belong in the
tests.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import dagster as dg

from monitoring_pipeline.definitions import deployment_definitions
from monitoring_pipeline.notify.actions import Action
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.rollback import roll_back
from monitoring_pipeline_tests.deployments import MODEL, open_instance

SENSOR = "churn__retraining"
STEPS = ("training_set", "challenger", "challenger_evaluation")
NEVER = "never"

_point = NEVER


def start(work: Callable[..., None], home: Path, point: str, *arguments: Any) -> ForkServerProcess:
    """Start `work` in a process whose parent has imported all this, but has no thread and no connection."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    variables = {name: value for name, value in os.environ.items() if name.startswith("MONITORING_")}
    process = context.Process(target=_live, args=(variables, point, work, home, *arguments))
    process.start()
    return process


def _live(variables: Mapping[str, str], point: str, work: Callable[..., None], *arguments: Any) -> None:
    global _point
    _point = point
    for name in [name for name in os.environ if name.startswith(("MONITORING_", "MLFLOW_TRACKING"))]:
        del os.environ[name]
    os.environ.update(variables)
    logging.disable(logging.ERROR)
    for owner, name, here in (
        (StateDatabase, "record_decision", lambda *_: "the decision"),
        (StateDatabase, "begin_rollback", lambda *_: "the intent"),
        (StateDatabase, "act", _of_action),
        (MlflowRegistry, "set_alias", lambda _registry, _model, alias, _version: f"the alias {alias}"),
    ):
        setattr(owner, name, _mortal(getattr(owner, name), here))
    work(*arguments)


def _of_action(_database: StateDatabase, action: Action) -> str:
    return action.kind.value


def _mortal(method: Callable[..., Any], here: Callable[..., str]) -> Callable[..., Any]:
    def lives(*arguments: Any, **named: Any) -> Any:
        found = method(*arguments, **named)
        die_at(here(*arguments))
        return found

    return lives


def die_at(here: str) -> None:
    if here == _point:
        os.kill(os.getpid(), signal.SIGKILL)


@dg.success_hook
def after_a_step(context: dg.HookContext) -> None:
    die_at(context.op.name.removeprefix(f"{MODEL}__"))


def mortal_job() -> dg.JobDefinition:
    return deployment_definitions().resolve_job_def(SENSOR).with_hooks({after_a_step})


def tick_and_run(home: Path, together: Any = None) -> None:
    """Tick the sensor as a daemon does, and execute what it asks for; `together` is a barrier to begin at."""
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
                dg.execute_job(dg.reconstructable(mortal_job), instance, tags=request.tags, raise_on_error=False)


def go_on(home: Path, run_id: str) -> None:
    """Start a failed run again from where it failed."""
    with open_instance(home) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        options = dg.ReexecutionOptions.from_failure(run_id, instance)
        tags = {name: text for name, text in run.tags.items() if name.startswith("monitoring/")}
        dg.execute_job(dg.reconstructable(mortal_job), instance, reexecution_options=options, tags=tags)


def take_back(_home: Path, key: str) -> None:
    """Roll back the champion."""
    from monitoring_pipeline.settings.load import load_monitors

    monitoring = Monitoring()
    (monitor,) = load_monitors(monitoring.deployment.monitors_directory)
    roll_back(monitoring, monitor, key=key, by="anna", why="complaints")
