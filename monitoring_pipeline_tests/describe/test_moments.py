import numpy as np
import pytest
from scipy import stats

from monitoring_pipeline.describe.moments import Moments


def test_moments_are_those_of_scipy_however_the_rows_were_split() -> None:
    values = np.random.default_rng(1).lognormal(size=1000)
    found = Moments.of(values[:1]).merge(Moments.of(values[1:400])).merge(Moments.of(values[400:]))
    assert found.rows == 1000
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    for power in (2, 3, 4):
        assert found.central(power) == pytest.approx(stats.moment(values, power), rel=1e-9)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    small = np.random.default_rng(2).normal(size=900)
    found = Moments.of(small[:450] + 2.0**40).merge(Moments.of(small[450:] + 2.0**40))
    shifted = small + 2.0**40 - 2.0**40  # what is left of the numbers beside so large a mean
    assert found.central(2) == pytest.approx(shifted.var(), rel=1e-9)


def test_weighted_moments_are_about_the_plain_mean() -> None:
    generator = np.random.default_rng(3)
    values, weights = generator.normal(size=(2, 100))
    found = Moments.of(values[:30], weights[:30]).merge(Moments.of(values[30:], weights[30:]))
    expected = (weights * np.square(values - values.mean())).mean()
    assert found.central(2, weighted=True) == pytest.approx(expected, rel=1e-9)


def test_the_moments_of_nothing_are_not_a_number() -> None:
    assert np.isnan([Moments.empty().mean, Moments.empty().central(2)]).all()
