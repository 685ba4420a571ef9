"""How much better one model is than another on the same labelled rows, and how certain that is.

Add a metric to `per_row`. Keep what is enough out: that is decided in gate and guard_rails.

Rows of a day err together, as a day of rain does: over twelve weeks of flights the variance of a gain was 8 times (AUC)
and 14 to 29 times (log loss) what independent rows have, of which counting hours finds less than half. So days are what
is counted, with Student's interval, which also holds for few of them; the bootstrap and DeLong's variance do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.stats.agreement import clustered_mean

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
GateMetric = Literal["roc_auc", "log_loss", "mae", "rmse"]

METRICS: Mapping[Task, tuple[GateMetric, ...]] = {
    Task.BINARY: ("roc_auc", "log_loss"),
    Task.REGRESSION: ("mae", "rmse"),
}
"""What models are compared by; there is no gate for other tasks."""

ERRORS = ("mae", "rmse")
"""What regressors are compared by, in the unit of what they predict."""

FEWEST_DAYS = 3
"""Of fewer days no interval is of use: hours are counted instead, although those of a day are not independent."""


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

    def to_json(self) -> dict[str, Any]:
        return {name: known(getattr(self, name)) for name in self.__slots__ if name != "metric"}


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Which rows err together: of each row the number of its day, or of its hour."""

    of_row: IntArray
    name: Literal["day", "hour"] = "day"

    @property
    def count(self) -> int:
        return len(np.unique(self.of_row))


class Mean(NamedTuple):
    """A mean over rows that err together, its standard error and the degrees of freedom of Student's interval."""

    value: float
    error: float
    freedom: float

    def half_width(self, tail: float) -> float:
        """Return what lies between the mean and a bound that chance passes with probability `tail`."""
        return float(stdtrit(self.freedom, 1 - tail)) * self.error if self.freedom > 0 else float("nan")


def units_of(times: npt.ArrayLike) -> Units:
    """Return the days of rows or, of fewer than three days, their hours."""
    moments = np.asarray(times, dtype="datetime64[ns]")
    days = np.unique(moments.astype("datetime64[D]"), return_inverse=True)
    if len(days[0]) >= FEWEST_DAYS:
        return Units(days[1])
    return Units(np.unique(moments.astype("datetime64[h]"), return_inverse=True)[1], "hour")


def log_losses(scores: FloatArray, truth: FloatArray) -> FloatArray:
    """Return the log loss of every row, in nats."""
    clipped = np.clip(scores, 1e-15, 1 - 1e-15)
    return np.asarray(-np.log(np.where(truth == 1, clipped, 1 - clipped)))


def per_row(metric: GateMetric, truth: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return a number for each row: their mean is the metric, and to first order varies over samples as it does.

    Of the AUC they are DeLong's components, of a root mean square its linearisation. NaN where it is not known.
    """
    if metric == "log_loss":
        return log_losses(predicted, truth)
    if metric == "roc_auc":
        return _auc_components(truth, predicted)
    errors = np.abs(predicted - truth)
    if metric == "mae":
        return errors
    root = float(np.sqrt(np.mean(errors**2)))
    return np.asarray(root + (errors**2 - root**2) / (2 * (root or 1.0)))


def _auc_components(truth: FloatArray, scores: FloatArray) -> FloatArray:
    positive = truth == 1
    if min(positive.sum(), (~positive).sum()) < 2 or not np.isfinite(scores).all():
        return np.full(len(truth), np.nan)
    beaten = np.empty(len(truth))
    for side, sign in ((positive, 1), (~positive, -1)):
        others = np.sort(sign * scores[~side])
        own = sign * scores[side]
        wins = np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")
        beaten[side] = wins / (2 * len(others))
    area = beaten[positive].mean()
    return np.asarray(area + (beaten - area) * len(truth) / np.where(positive, positive.sum(), (~positive).sum()))


def mean_of(values: FloatArray, units: IntArray) -> Mean:
    """Return the mean over rows. Uneven days count as fewer: one that has most of the rows leaves little to compare."""
    found = clustered_mean(values, units)
    sizes = np.unique(units, return_counts=True)[1]
    return Mean(found.mean, found.error, float(sizes.sum() ** 2 / np.sum(sizes**2.0)) - 1 if len(sizes) else 0.0)


def gains(metric: GateMetric, champion: FloatArray, challenger: FloatArray) -> FloatArray:
    """Return for each row what it adds to the gain, from what `per_row` says of both models."""
    return challenger - champion if metric == "roc_auc" else champion - challenger


def compare(
    metric: GateMetric,
    truth: FloatArray,
    champion: FloatArray,
    challenger: FloatArray,
    units: Units,
    *,
    confidence: float,
) -> Comparison:
    """Return the gain in a metric with Student's interval over days; NaN where there are too few, or no numbers."""
    first, second = (per_row(metric, truth, predicted) for predicted in (champion, challenger))
    gain = mean_of(gains(metric, first, second), units.of_row)
    values = float(first.mean()), float(second.mean())
    half = gain.half_width((1 - confidence) / 2)
    if not np.isfinite([gain.value, half]).all():
        return Comparison(metric, *values, *[float("nan")] * 4)
    p_value = float(2 * stdtr(gain.freedom, -abs(gain.value) / gain.error)) if gain.error else float(gain.value == 0)
    return Comparison(metric, *values, gain.value, gain.value - half, gain.value + half, p_value)


def known(value: float | None) -> float | None:
    """Return a number as JSON holds it: one that is none is null."""
    return None if value is None or not np.isfinite(value) else float(value)
