"""Signals, verdicts and references for tests of judge: only what a test is about has to be said."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from monitoring_pipeline.capture.windows import HOUR, window_length
from monitoring_pipeline.describe.blocks import block_summary
from monitoring_pipeline.describe.profiles import ColumnProfile
from monitoring_pipeline.describe.references import ColumnReference, Reference
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.traffic import column

MORNING = datetime(2013, 4, 22, 8, tzinfo=UTC)


def signal(
    metric: str = "drift.psi", value: float | None = 0.0, *, hour: datetime = MORNING, window: str = "24h", **more: Any
) -> Signal:
    """Return a signal of `metric`; `value=None` makes it absent for want of rows."""
    end = hour + HOUR
    missing = {} if value is not None else {"absence": Absence.TOO_FEW_ROWS, "reason": "14 rows, drift needs 1000"}
    place = {"model": "churn", "version": "1", "window_start": end - window_length(window), "window_end": end}
    return Signal(metric=metric, value=value, **{**place, **missing, **more})


def verdict(level: Level, metric: str = "drift.psi", *, threshold: float | None = 0.1, **more: Any) -> Verdict:
    """Return a verdict of `level` on a signal with a value that could have made it."""
    values = {Level.OK: 0.05, Level.WARNING: 0.2, Level.CRITICAL: 0.5, Level.UNKNOWN: None}
    return Verdict(signal(metric, **{"value": values[level], **more}), level, threshold, "textbook", "made for a test")


def reference_of(
    columns: Mapping[str, Sequence[float]], *, metric: str = "psi", window: str = "24h", **more: Any
) -> Reference:
    """Return a reference with the block distances of each column; a column without any is not calibrated."""
    entries = {}
    for name, distances in columns.items():
        spec = column(name, [1.0, 2.0, 3.0])
        calibration = (
            {metric: {window: block_summary(metric, np.array(distances), len(distances))}} if distances else {}
        )
        entries[name] = ColumnReference(spec, ColumnProfile.empty(spec.bins), {}, calibration)
    return Reference("churn", "1", MORNING, 0, entries, None, **more)
