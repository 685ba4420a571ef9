import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from monitoring_pipeline.describe.columns import Column, ColumnKind
from monitoring_pipeline.describe.distances import ColumnDistances, as_windows, column_distances
from monitoring_pipeline.describe.profiles import ColumnProfile
from monitoring_pipeline_tests.traffic import column


def compared(
    reference: object, current: object, kind: ColumnKind = ColumnKind.NUMERIC
) -> tuple[Column, ColumnDistances]:
    spec = column("x", reference, kind)
    first, second = (ColumnProfile.of(pa.chunked_array([pa.array(part)]), spec) for part in (reference, current))
    return spec, column_distances(spec, as_windows(first), as_windows(second))


def test_the_contributions_of_the_bins_add_up_to_the_index() -> None:
    generator = np.random.default_rng(1)
    current = np.append(generator.normal(0.3, 1.2, 900), [np.nan] * 50)
    _, found = compared(generator.normal(size=3000), current)
    assert found.contributions.sum() == pytest.approx(found.psi[0], rel=1e-12)
    assert found.contributions.shape == found.reference.shape == found.current.shape == (1, 12)
    assert found.current.sum() == pytest.approx(1)
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
    _, found = compared(reference, current)
    assert found.ks is not None
    assert found.ks_bound is not None
    assert found.wasserstein is not None
    exact = ks_2samp(reference, current).statistic
    assert found.ks[0] <= exact + 1e-12
    assert exact <= found.ks[0] + found.ks_bound[0] + 1e-12
    assert found.wasserstein[0] == pytest.approx(wasserstein_distance(reference, current), abs=0.01 * reference.std())


def test_equal_rows_are_at_no_distance() -> None:
    values = np.random.default_rng(3).normal(size=500)
    _, found = compared(values, values)
    assert found.psi.tolist() == found.js.tolist() == [0.0]
    assert found.ks is not None
    assert found.wasserstein is not None
    assert found.ks.tolist() == found.wasserstein.tolist() == [0.0]
    assert found.psi_p_value.tolist() == [1.0]


def test_a_window_without_a_row_has_no_distance() -> None:
    _, found = compared([1.0, 2.0], pa.array([], pa.float64()))
    for values in (found.psi, found.psi_p_value, found.js, found.js_distance, found.ks, found.wasserstein):
        assert values is not None
        assert np.isnan(values).all()


def test_values_that_are_all_missing_move_the_index_but_leave_no_order_to_compare() -> None:
    _, found = compared([1.0, 2.0, 3.0], pa.array([None, None], pa.float64()))
    assert found.psi[0] > 1
    assert found.ks is not None
    assert np.isnan(found.ks).all()


def test_categories_have_no_order() -> None:
    spec, found = compared(["a", "b"], ["b", "c"], ColumnKind.CATEGORICAL)
    assert (found.ks, found.wasserstein, spec.is_ordered) == (None, None, False)
    assert found.current[0, 2] > found.reference[0, 2]
