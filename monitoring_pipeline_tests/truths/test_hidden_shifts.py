"""Shifts made to be hidden from bins: what each binned distance can miss, and that the report says how much."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp, wasserstein_distance

from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole, NumericBins
from monitoring_pipeline.describe.distances import METRICS
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.reference_building import ColumnSpec, build_reference
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.drift import table_drift
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline_tests.traffic import COMPUTED, START

Values = NDArray[np.float64]
ROWS = 20_000
REFERENCE_ROWS: Values = np.random.default_rng(1).normal(size=ROWS)


def reference_of(values: Values) -> Reference:
    spec = ColumnSpec("x", ColumnRole.FEATURE, ColumnKind.NUMERIC)
    return build_reference(pa.table({"x": values}), [spec], model="m", version="1", computed_at=COMPUTED)


REFERENCE = reference_of(REFERENCE_ROWS)


def edges() -> Values:
    bins = REFERENCE.columns["x"].column.bins
    assert isinstance(bins, NumericBins)
    return bins.edges


def measured(current: Values) -> dict[str, Signal]:
    profile = Profile.of(pa.table({"x": current}), "1", REFERENCE.specs)
    signals = table_drift(REFERENCE, profile, start=START, end=START + timedelta(hours=1), metrics=tuple(METRICS))
    return {signal.metric.removeprefix("drift."): signal for signal in signals}


def to_the_ends_of_their_bins(values: Values) -> Values:
    """Every value moved as far as it goes without leaving its bin."""
    inner = edges()
    place = np.clip(np.searchsorted(inner, values, side="right"), 1, len(inner) - 1)
    return np.nextafter(inner[place], -np.inf)


def one_bin_emptied_to_its_end(values: Values) -> Values:
    inner = edges()
    low, high = inner[50], inner[51]
    return np.where((values >= low) & (values < high), np.nextafter(high, -np.inf), values)


def a_spike_inside_a_bin(values: Values) -> Values:
    inner = edges()
    return np.where(np.arange(len(values)) % 20 == 0, (inner[30] + inner[31]) / 2, values)


def a_far_tail(values: Values) -> Values:
    """The largest of a hundred values, moved far beyond everything the reference had."""
    return np.where(values >= np.quantile(values, 0.99), values + 50.0, values)


HIDING = (to_the_ends_of_their_bins, one_bin_emptied_to_its_end, a_spike_inside_a_bin, a_far_tail)


@pytest.mark.parametrize("hide", HIDING)
def test_the_exact_distance_lies_within_what_the_report_says_of_it(hide: Callable[[Values], Values]) -> None:
    current = hide(REFERENCE_ROWS)
    found = measured(current)
    ks, exact = found["ks"], ks_2samp(REFERENCE_ROWS, current).statistic
    assert ks.low is not None
    assert ks.high is not None
    assert ks.low - 1e-12 <= exact <= ks.high + 1e-12


@pytest.mark.parametrize("hide", [to_the_ends_of_their_bins, one_bin_emptied_to_its_end])
def test_what_moves_inside_bins_is_hidden_from_counts_and_seen_by_means(hide: Callable[[Values], Values]) -> None:
    current = hide(REFERENCE_ROWS)
    found = measured(current)
    assert {found[name].value for name in ("psi", "js", "hellinger", "ks")} == {0.0}
    assert found["ks"].high is not None
    assert found["ks"].high > 0, "what the zero may hide is said"
    exact = wasserstein_distance(REFERENCE_ROWS, current)
    assert exact > 0
    assert found["wasserstein"].value == pytest.approx(exact, rel=1e-9)


def test_a_spike_inside_a_bin_moves_the_index_by_its_mass() -> None:
    found = measured(a_spike_inside_a_bin(REFERENCE_ROWS))
    assert found["psi"].value is not None
    assert 0.005 < found["psi"].value < 0.10, "five rows in a hundred are no drift by the textbook"
    assert found["ks"].p_value is not None
    assert found["ks"].p_value < 1e-4, "and no accident either"


def test_how_far_a_tail_went_is_hidden_from_the_index_and_seen_by_the_wasserstein_distance() -> None:
    near, far = (measured(np.where(REFERENCE_ROWS > 2.3, REFERENCE_ROWS + by, REFERENCE_ROWS)) for by in (5.0, 50.0))
    assert near["psi"].value == far["psi"].value
    assert near["wasserstein"].value is not None
    assert far["wasserstein"].value is not None
    assert far["wasserstein"].value == pytest.approx(10 * near["wasserstein"].value, rel=0.01)
