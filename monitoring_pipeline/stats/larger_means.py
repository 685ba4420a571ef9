"""Whether some rows have a larger mean than others, for many groups of rows at once, from sums alone.

Add a one-sided comparison of two groups here. Keep corrections for many comparisons out: they belong in corrections.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, stdtr

FloatArray = NDArray[np.float64]


def welch_larger_mean(
    rows: ArrayLike,
    sums: ArrayLike,
    squares: ArrayLike,
    *,
    other_rows: ArrayLike,
    other_sums: ArrayLike,
    other_squares: ArrayLike,
) -> tuple[FloatArray, FloatArray]:
    """Welch's t-test of a larger mean, with no variance smaller than that of both groups together.

    Parameters
    ----------
    rows, sums, squares : broadcastable; of a group, how many rows, the sum of their values and of their squares.
    other_rows, other_sums, other_squares : broadcastable, the same of the rows it is compared with, which it is not
        part of.

    Returns
    -------
    Statistic (positive where the group's mean is larger) and one-sided p-value, 0 to 1. NaN and 1 where a side has
    fewer than 2 rows, or all values are equal.

    Notes
    -----
    (mean - other mean) / sqrt(v / n + w / m), with the degrees of freedom of Welch. A few rows that happen to have
    equal values would otherwise seem certain of their mean. Large values that are rare make it cautious, not rash: they
    widen the variance of the group that has them.

    References
    ----------
    Welch (1947), The generalization of Student's problem when several different population variances are involved.

    Examples
    --------
    Ten rows of mean 1 and ten of mean 0, all with variance 10/9 around their own mean:

    >>> t, p = welch_larger_mean(10, 10.0, 20.0, other_rows=10, other_sums=0.0, other_squares=10.0)
    >>> round(float(t) ** 2, 9), bool(p < 0.05)
    (3.8, True)
    """
    n, m = np.asarray(rows, np.float64), np.asarray(other_rows, np.float64)
    s, r = np.asarray(sums, np.float64), np.asarray(other_sums, np.float64)
    q, o = np.asarray(squares, np.float64), np.asarray(other_squares, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        both = _variance(n + m, s + r, q + o)
        v, w = (np.maximum(each, both) for each in (_variance(n, s, q), _variance(m, r, o)))
        error = v / n + w / m
        t = (s / n - r / m) / np.sqrt(error)
        freedom = error**2 / ((v / n) ** 2 / (n - 1) + (w / m) ** 2 / (m - 1))
        usable = (n >= 2) & (m >= 2) & (error > 0)
        p = stdtr(np.where(usable, freedom, 1.0), np.where(usable, -t, 0.0))
    return np.where(usable, t, np.nan), np.where(usable, p, 1.0)


def _variance(rows: FloatArray, sums: FloatArray, squares: FloatArray) -> FloatArray:
    return np.asarray(np.maximum(squares - sums**2 / rows, 0.0) / (rows - 1))


def fisher_larger_share(
    hits: ArrayLike, rows: ArrayLike, *, other_hits: ArrayLike, other_rows: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Fisher's exact test of a larger share of hits, by a bound that is close where it matters.

    Parameters
    ----------
    hits, rows : broadcastable, counts of a group.
    other_hits, other_rows : broadcastable, counts of the rows it is compared with, which it is not part of.

    Returns
    -------
    Statistic (the normal one, positive where the group's share is larger) and one-sided p-value, 0 to 1. The p-value is
    never below Fisher's, and at most a ninth above it where the statistic is beyond 3. NaN and 1 where a side has no
    rows, or all or none of the rows are hits.

    Notes
    -----
    Given all hits, those of the group are hypergeometric. Each further hit is less likely than the one before by a
    factor that falls, so that the tail is at most P(k) / (1 - P(k + 1) / P(k)), a geometric series.

    References
    ----------
    Fisher (1934), Statistical methods for research workers, 5th edition, section 21.02.

    Examples
    --------
    All of three rows are hits, none of three others is: one way of 20.

    >>> _, p = fisher_larger_share(3, 3, other_hits=0, other_rows=3)
    >>> round(float(p), 9)
    0.05
    """
    k, n = np.asarray(hits, np.float64), np.asarray(rows, np.float64)
    whole, total = k + np.asarray(other_hits, np.float64), n + np.asarray(other_rows, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = n * whole / total
        spread = expected * (1 - whole / total) * (total - n) / (total - 1)
        z = (k - expected) / np.sqrt(spread)
        log = _choices(whole, k) + _choices(total - whole, n - k) - _choices(total, n)
        ratio = (whole - k) * (n - k) / ((k + 1) * (total - whole - n + k + 1))
        bound = np.exp(np.minimum(log, 0.0)) / (1 - ratio)
    usable = spread > 0
    return np.where(usable, z, np.nan), np.where(usable & (ratio < 1), np.minimum(bound, 1.0), 1.0)


def _choices(of: FloatArray, taken: FloatArray) -> FloatArray:
    """Return the logarithm of the binomial coefficient."""
    return np.asarray(gammaln(of + 1) - gammaln(taken + 1) - gammaln(of - taken + 1))
