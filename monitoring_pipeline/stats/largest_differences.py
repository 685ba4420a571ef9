"""How large the largest difference of any one proportion (L-infinity) gets when nothing changed.

Add a function here when it concerns the largest of many dependent differences. Keep the distance itself out, it belongs
in distances.py, and distances that are sums over bins, they belong in null_distributions.py.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, ndtr, ndtri, owens_t


def l_infinity_p_value(
    value: ArrayLike, *, reference_rows: ArrayLike, current_rows: ArrayLike, pooled: ArrayLike
) -> NDArray[np.float64]:
    """Probability that some proportion of two samples of one distribution differs by at least `value`.

    Parameters
    ----------
    value : shape (...), 0 to 1, the L-infinity distance of unsmoothed proportions.
    reference_rows, current_rows : shapes (...), rows on each side.
    pooled : shape (..., bins), rows per bin of both sides together.

    Returns
    -------
    Shape (...), 0 to 1; small means a change. NaN where a side has no rows or the value is NaN.

    Notes
    -----
    Given the pooled counts a bin's rows on the smaller side are hypergeometric; their tails are those of the binomial
    distribution with the same mean and variance. The bins are joined as if, once it is known whether the heaviest bin
    exceeds `value`, the others did so independently; heaviest and other bin follow a bivariate normal distribution.

    Rejections in percent at .05 / .01, 20,000 simulations (3,000 for 1,000 bins) with 20,000 reference rows; few rows
    know few distances, and a test that may not exceed its level stays below it between two of them:

    ============  ==========  ==========  ==========  ============  ============  =============
    current rows  2 bins      5 bins      20 bins     1,000 bins    20, unequal   1,000, uneq.
    ============  ==========  ==========  ==========  ============  ============  =============
    50            4.6 / 0.69  4.7 / 0.97  5.0 / 1.07  4.9 / 1.30    5.0 / 0.76    5.7 / 0.97
    500           4.8 / 1.01  4.9 / 1.04  5.1 / 0.97  4.3 / 0.87    4.8 / 0.94    5.3 / 1.40
    1,000         4.6 / 0.95  4.8 / 0.97  5.1 / 1.00  4.3 / 0.93    4.8 / 1.03    4.2 / 0.70
    10,000        4.7 / 0.84  5.0 / 0.88  4.8 / 0.95  4.4 / 0.97    5.0 / 0.94    4.4 / 0.87
    ============  ==========  ==========  ==========  ============  ============  =============

    Against 1,000 reference rows 1,000 equal bins reject 0.9 to 1.9 %: hardly three distances ever occur, and the
    p-value of each is within 13 % of its true share. With fewer than some 100 rows on both sides p-values below .01 are
    off by a quarter, with 20 by half: use `permutation_p_value`.

    References
    ----------
    Worsley (1982), An improved Bonferroni inequality and applications; Owen (1956), Tables for computing bivariate
    normal probabilities.

    Examples
    --------
    All 4 rows of one side in one bin and the other 4 in another: 2 of the 70 ways to deal the rows out.

    >>> p_value = l_infinity_p_value(1.0, reference_rows=4, current_rows=4, pooled=[4, 4])
    >>> round(float(p_value), 2)
    0.03
    """
    counts, distance = np.asarray(pooled, dtype=np.float64), np.asarray(value, dtype=np.float64)[..., None]
    n, m = (np.asarray(rows, dtype=np.float64)[..., None] for rows in (reference_rows, current_rows))
    sides = (n > 0) & (m > 0)
    total = np.where(sides, n + m, np.nan)
    smaller, share = np.minimum(n, m), counts / total
    with np.errstate(divide="ignore", invalid="ignore"):
        alone = _either_tail(distance * n * m / total, share, smaller, np.maximum(n, m))
        odds = np.sqrt(np.where(share < 1, share / (1 - share), 0.0))
        heaviest = share.argmax(axis=-1)[..., None]
        heaviest = np.broadcast_to(heaviest, (*alone.shape[:-1], 1))
        first = np.take_along_axis(alone, heaviest, axis=-1)
        correlation = -odds * odds.max(axis=-1, keepdims=True)
        both = np.clip(_both_exceed(first, alone, np.clip(correlation, -1 + 1e-12, 0)), 0, np.minimum(first, alone))
        others = np.log1p(-np.minimum((alone - both) / (1 - first), 1.0))
        np.put_along_axis(others, heaviest, np.log1p(-np.minimum(first, 1.0)), axis=-1)
        p_value = -np.expm1(others.sum(axis=-1))
    p_value = np.where(distance[..., 0] <= 0, 1.0, np.where((first >= 1)[..., 0], 1.0, p_value))
    return np.where(sides[..., 0] & ~np.isnan(distance[..., 0]), p_value, np.nan)


def _either_tail(
    gap: NDArray[np.float64], share: NDArray[np.float64], rows: NDArray[np.float64], rest: NDArray[np.float64]
) -> NDArray[np.float64]:
    """P(a bin's rows on the smaller side are `gap` or more off their expectation)."""
    expected = rows * share
    success = np.clip(1 - (1 - share) * rest / np.maximum(rows + rest - 1, 1), 1e-300, 1)
    trials = expected / success
    # The observed count itself must not be lost to rounding.
    above, below = np.ceil(expected + gap - 1e-6), np.floor(expected - gap + 1e-6)
    most = np.minimum(rows, share * (rows + rest)) + 0.5
    least = np.maximum(0.0, share * (rows + rest) - rest) - 0.5
    upper = betainc(above, np.maximum(trials - above + 1, 1e-9), success)
    lower = betainc(np.maximum(trials - below, 1e-9), below + 1, 1 - success)
    upper = np.where(above > most, 0.0, np.where(above <= 0, 1.0, upper))
    return np.where(share > 0, np.minimum(upper + np.where(below < least, 0.0, lower), 1.0), 0.0)


def _both_exceed(
    first: NDArray[np.float64], second: NDArray[np.float64], correlation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """P(|X| and |Y| exceed what each exceeds alone with the given probabilities), X and Y normal."""
    h, k = (np.maximum(-ndtri(np.clip(each, 1e-300, 1) / 2), 1e-9) for each in (first, second))
    total = np.zeros(np.broadcast(h, k, correlation).shape)
    for r in (correlation, -correlation):
        spread = np.sqrt((1 - r) * (1 + r))
        owen = owens_t(h, (k - r * h) / (h * spread)) + owens_t(k, (h - r * k) / (k * spread))
        total += ndtr(-h) + ndtr(-k) - 2 * owen
    return total


def l_infinity_critical_value(
    probability: ArrayLike, *, reference_rows: ArrayLike, current_rows: ArrayLike, pooled: ArrayLike
) -> NDArray[np.float64]:
    """Smallest L-infinity distance that two samples of one distribution exceed or reach with at most 1 - `probability`.

    Parameters
    ----------
    probability : shape (...), 0 to 1.
    reference_rows, current_rows, pooled : as in `l_infinity_p_value`, which this inverts by bisection.

    Returns
    -------
    Shape (...), 0 to 1; 1 also where no distance is rare enough. NaN where a side has no rows.

    Examples
    --------
    >>> sizes = {"reference_rows": 1e6, "current_rows": 1e6, "pooled": [1e6, 1e6]}
    >>> limit = l_infinity_critical_value(0.95, **sizes)  # 1.96 standard errors of sqrt(1 / 4 * 2 / 1e6)
    >>> round(float(limit / np.sqrt(0.5e-6)), 2)
    1.96
    """
    sizes = {"reference_rows": reference_rows, "current_rows": current_rows, "pooled": pooled}
    level = 1 - np.asarray(probability, dtype=np.float64)
    known = l_infinity_p_value(1.0, **sizes)
    low, high = np.zeros(np.broadcast(level, known).shape), np.ones(np.broadcast(level, known).shape)
    for _ in range(40):
        middle = (low + high) / 2
        rare = l_infinity_p_value(middle, **sizes) <= level
        low, high = np.where(rare, low, middle), np.where(rare, middle, high)
    return np.where(np.isnan(known), np.nan, high)
