"""The command about signs of life, for a person, cron or Prometheus; it needs no Dagster, no database.

Add an option here. Keep what counts as silence out: it belongs in evaluate.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from monitoring_pipeline.cli.base import REACHED, app, deployment_here, plain_errors
from monitoring_pipeline.errors import Problem, SettingsError


class HeartbeatFormat(StrEnum):
    """How heartbeats are shown."""

    TEXT = "text"
    JSON = "json"
    PROMETHEUS = "prometheus"


@app.command()
def heartbeat(
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when one is missing or too old.")] = False,
    max_age: Annotated[str, typer.Option(help="How old one may be: 15m, 2h.")] = "2h",
    format_: Annotated[HeartbeatFormat, typer.Option("--format", help="For whom.")] = HeartbeatFormat.TEXT,
) -> None:
    """Show when the daemon and every monitor's hourly run were last heard from, or say who has fallen silent."""
    from monitoring_pipeline.evaluate.heartbeats import silences
    from monitoring_pipeline.publish.heartbeats import FORMATS
    from monitoring_pipeline.settings.conditions import parse_duration
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.stores.heartbeats import FOLDER, read_heartbeats

    with plain_errors():
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
