"""Where a signal stops being fine: textbook bands, calibrated thresholds, baselines and absolute floors.

Add the band of a metric to `TEXTBOOK`, a performance metric to the set of its direction. Keep `for`, cooldowns and
combinations out: they belong in rules and conditions.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.verdicts import Level, Verdict


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a metric becomes a warning and where critical; `critical=None` means it never does by itself."""

    warning: float
    critical: float | None
    origin: str
    direction: Literal["above", "below"] = "above"

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
    }
)
"""Published bands of the distances; also the floors under calibrated thresholds."""

HIGHER_IS_BETTER = frozenset({"accuracy", "precision", "recall", "f1", "roc_auc", "average_precision"})
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "expected_calibration_error"})


@dataclass(frozen=True, slots=True)
class JudgingPolicy:
    """How strict the judgement of one monitor is.

    `alpha` is the p-value above which a drift is put down to the size of the samples. `baseline_warning` and
    `baseline_critical` are shares of the model's own baseline. `floors` are absolute limits by metric name, on top of
    the baseline. With `significant_only` a limit counts as crossed only when the whole interval lies beyond it.
    """

    bands: Mapping[str, Thresholds] = field(default_factory=lambda: TEXTBOOK)
    alpha: float = 0.01
    baseline_warning: float = 0.05
    baseline_critical: float = 0.15
    floors: Mapping[str, Thresholds] = field(default_factory=dict)
    significant_only: bool = True


def judge_signals(
    signals: Iterable[Signal], reference_thresholds: Callable[[Signal], Thresholds | None], policy: JudgingPolicy
) -> list[Verdict]:
    """Return one verdict per signal, in the same order; `reference_thresholds` gives what the reference calibrated."""
    return [judge_signal(signal, calibrated=reference_thresholds(signal), policy=policy) for signal in signals]


def judge_signal(signal: Signal, *, calibrated: Thresholds | None, policy: JudgingPolicy) -> Verdict:
    """Return what `signal` means; whatever cannot be compared is UNKNOWN."""
    if signal.value is None:
        return Verdict(signal, Level.UNKNOWN, None, "none", signal.reason or str(signal.absence))
    if any(number is not None and math.isnan(number) for number in (signal.value, signal.low, signal.high)):
        return Verdict(signal, Level.UNKNOWN, None, "none", "the value or its interval is not a number")
    report, _, name = signal.metric.partition(".")
    if report == "performance" and name in HIGHER_IS_BETTER | LOWER_IS_BETTER:
        return _judge_performance(signal, signal.value, name, policy)
    band = policy.bands.get(signal.metric)
    if band is None:
        return Verdict(signal, Level.OK, None, "none", "informational: this metric has no band of its own")
    return _judge_drift(signal, signal.value, above_floor(band, calibrated), policy.alpha)


def worst_level(verdicts: Iterable[Verdict]) -> Level:
    """Return the worst known level, and UNKNOWN when nothing is known."""
    return max((verdict.level for verdict in verdicts), key=lambda level: level.rank, default=Level.UNKNOWN)


def above_floor(floor: Thresholds, calibrated: Thresholds | None) -> tuple[Thresholds, Thresholds]:
    """Return the thresholds that apply to the warning and to the critical level: the larger of floor and calibrated.

    A calibration with one quantile only moves the critical threshold by the same factor as the warning, so that a
    column which is restless by nature keeps the distance between the two.
    """
    if calibrated is None:
        return floor, floor
    critical = calibrated.critical
    if critical is None and floor.critical is not None:
        critical = calibrated.warning * floor.critical / floor.warning
    calibrated = Thresholds(calibrated.warning, critical, calibrated.origin)
    # Written as "not below or equal" so that a calibrated NaN wins and makes the verdict unknown.
    for_warning = calibrated if not calibrated.warning <= floor.warning else floor
    if floor.critical is None or critical is None:
        return for_warning, floor
    return for_warning, calibrated if not critical <= floor.critical else floor


def _judge_drift(signal: Signal, value: float, bands: tuple[Thresholds, Thresholds], alpha: float) -> Verdict:
    warning, critical = bands
    numbers = (warning.warning, critical.critical, signal.p_value)
    if not all(number is None or math.isfinite(number) for number in numbers):
        return Verdict(signal, Level.UNKNOWN, None, warning.origin, "the threshold or the p-value is not a number")
    if critical.breached(value, critical.critical):
        level, limit, origin = Level.CRITICAL, critical.critical, critical.origin
    elif warning.breached(value, warning.warning):
        level, limit, origin = Level.WARNING, warning.warning, warning.origin
    else:
        return Verdict(signal, Level.OK, warning.warning, warning.origin, "within the threshold")
    if signal.p_value is not None and signal.p_value > alpha:
        reason = f"within sampling noise: p = {signal.p_value:.3g} with {signal.rows} rows"
        return Verdict(signal, Level.OK, limit, "null_distribution", reason)
    return Verdict(signal, level, limit, origin, f"{value:.4g} is above the {level} threshold {limit:.4g} ({origin})")


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
    sign = -1.0 if name in HIGHER_IS_BETTER else 1.0
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
