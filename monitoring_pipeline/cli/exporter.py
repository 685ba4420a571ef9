"""The commands that hand out the metrics of a deployment: served to Prometheus, or sent to another system.

Keep what is exported out: it belongs in publish.
"""

import time
from datetime import UTC, datetime
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from monitoring_pipeline.cli.base import REACHED, app, deployment_here, listen, plain_errors
from monitoring_pipeline.serve.guard import LOOPBACK

if TYPE_CHECKING:
    from monitoring_pipeline.workflow.exporter import Exporter

REGISTRY_S = 60.0
"""Between two looks at the registry."""


@app.command()
def metrics_exporter(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 9400,
) -> None:
    """Serve what the stores hold of all monitors at /metrics, for Prometheus to scrape."""
    from monitoring_pipeline.workflow.exporter import app_of

    with plain_errors():
        exporter = _exporter_here()
        Thread(target=_follow_registry, args=[exporter], daemon=True).start()
        exporter.page()  # the first one reads all there is: nobody should wait for it
        served = app_of(exporter, hosts=LOOPBACK if host in LOOPBACK else ())
        listen(served, host, port, log_level="warning")


@app.command()
def push_metrics(
    to: Annotated[str, typer.Option("--to", help="statsd://host:port, or cloudwatch://namespace?region=eu-west-1.")],
    only: Annotated[list[str] | None, typer.Option("--only", help="Names that are sent: 'slo_*'. Else all.")] = None,
    every: Annotated[float, typer.Option(help="Seconds from one time to the next; 0 is only once.", min=0)] = 0,
) -> None:
    """Send the metrics Prometheus would scrape to StatsD or CloudWatch; exits with 1 where a store cannot be read."""
    from monitoring_pipeline.publish.sinks import points_of, push

    with plain_errors():
        exporter = _exporter_here()
        while True:
            exporter.ask_registry()
            parts = [part.families for part in exporter.parts()]
            points = points_of(parts, only or ())
            push(points, to)
            typer.echo(f"{len(points):,} values sent to {to}")
            if not every:
                break
            time.sleep(every)
    if 0 in parts[-1]["exporter_source_up"].samples.values():
        raise typer.Exit(REACHED)


def _follow_registry(exporter: "Exporter") -> None:
    while True:
        exporter.ask_registry()
        time.sleep(REGISTRY_S)


def _exporter_here() -> "Exporter":
    from monitoring_pipeline.settings.load import load_files, monitor_files
    from monitoring_pipeline.workflow.exporter import Exporter

    deployment = deployment_here()
    files = monitor_files(deployment.monitors_directory)
    monitors = load_files(files)
    models = {monitor.registry_name: file for monitor, file in zip(monitors, files, strict=True)}
    ends = {monitor.registry_name: monitor.end for monitor in monitors if monitor.end is not None}
    clock = lambda: datetime.now(UTC)  # noqa: TID251, E731 - how old files are
    return Exporter(deployment, models, clock=clock, ends=ends)
