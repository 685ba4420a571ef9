"""Commands about the versions of a model: a retraining by hand, and the way back to the champion before.

Add a command here when a person decides what is served. Keep what it does out: it belongs in workflow and retrain.
"""

import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from monitoring_pipeline.cli.base import app, deployment_here, plain_errors
from monitoring_pipeline.cli.incidents import By
from monitoring_pipeline.errors import MonitoringError

if TYPE_CHECKING:
    from monitoring_pipeline.settings.monitor import Monitor

Model = Annotated[str, typer.Argument(help="The model, as its monitor names it.")]
Why = Annotated[str, typer.Option("--why", help="Why; it stays on record with the version.")]


@app.command()
def rollback(
    model: Model,
    why: Why,
    by: By,
    to: Annotated[str | None, typer.Option("--to", help="The version, if not the one that was replaced last.")] = None,
) -> None:
    """Point the alias champion back to the version before, on record, and tell people."""
    from monitoring_pipeline.workflow.resources import Monitoring
    from monitoring_pipeline.workflow.rollback import roll_back

    with plain_errors():
        monitor = _monitor(model)
        done = roll_back(Monitoring(), monitor, key=uuid.uuid4().hex[:12], by=_line(by), why=_line(why), to=to)
    said = done.outcome
    typer.echo(f"{monitor.model}: version {said['champion']} was rolled back to version {said['to']} by {said['by']}")


@app.command()
def retrain(model: Model, why: Why, by: By) -> None:
    """Ask for a retraining now: the sensor MODEL__retraining starts it, whatever was decided before."""
    from monitoring_pipeline.workflow.episodes import open_by_hand
    from monitoring_pipeline.workflow.resources import Monitoring

    with plain_errors():
        monitor = _monitor(model)
        episode = open_by_hand(Monitoring(), monitor, by=_line(by), why=_line(why))
    typer.echo(f"{episode.id} is on record; the sensor {monitor.model}__retraining starts its run")


def _line(text: str) -> str:
    from monitoring_pipeline.notify.messages import one_line

    if not (line := one_line(text)):
        raise MonitoringError("--why and --by: found only blanks, needed words.")
    return line


def _monitor(name: str) -> "Monitor":
    from monitoring_pipeline.settings.load import load_monitors

    monitors = load_monitors(deployment_here().monitors_directory)
    for monitor in monitors:
        if name in (monitor.model, monitor.registry_name):
            return monitor
    known = ", ".join(sorted(monitor.model for monitor in monitors))
    raise MonitoringError(f"no monitor watches {name!r}: those that exist watch {known}.")
