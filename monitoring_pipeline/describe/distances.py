"""Distances between the windows of a column and its reference, all windows at once.

Add a distance as a function of a `Pair` and an entry of `METRICS`. Keep formulas out: they belong in stats; keep
thresholds out: they belong in judge.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np

from monitoring_pipeline.describe.columns import CategoricalBins, Column, FloatArray, IntArray, NumericBins
from monitoring_pipeline.describe.profiles import ColumnProfile, ColumnWindows
from monitoring_pipeline.stats.distances import (
    hellinger_distance,
    jensen_shannon_divergence,
    kolmogorov_smirnov_distance,
    kolmogorov_smirnov_error_bound,
    kullback_leibler_divergence,
    l_infinity_distance,
    psi_contributions,
    wasserstein_distance_from_bins,
)
from monitoring_pipeline.stats.histograms import occupied_bins, proportions, smoothed_pair
from monitoring_pipeline.stats.hypothesis_tests import chi_square_two_sample
from monitoring_pipeline.stats.largest_differences import l_infinity_p_value
from monitoring_pipeline.stats.moments import mean_shift, mean_shift_p_value, std_ratio
from monitoring_pipeline.stats.null_distributions import (
    hellinger_p_value,
    jensen_shannon_p_value,
    ks_p_value,
    psi_p_value,
)


def as_windows(profile: ColumnProfile) -> ColumnWindows:
    """Return one profile as a single window."""
    return ColumnWindows(
        counts=profile.counts[None],
        sums=profile.sums[None],
        squares=np.array([profile.squares]),
        nulls=np.array([profile.nulls]),
        invalid=np.array([profile.invalid]),
        unseen=np.array([profile.unseen_rows]),
    )


def expected_windows(column: Column, profile: ColumnProfile) -> ColumnWindows:
    """Return the reference's own rows as the single window others are held against.

    Categories that came once stand for those that have not come yet: of as many rows again, about as many will be new
    (Good 1953). Without that every reference with a long tail would call its own future drifted.
    """
    windows = as_windows(profile)
    bins = column.bins
    if not isinstance(bins, CategoricalBins) or not bins.singletons or not bins.complete:
        return windows
    counts, left = windows.counts.copy(), bins.singletons
    once = np.flatnonzero(counts[0, :-1] == 1)[::-1][:left]  # of those counted one by one
    counts[0, once] = 0
    rest = min(left - len(once), int(counts[0, -1]))
    counts[0, -1] -= rest
    return replace(windows, counts=counts, unseen=windows.unseen + len(once) + rest)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One distance by window, shape (windows,); NaN where the window or the reference has no usable row.

    p_values: how often independent rows without change give as much. high: the most the distance of the rows can be,
    where bins only bound it from below.
    """

    values: FloatArray
    p_values: FloatArray | None = None
    high: FloatArray | None = None


