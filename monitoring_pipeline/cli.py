"""The command line `monitoring-pipeline`.

    demo           the whole loop on real flights, or on real bikes
    check-config   every mistake in the monitors' YAML files, or what they amount to
    migrate        bring the state database up to date
    describe       a Parquet file as a reference that others are compared with
    compare        drift of a Parquet file from another, or from such a reference
    evaluate       every hour's signals, verdicts and rules from Parquet files
    telemetry      what the telemetry of a service would weigh

Add a command here when a person wants it without Dagster; keep what it does out, in the stage it belongs to. A command
imports what it needs when it runs: comparing two files must not wait for an orchestrator to load.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitoring_pipeline.errors import MonitoringError, Problem, SettingsError, StoreError, TableError

if TYPE_CHECKING:
    from monitoring_pipeline.describe.columns import ColumnKind
    from monitoring_pipeline.describe.parquet_pass import ParquetRows
    from monitoring_pipeline.judge.comparison import Comparison, ComparisonPolicy
    from monitoring_pipeline.judge.other_tools import ToolNumber
    from monitoring_pipeline.judge.verdicts import Verdict
    from monitoring_pipeline.settings.deployment import Deployment
    from monitoring_pipeline.settings.monitor import Monitor
    from monitoring_pipeline.workflow.offline import Evaluation

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

STANDING_OUT = 12
"""Things an evaluation names on the terminal; all of them are in its files."""

FILE_WIDTH = 160
"""Columns of a table that is not printed to a terminal."""


class Tool(StrEnum):
    """Tools whose numbers `compare` can show beside ours."""

    EVIDENTLY = "evidently"
    NANNYML = "nannyml"


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


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path(".monitoring/demo"),
    step: Annotated[str | None, typer.Option(help="Hours replayed between two rounds of the sensors.")] = None,
    monitor: Annotated[str, typer.Option(help="Which demonstration: a folder of examples/.")] = "flight_delays",
) -> None:
    """Train, serve, watch and retrain a model on real data, in a clone of the repository."""
    with plain_errors():
        known = sorted(path.parent.name for path in Path("examples").glob("*/demo.py"))
        if monitor not in known:
            there = f"it has {', '.join(known)}" if known else "it has none"
            where = Path.cwd() / "examples"
            raise MonitoringError(f"demo: {where} has no {monitor!r}, {there}. Run it in a clone of the repository.")
        from monitoring_pipeline.capture.windows import window_length

        try:
            pace = {} if step is None else {"step": window_length(step)}
        except ValueError as error:
            raise SettingsError([Problem("command line", None, "--step", f"{error}.", "")]) from error
        sys.path.insert(0, str(Path.cwd()))
        import_module(f"examples.{monitor}.demo").run_demo(home, **pace)


@app.command()
def check_config(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="YAML files or folders of them; MONITORING_MONITORS if none is given.")
    ] = None,
) -> None:
    """Name every mistake in the monitors' settings with its file and line, or list what they say."""
    from monitoring_pipeline.settings.load import load_files, monitor_files

    with plain_errors():
        if paths:
            nested = [monitor_files(path) if path.is_dir() else [path] for path in paths]
        else:
            nested = [monitor_files(_deployment().monitors_directory)]
        files = list(dict.fromkeys(file for some in nested for file in some))
        for file, monitor in zip(files, load_files(files), strict=True):
            typer.echo("\n".join(_described(file, monitor)))


def _described(file: Path, monitor: "Monitor") -> Iterator[str]:
    rules, policy, routing = monitor.alert_rules(), monitor.trigger_policy(), monitor.routing()
    yield f"{monitor.model} ({file}): {len(monitor.features.kinds())} features, windows {', '.join(monitor.windows)}"
    for rule in rules:
        yield f"  rule {rule.name}: {rule.severity} after {rule.for_} in a row, resolved after {rule.resolve_after}"
    if not rules:
        yield "  no rules: nothing alerts"
    names = ", ".join(trigger.name for trigger in policy.triggers)
    action = monitor.retraining.trainer or "only recorded, no trainer is named"
    yield f"  retraining when {policy.clauses_needed} of {len(policy.triggers)} hold ({names}): {action}"
    for severity in ("warning", "critical"):
        yield f"  {severity}: {', '.join(routing.channels_for(severity)) or 'no channel'}"


