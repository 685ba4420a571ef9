"""The gate: champion against challenger on the same recent hold-out rows, the error budgets, and what follows.

Add a guard-rail to `_objections`. Keep training and the registry out: what the models said arrives as arrays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from monitoring_pipeline.judge.objectives import SERVICE
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.stats.paired import delong_paired, mcnemar_p_value, paired_bootstrap

FloatArray = npt.NDArray[np.float64]
GateMetric = Literal["roc_auc", "log_loss", "mae", "rmse"]

ERRORS = ("mae", "rmse")
"""What regressors are compared by, in the unit of what they predict."""

RESAMPLES = 2000
"""Of the bootstrap of the log loss: its interval's ends are then good to about a hundredth of its width."""


class Outcome(StrEnum):
    """What becomes of the challenger."""

    PROMOTE = "promote"
    KEEP_CHAMPION = "keep_champion"
    BUDGET_SPENT = "budget_spent"  # it is better, but the service has no room for a change


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """How much better a challenger must be.

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


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of both models on the same rows; `gain` is positive where the challenger is better."""

    metric: str
    champion: float
    challenger: float
    gain: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The comparison in full and what it comes to, with every reason against promotion. Regressors have no classes."""

    rows: int
    positives: int | None
    comparisons: tuple[Comparison, ...]
    mcnemar_p_value: float | None
    outcome: Outcome
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        comparisons = {
            item.metric: {
                "champion": item.champion,
                "challenger": item.challenger,
                "gain": item.gain,
                "low": item.low,
                "high": item.high,
                "p_value": item.p_value,
            }
            for item in self.comparisons
        }
        return {
            "rows": self.rows,
            "positives": self.positives,
            "comparisons": comparisons,
            "mcnemar_p_value": self.mcnemar_p_value,
            "outcome": self.outcome.value,
            "reasons": list(self.reasons),
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


def log_losses(scores: FloatArray, truth: FloatArray) -> FloatArray:
    """Return the log loss of every row, in nats."""
    clipped = np.clip(scores, 1e-15, 1 - 1e-15)
    return np.asarray(-np.log(np.where(truth == 1, clipped, 1 - clipped)))


def evaluate_challenger(
    truth: FloatArray, champion: FloatArray, challenger: FloatArray, policy: GatePolicy, *, seed: int = 0
) -> Evaluation:
    """Compare the scores of two binary classifiers on the same labelled rows, shape (rows,), and decide."""
    if not len(truth):
        return _decided(0, 0, (), 1.0, _too_few(0, policy.minimum_rows, "rows"), policy)
    auc = delong_paired(champion, challenger, truth, confidence=policy.confidence)
    auc_gain = Comparison("roc_auc", auc.auc_first, auc.auc_second, auc.difference, auc.low, auc.high, auc.p_value)
    first, second = log_losses(champion, truth), log_losses(challenger, truth)
    # The gain is what the loss falls by.
    loss = paired_bootstrap(second, first, resamples=RESAMPLES, seed=seed, confidence=policy.confidence)
    loss_gain = Comparison(
        "log_loss", float(first.mean()), float(second.mean()), loss.difference, loss.low, loss.high, loss.p_value
    )
    right = [(scores >= 0.5) == (truth == 1) for scores in (champion, challenger)]
    p_value = float(mcnemar_p_value(int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())))
    few = _too_few(len(truth), policy.minimum_rows, "rows")
    return _decided(len(truth), int((truth == 1).sum()), (auc_gain, loss_gain), p_value, few, policy)


def evaluate_regressor(
    truth: FloatArray, champion: FloatArray, challenger: FloatArray, days: npt.ArrayLike, policy: GatePolicy
) -> Evaluation:
    """Compare the values two models predict for the same labelled rows, shape (rows,), and decide.

    `days` says of each row when it was. Rows of a day err together, as a day of rain does: a gain is as certain as it
    is the same from day to day, however many rows a day has.
    """
    dates, day = np.unique(np.asarray(days), return_inverse=True)
    few = _too_few(len(dates), policy.minimum_days, "days")
    if not len(truth):
        return _decided(0, None, (), None, few, policy)
    first, second = (np.abs(predicted - truth) for predicted in (champion, challenger))
    mae = _error_gain("mae", (first.mean(), second.mean()), first - second, day, policy.confidence)
    roots = [float(np.sqrt(np.mean(errors**2))) for errors in (first, second)]
    # What each row adds to a difference of roots, to first order.
    slopes = [errors**2 / (2 * (root or 1.0)) for errors, root in zip((first, second), roots, strict=True)]
    rmse = _error_gain("rmse", (roots[0], roots[1]), slopes[0] - slopes[1], day, policy.confidence)
    return _decided(len(truth), None, (mae, rmse), None, few, policy)


def _error_gain(
    metric: str, errors: tuple[float, float], shares: FloatArray, day: npt.NDArray[np.intp], confidence: float
) -> Comparison:
    """Return the gain with Student's interval over days, from what each row adds to it up to a constant."""
    sums = np.bincount(day, shares - shares.mean())
    degrees = len(sums) - 1
    if not (degrees and np.isfinite(sums).all()):
        return Comparison(metric, float(errors[0]), float(errors[1]), *[float("nan")] * 4)
    gain = float(errors[0] - errors[1])
    error = float(np.sqrt((degrees + 1) / degrees * np.sum(sums**2))) / len(shares)
    half = float(stdtrit(degrees, 0.5 + confidence / 2)) * error
    p_value = float(2 * stdtr(degrees, -abs(gain) / error)) if error else float(gain == 0)
    return Comparison(metric, float(errors[0]), float(errors[1]), gain, gain - half, gain + half, p_value)


def _decided(
    rows: int,
    positives: int | None,
    comparisons: tuple[Comparison, ...],
    p_value: float | None,
    few: list[str],
    policy: GatePolicy,
) -> Evaluation:
    reasons = few + _objections(comparisons, policy)
    outcome = Outcome.KEEP_CHAMPION if reasons else Outcome.PROMOTE
    if not reasons:
        reasons = [_in_words(comparisons, policy)]
    return Evaluation(rows, positives, comparisons, p_value, outcome, tuple(reasons))


def _too_few(found: int, needed: int, what: str) -> list[str]:
    return [f"{found} hold-out {what}, {needed} needed"] if found < needed else []


def _objections(comparisons: tuple[Comparison, ...], policy: GatePolicy) -> list[str]:
    reasons = []
    for item in comparisons:
        unit = item.champion if item.metric in ERRORS else 1.0
        margin, largest_loss = policy.margin * unit, policy.largest_loss * unit
        if not np.isfinite(item.gain):
            needed = "rows of 2 days" if item.metric in ERRORS else "2 rows of each class"
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
