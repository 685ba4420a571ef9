"""Commands that say how all monitors are: in words, as pages, as signs of life and as metrics for other systems.

Add a column or an option here. Keep what is shown and exported out: it belongs in judge, publish and workflow.
"""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from monitoring_pipeline.cli.base import (
    REACHED,
    Answer,
    FailOn,
    Format,
    command,
    deployment_here,
    in_utc,
    listen,
    monitor_named,
    now_here,
    print_json,
    print_table,
    progress,
)
from monitoring_pipeline.errors import Problem, SettingsError
from monitoring_pipeline.serve.guard import LOOPBACK

if TYPE_CHECKING:
    from monitoring_pipeline.workflow.exporter import Exporter


REGISTRY_S = 60.0
"""Between two looks at the registry."""


@command
def status(
    model: Annotated[str | None, typer.Argument(help="Only this model, as its monitor names it.")] = None,
    format_: Answer = Format.TABLE,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 when a monitor is this bad, or stale.")] = None,
) -> None:
    """Say how each monitor is, since when and why, from the stores alone."""
    from monitoring_pipeline.judge.verdicts import Level
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.workflow.monitor_status import statuses

    deployment = deployment_here()
    monitors = [monitor_named(model)] if model else load_monitors(deployment.monitors_directory)
    found = list(statuses(monitors, deployment, now=now_here()))
    if format_ is Format.JSON:
        print_json(
            [
                {
                    "model": each.model,
                    "status": each.status.word,
                    **asdict(each.status),
                    "open_incidents": [incident.id for incident in each.incidents],
                    "champion": each.champion,
                }
                for each in found
            ]
        )
    else:
        rows = [
            (
                each.model,
                each.status.sentence,
                f"{each.status.last_hour:%m-%d %H:%M}Z" if each.status.last_hour else "never",
                "stale" if each.status.is_stale else "",
                str(len(each.incidents)),
                each.champion or "?",
            )
            for each in found
        ]
        print_table(("model", "is", "last hour", "", "incidents", "champion"), rows)
    if fail_on and any(each.status.is_stale or each.status.level.rank >= Level(fail_on).rank for each in found):
        raise typer.Exit(REACHED)


@command
def report(
    models: Annotated[list[str] | None, typer.Argument(help="Only these, as their monitors name them.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the pages, if not that of the deployment.")] = None,
    at: Annotated[datetime | None, typer.Option(help="Show what was known until then (UTC).")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """Write the health page of each monitor, one HTML file that needs nothing else, and an index of them."""
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.workflow.health_page import INDEX, write_health
    from monitoring_pipeline.workflow.resources import Monitoring

    with progress("drawing") as _:
        every = load_monitors(deployment_here().monitors_directory)
        chosen = [monitor_named(name) for name in models] if models else every
        moment = None if at is None else in_utc(at)
        written = write_health(Monitoring(), chosen, every=every, now=moment, folder=out)
    for each in written if format_ is Format.TABLE else ():
        typer.echo(f"{each.page.sentence}\n  {each.path}")
    if format_ is Format.JSON:
        said = ((each.page, {"page": str(each.path.absolute()), "bytes": each.size}) for each in written)
        print_json([{"model": p.model, "status": p.status.word, "sentence": p.sentence} | file for p, file in said])
    if open_:
        shown = written[0].path if len(written) == 1 else written[0].path.parent / INDEX
        typer.launch(shown.absolute().as_uri())


@command
def heartbeat(
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when one is missing or too old.")] = False,
    max_age: Annotated[str, typer.Option(help="How old one may be: 15m, 2h.")] = "2h",
    format_: Annotated[Literal["text", "json", "prometheus"], typer.Option("--format", help="For whom.")] = "text",
) -> None:
    """Show when the daemon and every monitor's hourly run were last heard from, or say who has fallen silent."""
    from monitoring_pipeline.evaluate.heartbeats import silences
    from monitoring_pipeline.publish.heartbeats import FORMATS
    from monitoring_pipeline.settings.conditions import parse_duration
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.stores.heartbeats import FOLDER, read_heartbeats

    try:
        allowed = parse_duration(max_age)
    except ValueError as error:
        raise SettingsError([Problem("command line", None, "--max-age", f"{max_age!r}:", str(error))]) from error
    deployment = deployment_here()
    now = datetime.now(UTC)  # noqa: TID251 - how long ago a heartbeat was, is asked of the wall clock
    monitors = load_monitors(deployment.monitors_directory)
    # A monitor that has come to its end has no newest hour any more.
    models = [monitor.model for monitor in monitors if monitor.end is None or monitor.end > now]
    found = read_heartbeats(deployment.state_directory / FOLDER, models)
    typer.echo(FORMATS[format_](found, now))
    if check and (problems := silences(found, now=now, max_age=allowed)):
        typer.echo("\n".join(problems), err=True)
        raise typer.Exit(REACHED)


@command
def metrics_exporter(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 9400,
) -> None:
    """Serve what the stores hold of all monitors at /metrics, for Prometheus to scrape."""
    from monitoring_pipeline.workflow.exporter import app_of

    exporter = _exporter_here()
    Thread(target=_follow_registry, args=[exporter], daemon=True).start()
    exporter.page()  # the first one reads all there is: nobody should wait for it
    served = app_of(exporter, hosts=LOOPBACK if host in LOOPBACK else ())
    listen(served, host, port, log_level="warning")


@command
def push_metrics(
    to: Annotated[str, typer.Option("--to", help="statsd://host:port, or cloudwatch://namespace?region=eu-west-1.")],
    only: Annotated[list[str] | None, typer.Option("--only", help="Names that are sent: 'slo_*'. Else all.")] = None,
    every: Annotated[float, typer.Option(help="Seconds from one time to the next; 0 is only once.", min=0)] = 0,
) -> None:
    """Send the metrics Prometheus would scrape to StatsD or CloudWatch; exits with 1 where a store cannot be read."""
    from monitoring_pipeline.publish.sinks import points_of, push

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
