"""Signals of how requests were answered: latency, throughput, errors, fallbacks and batches, from the log alone.

Metrics: `operations.requests`, `.throughput`, `.peak_throughput`, `.error_rate`, `.latency_p50`, `.latency_p95`,
`.latency_p99` (column: the stage), `.fallback_share` and `.batch_utilisation`. Add a metric of the serving of requests
here. Keep limits out: they belong in judge.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.log_histogram import LogHistogram
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.evaluate.signals import Absence, Signal, warming_up
from monitoring_pipeline.evaluate.trailing import trailing_windows
from monitoring_pipeline.stats.intervals import wilson_interval

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

OTHER = "(other)"
"""The segment of the errors whose types are too rare to be told apart."""


@dataclass(frozen=True, slots=True)
class OperationsPolicy:
    """Windows to evaluate, the columns that are logged, and what is normal.

    primary: what `served_by` says when no fallback answered. max_batch_rows: how many rows fit into a batch; without
    it nothing is said of batches. min_rows: latencies without which there is no quantile.
    """

    windows: tuple[timedelta, ...]
    columns: LogColumns
    primary: tuple[str, ...] = ("champion", "challenger", "primary")
    max_batch_rows: int | None = None
    min_rows: int = 20


def operations_by_version(
    model: str,
    hourly: Mapping[datetime, Mapping[str, OperationsProfile]],
    hours: Sequence[datetime],
    policy: OperationsPolicy,
) -> list[Signal]:
    """Return how every version that served in a window answered its requests.

    Throughput is that of all versions together, since a limit on it is one of the service.
    """
    service = {hour: _traffic(parts.values()) for hour, parts in hourly.items()}
    # A week has ten thousand minutes, of which only the busiest matters.
    slim = {
        hour: {version: replace(part, minutes={}) for version, part in parts.items()} for hour, parts in hourly.items()
    }
    signals: list[Signal] = []
    for window in trailing_windows(slim, hours, policy.windows, OperationsProfile.empty()):
        place = window.place(model) | {"baseline": ""}
        signals += _throughput(place, service)
        for signal in _request_signals(place, window.total, policy):
            signals.append(signal if window.missing is None else absent(signal, *window.missing))
    return signals


def absent(signal: Signal, absence: Absence, reason: str) -> Signal:
    """Return the signal without its value."""
    return replace(signal, value=None, absence=absence, reason=reason, low=None, high=None, detail={})


def _traffic(parts: Iterable[OperationsProfile]) -> tuple[int, int]:
    """Return the requests of all versions in an hour, and in its busiest minute."""
    minutes: Counter[int] = Counter()
    for part in parts:
        minutes.update(part.minutes)
    return sum(minutes.values()), max(minutes.values(), default=0)


def _throughput(place: dict[str, Any], service: Mapping[datetime, tuple[int, int]]) -> Iterator[Signal]:
    start, end = place["window_start"], place["window_end"]
    length = round((end - start) / HOUR)
    known = {at: service[at] for step in range(length) if (at := start + step * HOUR) in service}
    rows, peak = sum(rows for rows, _ in known.values()), max((peak for _, peak in known.values()), default=0)
    missing = warming_up({at: rows for at, (rows, _) in known.items()}, {}, start=start, length=length)
    for name, value in (("throughput", rows / (end - start).total_seconds()), ("peak_throughput", peak / 60)):
        signal = Signal(f"operations.{name}", **place, value=value, unit="1/s", rows=rows)
        yield signal if missing is None else absent(signal, *missing)


def _request_signals(place: dict[str, Any], total: OperationsProfile, policy: OperationsPolicy) -> Iterator[Signal]:
    columns = policy.columns
    yield Signal("operations.requests", **place, value=float(total.rows), unit="row", rows=total.rows)
    if columns.status is not None:
        yield from _errors(place, total)
    if columns.served_by is not None:
        known = sum(total.served_by.get(name, 0) for name in policy.primary)
        signal = _share(place, "fallback_share", total.answered - known, total.answered, total, columns.served_by)
        yield replace(signal, detail={"served_by": dict(total.served_by)})
    if columns.batch_rows is not None and policy.max_batch_rows is not None:
        yield _batches(place, total, policy.max_batch_rows, columns.batch_rows)
    for stage in columns.latency_ms:
        yield from _latency(place | {"column": stage}, total, policy)


def _errors(place: dict[str, Any], total: OperationsProfile) -> Iterator[Signal]:
    types = dict(total.error_types)
    if others := total.errors - sum(types.values()):
        types[OTHER] = others
    signal = _share(place, "error_rate", total.errors, total.rows, total)
    if types:
        heaviest = max(types, key=lambda name: types[name])
        reason = f"{total.errors} of {total.rows} requests failed, {types[heaviest]} of them with {heaviest!r}"
        signal = replace(signal, reason=reason, detail={"types": types})
    yield signal
    for name, count in types.items():
        yield _share(place | {"segment": f"error={name}"}, "error_rate", count, total.rows, total)


def _share(
    place: dict[str, Any], name: str, count: int, rows: int, total: OperationsProfile, column: str = ""
) -> Signal:
    if rows == 0:
        return Signal(f"operations.{name}", **place, **_nothing(total, column))
    low, high = wilson_interval(count, rows)
    return Signal(f"operations.{name}", **place, value=count / rows, rows=rows, low=float(low), high=float(high))


def _batches(place: dict[str, Any], total: OperationsProfile, most: int, column: str) -> Signal:
    if total.batched == 0:
        return Signal("operations.batch_utilisation", **place, **_nothing(total, column))
    mean = total.batched / total.batches
    detail: dict[str, object] = {"mean_batch_rows": mean, "largest_batch": total.largest_batch, "max_batch_rows": most}
    return Signal("operations.batch_utilisation", **place, value=mean / most, rows=total.batched, detail=detail)


def _latency(place: dict[str, Any], total: OperationsProfile, policy: OperationsPolicy) -> Iterator[Signal]:
    stage = place["column"]
    histogram, unusable = total.latency.get(stage, LogHistogram.empty()), total.unusable.get(stage, 0)
    rows = histogram.count
    detail: dict[str, object] = {"unusable": unusable, "missing": total.rows - rows - unusable}
    for (name, share), value in zip(QUANTILES.items(), histogram.quantile([*QUANTILES.values()]).tolist(), strict=True):
        measured: dict[str, Any] = {"metric": f"operations.latency_{name}", "unit": "s", "rows": rows, "detail": detail}
        if total.rows == 0:
            measured |= _nothing(total, stage)
        elif rows < policy.min_rows:
            needed = f"{policy.min_rows} are needed (operations.min_rows)"
            unknown = f"{rows} of {total.rows} requests have a usable latency, {needed}"
            measured |= {"absence": Absence.TOO_FEW_ROWS, "reason": unknown}
        else:
            low, high = histogram.quantile_interval(share)
            measured |= {"value": value, "low": low, "high": high}
        yield Signal(**place, **measured)


def _nothing(total: OperationsProfile, column: str) -> dict[str, Any]:
    if total.rows == 0:
        return {"absence": Absence.EMPTY_HOUR, "reason": "no prediction was logged"}
    return {"absence": Absence.MISSING_COLUMN, "reason": f"none of {total.rows} requests has a usable {column!r}"}
