"""Tests that two samples come from one distribution, from the rows themselves or from their counts.

Add a test here when it takes samples or counts and gives statistic and p-value. Keep p-values of a distance already
computed out, they belong in null_distributions.py, and corrections for many tests out, they belong in corrections.py.
All assume independent rows. Small p-values mean a change.
"""

import warnings
from collections.abc import Callable
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincc, rel_entr

from monitoring_pipeline.stats.histograms import smoothed_pair
from monitoring_pipeline.stats.null_distributions import chi_square_tail

NOT_TESTED = (float("nan"), float("nan"))


def two_sample_ks(reference: ArrayLike, current: ArrayLike) -> tuple[float, float]:
    """Exact two-sample Kolmogorov-Smirnov distance of the rows, and its p-value.

    Parameters
    ----------
    reference, current : shapes (rows,), finite values; the sizes may differ.

    Returns
    -------
    Distance, 0 to 1, and p-value, 0 to 1. Both NaN when a side has no rows. The p-value is exact up to 10,000 rows a
    side and asymptotic above.

    References
    ----------
    Hodges (1958), The significance probability of the Smirnov two-sample test.

    Examples
    --------
    Of the 6 orders of two and two rows, 2 are this far apart:

    >>> distance, p_value = two_sample_ks([1.0, 2.0], [3.0, 4.0])
    >>> distance, round(p_value, 12)
    (1.0, 0.333333333333)
    """
    from scipy.stats import ks_2samp

    first, second = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if first.size == 0 or second.size == 0:
        return NOT_TESTED
    result = ks_2samp(first, second)
    return float(result.statistic), float(result.pvalue)


def anderson_darling(reference: ArrayLike, current: ArrayLike) -> tuple[float, float]:
    """Two-sample Anderson-Darling test of the rows, which weighs the tails more than Kolmogorov-Smirnov does.

    Parameters
    ----------
    reference, current : shapes (rows,), finite values; the sizes may differ.

    Returns
    -------
    Statistic, standardised to mean 0 and variance 1 when nothing changed (large means a change), and p-value. Both NaN
    when a side has no rows or there are fewer than 4 altogether. Where all rows are equal, 0 and the p-value 1.

    Notes
    -----
    The p-value is interpolated from published percentiles, which end at .001 and .25: those two mean "at most" and "at
    least". It serves a decision at .001 to .25; do not average it or rank by it. Ties are broken at random, as in
    `cramer_von_mises`: with middle ranks instead, small counts (Poisson, mean 2) reject 10 % of the time at .05 and 3 %
    at .01. Without ties the two are the same.

    References
    ----------
    Scholz and Stephens (1987), K-sample Anderson-Darling tests, equation 7.

    Examples
    --------
    >>> statistic, p_value = anderson_darling([1, 4, 5, 8, 9], [2, 3, 6, 7, 10])
    >>> statistic < 0, p_value
    (True, 0.25)
    """
    from scipy.stats import anderson_ksamp

    first, second = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if first.size == 0 or second.size == 0 or first.size + second.size < 4:
        return NOT_TESTED
    if (first == first[0]).all() and (second == first[0]).all():
        return 0.0, 1.0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="p-value (capped|floored)")
        # Middle ranks are the default; the argument that says so has another name before and after scipy 1.17.
        warnings.filterwarnings("ignore", message="Parameter `variant`")
        result = anderson_ksamp(_ranks(first, second))
    return float(result.statistic), float(result.pvalue)


def cramer_von_mises(reference: ArrayLike, current: ArrayLike) -> tuple[float, float]:
    """Two-sample Cramer-von Mises test of the rows: the mean squared gap of the two cumulative distributions.

    Parameters
    ----------
    reference, current : shapes (rows,), finite values; the sizes may differ.

    Returns
    -------
    Statistic, 0 to inf (large means a change), and p-value, 0 to 1. Both NaN with fewer than 2 rows on a side. The
    p-value is exact up to 20 rows a side and asymptotic above. Where all rows are equal, 0 and the p-value 1.

    Notes
    -----
    The distribution of the statistic knows no ties, and the usual formula with middle ranks calls any two samples of a
    yes-or-no column different. Ties are therefore broken at random (the same way whenever the rows are the same), which
    keeps the level at every sample size and costs power where few values occur; use `chi_square_two_sample` there.

    References
    ----------
    Anderson (1962), On the distribution of the two-sample Cramer-von Mises criterion.

    Examples
    --------
    Of the 6 orders of two and two rows, 2 are this far apart:

    >>> statistic, p_value = cramer_von_mises([1.0, 2.0], [3.0, 4.0])
    >>> statistic, round(p_value, 12)
    (0.375, 0.333333333333)
    """
    from scipy.stats import cramervonmises_2samp

    first, second = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if first.size < 2 or second.size < 2:
        return NOT_TESTED
    if (first == first[0]).all() and (second == first[0]).all():
        return 0.0, 1.0
    result = cramervonmises_2samp(*_ranks(first, second))
    return float(result.statistic), float(result.pvalue)


