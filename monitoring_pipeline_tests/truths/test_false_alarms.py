"""Two samples of one distribution: no test may reject more often than its level says."""

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from monitoring_pipeline.stats.distances import (
    jensen_shannon_divergence,
    kolmogorov_smirnov_distance,
    population_stability_index,
)
from monitoring_pipeline.stats.histograms import occupied_bins, proportions, smoothed_pair
from monitoring_pipeline.stats.null_distributions import (
    chi_square_two_sample,
    jensen_shannon_p_value,
    ks_p_value,
    psi_p_value,
    two_sample_ks,
)

REPETITIONS = 2000
LEVEL = 0.05
LOW, HIGH = binom.interval(0.999, REPETITIONS, LEVEL)
Counts = NDArray[np.int64]


def unchanged(rows: tuple[int, int], bins: int) -> tuple[Counts, Counts]:
    generator = np.random.default_rng([*rows, bins])
    shares = np.full(bins, 1 / bins)
    return generator.multinomial(rows[0], shares, REPETITIONS), generator.multinomial(rows[1], shares, REPETITIONS)


def chi_square_rejections(p_values: str, rows: tuple[int, int]) -> int:
    counts = unchanged(rows, 10)
    sizes: dict[str, ArrayLike] = {"reference_rows": rows[0], "current_rows": rows[1], "bins": occupied_bins(*counts)}
    tests = {
        "psi": lambda: psi_p_value(population_stability_index(*smoothed_pair(*counts)), **sizes),
        "jensen_shannon": lambda: jensen_shannon_p_value(jensen_shannon_divergence(*smoothed_pair(*counts)), **sizes),
        "chi_square": lambda: chi_square_two_sample(*counts)[2],
    }
    return int((tests[p_values]() <= LEVEL).sum())


@pytest.mark.parametrize("test", ["psi", "jensen_shannon", "chi_square"])
def test_at_two_thousand_rows_a_side_the_false_alarm_rate_is_the_level(test: str) -> None:
    assert LOW <= chi_square_rejections(test, (2000, 2000)) <= HIGH


@pytest.mark.parametrize("test", ["psi", "jensen_shannon", "chi_square"])
@pytest.mark.parametrize("rows", [(100_000, 40), (100_000, 200), (100, 100)])
def test_small_windows_alarm_no_more_often_than_the_level(test: str, rows: tuple[int, int]) -> None:
    assert chi_square_rejections(test, rows) <= HIGH


@pytest.mark.parametrize("rows", [(100_000, 40), (100_000, 200), (2000, 2000)])
def test_kolmogorov_smirnov_on_a_hundred_bins_alarms_no_more_often_than_the_level(rows: tuple[int, int]) -> None:
    distances = kolmogorov_smirnov_distance(*map(proportions, unchanged(rows, 100)))
    alarms = int((ks_p_value(distances, reference_rows=rows[0], current_rows=rows[1]) <= LEVEL).sum())
    assert alarms <= HIGH
    assert alarms >= REPETITIONS * LEVEL / 2  # conservative, but awake


def test_the_exact_kolmogorov_smirnov_test_alarms_no_more_often_than_the_level() -> None:
    generator = np.random.default_rng(8)
    alarms = sum(two_sample_ks(generator.normal(size=500), generator.normal(size=120))[1] <= LEVEL for _ in range(400))
    assert alarms <= binom.interval(0.999, 400, LEVEL)[1]


def test_a_change_of_a_fifth_of_a_deviation_is_seen_by_every_test_at_two_thousand_rows() -> None:
    generator = np.random.default_rng(9)
    edges = np.quantile(generator.normal(size=100_000), np.linspace(0, 1, 11))[1:-1]
    counts = [
        np.bincount(np.searchsorted(edges, generator.normal(shift, size=2000)), minlength=10) for shift in (0, 0.2)
    ]
    sizes = {"reference_rows": 2000, "current_rows": 2000}
    assert psi_p_value(population_stability_index(*smoothed_pair(*counts)), **sizes, bins=10) < 0.001
    assert jensen_shannon_p_value(jensen_shannon_divergence(*smoothed_pair(*counts)), **sizes, bins=10) < 0.001
    assert chi_square_two_sample(*counts)[2] < 0.001
    assert ks_p_value(kolmogorov_smirnov_distance(*map(proportions, counts)), **sizes) < 0.001
