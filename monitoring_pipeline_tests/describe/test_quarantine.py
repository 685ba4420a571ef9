from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.predictions import TIME_TYPE
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.kernel import numeric_values
from monitoring_pipeline.describe.quarantine import SCHEMA, SHOWN, IntakePlan, problems_of, quarantined
from monitoring_pipeline_tests.traffic import LOG, START, log_rows

PLAN = IntakePlan(
    LOG,
    {
        "tenure": ColumnKind.NUMERIC,
        "plan": ColumnKind.CATEGORICAL,
        "paid": ColumnKind.BOOLEAN,
        "since": ColumnKind.DATETIME,
        "score": ColumnKind.NUMERIC,
    },
    ("tenure", "plan"),
    ("score",),
    longest=20,
)
SIZE = 8


def found(**columns: Any) -> list[tuple[str, str, list[int]]]:
    rows = log_rows(SIZE, seed=1, **columns)
    return [(each.column, each.reason.value, each.rows.tolist()) for each in problems_of(rows, PLAN)]


def test_a_good_hour_has_no_problem_and_missing_features_are_none() -> None:
    gaps = [None, float("nan"), *range(SIZE - 2)]
    assert found(tenure=gaps, plan=[None] * SIZE, paid=[True, None] * 4, since=[START, None] * 4) == []
    assert quarantined(log_rows(SIZE, seed=1), [], PLAN).schema == SCHEMA


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"prediction_id": [None, *"bcdefgh"]}, ("prediction_id", "missing_id", [0])),
        ({"predicted_at": pa.array([START, None] * 4, TIME_TYPE)}, ("predicted_at", "missing_time", [1, 3, 5, 7])),
        ({"predicted_at": ["2026-11-20", "soon"] * 4}, ("predicted_at", "unreadable_time", [1, 3, 5, 7])),
        ({"predicted_at": ["soon"] * SIZE}, ("predicted_at", "unreadable_time", list(range(SIZE)))),
        ({"predicted_at": list(range(SIZE))}, ("predicted_at", "unreadable_time", list(range(SIZE)))),
        ({"tenure": ["1", "x", None, " 2 "] * 2}, ("tenure", "bad_type", [1, 5])),
        ({"tenure": [[1.0]] * 2 + [None] * 6}, ("tenure", "bad_type", [0, 1])),
        ({"tenure": [1.0, float("-inf"), None, 1e200] * 2}, ("tenure", "infinite", [1, 3, 5, 7])),
        ({"paid": ["true", "maybe", None, "0"] * 2}, ("paid", "bad_type", [1, 5])),
        ({"since": ["2026-11-20", "soon", None, ""] * 2}, ("since", "bad_type", [1, 3, 5, 7])),
        ({"plan": ["basic", "x" * 21] * 4}, ("plan", "oversized", [1, 3, 5, 7])),
        ({"plan": pa.array(["basic", "x" * 21] * 4).dictionary_encode()}, ("plan", "oversized", [1, 3, 5, 7])),
        ({"score": [0.0, 1.0, -0.1, 1.1, None, 0.5, 0.5, 0.5]}, ("score", "out_of_bounds", [2, 3])),
    ],
)
def test_a_bad_value_is_named_with_its_column_its_reason_and_its_rows(
    columns: Any, expected: tuple[str, str, list[int]]
) -> None:
    assert found(**columns) == [expected]


def test_what_is_quarantined_of_a_number_is_what_its_profile_counts_as_invalid() -> None:
    values = ["1", "1_0", "x", "", "inf", "nan", " 2", "-1e300", None, "1e400"]
    column = pa.chunked_array([values])
    bad = problems_of(pa.table({"tenure": column}), PLAN)
    assert sum(len(each.rows) for each in bad) == numeric_values(column, ColumnKind.NUMERIC).invalid == 6


def test_every_bad_value_of_a_row_has_a_line_that_shows_it() -> None:
    ids = ["b", "a", None]
    moments = [START + timedelta(minutes=place) for place in range(3)]
    rows = log_rows(3, seed=1, prediction_id=ids, predicted_at=moments, tenure=["x\n\x00", "?", "1"], score=[2.0, 0, 0])
    lines = quarantined(rows, problems_of(rows, PLAN), PLAN).to_pylist()
    assert [tuple(line.values()) for line in lines] == [
        (None, moments[2], "prediction_id", "missing_id", None),
        ("a", moments[1], "tenure", "bad_type", "?"),
        ("b", moments[0], "tenure", "bad_type", "x\\n\\x00"),
        ("b", moments[0], "score", "out_of_bounds", "2"),
    ]


def test_long_values_are_cut_and_one_column_of_rubbish_hides_no_other() -> None:
    rows = log_rows(500, seed=1, tenure=["x" * 90_000] * 500, score=np.append(np.zeros(499), 7.0))
    plan = IntakePlan(LOG, PLAN.kinds, probabilities=("score",), kept=10)
    lines = quarantined(rows, problems_of(rows, plan), plan)
    assert lines["column"].to_pylist() == ["tenure"] * 5 + ["score"]
    assert max(map(len, lines["value"].to_pylist())) == SHOWN
    order = np.random.default_rng(1).permutation(500)
    shuffled = rows.take(pa.array(order))
    assert quarantined(shuffled, problems_of(shuffled, plan), plan).equals(lines)
