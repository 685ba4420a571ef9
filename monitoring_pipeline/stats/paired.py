"""Two models on the same rows: is the second better, and by how much.

Add a comparison here when both models answered the same rows. Keep two-sample comparisons out, they belong in
null_distributions.py; whether a challenger is promoted is decided in retrain. Differences are second minus first.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, ndtr

from monitoring_pipeline.stats.intervals import normal_quantile

DRAWS_AT_ONCE = 2_000_000
"""Row draws of the bootstrap held in memory at a time: 16 MB of indices and as much of differences."""


class BootstrapDifference(NamedTuple):
    """Mean difference (second minus first), its interval, and the p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float


class AucDifference(NamedTuple):
    """Two areas under the ROC curve on the same rows, their difference (second minus first), interval and p-value."""

    auc_first: float
    auc_second: float
    difference: float
    low: float
    high: float
    p_value: float


def mcnemar_p_value(only_first_right: ArrayLike, only_second_right: ArrayLike) -> NDArray[np.float64]:
    """Exact two-sided probability of so uneven a split of the rows that just one of two classifiers gets right.

    Parameters
    ----------
    only_first_right, only_second_right : broadcastable, whole counts.

    Returns
    -------
    0 to 1; small means the classifiers differ. 1 when they never disagree.

    Notes
    -----
    Under no difference each such row is a fair coin: twice the binomial tail of the smaller count, at most 1. Exact at
    any size.

    References
    ----------
    McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages.

    Examples
    --------
    >>> float(mcnemar_p_value(0, 5)), float(mcnemar_p_value(3, 3))
    (0.0625, 1.0)
    """
    first, second = np.asarray(only_first_right, dtype=np.int64), np.asarray(only_second_right, dtype=np.int64)
    tail = bdtr(np.minimum(first, second).astype(np.float64), first + second, 0.5)
    return np.asarray(np.minimum(2 * tail, 1.0))


def paired_bootstrap(
    first: ArrayLike, second: ArrayLike, *, resamples: int = 2000, seed: int, confidence: float = 0.95
) -> BootstrapDifference:
    """Bootstrap of the mean difference of two losses measured on the same rows, in the unit of the loss.

    Parameters
    ----------
    first, second : shapes (rows,), the loss of each model on each row.
    resamples : how many times the rows are drawn anew.
    seed : of the draws; the same seed gives the same answer.
    confidence : 0 to 1.

    Returns
    -------
    Difference of the mean losses (second minus first: negative means the second is better), percentile interval,
    two-sided p-value (never below 1 / (resamples + 1)). All NaN without rows.

    Notes
    -----
    Rows are drawn with replacement, both losses together. The p-value is the share of resamples, shifted to a mean of
    zero, at least as far out as what was observed. For independent rows, from about 30.

    References
    ----------
    Efron and Tibshirani (1993), An introduction to the bootstrap, sections 13.3 and 16.4; Davison and Hinkley (1997),
    Bootstrap methods and their application, equation 4.11.

    Examples
    --------
    >>> result = paired_bootstrap([1.0, 2.0, 3.0], [0.5, 1.5, 2.5], resamples=99, seed=1)
    >>> result.difference, result.low, result.high, result.p_value
    (-0.5, -0.5, -0.5, 0.01)
    """
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    rows = differences.size
    if rows == 0:
        return BootstrapDifference(*[float("nan")] * 4)
    generator = np.random.default_rng(seed)
    size = max(1, DRAWS_AT_ONCE // rows)
    means = np.concatenate(
        [
            differences[generator.integers(0, rows, (min(size, resamples - done), rows))].mean(axis=1)
            for done in range(0, resamples, size)
        ]
    )
    observed = differences.mean()
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    extreme = int((np.abs(means - observed) >= np.abs(observed)).sum())
    return BootstrapDifference(float(observed), float(low), float(high), (1 + extreme) / (resamples + 1))


def _placements(values: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the others that each value beats, ties counting half."""
    ordered = np.sort(others)
    beaten = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(beaten / (2 * others.size))


def delong_paired(
    scores_first: ArrayLike, scores_second: ArrayLike, labels: ArrayLike, *, confidence: float = 0.95
) -> AucDifference:
    """Compare the areas under the ROC curve of two models that scored the same rows.

    Parameters
    ----------
    scores_first, scores_second : shapes (rows,), higher for the positive class.
    labels : shape (rows,), true or 1 for positives.
    confidence : 0 to 1.

    Returns
    -------
    Both areas, their difference (second minus first: positive means the second is better), its interval and the
    two-sided p-value. All NaN with fewer than 2 rows in a class.

    Notes
    -----
    The placements of each row (the share of the other class it beats, which is what midranks give) have a covariance
    between the models; the difference is taken as normal. For independent rows, from about 30 a class. Two models that
    rank alike have no variance: p-value 1.

    References
    ----------
    DeLong, DeLong and Clarke-Pearson (1988), Comparing the areas under two or more correlated receiver operating
    characteristic curves, equations 4 to 8; Sun and Xu (2014), Fast implementation of DeLong's algorithm.

    Examples
    --------
    >>> result = delong_paired([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0], [0, 0, 1, 1])
    >>> result.auc_first, result.auc_second, result.difference
    (1.0, 0.75, -0.25)
    """
    scores = np.stack([np.asarray(scores_first, np.float64), np.asarray(scores_second, np.float64)])
    positive = np.asarray(labels).astype(bool)
    if min(positive.sum(), (~positive).sum()) < 2:
        return AucDifference(*[float("nan")] * 6)
    over_negatives = np.stack([_placements(each[positive], each[~positive]) for each in scores])
    over_positives = np.stack([_placements(each[~positive], each[positive]) for each in scores])
    first, second = over_negatives.mean(axis=1)
    variance = sum(np.var(each[1] - each[0], ddof=1) / each.shape[1] for each in (over_negatives, over_positives))
    difference, error = float(second - first), float(np.sqrt(variance))
    half = float(normal_quantile(confidence)) * error
    if error > 0:
        p_value = float(2 * ndtr(-abs(difference) / error))
    else:
        p_value = 1.0 if difference == 0 else 0.0
    return AucDifference(
        float(first), float(second), difference, max(difference - half, -1.0), min(difference + half, 1.0), p_value
    )
