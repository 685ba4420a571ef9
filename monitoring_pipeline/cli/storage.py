"""The command about what is kept, and for how long.

Add an option here. Keep what goes at which age out: it belongs in stores.
"""

from typing import Annotated

import typer

from monitoring_pipeline.cli.base import (
    Answer,
    Format,
    app,
    deployment_here,
    now_here,
    plain_errors,
    print_records,
)


@app.command()
def storage(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed, and how large it is.")
    ] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """Make daily files of old hourly ones and remove what has expired, as the schedule every_night does."""
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.stores.objects import place_at
    from monitoring_pipeline.stores.parquet import expired
    from monitoring_pipeline.workflow.storage import tidy

    with plain_errors():
        deployment, now = deployment_here(), now_here()
        place, rows, said = place_at(deployment.data_address), [], []
        for monitor in load_monitors(deployment.monitors_directory):
            done = tidy(monitor, place, now, dry_run=dry_run)
            said.append(f"{monitor.model}: {done.files_saved} files fewer, {done.bytes:,} bytes of expired data")
            removed = {each.kind: each for each in done.removed}
            before = expired(place, monitor.registry_name) | {each.kind: each.before for each in done.removed}
            for kind, moment in sorted(before.items()):
                files, size = (removed[kind].files, removed[kind].bytes) if kind in removed else (0, 0)
                rows.append([monitor.model, kind, f"{moment:%Y-%m-%d}", str(files), str(size)])
    if format_ is Format.TABLE:
        typer.echo("\n".join(said))
    print_records(format_, ["monitor", "kind", "expired before", "files", "bytes"], rows, "Nothing has expired.")
