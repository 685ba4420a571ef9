"""The command that removes what is stored about one subject.

Add an option here. Keep what is removed, and in which order, out: it belongs in workflow.forgetting.
"""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from monitoring_pipeline.cli.base import (
    REACHED,
    Answer,
    Format,
    app,
    deployment_here,
    plain_errors,
    print_json,
    print_table,
)
from monitoring_pipeline.errors import Problem, SettingsError


@app.command()
def forget(
    monitor: Annotated[Path, typer.Option("--monitor", help="The monitor's YAML file.")],
    column: Annotated[str, typer.Option("--column", help="Column of the log that names the subject: customer_id.")],
    value_file: Annotated[
        Path, typer.Option("--value-file", help="File with a value on each line; - reads standard input.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and remove nothing.")] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """Remove all rows about somebody: predictions, labels, samples, quarantine, training sets and pages made of them.

    Values are read from a file, as a command line is seen by others. Exits with 1 where rows are left.
    """
    from monitoring_pipeline.settings.load import load_monitor
    from monitoring_pipeline.workflow.forgetting import Places
    from monitoring_pipeline.workflow.forgetting import forget as forgotten

    with plain_errors():
        values = _values(value_file)
        watched, deployment = load_monitor(monitor), deployment_here()
        secret = os.environ.get  # noqa: TID251 - addresses of logs and the key are there
        found = forgotten(watched, Places.of(deployment), secret, column=column, values=values, dry=dry_run)
    if format_ is Format.JSON:
        print_json({"dry_run": dry_run, "places": list(map(asdict, found))})
    else:
        print_table(
            ["place", "found" if dry_run else "removed", "left"],
            [_row(each.place, each.count, each.left) for each in found],
        )
    if any(each.left for each in found):
        raise typer.Exit(REACHED)


def _row(place: str, count: int, left: str) -> list[str]:
    return [place, str(0 if left else count), f"{count}: {left}" if left else ""]


def _values(file: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(
            [Problem("command line", None, "--value-file", f"{file}: {why}.", "Name a file with a value on each line.")]
        ) from error
    if not (values := [line.strip() for line in text.splitlines() if line.strip()]):
        fix = "Write a value on each line."
        raise SettingsError([Problem("command line", None, "--value-file", f"{file} is empty.", fix)])
    return values
