"""Limits and p-values for the distance of a new block of rows, learnt from the reference's own blocks.

Add a function here when it learns what is ordinary from distances between blocks of one reference. Keep null
distributions for independent rows out, they belong in null_distributions.py. Neighbouring rows are alike in real
columns, so only blocks of the same length know how far one such block strays without any change.

Squared distances are chance plus a level that moves (`..._from_level`): exact where shifts are small, without a limit
where they are not. Of distances that stop growing, few blocks say more by their roots (`..._from_moments`).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

POWER = 0.05
"""Distances are raised to it before anything else: between the logarithm, which suits blocks of restless columns, and
the cube root, which suits chi-square."""
MOST_DEGREES = 1e6
"""Student's distribution with more degrees is the normal one; scipy has no infinite ones."""
FLOOR = 0.25
"""Share of the median to which smaller distances are raised. At 0.3 log-normal blocks reach 1.5 times their level."""


def block_moments(distances: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of the twentieth roots of block distances, the smallest raised to a quarter of the median.

    Parameters
    ----------
    distances : shape (..., blocks), not negative; how far each block of the reference lies from the rest of it. Blocks
        may overlap.

    Returns
    -------
    Mean and variance (dividing by the number of blocks), each of shape (...): what `block_limit_from_moments` and
    `block_p_value_from_moments` need. NaN where a distance is NaN.

    Notes
    -----
    Blocks of independent rows lie apart like chi-square, those of a column that wanders from day to day more like
    log-normal; no transform is right for both, the twentieth root is never far off. A distance over 2 or 3 categories
    is near chi-square with 1 or 2 degrees, which has a long tail towards zero: a few blocks that happen to agree would
    widen the limit many times over, so that tail is cut short. How often a new block is above the limit, in percent
    at a stated 5 / 1 (60,000 simulations of separate blocks):

    =================  ===========  ===========  ===========
    distances          4 blocks     8 blocks     30 blocks
    =================  ===========  ===========  ===========
    chi-square, 1      4.2 / 0.46   4.8 / 0.46   5.6 / 0.57
    chi-square, 2      3.4 / 0.48   3.8 / 0.34   4.5 / 0.41
    chi-square, 5      3.6 / 0.59   3.6 / 0.45   3.9 / 0.41
    chi-square, 9      4.0 / 0.74   3.7 / 0.53   3.9 / 0.40
    chi-square, 19     4.4 / 0.84   4.1 / 0.67   4.0 / 0.59
    log-normal, 0.3    5.0 / 1.01   5.3 / 1.15   5.1 / 1.08
    log-normal, 1.0    5.9 / 1.22   5.9 / 1.31   6.2 / 1.55
    =================  ===========  ===========  ===========

    With the logarithm the last two rows are exact and the chi-square ones at 0.3 / 0.5; with the fourth root it is
    the other way round. Overlapping blocks are conservative, most so where few fit side by side.

    References
    ----------
    Hawkins and Wixley (1986), A note on the transformation of chi-squared variables to normality.

    Examples
    --------
    >>> mean, variance = block_moments([1.0, 2.0**20])
    >>> float(mean).__round__(12) == round((2 + ((1 + 2**20) / 8) ** 0.05) / 2, 12)
    True
    """
    values = np.asarray(distances, dtype=np.float64)
    raised = np.maximum(values, FLOOR * np.median(values, axis=-1, keepdims=True)) ** POWER
    return np.asarray(raised.mean(axis=-1)), np.asarray(raised.var(axis=-1))


def block_limit_from_moments(
    mean: ArrayLike,
    variance: ArrayLike,
    *,
    independent: ArrayLike,
    probability: ArrayLike = 0.95,
    degrees: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Upper limit for the distance of one new block, in the unit of the distances.

    Parameters
    ----------
    mean, variance : shapes (...), from `block_moments`.
    independent : broadcastable, how many blocks would fit side by side; at least 2, not necessarily whole.
    probability : broadcastable, 0 to 1, that one new block stays below the limit when nothing changed.
    degrees : broadcastable, degrees of freedom of the variance; independent - 1 unless other columns helped to estimate
        it (`moderate_variances`).

    Returns
    -------
    Shape (...), 0 to inf. NaN with fewer than 2 independent blocks or a NaN moment.

    Notes
    -----
    (mean + t * sd * sqrt(1 + 1 / independent)) ** 20, t the quantile of Student's distribution with independent - 1
    degrees. Exact for separate blocks whose twentieth roots are normal. The variance is scaled by independent /
    (independent - 1), which for separate blocks is the usual n - 1 and for overlapping ones undoes what their likeness
    to each other hides. A limit from 2 or 3 blocks is valid but wide: t is 6.3 and 2.9 at .95.

    References
    ----------
    Hahn (1969), Factors for calculating two-sided prediction intervals for samples from a normal distribution; Hahn
    (1970), Additional factors for calculating prediction intervals.

    Examples
    --------
    Twentieth roots 1 and 3 have mean 2 and sd sqrt(2); t(1) is 1 at 3/4, so the limit is (2 + sqrt(3)) ** 20:

    >>> limit = block_limit_from_moments(2.0, 1.0, independent=2, probability=0.75)
    >>> round(float((limit**0.05 - 2) ** 2), 9)
    3.0
    """
    own, spread = _student(variance, independent)
    quantile = _student_quantile(own if degrees is None else degrees, probability)
    root = np.asarray(mean, dtype=np.float64) + quantile * spread
    return np.asarray(np.maximum(root, 0.0) ** (1 / POWER))


def block_p_value_from_moments(
    value: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    *,
    independent: ArrayLike,
    degrees: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Probability that one new block is at least this far away when nothing changed.

    Parameters
    ----------
    value : shape (...), the distance of the new block, not negative.
    mean, variance, independent, degrees : as in `block_limit_from_moments`.

    Returns
    -------
    Shape (...), 0 to 1; small means a change. NaN where the limit is, or where the value is NaN. The limit at
    probability P has the p-value 1 - P. Where all blocks were equally far, 1 up to that distance and 0 above.

    Examples
    --------
    >>> round(float(block_p_value_from_moments((2 + np.sqrt(3)) ** 20, 2.0, 1.0, independent=2)), 12)
    0.25
    """
    own, spread = _student(variance, independent)
    excess = np.asarray(value, dtype=np.float64) ** POWER - np.asarray(mean, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where((spread == 0) & (excess <= 0), -np.inf, excess / spread)
    return np.asarray(stdtr(np.minimum(own if degrees is None else degrees, MOST_DEGREES), -t))


def block_limit_from_level(
    noise: ArrayLike, level: ArrayLike, *, independent: ArrayLike, probability: ArrayLike = 0.95
) -> NDArray[np.float64]:
    """Upper limit for the squared distance of one new block whose rows move with a level.

    Parameters
    ----------
    noise : shape (...), the mean squared distance that chance adds in directions the level does not move in.
    level : broadcastable, the mean squared distance the old blocks had beyond that.
    independent : broadcastable, how many blocks would fit side by side; at least 2, not necessarily whole.
    probability : broadcastable, 0 to 1, that one new block stays below the limit when nothing changed.

    Returns
    -------
    Shape (...), 0 to inf, in the unit of `noise`. NaN with fewer than 2 independent blocks.

    Notes
    -----
    noise + level * t ** 2, t the two-sided quantile of Student's distribution. While shifts are small, PSI and JS (as
    they are) and all other distances (squared) grow with the square of a shift. A level that is normal from block to
    block in one direction makes that one chi-square variable whose scale is known with independent - 1 degrees of
    freedom, so that the ratio is Student's t squared. More directions spread less: the limit is then too wide, never
    too low.

    References
    ----------
    Student (1908), The probable error of a mean.

    Examples
    --------
    Two blocks leave one degree, of which half lies within -1 and 1:

    >>> round(float(block_limit_from_level(2.0, 10.0, independent=2, probability=0.5)), 12)
    12.0
    """
    t = stdtrit(_enough(independent) - 1, (1 + np.asarray(probability, dtype=np.float64)) / 2)
    return np.asarray(np.asarray(noise, dtype=np.float64) + np.asarray(level, dtype=np.float64) * np.square(t))


def block_p_value_from_level(
    value: ArrayLike, noise: ArrayLike, level: ArrayLike, *, independent: ArrayLike
) -> NDArray[np.float64]:
    """Probability that one new block whose rows move with a level is at least this far away when nothing changed.

    Parameters
    ----------
    value : shape (...), the squared distance of the new block.
    noise, level, independent : as in `block_limit_from_level`.

    Returns
    -------
    Shape (...), 0 to 1; small means a change. NaN where the limit is, or where the value is NaN. The limit at
    probability P has the p-value 1 - P; up to `noise` it is 1.

    Examples
    --------
    >>> limit = block_limit_from_level(2.0, 10.0, independent=5, probability=0.9)
    >>> round(float(block_p_value_from_level(limit, 2.0, 10.0, independent=5)), 12)
    0.1
    """
    beyond = np.asarray(value, dtype=np.float64) - np.asarray(noise, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(beyond <= 0, 0.0, np.sqrt(beyond / np.asarray(level, dtype=np.float64)))
    return np.asarray(2 * stdtr(_enough(independent) - 1, -t))


def _enough(independent: ArrayLike) -> NDArray[np.float64]:
    blocks = np.asarray(independent, dtype=np.float64)
    return np.where(blocks >= 2, blocks, np.nan)


def _student_quantile(degrees: ArrayLike, probability: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(stdtrit(np.minimum(degrees, MOST_DEGREES), probability))


def _student(variance: ArrayLike, independent: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Degrees of freedom, and the standard deviation of a new block's twentieth root about the mean of the old ones."""
    enough = _enough(independent)
    scaled = np.asarray(variance, dtype=np.float64) * enough / (enough - 1)
    return enough - 1, np.sqrt(scaled * (1 + 1 / enough))
