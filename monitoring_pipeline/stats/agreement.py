"""How alike two models answer the same rows: classes that agree beyond chance, and means of what differs row by row.

Add a measure here when it says how far two answers to a row lie apart. Keep what came true out: which of the two is
better belongs in paired.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class ClusteredMean(NamedTuple):
    """A mean, its standard error and the degrees of freedom of that error."""

    mean: float
    error: float
    freedom: float


def cohens_kappa(counts: ArrayLike) -> NDArray[np.float64]:
    """Agreement of two classifiers on the same rows, beyond what their shares of each class give by chance.

    Parameters
    ----------
    counts : shape (..., classes, classes), rows by the class of the first and of the second.

    Returns
    -------
    Shape (...), -1 to 1: 1 always agrees, 0 as often as chance. NaN without rows, or where chance alone agrees always.

    Notes
    -----
    (observed - chance) / (1 - chance), chance being the sum over classes of the product of both shares. It depends on
    how frequent the classes are: read it beside the share of equal answers.

    References
    ----------
    Cohen (1960), A coefficient of agreement for nominal scales.

    Examples
    --------
    35 of 50 agree, and chance alone would give 25:

    >>> round(float(cohens_kappa([[20, 5], [10, 15]])), 12)
    0.4
    """
    table = np.asarray(counts, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = table / table.sum(axis=(-2, -1), keepdims=True)
        observed = np.trace(shares, axis1=-2, axis2=-1)
        chance = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
        return np.asarray(np.where(chance < 1, (observed - chance) / (1 - chance), np.nan))


def clustered_mean(values: ArrayLike, clusters: ArrayLike) -> ClusteredMean:
    """Mean of values that vary together within a cluster, such as the rows of a rainy day.

    Parameters
    ----------
    values : shape (rows,), finite.
    clusters : shape (rows,), which cluster each row is of.

    Returns
    -------
    Mean, standard error in the unit of the values, and clusters - 1. NaN without rows; with one cluster the error is.

    Notes
    -----
    error = sqrt(G / (G - 1) sum over clusters of (sum of value - mean)^2) / rows, for G clusters. Clusters are
    independent of each other; from about 10 of them with Student's quantiles, 40 without.

    References
    ----------
    Liang and Zeger (1986), Longitudinal data analysis using generalized linear models; Cameron and Miller (2015), A
    practitioner's guide to cluster-robust inference, section II.

    Examples
    --------
    Clusters with means 1.5 and 3.5 have a variance of 2, that of their mean is 1:

    >>> clustered_mean([1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "b"])
    ClusteredMean(mean=2.5, error=1.0, freedom=1.0)
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0:
        return ClusteredMean(float("nan"), float("nan"), 0.0)
    groups, place = np.unique(np.asarray(clusters), return_inverse=True)
    mean, freedom = float(numbers.mean()), len(groups) - 1.0
    sums = np.bincount(place, numbers - mean)
    error = np.sqrt(np.sum(sums**2) * len(groups) / freedom) / numbers.size if freedom else np.nan
    return ClusteredMean(mean, float(error), freedom)
