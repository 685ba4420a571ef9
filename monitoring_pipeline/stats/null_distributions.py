"""How large a distance gets when nothing changed: p-values and critical values.

Add a function here when it answers "how often would no change at all give this much". Keep the distances out, they
belong in distances.py, L-infinity's out, they belong in largest_differences.py, tests that start from rows or counts,
they belong in hypothesis_tests.py, and verdicts, they belong in judge. All assume independent rows; where rows are
autocorrelated they reject too often, and block_limits.py is the answer.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, chdtri, gammaincc, gammainccinv, kolmogorov

from monitoring_pipeline.stats.divergence_moments import Divergence, null_moments


def _sampling_variance(reference_rows: ArrayLike, current_rows: ArrayLike) -> NDArray[np.float64]:
    """1/n + 1/m, NaN where a side has no rows, so that an empty window never gets a p-value."""
    n, m = np.asarray(reference_rows, dtype=np.float64), np.asarray(current_rows, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((n > 0) & (m > 0), 1 / n + 1 / m, np.nan)


def chi_square_tail(statistic: ArrayLike, degrees: ArrayLike) -> NDArray[np.float64]:
    """Probability that a chi-square variable is at least `statistic`.

    With 0 degrees it is the constant 0; below, as where no bin is occupied, the answer is NaN.

    Examples
    --------
    >>> round(float(chi_square_tail(2 * np.log(20), 2)), 12), float(chi_square_tail(0.0, 0))
    (0.05, 1.0)
    """
    x, degrees = np.asarray(statistic, dtype=np.float64), np.asarray(degrees, dtype=np.float64)
    constant = np.where(np.isnan(x), np.nan, np.where(x <= 0, 1.0, 0.0))
    tail = np.where(degrees == 0, constant, chdtrc(np.maximum(degrees, 1), x))
    return np.where(degrees < 0, np.nan, tail)


def _chi_square_quantile(probability: ArrayLike, degrees: ArrayLike) -> NDArray[np.float64]:
    degrees = np.asarray(degrees, dtype=np.float64)
    upper = chdtri(np.maximum(degrees, 1), 1 - np.asarray(probability, dtype=np.float64))
    return np.where(degrees < 0, np.nan, np.where(degrees == 0, 0.0, upper))


def _p_value(
    divergence: Divergence,
    value: ArrayLike,
    sizes: tuple[ArrayLike, ArrayLike],
    bins: ArrayLike,
    pooled: ArrayLike | None,
) -> NDArray[np.float64]:
    """Upper tail of a divergence on the scale of PSI: chi-square, or a gamma with the moments of these counts."""
    statistic = np.asarray(value, dtype=np.float64) / _sampling_variance(*sizes)
    plain = chi_square_tail(statistic, np.asarray(bins) - 1)
    if pooled is None:
        return plain
    mean, variance = null_moments(divergence, pooled, reference_rows=sizes[0], current_rows=sizes[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        tail = gammaincc(mean**2 / variance, np.maximum(statistic, 0.0) * mean / variance)
    return np.where((np.asarray(bins) > 1) & np.isfinite(statistic), tail, plain)


def _critical_value(
    divergence: Divergence,
    probability: ArrayLike,
    sizes: tuple[ArrayLike, ArrayLike],
    bins: ArrayLike,
    pooled: ArrayLike | None,
) -> NDArray[np.float64]:
    scale = _sampling_variance(*sizes)
    plain = np.asarray(scale * _chi_square_quantile(probability, np.asarray(bins) - 1))
    if pooled is None:
        return plain
    mean, variance = null_moments(divergence, pooled, reference_rows=sizes[0], current_rows=sizes[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        upper = gammainccinv(mean**2 / variance, 1 - np.asarray(probability, dtype=np.float64)) * variance / mean
    return np.where(np.asarray(bins) > 1, scale * upper, plain)


def psi_p_value(
    value: ArrayLike,
    *,
    reference_rows: ArrayLike,
    current_rows: ArrayLike,
    bins: ArrayLike,
    pooled: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Probability that two samples of one distribution have a population stability index of at least `value`.

    Parameters
    ----------
    value : shape (...), PSI in nats, of proportions smoothed by half a row a bin (`smoothed_pair`).
    reference_rows, current_rows : shapes (...), rows on each side.
    bins : shape (...), number of bins occupied on either side.
    pooled : shape (..., bins), rows per bin of both sides together; needed below 50 expected rows a bin.

    Returns
    -------
    Shape (...), 0 to 1; small means a change. NaN where a side has no rows, no bin is occupied or the value is NaN.
    With one bin PSI can only be 0, and 0 has the p-value 1.

    Notes
    -----
    Under no change PSI follows (1/n + 1/m) * chi2(bins - 1) to second order, for independent rows. In thin bins
    smoothing makes it smaller: with 20,000 rows against 50 in 20 equal bins a test at .05 rejects 0.4 % of the time.
    With `pooled` it is a gamma distribution with the mean and variance of `null_moments` instead:

    Rejections in percent at .05 / .01, 20,000 simulations with 20,000 reference rows, so that 4.7 to 5.3 and 0.86 to
    1.14 are on the mark (unequal: shares in proportion to 1, 1/2, 1/3 ...):

    ============  ==========  ==========  ==========  ==========  ==============  ==============
    current rows  2 bins      5 bins      10 bins     20 bins     10, unequal     20, unequal
    ============  ==========  ==========  ==========  ==========  ==============  ==============
    50            5.2 / 0.95  4.8 / 1.01  5.5 / 1.12  4.5 / 0.80  5.0 / 0.98      5.1 / 1.21
    100           5.0 / 1.04  5.1 / 1.08  4.9 / 0.99  5.4 / 1.22  5.1 / 1.03      4.7 / 1.08
    500           5.0 / 0.95  5.0 / 1.04  4.8 / 0.85  4.9 / 1.02  4.9 / 0.97      5.1 / 1.14
    1,000         5.0 / 1.00  5.0 / 1.06  5.1 / 0.97  5.0 / 1.00  4.8 / 1.01      5.2 / 0.90
    10,000        4.9 / 1.07  5.0 / 1.02  4.9 / 0.97  5.0 / 0.97  5.3 / 0.94      5.2 / 1.10
    without, 50   5.0 / 0.82  4.4 / 1.07  4.2 / 0.86  0.4 / 0.02  2.4 / 0.38      0.2 / 0.01
    ============  ==========  ==========  ==========  ==========  ==============  ==============

    What is off the mark at 50 and 100 rows is the coarseness of few rows in equal bins: a gamma with the simulated
    moments is as far off. Two unequal categories (2 to 1) at 50 rows reject 5.6 %.

    References
    ----------
    Yurdakul and Naranjo (2020), Statistical properties of the population stability index.

    Examples
    --------
    With 3 bins the tail of chi-square is exp(-x / 2), and x = 2 ln 20 leaves 1 in 20 above:

    >>> round(float(psi_p_value(2 * np.log(20) / 500, reference_rows=1000, current_rows=1000, bins=3)), 12)
    0.05
    """
    return _p_value("psi", value, (reference_rows, current_rows), bins, pooled)


