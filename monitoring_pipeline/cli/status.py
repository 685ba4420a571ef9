"""The command that says how all monitors are.

Add a column here. Keep out what a status is: that belongs in judge.
"""

from dataclasses import asdict
from typing import Annotated

import typer

from monitoring_pipeline.cli.base import (
    REACHED,
    Answer,
    FailOn,
    Format,
    app,
    deployment_here,
    monitor_named,
    now_here,
    plain_errors,
    print_json,
    print_table,
)


@app.command()
def status(
    model: Annotated[str | None, typer.Argument(help="Only this model, as its monitor names it.")] = None,
    format_: Answer = Format.TABLE,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 when a monitor is this bad, or stale.")] = None,
) -> None:
    """Say how each monitor is, since when and why, from the stores alone."""
    from monitoring_pipeline.judge.verdicts import Level
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.workflow.monitor_status import statuses

    with plain_errors():
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
