"""Commands over a range of stored hours: computing them anew, and replaying rules over them.

Add an option here when either can vary something else. Keep what they do out: it belongs in workflow and notify.
"""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitoring_pipeline.cli.base import (
    MOMENTS,
    Answer,
    Format,
    Model,
    answer,
    command,
    deployment_here,
    in_utc,
    monitor_named,
    print_json,
    print_table,
    progress,
)
from monitoring_pipeline.errors import Problem, SettingsError

if TYPE_CHECKING:
    from monitoring_pipeline.notify.replay import Replay


SHOWN = 20
"""Incidents of a replay that a table shows."""


@command
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
    monitor, first, stop = monitor_named(model), in_utc(start), in_utc(end)
    from monitoring_pipeline.workflow.backfill import backfill as computed
    from monitoring_pipeline.workflow.backfill import materialisations

    with progress(f"{monitor.model}, hours", materialisations(monitor, first, stop, stored=stored)) as done:
        found = computed(monitor, first, stop, done=done, stored=stored)
    hours = (stop - first).total_seconds() / 3600
    done_in = f"{hours:.0f} hours in {len(found.runs)} run(s), {found.predictions:,} predictions"
    fired = [f"rule {rule} fires in {count} hours" for rule, count in sorted(found.fired.items())]
    answer(format_, {"model": monitor.model, **asdict(found)}, done_in, *(fired or ["no rule fires"]))


@command
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
    from monitoring_pipeline.notify.replay import FIGURES, worst_of

    heads = ("rule", *(name.replace("_", " ") for name in FIGURES), "first alert")
    rows = [
        (rule.rule, *(str(getattr(rule, name)) for name in FIGURES), _minute(rule.first_at) or "never")
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
