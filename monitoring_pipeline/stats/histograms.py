"""Counts per bin: proportions, quantile edges, and sums of fine bins into coarse ones.

Add a function here when it turns values into bins, bins into coarser bins, or counts into proportions. Keep distances
between two histograms out, they belong in distances.py; which bins a column gets is decided in describe.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def proportions(counts: ArrayLike, pseudocount: float = 0.0) -> NDArray[np.float64]:
    """Share of the rows that falls into each bin.

    Parameters
    ----------
    counts : shape (..., bins), rows per bin.
    pseudocount : rows added to every bin before dividing; 0.5 is Jeffreys' prior for a multinomial.

    Returns
    -------
    Shape (..., bins), 0 to 1, summing to 1. NaN where there is nothing to divide by: no rows and no pseudocount.

    Notes
    -----
    (count + a) / (rows + a * bins). Without a pseudocount an empty bin is exactly 0, which makes PSI and KL infinite;
    half a row keeps it finite in proportion to the sample instead of to an arbitrary small constant.

    References
    ----------
    Jeffreys (1946), An invariant form for the prior probability in estimation problems.

    Examples
    --------
    >>> proportions([1, 3]).tolist()
    [0.25, 0.75]
    >>> proportions([0, 3], 0.5).tolist()
    [0.125, 0.875]
    """
    smoothed = np.asarray(counts, dtype=np.float64) + pseudocount
    with np.errstate(invalid="ignore"):
        return np.asarray(smoothed / smoothed.sum(axis=-1, keepdims=True))


def smoothed_pair(
    reference_counts: ArrayLike, current_counts: ArrayLike, *, pseudocount: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Proportions of both sides, smoothed only in the bins that either side uses.

    Parameters
    ----------
    reference_counts, current_counts : shapes (..., bins) that broadcast, rows per bin.
    pseudocount : rows added to each bin that is occupied on at least one side.

    Returns
    -------
    Reference and current proportions, each of the broadcast shape. Bins empty on both sides are exactly 0 on both, so
    they add nothing to any distance. NaN throughout where a side has no rows: smoothing must not invent a sample.

    Examples
    --------
    >>> reference, current = smoothed_pair([3, 0, 0], [1, 2, 0])
    >>> reference.tolist(), current.tolist()
    ([0.875, 0.125, 0.0], [0.375, 0.625, 0.0])
    """
    reference = np.asarray(reference_counts, dtype=np.float64)
    current = np.asarray(current_counts, dtype=np.float64)
    added = pseudocount * ((reference + current) != 0)
    has_rows = (reference.sum(axis=-1, keepdims=True) != 0) & (current.sum(axis=-1, keepdims=True) != 0)
    added = np.where(has_rows, added, np.nan)
    return proportions(reference + added), proportions(current + added)


def occupied_bins(reference_counts: ArrayLike, current_counts: ArrayLike) -> NDArray[np.int64]:
    """Number of bins that hold a row on either side: the B of a null distribution with B - 1 degrees of freedom.

    Parameters
    ----------
    reference_counts, current_counts : shapes (..., bins) that broadcast, rows per bin.

    Returns
    -------
    Shape (...), 0 to bins.

    Examples
    --------
    >>> int(occupied_bins([3, 0, 0], [1, 2, 0]))
    2
    """
    occupied = (np.asarray(reference_counts) != 0) | (np.asarray(current_counts) != 0)
    return np.asarray(occupied.sum(axis=-1, dtype=np.int64))


def quantile_edges(values: ArrayLike, bins: int) -> NDArray[np.float64]:
    """Edges of at most `bins` left-closed, right-open bins of about equal mass, in the unit of the values.

    Parameters
    ----------
    values : shape (rows,), finite, at least one.
    bins : the largest number of bins wanted.

    Returns
    -------
    Shape (2 to bins + 1,), strictly increasing, from the smallest value to just above the largest.

    Raises
    ------
    ValueError when there is no value or one is not finite.

    Notes
    -----
    With no more distinct values than bins, each value is a bin of its own. Otherwise the edges are quantiles (linear
    interpolation); a value so frequent that two quantiles fall on it also gets its own bin, so that movement between
    it and its neighbours stays visible.

    Examples
    --------
    >>> quantile_edges([1.0, 2.0, 3.0, 4.0, 5.0], 2).round(9).tolist()
    [1.0, 3.0, 5.0]
    >>> quantile_edges([7.0, 7.0], 10).round(9).tolist()
    [7.0, 7.0]
    """
    ordered = np.asarray(values, dtype=np.float64)
    if not (ordered[1:] >= ordered[:-1]).all():  # a quick look, since sorted values are not sorted again any quicker
        ordered = np.sort(ordered)
    if ordered.size == 0 or not np.isfinite(ordered[[0, -1]]).all():
        raise ValueError(
            f"quantile edges: {ordered.size} values, {int((~np.isfinite(ordered)).sum())} of them not finite; "
            "at least one value and only finite ones are needed. Drop the others first."
        )
    top = np.nextafter(ordered[-1:], np.inf)
    steps = np.flatnonzero(ordered[1:] != ordered[:-1])
    if len(steps) < bins:
        return np.concatenate([ordered[:1], ordered[steps + 1], top])
    quantiles = sorted_quantiles(ordered, np.linspace(0.0, 1.0, bins + 1))
    repeated = quantiles[1:][quantiles[1:] == quantiles[:-1]]
    return np.unique(np.concatenate([quantiles[:-1], np.nextafter(repeated, np.inf), top]))


