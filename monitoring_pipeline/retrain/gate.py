"""The gate: champion against challenger on the same recent hold-out rows, guard-rails, error budgets, what follows.

Add something that speaks against a promotion here. Keep training and the registry out: what the models said arrives as
arrays.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.evaluate.gains import (
    ERRORS,
    FEWEST_DAYS,
    METRICS,
    Comparison,
    FloatArray,
    GateMetric,
    Units,
    compare,
    known,
)
from monitoring_pipeline.judge.objectives import SERVICE
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.retrain.back_test import BackTest
from monitoring_pipeline.retrain.guard_rails import Finding, RailPolicy, Status
from monitoring_pipeline.stats.paired import mcnemar_p_value

LONGEST_TAG = 4000
"""Characters of a tag: MLflow's databases keep 5000."""


class Outcome(StrEnum):
    """What becomes of the challenger."""

    PROMOTE = "promote"
    KEEP_CHAMPION = "keep_champion"
    BUDGET_SPENT = "budget_spent"  # it is better, but the service has no room for a change


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """How much better a challenger must be, and what it must not be worse at.

    `margin` is the least gain in `metric`; the lower end of the `confidence` interval of the gain must be above zero,
    which two equal models reach in (1 - confidence) / 2 of all comparisons. `largest_loss` bounds how much worse the
    other metric may get. Of errors both are shares of the champion's error, whose unit may be anything. A hold-out has
    at least `minimum_rows` for classifiers and `minimum_days` for regressors.
    """

    metric: GateMetric = "roc_auc"
    margin: float = 0.005
    confidence: float = 0.95
    largest_loss: float = 0.01
    minimum_rows: int = 500
    minimum_days: int = 7
    rails: RailPolicy = field(default_factory=RailPolicy)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The comparison in full and what it comes to, with every reason against promotion. Regressors have no classes.

    `units`: how many days, or hours, the intervals count, and which of the two.
    """

    rows: int
    positives: int | None
    units: tuple[int, str]
    comparisons: tuple[Comparison, ...]
    mcnemar_p_value: float | None
    outcome: Outcome
    reasons: tuple[str, ...]
    guard_rails: tuple[Finding, ...] = ()
    back_test: BackTest | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "positives": self.positives,
            "units": list(self.units),
            "comparisons": {item.metric: item.to_json() for item in self.comparisons},
            "mcnemar_p_value": known(self.mcnemar_p_value),
            "outcome": self.outcome.value,
            "reasons": list(self.reasons),
            "guard_rails": [finding.to_json() for finding in self.guard_rails],
            "back_test": self.back_test.to_json() if self.back_test else None,
        }


@dataclass(frozen=True, slots=True)
class Override:
    """Who promotes although a budget is spent, and why."""

    by: str
    why: str


def respect_budgets(
    outcome: Outcome, reasons: Sequence[str], budgets: Iterable[Verdict], override: Override | None
) -> tuple[Outcome, tuple[str, ...]]:
    """Return what becomes of a challenger, and why, once the error budgets have had their say.

    `budgets` are verdicts on `slo.budget_remaining`; one that is not known holds nobody back.
    """
    # Only promises of the service: while requests fail or wait, a new version is one more thing that may be wrong.
    # Where the model itself broke its promise, by age, drift, performance or fairness, the better challenger is the
    # cure, and refusing it would keep the cause in place.
    spent = [each.reason for each in budgets if each.signal.column in SERVICE and each.level.rank > 0]
    if outcome is not Outcome.PROMOTE or not spent:
        return outcome, tuple(reasons)
    if override is not None:
        return outcome, (*reasons, *spent, f"the gate was overridden by {override.by}: {override.why}")
    return Outcome.BUDGET_SPENT, (*reasons, *spent)


def evaluate_challenger(
    truth: FloatArray,
    champion: FloatArray,
    challenger: FloatArray,
    units: Units,
    policy: GatePolicy,
    *,
    task: Task = Task.BINARY,
) -> Evaluation:
    """Compare the scores, or the predicted values, of two models on the same labelled rows, shape (rows,)."""
    if policy.metric not in (metrics := METRICS.get(task, ())):
        choices = (
            f"use {' or '.join(metrics)}" if metrics else "there is no gate for it: set retraining.trainer to none"
        )
        raise MonitoringError(f"retraining.metric {policy.metric} compares no models of task {task}: {choices}.")
    rows, classes = len(truth), task is Task.BINARY
    days = units.count if units.name == "day" else FEWEST_DAYS - 1  # so few that hours are counted
    few = _too_few(rows, policy.minimum_rows, "rows") if classes else _too_few(days, policy.minimum_days, "days")
    comparisons = tuple(
        compare(metric, truth, champion, challenger, units, confidence=policy.confidence) for metric in metrics if rows
    )
    reasons = few + _objections(comparisons, policy)
    outcome = Outcome.KEEP_CHAMPION if reasons else Outcome.PROMOTE
    return Evaluation(
        rows,
        int((truth == 1).sum()) if classes else None,
        (units.count, units.name),
        comparisons,
        _mcnemar(truth, champion, challenger) if classes else None,
        outcome,
        tuple(reasons or [_in_words(comparisons, policy)]),
    )


def respect_guard_rails(
    evaluation: Evaluation,
    findings: Sequence[Finding],
    *,
    required: Iterable[str] = (),
    back_test: BackTest | None = None,
) -> Evaluation:
    """Return the evaluation with what the guard-rails found: an objection keeps the champion.

    What is not known holds a challenger back only where its guard-rail is `required`; it is on record either way.
    """
    asked = frozenset(required)
    against = [
        finding.reason
        for finding in findings
        if finding.status is Status.OBJECTS or (finding.status is Status.NOT_KNOWN and finding.rail in asked)
    ]
    judged = replace(evaluation, guard_rails=tuple(findings), back_test=back_test)
    if not against:
        return judged
    before = () if evaluation.outcome is Outcome.PROMOTE else evaluation.reasons
    return replace(judged, outcome=Outcome.KEEP_CHAMPION, reasons=(*before, *against))


def version_tags(evaluation: Evaluation, policy: GatePolicy, *, against: str) -> Mapping[str, str]:
    """Return what the tags of the challenger's version say of its evaluation."""
    tags = {
        "gate_outcome": evaluation.outcome.value,
        "gate_reason": "; ".join(evaluation.reasons)[:LONGEST_TAG],
        "gate_against": against,
        "gate_metric": policy.metric,
    }
    item = next((each for each in evaluation.comparisons if each.metric == policy.metric), None)
    if item is not None and np.isfinite(item.gain):
        tags |= {"gate_gain": f"{item.gain:+.4f}", "gate_interval": f"{item.low:+.4f} to {item.high:+.4f}"}
    return tags


