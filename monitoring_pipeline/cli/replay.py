"""The command that replays rules over stored hours.

Add an option here when a replay can vary something else. Keep what it counts out: that belongs in notify.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitoring_pipeline.cli.base import (
    MOMENTS,
    Answer,
    Format,
    app,
    deployment_here,
    in_utc,
    plain_errors,
    print_json,
    print_table,
    progress,
)
from monitoring_pipeline.errors import Problem, SettingsError

if TYPE_CHECKING:
    from monitoring_pipeline.notify.replay import Replay

SHOWN = 20
"""Incidents of a replay that a table shows."""


@app.command()
def replay_rules(
    monitor: Annotated[Path, typer.Option(help="The monitor's YAML file, with the rules to try.")],
    start: Annotated[
        datetime | None, typer.Option("--from", formats=MOMENTS, help="First hour, such as 2026-04-01.")
    ] = None,
    end: Annotated[datetime | None, typer.Option("--to", formats=MOMENTS, help="The hour to stop before.")] = None,
    against: Annotated[list[Path] | None, typer.Option(help="Another YAML file with rules to compare.")] = None,
    limit: Annotated[list[str] | None, typer.Option(help="Other limits to try: RULE=0.1,0.2.")] = None,
    format_: Answer = Format.TABLE,
) -> None:
    """Replay a monitor's rules over stored signals: what they would have sent, when, and how early."""
    from monitoring_pipeline.settings.load import load_monitor
    from monitoring_pipeline.workflow.rule_replay import Candidate, replay_stored

    with plain_errors():
        files = [Candidate.of(load_monitor(path), str(path)) for path in [monitor, *(against or [])]]
        tried = [files[0].with_limit(rule, value) for each in limit or [] for rule, value in _limits(each)]
        candidates = [*files, *tried]
        with progress(f"replaying {len(candidates)} set(s) of rules"):
            found = replay_stored(candidates, deployment_here(), start=start and in_utc(start), end=end and in_utc(end))
    if format_ is Format.JSON:
        print_json({each.name: replay.as_record() for each, replay in zip(candidates, found, strict=True)})
        return
    span = f"{found[0].first_hour:%Y-%m-%d %H:%M}Z to {found[0].last_hour:%Y-%m-%d %H:%M}Z"
    typer.echo(f"{files[0].monitor.registry_name}, {span}, {found[0].hours} hours")
    rows = [
        (each.name, *map(str, (len(of.incidents), len(of.told), of.pages, of.duplicates_avoided)))
        for each, of in zip(candidates, found, strict=True)
    ]
    print_table(("rules", "incidents", "messages", "pages", "repetitions spared"), rows)
    for each, of in zip(files, found, strict=False):
        typer.echo(f"\n{each.name}")
        _print_replay(of)


def _limits(asked: str) -> Iterator[tuple[str, float]]:
    rule, _, values = asked.partition("=")
    try:
        for value in values.split(","):
            yield rule, float(value)
    except ValueError:
        fix = "Write a rule and numbers: --limit feature_drift=0.1,0.25."
        raise SettingsError([Problem("--limit", None, asked, "cannot be used.", fix)]) from None


def _print_replay(found: "Replay") -> None:
    """Print what every rule did, in which weeks, and the incidents that came of it."""
    from monitoring_pipeline.notify.replay import worst_of

    heads = ("rule", "hours firing", "hours unknown", "alerts", "messages", "pages", "first alert")
    numbers = ("hours_firing", "hours_unknown", "alerts", "messages", "pages")
    rows = [
        (rule.rule, *(str(getattr(rule, name)) for name in numbers), _minute(rule.first_at) or "never")
        for rule in found.rules
    ]
    print_table(heads, rows)
    weeks = sorted({week for rule in found.rules for week in rule.by_week})
    if not weeks:
        return
    alerts = [
        (week, ", ".join(f"{rule.rule} {rule.by_week[week]}" for rule in found.rules if week in rule.by_week))
        for week in weeks
    ]
    typer.echo()
    print_table(("week", "alerts"), alerts)
    typer.echo()
    incidents = [
        (
            *(_minute(each.first_hour), _minute(each.opened_at), _minute(each.resolved_at) or "open"),
            *(each.severity.value, ", ".join(each.rules), worst_of(each)),
        )
        for each in found.incidents[:SHOWN]
    ]
    print_table(("began", "on record", "over", "severity", "rules", "worst at last"), incidents)
    if (more := len(found.incidents) - SHOWN) > 0:
        typer.echo(f"and {more} more: --format json has them all")


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}Z"
