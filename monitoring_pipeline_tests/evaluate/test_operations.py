from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.evaluate.operations import OperationsPolicy, operations_by_version
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.traffic import hour, log_rows

COLUMNS = LogColumns(
    status="status", served_by="by", batch_rows="batch", latency_ms={"total": "ms", "model": "model_ms"}
)
Hourly = Mapping[datetime, Mapping[str, OperationsProfile]]


def served(rows: int = 600, *, at: int = 0, **columns: Any) -> OperationsProfile:
    usual: dict[str, Any] = {
        "status": ["ok"] * rows,
        "by": ["champion"] * rows,
        "batch": [8] * rows,
        "ms": [20.0] * rows,
    }
    table = log_rows(rows, seed=1, at=at, **(usual | {"model_ms": [5.0] * rows} | columns))
    return OperationsProfile.of(table, COLUMNS)


def measured(hourly: Hourly, *, length: int = 1, at: int = 0, **asked: Any) -> dict[tuple[str, str, str, str], Signal]:
    policy = OperationsPolicy((length * HOUR,), COLUMNS, **{"max_batch_rows": 32, **asked})
    signals = operations_by_version("m", hourly, [hour(at)], policy)
    found = {
        (signal.metric.removeprefix("operations."), signal.version, signal.column, signal.segment): signal
        for signal in signals
    }
    assert len(found) == len(signals)
    return found


def one(hourly: Hourly, metric: str, column: str = "", segment: str = "", **asked: Any) -> Signal:
    return measured(hourly, **asked)[metric, "1", column, segment]


def level(signal: Signal) -> Level:
    return judge_by_limits(signal, LIMITS[signal.metric]).level


def test_latency_quantiles_are_those_of_all_requests_within_one_per_cent() -> None:
    generator = np.random.default_rng(4)
    parts = [generator.lognormal(3, 1, size) for size in (700, 900, 400)]
    hourly = {hour(at): {"1": served(len(part), at=at, ms=part)} for at, part in enumerate(parts)}
    whole = np.concatenate(parts) / 1000
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        signal = one(hourly, f"latency_{name}", "total", length=3, at=2)
        assert signal.value == pytest.approx(np.quantile(whole, share), rel=0.01)
        assert (signal.unit, signal.rows) == ("s", 2000)
        assert signal.low is not None
        assert signal.high is not None
        assert signal.low < np.quantile(whole, share) < signal.high


def test_slow_requests_warn_and_very_slow_ones_are_critical_when_it_is_certain() -> None:
    usual, slow = [20.0] * 950, 700.0
    hourly = {hour(0): {"1": served(1000, ms=[*usual, *[slow] * 50])}}
    assert level(one(hourly, "latency_p95", "total")) is Level.OK  # it may be one in twenty by chance
    hourly = {hour(0): {"1": served(1000, ms=[*usual[100:], *[slow] * 150])}}
    assert level(one(hourly, "latency_p95", "total")) is Level.WARNING
    assert level(one(hourly, "latency_p95", "model")) is Level.OK
    hourly = {hour(0): {"1": served(1000, ms=[*usual[100:], *[2500.0] * 150])}}
    assert level(one(hourly, "latency_p99", "total")) is Level.CRITICAL


def test_latencies_too_few_for_a_quantile_say_how_many_there_are() -> None:
    signal = one({hour(0): {"1": served(40, ms=[None] * 25 + [-1.0] * 5 + [9.0] * 10)}}, "latency_p99", "total")
    assert signal.absence is Absence.TOO_FEW_ROWS
    assert signal.reason.startswith("10 of 40 requests have a usable latency, 20 are needed")
    assert signal.detail == {"unusable": 5, "missing": 25}


def test_errors_are_counted_together_and_by_type() -> None:
    hourly = {hour(0): {"1": served(100, status=["ok"] * 88 + ["timeout"] * 9 + ["503"] * 3)}}
    total, timeout = one(hourly, "error_rate"), one(hourly, "error_rate", segment="error=timeout")
    assert (total.value, timeout.value) == (0.12, 0.09)
    assert total.low is not None
    assert total.low > 0.05
    verdict = judge_by_limits(total, LIMITS[total.metric])
    assert verdict.level is Level.CRITICAL
    assert verdict.reason == "12 of 100 requests failed, 9 of them with 'timeout'"
    assert level(one({hour(0): {"1": served(100, status=["ok"] * 99 + ["503"])}}, "error_rate")) is Level.OK


