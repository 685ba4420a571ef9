"""Moderated variances, against the model they assume and against the limits without them."""

import numpy as np
import pytest
from scipy.stats import t

from monitoring_pipeline.stats.shrinkage import moderate_variances


def test_the_prior_that_made_the_variances_is_found_again() -> None:
    rng = np.random.default_rng(1)
    true = 0.4 * 8 / rng.chisquare(8, 20_000)
    estimates = true * rng.chisquare(4, true.size) / 4
    moderated, degrees = moderate_variances(estimates, 4.0)
    assert degrees.mean() == pytest.approx(12, rel=0.05)
    assert np.mean((moderated - true) ** 2) < 0.5 * np.mean((estimates - true) ** 2)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_a_new_value_crosses_a_moderated_limit_as_often_as_stated(alpha: float) -> None:
    rng = np.random.default_rng(2)
    blocks, columns, crossed = 5, 15, []
    for _ in range(2000):
        deviation = np.sqrt(0.4 * 8 / rng.chisquare(8, (columns, 1)))
        values = rng.normal(0, deviation, (columns, blocks + 1))
        seen, new = values[:, :-1], values[:, -1]
        variance, degrees = moderate_variances(seen.var(axis=1, ddof=1), blocks - 1)
        limit = seen.mean(axis=1) + t.ppf(1 - alpha, degrees) * np.sqrt(variance * (1 + 1 / blocks))
        crossed.append(np.mean(new > limit))
    error = np.std(crossed) / np.sqrt(len(crossed))
    assert abs(np.mean(crossed) - alpha) < 4 * error + 0.1 * alpha


def test_a_column_without_variance_or_without_blocks_keeps_what_it_has() -> None:
    moderated, degrees = moderate_variances([0.0, np.nan, 1.0, 2.0, 3.0], 4.0)
    assert moderated[0] == 0.0
    assert np.isnan(moderated[1])
    assert degrees[0] == degrees[1] == 4.0
    assert (degrees[2:] > 4.0).all()
