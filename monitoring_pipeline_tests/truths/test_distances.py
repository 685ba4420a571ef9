"""Distances against scipy, and the promises of their docstrings."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, wasserstein_distance

from monitoring_pipeline.stats.distances import (
    hellinger_distance,
    jensen_shannon_distance,
    jensen_shannon_divergence,
    kolmogorov_smirnov_distance,
    kolmogorov_smirnov_error_bound,
    kullback_leibler_divergence,
    l_infinity_distance,
    population_stability_index,
    psi_contributions,
    wasserstein_distance_from_bins,
)
from monitoring_pipeline.stats.histograms import proportions

Distance = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
DISTANCES: list[Distance] = [
    population_stability_index,
    kullback_leibler_divergence,
    jensen_shannon_divergence,
    jensen_shannon_distance,
    hellinger_distance,
    l_infinity_distance,
    kolmogorov_smirnov_distance,
]
RANDOM = np.random.default_rng(7).dirichlet(np.ones(12), size=(2, 5, 4))
REFERENCE, CURRENT = RANDOM[0], RANDOM[1]


def rows(distance: Callable[..., float]) -> NDArray[np.float64]:
    """Apply a distance of one pair to every pair."""
    return np.array(
        [[distance(p, q) for p, q in zip(*block, strict=True)] for block in zip(REFERENCE, CURRENT, strict=True)]
    )


def test_jensen_shannon_agrees_with_scipy() -> None:
    np.testing.assert_allclose(
        jensen_shannon_distance(REFERENCE, CURRENT), rows(lambda p, q: jensenshannon(p, q, base=2)), rtol=1e-12
    )
    np.testing.assert_allclose(
        jensen_shannon_divergence(REFERENCE, CURRENT), rows(lambda p, q: jensenshannon(p, q) ** 2), rtol=1e-12
    )


def test_kullback_leibler_agrees_with_scipy_in_the_stated_direction() -> None:
    np.testing.assert_allclose(
        kullback_leibler_divergence(REFERENCE, CURRENT), rows(lambda p, q: entropy(q, p)), rtol=1e-12
    )


def test_psi_is_both_kullback_leibler_divergences_together() -> None:
    np.testing.assert_allclose(
        population_stability_index(REFERENCE, CURRENT), rows(lambda p, q: entropy(p, q) + entropy(q, p)), rtol=1e-12
    )


def test_hellinger_agrees_with_the_euclidean_norm_of_roots() -> None:
    np.testing.assert_allclose(
        hellinger_distance(REFERENCE, CURRENT),
        rows(lambda p, q: float(np.linalg.norm(np.sqrt(p) - np.sqrt(q))) / np.sqrt(2)),
        rtol=1e-12,
    )


@pytest.mark.parametrize("distance", DISTANCES)
def test_leading_axes_are_independent_and_one_reference_serves_all(distance: Distance) -> None:
    together = distance(REFERENCE[0, 0], CURRENT)
    assert together.shape == (5, 4)
    assert float(together[3, 2]) == pytest.approx(float(distance(REFERENCE[0, 0], CURRENT[3, 2])), rel=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_same_distribution_is_at_distance_exactly_zero(distance: Distance) -> None:
    assert (distance(REFERENCE, REFERENCE) == 0).all()


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_missing_proportion_on_either_side_makes_the_distance_missing(distance: Distance) -> None:
    missing = np.array([np.nan, np.nan])
    assert np.isnan(distance(missing, np.array([0.5, 0.5])))
    assert np.isnan(distance(np.array([0.5, 0.5]), missing))


@pytest.mark.parametrize("distance", DISTANCES)
def test_bins_empty_on_both_sides_change_nothing(distance: Distance) -> None:
    padding = [(0, 0), (0, 0), (1, 2)]
    np.testing.assert_allclose(
        distance(np.pad(REFERENCE, padding), np.pad(CURRENT, padding)), distance(REFERENCE, CURRENT), rtol=1e-12
    )


def test_without_a_bin_in_common_each_distance_is_at_its_stated_maximum() -> None:
    p, q = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    values = [float(distance(p, q)) for distance in DISTANCES]
    assert values == [np.inf, np.inf, pytest.approx(np.log(2)), 1.0, 1.0, 1.0, 1.0]


def test_only_current_rows_in_an_empty_reference_bin_make_kullback_leibler_infinite() -> None:
    assert np.isfinite(kullback_leibler_divergence([0.5, 0.5], [1.0, 0.0]))
    assert np.isinf(kullback_leibler_divergence([1.0, 0.0], [0.5, 0.5]))
    assert np.isinf(population_stability_index([0.5, 0.5], [1.0, 0.0]))


def test_contributions_are_never_negative_and_add_up_to_psi() -> None:
    terms = psi_contributions(REFERENCE, CURRENT)
    assert (terms >= 0).all()
    np.testing.assert_allclose(terms.sum(axis=-1), population_stability_index(REFERENCE, CURRENT), rtol=1e-12)


integers = st.lists(st.integers(0, 40), min_size=1, max_size=60)


@settings(deadline=None)
@given(integers, integers, st.integers(1, 15))
def test_the_exact_kolmogorov_smirnov_distance_lies_between_the_binned_one_and_its_bound(
    reference: list[int], current: list[int], width: int
) -> None:
    edges = np.arange(0, 41 + width, width)
    p, q = (proportions(np.histogram(side, edges)[0]) for side in (reference, current))
    binned, bound = float(kolmogorov_smirnov_distance(p, q)), float(kolmogorov_smirnov_error_bound(p, q))
    values = np.arange(41)
    below = [np.searchsorted(np.sort(side), values, side="right") / len(side) for side in (reference, current)]
    exact = float(np.abs(below[0] - below[1]).max())
    assert binned - 1e-12 <= exact <= binned + bound + 1e-12
    assert bound <= float(np.minimum(p, q).max()) + 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_the_bound_is_reached_by_rows_arranged_against_each_other(seed: int) -> None:
    p, q = (proportions(np.random.default_rng([seed, side]).integers(1, 9, 6)) for side in (0, 1))
    reached = []
    for reference_first in (True, False):
        # Two places in each bin: one side's rows all at the first, the other's all at the second.
        halves = (0, 1) if reference_first else (1, 0)
        spread = [np.zeros(12), np.zeros(12)]
        for side, half, mass in zip(spread, halves, (p, q), strict=True):
            side[half::2] = mass
        reached.append(float(kolmogorov_smirnov_distance(*spread)))
    total = float(kolmogorov_smirnov_distance(p, q) + kolmogorov_smirnov_error_bound(p, q))
    assert max(reached) == pytest.approx(total, abs=1e-12)


@settings(deadline=None)
@given(integers, integers, st.integers(1, 15))
def test_wasserstein_is_exact_for_rows_at_the_means_of_their_bins(
    reference: list[int], current: list[int], width: int
) -> None:
    edges = np.arange(0, 41 + width, width)
    sides = []
    for side in (reference, current):
        counts, sums = np.histogram(side, edges)[0], np.histogram(side, edges, weights=side)[0]
        sides.append((counts, np.divide(sums, counts, out=np.full(counts.size, np.nan), where=counts > 0)))
    places = [means[counts > 0] for counts, means in sides]
    weights = [counts[counts > 0] for counts, _ in sides]
    expected = wasserstein_distance(*places, *weights)
    assert float(wasserstein_distance_from_bins(*sides[0], *sides[1])) == pytest.approx(expected, abs=1e-9)


def test_wasserstein_is_off_the_rows_own_by_at_most_the_spread_within_bins() -> None:
    generator = np.random.default_rng(3)
    for _ in range(50):
        values = generator.exponential(generator.uniform(0.5, 2), 200), generator.gamma(2, 0.5, 150)
        edges = np.concatenate([np.linspace(0, 3, 4), [np.inf]])
        arguments, spread = [], 0.0
        for side in values:
            bin_of = np.searchsorted(edges, side, side="right") - 1
            counts, sums = np.bincount(bin_of, minlength=4), np.bincount(bin_of, side, minlength=4)
            means = sums / np.maximum(counts, 1)
            arguments += [counts, means]
            spread += float(np.abs(side - means[bin_of]).mean())
        binned = float(wasserstein_distance_from_bins(*arguments))
        assert abs(binned - wasserstein_distance(*values)) <= spread


def test_wasserstein_takes_one_reference_for_many_rows_and_is_missing_without_rows() -> None:
    result = wasserstein_distance_from_bins([1, 1], [0.0, 10.0], [[1, 1], [0, 0], [2, 0]], [[1.0, 10.0]] * 3)
    assert result[[0, 2]].tolist() == [0.5, 5.0]
    assert np.isnan(result[1])
