"""The command that computes a range of hours anew.

Add an option here. Keep what it does out: it belongs in workflow.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from monitoring_pipeline.cli.base import (
    MOMENTS,
    Answer,
    Format,
    Model,
    app,
    in_utc,
    monitor_named,
    plain_errors,
    print_json,
    progress,
)


@app.command()
def backfill(
    model: Model,
    start: Annotated[
        datetime, typer.Option("--from", formats=MOMENTS, help="First hour: 2026-04-01, 2026-04-01T06:00.")
    ],
    end: Annotated[datetime, typer.Option("--to", formats=MOMENTS, help="The hour to stop before.")],
    stored: Annotated[
        bool, typer.Option("--stored", help="Evaluate and judge again what is stored; the logs are not read.")
    ] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """Compute every hour of a range anew in one run, on record in the instance of DAGSTER_HOME."""
    with plain_errors():
        monitor, first, stop = monitor_named(model), in_utc(start), in_utc(end)
        from monitoring_pipeline.workflow.backfill import backfill as computed
        from monitoring_pipeline.workflow.backfill import materialisations

        with progress(f"{monitor.model}, hours", materialisations(monitor, first, stop, stored=stored)) as done:
            found = computed(monitor, first, stop, done=done, stored=stored)
    if format_ is Format.JSON:
        print_json({"model": monitor.model, **asdict(found)})
        return
    hours = (stop - first).total_seconds() / 3600
    typer.echo(f"{hours:.0f} hours in {len(found.runs)} run(s), {found.predictions:,} predictions")
    for rule, count in sorted(found.fired.items()):
        typer.echo(f"rule {rule} fires in {count} hours")
    if not found.fired:
        typer.echo("no rule fires")
