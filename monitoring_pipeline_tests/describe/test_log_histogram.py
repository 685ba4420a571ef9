import json

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring_pipeline.describe.log_histogram import ACCURACY, LARGEST, SMALLEST, LogHistogram

RANDOM = np.random.default_rng(8)
SHARES = np.linspace(0, 1, 201)


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.lognormal(-2, 1.5, 20_000),
        -RANDOM.lognormal(3, 2, 5_000),
        RANDOM.normal(0, 1, 9_999),
        10.0 ** RANDOM.uniform(-30, 30, 5_000),
        np.full(7, 3.7),
        np.array([0.0, 0.0, 5.0]),
        np.array([5.0]),
    ],
    ids=["latencies", "negative", "both signs", "sixty decades", "constant", "zeros", "one value"],
)
def test_quantiles_are_those_of_numpy_within_one_per_cent(values: NDArray[np.float64]) -> None:
    found, exact = LogHistogram.of(values).quantile(SHARES), np.quantile(values, SHARES)
    # Between neighbours of different sign the error is relative to the larger.
    ends = [np.abs(np.quantile(values, SHARES, method=method)) for method in ("lower", "higher")]
    assert (np.abs(found - exact) <= ACCURACY * np.maximum(*ends) * (1 + 1e-9)).all()
    assert LogHistogram.of(values).total == pytest.approx(values.sum())


def test_magnitudes_beyond_the_bounds_count_as_zero_and_as_the_largest() -> None:
    values = np.array([-1e300, -1e-300, 5e-324, 1e-31, SMALLEST, 1e31, 1.7e308, LARGEST])
    histogram = LogHistogram.of(values)
    assert histogram.count == 8
    assert histogram.quantile([0, 0.5, 1]) == pytest.approx([-LARGEST, SMALLEST / 2, LARGEST], rel=ACCURACY)
    assert histogram.buckets[0] == 3
    assert max(histogram.buckets) == -min(histogram.buckets) == (13_819 - 1) // 2
    assert np.isfinite(histogram.total)


def test_what_is_not_finite_is_left_to_the_caller_to_count() -> None:
    values = np.array([1.0, np.nan, np.inf, -np.inf, 2.0])
    assert LogHistogram.of(values) == LogHistogram.of(np.array([2.0, 1.0]))
    assert LogHistogram.of(values).mean == 1.5


def test_no_values_have_no_quantile_no_mean_and_no_interval() -> None:
    nothing = LogHistogram.of(np.array([np.nan]))
    assert nothing == LogHistogram.empty()
    assert np.isnan([nothing.quantile(0.5), *nothing.quantile([0.1, 0.9]), nothing.mean]).all()
    assert nothing.quantile_interval(0.5) == (None, None)


def test_the_interval_of_a_quantile_holds_it_as_often_as_it_says() -> None:
    hits = 0
    for _ in range(400):
        low, high = LogHistogram.of(1 + RANDOM.random(60)).quantile_interval(0.75)
        assert low is not None
        assert high is not None
        hits += low * (1 - ACCURACY) <= 1.75 <= high * (1 + ACCURACY)
    assert hits >= 370  # 380 are expected at 95 %, more for values that are this discrete


def test_the_median_of_eight_lies_between_the_least_and_the_greatest() -> None:
    low, high = LogHistogram.of(np.arange(1.0, 9.0)).quantile_interval(0.5)  # as a table of the sign test has it
    assert low == pytest.approx(1, rel=1.01 * ACCURACY)
    assert high == pytest.approx(8, rel=1.01 * ACCURACY)


def test_a_few_rows_do_not_bound_a_high_quantile_from_above() -> None:
    low, high = LogHistogram.of(np.arange(1.0, 31.0)).quantile_interval(0.99)
    assert high is None
    assert low == pytest.approx(28, rel=ACCURACY)  # the third largest of thirty
    assert LogHistogram.of(np.array([4.0])).quantile_interval(0.5) == (None, None)


def test_ten_thousand_latencies_take_a_few_kilobytes_of_json() -> None:
    histogram = LogHistogram.of(RANDOM.lognormal(4, 1, 10_000))
    text = json.dumps(histogram.to_json())
    assert len(text) < 4_000
    assert LogHistogram.from_json(json.loads(text)) == histogram
