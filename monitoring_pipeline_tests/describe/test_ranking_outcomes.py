from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.describe.ranking_outcomes import RankingOutcomes


def outcome(rows: list[tuple[Any, Any, Any, Any]], *, top: int = 2) -> RankingOutcomes:
    """Return the profile of rows of request, item, score and relevance."""
    types = (pa.string(), pa.string(), pa.float64(), pa.float64())
    request, item, score, actual = (pa.array([row[at] for row in rows], type_) for at, type_ in enumerate(types))
    table = pa.table({"request": request, "item": item, "score": score, "actual": actual})
    table = table.append_column("labelled_at", pa.nulls(len(rows), pa.timestamp("us", tz="UTC")))
    return RankingOutcomes.of(table, request="request", item="item", score="score", top=top)


BY_HAND = [
    # Relevance by rank 0, 3, 2 of which the first two are the top.
    ("a", "x", 0.9, 0.0),
    ("a", "y", 0.8, 3.0),
    ("a", "z", 0.1, 2.0),
    # Known, but nothing relevant.
    ("b", "x", 0.5, 0.0),
    ("b", "w", 0.4, 0.0),
    # Not known.
    ("c", "v", 0.5, None),
]


def test_two_lists_come_out_as_by_hand() -> None:
    found = outcome(BY_HAND)
    assert (found.requests, found.known, found.answered, found.labelled) == (3, 2, 1, 5)
    assert (found.clicked, found.hits, found.items.estimate) == (2, 1, 4.0)  # z is never at the top
    ndcg = (3 / np.log2(3)) / (3 + 2 / np.log2(3))
    assert found.gains[:, 0] == pytest.approx([1 / 2, ndcg, 1 / 2 + 0])


def test_the_order_of_the_rows_changes_no_bit() -> None:
    generator = np.random.default_rng(1)
    rows = [
        (f"r{number // 7}", f"i{generator.integers(40)}", round(generator.random(), 1), generator.integers(0, 3))
        for number in range(400)
    ]
    turned = [rows[at] for at in generator.permutation(len(rows))]
    assert outcome(rows).to_json() == outcome(turned).to_json()


def test_ties_of_the_score_are_broken_by_the_item() -> None:
    assert outcome([("a", "y", 0.5, 1.0), ("a", "x", 0.5, 0.0)], top=1).hits == 0
    assert outcome([("a", "y", 0.5, 0.0), ("a", "x", 0.5, 1.0)], top=1).hits == 1


def test_an_item_without_a_label_is_not_relevant_where_another_of_its_list_has_one() -> None:
    found = outcome([("a", "x", 0.9, None), ("a", "y", 0.8, 1.0), ("b", "x", 0.9, None)])
    assert (found.known, found.labelled, found.clicked) == (1, 2, 1)


@pytest.mark.parametrize("relevance", [-1.0, float("inf"), 1e300])
def test_a_relevance_that_means_nothing_is_unusable(relevance: float) -> None:
    found = outcome([("a", "x", 0.9, relevance), ("a", "y", 0.8, 1.0), ("b", "y", 0.8, relevance)])
    assert (found.unusable, found.known, found.clicked) == (2, 1, 1)


@pytest.mark.parametrize(
    "row", [(None, "x", 0.9, 1.0), ("a", None, 0.9, 1.0), ("a", "x", None, 1.0), ("a", "x", float("nan"), 1.0)]
)
def test_a_row_without_request_item_or_score_is_in_no_list(row: tuple[Any, Any, Any, Any]) -> None:
    found = outcome([row, ("a", "y", 0.8, 0.0)])
    assert (found.rows, found.labelled, found.clicked, found.hits) == (2, 1, 0, 0)


def test_a_log_without_the_columns_of_a_list_has_none() -> None:
    table = pa.table({"actual": [1.0], "labelled_at": pa.nulls(1, pa.timestamp("us", tz="UTC"))})
    assert RankingOutcomes.of(table, request="r", item=None, score=None).requests == 0
    assert outcome([]).requests == 0
