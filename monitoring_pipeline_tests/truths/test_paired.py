"""Paired comparisons against scipy, scikit-learn, brute force and the bootstrap."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar

from monitoring_pipeline.stats import paired
from monitoring_pipeline.stats.paired import delong_paired, mcnemar_p_value, paired_bootstrap


def scores(
    seed: int, rows: int, gain: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Two correlated scores of one decimal, so that some rows tie."""
    generator = np.random.default_rng(seed)
    labels = generator.random(rows) < 0.4
    shared = generator.normal(size=rows) + labels
    first, second = (shared + generator.normal(size=rows) + more * labels for more in (0.0, gain))
    return first.round(1), second.round(1), labels


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 7), (3, 12), (10, 10), (200, 260), (5000, 5200)])
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int) -> None:
    ours = float(mcnemar_p_value(first, second))
    assert ours == pytest.approx(mcnemar([[0, first], [second, 0]], exact=True).pvalue, rel=1e-9)
    if first + second:
        assert ours == pytest.approx(stats.binomtest(first, first + second).pvalue, rel=1e-9)


def test_mcnemar_takes_many_pairs_at_once() -> None:
    assert mcnemar_p_value([0, 3], [5, 3]).tolist() == [0.0625, 1.0]


def test_the_bootstrap_interval_and_p_value_are_near_the_t_tests_on_many_rows() -> None:
    generator = np.random.default_rng(0)
    first = generator.exponential(size=2000)
    second = first - 0.05 + generator.normal(scale=0.8, size=2000)
    result = paired_bootstrap(first, second, resamples=4000, seed=1)
    expected = stats.ttest_rel(second, first)
    interval = expected.confidence_interval(0.95)
    assert result.difference == pytest.approx((second - first).mean())
    assert result.low == pytest.approx(interval.low, abs=0.003)
    assert result.high == pytest.approx(interval.high, abs=0.003)
    assert result.p_value == pytest.approx(expected.pvalue, abs=0.005)


def test_the_bootstrap_seldom_finds_a_difference_where_there_is_none() -> None:
    losses = np.random.default_rng(4).exponential(size=(2, 300, 100))
    found = sum(
        paired_bootstrap(first, second, resamples=400, seed=seed).p_value <= 0.05
        for seed, (first, second) in enumerate(zip(*losses, strict=True))
    )
    low, high = stats.binom.interval(0.999, 300, 0.05)
    assert low <= found <= high


def test_the_same_seed_gives_the_same_bootstrap_and_another_seed_another() -> None:
    first, second = np.random.default_rng(2).normal(size=(2, 50))
    runs = [paired_bootstrap(first, second, resamples=200, seed=seed) for seed in (7, 7, 8)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("rows", [300_000, paired.DRAWS_AT_ONCE + 1])
def test_more_draws_than_fit_at_once_are_made_in_parts(rows: int) -> None:
    differences = np.random.default_rng(2).normal(size=rows)
    result = paired_bootstrap(np.zeros(rows), differences, resamples=8, seed=3)
    assert abs(result.low - result.difference) < 5 / np.sqrt(rows)
    assert result.low < result.high


def test_no_rows_give_no_answer() -> None:
    assert np.isnan(paired_bootstrap([], [], seed=0)).all()
    assert np.isnan(delong_paired([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0, 0, 1])).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_areas_are_scikit_learns(seed: int) -> None:
    first, second, labels = scores(seed, 300)
    result = delong_paired(first, second, labels)
    assert result.auc_first == pytest.approx(roc_auc_score(labels, first), abs=1e-12)
    assert result.auc_second == pytest.approx(roc_auc_score(labels, second), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_delong_agrees_with_every_pair_of_rows_counted_one_by_one(seed: int) -> None:
    first, second, labels = scores(seed, 80, gain=0.5)
    wins = []
    for each in (first, second):
        apart = each[labels][:, None] - each[~labels][None, :]
        wins.append((apart > 0) + 0.5 * (apart == 0))
    by_positive, by_negative = (np.cov([table.mean(axis=axis) for table in wins]) for axis in (1, 0))
    covariance = by_positive / labels.sum() + by_negative / (~labels).sum()
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    result = delong_paired(first, second, labels)
    assert result.difference == pytest.approx(wins[1].mean() - wins[0].mean(), abs=1e-12)
    assert result.high - result.low == pytest.approx(2 * 1.959963984540054 * error, rel=1e-9)
    assert result.p_value == pytest.approx(2 * stats.norm.sf(abs(result.difference) / error), rel=1e-9)


def test_delongs_interval_is_near_the_bootstraps() -> None:
    first, second, labels = scores(11, 400, gain=0.4)
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        rows = np.concatenate(
            [generator.choice(np.flatnonzero(labels == side), (labels == side).sum()) for side in (0, 1)]
        )
        drawn.append(roc_auc_score(labels[rows], second[rows]) - roc_auc_score(labels[rows], first[rows]))
    result = delong_paired(first, second, labels)
    assert (result.high - result.low) / (2 * 1.96) == pytest.approx(float(np.std(drawn)), rel=0.12)


def test_delong_seldom_finds_a_difference_where_there_is_none() -> None:
    found = sum(delong_paired(*scores(seed, 200)).p_value <= 0.05 for seed in range(1000))
    low, high = stats.binom.interval(0.999, 1000, 0.05)
    assert low <= found <= high


def test_scores_that_rank_alike_do_not_differ() -> None:
    first, _, labels = scores(0, 100)
    result = delong_paired(first, np.exp(first), labels)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)
