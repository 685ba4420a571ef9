"""`compat_evidently` gives Evidently's own numbers: its functions are called on the same rows."""

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring_pipeline.stats.compat_evidently import (
    EVIDENTLY,
    evidently_anderson,
    evidently_cramer_von_mises,
    evidently_default_method,
    evidently_g_test,
    evidently_hellinger,
    evidently_tvd,
)

CASES = 120  # of which Evidently answers 100 or more for every metric
ANSWERED = 100
EXACT_ROWS = 20
VECTORS = {
    each["id"]: each for each in json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))
}

Column = NDArray[Any]
# Score, whether it is drift, and the threshold; None where Evidently refuses the rows.
Result = tuple[float, bool, float] | None
Theirs = Callable[..., Result]

SHAPES: list[Callable[[np.random.Generator, int], Column]] = [
    lambda rng, rows: rng.normal(size=rows),
    lambda rng, rows: rng.lognormal(3, 2, rows),
    lambda rng, rows: rng.standard_cauchy(rows),
    lambda rng, rows: rng.normal(size=rows).round(1),  # ties
    lambda rng, rows: rng.poisson(8, rows),
    lambda rng, rows: rng.integers(-4000, 90_000, rows),
    lambda rng, rows: rng.choice([0.0, 0.5, 7.0], rows),  # binned by value
    lambda rng, rows: np.where(rng.random(rows) < 0.6, 0.0, rng.exponential(size=rows)),
    lambda rng, rows: rng.normal(size=rows) * 1e-5,  # a spread below the least that Evidently divides by
    lambda rng, rows: np.full(rows, 3.0) + (rng.random(rows) < 0.01),  # constant, or nearly
]


def numeric_case(number: int) -> tuple[Column, Column]:
    """Two columns of one shape: every other one shifted, every third with nulls, some short, some with infinities."""
    rng = np.random.default_rng(number)
    rows = rng.integers(4, 20, 2) if number % 7 == 3 else rng.integers(30, 1500, 2)
    shape = SHAPES[number % len(SHAPES)]
    reference, current = shape(rng, rows[0]), shape(rng, rows[1])
    if number % 2:
        current = current + np.asarray(np.std(reference) * rng.random()).astype(current.dtype)
    if number % 3 == 0:
        reference, current = reference.astype(float), current.astype(float)
        reference[0], current[rng.random(current.size) < 0.1] = np.nan, np.nan
    if number % 5 == 0 and reference.dtype.kind == current.dtype.kind == "f":
        current[0], reference[1] = np.inf, -np.inf
    return reference, current


def categorical_case(number: int, *, equal_sizes: bool = False) -> tuple[Column, Column]:
    """Text, numbers or booleans; new and vanished categories; nulls; one category only."""
    rng = np.random.default_rng(number)
    rows = np.repeat(rng.integers(20, 500), 2) if equal_sizes else rng.integers(20, 500, 2)
    names = [f"c{each}" for each in range(rng.choice([1, 2, 3, 6, 40]))]
    kinds = [np.array(names, dtype=object), np.arange(len(names)), np.arange(len(names)) / 4, np.array([False, True])]
    values = kinds[number % 4]
    weights = rng.dirichlet(np.ones(len(values)), 2) if number % 3 else np.full((2, len(values)), 1 / len(values))
    reference, current = (rng.choice(values, count, p=share) for count, share in zip(rows, weights, strict=True))
    if number % 5 == 0 and len(values) > 1:
        current = current[current != values[0]] if (current != values[0]).any() else current
        reference = reference[reference != values[-1]] if (reference != values[-1]).any() else reference
    if number % 8 in (0, 4):
        reference[0] = None
        current[:3] = None
    if equal_sizes:
        rows_left = min(sum(each is not None for each in side) for side in (reference, current))
        reference, current = ([each for each in side if each is not None] for side in (reference, current))
        reference, current = np.array(reference[:rows_left]), np.array(current[:rows_left])
    return reference, current


