"""Conditions over the verdicts of one evaluated hour, in three-valued logic: true, false, or not known.

Add a kind of condition as a frozen dataclass and a case in `_evaluate`. Keep time out: how long a condition must hold
belongs in rules and triggers.

The logic is Kleene's: an unknown part makes the whole unknown exactly when its value would decide it.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache

from monitoring_pipeline.evaluate.signals import TRAINING
from monitoring_pipeline.judge.verdicts import Level, Verdict

SERVED = "champion"
"""Role of a version that nobody gave another one: what is not a challenger or a shadow has served."""


class Truth(StrEnum):
    """A truth value; UNKNOWN is neither of the other two, not somewhere between them."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SignalCondition:
    """Some signals of a metric are bad: by their verdict's level, by an absolute limit, or against the baseline.

    `column` is one glob pattern or several, `segment` another ("" is all traffic), `baseline` is what the signals are
    held against. Every criterion that is given must hold of the same signal. The condition
    is true when at least `columns_at_least` of the matching signals, and at least `columns_share_at_least` of them,
    meet the criteria. `below_baseline=0.05` asks for a value below 95 % of the model's own baseline.
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
    columns_at_least: int = 1
    columns_share_at_least: float | None = None

    def __post_init__(self) -> None:
        if (self.level, self.above, self.below, self.below_baseline) == (None, None, None, None):
            raise ValueError(f"{self.metric}: a condition needs a level, above, below or below_baseline")
        if self.level is Level.UNKNOWN:
            raise ValueError(f"{self.metric}: a condition cannot ask for the level unknown")


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
    """The part is known not to hold."""

    of: "Condition"


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


@dataclass(frozen=True, slots=True)
class ConditionOutcome:
    """What a condition says of one hour, the verdicts that make it so, and the value nearest to deciding it."""

    state: Truth
    evidence: tuple[Verdict, ...]
    reason: str
    value: float | None = None
    threshold: float | None = None


def count_true(states: Iterable[Truth], *, at_least: int) -> Truth:
    """Return whether at least so many of `states` are true, as far as the unknown ones leave it open."""
    states = list(states)
    surely = states.count(Truth.TRUE)
    if surely >= at_least:
        return Truth.TRUE
    return Truth.FALSE if surely + states.count(Truth.UNKNOWN) < at_least else Truth.UNKNOWN


def evaluate(
    condition: Condition, verdicts: Iterable[Verdict], *, roles: Mapping[str, str] | None = None
) -> ConditionOutcome:
    """Return what `condition` says of the verdicts of one hour; `roles` names the role of a version.

    A version that `roles` does not name counts as the champion: it served before the alias moved on.
    """
    return evaluate_each([condition], verdicts, roles=roles)[0]


def evaluate_each(
    conditions: Sequence[Condition], verdicts: Iterable[Verdict], *, roles: Mapping[str, str] | None = None
) -> list[ConditionOutcome]:
    """Return one outcome per condition, sorting the verdicts of the hour only once."""
    by_metric = defaultdict(list)
    for verdict in verdicts:
        signal = verdict.signal
        role = (roles or {}).get(signal.version, SERVED)
        by_metric[signal.metric, signal.window, role, signal.baseline or TRAINING].append(verdict)
    return [_evaluate(condition, by_metric) for condition in conditions]


def metrics_of(condition: Condition) -> frozenset[str]:
    """Return the metrics a condition looks at."""
    match condition:
        case SignalCondition():
            return frozenset({condition.metric})
        case Not(of):
            return metrics_of(of)
        case All(of) | Any(of) | AtLeast(_, of):
            return frozenset(metric for part in of for metric in metrics_of(part))


_ByMetric = Mapping[tuple[str, str, str, str], Sequence[Verdict]]


def _evaluate(condition: Condition, by_metric: _ByMetric) -> ConditionOutcome:
    match condition:
        case SignalCondition():
            return _evaluate_signal(condition, by_metric)
        case Not(of):
            inner = _evaluate(of, by_metric)
            opposite = {Truth.TRUE: Truth.FALSE, Truth.FALSE: Truth.TRUE, Truth.UNKNOWN: Truth.UNKNOWN}
            return ConditionOutcome(opposite[inner.state], (), f"not ({inner.reason})", inner.value, inner.threshold)
        case All(of):
            return _combined(of, len(of), "all of", by_metric)
        case Any(of):
            return _combined(of, 1, "any of", by_metric)
        case AtLeast(k, of):
            return _combined(of, k, f"at least {k} of", by_metric)


def _combined(parts: Sequence[Condition], needed: int, words: str, by_metric: _ByMetric) -> ConditionOutcome:
    outcomes = [_evaluate(part, by_metric) for part in parts]
    state = count_true((outcome.state for outcome in outcomes), at_least=needed)
    decisive = next((outcome for outcome in outcomes if outcome.state is state), outcomes[0])
    evidence = tuple(dict.fromkeys(verdict for outcome in outcomes for verdict in outcome.evidence))
    reason = f"{words}: " + "; ".join(f"[{outcome.state}] {outcome.reason}" for outcome in outcomes)
    return ConditionOutcome(state, evidence, reason, decisive.value, decisive.threshold)


def _evaluate_signal(condition: SignalCondition, by_metric: _ByMetric) -> ConditionOutcome:
    column, segment = _pattern(condition.column), _pattern(condition.segment)
    candidates = by_metric.get((condition.metric, condition.window, condition.role, condition.baseline), ())
    matching = [
        verdict
        for verdict in candidates
        if column.match(verdict.signal.column) and segment.match(verdict.signal.segment)
    ]
    asked = describe(condition)
    if not matching:
        return ConditionOutcome(Truth.UNKNOWN, (), f"{asked}: no such signal in this hour")
    truths = [_meets(verdict, condition) for verdict in matching]
    # The tiny number keeps 0.2 * 15 = 3.0000000000000004 from asking for four columns.
    share = math.ceil((condition.columns_share_at_least or 0) * len(matching) - 1e-9)
    needed = max(condition.columns_at_least, share)
    state = count_true(truths, at_least=needed)
    evidence = tuple(verdict for verdict, truth in zip(matching, truths, strict=True) if truth is Truth.TRUE)
    worst = max(zip(matching, truths, strict=True), key=lambda pair: _badness(pair[0], pair[1], condition))[0]
    found = worst.reason if worst.signal.value is None else f"{worst.signal.value:.4g}"
    if len(matching) > 1:
        unknown = f", {truths.count(Truth.UNKNOWN)} unknown" if Truth.UNKNOWN in truths else ""
        place = " in ".join(filter(None, (worst.signal.column, worst.signal.segment)))
        found = f"{len(evidence)} of {len(matching)} columns{unknown}, {needed} needed; {place}: {found}"
    return ConditionOutcome(state, evidence, f"{asked}: {found}", worst.signal.value, _limit(worst, condition))


def describe(condition: SignalCondition) -> str:
    """Return the condition in words, as reasons and messages show it."""
    limits = [
        f"{condition.level} or worse" if condition.level else "",
        f"above {condition.above:g}" if condition.above is not None else "",
        f"below {condition.below:g}" if condition.below is not None else "",
        f"below {1 - condition.below_baseline:.4g} of the baseline" if condition.below_baseline is not None else "",
    ]
    against = f" against {condition.baseline}" if condition.baseline != TRAINING else ""
    return f"{condition.metric} over {condition.window}{against} {' and '.join(filter(None, limits))}"


def _meets(verdict: Verdict, condition: SignalCondition) -> Truth:
    """Whether one signal meets every criterion of the condition."""
    value, baseline = verdict.signal.value, verdict.signal.baseline_value
    truths = []
    if condition.level is not None:
        reached = Truth.TRUE if verdict.level.rank >= condition.level.rank else Truth.FALSE
        truths.append(Truth.UNKNOWN if verdict.level is Level.UNKNOWN else reached)
    if condition.above is not None:
        truths.append(_truth(value, condition.above))
    if condition.below is not None:
        truths.append(_truth(condition.below, value))
    if condition.below_baseline is not None:
        truths.append(_truth(None if baseline is None else baseline * (1 - condition.below_baseline), value))
    return count_true(truths, at_least=len(truths))


def _truth(larger: float | None, smaller: float | None) -> Truth:
    """Whether `larger > smaller`; a missing or undefined number leaves it unknown."""
    if larger is None or smaller is None or math.isnan(larger) or math.isnan(smaller):
        return Truth.UNKNOWN
    return Truth.TRUE if larger > smaller else Truth.FALSE


def _limit(verdict: Verdict, condition: SignalCondition) -> float | None:
    """Return the number the value is held against."""
    if condition.above is not None or condition.below is not None:
        return condition.above if condition.above is not None else condition.below
    if condition.below_baseline is not None and verdict.signal.baseline_value is not None:
        return verdict.signal.baseline_value * (1 - condition.below_baseline)
    return verdict.threshold


def _badness(verdict: Verdict, truth: Truth, condition: SignalCondition) -> tuple[int, int, float]:
    """Order signals by how clearly they meet the condition; the unknown ones come last."""
    order = {Truth.UNKNOWN: 0, Truth.FALSE: 1, Truth.TRUE: 2}[truth]
    value, limit = verdict.signal.value, _limit(verdict, condition)
    if value is None or limit is None or math.isnan(value):
        return order, verdict.level.rank, 0.0
    wants_low = condition.below is not None or condition.below_baseline is not None
    return order, verdict.level.rank, limit - value if wants_low else value / limit if limit > 0 else value - limit


@lru_cache(maxsize=256)
def _pattern(globs: str | tuple[str, ...]) -> re.Pattern[str]:
    patterns = (globs,) if isinstance(globs, str) else globs
    return re.compile("|".join(map(translate, patterns)))
