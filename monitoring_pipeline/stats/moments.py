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
    """Probability that two samples of one distribution have means at least this far apart, in either direction.

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
    Student's t: difference / sqrt(variance of both * (1 / n + 1 / m)) with n + m - 2 degrees of freedom. For
    independent rows of which nothing changed: a larger spread speaks against that as well. Letting the spreads differ
    (Welch) leaves the spread to the smaller side, which with skewed values is small whenever its mean is. Rejections in
    percent at .05 / .01 with 20,000 reference rows, 8,000 simulations:

    ===================  ===========  ===========  ==========
    values               50 rows      100 rows     1,000 rows
    ===================  ===========  ===========  ==========
    normal               4.9 / 0.9    5.1 / 1.1    4.9 / 0.9
    exponential          4.6 / 1.1    4.8 / 0.9    5.2 / 1.0
    log-normal, 1        4.2 / 1.6    4.8 / 1.5    5.2 / 1.1
    t, 2.5 degrees       5.2 / 2.0    4.2 / 1.5    5.2 / 1.4
    log-normal, Welch    9.7 / 4.6    8.1 / 3.5    5.4 / 1.4
    ===================  ===========  ===========  ==========

    References
    ----------
    Student (1908), The probable error of a mean; Fisher (1925), Applications of "Student's" distribution.

    Examples
    --------
    Equal spreads and 2 rows a side give 2 degrees, where P(|t| >= sqrt(2 / 3)) is 1/2:

    >>> sizes = {"reference_std": 1.0, "current_std": 1.0, "reference_rows": 2, "current_rows": 2}
    >>> round(float(mean_shift_p_value(0.0, np.sqrt(2 / 3), **sizes)), 12)
    0.5
    """
    n, m = np.asarray(reference_rows, dtype=np.float64), np.asarray(current_rows, dtype=np.float64)
    n, m = np.where(n >= 2, n, np.nan), np.where(m >= 2, m, np.nan)
    squares = (n - 1) * np.square(reference_std) + (m - 1) * np.square(current_std)
    change = np.asarray(current_mean, dtype=np.float64) - np.asarray(reference_mean, dtype=np.float64)
    t = np.abs(_ratio(change, np.sqrt(squares / (n + m - 2) * (1 / n + 1 / m)), both_zero=0.0))
    return np.asarray(2 * stdtr(n + m - 2, -t))


def _ratio(top: NDArray[np.float64], bottom: ArrayLike, *, both_zero: float) -> NDArray[np.float64]:
    below = np.asarray(bottom, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((top == 0) & (below == 0), both_zero, top / below)
