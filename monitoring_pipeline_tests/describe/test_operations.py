import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.operations import HEAVIEST, OperationsProfile
from monitoring_pipeline_tests.traffic import log_rows

COLUMNS = LogColumns(
    status="status", served_by="served_by", batch_rows="batch_rows", latency_ms={"total": "total_ms", "model": "ms"}
)


def profile(rows: int = 6, **columns: Any) -> OperationsProfile:
    usual: dict[str, Any] = {"status": [None] * rows, "served_by": ["champion"] * rows, "batch_rows": [1] * rows}
    return OperationsProfile.of(
        log_rows(rows, seed=1, **(usual | {"total_ms": [5.0] * rows, "ms": [1] * rows} | columns)), COLUMNS
    )


@pytest.mark.parametrize("fine", [None, "", "ok", "OK", "200", "204", "200 OK", "success", 200, 201.0])
def test_nothing_ok_and_what_starts_with_a_two_is_no_error(fine: Any) -> None:
    bad = 503 if isinstance(fine, int | float) else "503"
    found = profile(status=[fine, bad, fine, fine, bad, fine])
    assert (found.errors, found.error_types) == (2, {"503": 2})


def test_the_heaviest_error_types_are_told_apart_and_all_are_counted() -> None:
    names = [f"type {number:02}" for number in range(30)] + ["timeout"] * 5 + ["y" * 400]
    found = profile(36, status=names)
    assert found.errors == 36
    assert len(found.error_types) == HEAVIEST
    assert found.error_types["timeout"] == 5
    assert max(map(len, profile(status=["y" * 400] * 6).error_types)) == 100


def test_latencies_are_seconds_and_what_is_none_is_counted_apart() -> None:
    found = profile(total_ms=pa.array(["250", "-1", "inf", "soon", None, "750"]), ms=[None, 0, 1, 2, np.nan, 4])
    assert found.latency["total"].count == 2
    assert found.latency["total"].total == 1.0
    assert found.unusable == {"total": 3, "model": 0}
    assert found.latency["model"].count == 4


def test_the_mean_batch_counts_every_batch_once_however_many_rows_tell_of_it() -> None:
    found = profile(8, batch_rows=[4, 4, 4, 4, 1, None, 0, -3])
    assert (found.batched, found.batches, found.largest_batch) == (5, 2.0, 4)


def test_requests_are_counted_by_minute() -> None:
    found = profile(120)
    assert set(found.minutes.values()) == {2}
    assert len(found.minutes) == 60
    assert found.served_by == {"champion": 120}


@pytest.mark.parametrize(
    "poison",
    [[None] * 6, [float("nan")] * 6, [1e308] * 6, ["\x00"] * 6, [[1]] * 6, [b"\xff"] * 6, [{"a": 1}] * 6],
    ids=["null", "nan", "huge", "text", "lists", "bytes", "records"],
)
def test_a_poisoned_column_costs_its_own_counters_alone(poison: list[Any]) -> None:
    usual = profile().to_json()
    for column, own in (
        ("status", {"errors", "error_types"}),
        ("served_by", {"answered", "served_by"}),
        ("batch_rows", {"batched", "batches", "largest_batch"}),
        ("total_ms", {"latency", "unusable"}),
    ):
        poisoned: dict[str, Any] = {column: poison}
        found = profile(**poisoned).to_json()
        assert {name: found[name] for name in usual if name not in own} == {
            name: value for name, value in usual.items() if name not in own
        }
        if column == "total_ms":
            assert found["latency"]["model"] == usual["latency"]["model"]
        assert OperationsProfile.from_json(json.loads(json.dumps(found, allow_nan=False))).to_json() == found


def test_an_hour_of_ten_thousand_requests_takes_a_few_kilobytes() -> None:
    slow = np.random.default_rng(1).lognormal(3, 1, 10_000)
    found = profile(10_000, total_ms=slow, ms=slow / 2, batch_rows=np.full(10_000, 32))
    assert len(json.dumps(found.to_json(), separators=(",", ":"))) < 6_000
