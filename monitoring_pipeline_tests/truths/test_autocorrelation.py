"""Memory of a series: against statsmodels, against the covariance written out, and on series made with a known one."""

import numpy as np
import pytest
from numpy.typing import NDArray
from statsmodels.tsa.stattools import acf

from monitoring_pipeline.stats.autocorrelation import (
    autocorrelation_decay,
    autocorrelations,
    innovations,
    variance_inflation,
)

Array = NDArray[np.float64]


def wandering(series: int, hours: int, *, share: float, persistence: float, seed: int) -> Array:
    """Return series of variance 1: a first-order autoregression seen through noise."""
    generator = np.random.default_rng(seed)
    level = generator.normal(size=(series, hours))
    for at in range(1, hours):
        level[:, at] = persistence * level[:, at - 1] + np.sqrt(1 - persistence**2) * level[:, at]
    return np.asarray(np.sqrt(share) * level + np.sqrt(1 - share) * generator.normal(size=(series, hours)))


def test_autocorrelations_are_those_of_statsmodels() -> None:
    x = wandering(1, 300, share=0.8, persistence=0.9, seed=1)[0]
    assert autocorrelations(x, lags=6) == pytest.approx(acf(x, nlags=6, adjusted=True)[1:])


def test_missing_hours_leave_the_pairs_that_are_there() -> None:
    x = wandering(1, 20_000, share=1.0, persistence=0.8, seed=2)[0]
    gaps = np.where(np.arange(len(x)) % 24 < 6, np.nan, x)
    assert autocorrelations(gaps, lags=3) == pytest.approx([0.8, 0.64, 0.512], abs=0.03)


def test_a_constant_and_a_short_series_have_no_autocorrelation() -> None:
    assert np.isnan(autocorrelations(np.ones(50), lags=2)).all()
    assert np.isnan(autocorrelations([1.0, 2.0, 1.5], lags=2)).all()
    assert np.isnan(autocorrelations([np.nan] * 30, lags=2)).all()


@pytest.mark.parametrize(("share", "persistence"), [(1.0, 0.5), (1.0, 0.9), (0.7, 0.9), (0.5, 0.8)])
def test_share_and_persistence_are_found_again_without_bias_to_speak_of(share: float, persistence: float) -> None:
    found = [autocorrelation_decay(x) for x in wandering(60, 700, share=share, persistence=persistence, seed=3)]
    assert np.median(found, axis=0) == pytest.approx([share, persistence], abs=0.05)


def test_white_noise_has_hardly_any_memory() -> None:
    found = [variance_inflation(*autocorrelation_decay(x)) for x in wandering(60, 700, share=0, persistence=0, seed=4)]
    assert np.median(found) < 1.15


def test_the_inflation_is_that_of_the_variance_of_a_mean_written_out() -> None:
    lags = np.abs(np.subtract.outer(np.arange(30), np.arange(30)))
    covariance = np.where(lags == 0, 1.0, 0.6 * 0.85**lags)
    assert variance_inflation(0.6, 0.85, hours=30) == pytest.approx(covariance.sum() / 30)
    assert variance_inflation(0.6, 0.85, hours=1) == pytest.approx(1)


def test_innovations_are_the_series_times_the_inverse_root_of_its_covariance() -> None:
    x = wandering(3, 40, share=0.7, persistence=0.9, seed=5)
    x[:, [0, 7, 8, 9, 30]] = np.nan
    here = np.flatnonzero(np.isfinite(x[0]))
    lags = np.abs(np.subtract.outer(here, here))
    covariance = np.where(lags == 0, 1.0, 0.7 * 0.9**lags)
    expected = np.linalg.solve(np.linalg.cholesky(covariance), x[:, here].T).T
    found = innovations(x, share=0.7, persistence=0.9)
    assert found[:, here] == pytest.approx(expected)
    assert np.isnan(np.delete(found, here, axis=1)).all()


def test_without_memory_the_innovations_are_the_series() -> None:
    x = np.array([0.3, np.nan, -1.2])
    assert np.array_equal(innovations(x, share=0.0, persistence=0.0), x, equal_nan=True)
