"""How large a distance gets when nothing changed: p-values, critical values and limits learnt from a reference.

Add a function here when it answers "how often would no change at all give this much". Keep the distances out, they
belong in distances.py, and keep verdicts out, they belong in judge. The tests assume independent rows; where rows are
autocorrelated they reject too often, and `prediction_limit` on blocks of the reference is the answer.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, chdtri, kolmogorov, stdtrit

SMALLEST_DISTANCE = 1e-12
"""Distances below this are rounding (proportions carry 1e-16 each); it keeps the logarithm of a zero finite."""


def _sampling_variance(reference_rows: ArrayLike, current_rows: ArrayLike) -> NDArray[np.float64]:
    """1/n + 1/m, NaN where a side has no rows, so that an empty window never gets a p-value."""
    n, m = np.asarray(reference_rows, dtype=np.float64), np.asarray(current_rows, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((n > 0) & (m > 0), 1 / n + 1 / m, np.nan)


def _chi_square_tail(statistic: ArrayLike, degrees: ArrayLike) -> NDArray[np.float64]:
    """P(X >= statistic) for chi-square. With 0 degrees X is the constant 0; with fewer there is no X."""
    x, degrees = np.asarray(statistic, dtype=np.float64), np.asarray(degrees, dtype=np.float64)
    constant = np.where(np.isnan(x), np.nan, np.where(x <= 0, 1.0, 0.0))
    tail = np.where(degrees == 0, constant, chdtrc(np.maximum(degrees, 1), x))
    return np.where(degrees < 0, np.nan, tail)


def _chi_square_quantile(probability: ArrayLike, degrees: ArrayLike) -> NDArray[np.float64]:
    degrees = np.asarray(degrees, dtype=np.float64)
    upper = chdtri(np.maximum(degrees, 1), 1 - np.asarray(probability, dtype=np.float64))
    return np.where(degrees < 0, np.nan, np.where(degrees == 0, 0.0, upper))


def psi_p_value(
    value: ArrayLike, *, reference_rows: ArrayLike, current_rows: ArrayLike, bins: ArrayLike
) -> NDArray[np.float64]:
    """Probability that two samples of one distribution have a population stability index of at least `value`.

    Parameters
    ----------
    value : shape (...), PSI in nats.
    reference_rows, current_rows : broadcastable, rows on each side.
    bins : broadcastable, number of bins occupied on either side.

    Returns
    -------
    Shape (...), 0 to 1; small means a change. NaN where a side has no rows, no bin is occupied or the value is NaN.
    With one bin PSI can only be 0, and 0 has the p-value 1.

    Notes
    -----
    Under no change PSI follows (1/n + 1/m) * chi2(bins - 1) to second order, for independent rows. Simulated with
    10 bins and a pseudocount of 0.5, a test at .05 rejects 3.3 % of the time at 40 rows on the smaller side, 4.5 % at
    100 and 4.9 % at 1,000; less where some bins are rare. Smoothing errs towards silence.

    References
    ----------
    Yurdakul and Naranjo (2020), Statistical properties of the population stability index.

    Examples
    --------
    With 3 bins the tail of chi-square is exp(-x / 2), and x = 2 ln 20 leaves 1 in 20 above:

    >>> round(float(psi_p_value(2 * np.log(20) / 500, reference_rows=1000, current_rows=1000, bins=3)), 12)
    0.05
    """
    scale = _sampling_variance(reference_rows, current_rows)
    return _chi_square_tail(np.asarray(value) / scale, np.asarray(bins) - 1)


def psi_critical_value(
    probability: ArrayLike, *, reference_rows: ArrayLike, current_rows: ArrayLike, bins: ArrayLike
) -> NDArray[np.float64]:
    """Population stability index, in nats, that two samples of one distribution stay below with `probability`.

    Parameters
    ----------
    probability : broadcastable, 0 to 1, such as 0.95 for one false alarm in twenty.
    reference_rows, current_rows, bins : as in `psi_p_value`.

    Returns
    -------
    Shape (...), 0 to inf. NaN where a side has no rows or no bin is occupied.

    Examples
    --------
    >>> limit = psi_critical_value(0.95, reference_rows=1000, current_rows=1000, bins=3)
    >>> round(float(limit / (2 * np.log(20) / 500)), 9)
    1.0
    """
    scale = _sampling_variance(reference_rows, current_rows)
    return np.asarray(scale * _chi_square_quantile(probability, np.asarray(bins) - 1))


def jensen_shannon_p_value(
    value: ArrayLike, *, reference_rows: ArrayLike, current_rows: ArrayLike, bins: ArrayLike
) -> NDArray[np.float64]:
    """Probability that two samples of one distribution have a Jensen-Shannon divergence of at least `value` nats.

    Parameters
    ----------
    value : shape (...), divergence in nats (not the distance).
    reference_rows, current_rows, bins : as in `psi_p_value`.

    Returns
    -------
    Shape (...), 0 to 1; small means a change. NaN as in `psi_p_value`.

    Notes
    -----
    The divergence is PSI / 8 to second order, hence (1/n + 1/m) * chi2(bins - 1) / 8. Being bounded it falls behind
    PSI / 8 in thin bins: a test at .05 rejects 1.9 % of the time at 40 rows in 10 bins, 4 % at 100, 4.8 % at 1,000.

    References
    ----------
    Grosse et al. (2002), Analysis of symbolic sequences using the Jensen-Shannon divergence, section II.

    Examples
    --------
    >>> round(float(jensen_shannon_p_value(2 * np.log(20) / 4000, reference_rows=1000, current_rows=1000, bins=3)), 12)
    0.05
    """
    return psi_p_value(8 * np.asarray(value), reference_rows=reference_rows, current_rows=current_rows, bins=bins)


def jensen_shannon_critical_value(
    probability: ArrayLike, *, reference_rows: ArrayLike, current_rows: ArrayLike, bins: ArrayLike
) -> NDArray[np.float64]:
    """Jensen-Shannon divergence, in nats, that two samples of one distribution stay below with `probability`.

    Parameters and result are those of `psi_critical_value`, whose eighth part this is.

    Examples
    --------
    >>> limit = jensen_shannon_critical_value(0.95, reference_rows=1000, current_rows=1000, bins=3)
    >>> round(float(limit / (2 * np.log(20) / 4000)), 9)
    1.0
    """
    critical = psi_critical_value(probability, reference_rows=reference_rows, current_rows=current_rows, bins=bins)
    return np.asarray(critical / 8)


def ks_p_value(distance: ArrayLike, *, reference_rows: ArrayLike, current_rows: ArrayLike) -> NDArray[np.float64]:
    """Probability that two samples of one distribution are at least `distance` apart by Kolmogorov-Smirnov.

    Parameters
    ----------
    distance : shape (...), 0 to 1.
    reference_rows, current_rows : broadcastable, rows on each side.

    Returns
    -------
    Shape (...), 0 to 1; small means a change. NaN where a side has no rows or the distance is NaN.

    Notes
    -----
    Kolmogorov's limit at (s + 0.12 + 0.11 / s) * distance with s = sqrt(n * m / (n + m)). Against the exact
    distribution a test at .05 rejects 4 to 5 % of the time from 100 rows on the smaller side, .0521 for two samples of
    200. With a distance read from bins, and for values with ties, it is conservative: the distance of the rows
    is larger.

    References
    ----------
    Smirnov (1948), Table for estimating the goodness of fit of empirical distributions; Stephens (1970), Use of the
    Kolmogorov-Smirnov, Cramer-von Mises and related statistics without extensive tables; Noether (1963), Note on the
    Kolmogorov statistic in the discrete case.

    Examples
    --------
    >>> float(ks_p_value(0.0, reference_rows=1000, current_rows=100))
    1.0
    """
    root = 1 / np.sqrt(_sampling_variance(reference_rows, current_rows))
    return np.asarray(kolmogorov((root + 0.12 + 0.11 / root) * np.asarray(distance)))


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
        return float("nan"), float("nan")
    result = ks_2samp(first, second)
    return float(result.statistic), float(result.pvalue)


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
    correction. It wants 5 expected rows in nearly every cell; merge rarer categories first.

    References
    ----------
    Pearson (1911), On the probability that two independent distributions of frequency are really samples from the
    same population.

    Examples
    --------
    >>> statistic, degrees, p_value = chi_square_two_sample([20, 10, 0], [10, 20, 0])
    >>> round(float(statistic), 9), int(degrees), round(float(p_value), 4)
    (6.666666667, 1, 0.0098)
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
    return statistic, degrees, _chi_square_tail(statistic, degrees)


def prediction_limit(
    distances: ArrayLike, *, independent: ArrayLike, probability: ArrayLike = 0.95
) -> NDArray[np.float64]:
    """Upper limit for the distance of one new block, in the unit of the distances, learnt from blocks of the reference.

    Parameters
    ----------
    distances : shape (..., blocks), positive; how far each block of the reference lies from the rest of it. Blocks may
        overlap.
    independent : broadcastable, how many blocks would fit side by side; at least 2, not necessarily whole.
    probability : broadcastable, 0 to 1, that one new block stays below the limit when nothing changed.

    Returns
    -------
    Shape (...), 0 to inf. NaN with fewer than 2 independent blocks or a NaN distance.

    Notes
    -----
    exp(mean + t * sd * sqrt(1 + 1 / independent)), mean and sd of the logarithms, t the quantile of Student's
    distribution with independent - 1 degrees. Exact when distances are log-normal and blocks do not overlap. The
    variance is scaled by independent / (independent - 1), which for separate blocks is the usual n - 1 and for
    overlapping ones undoes what their likeness to each other hides. A limit from 2 or 3 blocks is valid but wide:
    t is 6.3 and 2.9 at .95.

    References
    ----------
    Hahn (1969), Factors for calculating two-sided prediction intervals for samples from a normal distribution; Hahn
    (1970), Additional factors for calculating prediction intervals.

    Examples
    --------
    Two blocks with logarithms -1 and 1 have mean 0 and sd sqrt(2); t(1) is 1 at 3/4, so the limit is exp(sqrt(3)):

    >>> limit = prediction_limit([np.exp(-1), np.exp(1)], independent=2, probability=0.75)
    >>> round(float(np.log(limit) ** 2), 9)
    3.0
    """
    mean, variance = log_moments(distances)
    return prediction_limit_from_moments(mean, variance, independent=independent, probability=probability)


def log_moments(distances: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of the natural logarithms of distances, shape (..., blocks): what `prediction_limit` needs.

    The variance divides by the number of blocks. Distances below 1e-12 count as 1e-12.

    Examples
    --------
    >>> mean, variance = log_moments([np.exp(-1), np.exp(1)])
    >>> float(mean), float(variance)
    (0.0, 1.0)
    """
    logarithms = np.log(np.maximum(np.asarray(distances, dtype=np.float64), SMALLEST_DISTANCE))
    return np.asarray(logarithms.mean(axis=-1)), np.asarray(logarithms.var(axis=-1))


def prediction_limit_from_moments(
    log_mean: ArrayLike, log_variance: ArrayLike, *, independent: ArrayLike, probability: ArrayLike = 0.95
) -> NDArray[np.float64]:
    """Upper limit for the distance of one new block, from the moments that `log_moments` gives; see `prediction_limit`.

    Examples
    --------
    >>> float(np.log(prediction_limit_from_moments(0.0, 1.0, independent=2, probability=0.75)) ** 2).__round__(9)
    3.0
    """
    enough = np.asarray(independent, dtype=np.float64)
    enough = np.where(enough >= 2, enough, np.nan)
    deviation = np.sqrt(np.asarray(log_variance, dtype=np.float64) * enough / (enough - 1))
    factor = stdtrit(enough - 1, probability) * np.sqrt(1 + 1 / enough)
    return np.asarray(np.exp(np.asarray(log_mean, dtype=np.float64) + factor * deviation))
