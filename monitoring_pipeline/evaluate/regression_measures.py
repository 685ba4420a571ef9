"""Metrics of a model that predicts a number.

mae, mse, rmse, r2, mape (over the rows whose actual number is not 0), pinball, bias (the mean residual: above 0 the
model says too little), residual_std, mean_actual, mean_prediction, interval_coverage. Against the baseline: bias_shift
(change of the bias in standard deviations of the baseline's residuals) and residual_drift (Kolmogorov-Smirnov distance
of the residuals' distributions). The errors behind mse, rmse and residual_std may have heavy tails: then their 95 %
intervals hold the truth less often, 77 % of the time for lognormal ones in 200 rows, where that of mae does 92 %. Add
a metric here. Keep windows and absences out: they belong in performance.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.special import kolmogi

from monitoring_pipeline.describe.log_histogram import LogHistogram
from monitoring_pipeline.describe.moments import Moments
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.regression_outcomes import LOSSES, RegressionOutcomes
from monitoring_pipeline.evaluate.measures import Costs, Measure
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.stats.distances import kolmogorov_smirnov_distance
from monitoring_pipeline.stats.intervals import normal_interval, wilson_interval
from monitoring_pipeline.stats.null_distributions import ks_p_value


def regression_measures(total: RegressionOutcomes, _: Costs) -> Iterator[Measure]:
    """Yield every metric of the rows that needs no baseline."""
    rows = total.residual.rows
    measure = partial(Measure, basis="prediction", basis_rows=rows, unit="target")
    for name, loss, unit, counted in (
        ("mae", "absolute", "target", rows),
        ("mse", "squared", "target^2", rows),
        ("mape", "percentage", "1", total.nonzero),
        ("pinball", "pinball", "target", rows),
    ):
        mean, variance = _loss(total, loss, counted)
        low, high = map(float, normal_interval(mean, variance, rows=counted))
        yield measure(name=name, value=mean, rows=counted, low=low, high=high, unit=unit)
    for name, moments in (
        ("bias", total.residual), ("mean_actual", total.actual), ("mean_prediction", total.prediction)
    ):  # fmt: skip
        low, high = map(float, normal_interval(moments.mean, moments.central(2), rows=rows))
        yield measure(name=name, value=moments.mean, rows=rows, low=low, high=high)
    spread = total.residual.central(2), total.residual.central(4) - total.residual.central(2) ** 2
    for name, (square, variance) in (("rmse", _loss(total, "squared", rows)), ("residual_std", spread)):
        ends = normal_interval(square, max(variance, 0.0), rows=rows)
        low, high = (float(np.sqrt(np.maximum(end, 0.0))) for end in ends)
        yield measure(name=name, value=float(np.sqrt(square)), rows=rows, low=low, high=high)
    value, low, high = _explained(total)
    constant = f"the actual number is the same in all {rows} rows"
    yield measure(name="r2", value=value, rows=rows, low=low, high=high, unit="1", reason=constant)
    if total.bounded:
        low, high = map(float, wilson_interval(total.covered, total.bounded))
        yield Measure(
            name="interval_coverage", value=total.covered / total.bounded, rows=total.bounded, low=low, high=high,
            basis="interval", basis_rows=total.bounded,
        )  # fmt: skip


def regression_against(
    total: RegressionOutcomes, baseline: RegressionOutcomes | None, _: OutcomePlan
) -> Iterator[Measure]:
    """Yield the metrics that compare the rows with the baseline's."""
    rows, known = total.residual.rows, baseline.residual if baseline else Moments.empty()
    measure = partial(Measure, rows=rows, basis="prediction", basis_rows=rows)
    if baseline is None or not known.rows or not known.central(2):
        why = "the residuals of this version's reference are not known, or all alike"
        for name in ("bias_shift", "residual_drift"):
            yield measure(name=name, value=np.nan, absence=Absence.NO_REFERENCE, reason=why)
        return
    scale = np.sqrt(known.central(2))
    shift, variance = (total.residual.mean - known.mean) / scale, total.residual.central(2) / known.central(2)
    low, high = map(float, normal_interval(shift, variance, rows=rows))
    yield measure(name="bias_shift", value=float(shift), low=low, high=high, unit="sd")
    distance = histogram_distance(baseline.residuals, total.residuals)
    # By Smirnov no more than this from the true distance, in 95 of 100 samples.
    reach = float(kolmogi(0.05)) * np.sqrt(1 / known.rows + 1 / rows) if rows else np.nan
    yield measure(
        name="residual_drift", value=distance, low=max(distance - reach, 0.0), high=min(distance + reach, 1.0),
        p_value=float(ks_p_value(distance, reference_rows=known.rows, current_rows=rows)) if rows else None,
    )  # fmt: skip


def histogram_distance(reference: LogHistogram, current: LogHistogram) -> float:
    """Return the Kolmogorov-Smirnov distance, read at the bounds of the buckets; NaN where a side has no values."""
    if not reference.count or not current.count:
        return np.nan
    numbers = sorted(reference.buckets.keys() | current.buckets.keys())
    shares = [
        np.array([side.buckets.get(number, 0) for number in numbers]) / side.count for side in (reference, current)
    ]
    return float(kolmogorov_smirnov_distance(*shares))


def _loss(total: RegressionOutcomes, name: str, rows: int) -> tuple[float, float]:
    """Return mean and variance of a loss, NaN without rows."""
    if not rows:
        return np.nan, np.nan
    mean, square = (total.losses[LOSSES.index(name)] / rows).tolist()
    return mean, max(square - mean**2, 0.0)  # rounding can take it below zero


def _explained(total: RegressionOutcomes) -> tuple[float, float, float]:
    """Return the share of the variance of the actual numbers that the model explains, with its interval.

    By the delta method: how much one row moves the ratio of squared residuals to squared distances from the mean.
    """
    rows, actual = total.actual.rows, total.actual
    spread = actual.central(2)
    if not rows or not spread:
        return (np.nan,) * 3
    mean, variance = _loss(total, "squared", rows)
    left = mean / spread
    crossed = actual.central(2, weighted=True)
    moved = (variance + mean**2 - 2 * left * crossed + left**2 * actual.central(4)) / spread**2
    low, high = map(float, normal_interval(1 - left, max(moved, 0.0), rows=rows))
    return 1 - left, low, min(high, 1.0)
