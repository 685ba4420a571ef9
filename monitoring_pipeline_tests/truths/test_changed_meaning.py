from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from monitoring_pipeline.describe.columns import FloatArray, numeric_bins
from monitoring_pipeline.describe.kernel import bin_counts
from monitoring_pipeline.stats.changed_meaning import FACTORS, NumberShape, recognise_numbers

Draw = Callable[[np.random.Generator, int], FloatArray]

NOW = 1.79e9
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(50, 10, n),
    "narrow": lambda rng, n: rng.normal(1000, 7, n),
    "around zero": lambda rng, n: rng.normal(0, 1, n),
    "lognormal": lambda rng, n: rng.lognormal(1, 1, n),
    "very heavy": lambda rng, n: rng.lognormal(0, 2, n),
    "exponential": lambda rng, n: rng.exponential(3, n),
    "days": lambda rng, n: rng.integers(0, 366, n).astype(np.float64),
    "ages": lambda rng, n: np.clip(np.rint(rng.normal(45, 15, n)), 18, 95),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.lognormal(2, 1, n)),
    "heavy tails": lambda rng, n: 10 + 3 * rng.standard_t(2, n),
    "two humps": lambda rng, n: np.where(rng.random(n) < 0.4, rng.normal(10, 1, n), rng.normal(30, 2, n)),
    "weekdays": lambda rng, n: rng.integers(0, 7, n).astype(np.float64),
    "yes or no": lambda rng, n: (rng.random(n) < 0.3).astype(np.float64),
    "prices": lambda rng, n: np.round(rng.lognormal(3, 0.8, n), 2),
    "fives": lambda rng, n: (5 * rng.integers(1, 101, n)).astype(np.float64),
    "counts": lambda rng, n: rng.poisson(3, n).astype(np.float64),
    "shares": lambda rng, n: rng.beta(2, 5, n),
    "logarithms": lambda rng, n: rng.normal(6, 1, n),
}
DRIFTS: dict[str, Callable[[np.random.Generator, FloatArray, float], FloatArray]] = {
    "none": lambda rng, x, spread: x,
    "shift": lambda rng, x, spread: x + rng.choice([-1, 1]) * rng.uniform(0.5, 2) * spread,
    "stretch": lambda rng, x, spread: x * 1.3,
    "stretch about the mean": lambda rng, x, spread: x.mean() + 1.3 * (x - x.mean()),
    "shift and shrink": lambda rng, x, spread: x / 1.3 + rng.choice([-1, 1]) * rng.uniform(0.5, 1.5) * spread,
}


def shape_of(values: FloatArray) -> NumberShape:
    ordered = np.sort(values)
    bins = numeric_bins(ordered, groups=10)
    counts, _, _ = bin_counts(ordered, bins)
    distinct = np.unique(values)
    known = distinct if len(distinct) <= 256 else np.zeros(0)
    return NumberShape(bins.edges, np.cumsum(counts)[:-1] / counts.sum(), bins.center, bins.scale, known)


def words(shape: NumberShape, values: FloatArray, *, usual: float = 0.0) -> str | None:
    found = recognise_numbers(shape, np.sort(values), now=NOW, usual=usual)
    return None if found is None else found.words


def test_neither_chance_nor_ordinary_drift_is_taken_for_a_change_of_meaning() -> None:
    rng = np.random.default_rng(11)
    alarms = []
    for name, draw in SHAPES.items():
        shape = shape_of(draw(rng, 10_000))
        whole = name in {"days", "ages", "weekdays", "fives", "counts"}
        for (drift, moved), rows, _ in product(DRIFTS.items(), (30, 100, 1000), range(7)):
            values = moved(rng, draw(rng, rows), shape.spread)
            found = words(shape, np.rint(values) if whole else values)
            alarms += [(name, drift, rows, found)] if found else []
    assert alarms == []


@pytest.mark.parametrize("rows", [30, 100, 1000])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: NOW - 86_400 * x, "Unix timestamps in seconds"),
        (lambda x: 1e3 * (NOW - 86_400 * x), "Unix timestamps in milliseconds"),
        (lambda x: 1e9 * (NOW - 86_400 * x), "Unix timestamps in nanoseconds"),
        (lambda x: x * 0 - 1, "the constant -1 in every row"),
        (lambda x: x * 0 + 999, "the constant 999 in every row"),
    ],
)
def test_days_that_become_timestamps_or_a_constant_are_always_named(
    rows: int, change: Callable[[FloatArray], FloatArray], expected: str
) -> None:
    rng = np.random.default_rng(3)
    shape = shape_of(SHAPES["days"](rng, 20_000))
    assert {words(shape, change(SHAPES["days"](rng, rows))) for _ in range(40)} == {expected}