def test_error_types_too_rare_to_be_told_apart_are_one_segment() -> None:
    names = [f"type {number}" for number in range(30)]
    hourly = {hour(0): {"1": served(100, status=names + ["ok"] * 70)}}
    assert one(hourly, "error_rate", segment="error=(other)").value == 0.1
    assert one(hourly, "error_rate").value == 0.3


def test_throughput_is_that_of_the_service_and_requests_are_those_of_the_version() -> None:
    hourly = {hour(0): {"1": served(3600), "2": served(1800)}}
    found = measured(hourly)
    for version, requests in (("1", 3600), ("2", 1800)):
        assert found["throughput", version, "", ""].value == 1.5
        assert found["peak_throughput", version, "", ""].value == 1.5
        assert found["requests", version, "", ""].value == requests
    assert found["throughput", "1", "", ""].unit == "1/s"


def test_an_hour_without_requests_has_no_throughput_and_nothing_else_to_say() -> None:
    found = measured({hour(0): {"1": served()}, hour(1): {}}, length=1, at=1)
    assert found == {}  # nobody served within the hour: a longer window says so
    both = {hour(0): {"1": OperationsProfile.empty()}}
    found = measured(both)
    assert found["throughput", "1", "", ""].value == 0.0
    assert found["requests", "1", "", ""].value == 0.0
    others = [signal for (name, *_), signal in found.items() if name in ("error_rate", "fallback_share", "latency_p95")]
    assert {signal.absence for signal in others} == {Absence.EMPTY_HOUR}


def test_what_neither_champion_nor_challenger_answered_is_fallback() -> None:
    by = ["champion"] * 60 + ["challenger"] * 20 + ["rule"] * 15 + ["fallback"] * 5
    signal = one({hour(0): {"1": served(100, by=by)}}, "fallback_share")
    assert signal.value == 0.2
    assert signal.detail["served_by"] == {"champion": 60, "challenger": 20, "rule": 15, "fallback": 5}
    assert one({hour(0): {"1": served(100, by=by)}}, "fallback_share", primary=("rule",)).value == 0.85
    nobody = one({hour(0): {"1": served(3, by=[None] * 3)}}, "fallback_share")
    assert nobody.absence is Absence.MISSING_COLUMN
    assert nobody.reason == "none of 3 requests has a usable 'by'"


def test_batches_are_as_full_as_their_mean_is_of_the_largest_allowed() -> None:
    signal = one({hour(0): {"1": served(40, batch=[32] * 32 + [8] * 8)}}, "batch_utilisation")
    assert signal.value == 20 / 32
    assert ("batch_utilisation", "1", "", "") not in measured({hour(0): {"1": served()}}, max_batch_rows=None)


def test_a_window_with_missing_hours_is_warming_up_in_every_metric() -> None:
    found = measured({hour(2): {"1": served(status=["503"] * 600)}}, length=3, at=2)
    assert {signal.absence for signal in found.values()} == {Absence.WARMING_UP}
    assert ("error_rate", "1", "", "error=503") in found


def test_columns_that_are_not_logged_have_no_signals() -> None:
    policy = OperationsPolicy((HOUR,), LogColumns())
    bare = {hour(0): {"1": OperationsProfile.of(log_rows(30, seed=1), LogColumns())}}
    names = {signal.metric for signal in operations_by_version("m", bare, [hour(0)], policy)}
    assert names == {"operations.requests", "operations.throughput", "operations.peak_throughput"}


def test_an_hour_gives_the_same_alone_and_in_a_range() -> None:
    hourly = {hour(at): {"1": served(30 + at, at=at)} for at in range(40)}
    policy = OperationsPolicy((HOUR, 24 * HOUR), COLUMNS)
    together = operations_by_version("m", hourly, [hour(at) for at in range(40)], policy)
    for at in (0, 23, 37):
        alone = operations_by_version("m", hourly, [hour(at)], policy)
        assert alone == [signal for signal in together if signal.window_end == hour(at + 1)]
