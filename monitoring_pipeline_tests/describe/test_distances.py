from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.distances import METRICS, Measured, Pair, as_windows, measured
from monitoring_pipeline.describe.profiles import ColumnProfile
from monitoring_pipeline_tests.traffic import column


def pair(reference: object, current: object, kind: ColumnKind = ColumnKind.NUMERIC) -> Pair:
    spec = column("x", reference, kind)
    first, second = (ColumnProfile.of(pa.chunked_array([pa.array(part)]), spec) for part in (reference, current))
    return Pair(spec, as_windows(first), as_windows(second))


def compared(reference: object, current: object, kind: ColumnKind = ColumnKind.NUMERIC) -> Mapping[str, Measured]:
    return measured(pair(reference, current, kind), METRICS)


def value(found: Mapping[str, Measured], metric: str) -> float:
    return float(found[metric].values[0])


def test_the_contributions_of_the_bins_add_up_to_the_index() -> None:
    generator = np.random.default_rng(1)
    current = np.append(generator.normal(0.3, 1.2, 900), [np.nan] * 50)
    found = pair(generator.normal(size=3000), current)
    assert found.contributions.sum() == pytest.approx(measured(found, ["psi"])["psi"].values[0], rel=1e-12)
    before, now = found.smoothed
    assert found.contributions.shape == before.shape == now.shape == (1, 12)
    assert now.sum() == pytest.approx(1)
    assert found.rows.tolist() == [950]


@pytest.mark.parametrize("make", ["normal", "lognormal", "integers", "heavy ties"])
def test_distances_of_the_bins_are_those_of_the_rows_within_the_stated_bounds(make: str) -> None:
    generator = np.random.default_rng(2)
    samples = {
        "normal": (generator.normal(size=4000), generator.normal(0.2, 1, 3000)),
        "lognormal": (generator.lognormal(0, 1, 4000), generator.lognormal(0.3, 1, 3000)),
        "integers": (generator.integers(0, 9, 4000).astype(float), generator.integers(2, 11, 3000).astype(float)),
        "heavy ties": tuple(
            np.where(generator.random(size) < 0.8, 0.0, generator.exponential(scale, size))
            for size, scale in ((4000, 1.0), (3000, 2.0))
        ),
    }
    reference, current = samples[make]
    found = compared(reference, current)
    high = found["ks"].high
    assert high is not None
    exact = ks_2samp(reference, current).statistic
    assert value(found, "ks") <= exact + 1e-12
    assert exact <= high[0] + 1e-12
    distance = wasserstein_distance(reference, current)
    assert value(found, "wasserstein") == pytest.approx(distance, abs=0.01 * reference.std())
    assert value(found, "wasserstein_normalised") == pytest.approx(distance / reference.std(), abs=0.01)


def test_means_and_deviations_are_those_of_the_rows() -> None:
    generator = np.random.default_rng(4)
    reference, current = generator.normal(1e6, 2, 4000), generator.normal(1e6 - 1, 3, 3000)
    found = compared(reference, current)
    shift = abs(current.mean() - reference.mean()) / reference.std(ddof=1)
    assert value(found, "mean_shift") == pytest.approx(shift, rel=1e-3)
    assert value(found, "std_ratio") == pytest.approx(current.std() / reference.std(), rel=1e-3)


def test_the_statistic_of_categories_is_pearsons() -> None:
    found = compared(["a"] * 60 + ["b"] * 30 + ["c"] * 10, ["a"] * 40 + ["b"] * 50 + ["d"] * 10, ColumnKind.CATEGORICAL)
    expected = chi2_contingency([[60, 30, 10, 0], [40, 50, 0, 10]], correction=False)
    assert value(found, "chi_square") == pytest.approx(expected.statistic)
    p_values = found["chi_square"].p_values
    assert p_values is not None
    assert p_values[0] == pytest.approx(expected.pvalue, rel=0.5)  # it knows how few rows these are
    assert value(found, "l_infinity") == pytest.approx(0.2)


def test_equal_rows_are_at_no_distance() -> None:
    values = np.random.default_rng(3).normal(size=500)
    found = compared(values, values)
    assert value(found, "std_ratio") == 1.0
    for metric in set(found) - {"std_ratio"}:
        assert value(found, metric) == 0.0, metric
        if (p_values := found[metric].p_values) is not None:
            assert p_values.tolist() == [1.0], metric


def test_a_window_without_a_row_has_no_distance() -> None:
    found = compared([1.0, 2.0], pa.array([], pa.float64()))
    assert found
    for metric, distance in found.items():
        assert np.isnan(distance.values).all(), metric


def test_values_that_are_all_missing_move_the_index_but_leave_no_order_to_compare() -> None:
    found = compared([1.0, 2.0, 3.0], pa.array([None, None], pa.float64()))
    assert value(found, "psi") > 1
    for metric in ("ks", "wasserstein", "mean_shift", "std_ratio"):
        assert np.isnan(found[metric].values).all(), metric


@pytest.mark.parametrize("kind", [ColumnKind.NUMERIC, ColumnKind.CATEGORICAL])
def test_a_column_that_goes_60_percent_null_is_as_far_as_the_formula_says(kind: ColumnKind) -> None:
    present = list(range(5)) * 200 if kind.is_binned else list("abcde") * 200
    found = compared(present, [None if place // 5 % 5 < 3 else each for place, each in enumerate(present)], kind)
    lost = 0.6 * np.log(1 / 0.4)  # 1 against 0.4 of the rows have a value
    assert value(found, "psi") > lost
    assert value(found, "hellinger") == pytest.approx(np.sqrt(1 - np.sqrt(0.4)), abs=0.02)


def test_categories_have_no_order() -> None:
    found = pair(["a", "b"], ["b", "c"], ColumnKind.CATEGORICAL)
    before, now = found.smoothed
    assert now[0, 2] > before[0, 2]
    ordered = {"ks", "wasserstein", "wasserstein_normalised", "mean_shift", "std_ratio"}
    assert set(measured(found, METRICS)) == set(METRICS) - ordered


def test_new_and_vanished_categories_are_measured_as_the_share_of_rows_they_had() -> None:
    found = compared(["a"] * 50 + ["b"] * 30 + ["c"] * 20, ["a"] * 60 + ["d"] * 30 + ["e"] * 10, ColumnKind.CATEGORICAL)
    assert value(found, "unseen_share") == pytest.approx(0.4)
    assert value(found, "vanished_share") == pytest.approx(0.5)


def test_only_what_is_asked_for_and_means_something_is_measured_in_the_order_of_the_metrics() -> None:
    numbers = np.random.default_rng(5).normal(size=100)
    assert list(measured(pair(numbers, numbers), ["ks", "l_infinity", "psi"])) == ["psi", "ks"]
    assert "wasserstein_normalised" not in compared([5.0] * 9, [5.0] * 9)  # a constant has no unit to measure in
    assert "wasserstein" in compared([5.0] * 9, [5.0] * 9)