def sorted_quantiles(ordered: ArrayLike, shares: ArrayLike) -> NDArray[np.float64]:
    """Quantiles of values that are in ascending order already, in the unit of the values.

    Parameters
    ----------
    ordered : shape (rows,), finite, ascending, at least one.
    shares : shape (quantiles,), the share of the values below each quantile, 0 to 1.

    Returns
    -------
    Shape (quantiles,), to the last bit what `numpy.quantile` gives, without looking for the order again.

    Notes
    -----
    Linear interpolation between the two values next to (rows - 1) * share.

    References
    ----------
    Hyndman, Fan (1996), Sample quantiles in statistical packages, definition 7.

    Examples
    --------
    >>> sorted_quantiles([1.0, 2.0, 4.0], [0.0, 0.25, 0.5, 1.0]).tolist()
    [1.0, 1.5, 2.0, 4.0]
    """
    values = np.asarray(ordered, dtype=np.float64)
    place = np.asarray(shares, dtype=np.float64) * (len(values) - 1)
    below = np.floor(place).astype(np.int64)
    low, high, passed = values[below], values[np.minimum(below + 1, len(values) - 1)], place - below
    # From the nearer side: the other way round rounds differently, and could leave the two.
    return np.where(passed < 0.5, low + (high - low) * passed, high - (high - low) * (1 - passed))


def group_equal_mass(counts: ArrayLike, groups: int) -> NDArray[np.int64]:
    """Which of at most `groups` contiguous groups of about equal mass each fine bin belongs to.

    Parameters
    ----------
    counts : shape (bins,), rows per fine bin; all zero counts as all equal.
    groups : the largest number of groups wanted.

    Returns
    -------
    Shape (bins,), non-decreasing, 0, 1, 2 ... without gaps.

    Notes
    -----
    A bin goes where the middle of its mass falls, so a group's share differs from 1 / groups by at most the share of
    the largest fine bin.

    Examples
    --------
    >>> group_equal_mass([1, 1, 1, 1, 1, 1], 3).tolist()
    [0, 0, 1, 1, 2, 2]
    >>> group_equal_mass([5, 1, 1, 1, 1, 1], 2).tolist()
    [0, 1, 1, 1, 1, 1]
    """
    mass = np.asarray(counts)
    mass = mass if mass.any() else np.ones_like(mass)
    middle = 2 * mass.cumsum() - mass
    # An empty last bin has its middle at the very end of the mass, one past the last group.
    ideal = np.minimum(middle * groups // (2 * mass.sum()), groups - 1)
    return np.unique(ideal, return_inverse=True)[1].astype(np.int64)


def sum_groups(counts: ArrayLike, groups: ArrayLike, size: int) -> NDArray[Any]:
    """Sum fine bins into the groups they belong to: counts, or any other sum kept per bin.

    Parameters
    ----------
    counts : shape (..., bins).
    groups : shape (bins,), the group of each bin, 0 to size - 1 in any order.
    size : the number of groups; those without a bin are 0.

    Returns
    -------
    Shape (..., size). Integers stay integers and are exact; a NaN or infinite bin affects its own group only.

    Examples
    --------
    >>> sum_groups([1, 2, 3, 4], [0, 0, 1, 3], 4).tolist()
    [3, 3, 0, 4]
    """
    fine, group = np.asarray(counts), np.asarray(groups)
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    first = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    # reduceat keeps narrow integer types, which could overflow: widen to what a plain sum would use.
    coarse = np.zeros((*fine.shape[:-1], size), dtype=np.result_type(fine.dtype, np.int64))
    coarse[..., ordered[starts]] = np.add.reduceat(fine[..., order], starts, axis=-1, dtype=coarse.dtype)
    return coarse
