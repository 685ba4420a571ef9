import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportions_ztest, samplesize_proportions_2indep_onetail

from monitoring_pipeline.stats.experiments import (
    Arm,
    cuped,
    effect_interval,
    lift_interval,
    plan_experiment,
    sample_ratio_p_value,
    two_proportions,
    welch,
)
from monitoring_pipeline.stats.spending import Boundary, FloatArray, limits_of


def arm(outcome: FloatArray, covariate: FloatArray | None = None) -> Arm:
    if covariate is None:
        return Arm(len(outcome), outcome.mean(), outcome.var(ddof=1))
    (variance, shared), (_, before) = np.cov(outcome, covariate)
    return Arm(len(outcome), outcome.mean(), variance, covariate.mean(), before, shared)


def test_welch_and_its_interval_are_those_of_scipy() -> None:
    random = np.random.default_rng(1)
    control, treatment = random.gamma(2, 3, 40), random.gamma(2, 4, 25)
    effect, expected = welch(arm(control), arm(treatment)), stats.ttest_ind(treatment, control, equal_var=False)
    assert (effect.p_value, effect.freedom) == pytest.approx((expected.pvalue, expected.df))
    between = expected.confidence_interval(0.95)
    assert effect_interval(effect, limit=stats.norm.ppf(0.975)) == pytest.approx((between.low, between.high))


def test_two_proportions_are_tested_as_statsmodels_does() -> None:
    effect = two_proportions(Arm(900, 80 / 900, 0), Arm(1100, 130 / 1100, 0))
    assert effect.p_value == pytest.approx(proportions_ztest([130, 80], [1100, 900])[1])


def test_cuped_removes_what_the_covariate_knew_and_leaves_the_effect() -> None:
    random, plain, adjusted = np.random.default_rng(2), [], []
    for _ in range(400):
        before = random.normal(5, 2, (2, 500))
        after = before * 0.8 + random.normal(0, 1.2, (2, 500)) + np.array([[0.0], [0.1]])  # r is 0.8
        arms = [arm(*each) for each in zip(after, before, strict=True)]
        plain.append(welch(arms[0], arms[1]))
        adjusted.append(cuped(arms[0], arms[1]))
    assert np.mean([effect.difference for effect in adjusted]) == pytest.approx(0.1, abs=0.015)
    assert np.mean([b.error**2 / a.error**2 for a, b in zip(plain, adjusted, strict=True)]) == pytest.approx(0.36, 0.03)
    held = [low <= 0.1 <= high for low, high in (effect_interval(effect, limit=1.96) for effect in adjusted)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.035)


@pytest.mark.parametrize("covariate", [False, True])
def test_the_interval_of_the_lift_holds_the_true_lift_as_often_as_it_says(covariate: bool) -> None:
    random, held = np.random.default_rng(3), 0
    for _ in range(3000):
        before = random.normal(0, 1, (2, 60))
        after = 1.0 + np.array([[0.0], [0.2]]) + before * 0.8 + random.normal(0, 0.6, (2, 60))
        control, treatment = (arm(*each) for each in zip(after, before, strict=True))
        low, high = lift_interval((cuped if covariate else welch)(control, treatment), limit=1.96)
        held += low <= 0.2 <= high
    assert held / 3000 == pytest.approx(0.95, abs=0.013)


def test_a_lift_over_a_mean_that_may_be_zero_has_no_end() -> None:
    assert lift_interval(welch(Arm(100, 0.1, 4.0), Arm(100, 0.2, 4.0)), limit=1.96) == (-math.inf, math.inf)
    far = welch(Arm(100, 10.0, 4.0), Arm(100, 11.0, 4.0))
    assert lift_interval(far, limit=math.inf) == (-math.inf, math.inf)
    assert effect_interval(far, limit=math.inf) == (-math.inf, math.inf)


def test_what_two_arms_do_not_tell_is_not_known() -> None:
    for effect in (
        welch(Arm(1, 1.0, 0.0), Arm(50, 1.0, 1.0)),
        welch(Arm(50, 1.0, 0.0), Arm(50, 2.0, 0.0)),
        two_proportions(Arm(0, math.nan, 0.0), Arm(50, 0.5, 0.0)),
        two_proportions(Arm(50, 1.0, 0.0), Arm(50, 1.0, 0.0)),
    ):
        assert all(math.isnan(value) for value in effect)
    assert math.isnan(sample_ratio_p_value([0, 0], [0.5, 0.5]))


def test_an_uneven_split_is_tested_as_scipy_does() -> None:
    expected = stats.chisquare([5300, 1200, 3500], [5000, 1500, 3500]).pvalue
    assert sample_ratio_p_value([5300, 1200, 3500], [0.5, 0.15, 0.35]) == pytest.approx(expected)


def test_a_plan_has_the_rows_statsmodels_plans() -> None:
    plan = plan_experiment(0.12, relative_mde=0.05, power=0.9)
    expected = samplesize_proportions_2indep_onetail(0.006, 0.12, 0.9)
    assert plan.treatment_rows == pytest.approx(expected, rel=1e-3)
    plan = plan_experiment(50.0, relative_mde=0.02, variance=400.0, treatment_share=0.2)
    expected = NormalIndPower().solve_power(effect_size=1.0 / 20, alpha=0.05, power=0.8, ratio=0.25)
    assert (plan.control_rows, plan.treatment_rows) == pytest.approx((expected, expected / 4), rel=1e-3)


def test_a_covariate_and_looks_change_the_rows_as_they_should() -> None:
    plain = plan_experiment(0.1, relative_mde=0.1)
    assert plan_experiment(0.1, relative_mde=0.1, explained=0.5).control_rows == pytest.approx(
        plain.control_rows / 2, abs=1
    )
    looks = plan_experiment(0.1, relative_mde=0.1, boundary="pocock", looks=5, rows_per_day=1000)
    assert looks.control_rows / plain.control_rows == pytest.approx(1.2126, abs=1e-4)
    assert looks.days == math.ceil((looks.control_rows + looks.treatment_rows) / 1000)


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"baseline 0.9 with a change of \+0.18: a share that stays between 0 and 1"):
        plan_experiment(0.9, relative_mde=0.2)
    with pytest.raises(ValueError, match="a baseline and a variance that are not 0 is needed"):
        plan_experiment(0.0, variance=1.0)


@pytest.mark.parametrize("boundary", ["obrien_fleming", "pocock", "always_valid"])
def test_simulated_experiments_of_five_looks_keep_alpha_and_have_the_power_they_were_planned_with(
    boundary: Boundary,
) -> None:
    plan = plan_experiment(0.3, relative_mde=0.1, boundary=boundary, looks=5)
    limits = limits_of(boundary, np.arange(1, 6) / 5)
    random, runs, a_look = np.random.default_rng(11), 3000, plan.control_rows // 5
    found = []
    for lift in (0.0, 0.1):
        hits = [np.cumsum(random.binomial(a_look, 0.3 * (1 + each), (runs, 5)), axis=1) for each in (0.0, lift)]
        rows = a_look * np.arange(1, 6)
        shares = np.stack([each / rows for each in hits], axis=-1)  # of each run and look, control and treatment
        arms = [
            [[Arm(n, p, 0) for p in pair] for n, pair in zip(rows.tolist(), run, strict=True)]
            for run in shares.tolist()
        ]
        p_values = np.array([[two_proportions(*pair).p_value for pair in run] for run in arms])
        found.append((p_values <= 2 * ndtr(-limits)).any(axis=1).mean())
    assert found[0] <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert found[1] == pytest.approx(0.8, abs=0.02)
