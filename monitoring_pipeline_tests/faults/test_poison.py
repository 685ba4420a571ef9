"""Poison: whatever one column of a log holds, every other column is measured as if nothing had happened."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.reference_building import specs_of
from monitoring_pipeline.describe.reference_json import reference_to_json
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.stores.parquet import ParquetPredictionLog
from monitoring_pipeline_tests.traffic import LOG, MODEL, SPECS, START, drift, hour, log_rows, reference

SIZE = 240
KINDS = list(ColumnKind)
GOOD: dict[ColumnKind, list[Any]] = {
    ColumnKind.NUMERIC: np.random.default_rng(1).normal(size=SIZE).tolist(),
    ColumnKind.CATEGORICAL: np.random.default_rng(2).choice(["a", "b", "c"], SIZE).tolist(),
    ColumnKind.BOOLEAN: (np.random.default_rng(3).random(SIZE) < 0.3).tolist(),
    ColumnKind.DATETIME: [START + timedelta(minutes=7 * number) for number in range(SIZE)],
}
POISON: dict[str, Any] = {
    "null": pa.nulls(SIZE),
    "NaN": [float("nan")] * SIZE,
    "infinite": [float("inf"), float("-inf")] * (SIZE // 2),
    "huge and tiny": [1.7e308, -1.7e308, 5e-324, 1e-300] * (SIZE // 4),
    "text": ["?", "", "1_0", "2026-13-45"] * (SIZE // 4),
    "control characters": ["\x00", "\n", "\u2028", "\N{PILE OF POO}"] * (SIZE // 4),
    "long text": ["x" * 10_000] * SIZE,
    "bytes": [b"\xff\xfe"] * SIZE,
    "whole numbers": [2**62, -(2**63), 0, 1] * (SIZE // 4),
    "booleans": [True, False, None, True] * (SIZE // 4),
    "decimals": [Decimal("1e-30"), Decimal("99999999")] * (SIZE // 2),
    "dates": [date(1, 1, 1), date(9999, 12, 31)] * (SIZE // 2),
    "times": [datetime(1900, 1, 1, tzinfo=UTC), None] * (SIZE // 2),
    "durations": [timedelta(1)] * SIZE,
    "lists": [[1], [], None, [2, 3]] * (SIZE // 4),
    "records": [{"a": 1, "b": None}] * SIZE,
    "codes of text": pa.array(["1", "x"] * (SIZE // 2)).dictionary_encode(),
    "a category a row": [f"new {number}" for number in range(SIZE)],
}


def traffic(values: Any) -> pa.Table:
    # Some rows are logged twice, so that telling them apart meets the poison too.
    rows = log_rows(SIZE, seed=4, hours=2, feature=values)
    return pa.concat_tables([rows, rows.slice(10, 30)])


def others(signals: list[Signal]) -> list[tuple[Signal, dict[str, object]]]:
    return [(signal, signal.detail) for signal in signals if not signal.column.startswith("feature")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_value_in_one_column_changes_no_bit_of_another(kind: ColumnKind, tmp_path: Path) -> None:
    specs = (*SPECS, *specs_of("feature", ColumnRole.FEATURE, kind, groups=10, aged=True))
    against = reference(log_rows(SIZE, seed=5, feature=GOOD[kind]), specs, time="predicted_at")
    hours = [hour(0), hour(1)]
    healthy = drift(against, traffic(GOOD[kind]), hours, windows=(1, 2))
    for place, (name, values) in enumerate(POISON.items()):
        log = ParquetPredictionLog(tmp_path / str(place), LOG)
        log.append(MODEL, traffic(values))
        log.append(MODEL, log_rows(6, seed=9, at=1, feature=GOOD[kind][:6]).slice(0, 0))
        rows = log.read(Window(MODEL, START, START + 2 * HOUR))
        poisoned = drift(against, rows, hours, windows=(1, 2))
        assert others(poisoned) == others(healthy), name
        assert len(poisoned) == len(healthy), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["text", "whole numbers", "lists", "codes of text", "booleans"])
def test_a_type_that_changes_from_one_hour_to_the_next_changes_no_bit_of_another_column(
    kind: ColumnKind, name: str, tmp_path: Path
) -> None:
    specs = (*SPECS, *specs_of("feature", ColumnRole.FEATURE, kind, groups=10, aged=True))
    against = reference(log_rows(SIZE, seed=5, feature=GOOD[kind]), specs, time="predicted_at")
    hours = [hour(0), hour(1)]
    found = []
    for folder, second in (("good", GOOD[kind]), ("bad", POISON[name])):
        log = ParquetPredictionLog(tmp_path / folder, LOG)
        log.append(MODEL, log_rows(SIZE, seed=6, at=0, feature=GOOD[kind]))
        log.append(MODEL, log_rows(SIZE, seed=7, at=1, feature=second))
        found.append(drift(against, log.read(Window(MODEL, START, START + 2 * HOUR)), hours))
    assert others(found[0]) == others(found[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", POISON)
def test_a_reference_of_bad_values_is_still_a_reference(kind: ColumnKind, name: str) -> None:
    specs = (*SPECS, *specs_of("feature", ColumnRole.FEATURE, kind, groups=10, aged=True))
    healthy = reference(log_rows(SIZE, seed=5, feature=GOOD[kind]), specs, time="predicted_at")
    poisoned = reference(log_rows(SIZE, seed=5, feature=POISON[name]), specs, time="predicted_at")
    stored, expected = (reference_to_json(each)["columns"] for each in (poisoned, healthy))
    for column in SPECS:
        assert stored[column.name] == expected[column.name]
    assert len(drift(poisoned, traffic(GOOD[kind]), [hour(0)])) > 0
