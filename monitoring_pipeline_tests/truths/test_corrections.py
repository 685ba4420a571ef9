"""Adjusted p-values against scipy and statsmodels, and the false alarms they let through."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, false_discovery_control, norm
from statsmodels.stats.multitest import multipletests

from monitoring_pipeline.stats.corrections import benjamini_hochberg, benjamini_yekutieli

Correction = Callable[[Any], NDArray[np.float64]]
BOTH = [(benjamini_hochberg, "bh"), (benjamini_yekutieli, "by")]


@pytest.mark.parametrize(("correction", "name"), BOTH)
@pytest.mark.parametrize("tests", [1, 2, 41, 500])
def test_scipy_and_statsmodels_adjust_the_same(correction: Correction, name: Any, tests: int) -> None:
    p_values = np.random.default_rng(tests).beta(0.5, 2, (3, tests)).round(3)  # with ties, some of them 0
    expected = false_discovery_control(p_values, axis=-1, method=name)
    np.testing.assert_allclose(correction(p_values), expected, rtol=1e-12)
    other = multipletests(p_values[0], method=f"fdr_{name}")[1]
    np.testing.assert_allclose(correction(p_values[0]), other, rtol=1e-12)


@pytest.mark.parametrize(("correction", "name"), BOTH)
def test_a_test_that_was_not_made_stays_missing_and_does_not_count(correction: Correction, name: str) -> None:
    p_values = np.random.default_rng(3).uniform(size=(4, 3, 20))
    p_values[np.random.default_rng(4).uniform(size=p_values.shape) < 0.3] = np.nan
    p_values[0, 0] = np.nan
    adjusted = correction(p_values)
    assert np.isnan(adjusted[0, 0]).all()
    for family in np.ndindex(4, 3):
        made = ~np.isnan(p_values[family])
        assert np.isnan(adjusted[family][~made]).all()
        np.testing.assert_allclose(adjusted[family][made], correction(p_values[family][made]), rtol=1e-12)


@pytest.mark.parametrize("correction", [each for each, _ in BOTH])
def test_no_tests_at_all_give_no_p_values(correction: Correction) -> None:
    assert correction(np.empty((2, 0))).shape == (2, 0)


def normal_tests(families: int, tests: int, true: int, correlation: float) -> NDArray[np.float64]:
    """p-values of equally correlated tests, the first `true` of which have something to find."""
    generator = np.random.default_rng(true + 1)
    shared = np.sqrt(correlation) * generator.normal(size=(families, 1))
    scores = shared + np.sqrt(1 - correlation) * generator.normal(size=(families, tests))
    return np.asarray(norm.sf(scores + 3.0 * (np.arange(tests) < true)))


@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("correction", [each for each, _ in BOTH])
def test_where_nothing_changed_any_alarm_at_all_is_as_rare_as_stated(
    correction: Correction, correlation: float
) -> None:
    families = 5000
    alarms = int((correction(normal_tests(families, 41, 0, correlation)) <= 0.05).any(axis=-1).sum())
    low, high = binom.interval(0.999, families, 0.05)
    assert alarms <= high
    if correction is benjamini_hochberg and correlation == 0:
        assert alarms >= low  # exactly the level for independent tests


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_of_the_alarms_raised_the_stated_share_is_false(correlation: float) -> None:
    true, tests = 10, 41
    alarms = benjamini_hochberg(normal_tests(4000, tests, true, correlation)) <= 0.1
    share = alarms[:, true:].sum(axis=-1) / np.maximum(alarms.sum(axis=-1), 1)
    error = float(share.std() / np.sqrt(len(share)))
    stated = 0.1 * (tests - true) / tests
    assert share.mean() <= stated + 3.3 * error
    assert alarms[:, :true].mean() > 0.5
    if correlation == 0:
        assert share.mean() >= stated - 3.3 * error
