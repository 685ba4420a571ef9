"""Commands about serving: the scoring service of a monitored model, and the switch of its traffic.

Add a command here when it is about requests that are answered. Keep what answers out: it belongs in serve.
"""

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitoring_pipeline.cli.base import Answer, Format, app, deployment_here, listen, plain_errors, print_json
from monitoring_pipeline.errors import Problem, SettingsError
from monitoring_pipeline.serve.guard import LOOPBACK

API_KEYS = "MONITORING_API_KEYS"

MonitorFile = Annotated[Path, typer.Option("--monitor", help="The monitor's YAML file.")]


@app.command()
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

    with plain_errors():
        keys = [key for key in os.environ.get(API_KEYS, "").split(",") if key]  # noqa: TID251 - and reads its environment
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


@app.command()
def switch_traffic(
    monitor: MonitorFile,
    to: Annotated[str, typer.Option("--to", help="champion, challenger, fallback or rule.")],
    format_: Answer = Format.TABLE,
) -> None:
    """Choose which part of the scoring service answers first; `champion` is the usual one."""
    from monitoring_pipeline.settings.load import load_monitor
    from monitoring_pipeline.workflow.scoring_service import SWITCH, switch_to

    with plain_errors():
        if to not in SWITCH:
            fix = f"Choose one of {', '.join(SWITCH)}."
            raise SettingsError([Problem("command line", None, "--to", f"{to!r} is no part of the service.", fix)])
        found = load_monitor(monitor)
        switch_to(deployment_here(), found, to)
    if format_ is Format.JSON:
        print_json({"model": found.model, "answers_first": to})
    else:
        typer.echo(f"{found.model}: {to} answers first, wherever it can")
