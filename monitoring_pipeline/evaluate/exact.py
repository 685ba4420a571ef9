"""Exact tests on samples of rows: the confirmation of what binned distances say.

Metrics: `exact.ks`, `exact.anderson_darling`, `exact.cramer_von_mises`, of columns whose values have an order; values
are the statistics, each with its p-value. They take rows for independent: hours of one day are not, so a small p-value
confirms a drift that was found and finds none by itself. Add an exact test here. Keep binned distances out: they belong
in drift.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import pyarrow as pa

from monitoring_pipeline.describe.columns import Column, ColumnRole, FloatArray
from monitoring_pipeline.describe.kernel import column_values, numeric_values
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.stats.hypothesis_tests import anderson_darling, cramer_von_mises, two_sample_ks

TESTS: Mapping[str, Callable[[FloatArray, FloatArray], tuple[float, float]]] = {
    "exact.ks": two_sample_ks,
    "exact.anderson_darling": anderson_darling,
    "exact.cramer_von_mises": cramer_von_mises,
}


def exact_signals(
    reference: Reference,
    reference_rows: pa.Table,
    rows: pa.Table,
    *,
    start: datetime,
    end: datetime,
    time: str | None = None,
    min_rows: int = 20,
) -> Iterator[Signal]:
    """Yield the tests of every ordered column that is served: sampled rows of [start, end) against reference rows."""
    for entry in reference.columns.values():
        column = entry.column
        if column.is_ordered and column.role is not ColumnRole.LABEL:
            before, now = (_values(table, column, time) for table in (reference_rows, rows))
            for metric, test in TESTS.items():
                yield _signal(metric, test, before, now, reference, column.name, start, end, min_rows)


def _values(rows: pa.Table, column: Column, time: str | None) -> FloatArray:
    return numeric_values(column_values(rows, column.read_from, column.part, time), column.kind).finite


def _signal(
    metric: str,
    test: Callable[[FloatArray, FloatArray], tuple[float, float]],
    before: FloatArray,
    now: FloatArray,
    reference: Reference,
    column: str,
    start: datetime,
    end: datetime,
    min_rows: int,
) -> Signal:
    place = (metric, reference.model, reference.version, start, end)
    found = min(len(before), len(now))
    if found < min_rows:
        reason = f"{found} usable values on one side, {min_rows} are needed"
        return Signal(*place, absence=Absence.TOO_FEW_ROWS, reason=reason, column=column, rows=len(now))
    if before[0] == before[-1] == now[0] == now[-1]:
        statistic, p_value = 0.0, 1.0
    else:
        statistic, p_value = test(before, now)
    return Signal(*place, value=statistic, p_value=p_value, column=column, rows=len(now))
