from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.describe.regression_outcomes import RegressionOutcomes


def outcome(actual: Any, served: Any = None, *, lower: Any = None, upper: Any = None) -> RegressionOutcomes:
    size = len(actual)
    columns = {"actual": actual, "value": [1.0] * size if served is None else served}
    columns |= {"lower": [None] * size if lower is None else lower, "upper": [None] * size if upper is None else upper}
    columns |= {"labelled_at": pa.nulls(size, pa.timestamp("us", tz="UTC"))}
    return RegressionOutcomes.of(pa.table(columns), prediction="value", lower="lower", upper="upper")


@pytest.mark.parametrize("actual", [float("inf"), -float("inf"), 1e308, -1.7e308])
def test_a_label_nobody_can_believe_is_unusable_and_leaves_the_sums_alone(actual: float) -> None:
    found, healthy = outcome([1.0, 3.0, actual]), outcome([1.0, 3.0, None])
    assert (found.rows, found.labelled, found.unusable) == (3, 2, 1)
    assert found.to_json() | {"unusable": 0} == healthy.to_json()


def test_labels_written_as_text_count_and_words_are_unusable() -> None:
    found = outcome(["1", "2.5", "many", None])
    assert (found.labelled, found.unusable, found.actual.mean) == (2, 1, 1.75)


@pytest.mark.parametrize("served", [None, float("nan"), float("inf"), 1e308])
def test_a_prediction_that_is_no_number_has_no_residual(served: float | None) -> None:
    found = outcome([1.0, 3.0], [2.0, served])
    assert (found.labelled, found.unusable, found.residual.rows, found.residual.mean) == (2, 0, 1, -1.0)


def test_the_order_of_the_rows_changes_no_bit() -> None:
    actual, served = np.random.default_rng(1).lognormal(size=(2, 500))
    turned = np.random.default_rng(2).permutation(500)
    assert outcome(actual, served).to_json() == outcome(actual[turned], served[turned]).to_json()


def test_an_interval_counts_where_both_its_bounds_are_given_and_may_be_open() -> None:
    bounds = {"lower": [0.0, 2.0, None, -np.inf, 5.0], "upper": [2.0, 3.0, 9.0, 1.0, 0.0]}
    found = outcome([1.0] * 5, **bounds)
    assert (found.bounded, found.covered) == (4, 2)


def test_a_model_without_predictions_or_intervals_still_has_labels() -> None:
    table = pa.table({"actual": [1, 0], "labelled_at": pa.nulls(2, pa.timestamp("us", tz="UTC"))})
    found = RegressionOutcomes.of(table, prediction=None, lower=None, upper=None)
    assert (found.labelled, found.residual.rows, found.bounded) == (2, 0, 0)
