"""Outcome profiles: predictions joined to what came true, in counters that add up.

What all tasks have in common. Add a task as a subclass in a file of its own, and to `outcome_plan`. Keep metrics out:
they belong in evaluate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.describe.columns import ColumnKind, FloatArray
from monitoring_pipeline.describe.counters import Counters, added
from monitoring_pipeline.describe.kernel import floats_with_nan


class Task(StrEnum):
    """What a model predicts."""

    BINARY = "binary_classification"
    MULTICLASS = "multiclass_classification"
    REGRESSION = "regression"
    RANKING = "ranking"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OutcomeProfile(Counters):
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
        return added(self, other, known_at=max(self.known_at, other.known_at))

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, lists and mappings; of arrays only what is not zero."""
        return {"task": self.task.value} | Counters.to_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        parts = {name: cls.from_json(part) for name, part in document["segments"].items()}
        whole: Self = super(OutcomeProfile, cls).from_json({**document, "segments": {}})
        return replace(whole, segments=parts)


HourlyOutcomes = Mapping[datetime, OutcomeProfile]
"""Outcome profiles of one version by the start of their hour."""


def numbers_of(column: pa.ChunkedArray) -> FloatArray:
    """Return a column as one float per row, NaN where it is missing or no number."""
    return floats_with_nan(column, ColumnKind.NUMERIC)


def counts_of(joined: pa.Table, usable: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return what all profiles of labelled rows count; `usable` says which of the outcomes mean something."""
    labelled, missing = int(usable.sum()), pc.sum(pc.is_null(joined["actual"], nan_is_null=True)).as_py() or 0
    times = joined["labelled_at"].drop_null().cast(pa.int64()).to_numpy()  # in microseconds since 1970
    return {
        "rows": joined.num_rows,
        "labelled": labelled,
        "unusable": joined.num_rows - missing - labelled,
        "known_at": int(times.max(initial=0)),
    }


def sums_and_squares(*parts: FloatArray) -> FloatArray:
    """Return the sum of each part and of its squares, shape (parts, 2), whatever order the rows came in."""
    return np.array([[each.sum(), np.square(each).sum()] for each in map(np.sort, parts)])
