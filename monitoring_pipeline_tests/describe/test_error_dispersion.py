import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring_pipeline.describe.binary_outcomes import SCORE_BINS, BinaryOutcomes
from monitoring_pipeline.describe.error_dispersion import (
    FEWEST_HOURS,
    LARGEST_FACTOR,
    ErrorDispersion,
    errors_by_hour,
    errors_of,
)
from monitoring_pipeline.describe.moments import Moments
from monitoring_pipeline.describe.multiclass_outcomes import MulticlassOutcomes
from monitoring_pipeline.describe.ranking_outcomes import RankingOutcomes
from monitoring_pipeline.describe.regression_outcomes import RegressionOutcomes
from monitoring_pipeline_tests.traffic import hour


def outcome(errors: int, rows: int) -> BinaryOutcomes:
    """Return an hour of served classes, `errors` of them wrong."""
    confusion = np.array([[rows - errors, errors], [0, 0]])
    return replace(BinaryOutcomes(), rows=rows, labelled=rows, confusion=confusion)


def restless(hours: int, *, seed: int, rows: int = 50, spread: float = 0.08) -> dict[int, BinaryOutcomes]:
    """Return hours whose error rate wanders about 0.2 with a persistence of 0.9."""
    generator, level, found = np.random.default_rng(seed), 0.0, {}
    for number in range(hours):
        level = 0.9 * level + np.sqrt(1 - 0.81) * generator.normal()
        found[number] = outcome(int(generator.binomial(rows, np.clip(0.2 + spread * level, 0, 1))), rows)
    return found


def dispersion_of(hours: dict[int, BinaryOutcomes]) -> ErrorDispersion:
    found = ErrorDispersion.of({hour(number): part for number, part in hours.items()})
    assert found is not None
    return found


def test_independent_hours_have_a_dispersion_of_one_and_no_memory() -> None:
    generator = np.random.default_rng(1)
    found = dispersion_of({number: outcome(int(generator.binomial(50, 0.2)), 50) for number in range(2000)})
    assert found.rate == pytest.approx(0.2, abs=0.01)
    assert found.dispersion == pytest.approx(1, abs=0.1)
    assert found.autocorrelation == pytest.approx(0, abs=0.05)
    assert found.hours == 2000
    assert found.inflation() < 1.5


def test_a_wandering_error_rate_shows_in_dispersion_autocorrelation_and_persistence() -> None:
    found = dispersion_of(restless(4000, seed=2))
    expected = 1 + 49 * 0.08**2 / 0.16
    assert found.dispersion == pytest.approx(expected, rel=0.15)
    assert found.persistence == pytest.approx(0.9, abs=0.03)
    assert found.share == pytest.approx(1 - 1 / expected, abs=0.08)
    assert found.autocorrelation == pytest.approx(found.share * found.persistence)
    assert found.inflation() == pytest.approx(found.dispersion * (1 + 2 * found.share * 9), rel=0.5)
    assert found.inflation(1) == pytest.approx(found.dispersion)


def test_nights_and_hours_of_few_rows_are_missing_hours_not_hours_without_errors() -> None:
    whole = restless(3000, seed=3)
    thin = {number: outcome(0, 5) if number % 24 < 6 else part for number, part in whole.items()}
    absent = {number: part for number, part in whole.items() if number % 24 >= 6}
    assert dispersion_of(thin) == dispersion_of(absent)
    assert dispersion_of(absent).hours == 2250
    assert dispersion_of(absent).persistence == pytest.approx(0.9, abs=0.04)


def test_too_few_hours_or_no_error_at_all_say_nothing_of_dispersion() -> None:
    hours = {hour(number): part for number, part in restless(FEWEST_HOURS, seed=4).items()}
    assert ErrorDispersion.of(hours) is not None
    hours.pop(hour(7))
    assert ErrorDispersion.of(hours) is None
    assert ErrorDispersion.of({}) is None
    assert ErrorDispersion.of({hour(number): outcome(0, 50) for number in range(100)}) is None


