"""The command that looks a deployment over.

Add an option here. Keep checks out: they belong in workflow.doctor.
"""

import os
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from monitoring_pipeline.cli.base import (
    REACHED,
    Answer,
    Format,
    app,
    deployment_here,
    now_here,
    plain_errors,
    print_json,
    print_table,
)


@app.command()
def doctor(
    send_test: Annotated[bool, typer.Option("--send-test", help="Send a test message to every channel.")] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """Check that all a deployment needs is there, answers and fits together; exits with 1 where it does not."""
    from monitoring_pipeline.workflow.doctor import examine
    from monitoring_pipeline.workflow.examination import Outcome, Surroundings

    with plain_errors():
        around = Surroundings(
            deployment_here(),
            os.environ,  # noqa: TID251 - a command line reads its environment
            now_here(),
            clock=lambda: datetime.now(UTC),  # noqa: TID251 - what other machines' clocks are held against
            send_test=send_test,
        )
        found = examine(around)
    counts = Counter(each.outcome for each in found)
    if format_ is Format.JSON:
        print_json({"summary": {each.value: counts[each] for each in Outcome}, "checks": list(map(asdict, found))})
    else:
        heads = ("check", "is", "found", "needed", "what to do")
        print_table(heads, [(each.what, each.outcome.value, each.found, each.needed, each.fix) for each in found])
        typer.echo(", ".join(f"{counts[each]} {each.value}" for each in Outcome))
    if counts[Outcome.FAILED]:
        raise typer.Exit(REACHED)
