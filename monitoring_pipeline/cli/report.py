"""The command that writes the health pages.

Add an option here. Keep what a page shows out: it belongs in workflow and publish.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from monitoring_pipeline.cli.base import (
    Answer,
    Format,
    app,
    deployment_here,
    in_utc,
    monitor_named,
    plain_errors,
    print_json,
    progress,
)


@app.command()
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

    with plain_errors(), progress("drawing") as _:
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
