"""The same columns by the numbers and thresholds of another tool, for a team that comes from it.

Add a tool by naming its scorers in `TOOLS`. Keep the formulas out: they belong in stats; our own verdict never rests on
them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.kernel import category_names
from monitoring_pipeline.judge.comparison import ColumnComparison
from monitoring_pipeline.stats.compat import Scorer
from monitoring_pipeline.stats.compat_evidently import EVIDENTLY
from monitoring_pipeline.stats.compat_nannyml import NANNYML, nannyml_threshold

TOOLS: Mapping[str, Mapping[str, Scorer]] = MappingProxyType({"evidently": EVIDENTLY, "nannyml": NANNYML})
"""Scorers by tool, and by the tool's own name of the metric."""


@dataclass(frozen=True, slots=True)
class ToolNumber:
    """What a tool says of a column by one of its metrics; None where it has no number or no threshold."""

    column: str
    metric: str
    value: float | None
    threshold: float | None
    drifted: bool | None


def tool_numbers(
    reference: pa.Table, current: pa.Table, entries: Sequence[ColumnComparison], *, tool: str
) -> Iterator[ToolNumber]:
    """Yield the tool's numbers for every compared column that both tables have; dates and times it does not take."""
    for entry in entries:
        there = entry.column in reference.column_names and entry.column in current.column_names
        if not there or entry.kind in (None, ColumnKind.DATETIME):
            continue
        categorical = entry.kind != ColumnKind.NUMERIC
        before, now = (_values(table[entry.column], categorical) for table in (reference, current))
        for metric, scorer in TOOLS[tool].items():
            if (scorer.categorical if categorical else scorer.numeric) is not None:
                yield _number(entry.column, metric, scorer, before, now, categorical)


def _values(column: pa.ChunkedArray, categorical: bool) -> ArrayLike:
    return np.asarray((category_names(column) if categorical else column).to_numpy())


def _number(
    column: str, metric: str, scorer: Scorer, before: ArrayLike, now: ArrayLike, categorical: bool
) -> ToolNumber:
    value = scorer.score(before, now, categorical=categorical)
    if math.isnan(value):
        return ToolNumber(column, metric, None, scorer.threshold, None)
    score = scorer.categorical if categorical else scorer.numeric
    assert score is not None
    threshold = scorer.threshold if scorer.threshold is not None else nannyml_threshold(score, before)
    judged = scorer.p_value(before, now) if scorer.p_value is not None else value
    return ToolNumber(column, metric, value, threshold, scorer.drifted(judged, threshold))
