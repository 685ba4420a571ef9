"""Made-up traffic of one model: rows as a service would log them, hour by hour, and references of such rows.

Add a kind of traffic here when two tests need it. Keep expectations out: they belong in the tests.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring_pipeline.capture.predictions import LogColumns, prepare_predictions
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import Column, ColumnKind, ColumnRole, categorical_bins, numeric_bins
from monitoring_pipeline.describe.hours import profile_hours
from monitoring_pipeline.describe.kernel import category_counts, numeric_values
from monitoring_pipeline.describe.reference_building import ColumnSpec, ReferencePlan, build_reference
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.drift import DriftPolicy, drift_signals
from monitoring_pipeline.evaluate.signals import Signal

MODEL, VERSION = "churn", "3"
START = datetime(2026, 11, 20, tzinfo=UTC)
COMPUTED = datetime(2026, 11, 19, 12, tzinfo=UTC)
LOG = LogColumns()
SPECS = (
    ColumnSpec("tenure", ColumnRole.FEATURE, ColumnKind.NUMERIC),
    ColumnSpec("plan", ColumnRole.FEATURE, ColumnKind.CATEGORICAL),
    ColumnSpec("score", ColumnRole.SCORE, ColumnKind.NUMERIC, groups=20),
    ColumnSpec("prediction", ColumnRole.PREDICTION, ColumnKind.CATEGORICAL),
)


def hour(number: int) -> datetime:
    return START + number * HOUR


def column(name: str, values: Any, kind: ColumnKind = ColumnKind.NUMERIC, *, groups: int = 10) -> Column:
    """Return a column whose bins come from `values`."""
    array = pa.chunked_array([pa.array(values)])
    if kind.is_binned:
        return Column(name, ColumnRole.FEATURE, kind, numeric_bins(numeric_values(array, kind).finite, groups=groups))
    return Column(name, ColumnRole.FEATURE, kind, categorical_bins(category_counts(array, kind), groups=groups))


def log_rows(rows: int, *, seed: int, at: int = 0, hours: int = 1, **columns: Any) -> pa.Table:
    """Return rows spread over `hours` hours from hour number `at` on; `columns` replace or add to the usual ones."""
    generator = np.random.default_rng(seed)
    score = generator.beta(2, 3, rows)
    moments = at * 3600 + np.arange(rows) * (hours * 3600) / max(rows, 1)
    usual = {
        "prediction_id": [f"{seed}-{at}-{number}" for number in range(rows)],
        "predicted_at": [START + timedelta(seconds=float(second)) for second in moments],
        "model_version": [VERSION] * rows,
        "prediction": (score > 0.5).astype(np.int64),
        "score": score,
        "tenure": generator.gamma(2.0, 12.0, rows),
        "plan": generator.choice(["basic", "plus", "pro"], rows, p=[0.6, 0.3, 0.1]).tolist(),
    }
    return pa.table(usual | columns)


def reference(
    rows: pa.Table, specs: Sequence[ColumnSpec] = SPECS, *, windows: Sequence[timedelta] = (), **more: Any
) -> Reference:
    """Return the reference of rows; `windows` are those whose thresholds it calibrates."""
    usual: dict[str, Any] = {"model": MODEL, "version": VERSION, "computed_at": COMPUTED}
    usual["plan"] = ReferencePlan(windows)
    return build_reference(rows, specs, **(usual | more))


def drift(
    against: Reference,
    rows: pa.Table,
    hours: Sequence[datetime],
    *,
    windows: Sequence[int] = (1,),
    min_rows: int = 1,
    described: Sequence[datetime] | None = None,
    **asked: Any,
) -> list[Signal]:
    """Return drift signals of the rows at `hours`, through preparation, profiles (of `described`) and distances.

    `asked` is what else the policy says: metrics, baselines, last predictions.
    """
    prepared = prepare_predictions(rows, LOG)
    profiles = profile_hours(prepared, {VERSION: against}, hours if described is None else described, LOG)
    policy = DriftPolicy(tuple(length * HOUR for length in windows), min_rows, **asked)
    return drift_signals(against, profiles, hours, policy)


def by_metric(signals: Sequence[Signal], column: str = "", *, segment: str = "") -> Mapping[str, Signal]:
    """Return the signals of one column by metric, of all rows or of a segment; of several windows, the last one."""
    chosen = [signal for signal in signals if signal.segment == segment and column in ("", signal.column)]
    return {signal.metric: signal for signal in chosen}
