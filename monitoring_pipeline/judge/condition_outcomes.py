"""What a condition says of the verdicts of one evaluated hour, in three-valued logic: true, false, or not known.

Add the case of a new kind of condition in `_evaluate`, and what a signal is asked in `_meets`. Keep time out: how long
a condition must hold belongs in rules and triggers.

The logic is Kleene's: an unknown part makes the whole unknown exactly when its value would decide it. What cannot be
known at all, because its reference has nothing to hold it against, is left out where enough other parts remain: it
would keep the whole unknown for ever.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache

from monitoring_pipeline.evaluate.signals import TRAINING, Absence
from monitoring_pipeline.judge.conditions import (
    SERVED,
    All,
    Any,
    AtLeast,
    Condition,
    Not,
    SignalCondition,
    WhyNot,
    describe,
    moved,
)
from monitoring_pipeline.judge.verdicts import Level, Verdict


class Truth(StrEnum):
    """A truth value; UNKNOWN is neither of the other two, not somewhere between them."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ConditionOutcome:
    """What a condition says of one hour, the verdicts that make it so, and the value nearest to deciding it."""

    state: Truth
    evidence: tuple[Verdict, ...]
    reason: str
    value: float | None = None
    threshold: float | None = None
    why: WhyNot | None = None  # None: it holds


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


_ByMetric = Mapping[tuple[str, str, str, str], Sequence[Verdict]]


def _evaluate(condition: Condition, by_metric: _ByMetric) -> ConditionOutcome:
    match condition:
        case SignalCondition():
            return _evaluate_signal(condition, by_metric)
        case Not(of, or_unknown):
            inner = _evaluate(of, by_metric)
            unknown = Truth.TRUE if or_unknown else Truth.UNKNOWN
            state = {Truth.TRUE: Truth.FALSE, Truth.FALSE: Truth.TRUE, Truth.UNKNOWN: unknown}[inner.state]
            why = _why(state, [inner.why])
            twice = isinstance(of, Not)
            said = inner.reason.removeprefix("not (").removesuffix(")") if twice else f"not ({inner.reason})"
            return ConditionOutcome(state, (), said, inner.value, inner.threshold, why)
        case All(of):
            return _combined(of, len(of), "all of", by_metric)
        case Any(of):
            return _combined(of, 1, "any of", by_metric)
        case AtLeast(k, of):
            return _combined(of, k, f"at least {k} of", by_metric)


def _combined(parts: Sequence[Condition], needed: int, words: str, by_metric: _ByMetric) -> ConditionOutcome:
    outcomes = [_evaluate(part, by_metric) for part in parts]
    judged = [outcome for outcome in outcomes if outcome.why is not WhyNot.NOTHING_TO_COMPARE_WITH]
    counted = judged if len(judged) >= needed else outcomes
    state = count_true((outcome.state for outcome in counted), at_least=needed)
    decisive = next((outcome for outcome in counted if outcome.state is state), counted[0])
    evidence = tuple(dict.fromkeys(verdict for outcome in outcomes for verdict in outcome.evidence))
    # Only what made it so: whoever is woken up has no use for the parts that are fine.
    said = "; ".join(outcome.reason for outcome in counted if outcome.state is state)
    reason = {Truth.TRUE: said, Truth.FALSE: f"not {words}: {said}", Truth.UNKNOWN: f"{words}, not known: {said}"}[
        state
    ]
    why = _why(state, [outcome.why for outcome in counted if outcome.state is Truth.UNKNOWN])
    return ConditionOutcome(state, evidence, reason, decisive.value, decisive.threshold, why)


def _why(state: Truth, unknown: Sequence[WhyNot | None]) -> WhyNot | None:
    """Return why a condition does not hold, from why its unknown parts are not known."""
    if state is not Truth.UNKNOWN:
        return None if state is Truth.TRUE else WhyNot.CONDITION_FALSE
    return unknown[0] if len(set(unknown)) == 1 else WhyNot.VALUE_UNKNOWN


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
        reason = f"{asked}: no such signal in this hour"
        return ConditionOutcome(Truth.UNKNOWN, (), reason, why=WhyNot.NO_SUCH_SIGNAL)
    judged = [verdict for verdict in matching if not _has_nothing_to_compare_with(verdict, condition)]
    counted = judged if len(judged) >= _needed(condition, len(judged)) else matching
    needed = _needed(condition, len(counted))
    truths = [_meets(verdict, condition) for verdict in counted]
    state = count_true(truths, at_least=needed)
    evidence = tuple(verdict for verdict, truth in zip(counted, truths, strict=True) if truth is Truth.TRUE)
    worst = max(zip(counted, truths, strict=True), key=lambda pair: _badness(pair[0], pair[1], condition))[0]
    found = worst.reason if worst.signal.value is None else f"{worst.signal.value:.4g}"
    if condition.p_below is not None and (p := p_value(worst)) is not None:
        found += f" (p = {p:.2g})"
    if len(matching) > 1:
        unknown = f", {truths.count(Truth.UNKNOWN)} unknown" if Truth.UNKNOWN in truths else ""
        unknown += f", {left_out} without a reference" if (left_out := len(matching) - len(counted)) else ""
        place = " in ".join(filter(None, (worst.signal.column, worst.signal.segment)))
        found = f"{len(evidence)} of {len(counted)} columns{unknown}, {needed} needed; {place}: {found}"
    why = _why(state, [WhyNot.VALUE_UNKNOWN if judged else WhyNot.NOTHING_TO_COMPARE_WITH])
    return ConditionOutcome(state, evidence, f"{asked}: {found}", worst.signal.value, _limit(worst, condition), why)