def test_it_survives_the_way_through_json() -> None:
    found = dispersion_of(restless(100, seed=5))
    assert ErrorDispersion.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_errors_are_those_of_the_served_class_and_without_one_of_the_score_cut_at_one_half() -> None:
    assert errors_of(outcome(3, 10)) == (3, 3, 10)
    bins = np.zeros(SCORE_BINS, np.int64)
    low, high = bins.copy(), bins.copy()
    low[[0, SCORE_BINS // 2 - 1]], high[SCORE_BINS // 2] = 1, 1
    scored = replace(BinaryOutcomes(), rows=6, labelled=6, scored=6, positives=low + high, negatives=low + high)
    assert errors_of(scored) == (3, 3, 6)
    assert errors_of(BinaryOutcomes()) == (0, 0, 0)


def test_the_error_of_a_row_is_a_wrong_class_a_residual_or_what_a_list_lacks_of_its_gain() -> None:
    confusion = {"a": {"a": 5, "b": 2}, "b": {"c": 1}}
    assert errors_of(replace(MulticlassOutcomes(), confusion=confusion)) == (3, 3, 8)
    assert errors_of(residuals(np.array([1.0, 2.0, 0.0]))) == (3.0, 5.0, 3)
    gains = np.array([[0.0, 0.0], [3.5, 3.25], [0.0, 0.0]])  # 1, 1, 1 and a half
    assert errors_of(replace(RankingOutcomes(), answered=4, gains=gains)) == (0.5, 0.25, 4)


def test_scores_count_standard_deviations_from_the_expected_errors() -> None:
    hours = {hour(0): outcome(20, 100), hour(2): outcome(40, 100)}
    errors, squares, rows = errors_by_hour(hours, [hour(n) for n in range(3)])
    assert (errors.tolist(), squares.tolist(), rows.tolist()) == ([20, 0, 40], [20, 0, 40], [100, 0, 100])
    calm = ErrorDispersion(0.2, 0.16, False, 1.0, 0.0, 0.0, 48)
    assert calm.scores(errors, rows) == pytest.approx([0.0, np.nan, 5.0], nan_ok=True)


def residuals(sizes: NDArray[np.float64]) -> RegressionOutcomes:
    """Return an hour of predicted numbers that were off by `sizes`."""
    losses = np.zeros((4, 2))
    losses[:2, 0] = sizes.sum(), np.square(sizes).sum()
    return RegressionOutcomes(rows=len(sizes), labelled=len(sizes), residual=Moments.of(sizes), losses=losses)


def test_residuals_are_compared_by_the_logarithm_of_their_mean() -> None:
    generator, found = np.random.default_rng(6), {}
    for number in range(2000):
        level = np.exp(0.2 * generator.normal())  # hours that are all worse or better than usual
        found[hour(number)] = residuals(level * np.abs(generator.normal(size=50)))
    calm = ErrorDispersion.of(found)
    assert calm is not None
    relative = np.pi / 2 - 1  # variance of a row over its squared mean
    assert calm.relative
    assert calm.rate == pytest.approx(np.sqrt(2 / np.pi), rel=0.02)
    assert calm.dispersion == pytest.approx((50 * 0.2**2 + relative) * calm.rate**2 / calm.variance, rel=0.1)
    rows, expected = np.full(3, 50.0), 50 * calm.rate
    scores = calm.scores(expected * np.array([0.5, 1.0, 2.0]), rows)
    assert scores == pytest.approx(np.log(2) * np.sqrt(50 * calm.rate**2 / calm.variance) * np.array([-1, 0, 1]))
    assert ErrorDispersion.from_json(json.loads(json.dumps(calm.to_json()))) == calm


def test_an_absurd_hour_and_one_without_any_error_have_scores_with_a_bound() -> None:
    calm = ErrorDispersion(1.0, 1.0, True, 1.0, 0.0, 0.0, 48)
    scores = calm.scores(np.array([0.0, 1e30]), np.full(2, 25.0))
    assert scores == pytest.approx(5 * np.log(LARGEST_FACTOR) * np.array([-1, 1]))