@pytest.mark.parametrize(("rows", "least"), [(30, 29), (100, 38), (1000, 39)])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: 24 * x, "days turned into hours"),
        (lambda x: 86_400 * x, "days turned into seconds"),
        (lambda x: x / 365.25, "days turned into years"),  # the first of two that no sample tells apart
        (lambda x: x / 365, "days turned into years"),
        (lambda x: -x, "the sign is flipped"),
        (lambda x: (x - 182.5) / 105.65, "standardised values (mean 0, deviation 1) instead of raw ones"),
        (np.log1p, "logarithms of 1 + x instead of x"),
    ],
)
def test_days_since_an_event_that_become_something_else_are_nearly_always_named(
    rows: int, least: int, change: Callable[[FloatArray], FloatArray], expected: str
) -> None:
    rng = np.random.default_rng(3)
    shape = shape_of(SHAPES["days"](rng, 20_000))
    found = [words(shape, change(SHAPES["days"](rng, rows))) for _ in range(40)]
    assert found.count(expected) >= least
    assert rows < 1000 or None not in found


@pytest.mark.parametrize(("factor", "units"), FACTORS)
def test_every_factor_between_units_is_undone_both_ways(factor: float, units: tuple[tuple[str, str], ...]) -> None:
    rng = np.random.default_rng(5)
    shape = shape_of(rng.lognormal(2, 0.1, 20_000))
    for sign in (1, -1):
        found = recognise_numbers(shape, np.sort(rng.lognormal(2, 0.1, 1000) * factor**sign), now=NOW)
        assert found is not None
        assert found.factor == pytest.approx(factor**sign, rel=0.05)
        assert found.after < 0.1 < found.before


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("mostly zero", lambda x: 100 * x, "euros turned into cents or shares into percent"),
        ("shares", lambda x: 100 * x, "euros turned into cents or shares into percent"),
        ("normal", lambda x: (x - 32) / 1.8, "degrees Fahrenheit turned into degrees Celsius"),
        ("normal", lambda x: x + 273.15, "degrees Celsius turned into kelvins"),
        ("two humps", lambda x: 60 * x, "minutes turned into seconds or hours into minutes"),
        ("prices", np.log, "logarithms instead of the values"),
        ("logarithms", np.exp, "the values instead of their logarithms"),
        ("prices", lambda x: 40 * x + 3000, "values multiplied by"),
    ],
)
def test_other_columns_that_change_their_meaning_are_named_in_an_hour(
    name: str, change: Callable[[FloatArray], FloatArray], expected: str
) -> None:
    rng = np.random.default_rng(8)
    shape = shape_of(SHAPES[name](rng, 20_000))
    found = [words(shape, change(SHAPES[name](rng, 500))) or "" for _ in range(20)]
    assert sum(each.startswith(expected) for each in found) >= 18


def test_an_hour_of_weather_is_recognised_by_its_magnitude_when_such_hours_are_usual() -> None:
    rng = np.random.default_rng(2)
    shape = shape_of(rng.uniform(20, 100, 20_000))
    hour = rng.uniform(60, 64, 50)
    assert words(shape, hour, usual=0.9) is None
    assert words(shape, hour / 100) is None
    assert words(shape, hour / 100, usual=0.9) == "cents turned into euros or percent into shares"


def test_a_quiet_hour_within_what_is_known_is_not_taken_for_a_smaller_unit() -> None:
    rng = np.random.default_rng(6)
    shape = shape_of(rng.normal(50, 10, 20_000))
    assert {words(shape, rng.normal(centre, 0.5, 200)) for centre in np.linspace(25, 75, 30)} == {None}
    minutes, midnight = (
        shape_of(rng.integers(0, 1440, 20_000).astype(np.float64)),
        rng.integers(0, 60, 200).astype(np.float64),
    )
    assert words(minutes, midnight, usual=0.97) is None
    assert words(minutes, midnight) == "hours turned into days"


def test_values_that_are_exactly_known_ones_betray_their_factor() -> None:
    rng = np.random.default_rng(4)
    miles = rng.choice(np.unique(rng.integers(100, 3000, 150)), 20_000).astype(np.float64)
    shape, hour = shape_of(miles), rng.choice(miles, 60)
    assert words(shape, hour * 1.609344) == "miles turned into kilometres"
    assert words(shape, hour * 1.55) is None


def test_few_values_and_one_known_value_have_no_shape() -> None:
    shape = shape_of(np.arange(366.0))
    assert words(shape, np.full(14, 1.7e9)) is None
    assert words(shape_of(np.full(50, 7.0)), np.full(50, 7.0)) is None
