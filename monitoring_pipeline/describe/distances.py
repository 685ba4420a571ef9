"""Distances between the windows of a column and its reference, all windows at once.

Add a distance here by computing it from binned counts for every window together. Keep formulas out: they belong in
stats; keep thresholds out: they belong in judge.
"""

from dataclasses import dataclass

import numpy as np

from monitoring_pipeline.describe.columns import Column, FloatArray, IntArray, NumericBins
from monitoring_pipeline.describe.profiles import ColumnProfile, ColumnWindows
from monitoring_pipeline.stats.distances import (
    jensen_shannon_distance,
    jensen_shannon_divergence,
    kolmogorov_smirnov_distance,
    kolmogorov_smirnov_error_bound,
    population_stability_index,
    psi_contributions,
    wasserstein_distance_from_bins,
)
from monitoring_pipeline.stats.histograms import occupied_bins, proportions, smoothed_pair
from monitoring_pipeline.stats.null_distributions import jensen_shannon_p_value, ks_p_value, psi_p_value


@dataclass(frozen=True, slots=True, eq=False)
class ColumnDistances:
    """Distances of each window, shape (windows,); NaN where the window or the reference has no usable row.

    reference, current, contributions: per coarse bin, then unseen or unusable, then null; shape (windows, groups + 2).
    KS and Wasserstein are None for columns without an order.
    """

    rows: IntArray
    psi: FloatArray
    psi_p_value: FloatArray
    js: FloatArray
    js_p_value: FloatArray
    js_distance: FloatArray
    reference: FloatArray
    current: FloatArray
    contributions: FloatArray
    ks: FloatArray | None = None
    ks_bound: FloatArray | None = None
    ks_p_value: FloatArray | None = None
    wasserstein: FloatArray | None = None


def as_windows(profile: ColumnProfile) -> ColumnWindows:
    """Return one profile as a single window."""
    return ColumnWindows(
        counts=profile.counts[None],
        sums=profile.sums[None],
        nulls=np.array([profile.nulls]),
        invalid=np.array([profile.invalid]),
        unseen=np.array([profile.unseen_rows]),
    )


def column_distances(column: Column, reference: ColumnWindows, current: ColumnWindows) -> ColumnDistances:
    """Return the distances of every current window from its reference (one for all, or one each)."""
    expected, seen = reference.grouped(column.bins), current.grouped(column.bins)
    rows, reference_rows = seen.sum(axis=-1), expected.sum(axis=-1)
    known = (rows > 0) & (reference_rows > 0)
    p, q = smoothed_pair(expected, seen)
    bins = occupied_bins(expected, seen)
    sizes = {"reference_rows": np.maximum(reference_rows, 1), "current_rows": np.maximum(rows, 1), "bins": bins}
    psi = np.where(known, population_stability_index(p, q), np.nan)
    js = np.where(known, jensen_shannon_divergence(p, q), np.nan)
    distances = {
        "rows": rows,
        "psi": psi,
        "psi_p_value": psi_p_value(psi, **sizes),
        "js": js,
        "js_p_value": jensen_shannon_p_value(js, **sizes),
        "js_distance": np.where(known, jensen_shannon_distance(p, q), np.nan),
        "reference": p,
        "current": q,
        "contributions": psi_contributions(p, q),
    }
    if isinstance(column.bins, NumericBins):
        distances |= _ordered_distances(reference, current)
    return ColumnDistances(**distances)


def _ordered_distances(reference: ColumnWindows, current: ColumnWindows) -> dict[str, FloatArray]:
    """KS and Wasserstein compare the values there are: nulls and unusable values have no place in an order."""
    rows, reference_rows = current.counts.sum(axis=-1), reference.counts.sum(axis=-1)
    known = (rows > 0) & (reference_rows > 0)
    p, q = proportions(reference.counts), proportions(current.counts)
    ks = np.where(known, kolmogorov_smirnov_distance(p, q), np.nan)
    wasserstein = wasserstein_distance_from_bins(
        reference.counts, reference.bin_means(), current.counts, current.bin_means()
    )
    return {
        "ks": ks,
        "ks_bound": np.where(known, kolmogorov_smirnov_error_bound(p, q), np.nan),
        "ks_p_value": ks_p_value(ks, reference_rows=np.maximum(reference_rows, 1), current_rows=np.maximum(rows, 1)),
        "wasserstein": np.where(known, wasserstein, np.nan),
    }
