import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import multivariate_normal

from monitoring_pipeline.stats.spending import (
    FloatArray,
    Shape,
    alpha_spent,
    always_valid_limits,
    classic_limits,
    crossing_probabilities,
    inflation,
    limits_of,
    spending_limits,
)

FIVE = np.arange(1, 6) / 5


def equal(looks: int) -> FloatArray:
    return np.arange(1, looks + 1) / looks


def overall(fractions: FloatArray, limits: FloatArray) -> float:
    return float(np.sum(crossing_probabilities(fractions, limits)))


def test_the_limits_of_five_equal_looks_are_the_published_ones() -> None:
    assert classic_limits(FIVE, shape="obrien_fleming").round(2).tolist() == [4.56, 3.23, 2.63, 2.28, 2.04]
    assert classic_limits(FIVE, shape="pocock").round(3).tolist() == [2.413] * 5
    assert spending_limits(FIVE, shape="obrien_fleming").round(2).tolist() == [4.88, 3.36, 2.68, 2.29, 2.03]
    assert spending_limits(FIVE, shape="pocock").round(3).tolist() == [2.438, 2.427, 2.410, 2.397, 2.386]


@pytest.mark.parametrize(
    ("looks", "pocock", "obrien_fleming"),
    [(1, 1.960, 1.960), (2, 2.178, 1.977), (3, 2.289, 2.004), (4, 2.361, 2.024), (5, 2.413, 2.040), (10, 2.555, 2.087)],
)
def test_the_constants_are_those_of_the_tables_of_jennison_and_turnbull(
    looks: int, pocock: float, obrien_fleming: float
) -> None:
    found = [classic_limits(equal(looks), shape=shape)[-1] for shape in ("pocock", "obrien_fleming")]
    assert found == pytest.approx([pocock, obrien_fleming], abs=6e-4)


@pytest.mark.parametrize(("shape", "published"), [("pocock", 1.228), ("obrien_fleming", 1.028)])
def test_the_published_inflation_gives_the_power_planned(shape: Shape, published: float) -> None:
    limits = classic_limits(FIVE, shape=shape)
    drift = np.sqrt(published) * (ndtri(0.975) + ndtri(0.8))
    assert crossing_probabilities(FIVE, limits, drift=drift)[0].sum() == pytest.approx(0.8, abs=3e-4)


@pytest.mark.parametrize("drift", [0.0, 2.5])
@pytest.mark.parametrize(
    ("fractions", "limits"),
    [
        ([0.3, 0.31, 0.7, 1.2], [2.9, 2.7, 2.2, 2.0]),
        ([0.1, 0.5, 0.501, 1.0], [3.0, 2.5, 2.4, 1.0]),
        ([0.001, 0.9, 1.0], [4.0, 2.0, 2.0]),
    ],
)
def test_crossings_at_uneven_looks_are_those_of_the_joint_normal_distribution(
    fractions: list[float], limits: list[float], drift: float
) -> None:
    t, ends = np.array(fractions), np.array(limits)
    covariance = np.minimum.outer(t, t) / np.sqrt(np.outer(t, t))
    # Quasi-Monte Carlo: a fixed seed and points enough for the tolerance below.
    joint = multivariate_normal(drift * np.sqrt(t), covariance, seed=1, maxpts=20_000_000, abseps=1e-7, releps=0.0)
    upper, lower = crossing_probabilities(t, ends, drift=drift)
    assert upper.sum() + lower.sum() == pytest.approx(1 - joint.cdf(ends, lower_limit=-ends), abs=2e-6)


@pytest.mark.parametrize("shape", ["obrien_fleming", "pocock"])
@pytest.mark.parametrize("fractions", [[0.07, 0.4, 0.45, 1.0], [0.3, 0.30005, 1.3], [0.001, 0.5, 1.0], list(equal(30))])
def test_spending_uses_up_alpha_and_no_more_wherever_the_looks_fall(shape: Shape, fractions: list[float]) -> None:
    t = np.array(fractions)
    limits = spending_limits(t, shape=shape)
    assert overall(t, limits) == pytest.approx(0.05, abs=1e-6)
    so_far = np.cumsum(np.sum(crossing_probabilities(t, limits), axis=0))
    assert so_far == pytest.approx(alpha_spent(t, shape=shape), abs=1e-6)


def test_a_limit_does_not_depend_on_looks_that_are_still_to_come() -> None:
    long = spending_limits([0.2, 0.5, 0.6, 1.0], shape="pocock")
    assert spending_limits([0.2, 0.5], shape="pocock") == pytest.approx(long[:2], abs=1e-8)


def test_a_formula_that_looks_at_each_look_alone_spends_more_than_alpha() -> None:
    spent = np.diff(alpha_spent(FIVE, shape="pocock"), prepend=0.0)
    each_alone = -ndtri(spent / 2)
    assert overall(FIVE, each_alone) < 0.05  # alone they are a union bound: too cautious
    assert overall(FIVE, np.full(5, 1.96)) == pytest.approx(0.142, abs=1e-3)  # and 1.96 at every look is far too rash


@pytest.mark.parametrize("looks", [5, 20, 80])
def test_always_valid_limits_keep_alpha_at_any_number_of_looks(looks: int) -> None:
    t = np.geomspace(0.01, 4.0, looks)
    assert overall(t, always_valid_limits(t)) < 0.05


def test_always_valid_limits_are_narrowest_where_they_should_be() -> None:
    width = [float(always_valid_limits(t) / np.sqrt(t)) for t in (0.9, 1.0, 1.1)]
    assert width[0] > width[1] > width[2]  # the interval narrows as rows come in
    near = always_valid_limits(1.0)
    for factor in (0.25, 4.0):  # a mixture tuned to another moment is wider at this one
        r = factor * (-2 * np.log(0.05) + np.log(1 - 2 * np.log(0.05)))
        assert np.sqrt((1 + 1 / r) * np.log((1 + r) / 0.05**2)) > near


def test_simulated_false_alarms_of_five_looks_are_at_most_alpha_and_the_power_is_that_planned() -> None:
    random, paths = np.random.default_rng(6), 100_000
    score = np.cumsum(random.normal(0, np.sqrt(0.2), (paths, 5)), axis=1)
    for boundary in ("obrien_fleming", "pocock", "always_valid"):
        limits = limits_of(boundary, FIVE)
        false = (np.abs(score) / np.sqrt(FIVE) >= limits).any(axis=1).mean()
        assert false <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / paths)
        drift = (ndtri(0.975) + ndtri(0.8)) * np.sqrt(inflation(boundary, looks=5))
        power = ((score + drift * FIVE) / np.sqrt(FIVE) >= limits).any(axis=1).mean()
        assert power == pytest.approx(0.8, abs=0.005)


def test_one_look_is_a_plain_test() -> None:
    assert limits_of("obrien_fleming", [1.0]) == pytest.approx(limits_of("fixed", [1.0]))
    upper, lower = crossing_probabilities([1.0], [1.5], drift=1.0)
    assert upper[0] == pytest.approx(ndtr(-0.5), abs=1e-12)
    assert lower[0] == pytest.approx(ndtr(-2.5), abs=1e-12)


def test_looks_that_do_not_come_in_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"increase from above 0, found \[0.5, 0.5\]"):
        spending_limits([0.5, 0.5], shape="pocock")
