"""Limits that hold for every model unless its monitor says otherwise: the published defaults by metric.

Add a metric that is judged by itself, against fixed limits, here; `limits:` of a monitor replaces an entry. Keep what
is judged by calibration, baseline or p-value out: that belongs in thresholds and families.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.verdicts import Level, Verdict


@dataclass(frozen=True, slots=True)
class Limit:
    """Where a value starts to be a warning and where critical, on one side; None where it never is.

    certain: the whole interval of the value must lie beyond the limit, so that few rows do not raise an alarm.
    """

    warning: float | None
    critical: float | None
    direction: Literal["above", "below"] = "above"
    certain: bool = True

    def crossed(self, signal: Signal, limit: float | None) -> bool:
        """Whether a value, and its whole interval where that is asked for, lies beyond `limit`."""
        value, nearest = signal.value, signal.low if self.direction == "above" else signal.high
        if value is None or limit is None:
            return False
        surest = value if nearest is None or not self.certain else nearest
        return value > limit and surest > limit if self.direction == "above" else value < limit and surest < limit


LIMITS: Mapping[str, tuple[Limit, ...]] = MappingProxyType({})
"""By metric; one entry per side."""


def judge_by_limits(signal: Signal, limits: Sequence[Limit]) -> Verdict:
    """Return the worst that any of the limits says of a value; exactly on a limit is fine."""
    if signal.value is None or math.isnan(signal.value):
        return Verdict(signal, Level.UNKNOWN, None, "none", signal.reason or "the value is not a number")
    for level in (Level.CRITICAL, Level.WARNING):
        for each in limits:
            limit = each.critical if level is Level.CRITICAL else each.warning
            if each.crossed(signal, limit):
                reason = signal.reason or f"{signal.value:.4g} is {each.direction} the {level} limit {limit:.4g}"
                return Verdict(signal, level, limit, "limit", reason)
    nearest = next((each.warning if each.warning is not None else each.critical for each in limits), None)
    return Verdict(signal, Level.OK, nearest, "limit", "within the limits")