@app.command()
def migrate() -> None:
    """Bring the state database (MONITORING_DATABASE_URL) up to date."""
    from sqlalchemy.exc import ArgumentError

    from monitoring_pipeline.settings.deployment import without_password
    from monitoring_pipeline.stores.database import StateDatabase

    with plain_errors():
        url = _deployment().database_url
        try:
            database = StateDatabase(url)
        except (ArgumentError, ImportError) as error:
            fix = "Write sqlite:///<file> or postgresql://<user>@<host>/<database>."
            found = f"{without_password(url)!r} cannot be used."
            raise SettingsError([Problem("environment", None, "MONITORING_DATABASE_URL", found, fix)]) from error
        try:
            database.migrate()
            typer.echo(f"{without_password(url)} is at {database.revision()}")
        except OSError as error:
            problem = f"state database {without_password(url)}: {error.strerror}"
            raise StoreError(f"{problem}. Check the path and its permissions.") from error
        finally:
            database.close()


@app.command()
def describe(
    rows: Annotated[Path, typer.Argument(help="Parquet file of how it should be.", metavar="ROWS")],
    output: Annotated[Path, typer.Option(help="JSON file for the reference.")],
    kinds: Annotated[str, typer.Option(help="Kinds the types do not tell: zip=categorical,code=numeric.")] = "",
    time: Annotated[str, typer.Option(help="Column of time; with it the rows calibrate thresholds.")] = "",
    windows: Annotated[str, typer.Option(help="Lengths of what will be compared, calibrated with --time.")] = "24h,7d",
    bins: Annotated[int, typer.Option(min=2, max=100, help="Bins of the population stability index.")] = 10,
) -> None:
    """Describe a table once, so that others can be compared with it without its rows."""
    from monitoring_pipeline.capture.windows import window_length
    from monitoring_pipeline.describe.reference_building import ReferencePlan
    from monitoring_pipeline.describe.reference_json import reference_to_json
    from monitoring_pipeline.judge.stored_comparison import describe_table
    from monitoring_pipeline.stores.files import publish, read_parquet

    with plain_errors():
        try:
            lengths = [window_length(name.strip()) for name in windows.split(",")] if time else []
        except ValueError as error:
            raise TableError(f"--windows: {error}.") from error
        found, left_out = describe_table(
            read_parquet(rows, encoded=True),
            computed_at=datetime.now(UTC),  # noqa: TID251 - dates the reference
            kinds=_kinds(kinds),
            time=time or None,
            plan=ReferencePlan(windows=lengths),
            bins=bins,
        )
        try:
            publish(output, json.dumps(reference_to_json(found)).encode())
        except OSError as error:
            raise StoreError(f"{output}: cannot be written ({error.strerror}). Name another file.") from error
    typer.echo(f"{len(found.columns)} columns of {found.rows:,} rows described: {output}")
    for name, why in left_out.items():
        typer.echo(f"left out: {name!r}, {why}", err=True)


@app.command()
def compare(
    reference: Annotated[
        Path, typer.Argument(help="How it should be: Parquet, or JSON from `describe`.", metavar="REFERENCE")
    ],
    current: Annotated[Path, typer.Argument(help="Parquet file of how it is.", metavar="CURRENT")],
    columns: Annotated[str, typer.Option(help="Columns to compare, a,b,c; all if none is named.")] = "",
    kinds: Annotated[str, typer.Option(help="Kinds the types do not tell: zip=categorical,code=numeric.")] = "",
    time: Annotated[str, typer.Option(help="Column of time; with it the reference calibrates thresholds.")] = "",
    min_rows: Annotated[int, typer.Option(min=1, help="Rows both tables need.")] = 1000,
    bins: Annotated[int, typer.Option(min=2, max=100, help="Bins of the population stability index.")] = 10,
    alpha: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="How often a comparison may name a drift that is none.")
    ] = 0.05,
    compat: Annotated[Tool | None, typer.Option(help="Also give this tool's numbers for the same rows.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="For a person or for a program.")] = Format.TABLE,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 when a column is this bad.")] = None,
) -> None:
    """Say which columns of one table have drifted from another, by how much, and what moved."""
    from monitoring_pipeline.judge.comparison import ComparisonPolicy, compare_tables
    from monitoring_pipeline.judge.verdicts import Level
    from monitoring_pipeline.notify.incidents import json_ready
    from monitoring_pipeline.stores.files import read_parquet

    policy, names = ComparisonPolicy(min_rows, bins, alpha), [name.strip() for name in columns.split(",")]
    asked: dict[str, Any] = {"columns": names if columns else None, "time": time or None}
    numbers: list[ToolNumber] = []
    with plain_errors():
        if reference.suffix == ".json":
            comparison = _compare_stored(reference, current, policy, kinds=kinds, compat=compat, **asked)
        else:
            comparison = compare_tables(_rows(reference), _rows(current), policy, kinds=_kinds(kinds), **asked)
            if compat is not None:
                from monitoring_pipeline.judge.other_tools import tool_numbers

                tables = read_parquet(reference, encoded=True), read_parquet(current, encoded=True)
                numbers = list(tool_numbers(*tables, comparison.columns, tool=compat.value))
    if format_ is Format.JSON:
        other = {compat.value: [asdict(number) for number in numbers]} if compat is not None else {}
        typer.echo(json.dumps(json_ready(comparison.to_json() | other), indent=2, allow_nan=False))
    else:
        from rich.console import Console

        from monitoring_pipeline.publish.comparison_table import comparison_table, printable, tool_table

        console = Console()
        console.width = console.width if console.is_terminal else FILE_WIDTH
        for sentence in filter(None, (comparison.conclusion(), comparison.note)):
            console.print(printable(sentence), markup=False, highlight=False)
        console.print(comparison_table(comparison))
        if compat is not None:
            console.print(tool_table(compat.value, numbers))
    if fail_on is None:
        return
    unknown = sum(entry.verdict is Level.UNKNOWN for entry in comparison.columns)
    if any(entry.verdict.rank >= Level(fail_on).rank for entry in comparison.columns):
        raise typer.Exit(REACHED)
    if unknown:
        typer.echo(f"--fail-on {fail_on}: {unknown} of {len(comparison.columns)} columns are not known", err=True)


