"""A normal distribution that moves by d standard deviations: PSI tends to d², KS is 2Φ(d/2) − 1, Wasserstein is d."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from monitoring_pipeline.stats.distances import (
    hellinger_distance,
    jensen_shannon_divergence,
    kolmogorov_smirnov_distance,
    kolmogorov_smirnov_error_bound,
    kullback_leibler_divergence,
    population_stability_index,
    wasserstein_distance_from_bins,
)
from monitoring_pipeline.stats.histograms import group_equal_mass, sum_groups

CASE = next(
    each
    for each in json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))
    if each["id"] == "closed_forms"
)
SHIFTS: list[float] = CASE["inputs"]
# Fine enough for the limits below, and narrow enough that no bin's mass rounds to 0 on one side only.
EDGES = np.linspace(-7.0, 9.0, 3201)


def expected(metric: str) -> list[tuple[float, float]]:
    """Each shift with the published value."""
    return list(zip(SHIFTS, CASE["expected"][metric], strict=True))


def masses(edges: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    below, above = ndtr(edges - shift), ndtr(shift - edges)
    # Differences of the smaller tail keep their digits.
    return np.asarray(np.where(edges[:-1] > shift, above[:-1] - above[1:], below[1:] - below[:-1]))


def means(edges: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    density = np.exp(-((edges - shift) ** 2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(shift + (density[:-1] - density[1:]) / masses(edges, shift))


@pytest.mark.parametrize(("shift", "published"), expected("J_divergence_PSI_limit"))
def test_psi_tends_to_the_squared_shift(shift: float, published: float) -> None:
    index = population_stability_index(masses(EDGES, 0), masses(EDGES, shift))
    assert float(index) == pytest.approx(published, rel=1e-4)


@pytest.mark.parametrize("shift", SHIFTS)
def test_psi_on_ten_quantile_bins_is_below_the_limit_and_more_bins_come_closer(shift: float) -> None:
    def on(bins: int) -> float:
        edges = ndtri(np.linspace(0, 1, bins + 1))
        current = ndtr(edges - shift)
        return float(population_stability_index(np.full(bins, 1 / bins), current[1:] - current[:-1]))

    assert on(10) < on(20) < on(100) < shift**2


@pytest.mark.parametrize("shift", SHIFTS)
def test_kullback_leibler_tends_to_half_the_squared_shift(shift: float) -> None:
    divergence = kullback_leibler_divergence(masses(EDGES, 0), masses(EDGES, shift))
    assert float(divergence) == pytest.approx(shift**2 / 2, rel=1e-4)


@pytest.mark.parametrize("shift", SHIFTS)
def test_hellinger_tends_to_its_closed_form(shift: float) -> None:
    distance = hellinger_distance(masses(EDGES, 0), masses(EDGES, shift))
    assert float(distance) == pytest.approx(np.sqrt(1 - np.exp(-(shift**2) / 8)), rel=1e-4)


def test_jensen_shannon_of_a_small_shift_is_an_eighth_of_psi() -> None:
    pair = masses(EDGES, 0), masses(EDGES, 0.05)
    ratio = jensen_shannon_divergence(*pair) / population_stability_index(*pair)
    assert float(ratio) == pytest.approx(1 / 8, rel=1e-3)


@pytest.mark.parametrize(("shift", "published"), expected("KS"))
def test_kolmogorov_smirnov_is_exact_where_an_edge_lies_at_the_crossing(shift: float, published: float) -> None:
    assert shift / 2 == pytest.approx(EDGES[np.abs(EDGES - shift / 2).argmin()])
    distance = float(kolmogorov_smirnov_distance(masses(EDGES, 0), masses(EDGES, shift)))
    assert distance == pytest.approx(published, abs=1e-6)
    assert distance == pytest.approx(2 * ndtr(shift / 2) - 1, abs=1e-10)


@pytest.mark.parametrize("bins", [5, 10, 100])
@pytest.mark.parametrize("shift", SHIFTS)
def test_kolmogorov_smirnov_of_quantile_bins_and_its_bound_enclose_the_truth(shift: float, bins: int) -> None:
    current = np.diff(ndtr(ndtri(np.linspace(0, 1, bins + 1)) - shift))
    pair = np.full(bins, 1 / bins), current
    binned, bound = float(kolmogorov_smirnov_distance(*pair)), float(kolmogorov_smirnov_error_bound(*pair))
    assert binned - 1e-12 <= 2 * ndtr(shift / 2) - 1 <= binned + bound
    assert bound <= min(1 / bins, current.max()) + 1e-12


@pytest.mark.parametrize(("shift", "published"), expected("W1"))
@pytest.mark.parametrize("bins", [5, 10, 100])
def test_wasserstein_is_the_shift_at_any_number_of_bins(shift: float, published: float, bins: int) -> None:
    groups = group_equal_mass(masses(EDGES, 0), bins)
    sides = []
    for side in (0.0, shift):
        coarse = sum_groups(masses(EDGES, side), groups, bins)
        sides += [coarse, sum_groups(masses(EDGES, side) * means(EDGES, side), groups, bins) / coarse]
    # Each side has its own mean in a bin; edges alone would put both at the same place.
    assert float(wasserstein_distance_from_bins(*sides)) == pytest.approx(published, abs=1e-6)
