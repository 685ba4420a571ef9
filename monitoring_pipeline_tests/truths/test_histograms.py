"""Proportions, quantile edges and groups of bins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from monitoring_pipeline.stats.histograms import (
    group_equal_mass,
    occupied_bins,
    proportions,
    quantile_edges,
    smoothed_pair,
    sorted_quantiles,
    sum_groups,
)

counts = arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 1000))
samples = arrays(
    np.float64, st.integers(1, 200), elements=st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, 2.0, -3.5])
)


def test_a_row_without_counts_has_no_proportions_and_its_neighbours_keep_theirs() -> None:
    shares = proportions([[0, 0], [1, 3]])
    assert np.isnan(shares[0]).all()
    assert shares[1].tolist() == [0.25, 0.75]


def test_a_bin_empty_on_both_sides_stays_exactly_empty_for_each_row() -> None:
    reference, current = smoothed_pair([8, 0, 0], [[8, 0, 0], [4, 0, 4]])
    assert (reference == 0).tolist() == (current == 0).tolist() == [[False, True, True], [False, True, False]]
    np.testing.assert_allclose(reference.sum(axis=-1), 1)
    np.testing.assert_allclose(current, np.array([[1, 0, 0], [0.5, 0, 0.5]]))


def test_smoothing_invents_no_sample_for_a_side_without_rows() -> None:
    for reference, current in (smoothed_pair([1, 2], [0, 0]), smoothed_pair([0, 0], [1, 2])):
        assert np.isnan(reference).all()
        assert np.isnan(current).all()


def test_occupied_bins_are_counted_for_each_row() -> None:
    assert occupied_bins([1, 0, 0], [[0, 0, 0], [0, 2, 3]]).tolist() == [1, 3]


@settings(deadline=None)
@given(samples, st.integers(1, 50))
def test_edges_rise_strictly_enclose_every_value_and_are_no_more_than_asked(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], bins: int
) -> None:
    edges = quantile_edges(values, bins)
    assert (np.diff(edges) > 0).all()
    assert edges[0] == values.min()
    assert edges[-1] == np.nextafter(values.max(), np.inf)
    assert 2 <= edges.size <= bins + 1


@settings(deadline=None)
@given(samples, st.lists(st.floats(0, 1), min_size=1))
def test_quantiles_of_sorted_values_are_those_of_numpy_to_the_bit(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], shares: list[float]
) -> None:
    assert sorted_quantiles(np.sort(values), shares).tolist() == np.quantile(values, shares).tolist()


def test_each_of_few_distinct_values_gets_its_own_bin() -> None:
    values = np.repeat([0.0, 1.0, 5.0], [95, 4, 1])
    assert np.histogram(values, quantile_edges(values, 10))[0].tolist() == [95, 4, 1]


def test_a_frequent_value_is_not_mixed_with_its_neighbours() -> None:
    values = np.concatenate([np.zeros(900), np.linspace(0.5, 1.0, 100)])
    edges = quantile_edges(values, 100)
    assert edges[1] == np.nextafter(0.0, 1.0)
    assert np.histogram(values, edges)[0][0] == 900


def test_bins_of_a_smooth_sample_hold_equal_shares() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    assert np.ptp(np.histogram(values, quantile_edges(values, 100))[0]) <= 2


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf]])
def test_edges_of_nothing_or_of_values_that_are_not_finite_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        quantile_edges(values, 10)


@settings(deadline=None)
@given(counts, st.integers(1, 12))
def test_groups_are_contiguous_and_off_equal_mass_by_at_most_the_largest_bin(
    fine: np.ndarray[tuple[int], np.dtype[np.int64]], groups: int
) -> None:
    group = group_equal_mass(fine, groups)
    assert set(np.diff(group)) <= {0, 1}
    assert group[0] == 0
    assert group[-1] < groups
    if fine.any():
        share = sum_groups(fine, group, groups) / fine.sum()
        assert (share <= 1 / groups + fine.max() / fine.sum() + 1e-12).all()


@settings(deadline=None)
@given(st.integers(1, 12), st.data())
def test_sums_of_groups_are_exact_for_any_order_of_groups(size: int, data: st.DataObject) -> None:
    fine = data.draw(arrays(np.int64, (3, 9), elements=st.integers(0, 2**60)))
    groups = data.draw(arrays(np.int64, 9, elements=st.integers(0, size - 1)))
    coarse = sum_groups(fine, groups, size)
    assert coarse.dtype == np.int64
    assert coarse.tolist() == [[int(row[groups == group].sum()) for group in range(size)] for row in fine]


def test_narrow_integers_do_not_overflow_in_a_sum() -> None:
    assert sum_groups(np.full(4, 200, dtype=np.uint8), [0, 0, 0, 0], 1).tolist() == [800]


def test_a_missing_sum_spoils_its_own_group_only() -> None:
    coarse = sum_groups([np.nan, 1.0, 2.0], [0, 1, 1], 2)
    assert np.isnan(coarse[0])
    assert coarse[1] == 3
