"""p-values, critical values and block limits against scipy and their own definitions."""

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import comb

from monitoring_pipeline.stats.block_limits import (
    block_limit_from_level,
    block_limit_from_moments,
    block_moments,
    block_p_value_from_level,
    block_p_value_from_moments,
)
from monitoring_pipeline.stats.distances import l_infinity_distance, population_stability_index
from monitoring_pipeline.stats.divergence_moments import TERMS, THICK, Divergence, null_moments
from monitoring_pipeline.stats.histograms import smoothed_pair
from monitoring_pipeline.stats.hypothesis_tests import permutation_p_value, two_sample_ks
from monitoring_pipeline.stats.largest_differences import l_infinity_critical_value, l_infinity_p_value
from monitoring_pipeline.stats.null_distributions import (
    hellinger_critical_value,
    hellinger_p_value,
    jensen_shannon_critical_value,
    jensen_shannon_p_value,
    ks_p_value,
    psi_critical_value,
    psi_p_value,
)

DIVERGENCES = (
    (psi_p_value, psi_critical_value),
    (jensen_shannon_p_value, jensen_shannon_critical_value),
    (hellinger_p_value, hellinger_critical_value),
)
SIZES = [(20, 1000), (40, 100_000), (200, 200), (1000, 2000)]


@pytest.mark.parametrize(("reference_rows", "current_rows"), SIZES)
@pytest.mark.parametrize("bins", [2, 10, 20])
def test_psi_jensen_shannon_and_hellinger_follow_a_scaled_chi_square(
    reference_rows: int, current_rows: int, bins: int
) -> None:
    scale = 1 / reference_rows + 1 / current_rows
    value = scale * np.array([0.1, 1.0, 10.0, 40.0])
    expected = stats.chi2.sf(value / scale, bins - 1)
    sizes = {"reference_rows": reference_rows, "current_rows": current_rows, "bins": bins}
    np.testing.assert_allclose(psi_p_value(value, **sizes), expected, rtol=1e-10)
    np.testing.assert_allclose(jensen_shannon_p_value(value / 8, **sizes), expected, rtol=1e-10)
    np.testing.assert_allclose(hellinger_p_value(np.sqrt(value / 8), **sizes), expected, rtol=1e-10)


@pytest.mark.parametrize("probability", [0.5, 0.95, 0.999])
def test_the_critical_value_has_the_p_value_it_was_asked_for(probability: float) -> None:
    sizes: dict[str, ArrayLike] = {"reference_rows": [500, 5000], "current_rows": 300, "bins": [10, 20]}
    for p_value, critical_value in DIVERGENCES:
        np.testing.assert_allclose(p_value(critical_value(probability, **sizes), **sizes), 1 - probability, rtol=1e-9)


def test_no_rows_on_a_side_gives_no_p_value_and_no_critical_value() -> None:
    empty: dict[str, ArrayLike] = {"reference_rows": [1000, 0, 1000], "current_rows": [0, 1000, 1000], "bins": 10}
    assert np.isnan(psi_p_value(0.3, **empty)).tolist() == [True, True, False]
    assert np.isnan(jensen_shannon_p_value(0.3, **empty)).tolist() == [True, True, False]
    assert np.isnan(psi_critical_value(0.95, **empty)).tolist() == [True, True, False]
    assert np.isnan(ks_p_value(0.3, reference_rows=[1000, 0], current_rows=[0, 1000])).all()


def test_a_missing_distance_has_a_missing_p_value_and_an_infinite_one_is_impossible() -> None:
    sizes = {"reference_rows": 100, "current_rows": 100}
    assert np.isnan(psi_p_value(np.nan, **sizes, bins=[1, 10])).all()
    assert np.isnan(ks_p_value(np.nan, **sizes))
    assert float(psi_p_value(np.inf, **sizes, bins=10)) == 0


def test_one_occupied_bin_is_no_evidence_and_none_is_no_answer() -> None:
    assert float(psi_p_value(0.0, reference_rows=100, current_rows=100, bins=1)) == 1
    assert np.isnan(psi_p_value(0.0, reference_rows=100, current_rows=100, bins=0))
    assert float(psi_critical_value(0.95, reference_rows=100, current_rows=100, bins=1)) == 0


@pytest.mark.parametrize(("reference_rows", "current_rows"), [(1000, 40), (1000, 100), (5000, 300), (3000, 2000)])
def test_the_kolmogorov_smirnov_p_value_is_near_the_exact_one(reference_rows: int, current_rows: int) -> None:
    generator = np.random.default_rng(current_rows)
    for shift in (0.0, 0.1, 0.2, 0.3):
        reference, current = generator.normal(size=reference_rows), generator.normal(shift, size=current_rows)
        distance, exact = two_sample_ks(reference, current)
        p_value = ks_p_value(distance, reference_rows=reference_rows, current_rows=current_rows)
        assert float(p_value) == pytest.approx(exact, abs=0.003 if exact < 0.2 else 0.01)


