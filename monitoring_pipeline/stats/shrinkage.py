"""Variances estimated from few blocks each, drawn towards what many columns have in common.

Add a way of borrowing strength between columns here. Keep limits out, they belong in null_distributions.py.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, polygamma

FEWEST = 3
"""Variances needed before anything can be said of their spread; with fewer each stands for itself."""


def moderate_variances(variances: ArrayLike, degrees: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variances drawn towards their common value, and the degrees of freedom they then have.

    Parameters
    ----------
    variances : shape (columns,), each an estimate with `degrees` degrees of freedom; 0 and NaN are left as they are.
    degrees : broadcastable, above 0.

    Returns
    -------
    Variances and degrees of freedom, each of shape (columns,). The degrees are infinite where all variances are equal
    but for chance.

    Notes
    -----
    (prior_degrees * prior + degrees * variance) / (prior_degrees + degrees), prior_degrees and prior fitted to the
    mean and spread of the logarithms. A month of reference has four weeks, and the limit of a single column from
    4 blocks is so wide that it is never reached; 15 columns have 60. Needs 3 columns or more to change anything.

    References
    ----------
    Smyth (2004), Linear models and empirical Bayes methods for assessing differential expression in microarray
    experiments, section 6.2.

    Examples
    --------
    Equal variances say that there is one, and that it is known:

    >>> moderated, degrees = moderate_variances([2.0, 2.0, 2.0], 3.0)
    >>> bool(np.all(np.isinf(degrees))), np.ptp(moderated).item()
    (True, 0.0)

    Two variances stand for themselves:

    >>> moderate_variances([1.0, 4.0], 3.0)[0].tolist()
    [1.0, 4.0]
    """
    variance, degrees = np.broadcast_arrays(np.asarray(variances, np.float64), np.asarray(degrees, np.float64))
    usable = np.isfinite(variance) & (variance > 0) & (degrees > 0)
    if usable.sum() < FEWEST:
        return variance.copy(), degrees.copy()
    half = degrees[usable] / 2
    logarithms = np.log(variance[usable]) - digamma(half) + np.log(half)
    spread = logarithms.var(ddof=1) - polygamma(1, half).mean()
    if spread <= 0:
        moderated = np.where(usable, np.exp(logarithms.mean()), variance)
        return moderated, np.where(usable, np.inf, degrees)
    prior_half = _inverse_trigamma(spread)
    prior = np.exp(logarithms.mean() + digamma(prior_half) - np.log(prior_half))
    total = 2 * prior_half + degrees
    moderated = (2 * prior_half * prior + degrees * variance) / total
    return np.where(usable, moderated, variance), np.where(usable, total, degrees)


def _inverse_trigamma(value: float) -> float:
    """Newton's method on 1 / trigamma, which is nearly straight (Smyth 2004, appendix)."""
    place = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, place))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, place))
        place += step
        if -step / place < 1e-8:
            break
    return place
