"""Changes planted in made-up series are found where they are, named as they are, and not found where there is none."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from monitoring_pipeline.stats.change_points import DriftPattern, locate_change, name_pattern

Array = NDArray[np.float64]


def autoregressions(series: int, hours: int, coefficient: float, *, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(series, hours))
    for at in range(1, hours):
        values[:, at] = coefficient * values[:, at - 1] + np.sqrt(1 - coefficient**2) * values[:, at]
    return values


def test_the_place_is_that_of_the_least_squares_of_all_pairs_of_levels() -> None:
    generator = np.random.default_rng(1)
    values, weights = generator.normal(size=40), generator.integers(1, 9, 40).astype(float)
    values[25:] += 1
    losses = []
    for cut in range(1, 40):
        parts = [(values[part], weights[part]) for part in (slice(None, cut), slice(cut, None))]
        losses.append(sum((w * np.square(y - np.average(y, weights=w))).sum() for y, w in parts))
    found = locate_change(values, weights)
    assert found is not None
    assert found.index == int(np.argmin(losses)) + 1
    assert found.before == pytest.approx(np.average(values[: found.index], weights=weights[: found.index]))


def test_missing_hours_and_hours_without_weight_keep_their_place() -> None:
    values = np.tile([0.0, 0.1], 30) + np.repeat([0.0, 5.0], 30)
    gaps, weights = values.copy(), np.ones(60)
    gaps[[3, 10, 33]], weights[[5, 40]], values[[5, 40]] = np.nan, 0, 99
    found = locate_change(np.where(weights == 0, values, gaps), weights)
    assert found is not None
    assert (found.index, found.low <= 30 <= found.high) == (30, True)


def test_a_series_too_short_has_no_change_and_a_flat_one_has_none_to_speak_of() -> None:
    assert locate_change([1.0] * 11) is None
    assert locate_change([np.nan] * 50) is None
    flat = locate_change([2.0] * 30)
    assert flat is not None
    assert flat.p_value == 1.0
    assert name_pattern([2.0] * 30).pattern is DriftPattern.NONE
    short = name_pattern([1.0] * 5)
    assert (short.pattern, short.confidence, short.index) == (DriftPattern.NONE, 0.0, None)


@pytest.mark.parametrize(
    ("coefficient", "hours", "rate"),
    [(0.0, 50, 0.05), (0.0, 700, 0.05), (0.5, 200, 0.06), (0.8, 200, 0.09), (0.8, 700, 0.07), (0.9, 700, 0.08)],
)
def test_no_change_is_called_one_at_most_as_often_as_stated(coefficient: float, hours: int, rate: float) -> None:
    found = [locate_change(x) for x in autoregressions(300, hours, coefficient, seed=2)]
    alarms = sum(change.p_value <= 0.05 for change in found if change)
    assert alarms <= binom.ppf(0.999, 300, rate)


@pytest.mark.parametrize(("coefficient", "hours", "shift"), [(0.0, 200, 1.0), (0.5, 200, 2.0), (0.8, 400, 2.0)])
def test_a_planted_step_is_seen_and_its_interval_holds_the_place(coefficient: float, hours: int, shift: float) -> None:
    values = autoregressions(200, hours, coefficient, seed=3)
    values[:, hours // 2 :] += shift
    found = [change for x in values if (change := locate_change(x))]
    assert sum(change.p_value <= 0.05 for change in found) >= 190
    held = sum(change.low <= hours // 2 <= change.high for change in found)
    assert held >= 176  # 190 are expected at 95 %


def gradual(hours: int) -> Array:
    """Return twenty blocks, each longer on the new level than the one before."""
    size = hours // 20
    shares = np.clip((np.arange(20) - 5) / 10, 0, 1)
    return np.concatenate([np.repeat([0.0, 1.0], [size - round(s * size), round(s * size)]) for s in shares])


PLANTED = {
    DriftPattern.SUDDEN: np.repeat([0.0, 1.0], [180, 120]),
    DriftPattern.INCREMENTAL: np.clip((np.arange(300) - 90) / 150, 0, 1),
    DriftPattern.GRADUAL: gradual(300),
    DriftPattern.RECURRING: np.repeat([0.0, 1.0, 0.0, 1.0], 75),
}


@pytest.mark.parametrize("pattern", PLANTED)
@pytest.mark.parametrize("coefficient", [0.0, 0.5])
def test_a_planted_pattern_gets_its_name(pattern: DriftPattern, coefficient: float) -> None:
    noise = autoregressions(40, 300, coefficient, seed=4)
    found = [name_pattern(x + 4 * PLANTED[pattern]) for x in noise]
    right = [named for named in found if named.pattern is pattern]
    assert len(right) >= 26
    assert np.mean([named.confidence for named in right]) > 0.7


def test_a_level_that_comes_back_once_is_recurring_and_began_where_it_left() -> None:
    named = name_pattern(autoregressions(1, 300, 0.0, seed=5)[0] + 4 * np.repeat([0.0, 1.0, 0.0], 100))
    assert named.pattern is DriftPattern.RECURRING
    assert named.index == pytest.approx(100, abs=2)
    assert named.evidence["moves"] == 2
    assert named.evidence["gain_recurring"] > named.evidence["gain_sudden"]


@pytest.mark.parametrize(("coefficient", "hours", "rate"), [(0.0, 100, 0.02), (0.8, 300, 0.02), (0.9, 300, 0.04)])
def test_a_series_that_wanders_by_itself_has_no_pattern(coefficient: float, hours: int, rate: float) -> None:
    named = [name_pattern(x).pattern for x in autoregressions(100, hours, coefficient, seed=6)]
    assert sum(pattern is not DriftPattern.NONE for pattern in named) <= binom.ppf(0.999, 100, rate)


def test_missing_hours_keep_the_name_and_the_place() -> None:
    values = autoregressions(1, 240, 0.0, seed=7)[0] + 5 * np.repeat([0.0, 1.0], 120)
    values[np.arange(240) % 24 < 6] = np.nan
    named = name_pattern(values)
    assert named.pattern is DriftPattern.SUDDEN
    assert named.index is not None
    assert abs(named.index - 120) <= 6  # the first hour after a night