def _ranks(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ranks among all rows, tied ones in an order that is random from sample to sample and fixed for each."""
    both = np.concatenate([first, second])
    order = np.random.default_rng(crc32(both.tobytes())).permutation(both.size)
    ranks = np.empty(both.size)
    ranks[np.lexsort((order, both))] = np.arange(both.size)
    return ranks[: first.size], ranks[first.size :]


def chi_square_two_sample(
    reference_counts: ArrayLike, current_counts: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Chi-square test that two rows of counts come from one distribution.

    Parameters
    ----------
    reference_counts, current_counts : shapes (..., bins) that broadcast, rows per bin or category.

    Returns
    -------
    Statistic (0 to inf), degrees of freedom (bins occupied on either side, less one) and p-value (0 to 1, small means
    a change), each of shape (...). Statistic and p-value are NaN where a side has no rows.

    Notes
    -----
    sum((r * sqrt(m / n) - c * sqrt(n / m)) ** 2 / (r + c)): Pearson's test of a 2 x bins table, no continuity
    correction. The p-value is that of a gamma distribution with the mean and variance the statistic has when the rows
    of each bin fall to the two sides by chance. With many rows that is chi-square with `degrees`, and scipy's p-value;
    with rare categories it is wider. 50 rows against 20,000 in 102 bins with shares 1, 1/2, 1/3 ... reject 5.7 % at 5 %
    and 1.4 % at 1 %; chi-square rejects 14 % and 7.6 %.

    References
    ----------
    Pearson (1911), On the probability that two independent distributions of frequency are really samples from the
    same population; Dawson (1954), A simplified expression for the variance of the chi-square function on a contingency
    table.

    Examples
    --------
    >>> statistic, degrees, p_value = chi_square_two_sample([20, 10, 0], [10, 20, 0])
    >>> round(float(statistic), 9), int(degrees), round(float(p_value), 4)
    (6.666666667, 1, 0.0101)
    """
    reference, current = np.asarray(reference_counts, np.float64), np.asarray(current_counts, np.float64)
    both = reference + current
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(current.sum(axis=-1, keepdims=True) / reference.sum(axis=-1, keepdims=True))
        terms = (reference * ratio - current / ratio) ** 2 / both
    statistic = np.where(both == 0, 0.0, terms).sum(axis=-1)
    # An empty side has ratio 0, inf or NaN, and must not end as a perfect match.
    statistic = np.where(np.isfinite(ratio[..., 0]) & (ratio[..., 0] > 0), statistic, np.nan)
    degrees = np.asarray((both != 0).sum(axis=-1, dtype=np.int64) - 1)
    return statistic, degrees, _pearson_tail(statistic, reference.sum(axis=-1), current.sum(axis=-1), both)


def _pearson_tail(
    statistic: NDArray[np.float64], n: NDArray[np.float64], m: NDArray[np.float64], both: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Upper tail of Pearson's statistic given how many rows both sides have in each bin, by Dawson's moments."""
    rows, bins = n + m, (both != 0).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = rows * np.where(both == 0, 0.0, 1 / both).sum(axis=-1)
        sides, shares = (rows**2 / (n * m) - 4) / (rows - 2), (spread - bins**2) / (rows - 2)
        mean = rows * (bins - 1) / (rows - 1)
        apart = ((rows - 2) / (rows - 1) - sides) * ((bins - 1) * (rows - bins) / (rows - 1) - shares)
        variance = 2 * rows / (rows - 3) * apart + rows**2 / (rows - 1) * sides * shares
        tail = gammaincc(mean**2 / variance, np.maximum(statistic, 0.0) * mean / variance)
    return np.where((bins > 1) & (variance > 0) & np.isfinite(statistic), tail, chi_square_tail(statistic, bins - 1))


def g_test_two_sample(
    reference_counts: ArrayLike, current_counts: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Likelihood-ratio test (G-test) that two rows of counts come from one distribution.

    Parameters
    ----------
    reference_counts, current_counts : shapes (..., bins) that broadcast, rows per bin or category.

    Returns
    -------
    Statistic, degrees of freedom and p-value as in `chi_square_two_sample`.

    Notes
    -----
    2 * sum(observed * ln(observed / expected)) over the 2 x bins table. With rare categories it rejects more often than
    its level (8.2 % at 5 % for 5 rows a cell in 10 bins), where Pearson's statistic stays near it (4.6 %).

    References
    ----------
    Wilks (1935), The likelihood test of independence in contingency tables.

    Examples
    --------
    >>> statistic, degrees, p_value = g_test_two_sample([2, 0, 0], [0, 2, 0])
    >>> round(float(statistic / np.log(2)), 9), int(degrees)
    (8.0, 1)
    """
    reference, current = np.asarray(reference_counts, np.float64), np.asarray(current_counts, np.float64)
    both = reference + current
    n, m = reference.sum(axis=-1, keepdims=True), current.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        terms = rel_entr(reference, both * (n / (n + m))) + rel_entr(current, both * (m / (n + m)))
    statistic = np.where((n > 0) & (m > 0), 2 * np.maximum(terms.sum(axis=-1, keepdims=True), 0.0), np.nan)[..., 0]
    degrees = np.asarray((both != 0).sum(axis=-1, dtype=np.int64) - 1)
    return statistic, degrees, chi_square_tail(statistic, degrees)


def permutation_p_value(
    reference_counts: ArrayLike,
    current_counts: ArrayLike,
    distance: Callable[[NDArray[np.float64], NDArray[np.float64]], ArrayLike],
    *,
    permutations: int,
    rng: np.random.Generator,
    pseudocount: float = 0.0,
) -> NDArray[np.float64]:
    """p-value of any distance between two histograms, from dealing their rows out to the two sides again and again.

    Parameters
    ----------
    reference_counts, current_counts : shapes (..., bins) that broadcast, rows per bin; whole numbers.
    distance : takes proportions of shapes (..., bins), such as those in distances.py; larger means further apart.
    permutations : how many times; the smallest p-value possible is 1 / (1 + permutations).
    rng : source of randomness.
    pseudocount : passed to `smoothed_pair`; distances that become infinite at an empty bin want 0.5.

    Returns
    -------
    Shape (...), above 0 to 1; small means a change. NaN where a side has no rows.

    Notes
    -----
    (1 + permutations at least as far) / (1 + permutations), which rejects at most at its level at every sample size.
    Dealing rows out leaves each bin's total and each side's rows as they are: the current counts are multivariate
    hypergeometric, drawn bin by bin without touching a row.

    References
    ----------
    Phipson and Smyth (2010), Permutation p-values should never be zero.

    Examples
    --------
    >>> from monitoring_pipeline.stats.distances import l_infinity_distance
    >>> rng = np.random.default_rng(0)
    >>> float(permutation_p_value([5, 5], [5, 5], l_infinity_distance, permutations=99, rng=rng))
    1.0
    """
    reference, current = np.broadcast_arrays(np.asarray(reference_counts), np.asarray(current_counts))
    pooled = (reference + current).astype(np.int64)
    rows = current.sum(axis=-1).astype(np.int64)
    known = (rows > 0) & (rows < pooled.sum(axis=-1))
    left, behind = np.broadcast_to(rows, (permutations, *rows.shape)), pooled.sum(axis=-1)
    dealt = np.empty((permutations, *pooled.shape), dtype=np.int64)
    for each in range(pooled.shape[-1]):
        behind = behind - pooled[..., each]
        dealt[..., each] = rng.hypergeometric(pooled[..., each], behind, left)
        left = left - dealt[..., each]
    observed = np.asarray(distance(*smoothed_pair(reference, current, pseudocount=pseudocount)))
    redealt = np.asarray(distance(*smoothed_pair(pooled - dealt, dealt, pseudocount=pseudocount)))
    # Tables equally far apart may differ in the last digit.
    as_far = (redealt >= observed - 1e-9 * np.abs(observed)).sum(axis=0)
    return np.where(known, (1 + as_far) / (1 + permutations), np.nan)
