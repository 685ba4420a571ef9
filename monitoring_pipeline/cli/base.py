"""What every command shares: the app they hang on, exit codes, how errors and answers are shown.

Add here what two files of commands need. Keep commands out.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from monitoring_pipeline.errors import MonitoringError

if TYPE_CHECKING:
    from monitoring_pipeline.settings.deployment import Deployment

app = typer.Typer(
    help="Watch machine-learning models in production.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

REACHED = 1
"""Exit code when what was found is as bad as --fail-on says."""

WRONG = 2
"""Exit code when something given is wrong; the message says what to do."""


FILE_WIDTH = 160
"""Columns of a table that is not printed to a terminal."""


class Format(StrEnum):
    """How `compare` answers: to a person or to a program."""

    TABLE = "table"
    JSON = "json"


class FailOn(StrEnum):
    """The level from which a command exits with 1."""

    WARNING = "warning"
    CRITICAL = "critical"


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


def deployment_here() -> "Deployment":
    """Return the deployment that the environment describes, at the working directory."""
    from monitoring_pipeline.settings.deployment import Deployment

    return Deployment.from_environment(os.environ, root=Path())  # noqa: TID251 - a command line reads its environment