@pytest.mark.parametrize("seed", range(5))
def test_the_small_sample_correction_comes_closer_to_the_exact_p_value_than_the_plain_limit(seed: int) -> None:
    generator = np.random.default_rng(seed)
    distance, exact = two_sample_ks(generator.normal(size=9000), generator.normal(0.1, size=100))
    corrected = float(ks_p_value(distance, reference_rows=9000, current_rows=100))
    plain = float(stats.kstwobign.sf(distance / np.sqrt(1 / 9000 + 1 / 100)))
    assert abs(corrected - exact) < abs(plain - exact)


@pytest.mark.parametrize("divergence", ["psi", "jensen_shannon", "hellinger"])
@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.6, 0.3, 0.1], [0.25, 0.25, 0.25, 0.25]])
def test_the_moments_of_thin_bins_are_those_of_all_ways_to_deal_the_rows_out(
    divergence: Divergence, shares: list[float]
) -> None:
    pooled = (np.array(shares) * 40).round().astype(int)
    reference_rows, current_rows = 28, 12
    dealt = np.array([each for each in np.ndindex(*(pooled + 1)) if sum(each) == current_rows])
    weight = comb(pooled, dealt).prod(axis=1) / comb(pooled.sum(), current_rows)
    terms = TERMS[divergence](*smoothed_pair(pooled - dealt, dealt)).sum(axis=1) / (1 / 28 + 1 / 12)
    exact_mean = weight @ terms
    mean, variance = null_moments(divergence, pooled, reference_rows=reference_rows, current_rows=current_rows)
    assert float(mean) == pytest.approx(exact_mean, rel=1e-6)
    assert float(variance) == pytest.approx(weight @ (terms - exact_mean) ** 2, rel=0.04)


@pytest.mark.parametrize("divergence", ["psi", "jensen_shannon", "hellinger"])
def test_the_moments_of_thin_and_thick_bins_meet_and_end_as_those_of_chi_square(divergence: Divergence) -> None:
    sizes = {"reference_rows": 1_000_000, "current_rows": 8 * THICK}
    thin, thick = (null_moments(divergence, (1_000_000 / 8 + rows) * np.ones(8), **sizes) for rows in (49, 51))
    np.testing.assert_allclose(thin, thick, rtol=0.03)
    np.testing.assert_allclose(thick, (7, 14), rtol=1e-3)


def test_pooled_counts_change_nothing_where_every_bin_is_thick_and_much_where_they_are_thin() -> None:
    for p_value, critical_value in DIVERGENCES:
        for rows, low, high in ((100_000, 0.0499, 0.0501), (50, 0.1, 0.5)):
            sizes = {"reference_rows": 200_000, "current_rows": rows, "bins": 20}
            pooled = np.full((3, 20), (200_000 + rows) / 20)
            limit = critical_value(0.95, **sizes, pooled=pooled)
            np.testing.assert_allclose(p_value(limit, **sizes, pooled=pooled), 0.05, rtol=1e-9)
            assert low < p_value(limit, **sizes).max() < high


def test_pooled_counts_keep_the_answers_where_there_is_nothing_to_ask() -> None:
    pooled = [[10, 0], [6, 4], [6, 4]]
    sizes: dict[str, ArrayLike] = {"reference_rows": [5, 10, 5], "current_rows": [5, 0, 5], "bins": [1, 2, 2]}
    for p_value, critical_value in DIVERGENCES:
        assert p_value([0.0, 0.1, 0.0], **sizes, pooled=pooled)[[0, 2]].tolist() == [1, 1]
        assert np.isnan(p_value([0.0, 0.1, np.nan], **sizes, pooled=pooled)[1:]).all()
        assert np.isnan(critical_value(0.95, **sizes, pooled=pooled)).tolist() == [False, True, False]
        assert float(critical_value(0.95, **sizes, pooled=pooled)[0]) == 0


@pytest.mark.parametrize("rows", [(90, 40), (400, 30)])
@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.8, 0.15, 0.05], [0.25, 0.25, 0.25, 0.25]])
def test_l_infinity_comes_near_the_share_of_all_ways_to_deal_the_rows_out(
    rows: tuple[int, int], shares: list[float]
) -> None:
    pooled = (np.array(shares) * sum(rows)).round().astype(int)
    pooled[0] += sum(rows) - pooled.sum()
    least = np.minimum(pooled, rows[1])
    dealt = np.array([each for each in np.ndindex(*(least + 1)) if sum(each) == rows[1]])
    weight = comb(pooled, dealt).prod(axis=1) / comb(pooled.sum(), rows[1])
    distances = np.abs(dealt / rows[1] - (pooled - dealt) / rows[0]).max(axis=1)
    for value in np.unique(distances.round(12)):
        exact = weight[distances >= value - 1e-9].sum()
        stated = float(l_infinity_p_value(value, reference_rows=rows[0], current_rows=rows[1], pooled=pooled))
        if exact > 0.01:
            assert stated == pytest.approx(exact, rel=0.2)


