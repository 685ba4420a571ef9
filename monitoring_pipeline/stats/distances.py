"""Distances between a reference and a current distribution, exact by definition.

Add a distance here when it is a formula over proportions per bin. Keep smoothing out, it belongs in histograms.py, and
keep p-values out, they belong in null_distributions.py. Here 0 * ln 0 is 0, and a distance that the definition makes
infinite is inf. Unless said otherwise `reference` and `current` are proportions of shapes (..., bins) that broadcast,
and NaN in either makes the result NaN.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from monitoring_pipeline.stats.histograms import proportions


def psi_contributions(reference: ArrayLike, current: ArrayLike) -> NDArray[np.float64]:
    """What each bin adds to the population stability index, in nats.

    Parameters
    ----------
    reference, current : shapes (..., bins), proportions.

    Returns
    -------
    Shape (..., bins), 0 to inf: 0 where both sides agree, inf where exactly one of them is empty.

    Notes
    -----
    (q - p) * ln(q / p) with p the reference. Both factors have the same sign, so no term is negative.

    Examples
    --------
    >>> (psi_contributions([0.2, 0.8, 0.0], [0.4, 0.6, 0.0]) / [np.log(2), np.log(4 / 3), 1]).round(12).tolist()
    [0.2, 0.2, 0.0]
    """
    p, q = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((p == 0) & (q == 0), 0.0, (q - p) * np.log(q / p))


def population_stability_index(reference: ArrayLike, current: ArrayLike) -> NDArray[np.float64]:
    """Population stability index in nats: the symmetrised Kullback-Leibler divergence.

    Parameters
    ----------
    reference, current : shapes (..., bins), proportions.

    Returns
    -------
    Shape (...), 0 (same) to inf (a bin is empty on one side only).

    Notes
    -----
    sum((q - p) * ln(q / p)). Textbook bands: below 0.10 stable, above 0.25 changed. Without any change its mean is
    about (bins - 1) * (1 / reference rows + 1 / current rows), so use 10 to 20 bins and at least 100 rows a bin, or
    the p-value in null_distributions.py.

    References
    ----------
    Jeffreys (1946); Kullback and Leibler (1951), On information and sufficiency, section 3; Yurdakul and Naranjo
    (2020), Statistical properties of the population stability index.

    Examples
    --------
    >>> float(population_stability_index([0.25, 0.75], [0.75, 0.25]) / np.log(3))
    1.0
    """
    return np.asarray(psi_contributions(reference, current).sum(axis=-1))


def kullback_leibler_divergence(reference: ArrayLike, current: ArrayLike) -> NDArray[np.float64]:
    """Kullback-Leibler divergence of current from reference, D(current || reference), in nats.

    Parameters
    ----------
    reference, current : shapes (..., bins), proportions. In the notation D(p || q), `current` is p, `reference` is q.

    Returns
    -------
    Shape (...), 0 (same) to inf (current rows in a bin the reference has empty). Bins that only the reference uses
    add 0, so a vanished category does not make it infinite.

    Notes
    -----
    sum(current * ln(current / reference)); not symmetric.

    References
    ----------
    Kullback and Leibler (1951), On information and sufficiency, equation 2.4.

    Examples
    --------
    >>> float(kullback_leibler_divergence([0.5, 0.5], [1.0, 0.0]) / np.log(2))
    1.0
    >>> float(kullback_leibler_divergence([1.0, 0.0], [0.5, 0.5]))
    inf
    """
    # Rounding can leave a few ulp below zero for equal distributions.
    return np.asarray(np.maximum(rel_entr(current, reference).sum(axis=-1), 0.0))


def jensen_shannon_divergence(reference: ArrayLike, current: ArrayLike) -> NDArray[np.float64]:
    """Jensen-Shannon divergence in nats: mean divergence of both sides from their midpoint.

    Parameters
    ----------
    reference, current : shapes (..., bins), proportions.

    Returns
    -------
    Shape (...), 0 (same) to ln 2 (no bin in common). Always finite.

    Notes
    -----
    (D(p || m) + D(q || m)) / 2 with m = (p + q) / 2. For small changes it is PSI / 8, bias included.

    References
    ----------
    Lin (1991), Divergence measures based on the Shannon entropy, equation 4.1.

    Examples
    --------
    >>> float(jensen_shannon_divergence([1.0, 0.0], [0.0, 1.0]) / np.log(2))
    1.0
    """
    p, q = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    middle = (p + q) / 2
    return np.asarray(np.maximum((rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=-1) / 2, 0.0))


def jensen_shannon_distance(reference: ArrayLike, current: ArrayLike) -> NDArray[np.float64]:
    """Jensen-Shannon distance: the square root of the divergence in bits, a metric without unit.

    Parameters
    ----------
    reference, current : shapes (..., bins), proportions.

    Returns
    -------
    Shape (...), 0 (same) to 1 (no bin in common).

    References
    ----------
    Endres and Schindelin (2003), A new metric for probability distributions.

    Examples
    --------
    >>> round(float(jensen_shannon_distance([0.5, 0.5, 0.0], [0.5, 0.0, 0.5]) ** 2), 12)
    0.5
    """
    return np.asarray(np.minimum(np.sqrt(jensen_shannon_divergence(reference, current) / np.log(2)), 1.0))


def hellinger_distance(reference: ArrayLike, current: ArrayLike) -> NDArray[np.float64]:
    """Hellinger distance, without unit.

    Parameters
    ----------
    reference, current : shapes (..., bins), proportions.

    Returns
    -------
    Shape (...), 0 (same) to 1 (no bin in common).

    Notes
    -----
    sqrt(sum((sqrt(q) - sqrt(p)) ** 2) / 2).

    References
    ----------
    Hellinger (1909); Le Cam and Yang (2000), Asymptotics in statistics, section 3.1.

    Examples
    --------
    >>> round(float(hellinger_distance([1.0, 0.0], [0.25, 0.75]) ** 2), 12)
    0.5
    """
    difference = np.sqrt(np.asarray(current, dtype=np.float64)) - np.sqrt(np.asarray(reference, dtype=np.float64))
    return np.asarray(np.minimum(np.sqrt((difference**2).sum(axis=-1) / 2), 1.0))


def l_infinity_distance(reference: ArrayLike, current: ArrayLike) -> NDArray[np.float64]:
    """Largest change of any one bin's proportion.

    Parameters
    ----------
    reference, current : shapes (..., bins), proportions.

    Returns
    -------
    Shape (...), 0 (same) to 1.

    Examples
    --------
    >>> float(l_infinity_distance([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]))
    0.25
    """
    return np.asarray(np.abs(np.asarray(current, dtype=np.float64) - np.asarray(reference)).max(axis=-1))


def kolmogorov_smirnov_distance(reference: ArrayLike, current: ArrayLike) -> NDArray[np.float64]:
    """Largest difference between the two cumulative distributions, read at the bin edges.

    Parameters
    ----------
    reference, current : shapes (..., bins), proportions of bins in ascending order.

    Returns
    -------
    Shape (...), 0 (same) to 1. Never above the exact distance of the rows, and below it by at most
    `kolmogorov_smirnov_error_bound`.

    References
    ----------
    Smirnov (1939), On the estimation of the discrepancy between empirical curves of distribution for two samples.

    Examples
    --------
    >>> float(kolmogorov_smirnov_distance([0.5, 0.25, 0.25], [0.25, 0.25, 0.5]))
    0.25
    """
    step = np.asarray(current, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return np.asarray(np.abs(step.cumsum(axis=-1)).max(axis=-1))


def kolmogorov_smirnov_error_bound(reference: ArrayLike, current: ArrayLike) -> NDArray[np.float64]:
    """How far the exact Kolmogorov-Smirnov distance can lie above the one read at the bin edges.

    Parameters
    ----------
    reference, current : shapes (..., bins), proportions of bins in ascending order.

    Returns
    -------
    Shape (...), 0 to 1: the exact distance is within [binned, binned + bound]. At most the largest min(p, q) of a bin.

    Notes
    -----
    Let d be the difference of the cumulative distributions (reference minus current) where a bin of masses p and q
    begins. Inside the bin the difference lies in [d - q, d + p], and reaches an end when all rows of one side come
    before those of the other: no smaller bound holds. The bound is the largest |end| less the binned distance. The
    difference leaves the bin at d + p - q, so an end exceeds one of the two edges by at most min(p, q).

    Examples
    --------
    >>> float(kolmogorov_smirnov_error_bound([0.5, 0.5], [0.5, 0.5]))
    0.5
    >>> float(kolmogorov_smirnov_error_bound([1.0, 0.0], [0.0, 1.0]))
    0.0
    """
    p, q = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    after = (p - q).cumsum(axis=-1)
    # d + p is what the bin leaves behind plus q; d - q is the same less p.
    extreme = np.maximum(after + q, p - after).max(axis=-1)
    return np.asarray(np.maximum(extreme - np.abs(after).max(axis=-1), 0.0))


def wasserstein_distance_from_bins(
    reference_counts: ArrayLike, reference_means: ArrayLike, current_counts: ArrayLike, current_means: ArrayLike
) -> NDArray[np.float64]:
    """Wasserstein-1 distance in the unit of the values, each bin's rows standing at that bin's own mean on their side.

    Parameters
    ----------
    reference_counts, current_counts : shapes (..., bins), rows per bin, bins in ascending order.
    reference_means, current_means : same shapes, mean value of the rows in the bin; ignored where the bin is empty.

    Returns
    -------
    Shape (...), 0 to inf. NaN where a side has no rows. Exact for the two discrete distributions the arguments
    describe; off the distance of the rows themselves, either way, by at most the mean distance of a row from the
    mean of its bin, added over the two sides.

    Notes
    -----
    The integral of |F - G|. Both means of a bin lie inside the bin, so the order of all points is known without
    sorting: bin by bin, and within a bin the smaller mean first.

    References
    ----------
    Vallender (1974), Calculation of the Wasserstein distance between probability distributions on the line.

    Examples
    --------
    >>> float(wasserstein_distance_from_bins([1, 1], [0.0, 10.0], [1, 1], [3.0, 10.0]))
    1.5
    """
    p, q = proportions(reference_counts), proportions(current_counts)
    reference_at = np.where(p == 0, current_means, reference_means)
    current_at = np.where(q == 0, reference_means, current_means)
    first, last = np.minimum(reference_at, current_at), np.maximum(reference_at, current_at)
    # A bin empty on both sides has no place of its own: it takes the previous bin's, so that it spans no distance.
    vacant = (p == 0) & (q == 0)
    last = np.maximum.accumulate(np.where(vacant, -np.inf, last), axis=-1)
    last = np.where(np.isneginf(last), 0.0, last)
    first = np.where(vacant, last, first)

    after = (q - p).cumsum(axis=-1)
    within = np.where(current_at < reference_at, after + p, after - q)
    inside = np.abs(within) * (last - first)
    between = np.abs(after[..., :-1]) * (first[..., 1:] - last[..., :-1])
    return np.asarray(inside.sum(axis=-1) + between.sum(axis=-1))