class Pair:
    """Windows of a column and their reference (one for all, or one each), with what several distances share.

    Coarse bins have the shape (windows, groups + 2): the groups, then unseen or unusable, then null. Missing values
    and new categories are part of the distribution: a column that goes 60 % null has drifted.
    """

    def __init__(self, column: Column, reference: ColumnWindows, current: ColumnWindows) -> None:
        self.column, self.reference, self.current = column, reference, current
        self.expected, self.seen = reference.grouped(column.bins), current.grouped(column.bins)
        self.rows: IntArray = self.seen.sum(axis=-1)
        self.known = (self.rows > 0) & (self.expected.sum(axis=-1) > 0)

    @cached_property
    def smoothed(self) -> tuple[FloatArray, FloatArray]:
        """Proportions of reference and current per coarse bin, half a row added where either side has any."""
        return smoothed_pair(self.expected, self.seen)

    @cached_property
    def contributions(self) -> FloatArray:
        """What each coarse bin adds to the population stability index."""
        return psi_contributions(*self.smoothed)

    @cached_property
    def sizes(self) -> dict[str, IntArray]:
        """Rows on both sides (at least one, so that nothing divides by zero) and occupied coarse bins."""
        return {
            "reference_rows": np.maximum(self.expected.sum(axis=-1), 1),
            "current_rows": np.maximum(self.rows, 1),
            "bins": occupied_bins(self.expected, self.seen),
        }

    @cached_property
    def usable(self) -> tuple[IntArray, IntArray]:
        """Rows on both sides that have a place in the column's order."""
        return self.reference.counts.sum(axis=-1), self.current.counts.sum(axis=-1)

    @cached_property
    def fine(self) -> tuple[FloatArray, FloatArray]:
        """Proportions of reference and current per fine bin, of the rows that have a place in the order."""
        return proportions(self.reference.counts), proportions(self.current.counts)

    @cached_property
    def single(self) -> tuple[IntArray, IntArray]:
        """Rows on both sides per counted category, then all other known ones, unseen or unusable, and null.

        Coarse bins would hide that the rows of one rare category become those of another.
        """
        return _single(self.reference), _single(self.current)

    @cached_property
    def moments(self) -> dict[str, FloatArray]:
        """Mean (from the reference's center) and standard deviation of both sides."""
        found: dict[str, FloatArray] = {}
        for name, windows, count in zip(
            ("reference", "current"), (self.reference, self.current), self.usable, strict=True
        ):
            rows = np.maximum(count, 1)
            mean = windows.sums.sum(axis=-1) / rows
            variance = (windows.squares - rows * np.square(mean)) / np.maximum(rows - 1, 1)
            found |= {f"{name}_mean": mean, f"{name}_std": np.sqrt(np.maximum(variance, 0.0))}
        return found

    @cached_property
    def js(self) -> FloatArray:
        """Jensen-Shannon divergence, from which the distance follows."""
        return jensen_shannon_divergence(*self.smoothed)

    @cached_property
    def js_p_values(self) -> FloatArray:
        """How often chance gives as much Jensen-Shannon divergence, which is as often as it gives the distance."""
        return _of_sizes(jensen_shannon_p_value)(self, np.where(self.known, self.js, np.nan))

    @cached_property
    def chi_square(self) -> tuple[FloatArray, IntArray, FloatArray]:
        """Statistic, degrees of freedom and p-value of the chi-square test on single categories."""
        return chi_square_two_sample(*self.single)

    @cached_property
    def wasserstein(self) -> FloatArray:
        """Area between the two distribution functions, in the unit of the column."""
        before, now = self.reference, self.current
        distance = wasserstein_distance_from_bins(before.counts, before.bin_means(), now.counts, now.bin_means())
        return self.where_ordered(distance)

    def where_ordered(self, values: FloatArray) -> FloatArray:
        """Return values where both sides have rows that have a place in the column's order, NaN elsewhere."""
        reference_rows, rows = self.usable
        return np.where((rows > 0) & (reference_rows > 0), values, np.nan)


def _single(windows: ColumnWindows) -> IntArray:
    others = np.stack([windows.invalid + windows.unseen, windows.nulls], axis=-1)
    return np.concatenate([windows.counts, others], axis=-1)


def _l_infinity(pair: Pair) -> FloatArray:
    before, now = pair.single
    return l_infinity_distance(proportions(before), proportions(now))


def _vanished_share(pair: Pair) -> FloatArray:
    expected = proportions(pair.expected)[..., :-2]
    return np.asarray(np.where(pair.seen[..., :-2] == 0, expected, 0.0).sum(axis=-1))


def _ks(pair: Pair) -> FloatArray:
    """KS, Wasserstein and means compare the values there are: nulls and unusable values have no place in an order."""
    return pair.where_ordered(kolmogorov_smirnov_distance(*pair.fine))


def _wasserstein_normalised(pair: Pair) -> FloatArray:
    scale = pair.column.bins.scale if isinstance(pair.column.bins, NumericBins) else 0.0
    return pair.wasserstein / scale if scale > 0 else np.full(pair.rows.shape, np.nan)


def _mean_shift(pair: Pair) -> FloatArray:
    moments = pair.moments
    shift = mean_shift(moments["reference_mean"], moments["current_mean"], moments["reference_std"])
    return pair.where_ordered(np.abs(shift))


