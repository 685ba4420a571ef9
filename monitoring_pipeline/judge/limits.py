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
    from_baseline: the limit counts from the signal's baseline value on, where it has one.
    """

    warning: float | None
    critical: float | None
    direction: Literal["above", "below"] = "above"
    certain: bool = True
    from_baseline: bool = False

    def at(self, level: Level, signal: Signal) -> float | None:
        """Return where a level starts for a signal; None where it never does."""
        limit = self.critical if level is Level.CRITICAL else self.warning
        return limit + (signal.baseline_value or 0.0) if limit is not None and self.from_baseline else limit

    def crossed(self, signal: Signal, limit: float | None) -> bool:
        """Whether a value, and its whole interval where that is asked for, lies beyond `limit`."""
        value, nearest = signal.value, signal.low if self.direction == "above" else signal.high
        if value is None or limit is None:
            return False
        surest = value if nearest is None or not self.certain else nearest
        return value > limit and surest > limit if self.direction == "above" else value < limit and surest < limit


QUALITY: Mapping[str, tuple[Limit, ...]] = MappingProxyType(
    {
        "quality.null_rate": (Limit(0.05, 0.30, from_baseline=True),),
        "quality.required_null_rate": (Limit(None, 0.0),),
        "quality.invalid_rate": (Limit(0.001, 0.05, from_baseline=True),),
        "quality.unseen_share": (Limit(0.01, 0.10, from_baseline=True),),
        "quality.out_of_range_share": (Limit(0.01, None, from_baseline=True),),
        "quality.outlier_share_z": (Limit(0.05, None, from_baseline=True),),
        "quality.outlier_share_iqr": (Limit(0.05, None, from_baseline=True),),
        "quality.mean_shift": (Limit(2.0, 5.0, from_baseline=True),),
        "quality.variance_ratio": (Limit(2.0, None), Limit(0.5, None, "below")),
        "quality.below_range": (Limit(3.0, None, from_baseline=True),),
        "quality.above_range": (Limit(3.0, None, from_baseline=True),),
        "quality.distinct_change": (Limit(0.10, None), Limit(-0.10, None, "below")),
        "quality.constant": (Limit(0.0, None, from_baseline=True),),
        "quality.duplicate_ids": (Limit(0.01, 0.10, from_baseline=True),),
        "quality.duplicate_rows": (Limit(0.05, None, from_baseline=True),),
        "quality.quarantined_rate": (Limit(0.01, 0.10, from_baseline=True),),
        "quality.missing_id_rate": (Limit(0.001, 0.05),),
        "quality.missing_time_rate": (Limit(0.001, 0.05),),
        "quality.unreadable_time_rate": (Limit(0.001, 0.05),),
        "quality.out_of_bounds_rate": (Limit(0.001, 0.05, from_baseline=True),),
        "quality.volume_ratio": (Limit(2.0, None), Limit(0.5, 0.1, "below")),
        "schema.missing_columns": (Limit(None, 0.0),),
        "schema.retyped_columns": (Limit(0.0, None),),
    }
)
"""Of columns, rows and volume. `from_baseline`: on top of what the reference itself reaches."""

ESTIMATES: Mapping[str, tuple[Limit, ...]] = MappingProxyType(
    {
        "estimate.error": (Limit(0.05, None),),
        "estimate.largest_error": (Limit(0.05, None),),
    }
)
"""How far estimates may be off before nobody should rely on them."""

FAIRNESS: Mapping[str, tuple[Limit, ...]] = MappingProxyType(
    {
        f"fairness.{name}_ratio": (Limit(0.8, None, "below"),)
        for name in ("selection_rate", "true_positive_rate", "accuracy", "equalized_odds")
    }
)
"""The four-fifths rule of the Uniform Guidelines on Employee Selection Procedures (1978)."""

LABELS: Mapping[str, tuple[Limit, ...]] = MappingProxyType(
    {
        # The share that has labels in time, over what it was in the weeks before: logging of outcomes broke.
        "labels.feedback_ratio": (Limit(0.8, 0.5, "below"),),
        "labels.corrected_share": (Limit(0.05, None),),
    }
)

OPERATIONS: Mapping[str, tuple[Limit, ...]] = MappingProxyType(
    {
        "operations.latency_p95": (Limit(0.5, None),),
        "operations.latency_p99": (Limit(None, 2.0),),
        "operations.error_rate": (Limit(0.01, 0.05),),
        "freshness.stale_share": (Limit(0.05, None),),
        "freshness.critical_share": (Limit(0.01, 0.05),),
        "freshness.requests_fresh_share": (Limit(0.95, 0.80, "below"),),
    }
)
"""Of requests: seconds and shares."""

ERRORS: Mapping[str, tuple[Limit, ...]] = MappingProxyType(
    {
        # A bias of d standard deviations adds d^2 to the squared error: 6 % and 16 % of it.
        "performance.bias_shift": (Limit(0.25, 0.4), Limit(-0.25, -0.4, "below")),
        "performance.residual_drift": (Limit(0.10, None),),
        "performance.expected_calibration_error": (Limit(0.05, 0.10, from_baseline=True),),
    }
)
"""Of predictions, against the reference's own."""

ATTRIBUTIONS: Mapping[str, tuple[Limit, ...]] = MappingProxyType(
    {
        **{
            f"attribution.{way}{name}": limits
            for way in ("", "loss_", "shap_")
            for name, limits in {
                "change": (Limit(0.1, None),),
                "rank_correlation": (Limit(0.5, None, "below"),),
                "ndcg": (Limit(0.9, None, "below"),),
                "top_changes": (Limit(2.0, None),),
            }.items()
        },
        "attribution.leakage": (Limit(0.1, 0.25),),
    }
)
"""Of what the model leans on; .9 for NDCG is what Amazon's SageMaker Clarify alarms at."""

SKEW: Mapping[str, tuple[Limit, ...]] = MappingProxyType(
    {
        "skew.missing": (Limit(None, 0.5),),
        "skew.retyped": (Limit(None, 0.5),),
        "skew.changed_meaning": (Limit(None, 0.5),),
    }
)
"""Whether a feature is no longer what it was in training: 0 or 1."""

LIMITS: Mapping[str, tuple[Limit, ...]] = MappingProxyType(
    {**ERRORS, **QUALITY, **LABELS, **ESTIMATES, **FAIRNESS, **OPERATIONS, **ATTRIBUTIONS, **SKEW}
)
"""By metric; one entry per side."""


def judge_by_limits(signal: Signal, limits: Sequence[Limit]) -> Verdict:
    """Return the worst that any of the limits says of a value; exactly on a limit is fine."""
    if signal.value is None or math.isnan(signal.value):
        return Verdict(signal, Level.UNKNOWN, None, "none", signal.reason or "the value is not a number")
    for level in (Level.CRITICAL, Level.WARNING):
        for each in limits:
            limit = each.at(level, signal)
            if each.crossed(signal, limit):
                reason = signal.reason or f"{signal.value:.4g} is {each.direction} the {level} limit {limit:.4g}"
                return Verdict(signal, level, limit, "limit", reason)
    starts = (each.at(level, signal) for each in limits for level in (Level.WARNING, Level.CRITICAL))
    nearest = next((limit for limit in starts if limit is not None), None)
    return Verdict(signal, Level.OK, nearest, "limit", "within the limits")