@pytest.mark.parametrize("categories", [2, 5, 20, 300])
def test_the_l_infinity_critical_value_is_the_smallest_distance_rare_enough(categories: int) -> None:
    pooled = np.random.default_rng(1).multinomial(1300, np.full(categories, 1 / categories), 2)
    sizes: dict[str, ArrayLike] = {"reference_rows": 1000, "current_rows": 300, "pooled": pooled}
    limit = l_infinity_critical_value([0.95, 0.99], **sizes)
    assert (l_infinity_p_value(limit, **sizes) <= [0.05, 0.01]).all()
    assert (l_infinity_p_value(limit - 1e-6 - 1 / 1000 - 1 / 300, **sizes) > [0.05, 0.01]).all()


def test_l_infinity_has_no_answer_for_an_empty_side_and_1_for_no_distance() -> None:
    sizes: dict[str, ArrayLike] = {"pooled": [[5, 5]] * 3, "reference_rows": [10, 0, 5], "current_rows": [0, 10, 5]}
    assert np.isnan(l_infinity_p_value(0.5, **sizes)).tolist() == [True, True, False]
    assert np.isnan(l_infinity_critical_value(0.95, **sizes)).tolist() == [True, True, False]
    assert l_infinity_p_value([0.0, np.nan, 0.1], reference_rows=5, current_rows=5, pooled=[10, 0])[0] == 1
    assert l_infinity_p_value(0.1, reference_rows=5, current_rows=5, pooled=[10, 0]) == 0


def test_permutations_give_fishers_exact_p_value_for_two_categories() -> None:
    reference, current = np.array([[30, 10], [25, 15]]), np.array([[9, 11], [11, 9]])
    p_values = permutation_p_value(
        reference, current, l_infinity_distance, permutations=4000, rng=np.random.default_rng(2)
    )
    for row in range(2):
        total, first = reference[row].sum() + current[row].sum(), reference[row][0] + current[row][0]
        drawn = np.arange(21)
        far = np.abs(drawn / 20 - (first - drawn) / 40) >= abs(current[row][0] / 20 - reference[row][0] / 40) - 1e-9
        exact = stats.hypergeom.pmf(drawn, total, first, 20)[far].sum()
        assert float(p_values[row]) == pytest.approx(exact, abs=4 * np.sqrt(exact / 4000))


def test_permutations_need_rows_on_both_sides_and_repeat_with_the_same_seed() -> None:
    def p_value(seed: int) -> NDArray[np.float64]:
        sides = [[3, 4, 5], [0, 0, 0]], [[9, 1, 1], [9, 1, 1]]
        rng = np.random.default_rng(seed)
        return permutation_p_value(*sides, population_stability_index, permutations=200, rng=rng, pseudocount=0.5)

    assert np.isnan(p_value(1)).tolist() == [False, True]
    assert p_value(1)[0] == p_value(1)[0]


def test_the_limit_of_separate_blocks_is_hahns_on_the_twentieth_roots() -> None:
    distances = np.random.default_rng(1).lognormal(sigma=0.3, size=(3, 8))
    roots = distances**0.05
    expected = (roots.mean(axis=1) + stats.t.ppf(0.99, 7) * roots.std(axis=1, ddof=1) * np.sqrt(1 + 1 / 8)) ** 20
    limit = block_limit_from_moments(*block_moments(distances), independent=8, probability=0.99)
    np.testing.assert_allclose(limit, expected, rtol=1e-10)


def test_distances_far_below_the_median_move_the_limit_no_further_than_a_quarter_of_it() -> None:
    distances = np.array([1.0, 2.0, 4.0, 3.0, 1e-9])
    assert block_moments(distances) == block_moments([1.0, 2.0, 4.0, 3.0, 0.5])
    assert (distances**0.05).var() > 10 * block_moments(distances)[1]


@pytest.mark.parametrize("independent", [2, 4.4, 30])
@pytest.mark.parametrize("probability", [0.5, 0.95, 0.999])
def test_the_limit_at_a_probability_has_the_p_value_that_is_left(independent: float, probability: float) -> None:
    limit = block_limit_from_moments(2.0, [0.001, 0.002], independent=independent, probability=probability)
    p_value = block_p_value_from_moments(limit, 2.0, [0.001, 0.002], independent=independent)
    np.testing.assert_allclose(p_value, 1 - probability, rtol=1e-9)


