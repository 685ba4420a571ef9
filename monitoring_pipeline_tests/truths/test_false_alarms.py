"""Two samples of one distribution: no test may reject more often than its level says."""

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from monitoring_pipeline.stats.block_limits import block_limit_from_moments, block_moments
from monitoring_pipeline.stats.distances import (
    hellinger_distance,
    jensen_shannon_divergence,
    kolmogorov_smirnov_distance,
    l_infinity_distance,
    population_stability_index,
)
from monitoring_pipeline.stats.histograms import occupied_bins, proportions, smoothed_pair
from monitoring_pipeline.stats.hypothesis_tests import chi_square_two_sample, permutation_p_value, two_sample_ks
from monitoring_pipeline.stats.largest_differences import l_infinity_p_value
from monitoring_pipeline.stats.null_distributions import (
    hellinger_p_value,
    jensen_shannon_p_value,
    ks_p_value,
    psi_p_value,
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


@pytest.mark.parametrize("shape", ["equal", "unequal"])
@pytest.mark.parametrize("bins", [5, 10, 20])
@pytest.mark.parametrize("rows", [(20_000, 50), (20_000, 100), (20_000, 1000), (100, 100)])
def test_with_pooled_counts_small_windows_alarm_as_often_as_the_level(
    rows: tuple[int, int], bins: int, shape: str
) -> None:
    generator = np.random.default_rng([*rows, bins])
    shares = np.full(bins, 1 / bins) if shape == "equal" else 1 / np.arange(1, bins + 1)
    counts = [generator.multinomial(side, shares / shares.sum(), REPETITIONS) for side in rows]
    sizes: dict[str, ArrayLike] = {
        "reference_rows": rows[0],
        "current_rows": rows[1],
        "bins": occupied_bins(*counts),
        "pooled": counts[0] + counts[1],
    }
    pair = smoothed_pair(*counts)
    for p_values in (
        psi_p_value(population_stability_index(*pair), **sizes),
        jensen_shannon_p_value(jensen_shannon_divergence(*pair), **sizes),
        hellinger_p_value(hellinger_distance(*pair), **sizes),
    ):
        assert LOW <= int((p_values <= LEVEL).sum()) <= HIGH
        assert int((p_values <= 0.01).sum()) <= binom.interval(0.999, REPETITIONS, 0.01)[1]


@pytest.mark.parametrize("rows", [(20_000, 50), (20_000, 1000), (1000, 1000)])
@pytest.mark.parametrize("categories", [2, 5, 20, 300])
@pytest.mark.parametrize("power", [0, 1])
def test_l_infinity_alarms_no_more_often_than_the_level(rows: tuple[int, int], categories: int, power: int) -> None:
    generator = np.random.default_rng([*rows, categories])
    shares = 1.0 / np.arange(1, categories + 1) ** power
    counts = [generator.multinomial(side, shares / shares.sum(), REPETITIONS) for side in rows]
    distances = l_infinity_distance(*map(proportions, counts))
    p_values = l_infinity_p_value(distances, reference_rows=rows[0], current_rows=rows[1], pooled=counts[0] + counts[1])
    alarms = int((p_values <= LEVEL).sum())
    assert alarms <= HIGH
    if categories <= 20:  # beyond, a window of a thousand equally rare categories knows few distances at all
        assert alarms >= REPETITIONS * LEVEL * 0.6


def test_permutations_alarm_as_often_as_the_level_whatever_the_distance() -> None:
    reference, current = (each[:500] for each in unchanged((400, 50), 10))
    for distance in (l_infinity_distance, kolmogorov_smirnov_distance, hellinger_distance):
        rng = np.random.default_rng(1)
        alarms = int((permutation_p_value(reference, current, distance, permutations=199, rng=rng) <= LEVEL).sum())
        low, high = binom.interval(0.999, 500, LEVEL)
        assert low / 2 <= alarms <= high


BLOCKS = {
    "chi-square 1": lambda generator, size: generator.chisquare(1, size),
    "chi-square 2": lambda generator, size: generator.chisquare(2, size),
    "chi-square 9": lambda generator, size: generator.chisquare(9, size),
    "log-normal 0.3": lambda generator, size: generator.lognormal(0, 0.3, size),
    "log-normal 1.0": lambda generator, size: generator.lognormal(0, 1.0, size),
}


@pytest.mark.parametrize("blocks", [4, 8, 30])
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_new_block_is_above_the_limit_about_as_often_as_stated(kind: str, blocks: int) -> None:
    repetitions = 20_000
    distances = BLOCKS[kind](np.random.default_rng(blocks), (repetitions, blocks + 1))
    moments = block_moments(distances[:, :blocks])
    for level in (0.05, 0.01):
        limit = block_limit_from_moments(*moments, independent=blocks, probability=1 - level)
        share = float((distances[:, blocks] > limit).mean())
        assert level * 0.3 <= share <= level * 1.8


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