@pytest.fixture(scope="module")
def theirs() -> Theirs:
    """Evidently's function of that name, called on the rows that its public path passes on."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its web framework warns while it is imported
        from evidently.legacy.calculations.stattests.registry import get_stattest
        from evidently.legacy.core import ColumnType

    def call(name: str, reference: Column, current: Column, *, categorical: bool) -> Result:
        kind = ColumnType.Categorical if categorical else ColumnType.Numerical
        first, second = (pd.Series(side).replace([-np.inf, np.inf], np.nan).dropna() for side in (reference, current))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # divisions by zero, capped p-values
                result = get_stattest(first, second, kind, name)(first, second, kind, None)
        except ValueError:
            return None
        return float(result.drift_score), bool(result.drifted), result.actual_threshold

    return call


def assert_same(name: str, ours: float, theirs: Result, where: object) -> None:
    scorer = EVIDENTLY[name]
    if theirs is None or math.isnan(theirs[0]):
        assert math.isnan(ours), where
        return
    score, drifted, threshold = theirs
    assert ours == pytest.approx(score, rel=1e-9, abs=1e-9), where
    assert (scorer.threshold, scorer.drifted(ours, threshold)) == (threshold, drifted), where


@pytest.mark.parametrize("name", [name for name, scorer in EVIDENTLY.items() if scorer.numeric])
def test_numbers_score_as_in_evidently(name: str, theirs: Theirs) -> None:
    answered = 0
    for number in range(CASES):
        reference, current = numeric_case(number)
        if name == "cramer_von_mises" and max(reference.size, current.size) <= EXACT_ROWS:
            continue  # the test after the next
        result = theirs(name, reference, current, categorical=name in ("chisquare", "z"))
        assert_same(name, EVIDENTLY[name].score(reference, current, categorical=False), result, (name, number))
        answered += result is not None
    assert answered >= ANSWERED


@pytest.mark.parametrize("name", [name for name, scorer in EVIDENTLY.items() if scorer.categorical and name != "TVD"])
def test_categories_score_as_in_evidently(name: str, theirs: Theirs) -> None:
    answered = 0
    for number in range(CASES):
        reference, current = categorical_case(number, equal_sizes=name == "g_test")
        result = theirs(name, reference, current, categorical=True)
        assert_same(name, EVIDENTLY[name].score(reference, current, categorical=True), result, (name, number))
        answered += result is not None
    assert answered >= ANSWERED


def test_short_samples_differ_from_evidently_in_cramer_von_mises_only_by_its_half_precision(theirs: Theirs) -> None:
    rng = np.random.default_rng(0)
    gaps = []
    for first, second in [(14, 6), (15, 6), (10, 5), (12, 6), (6, 14), (5, 10)] * 3:
        reference, current = rng.normal(size=first), rng.normal(0.3, 1, second)
        result = theirs("cramer_von_mises", reference, current, categorical=False)
        assert result is not None
        gaps.append(abs(evidently_cramer_von_mises(reference, current) - result[0]))
    assert 1e-9 < max(gaps) < 1e-3


def test_total_variation_gives_evidentlys_permutation_p_value(theirs: Theirs) -> None:
    from evidently.legacy.calculations.stattests.tvd_stattest import _total_variation_distance
    from evidently.legacy.calculations.stattests.utils import permutation_test
    from pandas import Series

    def few_permutations(reference: Column, current: Column) -> float:
        sides = Series(reference), Series(current)
        observed = _total_variation_distance(*sides)
        return float(permutation_test(*sides, observed, _total_variation_distance, iterations=20))

    for number in range(CASES):
        reference, current = (
            np.array([each for each in side if each is not None]) for side in categorical_case(number)
        )
        ours = evidently_tvd(reference, current, permutations=20)
        assert ours == few_permutations(reference, current), number
    for number in (1, 5):
        reference, current = categorical_case(number)
        result = theirs("TVD", reference, current, categorical=True)
        assert_same("TVD", EVIDENTLY["TVD"].score(reference, current, categorical=True), result, number)


def test_evidentlys_public_report_shows_the_same_numbers(theirs: Theirs) -> None:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    numbers, categories = numeric_case(30), categorical_case(4, equal_sizes=True)
    assert all(np.isnan(side).any() and np.isinf(side).any() for side in numbers)
    frames = [
        pd.DataFrame({"number": pd.Series(number), "category": pd.Series(category)})
        for number, category in zip(numbers, categories, strict=True)
    ]
    definition = DataDefinition(numerical_columns=["number"], categorical_columns=["category"])
    asked: list[tuple[str, str | None]] = [("number", None), ("category", None)]
    asked += [("number", name) for name, scorer in EVIDENTLY.items() if scorer.numeric and name not in "z chisquare"]
    asked += [("category", name) for name, scorer in EVIDENTLY.items() if scorer.categorical]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference, current = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
        run = Report([ValueDrift(column=column, method=name) for column, name in asked]).run(current, reference)
        shown = [metric["value"] for metric in run.dict()["metrics"]]

    for (column, name), value in zip(asked, shown, strict=True):
        sides, categorical = ((categories, True), (numbers, False))[column == "number"]
        scorer = EVIDENTLY[name or evidently_default_method(*sides, categorical=categorical)]
        assert scorer.score(*sides, categorical=categorical) == pytest.approx(value, abs=1e-9), (column, name)


@pytest.mark.parametrize("rows", [1000, 1001])
@pytest.mark.parametrize("values", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("categorical", [True, False])
def test_the_default_method_is_evidentlys(rows: int, values: int, categorical: bool, theirs: Theirs) -> None:
    import pandas as pd
    from evidently.legacy.calculations.stattests.registry import get_stattest

    reference, current = np.arange(rows) % values, np.arange(50) % values
    kind = "cat" if categorical else "num"
    expected = get_stattest(pd.Series(reference), pd.Series(current), kind, None).name
    assert evidently_default_method(reference, current, categorical=categorical) == expected


def test_equal_shares_are_at_distance_zero_up_to_a_root_of_rounding() -> None:
    values = np.arange(700) % 7
    assert evidently_hellinger(values, values, categorical=True) == pytest.approx(0, abs=1e-7)


def test_rows_that_evidently_refuses_have_no_score() -> None:
    nothing = np.array([np.nan, np.inf])
    for name, scorer in EVIDENTLY.items():
        for categorical in (False, True):
            assert math.isnan(scorer.score(nothing, [1.0, 2.0], categorical=categorical)), name
            assert math.isnan(scorer.score([1.0, 2.0], nothing, categorical=categorical)), name
    with pytest.raises(ValueError, match="0 reference and 2 current values are left"):
        EVIDENTLY["psi"].numeric(nothing, [1.0, 2.0])  # type: ignore[misc]
    with pytest.raises(ValueError, match="sum of the observed frequencies"):
        evidently_g_test(["a", "b"], ["a", "b", "b"])


def test_the_published_vectors_come_out() -> None:
    def rows(counts: list[int]) -> list[int]:
        return [value for value, count in enumerate(counts) for _ in range(count)]

    def normal(seed: int) -> Column:
        return np.random.RandomState(seed).normal(size=100)  # the published numbers were drawn with it

    g_test, anderson = VECTORS["evidently_gtest"]["inputs"], VECTORS["evidently_anderson"]["inputs"]
    hellinger = VECTORS["evidently_hellinger"]["inputs"]
    shown = {
        "evidently_gtest": evidently_g_test(rows(g_test["ref"]), rows(g_test["cur"])),
        "evidently_anderson": evidently_anderson(anderson["ref"], anderson["cur"]),
        "evidently_cvm": evidently_cramer_von_mises(normal(0), normal(1)),
        "evidently_hellinger": evidently_hellinger(rows(hellinger["ref"]), rows(hellinger["cur"]), categorical=True),
    }
    assert set(shown) == {name for name in VECTORS if name.startswith("evidently_")}
    for name, value in shown.items():
        assert value == pytest.approx(VECTORS[name]["expected"], abs=VECTORS[name]["tolerance"])
        assert value == pytest.approx(VECTORS[name]["recomputed"], abs=1e-6)
