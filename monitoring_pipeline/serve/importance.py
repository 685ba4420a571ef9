"""How much each feature matters to a registered model on some rows, measured in a process of its own.

The model is loaded there, under a trust list (`scoring.load_scorer`); what it does to that process, and how long it
takes, is not the caller's problem. `python -m monitoring_pipeline.serve.importance REQUEST.json RESULT.json` is that
process. Add a way to measure importance to `_measured`. Keep comparisons out: they belong in evaluate.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.describe.columns import ColumnKind, FloatArray
from monitoring_pipeline.describe.kernel import category_names, floats_with_nan
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import MonitoringError, RegistryError, without_password
from monitoring_pipeline.evaluate.attributions import Importances
from monitoring_pipeline.serve.scoring import Scorer, load_scorer

if TYPE_CHECKING:
    import pandas as pd

Method = Literal["permutation", "shap"]

FEWEST_LABELLED = 100
"""Labelled rows below which the importance of the loss is not measured."""

EXPLAINED_ROWS = 50
BACKGROUND_ROWS = 20
"""Of SHAP values. In each repeat the model has to score 2,000 rows for every feature."""


@dataclass(frozen=True, slots=True)
class ImportanceRequest:
    """Which model to measure, and how.

    label: column of the rows with the outcome, null where unknown; without it the loss is not measured. Each repeat
    looks at half of the rows (of `max_rows` drawn ones), which makes repeats differ as samples of that size do.
    """

    tracking_uri: str = field(repr=False)  # it may hold a password
    model_name: str
    version: str
    trusted_types: tuple[str, ...]
    task: Task = Task.BINARY
    methods: tuple[Method, ...] = ("permutation",)
    label: str = ""
    repeats: int = 10
    max_rows: int = 2000
    seed: int = 0


def measure_importance(
    rows: pa.Table, request: ImportanceRequest, *, timeout: timedelta, like: pa.Schema | None = None
) -> Mapping[str, Importances] | str:
    """Return importances by what was measured (`evaluate.attributions.WAYS`), or in words why there are none.

    `like` is the schema of the rows the model was made with: columns logged in another type are read as that one.
    """
    with tempfile.TemporaryDirectory(prefix="monitoring-") as private:
        folder = Path(private)
        asked, answer, table = folder / "request.json", folder / "result.json", folder / "rows.parquet"
        asked.write_text(json.dumps(asdict(request) | {"rows": str(table)}))
        command = [sys.executable, "-m", __spec__.name, str(asked), str(answer)]
        try:
            pq.write_table(rows if like is None else _in_types(rows, like), table)
            done = subprocess.run(  # noqa: S603 - this module, by the interpreter it runs in
                command, capture_output=True, text=True, errors="replace", timeout=timeout.total_seconds(), check=False
            )
        except subprocess.TimeoutExpired:
            return f"not done within {timeout} (attributions.timeout)"
        except (OSError, pa.ArrowException) as error:
            return f"the process cannot be started: {error}"
        if done.returncode or not answer.exists():
            said = done.stderr.strip().splitlines()[-1:] or ["without a word"]
            return without_password(f"the process ended with {done.returncode}: {said[0][:500]}")
        result = json.loads(answer.read_text())
    if "failure" in result:
        return without_password(str(result["failure"]))
    return {way: Importances.from_json(found) for way, found in result.items()}


def _in_types(rows: pa.Table, like: pa.Schema) -> pa.Table:
    for place, name in enumerate(rows.column_names):
        wanted = like.field(name).type if name in like.names else rows.schema.field(name).type
        if wanted == rows.schema.field(name).type:
            continue
        if pa.types.is_integer(wanted) or pa.types.is_floating(wanted):
            column = pa.array(floats_with_nan(rows[name], ColumnKind.NUMERIC), from_pandas=True)
        elif pa.types.is_string(wanted) or pa.types.is_dictionary(wanted):
            column = category_names(rows[name])
        else:
            continue
        rows = rows.set_column(place, name, column)
    return rows


def main(asked: Path, answer: Path) -> None:
    """Measure what one file asks for and write what was found, or what is wrong, into the other."""
    document = json.loads(asked.read_text())
    table = pq.read_table(document.pop("rows"))
    for name in ("trusted_types", "methods"):
        document[name] = tuple(document[name])
    try:
        found = _measured(table, ImportanceRequest(**document | {"task": Task(document["task"])}))
        result: dict[str, Any] = {way: importances.to_json() for way, importances in found.items()}
    except MonitoringError as error:
        result = {"failure": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever the model's own code raises
        result = {"failure": f"the model failed: {type(error).__name__}: {' '.join(str(error).split())[:500]}"}
    answer.write_text(json.dumps(result))


def _measured(table: pa.Table, request: ImportanceRequest) -> dict[str, Importances]:
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(request.seed)
    if table.num_rows > request.max_rows:
        table = table.take(pa.array(np.sort(rng.choice(table.num_rows, request.max_rows, replace=False))))
    scorer = load_scorer(
        request.tracking_uri, request.model_name, request.version, request.trusted_types, task=request.task
    )
    rows = table.select([name for name in scorer.features if name in table.column_names]).to_pandas()
    before, outcomes = scorer.score(rows), _outcomes(table, request.label, scorer)
    rows, found = rows[list(scorer.features)], {}
    # Of the libraries the model has loaded. For many small batches threads take ten times the processor time.
    with threadpool_limits(1):
        if "permutation" in request.methods:
            known = int(np.isfinite(outcomes).sum())
            for way, values in _permutation(scorer, rows, before, outcomes, request.repeats, rng).items():
                found[way] = Importances(scorer.features, values, known if way == "loss" else len(rows))
        if "shap" in request.methods:
            found["shap"] = Importances(scorer.features, _shap(scorer, rows, request.repeats, rng), len(rows))
    return found


def _outcomes(table: pa.Table, label: str, scorer: Scorer) -> FloatArray:
    """Return the outcome of each row as the model's output is held against it, NaN where unknown."""
    if label not in table.column_names:
        return np.full(table.num_rows, np.nan)
    if scorer.task is Task.REGRESSION:
        return floats_with_nan(table[label], ColumnKind.NUMERIC)
    # As a boolean, for the model may have been trained on 1 and 0 what the log calls true and false.
    classes, names = (
        category_names(column, ColumnKind.BOOLEAN).to_pylist()
        for column in (pa.chunked_array([scorer.estimator.classes_.tolist()]), table[label])
    )
    return np.array([classes.index(name) if name in classes else np.nan for name in names])


