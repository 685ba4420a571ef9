"""Conditions over the verdicts of one evaluated hour: what they ask for, alone and combined.

Add a kind of condition as a frozen dataclass here and a case in `condition_outcomes`. Keep time out: how long a
condition must hold belongs in rules and triggers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from monitoring_pipeline.evaluate.signals import TRAINING
from monitoring_pipeline.judge.verdicts import Level

SERVED = "champion"
"""Role of a version that nobody gave another one: what is not a challenger or a shadow has served."""


class WhyNot(StrEnum):
    """Why a condition does not hold, or a rule does not fire."""

    CONDITION_FALSE = "condition_false"
    NOT_LONG_ENOUGH = "not_long_enough"  # it holds, but for too few evaluations so far
    CLEARED = "cleared"  # it fired, and is back beyond the limit at which it clears
    NO_SUCH_SIGNAL = "no_such_signal"
    VALUE_UNKNOWN = "value_unknown"
    NOTHING_TO_COMPARE_WITH = "nothing_to_compare_with"  # the reference cannot say what is usual


@dataclass(frozen=True, slots=True)
class SignalCondition:
    """Some signals of a metric are bad: by their verdict's level, by an absolute limit, or against the baseline.

    `column` is one glob pattern or several, `segment` another ("" is all traffic), `baseline` is what the signals are
    held against. Every criterion that is given must hold of the same signal. The condition is true when at least
    `columns_at_least` of the matching signals, and at least `columns_share_at_least` of them, meet the criteria.

    `level` asks for a verdict as bad as that, however it was calibrated. `below_baseline=0.05` asks for a value below
    95 % of the model's own baseline, `above_baseline=0.05` for one above 105 %. `p_below` asks for a p-value below it:
    the one corrected for the whole report (`q_value`) where the verdict has one, else the signal's own.

    What has fired holds on until it is back beyond a second limit, where one is given: `clear_below` under `above`,
    `clear_above` over `below`, or `clear`, a share of any limit. `clear=0.8` lets 0.2 clear at 0.16, and a warning when
    its value is a fifth of the threshold away from it. `margin` is what `holding` makes of that.
    """

    metric: str
    window: str
    column: str | tuple[str, ...] = "*"
    role: str = SERVED
    segment: str = ""
    baseline: str = TRAINING
    level: Level | None = None
    above: float | None = None
    below: float | None = None
    below_baseline: float | None = None
    above_baseline: float | None = None
    p_below: float | None = None
    columns_at_least: int = 1
    columns_share_at_least: float | None = None
    clear: float | None = None
    clear_below: float | None = None
    clear_above: float | None = None
    margin: float = 0.0

    def __post_init__(self) -> None:
        limits = (self.above, self.below, self.below_baseline, self.above_baseline, self.p_below)
        if self.level is None and limits == (None,) * len(limits):
            raise ValueError(
                f"{self.metric}: a condition needs a level, above, below, above_baseline, below_baseline or p_below"
            )
        if self.level is Level.UNKNOWN:
            raise ValueError(f"{self.metric}: a condition cannot ask for the level unknown")
        if self.clear is not None and self.level is Level.CRITICAL:
            # Of a verdict that is no longer critical, the critical threshold is not known.
            raise ValueError(f"{self.metric}: clear goes with level warning or with limits, not with level critical")
        for name, limit, clear, sign in (
            ("clear_below", self.above, self.clear_below, 1),
            ("clear_above", self.below, self.clear_above, -1),
        ):
            if clear is not None and (limit is None or sign * (limit - clear) < 0):
                side = "above, and lies under it" if sign > 0 else "below, and lies over it"
                raise ValueError(f"{self.metric}: {name} is a second limit beside {side}")


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    of: tuple["Condition", ...]

    def __post_init__(self) -> None:
        _require_parts(self.of, len(self.of))


@dataclass(frozen=True, slots=True)
class Any:
    """At least one part holds."""

    of: tuple["Condition", ...]

    def __post_init__(self) -> None:
        _require_parts(self.of, 1)


@dataclass(frozen=True, slots=True)
class Not:
    """The part is known not to hold or, `or_unknown`, is not known to hold."""

    of: "Condition"
    or_unknown: bool = False


@dataclass(frozen=True, slots=True)
class AtLeast:
    """At least `k` of the parts hold."""

    k: int
    of: tuple["Condition", ...]

    def __post_init__(self) -> None:
        _require_parts(self.of, self.k)


def _require_parts(parts: Sequence["Condition"], needed: int) -> None:
    if not 1 <= needed <= len(parts):
        raise ValueError(f"a condition that needs {needed} of {len(parts)} parts is always true or never")


Condition = SignalCondition | All | Any | Not | AtLeast


def metrics_of(condition: Condition) -> frozenset[str]:
    """Return the metrics a condition looks at."""
    match condition:
        case SignalCondition():
            return frozenset({condition.metric})
        case Not(of):
            return metrics_of(of)
        case All(of) | Any(of) | AtLeast(_, of):
            return frozenset(metric for part in of for metric in metrics_of(part))


def holding(condition: Condition) -> Condition:
    """Return what must go on being true for a rule that fired not to clear: the condition with its second limits.

    Without any it is the condition itself. What stands under a `Not` stays as it is.
    """
    match condition:
        case SignalCondition():
            return _relaxed(condition)
        case All(of):
            return All(tuple(map(holding, of)))
        case Any(of):
            return Any(tuple(map(holding, of)))
        case AtLeast(k, of):
            return AtLeast(k, tuple(map(holding, of)))
    return condition


def _relaxed(condition: SignalCondition) -> SignalCondition:
    margin = 0.0 if condition.clear is None else 1 - condition.clear
    above, below, p_below = condition.above, condition.below, condition.p_below
    return replace(
        condition,
        above=moved(above, -margin) if condition.clear_below is None else condition.clear_below,
        below=moved(below, margin) if condition.clear_above is None else condition.clear_above,
        below_baseline=moved(condition.below_baseline, -margin),
        above_baseline=moved(condition.above_baseline, -margin),
        p_below=moved(p_below, margin),
        margin=margin if condition.level is not None else 0.0,
        clear=None,
        clear_below=None,
        clear_above=None,
    )


def moved(limit: float | None, share: float) -> float | None:
    """Return a limit moved by a share of its size."""
    return None if limit is None else limit + share * abs(limit)


def describe(condition: SignalCondition) -> str:
    """Return the condition in words, as reasons and messages show it."""
    near = f" or within {condition.margin:.2g} of the threshold" if condition.margin else ""
    limits = [
        f"{condition.level} or worse{near}" if condition.level else "",
        f"above {condition.above:g}" if condition.above is not None else "",
        f"below {condition.below:g}" if condition.below is not None else "",
        f"below {1 - condition.below_baseline:.4g} of the baseline" if condition.below_baseline is not None else "",
        f"above {1 + condition.above_baseline:.4g} of the baseline" if condition.above_baseline is not None else "",
        f"p below {condition.p_below:g}" if condition.p_below is not None else "",
    ]
    against = f" against {condition.baseline}" if condition.baseline != TRAINING else ""
    return f"{condition.metric} over {condition.window}{against} {' and '.join(filter(None, limits))}"
