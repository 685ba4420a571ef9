"""Where a signal stops being fine: textbook bands, the alarm budget, baselines and absolute floors.

Add the band of a metric to `TEXTBOOK`, a performance metric to the set of its direction. Keep `for`, cooldowns and
combinations out: they belong in rules and conditions; what many columns at once change belongs in families.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Literal

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.concept import CHARTS
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.limits import LIMITS, Limit, judge_by_limits
from monitoring_pipeline.judge.verdicts import Level, Verdict


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a metric becomes a warning and where critical; `critical=None` means it never does by itself.

    needs_calibration: without one, and without a p-value, values beyond the limits say nothing.
    """

    warning: float
    critical: float | None
    origin: str
    direction: Literal["above", "below"] = "above"
    needs_calibration: bool = False

    def breached(self, value: float, limit: float | None) -> bool:
        """Whether `value` lies beyond `limit` in the bad direction; being exactly on it is fine."""
        if limit is None:
            return False
        return value > limit if self.direction == "above" else value < limit


TEXTBOOK: Mapping[str, Thresholds] = MappingProxyType(
    {
        "drift.psi": Thresholds(0.10, 0.25, "textbook"),
        "drift.js": Thresholds(0.05, 0.15, "textbook"),  # of the divergence in nats
        # KS confirms other evidence: with enough rows it calls every small change large, so it only ever warns.
        "drift.ks": Thresholds(0.10, None, "textbook"),
        # Ten rows in a hundred that change their category; PSI may hide it in the bin of the rare ones.
        "drift.l_infinity": Thresholds(0.10, None, "textbook"),
        # In standard deviations of the reference; the only one of these that still grows when no value is in common.
        "drift.wasserstein_normalised": Thresholds(0.10, None, "textbook", needs_calibration=True),
    }
)
"""Published bands of the distances; also the floors under calibrated thresholds."""

RATIOS = frozenset({"drift.std_ratio"})
"""Where 1 means no change: a band of 1.5 is left above 1.5 and below 1 / 1.5."""

CONTROL: Mapping[str, Thresholds] = MappingProxyType(
    {f"concept.{name}": Thresholds(1.0, None, "run_length") for name in CHARTS}
)
"""Charts show their statistic over its limit, which follows from the stated run length between false alarms."""

HIGHER_IS_BETTER = frozenset(
    {"accuracy", "precision", "recall", "f1", "roc_auc", "average_precision"}
    | {"f1_weighted", "precision_weighted", "roc_auc_weighted"}
    | {"r2", "interval_coverage"}
    | {"ctr", "recall_at_k", "ndcg_at_k", "hit_rate_at_k", "mean_reciprocal_rank"}
)
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "cost"} | {"mae", "mse", "rmse", "mape", "pinball"})


MONTH = timedelta(days=30)

LARGEST_RATE = 0.5
"""However large the budget, a report that is wrong more often than a coin says nothing."""


@dataclass(frozen=True, slots=True)
class JudgingPolicy:
    """How strict the judgement of one monitor is.

    `false_alarms_per_month` is the alarm budget: how many reports of one metric and window may name a drift that is
    none; without one, `alpha` is how often a single report may. `calibrated` says whether the reference's own blocks
    count as well as sampling. `dependent` asks for a
    correction that holds however the columns depend on each other. `baseline_warning` and `baseline_critical` are
    shares of the model's own baseline. `floors` are absolute limits by metric name, on top of the baseline. With
    `significant_only` a limit counts as crossed only when the whole interval lies beyond it. `limits` are those of
    metrics that are judged by themselves.
    """

    bands: Mapping[str, Thresholds] = field(default_factory=lambda: TEXTBOOK)
    false_alarms_per_month: float | None = None
    alpha: float = 0.01
    calibrated: bool = True
    dependent: bool = False
    baseline_warning: float = 0.05
    baseline_critical: float = 0.15
    floors: Mapping[str, Thresholds] = field(default_factory=dict)
    significant_only: bool = True
    limits: Mapping[str, tuple[Limit, ...]] = field(default_factory=lambda: LIMITS)

    def alarm_rate(self, length: timedelta, *, calibrated: bool = False) -> float:
        """Return how likely a report over a window of this length may name a drift where there is none.

        A month has fewer weeks than days, so each week may be wrong more often for the same budget.
        """
        return self.single_rate(length / chances(length, calibrated=calibrated))

    def single_rate(self, length: timedelta) -> float:
        """Return the same for reports that are made once while their length passes."""
        if self.false_alarms_per_month is None:
            return self.alpha
        return min(self.false_alarms_per_month * (length / MONTH), LARGEST_RATE)