def psi_critical_value(
    probability: ArrayLike,
    *,
    reference_rows: ArrayLike,
    current_rows: ArrayLike,
    bins: ArrayLike,
    pooled: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Population stability index, in nats, that two samples of one distribution stay below with `probability`.

    Parameters
    ----------
    probability : shape (...), 0 to 1, such as 0.95 for one false alarm in twenty.
    reference_rows, current_rows, bins, pooled : as in `psi_p_value`.

    Returns
    -------
    Shape (...), 0 to inf. NaN where a side has no rows or no bin is occupied.

    Examples
    --------
    >>> limit = psi_critical_value(0.95, reference_rows=1000, current_rows=1000, bins=3)
    >>> round(float(limit / (2 * np.log(20) / 500)), 9)
    1.0
    """
    return _critical_value("psi", probability, (reference_rows, current_rows), bins, pooled)


def jensen_shannon_p_value(
    value: ArrayLike,
    *,
    reference_rows: ArrayLike,
    current_rows: ArrayLike,
    bins: ArrayLike,
    pooled: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Probability that two samples of one distribution have a Jensen-Shannon divergence of at least `value` nats.

    Parameters
    ----------
    value : shape (...), divergence in nats (not the distance), of proportions smoothed by half a row a bin.
    reference_rows, current_rows, bins, pooled : as in `psi_p_value`.

    Returns
    -------
    Shape (...), 0 to 1; small means a change. NaN as in `psi_p_value`.

    Notes
    -----
    The divergence is PSI / 8 to second order, hence (1/n + 1/m) * chi2(bins - 1) / 8. Being bounded it falls behind
    PSI / 8 in thin bins: 20,000 rows against 50 in 20 equal bins reject .1 % of the time at .05. `pooled` puts that
    right, with sizes within .1 % of those in the table of `psi_p_value` at .05.

    References
    ----------
    Grosse et al. (2002), Analysis of symbolic sequences using the Jensen-Shannon divergence, section II.

    Examples
    --------
    >>> round(float(jensen_shannon_p_value(2 * np.log(20) / 4000, reference_rows=1000, current_rows=1000, bins=3)), 12)
    0.05
    """
    return _p_value("jensen_shannon", 8 * np.asarray(value), (reference_rows, current_rows), bins, pooled)


def jensen_shannon_critical_value(
    probability: ArrayLike,
    *,
    reference_rows: ArrayLike,
    current_rows: ArrayLike,
    bins: ArrayLike,
    pooled: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Jensen-Shannon divergence, in nats, that two samples of one distribution stay below with `probability`.

    Parameters and result are those of `psi_critical_value`, whose eighth part this is in large samples.

    Examples
    --------
    >>> limit = jensen_shannon_critical_value(0.95, reference_rows=1000, current_rows=1000, bins=3)
    >>> round(float(limit / (2 * np.log(20) / 4000)), 9)
    1.0
    """
    return _critical_value("jensen_shannon", probability, (reference_rows, current_rows), bins, pooled) / 8


def hellinger_p_value(
    distance: ArrayLike,
    *,
    reference_rows: ArrayLike,
    current_rows: ArrayLike,
    bins: ArrayLike,
    pooled: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Probability that two samples of one distribution are at least `distance` apart by Hellinger.

    Parameters
    ----------
    distance : shape (...), 0 to 1, of proportions smoothed by half a row a bin.
    reference_rows, current_rows, bins, pooled : as in `psi_p_value`.

    Returns
    -------
    Shape (...), 0 to 1; small means a change. NaN as in `psi_p_value`.

    Notes
    -----
    The squared distance is PSI / 8 to second order, hence (1/n + 1/m) * chi2(bins - 1) / 8. In thin bins it falls
    between PSI and Jensen-Shannon, and `pooled` puts it right as it does there.

    References
    ----------
    Pardo (2006), Statistical inference based on divergence measures, theorem 3.1.

    Examples
    --------
    >>> distance = np.sqrt(2 * np.log(20) / 4000)
    >>> round(float(hellinger_p_value(distance, reference_rows=1000, current_rows=1000, bins=3)), 12)
    0.05
    """
    squared = 8 * np.asarray(distance, dtype=np.float64) ** 2
    return _p_value("hellinger", squared, (reference_rows, current_rows), bins, pooled)


def hellinger_critical_value(
    probability: ArrayLike,
    *,
    reference_rows: ArrayLike,
    current_rows: ArrayLike,
    bins: ArrayLike,
    pooled: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Hellinger distance that two samples of one distribution stay below with `probability`.

    Parameters and result are those of `psi_critical_value`.

    Examples
    --------
    >>> limit = hellinger_critical_value(0.95, reference_rows=1000, current_rows=1000, bins=3)
    >>> round(float(limit**2 / (2 * np.log(20) / 4000)), 9)
    1.0
    """
    return np.sqrt(_critical_value("hellinger", probability, (reference_rows, current_rows), bins, pooled) / 8)


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