def _rows(path: Path) -> "ParquetRows":
    from monitoring_pipeline.describe.parquet_pass import ParquetRows
    from monitoring_pipeline.stores.files import parquet_errors

    with parquet_errors(path):
        return ParquetRows(path)


def _compare_stored(
    reference: Path,
    current: Path,
    policy: "ComparisonPolicy",
    *,
    kinds: str,
    compat: Tool | None,
    **asked: Any,
) -> "Comparison":
    """Return the comparison with a reference that `describe` stored."""
    from monitoring_pipeline.describe.reference_json import reference_from_json
    from monitoring_pipeline.judge.stored_comparison import compare_file
    from monitoring_pipeline.stores.files import parquet_errors, read_json

    if kinds or compat is not None:
        raise TableError(
            f"{reference}: a stored reference has its kinds, and no rows for another tool's numbers. "
            "Give --kinds to describe, and compare two Parquet files for --compat."
        )
    with parquet_errors(current):
        return compare_file(reference_from_json(read_json(reference)), current, policy, **asked)


def _kinds(text: str) -> "dict[str, ColumnKind]":
    from monitoring_pipeline.describe.columns import ColumnKind

    kinds = {}
    for part in filter(None, text.split(",")):
        name, _, kind = part.rpartition("=")
        if not name or kind.strip() not in set(ColumnKind):
            choices = ", ".join(ColumnKind)
            raise TableError(f"--kinds: {part!r} is not a column and its kind. Write <column>=<kind>, with {choices}.")
        kinds[name.strip()] = ColumnKind(kind.strip())
    return kinds


@app.command()
def evaluate(
    monitor: Annotated[Path, typer.Option(help="YAML file of the monitored model.")],
    reference: Annotated[Path, typer.Option(help="Parquet file with the rows the model was validated on.")],
    predictions: Annotated[Path, typer.Option(help="Parquet file with the prediction log.")],
    output: Annotated[Path, typer.Option(help="Folder for signals, verdicts and rules.")],
    labels: Annotated[Path | None, typer.Option(help="Parquet file with the label log.")] = None,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 when a rule this severe fires.")] = None,
) -> None:
    """Evaluate every hour of a prediction log and write all signals, verdicts and rules."""
    from monitoring_pipeline.judge.rules import RuleState
    from monitoring_pipeline.judge.verdicts import Level
    from monitoring_pipeline.settings.load import load_monitor
    from monitoring_pipeline.stores.evaluations import write_evaluation
    from monitoring_pipeline.stores.files import read_parquet
    from monitoring_pipeline.workflow.offline import evaluate_tables

    with plain_errors():
        evaluation = evaluate_tables(
            load_monitor(monitor),
            read_parquet(reference),
            read_parquet(predictions),
            read_parquet(labels) if labels else None,
            computed_at=datetime.now(UTC),  # noqa: TID251 - dates the reference in memory; no file holds it
        )
        paths = write_evaluation(output, evaluation.signals, evaluation.verdicts, evaluation.rules)
    typer.echo("\n".join(_account(evaluation)))
    typer.echo(f"written: {', '.join(map(str, paths))}")
    firing = [outcome for outcome in evaluation.rules if outcome.state is RuleState.FIRING]
    if fail_on is not None and any(outcome.severity.rank >= Level(fail_on).rank for outcome in firing):
        raise typer.Exit(REACHED)


