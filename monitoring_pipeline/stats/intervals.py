"""Confidence intervals of shares, means and F1 from additive counters.

Add an interval here when it needs counts or moments only. Keep the interval of the AUC out, it needs histograms and
belongs in classification.py; intervals of paired differences belong in paired.py.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

Interval = tuple[NDArray[np.float64], NDArray[np.float64]]


def normal_quantile(confidence: ArrayLike) -> NDArray[np.float64]:
    """Half-width of a two-sided normal interval in standard errors: 1.96 for 0.95.

    Examples
    --------
    >>> round(float(normal_quantile(0.95)), 4)
    1.96
    """
    return np.asarray(ndtri(0.5 + np.asarray(confidence, dtype=np.float64) / 2))


def wilson_interval(successes: ArrayLike, trials: ArrayLike, *, confidence: ArrayLike = 0.95) -> Interval:
    """Wilson's interval of a proportion.

    Parameters
    ----------
    successes, trials : broadcastable, counts; they need not be whole.
    confidence : broadcastable, 0 to 1.

    Returns
    -------
    Low and high, 0 to 1. NaN where there are no trials.

    Notes
    -----
    The proportions p for which |successes / trials - p| is within z standard errors sqrt(p (1 - p) / trials). Holds
    its confidence on average from 5 trials on, at shares of 0 and 1 too; assumes independent trials.

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference; Brown, Cai and DasGupta (2001),
    Interval estimation for a binomial proportion, equation 4.

    Examples
    --------
    No success in n trials: from 0 to z^2 / (n + z^2).

    >>> low, high = wilson_interval(0, 10)
    >>> z_squared = normal_quantile(0.95) ** 2
    >>> float(low), round(float(high / (z_squared / (10 + z_squared))), 12)
    (0.0, 1.0)
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    n = np.where(n > 0, n, np.nan)
    z = normal_quantile(confidence)
    centre = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * np.sqrt(k * (n - k) / n + z**2 / 4)
    # Exact at the ends, where centre and half are equal but for rounding.
    low = np.where(k == 0, centre * 0, centre - half)
    high = np.where(k == n, centre * 0 + 1, centre + half)
    return low, high


def normal_interval(mean: ArrayLike, variance: ArrayLike, *, rows: ArrayLike, confidence: ArrayLike = 0.95) -> Interval:
    """Normal interval of a mean, in the unit of the mean.

    Parameters
    ----------
    mean, variance : broadcastable, of the rows (not of the mean).
    rows : broadcastable, how many rows.
    confidence : broadcastable, 0 to 1.

    Returns
    -------
    Low and high. NaN below 2 rows, where a variance says nothing.

    Notes
    -----
    mean -/+ z * sqrt(variance / rows), for independent rows; from about 30 rows, more for heavy tails.

    Examples
    --------
    >>> low, high = normal_interval(10.0, 4.0, rows=100)
    >>> round(float(high - 10.0), 4), round(float(10.0 - low), 4)
    (0.392, 0.392)
    """
    centre, n = np.asarray(mean, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    half = normal_quantile(confidence) * np.sqrt(np.asarray(variance) / np.where(n >= 2, n, np.nan))
    return np.asarray(centre - half), np.asarray(centre + half)


def f1_interval(
    true_positives: ArrayLike,
    false_positives: ArrayLike,
    false_negatives: ArrayLike,
    *,
    confidence: ArrayLike = 0.95,
) -> Interval:
    """Interval of the F1 score.

    Parameters
    ----------
    true_positives, false_positives, false_negatives : broadcastable, counts.
    confidence : broadcastable, 0 to 1.

    Returns
    -------
    Low and high, 0 to 1. NaN where all three are 0.

    Notes
    -----
    F1 = 2 J / (1 + J), where J = TP / (TP + FP + FN) is a plain proportion of the rows that are positive in truth or
    in prediction; so Wilson's interval of J, mapped, is one of F1. To first order it is the delta method's, with
    variance 4 a b (a + b) / (2 a + b)^4 for a = TP and b = FP + FN, which true negatives do not enter, but it stays
    within 0 and 1 and does not shrink to a point at F1 = 1.

    References
    ----------
    Wilson (1927); Takahashi et al. (2022), Confidence interval for micro-averaged F1 and macro-averaged F1 scores.

    Examples
    --------
    >>> low, high = f1_interval(10, 0, 0)
    >>> z_squared = normal_quantile(0.95) ** 2
    >>> round(float(low / (10 / (10 + z_squared / 2))), 12), float(high)
    (1.0, 1.0)
    """
    hits = np.asarray(true_positives, dtype=np.float64)
    low, high = wilson_interval(
        hits, hits + np.asarray(false_positives) + np.asarray(false_negatives), confidence=confidence
    )
    return 2 * low / (1 + low), 2 * high / (1 + high)
