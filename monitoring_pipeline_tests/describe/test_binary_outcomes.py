from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.describe.binary_outcomes import SCORE_BINS, BinaryOutcomes

KNOWN = datetime(2026, 11, 20, 13, tzinfo=UTC)


def outcome(actual: Any, score: Any = None, served: Any = None, *, known: Any = None) -> BinaryOutcomes:
    size = len(actual)
    columns = {"actual": actual, "score": [0.5] * size if score is None else score}
    columns |= {"prediction": [1] * size if served is None else served}
    columns |= {"labelled_at": pa.array([KNOWN] * size if known is None else known, pa.timestamp("us", tz="UTC"))}
    return BinaryOutcomes.of(pa.table(columns), score="score", prediction="prediction")


def test_every_row_is_labelled_unusable_or_neither() -> None:
    found = outcome([1.0, 0.0, None, float("nan"), 2.0, 0.5], known=[KNOWN, KNOWN, None, None, KNOWN, KNOWN])
    assert (found.rows, found.labelled, found.unusable) == (6, 2, 2)


@pytest.mark.parametrize("actual", [["1", "0", "yes"], ["1", "0", ""]])
def test_labels_written_as_text_count_and_those_that_are_no_number_are_unusable(actual: list[str]) -> None:
    found = outcome(actual)
    assert (found.labelled, found.unusable, found.positives.sum()) == (2, 1, 1)


def test_booleans_are_labels_and_predictions() -> None:
    found = outcome([True, False, True], served=[True, True, False])
    assert found.confusion.tolist() == [[0, 1], [1, 1]]


def test_a_served_class_that_is_neither_0_nor_1_is_in_no_cell() -> None:
    found = outcome([1, 1, 0], served=[None, 3, 0])
    assert found.confusion.tolist() == [[1, 0], [0, 0]]
    assert found.labelled == 3


@pytest.mark.parametrize("score", [None, float("nan"), -0.01, 1.01, float("inf")])
def test_a_score_outside_0_to_1_is_not_scored(score: float | None) -> None:
    found = outcome([1, 0], score=[0.5, score])
    assert (found.labelled, found.scored) == (2, 1)
    assert np.isfinite(found.losses).all()


def test_scores_fall_into_equal_bins_with_both_ends_inside() -> None:
    found = outcome([1, 0, 1], score=[0.0, 0.5, 1.0])
    assert found.positives[[0, SCORE_BINS - 1]].tolist() == [1, 1]
    assert found.negatives[SCORE_BINS // 2] == 1
    assert found.score_sums.sum() == 1.5


def test_a_certain_score_that_was_wrong_costs_much_but_not_everything() -> None:
    assert outcome([1], score=[0.0]).losses.tolist() == pytest.approx([34.54, 34.54**2, 1, 1], rel=1e-3)


def test_the_newest_label_says_as_of_when_it_is() -> None:
    found = outcome([1, 0, None], known=[KNOWN, KNOWN.replace(hour=15), None])
    assert found.known_at == KNOWN.replace(hour=15).timestamp() * 1e6
    assert outcome([None], known=[None]).known_at == 0


def test_a_model_without_scores_or_without_classes_still_has_labels() -> None:
    table = pa.table({"actual": [1, 0], "labelled_at": pa.array([KNOWN] * 2, pa.timestamp("us", tz="UTC"))})
    found = BinaryOutcomes.of(table, score=None, prediction=None)
    assert (found.labelled, found.scored, found.confusion.sum()) == (2, 0, 0)