def _mcnemar(truth: FloatArray, champion: FloatArray, challenger: FloatArray) -> float:
    right = [(scores >= 0.5) == (truth == 1) for scores in (champion, challenger)]
    return float(mcnemar_p_value(int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())))


def _too_few(found: int, needed: int, what: str) -> list[str]:
    return [f"{found} hold-out {what}, {needed} needed"] if found < needed else []


def _objections(comparisons: tuple[Comparison, ...], policy: GatePolicy) -> list[str]:
    reasons = []
    for item in comparisons:
        unit = item.champion if item.metric in ERRORS else 1.0
        margin, largest_loss = policy.margin * unit, policy.largest_loss * unit
        if not np.isfinite(item.gain):
            needed = "several days" if item.metric in ERRORS else "2 rows of each class, several days"
            reasons.append(f"{item.metric} is not known: it needs {needed} and predictions that are numbers")
        elif item.metric == policy.metric:
            if item.gain < margin:
                reasons.append(f"{item.metric} gains {item.gain:+.4f}, the margin is {margin:+.4f}")
            if not item.low > 0:
                interval = f"[{item.low:+.4f}, {item.high:+.4f}]"
                reasons.append(f"the interval of the gain in {item.metric} {interval} is not above zero")
        elif item.gain < -largest_loss:
            reasons.append(f"{item.metric} loses {-item.gain:.4f}, at most {largest_loss:.4f} is allowed")
    return reasons


def _in_words(comparisons: tuple[Comparison, ...], policy: GatePolicy) -> str:
    item = next(item for item in comparisons if item.metric == policy.metric)
    return (
        f"{item.metric} {item.champion:.4f} -> {item.challenger:.4f} ({item.gain:+.4f}, "
        f"{policy.confidence:.0%} interval {item.low:+.4f} to {item.high:+.4f})"
    )