def _account(evaluation: "Evaluation") -> Iterator[str]:
    from monitoring_pipeline.evaluate.signals import Absence
    from monitoring_pipeline.judge.rules import RuleState
    from monitoring_pipeline.judge.verdicts import Level

    first, last, rows = evaluation.hours[0], evaluation.hours[-1], evaluation.rows
    yield f"{len(evaluation.hours)} hours, {first:%Y-%m-%d %H}Z to {last:%Y-%m-%d %H}Z, {rows:,} predictions"
    if evaluation.labelled is None:
        yield "no labels given: performance is estimated from the scores alone"
    else:
        yield f"{evaluation.labelled:,} of the predictions have labels"
    counts = {level: sum(verdict.level is level for verdict in evaluation.verdicts) for level in Level}
    graded = ", ".join(f"{count:,} {level}" for level, count in counts.items())
    yield f"{len(evaluation.signals):,} signals: {graded}"
    fired: dict[str, list[datetime]] = {}
    for outcome in evaluation.rules:
        if outcome.state is RuleState.FIRING:
            fired.setdefault(f"{outcome.rule} ({outcome.severity})", []).append(outcome.hour)
    for rule, hours in fired.items():
        yield f"rule {rule} fired in {len(hours)} hours, {min(hours):%Y-%m-%d %H}Z to {max(hours):%Y-%m-%d %H}Z"
    if not fired:
        yield "no rule fired"
    failed = {signal.reason for signal in evaluation.signals if signal.absence is Absence.FAILED}
    yield from (f"failed: {reason}" for reason in sorted(failed))
    yield from _worst(evaluation.verdicts)


def _worst(verdicts: "Sequence[Verdict]") -> Iterator[str]:
    """Yield what stands out, each thing once: how often, and what was said of it at its worst."""
    found: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.level.rank > 0:
            signal = verdict.signal
            what = " ".join(filter(None, (signal.metric, signal.column, signal.segment, f"({signal.window})")))
            found.setdefault((str(verdict.level), what), []).append(verdict)
    worst = sorted(found, key=lambda key: (-found[key][0].level.rank, -len(found[key]), key))
    if worst:
        yield "what stands out:"
    for level, what in worst[:STANDING_OUT]:
        reason = max(found[level, what], key=lambda verdict: abs(verdict.signal.value or 0.0)).reason
        yield f"  {level}: {what}, {len(found[level, what])} times: {reason}"
    if len(worst) > STANDING_OUT:
        yield f"  and {len(worst) - STANDING_OUT} more, in verdicts.json"


@app.command()
def telemetry(
    requests: Annotated[float, typer.Option(help="Requests per second.", min=0)],
    series: Annotated[int, typer.Option(help="Time series of all instances.", min=0)],
    log_lines: Annotated[float, typer.Option(help="Log lines per request.", min=0)] = 1.0,
    scrape: Annotated[float, typer.Option(help="Seconds between two readings of a series.", min=1)] = 15.0,
    traces: Annotated[float, typer.Option(help="Share of the requests that are traced.", min=0, max=1)] = 0.001,
    predictions: Annotated[float, typer.Option(help="Share of the predictions that are kept.", min=0, max=1)] = 0.01,
) -> None:
    """Estimate what metrics, logs, traces and sampled predictions weigh a day, and in store."""
    from monitoring_pipeline.evaluate.telemetry import TIERS, TelemetryRates, telemetry_volume

    volume = telemetry_volume(
        TelemetryRates(
            requests_per_s=requests,
            metric_series=series,
            log_lines_per_request=log_lines,
            scrape_s=scrape,
            trace_share=traces,
            prediction_share=predictions,
        )
    )
    for kind, size in volume.daily.items():
        typer.echo(f"{kind:12} {size:10.3f} GB a day")
    for tier, size in volume.stored.items():
        typer.echo(f"{tier:12} {size:10.1f} GB kept, until an age of {TIERS[tier]} days")


def _deployment() -> "Deployment":
    from monitoring_pipeline.settings.deployment import Deployment

    return Deployment.from_environment(os.environ, root=Path())  # noqa: TID251 - a command line reads its environment


if __name__ == "__main__":
    app()
