"""Numbers that other projects publish in their own tests, reproduced from `vectors.json`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from monitoring_pipeline.stats.distances import (
    hellinger_distance,
    jensen_shannon_distance,
    kullback_leibler_divergence,
    l_infinity_distance,
    wasserstein_distance_from_bins,
)
from monitoring_pipeline.stats.histograms import proportions, quantile_edges
from monitoring_pipeline.stats.hypothesis_tests import anderson_darling, cramer_von_mises
from monitoring_pipeline.stats.null_distributions import ks_p_value

VECTORS: dict[str, dict[str, Any]] = {
    each["id"]: each for each in json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))
}
NOT_OURS = {
    "evidently_gtest",  # a one-sample G-test, reproduced with Evidently's other scores; here stand two-sample tests
}
CLOSED_FORMS = {"closed_forms"}  # in test_closed_forms.py


def profile(values: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[ArrayLike, ArrayLike]:
    """Counts and means per bin, with a bin below the first edge and one above the last."""
    bin_of = np.searchsorted(edges, values, side="right")
    counts = np.bincount(bin_of, minlength=edges.size + 1)
    sums = np.bincount(bin_of, values, minlength=edges.size + 1)
    return counts, np.divide(sums, counts, out=np.full(counts.size, np.nan), where=counts > 0)


def binned_wasserstein(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    edges = quantile_edges(reference, 100)
    return float(wasserstein_distance_from_bins(*profile(reference, edges), *profile(current, edges)))


def letters(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    generator = np.random.RandomState(seed)  # the published numbers were drawn with it
    reference, current = generator.choice(list("abcd"), 10_000), generator.choice(list("abce"), 1_000)
    first, second = ([int((side == letter).sum()) for letter in "abcde"] for side in (reference, current))
    return proportions(first), proportions(second)


def divergence_of(inputs: dict[str, list[float]]) -> float:
    return float(kullback_leibler_divergence(reference=inputs["q"], current=inputs["p"]))


def categories(inputs: dict[str, list[float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return proportions(inputs["ref"]), proportions(inputs["cur"])


def share_of_letters(inputs: dict[str, str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = ([inputs[side].count(letter) for letter in "abcd"] for side in ("ref", "cur"))
    return proportions(first), proportions(second)


def normal_pair(sizes: tuple[int, int], mean: float, deviation: float) -> float:
    generator = np.random.RandomState(1)  # the published numbers were drawn with it
    return binned_wasserstein(generator.normal(0, 1, sizes[0]), generator.normal(mean, deviation, sizes[1]))


OURS: dict[str, Callable[[Any], SupportsFloat]] = {
    "popmon_kl_qp": divergence_of,
    "popmon_kl_pq": divergence_of,
    # At 2e12 rows a side the small-sample correction vanishes and the argument of the limit is distance * 1e6.
    "popmon_ks_prob": lambda inputs: ks_p_value(inputs / 1e6, reference_rows=2e12, current_rows=2e12),
    "evidently_hellinger": lambda inputs: hellinger_distance(*categories(inputs)),
    "evidently_anderson": lambda inputs: anderson_darling(inputs["ref"], inputs["cur"])[1],
    "evidently_cvm": lambda _: cramer_von_mises(*(norm.rvs(size=100, random_state=seed) for seed in (0, 1)))[1],
    "nannyml_w1_a": lambda _: normal_pair((10_000, 1_000), 1, 1),
    "nannyml_w1_c": lambda _: normal_pair((15_000, 1_000_000), 0, 10),
    "nannyml_js_cat": lambda _: jensen_shannon_distance(*letters(1)),
    "nannyml_hell_cat": lambda _: hellinger_distance(*letters(1)),
    "nannyml_linf_new": lambda inputs: l_infinity_distance(*share_of_letters(inputs)),
}


@pytest.mark.parametrize("name", OURS)
def test_the_published_number_comes_out(name: str) -> None:
    vector = VECTORS[name]
    assert float(OURS[name](vector["inputs"])) == pytest.approx(vector["expected"], abs=vector["tolerance"])


@pytest.mark.parametrize("name", sorted(set(OURS) - {"nannyml_w1_a", "nannyml_w1_c"}))
def test_the_number_also_agrees_to_six_digits_with_an_independent_recomputation(name: str) -> None:
    assert float(OURS[name](VECTORS[name]["inputs"])) == pytest.approx(VECTORS[name]["recomputed"], abs=1e-6)


def test_every_vector_is_reproduced_or_named_as_another_librarys() -> None:
    assert set(VECTORS) == set(OURS) | NOT_OURS | CLOSED_FORMS
