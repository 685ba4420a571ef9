"""Commands about the versions of a model: a retraining by hand, and the way back to the champion before.

Add a command here when a person decides what is served. Keep what it does out: it belongs in workflow and retrain.
"""

import uuid
from typing import Annotated

import typer

from monitoring_pipeline.cli.base import Answer, By, Format, Model, app, monitor_named, plain_errors, print_json
from monitoring_pipeline.errors import MonitoringError

Why = Annotated[str, typer.Option("--why", help="Why; it stays on record with the version.")]


@app.command()
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

    with plain_errors():
        monitor = monitor_named(model)
        done = roll_back(Monitoring(), monitor, key=uuid.uuid4().hex[:12], by=_line(by), why=_line(why), to=to)
    said = done.outcome
    if format_ is Format.JSON:
        print_json({"model": monitor.model, "episode": done.id, **said})
    else:
        back = f"version {said['champion']} was rolled back to version {said['to']} by {said['by']}"
        typer.echo(f"{monitor.model}: {back}")


@app.command()
def retrain(model: Model, why: Why, by: By, format_: Answer = Format.TABLE) -> None:
    """Ask for a retraining now: the sensor MODEL__retraining starts it, whatever was decided before."""
    from monitoring_pipeline.workflow.episodes import open_by_hand
    from monitoring_pipeline.workflow.resources import Monitoring

    with plain_errors():
        monitor = monitor_named(model)
        episode = open_by_hand(Monitoring(), monitor, by=_line(by), why=_line(why))
    sensor = f"{monitor.model}__retraining"
    if format_ is Format.JSON:
        print_json({"model": monitor.model, "episode": episode.id, "sensor": sensor})
    else:
        typer.echo(f"{episode.id} is on record; the sensor {sensor} starts its run")


def _line(text: str) -> str:
    from monitoring_pipeline.notify.messages import one_line

    if not (line := one_line(text)):
        raise MonitoringError("--why and --by: found only blanks, needed words.")
    return line
