"""The gate: champion against challenger on the same recent hold-out rows, and what follows.

Add a guard-rail to `_objections`. Keep training and the registry out: scores arrive as arrays.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from monitoring_pipeline.stats.paired import delong_paired, mcnemar_p_value, paired_bootstrap

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Of the bootstrap of the log loss: its interval's ends are then good to about a hundredth of its width."""


class Outcome(StrEnum):
    """What becomes of the challenger."""

    PROMOTE = "promote"
    KEEP_CHAMPION = "keep_champion"


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """How much better a challenger must be.

    `margin` is the least gain in `metric`; the lower end of the `confidence` interval of the gain must be above zero,
    which two equal models reach in (1 - confidence) / 2 of all comparisons. `largest_loss` bounds how much worse the
    other metric may get.
    """

    metric: Literal["roc_auc", "log_loss"] = "roc_auc"
    margin: float = 0.005
    confidence: float = 0.95
    largest_loss: float = 0.01
    minimum_rows: int = 500


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
    """The comparison in full and what it comes to, with every reason against promotion."""

    rows: int
    positives: int
    comparisons: tuple[Comparison, ...]
    mcnemar_p_value: float
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


def log_losses(scores: FloatArray, truth: FloatArray) -> FloatArray:
    """Return the log loss of every row, in nats."""
    clipped = np.clip(scores, 1e-15, 1 - 1e-15)
    return np.asarray(-np.log(np.where(truth == 1, clipped, 1 - clipped)))


def evaluate_challenger(
    truth: FloatArray, champion: FloatArray, challenger: FloatArray, policy: GatePolicy, *, seed: int = 0
) -> Evaluation:
    """Compare the scores of both models on the same labelled rows, shape (rows,), and decide."""
    if not len(truth):
        return Evaluation(0, 0, (), 1.0, Outcome.KEEP_CHAMPION, (f"0 hold-out rows, {policy.minimum_rows} needed",))
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
    comparisons = (auc_gain, loss_gain)
    reasons = _objections(len(truth), comparisons, policy)
    outcome = Outcome.KEEP_CHAMPION if reasons else Outcome.PROMOTE
    if not reasons:
        reasons = [_in_words(comparisons, policy)]
    return Evaluation(len(truth), int((truth == 1).sum()), comparisons, p_value, outcome, tuple(reasons))


def _objections(rows: int, comparisons: tuple[Comparison, ...], policy: GatePolicy) -> list[str]:
    reasons = []
    if rows < policy.minimum_rows:
        reasons.append(f"{rows} hold-out rows, {policy.minimum_rows} needed")
    for item in comparisons:
        if not np.isfinite(item.gain):
            reasons.append(f"{item.metric} is not known: it needs 2 rows of each class and scores that are numbers")
        elif item.metric == policy.metric:
            if item.gain < policy.margin:
                reasons.append(f"{item.metric} gains {item.gain:+.4f}, the margin is {policy.margin:+.4f}")
            if not item.low > 0:
                interval = f"[{item.low:+.4f}, {item.high:+.4f}]"
                reasons.append(f"the interval of the gain in {item.metric} {interval} is not above zero")
        elif item.gain < -policy.largest_loss:
            reasons.append(f"{item.metric} loses {-item.gain:.4f}, at most {policy.largest_loss:.4f} is allowed")
    return reasons


def _in_words(comparisons: tuple[Comparison, ...], policy: GatePolicy) -> str:
    item = next(item for item in comparisons if item.metric == policy.metric)
    return (
        f"{item.metric} {item.champion:.4f} -> {item.challenger:.4f} ({item.gain:+.4f}, "
        f"{policy.confidence:.0%} interval {item.low:+.4f} to {item.high:+.4f})"
    )
