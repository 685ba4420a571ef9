import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.experiment_arms import (
    ExperimentArm,
    ExperimentColumns,
    count_dispersion,
    experiment_arms,
)
from monitoring_pipeline_tests.traffic import START

LOG = LogColumns(status="status", latency_ms={"total": "ms"})
WHAT = ExperimentColumns("profit", covariate="before")


def rows(size: int, **columns: object) -> pa.Table:
    random = np.random.default_rng(size)
    before = random.normal(3, 1, size)
    usual = {
        "prediction_id": [str(number) for number in range(size)],
        "predicted_at": pa.array([START] * size, pa.timestamp("us", tz="UTC")),
        "profit": before + random.normal(0, 2, size),
        "before": before,
        "status": ["ok"] * size,
        "ms": random.gamma(3, 10, size),
    }
    return pa.table(usual | columns)


def test_moments_are_those_of_the_rows() -> None:
    table = rows(500)
    found = ExperimentArm.of(table, WHAT, LOG).moments(by_unit=False)
    profit, before = (table[name].to_numpy() for name in ("profit", "before"))
    (variance, shared), (_, spread) = np.cov(profit, before)
    expected = (500, profit.mean(), variance, before.mean(), spread, shared, 499)
    assert tuple(found) == pytest.approx(expected)


def test_rows_without_an_outcome_count_as_rows_alone_and_an_unknown_covariate_as_zero() -> None:
    profit, before = [1.0, None, float("inf"), 4.0, 7.0], [2.0, 9.0, 9.0, None, 3.0]
    arm = ExperimentArm.of(rows(5, profit=profit, before=before, status=["ok", "timeout", None, "", "500"]), WHAT, LOG)
    assert (arm.rows, arm.known, arm.operations.errors, arm.operations.latency["total"].count) == (5, 3, 2, 5)
    found = arm.moments(by_unit=False)
    assert (found.mean, found.variance, found.covariate_mean) == pytest.approx((4.0, 9.0, 5 / 3))


def test_an_arm_of_one_row_has_no_variance() -> None:
    for by_unit in (False, True):
        assert np.isnan(ExperimentArm.of(rows(1), WHAT, LOG).moments(by_unit=by_unit).variance)
        assert np.isnan(ExperimentArm.empty().moments(by_unit=by_unit).mean)


def test_true_and_false_are_a_share_and_other_numbers_are_none() -> None:
    for profit, share in (([True, False, True, None], True), ([0, 1, 1, 0], True), ([0.0, 0.5, 1.0, 1.0], False)):
        assert ExperimentArm.of(rows(4, profit=profit), WHAT, LOG).is_share is share


def test_the_variance_by_unit_is_that_of_means_over_units_with_many_rows_each() -> None:
    random, means, said, naive = np.random.default_rng(4), [], [], []
    for _ in range(60):
        unit = np.repeat(np.arange(400), random.integers(1, 12, 400))
        profit = random.normal(0, 1, 400)[unit] + random.normal(0, 1, len(unit))
        names = [f"{random.integers(10**9)}-{number}" for number in range(400)]
        table = rows(len(unit), profit=profit, before=profit, user=[names[number] for number in unit])
        arm = ExperimentArm.of(table, ExperimentColumns("profit", "user"), LOG)
        by_unit, by_row = arm.moments(by_unit=True), arm.moments(by_unit=False)
        means.append(by_unit.mean)
        said.append(by_unit.variance / by_unit.rows)
        naive.append(by_row.variance / by_row.rows)
    assert np.mean(said) == pytest.approx(np.var(means), rel=0.35)
    assert np.mean(naive) < 0.4 * np.mean(said)  # rows of one user are not independent


def test_where_every_row_is_a_unit_both_variances_agree() -> None:
    arm = ExperimentArm.of(rows(20_000), WHAT, LOG)
    by_unit, by_row = arm.moments(by_unit=True), arm.moments(by_unit=False)
    assert by_unit.variance == pytest.approx(by_row.variance, rel=0.4)
    assert by_unit.covariance == pytest.approx(by_row.covariance, rel=0.5)
    assert count_dispersion([arm], known=True) < 1.5


def test_users_with_many_rows_make_the_counts_vary_more() -> None:
    table = rows(20_000, user=[str(number // 20) for number in range(20_000)])
    arm = ExperimentArm.of(table, ExperimentColumns("profit", "user"), LOG)
    assert count_dispersion([arm, arm], known=False) == pytest.approx(20, rel=0.4)


def test_rows_go_to_the_arm_they_are_in_and_those_in_none_to_no_one() -> None:
    table = rows(6, prediction_id=["a", "b", None, "d", "e", "f"])
    found = experiment_arms(table, ["control", "treatment", None, "control", None, "control"], WHAT, LOG)
    assert {name: arm.rows for name, arm in found.items()} == {"control": 3, "treatment": 1}
    assert found["treatment"].totals[0].sum() == table["profit"][1].as_py()
    assert experiment_arms(table, [None] * 6, WHAT, LOG) == {}
