"""How far the mean and the standard deviation of a column moved, and whether chance explains it.

Add a comparison here when it needs nothing but rows, means and standard deviations. Keep what needs bins out, it
belongs in distances.py.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr


def mean_shift(reference_mean: ArrayLike, current_mean: ArrayLike, reference_std: ArrayLike) -> NDArray[np.float64]:
    """Change of the mean in standard deviations of the reference.

    Parameters
    ----------
    reference_mean, current_mean, reference_std : broadcastable, in the unit of the values.

    Returns
    -------
    Shape (...), -inf to inf, positive where the mean rose. Where the reference is constant, 0 if the mean is the same
    and infinite if it is not. NaN where an argument is NaN.

    Examples
    --------
    >>> mean_shift([10.0, 3.0, 3.0], [9.0, 3.0, 4.0], [2.0, 0.0, 0.0]).tolist()
    [-0.5, 0.0, inf]
    """
    change = np.asarray(current_mean, dtype=np.float64) - np.asarray(reference_mean, dtype=np.float64)
    return _ratio(change, reference_std, both_zero=0.0)


def std_ratio(reference_std: ArrayLike, current_std: ArrayLike) -> NDArray[np.float64]:
    """Current standard deviation over the reference's.

    Parameters
    ----------
    reference_std, current_std : broadcastable, in the unit of the values.

    Returns
    -------
    Shape (...), 0 (became constant) to inf (was constant); 1 means the same spread, also where both are constant.

    Examples
    --------
    >>> std_ratio([2.0, 2.0, 0.0, 0.0], [3.0, 0.0, 0.0, 1.0]).tolist()
    [1.5, 0.0, 1.0, inf]
    """
    return _ratio(np.asarray(current_std, dtype=np.float64), reference_std, both_zero=1.0)


def mean_shift_p_value(
    reference_mean: ArrayLike,
    current_mean: ArrayLike,
    *,
    reference_std: ArrayLike,
    current_std: ArrayLike,
    reference_rows: ArrayLike,
    current_rows: ArrayLike,
) -> NDArray[np.float64]:
    """Probability that two samples with one mean have means at least this far apart, in either direction.

    Parameters
    ----------
    reference_mean, current_mean, reference_std, current_std : broadcastable, in the unit of the values. The standard
        deviations divide by rows - 1.
    reference_rows, current_rows : broadcastable, finite values on each side.

    Returns
    -------
    Shape (...), 0 to 1; small means a change. NaN with fewer than 2 rows on a side. Where both sides are constant, 1 if
    they agree and 0 if they do not.

    Notes
    -----
    Welch's t: (difference) / sqrt(s^2 / n + t^2 / m) with Satterthwaite's degrees of freedom; the spreads may differ.
    For independent rows. Skewed values want some 100 rows on the smaller side before the mean is near normal.

    References
    ----------
    Welch (1947), The generalization of Student's problem when several different population variances are involved;
    Satterthwaite (1946), An approximate distribution of estimates of variance components.

    Examples
    --------
    Equal spreads and 2 rows a side give 2 degrees, where P(|t| >= sqrt(2 / 3)) is 1/2:

    >>> sizes = {"reference_std": 1.0, "current_std": 1.0, "reference_rows": 2, "current_rows": 2}
    >>> round(float(mean_shift_p_value(0.0, np.sqrt(2 / 3), **sizes)), 12)
    0.5
    """
    n, m = np.asarray(reference_rows, dtype=np.float64), np.asarray(current_rows, dtype=np.float64)
    n, m = np.where(n >= 2, n, np.nan), np.where(m >= 2, m, np.nan)
    first, second = np.asarray(reference_std) ** 2 / n, np.asarray(current_std) ** 2 / m
    change = np.asarray(current_mean, dtype=np.float64) - np.asarray(reference_mean, dtype=np.float64)
    t = np.abs(_ratio(change, np.sqrt(first + second), both_zero=0.0))
    degrees = _ratio((first + second) ** 2, first**2 / (n - 1) + second**2 / (m - 1), both_zero=1.0)
    return np.asarray(2 * stdtr(degrees, -t))


def _ratio(top: NDArray[np.float64], bottom: ArrayLike, *, both_zero: float) -> NDArray[np.float64]:
    below = np.asarray(bottom, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((top == 0) & (below == 0), both_zero, top / below)
