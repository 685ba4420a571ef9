"""Commands about plain Parquet files: describe, compare, evaluate. None of them needs a deployment.

Add a command here when it reads files and writes files.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from monitoring_pipeline.errors import StoreError, TableError

if TYPE_CHECKING:
    from monitoring_pipeline.describe.columns import ColumnKind
    from monitoring_pipeline.describe.parquet_pass import ParquetRows
    from monitoring_pipeline.judge.comparison import Comparison, ComparisonPolicy
    from monitoring_pipeline.judge.other_tools import ToolNumber
    from monitoring_pipeline.judge.verdicts import Level, Verdict
    from monitoring_pipeline.workflow.offline import Evaluation

from monitoring_pipeline.cli.base import (
    FILE_WIDTH,
    REACHED,
    Answer,
    FailOn,
    Format,
    answer,
    command,
    print_json,
    progress,
    protection_here,
)

STANDING_OUT = 12
"""Things an evaluation names on the terminal; all of them are in its files."""


Tool = Literal["evidently", "nannyml"]
"""Tools whose numbers `compare` can show beside ours."""


@command
def describe(
    rows: Annotated[Path, typer.Argument(help="Parquet file of how it should be.", metavar="ROWS")],
    output: Annotated[Path, typer.Option(help="JSON file for the reference.")],
    kinds: Annotated[str, typer.Option(help="Kinds the types do not tell: zip=categorical,code=numeric.")] = "",
    time: Annotated[str, typer.Option(help="Column of time; with it the rows calibrate thresholds.")] = "",
    windows: Annotated[str, typer.Option(help="Lengths of what will be compared, calibrated with --time.")] = "24h,7d",
    bins: Annotated[int, typer.Option(min=2, max=100, help="Bins of the population stability index.")] = 10,
    format_: Answer = Format.TABLE,
) -> None:
    """Describe a table once, so that others can be compared with it without its rows."""
    from monitoring_pipeline.capture.windows import window_length
    from monitoring_pipeline.describe.reference_building import ReferencePlan
    from monitoring_pipeline.describe.reference_json import reference_to_json
    from monitoring_pipeline.judge.stored_comparison import describe_table
    from monitoring_pipeline.stores.files import publish, read_parquet

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
    record = {"output": str(output), "rows": found.rows, "columns": list(found.columns), "left_out": left_out}
    answer(format_, record, f"{len(found.columns)} columns of {found.rows:,} rows described: {output}")
    for name, why in left_out.items() if format_ is Format.TABLE else ():
        typer.echo(f"left out: {name!r}, {why}", err=True)


@command
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
    format_: Answer = Format.TABLE,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 when a column is this bad.")] = None,
) -> None:
    """Say which columns of one table have drifted from another, by how much, and what moved."""
    from monitoring_pipeline.judge.comparison import ComparisonPolicy, compare_tables
    from monitoring_pipeline.judge.verdicts import Level
    from monitoring_pipeline.stores.files import read_parquet

    policy, names = ComparisonPolicy(min_rows, bins, alpha), [name.strip() for name in columns.split(",")]
    asked: dict[str, Any] = {"columns": names if columns else None, "time": time or None}
    numbers: list[ToolNumber] = []
    if reference.suffix == ".json":
        comparison = _compare_stored(reference, current, policy, kinds=kinds, compat=compat, **asked)
    else:
        comparison = compare_tables(_rows(reference), _rows(current), policy, kinds=_kinds(kinds), **asked)
        if compat is not None:
            from monitoring_pipeline.judge.other_tools import tool_numbers

            tables = read_parquet(reference, encoded=True), read_parquet(current, encoded=True)
            numbers = list(tool_numbers(*tables, comparison.columns, tool=compat))
    if format_ is Format.JSON:
        other = {compat: [asdict(number) for number in numbers]} if compat is not None else {}
        print_json(comparison.to_json() | other)
    else:
        from rich.console import Console

        from monitoring_pipeline.publish.comparison_table import comparison_table, printable, tool_table

        console = Console()
        console.width = console.width if console.is_terminal else FILE_WIDTH
        for sentence in filter(None, (comparison.conclusion(), comparison.note)):
            console.print(printable(sentence), markup=False, highlight=False)
        console.print(comparison_table(comparison))
        if compat is not None:
            console.print(tool_table(compat, numbers))
    if fail_on is None:
        return
    unknown = sum(entry.verdict is Level.UNKNOWN for entry in comparison.columns)
    if any(entry.verdict.rank >= Level(fail_on).rank for entry in comparison.columns):
        raise typer.Exit(REACHED)
    if unknown:
        typer.echo(f"--fail-on {fail_on}: {unknown} of {len(comparison.columns)} columns are not known", err=True)


def _rows(path: Path) -> "ParquetRows":
    from monitoring_pipeline.describe.parquet_pass import ParquetRows

    return ParquetRows(path)


def _compare_stored(
    reference: Path, current: Path, policy: "ComparisonPolicy", *, kinds: str, compat: Tool | None, **asked: Any
) -> "Comparison":
    """Return the comparison with a reference that `describe` stored."""
    from monitoring_pipeline.describe.reference_json import reference_from_json
    from monitoring_pipeline.judge.stored_comparison import compare_file
    from monitoring_pipeline.stores.files import read_json

    if kinds or compat is not None:
        raise TableError(
            f"{reference}: a stored reference has its kinds, and no rows for another tool's numbers. "
            "Give --kinds to describe, and compare two Parquet files for --compat."
        )
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


@command
def evaluate(
    monitor: Annotated[Path, typer.Option(help="YAML file of the monitored model.")],
    reference: Annotated[Path, typer.Option(help="Parquet or CSV file with the rows the model was validated on.")],
    predictions: Annotated[Path, typer.Option(help="Parquet or CSV file with the prediction log.")],
    output: Annotated[Path, typer.Option(help="Folder for signals, verdicts and rules.")],
    labels: Annotated[Path | None, typer.Option(help="Parquet or CSV file with the label log.")] = None,
    page: Annotated[Path | None, typer.Option(help="HTML file for the health page of the last 30 days of it.")] = None,
    format_: Answer = Format.TABLE,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 when a rule this severe fires.")] = None,
) -> None:
    """Evaluate every hour of a prediction log and write all signals, verdicts and rules."""
    from monitoring_pipeline.judge.rules import RuleState
    from monitoring_pipeline.judge.verdicts import Level
    from monitoring_pipeline.settings.load import load_monitor
    from monitoring_pipeline.stores.evaluations import write_evaluation
    from monitoring_pipeline.stores.rows import read_rows
    from monitoring_pipeline.workflow.offline import evaluate_tables

    with progress(f"evaluating {predictions.name}"):
        watched = load_monitor(monitor)
        private, id_column = protection_here(watched), watched.columns.prediction_id
        in_labels = private.of_labels(id_column=id_column, label_id=watched.labels.prediction_id)
        evaluation = evaluate_tables(
            watched,
            private.redact(read_rows(reference)),
            private.redact(read_rows(predictions)),
            in_labels.keep(read_rows(labels)) if labels else None,
            computed_at=datetime.now(UTC),  # noqa: TID251 - dates the reference in memory; no file holds it
        )
        paths = write_evaluation(output, evaluation.signals, evaluation.verdicts, evaluation.rules)
        if page is not None:
            from monitoring_pipeline.workflow.evaluation_page import write_evaluation_page

            write_evaluation_page(watched, evaluation, page)
            paths = [*paths, page]
    answer(format_, _summary(evaluation, paths), *_account(evaluation), f"written: {', '.join(map(str, paths))}")
    firing = [outcome for outcome in evaluation.rules if outcome.state is RuleState.FIRING]
    if fail_on is not None and any(outcome.severity.rank >= Level(fail_on).rank for outcome in firing):
        raise typer.Exit(REACHED)


def _graded(evaluation: "Evaluation") -> "dict[Level, int]":
    from monitoring_pipeline.judge.verdicts import Level

    return {level: sum(verdict.level is level for verdict in evaluation.verdicts) for level in Level}


def _fired(evaluation: "Evaluation") -> "dict[tuple[str, Level], list[datetime]]":
    """Return the hours in which each rule fired, by how severe it was."""
    from monitoring_pipeline.judge.rules import RuleState

    fired: dict[tuple[str, Level], list[datetime]] = {}
    for outcome in evaluation.rules:
        if outcome.state is RuleState.FIRING:
            fired.setdefault((outcome.rule, outcome.severity), []).append(outcome.hour)
    return fired


def _summary(evaluation: "Evaluation", paths: Sequence[Path]) -> dict[str, Any]:
    fired = [
        {"rule": rule, "severity": severity, "hours": len(hours), "first": min(hours), "last": max(hours)}
        for (rule, severity), hours in _fired(evaluation).items()
    ]
    return {
        "first_hour": evaluation.hours[0],
        "last_hour": evaluation.hours[-1],
        "predictions": evaluation.rows,
        "labelled": evaluation.labelled,
        "verdicts": _graded(evaluation),
        "rules_fired": fired,
        "written": list(map(str, paths)),
    }


def _account(evaluation: "Evaluation") -> Iterator[str]:
    from monitoring_pipeline.evaluate.signals import Absence
    from monitoring_pipeline.judge.rules import never_known

    first, last, rows = evaluation.hours[0], evaluation.hours[-1], evaluation.rows
    yield f"{len(evaluation.hours)} hours, {first:%Y-%m-%d %H}Z to {last:%Y-%m-%d %H}Z, {rows:,} predictions"
    if evaluation.labelled is None:
        yield "no labels given: performance is estimated from the scores alone"
    else:
        yield f"{evaluation.labelled:,} of the predictions have labels"
    graded = ", ".join(f"{count:,} {level}" for level, count in _graded(evaluation).items())
    yield f"{len(evaluation.signals):,} signals: {graded}"
    fired = _fired(evaluation)
    for (rule, severity), hours in fired.items():
        when = f"{min(hours):%Y-%m-%d %H}Z to {max(hours):%Y-%m-%d %H}Z"
        yield f"rule {rule} ({severity}) fired in {len(hours)} hours, {when}"
    if not fired:
        yield "no rule fired"
    for blind in never_known(evaluation.rules):
        yield f"rule {blind.rule} was never known ({blind.why}): {blind.reason}"
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