def _losses(outputs: FloatArray, outcomes: FloatArray, task: Task) -> FloatArray:
    """Return log loss or squared error of each row."""
    if task is Task.REGRESSION:
        return np.square(outputs - outcomes)
    sure = np.clip(outputs, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    return np.asarray(-np.log(np.where(outcomes > 0.5, sure, 1 - sure)))


def _permutation(
    scorer: Scorer,
    rows: "pd.DataFrame",
    before: FloatArray,
    outcomes: FloatArray,
    repeats: int,
    rng: np.random.Generator,
) -> dict[str, FloatArray]:
    """Return how far the output moves, and how much the loss rises, shapes (features, repeats)."""
    from sklearn.inspection import permutation_importance

    found: dict[str, list[FloatArray]] = {}
    labelled = np.isfinite(outcomes).sum() >= FEWEST_LABELLED
    for _ in range(repeats):
        half = rng.permutation(len(rows))[: len(rows) // 2]
        known = np.isfinite(outcomes[half])

        def score(_: object, shuffled: "pd.DataFrame", actual: FloatArray, half: Any = half, known: Any = known) -> Any:
            after = scorer.score(shuffled)
            scores = {"output": -np.abs(after - before[half]).mean()}
            if labelled:
                scores["loss"] = -_losses(after[known], actual[known], scorer.task).mean()
            return scores

        seed = int(rng.integers(2**31))
        shuffled = permutation_importance(
            scorer.estimator, rows.iloc[half], outcomes[half], scoring=score, n_repeats=1, random_state=seed
        )
        for way, importances in shuffled.items():
            found.setdefault(way, []).append(importances.importances[:, 0])
    return {way: np.stack(values, axis=1) for way, values in found.items()}


def _shap(scorer: Scorer, rows: "pd.DataFrame", repeats: int, rng: np.random.Generator) -> FloatArray:
    """Return the mean size of SHAP values, shape (features, repeats), of other rows and backgrounds in each repeat."""
    import pandas as pd

    try:
        shap = import_module("shap")
    except ImportError as error:
        raise RegistryError(
            f"SHAP values need the package shap ({error}). Install monitoring-pipeline[shap], or take 'shap' out of "
            "attributions.methods."
        ) from error
    # Explainers mix values of rows and know numbers only: each value is named by its place among those of its column.
    coded = [pd.factorize(rows[name], use_na_sentinel=False) for name in rows.columns]
    codes = np.stack([places for places, _ in coded], axis=1).astype(np.float64)
    known = [pd.Series(values).astype(rows[name].dtype) for name, (_, values) in zip(rows.columns, coded, strict=True)]

    def score(mixed: FloatArray) -> FloatArray:
        places = mixed.astype(np.int64).T
        taken = (values.take(at).reset_index(drop=True) for values, at in zip(known, places, strict=True))
        return scorer.score(pd.DataFrame(dict(zip(rows.columns, taken, strict=True))))

    found = []
    for _ in range(repeats):
        order = rng.permutation(len(codes))
        explained, background = order[:EXPLAINED_ROWS], order[-BACKGROUND_ROWS:]
        explainer = shap.explainers.Permutation(score, codes[background], seed=int(rng.integers(2**31)))
        values = explainer(codes[explained], max_evals=2 * codes.shape[1] + 1, silent=True).values
        found.append(np.abs(values).mean(axis=0))
    return np.stack(found, axis=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
