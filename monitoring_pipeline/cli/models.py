"""Commands about the versions of a model: serving them, switching traffic, retraining by hand, and the way back.

Add a command here when a person decides what is served. Keep what it does out: it belongs in serve, retrain, workflow.
"""

import json
import logging
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.cli.base import (
    Answer,
    By,
    Format,
    Model,
    answer,
    command,
    deployment_here,
    listen,
    monitor_named,
)
from monitoring_pipeline.errors import MonitoringError, Problem, SettingsError
from monitoring_pipeline.serve.guard import LOOPBACK

Why = Annotated[str, typer.Option("--why", help="Why; it stays on record with the version.")]

API_KEYS = "MONITORING_API_KEYS"

MonitorFile = Annotated[Path, typer.Option("--monitor", help="The monitor's YAML file.")]


@command
def rollback(
    model: Model,
    why: Why,
    by: By,
    to: Annotated[str | None, typer.Option("--to", help="The version, if not the one that was replaced last.")] = None,
    format_: Answer = Format.TABLE,
) -> None:
    """Point the alias champion back to the version before, on record, and tell people."""
    from monitoring_pipeline.workflow.resources import Monitoring
    from monitoring_pipeline.workflow.rollback import roll_back

    monitor = monitor_named(model)
    done = roll_back(Monitoring(), monitor, key=uuid.uuid4().hex[:12], by=_line(by), why=_line(why), to=to)
    said = done.outcome
    back = f"version {said['champion']} was rolled back to version {said['to']} by {said['by']}"
    answer(format_, {"model": monitor.model, "episode": done.id, **said}, f"{monitor.model}: {back}")


@command
def retrain(model: Model, why: Why, by: By, format_: Answer = Format.TABLE) -> None:
    """Ask for a retraining now: the sensor MODEL__retraining starts it, whatever was decided before."""
    from monitoring_pipeline.workflow.episodes import open_by_hand
    from monitoring_pipeline.workflow.resources import Monitoring

    monitor = monitor_named(model)
    episode = open_by_hand(Monitoring(), monitor, by=_line(by), why=_line(why))
    sensor = f"{monitor.model}__retraining"
    record = {"model": monitor.model, "episode": episode.id, "sensor": sensor}
    answer(format_, record, f"{episode.id} is on record; the sensor {sensor} starts its run")


def _line(text: str) -> str:
    from monitoring_pipeline.notify.messages import one_line

    if not (line := one_line(text)):
        raise MonitoringError("--why and --by: found only blanks, needed words.")
    return line


@command
def serve(
    monitor: MonitorFile,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8008,
    rate: Annotated[float, typer.Option(help="Share of the predictions that is logged.", min=0, max=1)] = 1.0,
    poll: Annotated[float, typer.Option(help="Seconds between two looks at the registry.", min=0.1)] = 10.0,
) -> None:
    """Serve the model of a monitor over HTTP, log its predictions, and take labels; keys are in MONITORING_API_KEYS."""
    # Requests are scored side by side: threads within one of them would only wait for each other. Read when the
    # libraries are loaded, so it comes first.
    for name, value in (("OMP_NUM_THREADS", "1"), ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")):
        os.environ.setdefault(name, value)  # noqa: TID251 - a command line sets up its process

    from monitoring_pipeline.settings.load import load_monitor
    from monitoring_pipeline.workflow.scoring_service import scoring_service, service_clock

    keys = [Credential(key) for key in os.environ.get(API_KEYS, "").split(",") if key]  # noqa: TID251 - and reads its environment
    if not keys and host not in LOOPBACK:
        found = f"is not set, and {host} is open to others."
        fix = "Put keys into it, separated by commas, or listen on 127.0.0.1."
        raise SettingsError([Problem("environment", None, API_KEYS, found, fix)])
    deployment = deployment_here()
    clock = service_clock(deployment, lambda: datetime.now(UTC))  # noqa: TID251 - when a request came
    secret = os.environ.get  # noqa: TID251 - asked when a log in a database is opened
    service = scoring_service(
        load_monitor(monitor),
        deployment,
        clock=clock,
        rate=rate,
        poll_s=poll,
        api_keys=keys,
        secret=secret,
        hosts=LOOPBACK if host in LOOPBACK else (),
    )
    # Standard output is for the lines of JSON alone.
    lines = logging.StreamHandler()
    lines.setFormatter(_AsJson())
    logging.basicConfig(level=logging.INFO, handlers=[lines], force=True)
    for name in ("mlflow", "alembic", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    listen(service, host, port, log_config=None, access_log=False)


class _AsJson(logging.Formatter):
    """Every line is JSON: those of requests are already, others are wrapped."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name.endswith(".requests"):
            return record.getMessage()
        line = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        return json.dumps(line | ({"error": self.formatException(record.exc_info)} if record.exc_info else {}))


@command
def switch_traffic(
    monitor: MonitorFile,
    to: Annotated[str, typer.Option("--to", help="champion, challenger, fallback or rule.")],
    format_: Answer = Format.TABLE,
) -> None:
    """Choose which part of the scoring service answers first; `champion` is the usual one."""
    from monitoring_pipeline.settings.load import load_monitor
    from monitoring_pipeline.workflow.scoring_service import SWITCH, switch_to

    if to not in SWITCH:
        fix = f"Choose one of {', '.join(SWITCH)}."
        raise SettingsError([Problem("command line", None, "--to", f"{to!r} is no part of the service.", fix)])
    found = load_monitor(monitor)
    switch_to(deployment_here(), found, to)
    record = {"model": found.model, "answers_first": to}
    answer(format_, record, f"{found.model}: {to} answers first, wherever it can")
