"""Intervals against statsmodels, and how often they contain the truth."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from monitoring_pipeline.stats.intervals import f1_interval, normal_interval, wilson_interval


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_wilson_agrees_with_statsmodels(confidence: float) -> None:
    successes, trials = np.array([0, 1, 5, 40, 99, 100, 1]), np.array([10, 10, 10, 100, 100, 100, 1])
    expected = proportion_confint(successes, trials, alpha=1 - confidence, method="wilson")
    for ours, theirs in zip(wilson_interval(successes, trials, confidence=confidence), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_wilson_without_trials_is_missing_and_its_neighbours_are_not() -> None:
    low, high = wilson_interval([0, 1], [0, 2])
    assert np.isnan([low[0], high[0]]).all()
    assert np.isfinite([low[1], high[1]]).all()


def test_wilson_ends_exactly_at_none_and_at_all() -> None:
    trials = np.arange(1, 2000)
    assert (wilson_interval(0, trials)[0] == 0).all()
    assert (wilson_interval(trials, trials)[1] == 1).all()


def test_the_normal_interval_agrees_with_scipy_and_is_missing_below_two_rows() -> None:
    low, high = normal_interval(3.0, 2.0, rows=np.array([50, 1, 0]), confidence=0.9)
    np.testing.assert_allclose([low[0], high[0]], stats.norm.interval(0.9, 3.0, np.sqrt(2.0 / 50)))
    assert np.isnan([low[1:], high[1:]]).all()


def test_the_f1_interval_is_the_delta_methods_when_rows_are_many() -> None:
    hits, errors = 60_000, 30_000
    low, high = f1_interval(hits, errors // 3, 2 * errors // 3)
    score = 2 * hits / (2 * hits + errors)
    half = 1.959964 * np.sqrt(4 * hits * errors * (hits + errors) / (2 * hits + errors) ** 4)
    np.testing.assert_allclose([float(low), float(high)], [score - half, score + half], rtol=1e-4)


@pytest.mark.parametrize(("rows", "shares"), [(50, [0.1, 0.05, 0.05]), (50, [0.3, 0.02, 0.02]), (500, [0.2, 0.1, 0.3])])
def test_the_f1_interval_contains_the_true_score_as_often_as_promised(rows: int, shares: list[float]) -> None:
    truth = 2 * shares[0] / (2 * shares[0] + shares[1] + shares[2])
    drawn = np.random.default_rng(rows).multinomial(rows, [*shares, 1 - sum(shares)], 20_000)
    low, high = f1_interval(drawn[:, 0], drawn[:, 1], drawn[:, 2])
    assert 0.94 <= ((low <= truth) & (truth <= high)).mean() <= 0.975


def test_a_perfect_f1_from_few_rows_is_not_certain_and_none_at_all_is_missing() -> None:
    low, high = f1_interval(3, 0, 0)
    assert float(low) < 0.65
    assert float(high) == 1
    assert np.isnan(f1_interval(0, 0, 0)).all()
