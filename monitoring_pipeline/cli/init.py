"""The command that writes the first YAML file of a monitor.

Add an option for a role that is often guessed wrong. Keep guessing out: it belongs in workflow.first_monitor.
"""

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from monitoring_pipeline.cli.base import Answer, Format, answer, command, deployment_here
from monitoring_pipeline.errors import MonitoringError, StoreError

if TYPE_CHECKING:
    from monitoring_pipeline.workflow.first_monitor import FirstMonitor


TaskName = Literal["binary", "multiclass", "regression"]


@command
def init(
    from_file: Annotated[Path | None, typer.Option(help="Rows of predictions: Parquet or CSV.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model; the file's, if none is given.")] = None,
    version: Annotated[str, typer.Option(help="Version or alias, where the registry knows the model.")] = "champion",
    task: Annotated[TaskName | None, typer.Option(help="What it predicts, if not what the labels look like.")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Column with the id of a prediction.")] = None,
    time: Annotated[str | None, typer.Option(help="Column with its time.")] = None,
    score: Annotated[str | None, typer.Option(help="Column with the probability of class 1.")] = None,
    prediction: Annotated[str | None, typer.Option(help="Column with the class or value that was predicted.")] = None,
    label: Annotated[str | None, typer.Option(help="Column with what came true.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="New YAML file, if not MODEL.yaml in MONITORING_MONITORS.")
    ] = None,
    format_: Answer = Format.TABLE,
) -> None:
    """Write a monitor's first YAML file from rows of predictions, or from a registered model version."""
    if from_file is None and model is None:
        raise MonitoringError("init: nothing to begin with. Give --from-file rows.parquet, or --model NAME.")
    from monitoring_pipeline.describe.outcomes import Task
    from monitoring_pipeline.workflow.first_monitor import monitor_of_rows, monitor_of_version

    kind = Task[task.upper()] if task else None
    if from_file is None:
        from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry

        found = monitor_of_version(MlflowRegistry(deployment_here().tracking_uri), str(model), version, kind)
    else:
        from monitoring_pipeline.stores.rows import read_rows

        given = {"prediction_id": id_, "predicted_at": time, "score": score, "prediction": prediction}
        told = {role: name for role, name in {**given, "actual": label}.items() if name is not None}
        name = model or re.sub(r"\W", "_", from_file.stem)
        found = monitor_of_rows(read_rows(from_file), model=name, source=from_file.name, told=told, task=kind)
    path = output or deployment_here().monitors_directory / f"{found.document['model']}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(found.text())
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}. Name a file that is not there yet with --output.") from error
    steps = list(_next_steps(found, path, from_file))
    said = {"guesses": found.guesses, "left_out": found.left_out, "next": steps}
    lines = (f"written: {path}\n\n{found.text()}", "next:", *(f"  {step}" for step in steps))
    answer(format_, {"file": str(path), "monitor": found.document, **said}, *lines)


def _next_steps(found: "FirstMonitor", path: Path, rows: Path | None) -> list[str]:
    steps = [f"monitoring-pipeline check-config {shlex.quote(str(path))}"]
    if rows is None:
        return [*steps, f"dg launch -m monitoring_pipeline.definitions --job {found.document['model']}__reference"]
    file = shlex.quote(str(rows))
    labels = f" --labels {file}" if found.has_labels else ""
    tables = f"--reference {file} --predictions {file}{labels}"
    return [*steps, f"monitoring-pipeline evaluate --monitor {shlex.quote(str(path))} {tables} --output evaluation"]