def _needed(condition: SignalCondition, columns: int) -> int:
    # The tiny number keeps 0.2 * 15 = 3.0000000000000004 from asking for four columns.
    return max(condition.columns_at_least, math.ceil((condition.columns_share_at_least or 0) * columns - 1e-9))


def _has_nothing_to_compare_with(verdict: Verdict, condition: SignalCondition) -> bool:
    """Whether what the condition asks of a signal cannot be known, however much traffic or time there is."""
    signal = verdict.signal
    if signal.value is None:
        return signal.absence is Absence.NO_REFERENCE
    if math.isnan(signal.value) or signal.baseline_value is not None:
        return False
    unjudged = verdict.level is Level.UNKNOWN and verdict.threshold_origin == "none"
    by_baseline = condition.below_baseline is not None or condition.above_baseline is not None
    return by_baseline or (condition.level is not None and unjudged)


def p_value(verdict: Verdict) -> float | None:
    """Return the p-value corrected for its whole report, or the signal's own where none was corrected."""
    return verdict.signal.p_value if verdict.q_value is None else verdict.q_value


def _meets(verdict: Verdict, condition: SignalCondition) -> Truth:
    """Whether one signal meets every criterion of the condition."""
    value = verdict.signal.value
    truths = []
    if condition.level is not None:
        reached = verdict.level.rank >= condition.level.rank or _is_near(verdict, condition.margin)
        truths.append(Truth.UNKNOWN if verdict.level is Level.UNKNOWN else Truth.TRUE if reached else Truth.FALSE)
    if condition.above is not None:
        truths.append(_truth(value, condition.above))
    if condition.below is not None:
        truths.append(_truth(condition.below, value))
    if condition.above_baseline is not None:
        truths.append(_truth(value, moved(verdict.signal.baseline_value, condition.above_baseline)))
    if condition.below_baseline is not None:
        truths.append(_truth(moved(verdict.signal.baseline_value, -condition.below_baseline), value))
    if condition.p_below is not None:
        truths.append(_truth(condition.p_below, p_value(verdict)))
    return count_true(truths, at_least=len(truths))


def _is_near(verdict: Verdict, margin: float) -> bool:
    """Whether a value lies within a share of its threshold from it, whichever side of it is the bad one."""
    value, threshold = verdict.signal.value, verdict.threshold
    return value is not None and threshold is not None and abs(value - threshold) < margin * abs(threshold)


def _truth(larger: float | None, smaller: float | None) -> Truth:
    """Whether `larger > smaller`; a missing or undefined number leaves it unknown."""
    if larger is None or smaller is None or math.isnan(larger) or math.isnan(smaller):
        return Truth.UNKNOWN
    return Truth.TRUE if larger > smaller else Truth.FALSE


def _limit(verdict: Verdict, condition: SignalCondition) -> float | None:
    """Return the number the value is held against."""
    baseline = verdict.signal.baseline_value
    limits = (
        condition.above,
        condition.below,
        None if condition.below_baseline is None else moved(baseline, -condition.below_baseline),
        None if condition.above_baseline is None else moved(baseline, condition.above_baseline),
    )
    return next((limit for limit in limits if limit is not None), verdict.threshold)


def _badness(verdict: Verdict, truth: Truth, condition: SignalCondition) -> tuple[int, int, float]:
    """Order signals by how clearly they meet the condition; the unknown ones come last."""
    order = {Truth.UNKNOWN: 0, Truth.FALSE: 1, Truth.TRUE: 2}[truth]
    if condition.p_below is not None and (p := p_value(verdict)) is not None and not math.isnan(p):
        return order, verdict.level.rank, -p
    value, limit = verdict.signal.value, _limit(verdict, condition)
    if value is None or limit is None or math.isnan(value):
        return order, verdict.level.rank, 0.0
    wants_low = condition.below is not None or condition.below_baseline is not None
    return order, verdict.level.rank, limit - value if wants_low else value / limit if limit > 0 else value - limit


@lru_cache(maxsize=256)
def _pattern(globs: str | tuple[str, ...]) -> re.Pattern[str]:
    patterns = (globs,) if isinstance(globs, str) else globs
    return re.compile("|".join(map(translate, patterns)))
