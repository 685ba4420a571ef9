"""Shifts of mean and spread against their definition and scipy's t-test."""

import numpy as np
import pytest
from scipy.stats import binom, ttest_ind

from monitoring_pipeline.stats.moments import mean_shift, mean_shift_p_value, std_ratio


@pytest.mark.parametrize(("reference_rows", "current_rows"), [(2, 2), (50, 2000), (20_000, 50), (300, 300)])
def test_the_p_value_is_that_of_students_test(reference_rows: int, current_rows: int) -> None:
    generator = np.random.default_rng(reference_rows)
    reference, current = generator.normal(5, 1, (4, reference_rows)), generator.normal(5.1, 3, (4, current_rows))
    p_values = mean_shift_p_value(
        reference.mean(axis=1),
        current.mean(axis=1),
        reference_std=reference.std(axis=1, ddof=1),
        current_std=current.std(axis=1, ddof=1),
        reference_rows=reference_rows,
        current_rows=current_rows,
    )
    np.testing.assert_allclose(p_values, ttest_ind(reference, current, axis=1).pvalue, rtol=1e-9)


@pytest.mark.parametrize("rows", [50, 1000])
def test_skewed_values_alarm_as_often_as_stated(rows: int) -> None:
    generator = np.random.default_rng(rows)
    reference, current = generator.lognormal(size=(100, 1, 20_000)), generator.lognormal(size=(100, 40, rows))
    p_values = mean_shift_p_value(
        reference.mean(axis=-1),
        current.mean(axis=-1),
        reference_std=reference.std(axis=-1, ddof=1),
        current_std=current.std(axis=-1, ddof=1),
        reference_rows=20_000,
        current_rows=rows,
    )
    low, high = binom.interval(0.999, p_values.size, 0.05)
    assert low <= int((p_values <= 0.05).sum()) <= high


def test_a_constant_reference_is_equal_or_infinitely_far() -> None:
    assert mean_shift(2.0, [2.0, 3.0, 1.0], 0.0).tolist() == [0, np.inf, -np.inf]
    assert std_ratio(0.0, [0.0, 0.1]).tolist() == [1, np.inf]
    sizes = {"reference_std": 0.0, "current_std": 0.0, "reference_rows": 10, "current_rows": 10}
    assert mean_shift_p_value(2.0, [2.0, 3.0], **sizes).tolist() == [1, 0]


def test_a_missing_moment_or_too_few_rows_give_no_number() -> None:
    assert np.isnan(mean_shift([np.nan, 1.0], 1.0, [1.0, np.nan])).all()
    assert np.isnan(std_ratio([np.nan, 1.0], [1.0, np.nan])).all()
    one = mean_shift_p_value(0, 1, reference_std=1, current_std=1, reference_rows=[1, 9, 0], current_rows=[9, 1, 9])
    assert np.isnan(one).all()
