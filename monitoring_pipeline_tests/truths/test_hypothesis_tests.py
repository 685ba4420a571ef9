"""Two-sample tests against scipy, exact small cases and their own promises."""

import warnings
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from monitoring_pipeline.stats.hypothesis_tests import (
    anderson_darling,
    chi_square_two_sample,
    cramer_von_mises,
    g_test_two_sample,
    two_sample_ks,
)

SampleTest = Callable[[ArrayLike, ArrayLike], tuple[float, float]]
CountTest = Callable[[ArrayLike, ArrayLike], tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]]


@pytest.mark.parametrize("seed", range(5))
def test_both_contingency_tests_agree_with_scipy_once_empty_bins_are_dropped(seed: int) -> None:
    generator = np.random.default_rng(seed)
    reference, current = generator.integers(1, 60, 8), generator.integers(0, 40, (3, 8))
    reference[2], current[:, 2] = 0, 0
    occupied = np.arange(8) != 2
    for test, kind in ((chi_square_two_sample, "pearson"), (g_test_two_sample, "log-likelihood")):
        statistic, degrees, p_value = test(reference, current)
        for row in range(3):
            table = [reference[occupied], current[row][occupied]]
            expected = stats.chi2_contingency(table, correction=False, lambda_=kind)
            assert float(statistic[row]) == pytest.approx(expected.statistic, rel=1e-10)
            assert int(degrees[row]) == expected.dof
            if test is g_test_two_sample:  # Pearson's p-value knows how few rows these are
                assert float(p_value[row]) == pytest.approx(expected.pvalue, rel=1e-9)


def test_pearsons_p_value_is_scipys_where_rows_are_many_and_has_the_moments_of_few_ones() -> None:
    many = np.array([60_000, 30_000, 10_000]), np.array([5_950, 3_000, 1_100])
    expected = stats.chi2_contingency(many, correction=False).pvalue
    assert float(chi_square_two_sample(*many)[2]) == pytest.approx(expected, rel=2e-3)
    both, rows = np.array([3, 2, 4, 1]), 4
    dealt = [np.bincount(each, minlength=4) for each in combinations(np.repeat(np.arange(4), both), rows)]
    statistic, _, p_values = chi_square_two_sample(both - np.array(dealt), np.array(dealt))
    gamma = stats.gamma(statistic.mean() ** 2 / statistic.var(), scale=statistic.var() / statistic.mean())
    np.testing.assert_allclose(p_values, gamma.sf(statistic), rtol=1e-9)


@pytest.mark.parametrize("test", [chi_square_two_sample, g_test_two_sample])
def test_one_occupied_bin_is_no_evidence_and_an_empty_side_no_answer(test: CountTest) -> None:
    statistic, degrees, p_value = test([5, 0], [7, 0])
    assert (float(statistic), int(degrees), float(p_value)) == (0, 0, 1)
    statistic, _, p_value = test([[1, 2], [0, 0], [0, 0]], [[0, 0], [1, 2], [0, 0]])
    assert np.isnan(statistic).all()
    assert np.isnan(p_value).all()


@pytest.mark.parametrize("test", [two_sample_ks, anderson_darling, cramer_von_mises])
def test_an_empty_sample_is_not_tested(test: SampleTest) -> None:
    assert np.isnan(test([], [1.0, 2.0, 3.0, 4.0])).all()
    assert np.isnan(test([1.0, 2.0, 3.0, 4.0], [])).all()
    assert np.isnan(test([], [])).all()


@pytest.mark.parametrize("test", [two_sample_ks, anderson_darling, cramer_von_mises])
def test_samples_of_one_same_value_are_no_evidence(test: SampleTest) -> None:
    assert test([3.0] * 10, [3.0] * 5)[1] == 1


@pytest.mark.parametrize("test", [two_sample_ks, anderson_darling, cramer_von_mises])
def test_a_change_of_half_a_deviation_is_seen_and_ties_are_no_obstacle(test: SampleTest) -> None:
    generator = np.random.default_rng(4)
    reference, current = generator.normal(size=500).round(1), generator.normal(0.5, size=200).round(1)
    assert test(reference, current)[1] <= 0.001


def test_anderson_darlings_p_value_ends_at_its_table_without_a_warning() -> None:
    generator = np.random.default_rng(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert anderson_darling(generator.normal(size=99), generator.normal(9, size=99))[1] == 0.001
        assert anderson_darling(np.arange(0, 50, 2), np.arange(1, 50, 2))[1] == 0.25


def test_anderson_darlings_p_value_is_near_the_share_of_permutations() -> None:
    generator = np.random.default_rng(10)
    reference, current = generator.normal(size=40), generator.normal(0.6, size=40)
    statistic, p_value = anderson_darling(reference, current)
    both = np.concatenate([reference, current])
    dealt = [generator.permutation(both) for _ in range(1000)]
    share = np.mean([anderson_darling(each[:40], each[40:])[0] >= statistic for each in dealt])
    assert 0.01 < p_value < 0.2
    assert p_value == pytest.approx(share, abs=0.02)


VALUES: dict[str, Callable[[np.random.Generator, int], NDArray[Any]]] = {
    "normal": lambda generator, rows: generator.normal(size=rows),
    "counts": lambda generator, rows: generator.poisson(2, rows),
    "yes or no": lambda generator, rows: generator.random(rows) < 0.3,
}


@pytest.mark.parametrize("rows", [(300, 60), (40, 30)])
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("test", [anderson_darling, cramer_von_mises])
def test_unchanged_samples_alarm_as_often_as_stated_with_ties_too(
    test: SampleTest, values: str, rows: tuple[int, int]
) -> None:
    generator = np.random.default_rng(7)
    alarms = sum(test(*(VALUES[values](generator, side) for side in rows))[1] <= 0.05 for _ in range(600))
    low, high = stats.binom.interval(0.999, 600, 0.05)
    assert low <= alarms <= high


def test_both_tests_of_the_tails_are_scipys_where_no_values_are_tied() -> None:
    generator = np.random.default_rng(8)
    reference, current = generator.normal(size=90), generator.normal(0.3, size=45)
    expected = stats.cramervonmises_2samp(reference, current)
    assert cramer_von_mises(reference, current) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = stats.anderson_ksamp([reference, current])
    assert anderson_darling(reference, current) == pytest.approx((other.statistic, other.pvalue), rel=1e-9)
