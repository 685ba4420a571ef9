"""`compat_nannyml` gives NannyML's own numbers: those in `nannyml_vectors.json`, which its calculator computed."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import RandomState  # its stream never changes, and NannyML's own published numbers use it
from numpy.typing import NDArray

from monitoring_pipeline.stats.compat_nannyml import (
    NANNYML,
    nannyml_hellinger,
    nannyml_jensen_shannon,
    nannyml_l_infinity,
    nannyml_threshold,
    nannyml_wasserstein,
)

Column = NDArray[Any]
FOLDER = Path(__file__).parent
GOLDEN = json.loads((FOLDER / "nannyml_vectors.json").read_text(encoding="utf-8"))
PUBLISHED = {each["id"]: each for each in json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))}


def with_missing(values: Column, draw: RandomState) -> Column:
    values = values.astype(object if values.dtype.kind in "OU" else float)
    values[draw.uniform(size=values.size) < 0.1] = None
    return values


def letters(text: str) -> Column:
    return np.array(list(text), dtype=object)


# Each recipe draws a reference of the first size, then a current column of the second.
NUMERIC: dict[str, Callable[[RandomState, int, int], tuple[Column, Column]]] = {
    "normal": lambda draw, n, m: (draw.normal(size=n), draw.normal(0.2, 1.1, m)),
    "same normal": lambda draw, n, m: (draw.normal(size=n), draw.normal(size=m)),
    "lognormal": lambda draw, n, m: (draw.lognormal(3, 2, n), draw.lognormal(3.5, 2, m)),
    "heavy tails": lambda draw, n, m: (draw.standard_cauchy(n), draw.standard_cauchy(m) + 1),
    "ties": lambda draw, n, m: (draw.normal(size=n).round(1), draw.normal(0.1, 1, m).round(1)),
    "integers": lambda draw, n, m: (draw.poisson(8, n), draw.poisson(9, m)),
    "few values": lambda draw, n, m: (draw.choice([0.0, 0.5, 7.0], n), draw.choice([0.0, 7.0, 9.0], m)),
    "constant": lambda draw, n, m: (np.full(n, 3.0), np.full(m, 3.0) + (draw.uniform(size=m) < 0.1)),
    "nulls": lambda draw, n, m: (with_missing(draw.normal(size=n), draw), with_missing(draw.normal(1, 1, m), draw)),
    "within the reference": lambda draw, n, m: (draw.uniform(-1, 2, n), draw.uniform(0, 1, m)),
    "beyond it on both sides": lambda draw, n, m: (draw.uniform(-1, 1, n), draw.normal(0.5, 3, m)),
}
CATEGORICAL: dict[str, Callable[[RandomState, int, int], tuple[Column, Column]]] = {
    "text": lambda draw, n, m: (draw.choice(letters("abcde"), n), draw.choice(letters("aabcde"), m)),
    "new and vanished": lambda draw, n, m: (draw.choice(letters("abcd"), n), draw.choice(letters("abxy"), m)),
    "two categories": lambda draw, n, m: (draw.choice(letters("ab"), n), draw.choice(letters("aab"), m)),
    "one category": lambda draw, n, m: (draw.choice(letters("a"), n), draw.choice(letters("a"), m)),
    "equal shares": lambda draw, n, m: (np.arange(n) % 7, np.arange(m) % 7),
    "numbers": lambda draw, n, m: (draw.poisson(3, n), draw.poisson(4, m)),
    "many": lambda draw, n, m: (draw.geometric(0.05, n) * 1.5, draw.geometric(0.04, m) * 1.5),
    "nulls": lambda draw, n, m: (
        with_missing(draw.choice(letters("abc"), n), draw),
        with_missing(draw.choice(letters("abcd"), m), draw),
    ),
    "booleans": lambda draw, n, m: (draw.uniform(size=n) < 0.5, draw.uniform(size=m) < 0.6),
    "nothing in common": lambda draw, n, m: (draw.choice(letters("ab"), n), draw.choice(letters("cd"), m)),
}
RECIPES = {"numeric": NUMERIC, "categorical": CATEGORICAL}


def columns(case: dict[str, Any]) -> tuple[Column, Column]:
    return RECIPES[case["kind"]][case["recipe"]](RandomState(case["seed"]), *case["rows"])


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['recipe']} {case['rows'][0]}")
def test_the_value_the_threshold_and_the_alert_are_nannymls(case: dict[str, Any]) -> None:
    reference, current = columns(case)
    categorical = case["kind"] == "categorical"
    methods = {name for name, scorer in NANNYML.items() if (scorer.categorical if categorical else scorer.numeric)}
    assert set(case["methods"]) == methods
    for name, (expected, expected_threshold, alert) in case["methods"].items():
        scorer = NANNYML[name]
        value = scorer.score(reference, current, categorical=categorical)
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True), name
        if scorer.p_value:
            assert scorer.threshold is not None
            assert scorer.drifted(scorer.p_value(reference, current), scorer.threshold) == alert
            continue
        score = scorer.categorical if categorical else scorer.numeric
        assert score is not None
        threshold = nannyml_threshold(score, reference)
        if name == "kolmogorov_smirnov":
            threshold = min(threshold, 1.0)
        assert threshold == pytest.approx(expected_threshold, rel=1e-9, abs=1e-9, nan_ok=True), name
        assert scorer.drifted(value, threshold) == alert, name


def test_every_method_has_twenty_cases_or_more_and_both_sides_of_ten_thousand_rows() -> None:
    for name in NANNYML:
        assert sum(name in case["methods"] for case in GOLDEN["cases"]) >= 20
    sizes = {case["rows"][0] for case in GOLDEN["cases"] if "wasserstein" in case["methods"]}
    assert min(sizes) < 10_000 <= max(sizes)
    assert 10_000 in sizes


def test_the_published_vectors_come_out() -> None:
    def normal(rows: tuple[int, int], mean: float, deviation: float) -> float:
        draw = RandomState(1)
        return nannyml_wasserstein(draw.normal(0, 1, rows[0]), draw.normal(mean, deviation, rows[1]))

    draw = RandomState(1)
    choices = draw.choice(letters("abcd"), 10_000), draw.choice(letters("abce"), 1000)
    few = PUBLISHED["nannyml_linf_new"]["inputs"]
    shown = {
        "nannyml_w1_a": normal((10_000, 1000), 1, 1),
        "nannyml_w1_c": normal((15_000, 1_000_000), 0, 10),
        "nannyml_js_cat": nannyml_jensen_shannon(*choices, categorical=True),
        "nannyml_hell_cat": nannyml_hellinger(*choices, categorical=True),
        "nannyml_linf_new": nannyml_l_infinity(list(few["ref"]), list(few["cur"])),
    }
    assert set(shown) == {name for name in PUBLISHED if name.startswith("nannyml_")}
    for name, value in shown.items():
        assert value == pytest.approx(PUBLISHED[name]["expected"], abs=PUBLISHED[name]["tolerance"])


def test_an_infinite_current_value_counts_as_outside_and_no_current_value_gives_no_score() -> None:
    reference = np.arange(100.0)
    far = np.concatenate([np.arange(99.0), [np.inf]])
    assert nannyml_hellinger(reference, far) == nannyml_hellinger(reference, np.concatenate([far[:-1], [1e9]])) > 0
    for name, scorer in NANNYML.items():
        for categorical in (False, True):
            assert math.isnan(scorer.score(reference, np.array([None, np.nan]), categorical=categorical)), name
            assert math.isnan(scorer.score([np.inf], [], categorical=categorical)), name


def test_too_short_a_reference_for_ten_chunks_names_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"9 reference rows, .* Pass chunk_rows"):
        nannyml_threshold(nannyml_wasserstein, np.arange(9.0))
