"""What a column is like in single numbers, and between which values they lie in the reference's own windows.

A share is counted (`SHARES`: hits and trials), a number is worked out (`NUMBERS`); both come from profiles alone, for
all windows at once. Add one here. Keep signals out, they belong in evaluate, and limits, they belong in judge.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType

import numpy as np
from scipy.special import stdtrit

from monitoring_pipeline.capture.windows import HOUR, window_length, window_name
from monitoring_pipeline.describe.blocks import combined, selected, with_rows
from monitoring_pipeline.describe.columns import (
    IQR_FENCE,
    Z_FENCE,
    CategoricalBins,
    ColumnRole,
    FloatArray,
    IntArray,
    NumericBins,
)
from monitoring_pipeline.describe.distances import Pair, as_windows
from monitoring_pipeline.describe.profiles import ColumnWindows, HourlyProfiles, HourlyTotals, ProfileSeries, all_hours
from monitoring_pipeline.describe.references import ColumnReference, UsualRanges
from monitoring_pipeline.stats.moments import mean_shift, std_ratio

CONFIDENCE = 0.99
"""One window without change in a hundred lies beyond the range, above or below, as far as its blocks are normal."""

ALMOST_NOTHING = 1e-9
"""Ratios below it are taken for it: the variance of equal numbers is zero but for rounding."""

RARE_CONSTANT = 1e-4
"""Independent rows that are all alike more often than this say nothing."""


def _unseen(entry: ColumnReference, windows: ColumnWindows) -> tuple[IntArray, IntArray]:
    """Values the reference never had, of columns whose values are known one by one."""
    bins = entry.column.bins
    new = windows.counts[:, bins.groups == bins.group_count].sum(axis=-1) + windows.unseen
    return new, windows.counts.sum(axis=-1) + windows.unseen


def _outliers_z(entry: ColumnReference, windows: ColumnWindows) -> tuple[IntArray, IntArray]:
    assert isinstance(entry.column.bins, NumericBins)
    scale = entry.column.bins.scale
    return _beyond(windows, -Z_FENCE * scale, Z_FENCE * scale, rounding=ALMOST_NOTHING * scale)


def _outliers_iqr(entry: ColumnReference, windows: ColumnWindows) -> tuple[IntArray, IntArray]:
    assert isinstance(entry.column.bins, NumericBins)
    low, high = _quartiles(entry)
    reach, bins = IQR_FENCE * (high - low), entry.column.bins
    fences = low - reach - bins.center, high + reach - bins.center
    return _beyond(windows, *fences, rounding=ALMOST_NOTHING * bins.scale)


def _beyond(windows: ColumnWindows, low: float, high: float, *, rounding: float) -> tuple[IntArray, IntArray]:
    """Count the rows of bins whose mean lies beyond a fence: all that do where the fences are edges of bins."""
    means = windows.bin_means()
    outside = ((means < low - rounding) | (means > high + rounding)) & (windows.counts > 0)
    return np.where(outside, windows.counts, 0).sum(axis=-1), windows.counts.sum(axis=-1)


def _mean_shift(entry: ColumnReference, windows: ColumnWindows) -> FloatArray:
    """Standard deviations of the reference, with its sign."""
    pair = Pair(entry.column, as_windows(entry.profile), windows)
    moments = pair.moments
    shift = mean_shift(moments["reference_mean"], moments["current_mean"], moments["reference_std"])
    return pair.where_ordered(shift)


def _variance_ratio(entry: ColumnReference, windows: ColumnWindows) -> FloatArray:
    pair = Pair(entry.column, as_windows(entry.profile), windows)
    ratio = np.square(std_ratio(pair.moments["reference_std"], pair.moments["current_std"]))
    return pair.where_ordered(np.maximum(ratio, ALMOST_NOTHING))


def _distinct_ratio(entry: ColumnReference, windows: ColumnWindows) -> FloatArray:
    """Values that occur over those that as many rows of the reference would have."""
    kept = entry.column.bins.groups < entry.column.bins.group_count
    expected, _ = expected_distinct(entry, windows)
    found = (windows.counts[:, kept] > 0).sum(axis=-1)
    return np.where(expected > 0, found / np.maximum(expected, ALMOST_NOTHING), np.nan)


def expected_distinct(entry: ColumnReference, windows: ColumnWindows) -> tuple[FloatArray, FloatArray]:
    """Return how many bins independent rows of the reference would occupy, and the standard deviation of that.

    `windows` say how many rows; a bin with share p is empty with probability (1 - p)^rows.
    """
    counts = entry.profile.counts
    shares = counts[counts > 0] / max(int(counts.sum()), 1)
    rows = windows.counts.sum(axis=-1) + windows.unseen
    with np.errstate(divide="ignore", invalid="ignore"):
        empty = np.where(rows[:, None] > 0, np.exp(rows[:, None] * np.log1p(-shares)), 1.0)
    return (1 - empty).sum(axis=-1), np.sqrt((empty * (1 - empty)).sum(axis=-1))


def _constant(entry: ColumnReference, windows: ColumnWindows) -> FloatArray:
    """1 where all values are one."""
    usable = windows.counts.sum(axis=-1) + windows.unseen
    if isinstance(entry.column.bins, CategoricalBins):
        alike = windows.counts[:, :-1].max(axis=-1, initial=0) == usable
    else:
        alike = _variance_ratio(entry, windows) <= ALMOST_NOTHING
    return np.where(usable > 0, alike.astype(np.float64), np.nan)


SHARES: Mapping[str, Callable[[ColumnReference, ColumnWindows], tuple[IntArray, IntArray]]] = MappingProxyType(
    {
        "null_rate": lambda _, windows: (windows.nulls, windows.rows),
        "invalid_rate": lambda _, windows: (windows.invalid, windows.rows - windows.nulls),
        "unseen_share": _unseen,
        "out_of_range_share": lambda _, windows: (
            windows.counts[:, 0] + windows.counts[:, -1],
            windows.counts.sum(axis=-1),
        ),
        "outlier_share_z": _outliers_z,
        "outlier_share_iqr": _outliers_iqr,
    }
)
NUMBERS: Mapping[str, Callable[[ColumnReference, ColumnWindows], FloatArray]] = MappingProxyType(
    {
        "mean_shift": _mean_shift,
        "variance_ratio": _variance_ratio,
        "distinct_ratio": _distinct_ratio,
        "constant": _constant,
    }
)
RATIOS = frozenset({"variance_ratio", "distinct_ratio"})
"""Numbers that are compared by how many times one is another."""


def applies(entry: ColumnReference, name: str) -> bool:
    """Whether a share or number means something for a column, by what the reference knows of it."""
    bins, usable = entry.column.bins, int(entry.profile.counts.sum()) > 0
    if name == "null_rate":
        return True
    if name in ("unseen_share", "distinct_ratio"):
        return usable and (isinstance(bins, CategoricalBins) or bool((bins.groups == bins.group_count).any()))
    if name == "constant":
        return usable and bool(_constant(entry, as_windows(entry.profile))[0] == 0)
    if not isinstance(bins, NumericBins):
        return False
    if name == "outlier_share_iqr":
        low, high = _quartiles(entry)
        return usable and high > low
    return name == "invalid_rate" or (usable and bins.scale > 0)


def _quartiles(entry: ColumnReference) -> tuple[float, float]:
    quantiles = entry.summary.get("quantiles", {})
    return quantiles.get("0.25", np.nan), quantiles.get("0.75", np.nan)


def rarely_constant(entry: ColumnReference, windows: ColumnWindows) -> FloatArray:
    """Return, for windows of so many rows, whether independent rows of the reference would hardly ever be alike."""
    shares = entry.profile.counts / max(int(entry.profile.counts.sum()), 1)
    rows = windows.counts.sum(axis=-1) + windows.unseen
    return np.asarray((np.power(shares, rows[:, None]).sum(axis=-1) <= RARE_CONSTANT).astype(np.float64))


def usual_ranges(
    columns: Mapping[str, ColumnReference], hourly: HourlyProfiles, windows: Sequence[timedelta]
) -> UsualRanges:
    """Return the ranges of the reference's own stretches of each length in `windows`, of all columns but the label.

    A range spans what the stretches had and what one more of them may have (`CONFIDENCE`, Student's t of the stretches
    that fit side by side). A length of which two do not fit has none, nor have stretches with few rows for their
    length: nights are not held against days.
    """
    if not hourly:
        return {}
    hours = all_hours(hourly)
    lengths = [length for length in (round(window / HOUR) for window in windows) if len(hours) >= 2 * length]
    totals = HourlyTotals(hourly, hours[0], hours[-1])
    stretches = {length: ProfileSeries(totals, hours[length - 1 :], reach=length) for length in lengths}
    found: dict[str, dict[str, dict[str, tuple[float, float]]]] = {}
    for name, entry in columns.items():
        if entry.column.role is ColumnRole.LABEL:
            continue
        for length, series in stretches.items():
            blocks = series.column(entry.column, length)
            kept = with_rows(blocks)
            independent = (int(kept.sum()) + length - 1) / length
            if independent >= 2:
                ranges = _ranges(entry, selected(blocks, kept), independent)
                found.setdefault(name, {})[window_name(length * HOUR)] = ranges
    return found


def _ranges(entry: ColumnReference, blocks: ColumnWindows, independent: float) -> dict[str, tuple[float, float]]:
    ranges = {}
    for name in (*SHARES, *NUMBERS):
        if not applies(entry, name):
            continue
        if name in ("unseen_share", "out_of_range_share"):  # nothing of the reference is new to all of it
            values = _new_in(entry, blocks)
        elif name in SHARES:
            hits, trials = SHARES[name](entry, blocks)
            values = hits / np.where(trials > 0, trials, np.nan)
        else:
            values = NUMBERS[name](entry, blocks)
        values = values[np.isfinite(values)]
        if len(values) > 1:
            ranges[name] = _range(values, independent, of_ratios=name in RATIOS)
    return ranges


def _new_in(entry: ColumnReference, blocks: ColumnWindows) -> FloatArray:
    """Return the share of values that the rest of the reference does not have."""
    rest = combined(as_windows(entry.profile), blocks, -1).counts
    return np.asarray(np.where(rest == 0, blocks.counts, 0).sum(axis=-1) / np.maximum(blocks.counts.sum(axis=-1), 1))


def _range(values: FloatArray, independent: float, *, of_ratios: bool) -> tuple[float, float]:
    values = np.log(np.maximum(values, ALMOST_NOTHING)) if of_ratios else values
    middle, spread = float(values.mean()), float(values.std()) * np.sqrt(independent / (independent - 1))
    reach = float(stdtrit(independent - 1, CONFIDENCE)) * spread * np.sqrt(1 + 1 / independent)
    low, high = min(float(values.min()), middle - reach), max(float(values.max()), middle + reach)
    return (float(np.exp(low)), float(np.exp(high))) if of_ratios else (low, high)


def usual_range(
    ranges: Mapping[str, Mapping[str, tuple[float, float]]], name: str, window: timedelta
) -> tuple[float, float] | None:
    """Return the range for a window: of its own length, or of the longest shorter one, which is wider; None without."""
    known = [each for each, found in ranges.items() if name in found and window_length(each) <= window]
    return ranges[max(known, key=window_length)][name] if known else None
