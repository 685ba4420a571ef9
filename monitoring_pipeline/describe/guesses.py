"""What the columns of a table of predictions are, where nobody has said: their roles, the task, and the features.

Add a name people give a column to `NAMES`. Keep settings out: a guess says what it found, and nothing of a file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.predictions import LogColumns, as_text, as_utc
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.kinds import kind_of_type
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import TableError

NAMES = {
    "prediction_id": "prediction_id id request_id event_id row_id uuid",
    "predicted_at": "predicted_at timestamp ts time datetime event_time served_at created_at date",
    "version": "model_version version",
    "score": "score probability proba y_score y_prob y_proba predicted_probability",
    "prediction": "prediction predicted y_pred pred yhat y_hat predicted_class predicted_label predicted_value",
    "actual": "actual label target y y_true ground_truth outcome",
    "labelled_at": "labelled_at labeled_at label_time",
}
"""What columns with a role are often called, the most telling name first."""

MOST_CLASSES = 20
"""Whole numbers with more values than these are amounts rather than classes."""

_PROBABILITY = re.compile(r"(?:probability|proba|prob|p)_(.+)")


@dataclass(frozen=True, slots=True)
class GuessedModel:
    """What is predicted, the columns of the log that say so, the kinds of the features, and what is no feature."""

    task: Task
    columns: Mapping[str, Any]
    kinds: Mapping[str, ColumnKind]
    left_out: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


def guess_roles(rows: pa.Table, told: Mapping[str, str], source: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the columns with a role by the role, and those of them that were guessed from other names than usual."""
    if missing := [name for name in told.values() if name not in rows.column_names]:
        raise TableError.missing_columns(source, missing, rows.column_names)
    lower = {name.lower(): name for name in reversed(rows.column_names)}
    roles, guesses = dict(told), {}
    for role, names in NAMES.items():
        free = (lower[each] for each in names.split() if each in lower and lower[each] not in roles.values())
        found = next((name for name in free if _fits(rows[name], role)), None)
        if role == "predicted_at" and found is None:
            times = [each.name for each in rows.schema if pa.types.is_timestamp(each.type)]
            found = times[0] if len(times) == 1 else None
        if role == "prediction_id" and found is None:
            found = next(
                (name for name in rows.column_names if name.lower().endswith("id") and _is_id(rows[name])), None
            )
        if role not in roles and found is not None:
            roles[role] = found
            if found != names.split()[0]:
                guesses[role] = found
    return roles, guesses


def _fits(column: pa.ChunkedArray, role: str) -> bool:
    """Return whether the values of a column can be what its name says."""
    if role == "prediction_id":
        return _is_id(column)
    if role in ("predicted_at", "labelled_at"):
        try:
            as_utc(column, name="", table="")
        except TableError:
            return False
        return True
    return role != "score" or _are_shares(column)


def _is_id(column: pa.ChunkedArray) -> bool:
    return not pa.types.is_floating(column.type) and len(pc.unique(column)) > 0.9 * len(column)


def _are_shares(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_floating(column.type) or column.null_count == len(column):
        return False
    bounds = pc.min_max(column).as_py()
    return bool(bounds["min"] >= 0 and bounds["max"] <= 1)


def guess_model(rows: pa.Table, roles: Mapping[str, str], task: Task | None = None) -> GuessedModel:
    """Return what the model of some rows predicts, from which features; its task is guessed unless it is told."""
    free = [name for name in rows.column_names if name not in roles.values()]
    matches = {name: match[1] for name in free if (match := _PROBABILITY.fullmatch(name)) and _are_shares(rows[name])}
    probabilities = {label: name for name, label in matches.items()} if _sum_to_one(rows, list(matches)) else {}
    free = [name for name in free if name not in probabilities.values()]
    task = task or (Task.MULTICLASS if probabilities else _task(rows, roles))
    columns: dict[str, Any] = {"probabilities": probabilities} if probabilities else {}
    score = roles.get("score") if task is Task.BINARY else None
    for role, column in {"score": score, "prediction": roles.get("prediction")}.items():
        columns |= {} if column == getattr(LogColumns(), role) else {role: column}
    classes: set[str] = set()
    if task is Task.MULTICLASS and not probabilities:
        named = [rows[roles[role]] for role in ("actual", "prediction") if role in roles]
        classes = {name for column in named for name in pc.unique(as_text(column)).to_pylist() if name is not None}
    left_out = {name: why for name in free if (why := _no_feature(name, rows[name]))}
    kinds = {name: kind for name in free if name not in left_out and (kind := kind_of_type(rows[name].type))}
    return GuessedModel(task, columns, kinds, left_out, tuple(sorted(classes)))


def _sum_to_one(rows: pa.Table, names: list[str]) -> bool:
    head = rows.slice(0, 1000).select(names)
    return len(names) > 2 and all(
        abs(sum(row.values()) - 1) < 0.01 for row in head.to_pylist() if None not in row.values()
    )


def _task(rows: pa.Table, roles: Mapping[str, str]) -> Task:
    known = roles.get("actual") or roles.get("prediction")
    if known is None:
        return Task.BINARY
    kind, values = kind_of_type(rows[known].type), pc.unique(rows[known].drop_null())
    if pa.types.is_floating(values.type):
        values = values.filter(pc.is_finite(values))
    if kind is not ColumnKind.NUMERIC:
        return Task.BINARY if kind is ColumnKind.BOOLEAN else Task.MULTICLASS
    if len(values) <= MOST_CLASSES and set(values.to_pylist()) <= {0, 1}:
        return Task.BINARY
    few = len(values) <= MOST_CLASSES and all(float(value).is_integer() for value in values.to_pylist())
    return Task.MULTICLASS if few else Task.REGRESSION


def _no_feature(name: str, column: pa.ChunkedArray) -> str:
    """Return why a column is none; empty where it may be one."""
    kind = kind_of_type(column.type)
    if any(name.lower() in NAMES[role].split() for role in ("score", "prediction", "actual")):
        return "by its name it is no input of the model"
    if kind is None:
        return f"values of type {column.type} have no distribution to compare"
    if column.null_count == len(column):
        return "it holds nothing"
    text = kind is ColumnKind.CATEGORICAL
    if text and len(pc.unique(column)) > max(MOST_CLASSES, len(column) / 2):
        return "nearly every value is another: an id, or free text"
    return ""
