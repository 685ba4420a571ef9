"""What every command shares: the app they hang on, exit codes, how errors and answers are shown, what they work on.

Add here what two files of commands need. Keep commands out.
"""

import getpass
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.serve.guard import CONNECTIONS

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from monitoring_pipeline.capture.privacy import Privacy
    from monitoring_pipeline.settings.deployment import Deployment
    from monitoring_pipeline.settings.monitor import Monitor
    from monitoring_pipeline.stores.database import StateDatabase

app = typer.Typer(
    help="Watch machine-learning models in production.", no_args_is_help=True, pretty_exceptions_enable=False
)

REACHED = 1
"""Exit code when what was found is as bad as --fail-on says."""

WRONG = 2
"""Exit code when something given is wrong; the message says what to do."""

FILE_WIDTH = 160
"""Columns of a table that is not printed to a terminal."""


class Format(StrEnum):
    """To whom a command answers: a person or a program."""

    TABLE = "table"
    JSON = "json"


class FailOn(StrEnum):
    """The level from which a command exits with 1."""

    WARNING = "warning"
    CRITICAL = "critical"


MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]
"""How moments are typed; without a zone they are in UTC."""


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run as a user that has no name
        raise typer.BadParameter("nobody is logged in here: say who you are.", param_hint="--by") from None


Answer = Annotated[Format, typer.Option("--format", help="For a person or for a program.")]
By = Annotated[str, typer.Option("--by", help="Who does it.", default_factory=_me)]
Model = Annotated[str, typer.Argument(help="The model, as its monitor names it.")]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Report what the user can put right as a message, without a traceback, and exit with 2."""
    try:
        yield
    except MonitoringError as error:
        from monitoring_pipeline.publish.comparison_table import printable

        for line in str(error).splitlines():
            typer.echo(printable(line.expandtabs()), err=True)
        raise typer.Exit(WRONG) from error


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Hang a function on the app, its errors in plain words."""
    return app.command()(plain_errors()(function))


def deployment_here() -> "Deployment":
    """Return the deployment that the environment describes, at the working directory."""
    from monitoring_pipeline.settings.deployment import Deployment

    return Deployment.from_environment(os.environ, root=Path())  # noqa: TID251 - a command line reads its environment


@contextmanager
def database_here() -> "Iterator[StateDatabase]":
    """Open the state database of the deployment."""
    from monitoring_pipeline.stores.database import StateDatabase

    database = StateDatabase(deployment_here().database_url)
    try:
        yield database
    finally:
        database.close()


def monitor_named(name: str) -> "Monitor":
    """Return the monitor of a model under either of its names, or say which there are."""
    from difflib import get_close_matches

    from monitoring_pipeline.settings.load import load_monitors

    monitors = load_monitors(deployment_here().monitors_directory)
    for monitor in monitors:
        if name in (monitor.model, monitor.registry_name):
            return monitor
    names = sorted(monitor.model for monitor in monitors)
    near = get_close_matches(name, names, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    raise MonitoringError(f"no monitor watches {name!r}: those that exist watch {', '.join(names)}.{guess}")


def protection_here(monitor: "Monitor") -> "Privacy":
    """Return what becomes of personal data of a monitor, with the key of the environment."""
    secret = os.environ.get  # noqa: TID251 - where keys are
    return monitor.privacy.protection(secret, model=monitor.model)


def listen(served: "ASGIApp", host: str, port: int, **how: Any) -> None:
    """Serve an app until the process is told to end."""
    import uvicorn

    uvicorn.run(served, host=host, port=port, workers=1, server_header=False, limit_concurrency=CONNECTIONS, **how)


def now_here() -> datetime:
    """Return the deployment's moment: that of a replay where one has set the clock."""
    clock = deployment_here().clock_file
    if clock is not None and clock.exists():
        return datetime.fromisoformat(clock.read_text().strip()).astimezone(UTC)
    return datetime.now(UTC)  # noqa: TID251 - what a person does, they do now


def in_utc(moment: datetime) -> datetime:
    """Return a moment that was typed: without a zone it is one in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def print_json(value: object) -> None:
    """Answer a program."""
    from monitoring_pipeline.notify.alerts import json_ready

    plain = json.loads(json.dumps(value, default=_plain))
    typer.echo(json.dumps(json_ready(plain), indent=2, allow_nan=False))


def answer(format_: Format, record: object, *lines: str) -> None:
    """Answer a program with a record, a person with lines."""
    if format_ is Format.JSON:
        print_json(record)
    else:
        typer.echo("\n".join(lines))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.tolist() if hasattr(value, "tolist") else str(value)


def print_records(format_: Format, heads: Sequence[str], rows: Iterable[Sequence[str]], nothing: str) -> None:
    """Answer with a list of things that have the same fields for people and programs."""
    rows = list(rows)
    if format_ is Format.JSON:
        print_json([dict(zip(heads, row, strict=True)) for row in rows])
    elif rows:
        print_table(heads, rows)
    else:
        typer.echo(nothing)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Answer a person with a table; no cell moves the cursor or is markup."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from monitoring_pipeline.publish.comparison_table import printable

    table = Table(box=None, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    console = Console()
    console.width = console.width if console.is_terminal else FILE_WIDTH
    console.print(table)


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how long something takes, and how much of `total` is done where the caller can tell."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = [SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()]
    # A terminal of its own: Dagster takes standard error away while a step runs.
    with (
        os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal,
        Progress(*shown, console=Console(file=terminal), transient=True) as bar,
    ):
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)
