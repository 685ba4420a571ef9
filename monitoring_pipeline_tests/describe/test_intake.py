from datetime import timedelta
from typing import Any

import pyarrow as pa

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.intake import IntakeProfile, intake_of_hour
from monitoring_pipeline.describe.quarantine import IntakePlan
from monitoring_pipeline_tests.traffic import LOG, START, log_rows

PLAN = IntakePlan(LOG, {"tenure": ColumnKind.NUMERIC, "plan": ColumnKind.CATEGORICAL}, ("tenure", "plan"))


def intake(rows: pa.Table, plan: IntakePlan = PLAN) -> IntakeProfile:
    return IntakeProfile.of(rows, plan)


def test_a_row_logged_again_repeats_its_id_and_a_retry_under_a_new_id_repeats_the_features() -> None:
    rows = log_rows(10, seed=1)
    found = intake(pa.concat_tables([rows, rows.slice(0, 3)]))
    assert (found.rows, found.placed, found.duplicate_ids, found.duplicate_rows) == (13, 13, 3, 0)
    retried = rows.slice(0, 3).set_column(0, "prediction_id", pa.array(["x", "y", "z"]))
    found = intake(pa.concat_tables([rows, retried]))
    assert (found.duplicate_ids, found.duplicate_rows) == (0, 3)


def test_repetition_counts_within_an_hour_and_among_rows_that_have_a_place() -> None:
    moments = [START, START + timedelta(hours=1), None, START]
    columns: dict[str, Any] = {"tenure": [1.0] * 4, "plan": ["basic"] * 4, "predicted_at": moments}
    found = intake(log_rows(4, seed=1, prediction_id=["a", "a", "a", None], **columns))
    assert (found.placed, found.duplicate_ids, found.duplicate_rows) == (2, 0, 0)


def test_equal_values_are_equal_in_any_encoding_and_missing_ones_are_equal_too() -> None:
    values = pa.array(["basic", None, None, "basic"])
    rows = log_rows(4, seed=1, tenure=[0.0, float("nan"), None, -0.0], plan=values)
    assert intake(rows).duplicate_rows == 2
    encoded = rows.set_column(rows.column_names.index("plan"), "plan", values.dictionary_encode())
    assert intake(encoded).duplicate_rows == 2


def test_rows_are_counted_once_by_reason_however_many_of_their_values_are_bad() -> None:
    plan = IntakePlan(LOG, {"tenure": ColumnKind.NUMERIC, "score": ColumnKind.NUMERIC})
    inf = float("inf")
    found = intake(log_rows(3, seed=1, tenure=[inf, inf, 1.0], score=[inf, 0.5, 0.5]), plan)
    assert found.rows_by_reason == {"infinite": 2}
    assert found.values == {"infinite": {"tenure": 2, "score": 1}}
    assert found.bad_rows == 2


def test_an_hour_is_split_by_version_and_its_types_are_those_of_the_values() -> None:
    versions = ["1", "2", None, "2"]
    plans = pa.array(["a", "b", "c", "d"]).dictionary_encode()
    profiles, lines = intake_of_hour(log_rows(4, seed=1, model_version=versions, plan=plans), PLAN)
    assert {version: each.rows for version, each in profiles.items()} == {"1": 1, "2": 2, "unversioned": 1}
    assert profiles["2"].types["plan"] == {"string": 2}
    assert profiles["2"].types["predicted_at"] == {"timestamp[us, tz=UTC]": 2}
    assert lines.num_rows == 0
    assert intake_of_hour(pa.table({}), PLAN)[0] == {}


def test_reference_rows_have_no_ids_and_miss_none() -> None:
    rows = log_rows(6, seed=1, tenure=[1.0] * 6, plan=["basic"] * 6).select(["predicted_at", "tenure", "plan"])
    found = intake(rows)
    assert (found.placed, found.duplicate_ids, found.duplicate_rows, found.bad_rows) == (6, 0, 5, 0)