def chances(length: timedelta, *, calibrated: bool) -> float:
    """Return how many separate alarms a window measured anew every hour gives for each one of windows side by side.

    Measured by simulation (docs/calibration.md): 2.8 for a day, 10 for a week. The longer the window, the smaller the
    steps in which it moves, and the more often it wavers about the limit. Limits calibrated on few blocks are either
    too low or too high for weeks on end, which makes fewer and longer alarms: 3 at most.
    """
    hours: float = length / HOUR
    apart = max(float(hours ** (2 / 3)) / 3, 1.0)
    return min(apart, 3.0) if calibrated else apart


def judge_alone(signal: Signal, policy: JudgingPolicy) -> Verdict | None:
    """Return what a signal means by itself, or None where it must be judged with the rest of its report."""
    if signal.value is None:
        return Verdict(signal, Level.UNKNOWN, None, "none", signal.reason or str(signal.absence))
    if any(number is not None and math.isnan(number) for number in (signal.value, signal.low, signal.high)):
        return Verdict(signal, Level.UNKNOWN, None, "none", "the value or its interval is not a number")
    report, _, name = signal.metric.partition(".")
    if report == "performance" and name in HIGHER_IS_BETTER | LOWER_IS_BETTER:
        return _judge_performance(signal, signal.value, name, policy)
    if signal.metric in CONTROL:
        return _against(signal, signal.value, CONTROL[signal.metric], significant_only=False)
    if signal.metric in policy.limits:
        return judge_by_limits(signal, policy.limits[signal.metric])
    if signal.metric in policy.bands:
        return None
    return Verdict(signal, Level.OK, None, "none", "informational: this metric has no band of its own")


def worst_level(verdicts: Iterable[Verdict]) -> Level:
    """Return the worst known level, and UNKNOWN when nothing is known."""
    return max((verdict.level for verdict in verdicts), key=lambda level: level.rank, default=Level.UNKNOWN)


def _judge_performance(signal: Signal, value: float, name: str, policy: JudgingPolicy) -> Verdict:
    """Return the worse of what the model's baseline and the absolute floor say."""
    limits = []
    if signal.baseline_value is not None:
        limits.append(baseline_thresholds(name, signal.baseline_value, policy))
    if name in policy.floors:
        limits.append(policy.floors[name])
    if not limits:
        return Verdict(
            signal, Level.UNKNOWN, None, "none", "nothing to compare with: no baseline and no absolute floor"
        )
    verdicts = [_against(signal, value, thresholds, policy.significant_only) for thresholds in limits]
    if any(verdict.level is Level.UNKNOWN for verdict in verdicts) and worst_level(verdicts) is not Level.CRITICAL:
        return next(verdict for verdict in verdicts if verdict.level is Level.UNKNOWN)
    return max(verdicts, key=lambda verdict: verdict.level.rank)


def baseline_thresholds(name: str, baseline: float, policy: JudgingPolicy) -> Thresholds:
    """Return the limits that lie the policy's shares of `baseline` away from it, on the bad side of the metric."""
    # An R2 below 0 gets worse away from 0.
    sign = math.copysign(1.0, baseline) * (-1.0 if name in HIGHER_IS_BETTER else 1.0)
    return Thresholds(
        baseline * (1 + sign * policy.baseline_warning),
        baseline * (1 + sign * policy.baseline_critical),
        "baseline",
        "below" if name in HIGHER_IS_BETTER else "above",
    )


def _against(signal: Signal, value: float, thresholds: Thresholds, significant_only: bool) -> Verdict:
    limits = ((Level.CRITICAL, thresholds.critical), (Level.WARNING, thresholds.warning))
    if not all(limit is None or math.isfinite(limit) for _, limit in limits):
        return Verdict(signal, Level.UNKNOWN, None, thresholds.origin, "the baseline or the floor is not a number")
    nearest = signal.high if thresholds.direction == "below" else signal.low
    surest = value if nearest is None or not significant_only else nearest
    for level, limit in limits:
        if limit is not None and thresholds.breached(value, limit) and thresholds.breached(surest, limit):
            reason = f"{value:.4g} is {thresholds.direction} the {level} limit {limit:.4g} ({thresholds.origin})"
            return Verdict(signal, level, limit, thresholds.origin, reason)
    breached = thresholds.breached(value, thresholds.warning)
    reason = "the interval includes the threshold" if breached else "within the threshold"
    return Verdict(signal, Level.OK, thresholds.warning, thresholds.origin, reason)
