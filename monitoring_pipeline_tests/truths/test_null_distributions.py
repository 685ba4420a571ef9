"""p-values, critical values and prediction limits against scipy and their own definitions."""

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy import stats

from monitoring_pipeline.stats.null_distributions import (
    chi_square_two_sample,
    jensen_shannon_critical_value,
    jensen_shannon_p_value,
    ks_p_value,
    prediction_limit,
    psi_critical_value,
    psi_p_value,
    two_sample_ks,
)

SIZES = [(20, 1000), (40, 100_000), (200, 200), (1000, 2000)]


@pytest.mark.parametrize(("reference_rows", "current_rows"), SIZES)
@pytest.mark.parametrize("bins", [2, 10, 20])
def test_psi_and_jensen_shannon_follow_a_scaled_chi_square(reference_rows: int, current_rows: int, bins: int) -> None:
    scale = 1 / reference_rows + 1 / current_rows
    value = scale * np.array([0.1, 1.0, 10.0, 40.0])
    expected = stats.chi2.sf(value / scale, bins - 1)
    sizes = {"reference_rows": reference_rows, "current_rows": current_rows, "bins": bins}
    np.testing.assert_allclose(psi_p_value(value, **sizes), expected, rtol=1e-10)
    np.testing.assert_allclose(jensen_shannon_p_value(value / 8, **sizes), expected, rtol=1e-10)


@pytest.mark.parametrize("probability", [0.5, 0.95, 0.999])
def test_the_critical_value_has_the_p_value_it_was_asked_for(probability: float) -> None:
    sizes: dict[str, ArrayLike] = {"reference_rows": [500, 5000], "current_rows": 300, "bins": [10, 20]}
    np.testing.assert_allclose(
        psi_p_value(psi_critical_value(probability, **sizes), **sizes), 1 - probability, rtol=1e-9
    )
    np.testing.assert_allclose(
        jensen_shannon_p_value(jensen_shannon_critical_value(probability, **sizes), **sizes), 1 - probability, rtol=1e-9
    )


def test_no_rows_on_a_side_gives_no_p_value_and_no_critical_value() -> None:
    empty: dict[str, ArrayLike] = {"reference_rows": [1000, 0, 1000], "current_rows": [0, 1000, 1000], "bins": 10}
    assert np.isnan(psi_p_value(0.3, **empty)).tolist() == [True, True, False]
    assert np.isnan(jensen_shannon_p_value(0.3, **empty)).tolist() == [True, True, False]
    assert np.isnan(psi_critical_value(0.95, **empty)).tolist() == [True, True, False]
    assert np.isnan(ks_p_value(0.3, reference_rows=[1000, 0], current_rows=[0, 1000])).all()
    assert np.isnan(chi_square_two_sample([[1, 2], [0, 0]], [[0, 0], [1, 2]])[2]).all()
    assert np.isnan(two_sample_ks([1.0], [])).all()


def test_a_missing_distance_has_a_missing_p_value_and_an_infinite_one_is_impossible() -> None:
    sizes = {"reference_rows": 100, "current_rows": 100}
    assert np.isnan(psi_p_value(np.nan, **sizes, bins=[1, 10])).all()
    assert np.isnan(ks_p_value(np.nan, **sizes))
    assert float(psi_p_value(np.inf, **sizes, bins=10)) == 0


def test_one_occupied_bin_is_no_evidence_and_none_is_no_answer() -> None:
    assert float(psi_p_value(0.0, reference_rows=100, current_rows=100, bins=1)) == 1
    assert np.isnan(psi_p_value(0.0, reference_rows=100, current_rows=100, bins=0))
    assert float(psi_critical_value(0.95, reference_rows=100, current_rows=100, bins=1)) == 0
    statistic, degrees, p_value = chi_square_two_sample([5, 0], [7, 0])
    assert (float(statistic), int(degrees), float(p_value)) == (0, 0, 1)


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


@pytest.mark.parametrize("seed", range(5))
def test_chi_square_agrees_with_scipy_once_empty_bins_are_dropped(seed: int) -> None:
    generator = np.random.default_rng(seed)
    reference, current = generator.integers(1, 60, 8), generator.integers(0, 40, (3, 8))
    reference[2], current[:, 2] = 0, 0
    statistic, degrees, p_value = chi_square_two_sample(reference, current)
    occupied = np.arange(8) != 2
    for row in range(3):
        expected = stats.chi2_contingency([reference[occupied], current[row][occupied]], correction=False)
        assert float(statistic[row]) == pytest.approx(expected.statistic, rel=1e-10)
        assert int(degrees[row]) == expected.dof
        assert float(p_value[row]) == pytest.approx(expected.pvalue, rel=1e-9)


def test_the_prediction_limit_of_separate_blocks_is_hahns_on_the_logarithms() -> None:
    distances = np.random.default_rng(1).lognormal(size=(3, 8))
    logarithms = np.log(distances)
    expected = np.exp(
        logarithms.mean(axis=1) + stats.t.ppf(0.99, 7) * logarithms.std(axis=1, ddof=1) * np.sqrt(1 + 1 / 8)
    )
    np.testing.assert_allclose(prediction_limit(distances, independent=8, probability=0.99), expected, rtol=1e-10)


@pytest.mark.parametrize("blocks", [2, 4, 13])
@pytest.mark.parametrize("probability", [0.9, 0.99])
def test_a_new_lognormal_distance_stays_below_the_limit_as_often_as_promised(blocks: int, probability: float) -> None:
    repetitions = 40_000
    distances = np.random.default_rng(blocks).lognormal(-3, 0.8, (repetitions, blocks + 1))
    limit = prediction_limit(distances[:, :blocks], independent=blocks, probability=probability)
    covered = int((distances[:, blocks] <= limit).sum())
    low, high = stats.binom.interval(0.999, repetitions, probability)
    assert low <= covered <= high


def test_overlapping_blocks_keep_the_promise_of_the_separate_ones_they_are_made_of() -> None:
    # Weekly means that start every day: 7 blocks share days, 8 would fit side by side.
    repetitions, weeks, days = 20_000, 8, 7
    daily = np.random.default_rng(2).normal(size=(repetitions, (weeks + 1) * days))
    running = np.lib.stride_tricks.sliding_window_view(daily[:, : weeks * days], days, axis=1).mean(axis=-1)
    limit = prediction_limit(np.exp(running), independent=weeks, probability=0.95)
    share = float((np.exp(daily[:, weeks * days :].mean(axis=1)) <= limit).mean())
    assert 0.94 <= share <= 0.97


def test_fewer_than_two_independent_blocks_set_no_limit_and_a_zero_distance_sets_a_finite_one() -> None:
    assert np.isnan(prediction_limit([0.1, 0.2, 0.3], independent=1.9, probability=0.95))
    assert np.isfinite(prediction_limit([0.0, 0.1, 0.2], independent=3, probability=0.95))