def test_equally_far_blocks_leave_no_doubt() -> None:
    p_values = block_p_value_from_moments([0.1, 0.0, 0.2], 0.1**0.05, 0.0, independent=5)
    assert p_values.tolist() == [1, 1, 0]


@pytest.mark.parametrize("independent", [2, 4.4, 30])
@pytest.mark.parametrize("probability", [0.5, 0.95, 0.999])
def test_the_limit_from_a_level_has_the_p_value_that_is_left(independent: float, probability: float) -> None:
    limit = block_limit_from_level([0.0, 2.0], 3.0, independent=independent, probability=probability)
    assert limit[1] - limit[0] == pytest.approx(2.0)
    p_value = block_p_value_from_level(limit, [0.0, 2.0], 3.0, independent=independent)
    np.testing.assert_allclose(p_value, 1 - probability, rtol=1e-9)


def test_a_distance_within_the_noise_is_no_evidence_and_fewer_than_two_blocks_no_answer() -> None:
    assert block_p_value_from_level([0.0, 1.9, 2.0], 2.0, 1.0, independent=5).tolist() == [1, 1, 1]
    assert float(block_p_value_from_level(0.1, 0.0, 0.0, independent=5)) == 0
    assert np.isnan(block_p_value_from_level(1.0, 0.0, 1.0, independent=1.9))
    assert np.isnan(block_limit_from_level(0.0, 1.0, independent=1.9))


@pytest.mark.parametrize("directions", [2, 10, 20])
@pytest.mark.parametrize("restlessness", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("weeks", [4, 12])
def test_a_level_that_moves_in_one_direction_alarms_as_seldom_as_stated_from_overlapping_weeks(
    directions: int, restlessness: float, weeks: int
) -> None:
    repetitions, days = 4000, 7
    generator = np.random.default_rng(directions)
    daily = generator.normal(size=(repetitions, (weeks + 1) * days, directions))
    daily[..., 0] *= np.sqrt(1 + restlessness)
    starts = range((weeks - 1) * days + 1)
    squares = [(daily[:, start : start + days].mean(axis=1) ** 2).sum(axis=-1) * days for start in starts]
    new = (daily[:, weeks * days :].mean(axis=1) ** 2).sum(axis=-1) * days
    noise, level = directions - 1.0, np.maximum(np.mean(squares, axis=0) - (directions - 1), 1.0)
    noise *= 1 + 1 / (2 * level)
    p_values = block_p_value_from_level(new, noise, level, independent=weeks)
    by_chance = stats.chi2.sf(new, directions)
    for stated in (0.05, 0.01):
        assert (np.maximum(p_values, by_chance) <= stated).mean() <= 1.6 * stated


@pytest.mark.parametrize("blocks", [2, 4, 13])
@pytest.mark.parametrize("probability", [0.9, 0.99])
def test_a_new_distance_stays_below_the_limit_as_often_as_promised(blocks: int, probability: float) -> None:
    repetitions = 40_000
    distances = np.random.default_rng(blocks).normal(0.8, 0.02, (repetitions, blocks + 1)) ** 20
    moments = block_moments(distances[:, :blocks])
    limit = block_limit_from_moments(*moments, independent=blocks, probability=probability)
    covered = int((distances[:, blocks] <= limit).sum())
    low, high = stats.binom.interval(0.999, repetitions, probability)
    assert low <= covered <= high


def test_overlapping_blocks_keep_the_promise_of_the_separate_ones_they_are_made_of() -> None:
    # Weekly means that start every day: 7 blocks share days, 8 would fit side by side.
    repetitions, weeks, days = 20_000, 8, 7
    daily = np.random.default_rng(2).normal(size=(repetitions, (weeks + 1) * days))
    running = np.lib.stride_tricks.sliding_window_view(daily[:, : weeks * days], days, axis=1).mean(axis=-1)
    limit = block_limit_from_moments(*block_moments((0.8 + 0.05 * running) ** 20), independent=weeks, probability=0.95)
    share = float(((0.8 + 0.05 * daily[:, weeks * days :].mean(axis=1)) ** 20 <= limit).mean())
    assert 0.94 <= share <= 0.97


def test_fewer_than_two_independent_blocks_set_no_limit_and_a_zero_distance_sets_a_finite_one() -> None:
    assert np.isnan(block_limit_from_moments(0.0, 1.0, independent=1.9))
    assert np.isnan(block_p_value_from_moments(1.0, 0.0, 1.0, independent=1.9))
    assert np.isfinite(block_limit_from_moments(*block_moments([0.0, 0.1, 0.2]), independent=3))