def _of_sizes(p_value: Callable[..., FloatArray]) -> Callable[[Pair, FloatArray], FloatArray]:
    """Return a test that needs the rows on both sides and how they share the bins."""
    return lambda pair, values: p_value(values, **pair.sizes, pooled=pair.expected + pair.seen)


def _l_infinity_p(pair: Pair, values: FloatArray) -> FloatArray:
    sizes = {name: pair.sizes[name] for name in ("reference_rows", "current_rows")}
    before, now = pair.single
    return l_infinity_p_value(values, **sizes, pooled=before + now)


def _ks_p(pair: Pair, values: FloatArray) -> FloatArray:
    reference_rows, rows = (np.maximum(side, 1) for side in pair.usable)
    return ks_p_value(values, reference_rows=reference_rows, current_rows=rows)


def _ks_high(pair: Pair, values: FloatArray) -> FloatArray:
    return np.minimum(values + pair.where_ordered(kolmogorov_smirnov_error_bound(*pair.fine)), 1.0)


def _mean_shift_p(pair: Pair, _: FloatArray) -> FloatArray:
    reference_rows, rows = (np.maximum(side, 1) for side in pair.usable)
    return pair.where_ordered(mean_shift_p_value(**pair.moments, reference_rows=reference_rows, current_rows=rows))


@dataclass(frozen=True, slots=True)
class Metric:
    """How a distance is measured and tested, its unit, and whether it wants an order of values (None: either way)."""

    measure: Callable[[Pair], FloatArray]
    p_values: Callable[[Pair, FloatArray], FloatArray] | None = None
    unit: str = "1"
    ordered: bool | None = None
    high: Callable[[Pair, FloatArray], FloatArray] | None = None


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "psi": Metric(lambda pair: pair.contributions.sum(axis=-1), _of_sizes(psi_p_value)),
        "js": Metric(lambda pair: pair.js, lambda pair, _: pair.js_p_values, "nat"),
        "js_distance": Metric(lambda pair: np.sqrt(pair.js / np.log(2)), lambda pair, _: pair.js_p_values),
        "kl": Metric(lambda pair: kullback_leibler_divergence(*pair.smoothed), unit="nat"),
        "hellinger": Metric(lambda pair: hellinger_distance(*pair.smoothed), _of_sizes(hellinger_p_value)),
        "l_infinity": Metric(_l_infinity, _l_infinity_p, ordered=False),
        "chi_square": Metric(lambda pair: pair.chi_square[0], lambda pair, _: pair.chi_square[2], ordered=False),
        "unseen_share": Metric(lambda pair: pair.seen[..., -2] / np.maximum(pair.rows, 1)),
        "vanished_share": Metric(_vanished_share, ordered=False),
        "ks": Metric(_ks, _ks_p, ordered=True, high=_ks_high),
        "wasserstein": Metric(lambda pair: pair.wasserstein, unit="column", ordered=True),
        "wasserstein_normalised": Metric(_wasserstein_normalised, unit="sd", ordered=True),
        "mean_shift": Metric(_mean_shift, _mean_shift_p, "sd", ordered=True),
        "std_ratio": Metric(
            lambda pair: pair.where_ordered(std_ratio(pair.moments["reference_std"], pair.moments["current_std"])),
            ordered=True,
        ),
    }
)
"""Every distance by its name in signals and settings."""


def measured(pair: Pair, metrics: Iterable[str], *, tested: bool = True) -> dict[str, Measured]:
    """Return those of `metrics` that mean something for the column, in the order of `METRICS`.

    Testing costs several times as much as measuring; leave it out where only the distances matter.
    """
    wanted = set(metrics)
    found = {}
    for name, metric in METRICS.items():
        if name not in wanted or metric.ordered not in (None, pair.column.is_ordered):
            continue
        if name == "wasserstein_normalised" and not getattr(pair.column.bins, "scale", 0.0):
            continue  # a constant column has no unit to measure in
        values = np.where(pair.known, metric.measure(pair), np.nan)
        p_values = metric.p_values(pair, values) if tested and metric.p_values else None
        found[name] = Measured(values, p_values, metric.high(pair, values) if metric.high else None)
    return found
