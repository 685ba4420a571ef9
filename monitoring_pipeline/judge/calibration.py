"""Thresholds that follow from how restless the reference itself is.

Add another source of calibrated thresholds here. Keep the measuring of blocks out: it belongs in describe.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache

from monitoring_pipeline.capture.windows import window_name
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.thresholds import Thresholds

CRITICAL_RARITY = 10
"""A critical distance is this many times as rare as one that warns."""


def calibrated_thresholds(
    references: Mapping[str, Reference], *, probability: float | None
) -> Callable[[Signal], Thresholds | None]:
    """Return a function that gives the calibrated thresholds of a drift signal, or None where there are none.

    `probability` is how likely a column without change stays below its warning threshold for a day. Windows of other
    lengths get the limit that gives the same rate of false warnings per day: a week has a seventh of the independent
    windows, so each of them may be wrong more often. None: nothing is calibrated.
    """
    if probability is None:
        return lambda _: None
    critical = 1 - (1 - probability) / CRITICAL_RARITY

    @cache  # the same few limits hold for every hour
    def limits(version: str, column: str, metric: str, length: timedelta) -> Thresholds | None:
        reference = references.get(version)
        if reference is None or column not in reference.columns:
            return None
        blocks = reference.columns[column].calibrated(metric, window_name(length))
        if blocks is None:
            return None
        days = length / timedelta(days=1)
        return Thresholds(blocks.limit(probability**days), blocks.limit(critical**days), "calibrated")

    def thresholds(signal: Signal) -> Thresholds | None:
        report, _, metric = signal.metric.partition(".")
        return limits(signal.version, signal.column, metric, signal.length) if report == "drift" else None

    return thresholds
