"""Outcome profiles: predictions joined to what came true, in counters that add up.

What all tasks have in common. Add a task as a subclass in a file of its own, and to `outcome_plan`. Keep metrics out:
they belong in evaluate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.describe.columns import ColumnKind, FloatArray
from monitoring_pipeline.describe.kernel import floats_with_nan


class Task(StrEnum):
    """What a model predicts."""

    BINARY = "binary_classification"
    MULTICLASS = "multiclass_classification"
    REGRESSION = "regression"
    RANKING = "ranking"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OutcomeProfile:
    """Counters of some predictions and their outcomes; all of them add, and the default of each is that of no rows.

    labelled: rows with a usable outcome. unusable: outcomes given that mean nothing to the task. known_at: latest
    moment an outcome became known, in microseconds since 1970. segments: the same of parts of the rows, by name.
    """

    task: ClassVar[Task]

    rows: int = 0
    labelled: int = 0
    unusable: int = 0
    known_at: int = 0
    segments: Mapping[str, "OutcomeProfile"] = field(default_factory=dict)

    def merge(self, other: Self) -> Self:
        """Return the profile of both batches: counts exactly, sums up to floating-point rounding."""
        added = {entry.name: _added(getattr(self, entry.name), getattr(other, entry.name)) for entry in fields(self)}
        return type(self)(**added | {"known_at": max(self.known_at, other.known_at)})

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, lists and mappings; of arrays only what is not zero."""
        return {"task": self.task.value} | {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        blank = cls()
        found = {entry.name: _restored(document[entry.name], getattr(blank, entry.name)) for entry in fields(cls)}
        return cls(**found | {"segments": {name: cls.from_json(part) for name, part in document["segments"].items()}})


HourlyOutcomes = Mapping[datetime, OutcomeProfile]
"""Outcome profiles of one version by the start of their hour."""


def _added(first: Any, second: Any) -> Any:
    if isinstance(first, Mapping):
        both = {name: _added(first[name], second[name]) for name in first.keys() & second.keys()}
        found = {**first, **second, **both}
        return {name: found[name] for name in sorted(found)}
    return first.merge(second) if hasattr(first, "merge") else first + second


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        flat = value.ravel()
        (at,) = np.nonzero(flat)
        kind = "float" if value.dtype.kind == "f" else "int"
        return [kind, list(value.shape), at.tolist(), flat[at].tolist()]
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return value.to_json() if hasattr(value, "to_json") else value


def _restored(plain: Any, blank: Any) -> Any:
    if hasattr(blank, "from_json"):
        return blank.from_json(plain)
    if isinstance(plain, list):
        kind, shape, at, values = plain
        found = np.zeros(shape, np.float64 if kind == "float" else np.int64)
        found.ravel()[at] = values
        return found
    if isinstance(plain, Mapping):
        return {name: _restored(part, None) for name, part in plain.items()}
    return plain


def numbers_of(column: pa.ChunkedArray) -> FloatArray:
    """Return a column as one float per row, NaN where it is missing or no number."""
    return floats_with_nan(column, ColumnKind.NUMERIC)


def given_outcomes(joined: pa.Table) -> int:
    """Return how many rows have an outcome, whether or not it means anything."""
    missing: int = pc.sum(pc.is_null(joined["actual"], nan_is_null=True)).as_py() or 0
    return int(joined.num_rows - missing)


def last_known_at(joined: pa.Table) -> int:
    """Return the latest moment an outcome of the rows became known, in microseconds since 1970; 0 where none did."""
    times = joined["labelled_at"].drop_null().cast(pa.int64()).to_numpy()
    return int(times.max()) if len(times) else 0
