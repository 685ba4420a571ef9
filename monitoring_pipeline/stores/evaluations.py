"""The result of an evaluation as files for people and programs: signals, verdicts and rules, in a fixed order.

Add a file of results here. Keep the hourly store's files out: those are for the pipeline itself.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.rules import RuleOutcome
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.notify.alerts import json_ready
from monitoring_pipeline.stores.files import parquet_bytes, publish
from monitoring_pipeline.stores.signal_tables import signals_table

PLACE = ("window", "model", "version", "metric", "column", "segment", "baseline")
TIMES = ("window_start", "window_end")
MEASURED = tuple(entry.name for entry in fields(Signal) if entry.name not in (*PLACE, *TIMES))

_ENCODER = json.JSONEncoder(allow_nan=False)


def write_evaluation(
    folder: Path, signals: Sequence[Signal], verdicts: Sequence[Verdict], rules: Sequence[RuleOutcome]
) -> list[Path]:
    """Write signals (Parquet and JSON), verdicts that were graded or are unknown, and rules; returns the paths."""
    ordered = sorted(signals, key=order)
    graded = [entry for entry in verdicts if entry.threshold is not None or entry.level is Level.UNKNOWN]
    contents = {
        "signals.parquet": parquet_bytes(signals_table(ordered)),
        "signals.json": json_rows(map(signal_row, ordered)),
        "verdicts.json": json_rows(map(verdict_row, sorted(graded, key=lambda entry: order(entry.signal)))),
        "rules.json": json_rows(map(rule_row, sorted(rules, key=lambda entry: (entry.hour, entry.rule)))),
    }
    try:
        for name, content in contents.items():
            publish(folder / name, content)
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be written ({error.strerror}). Name another folder for the output."
        ) from error
    return [folder / name for name in contents]


def order(signal: Signal) -> tuple[Any, ...]:
    """Sort key of signals: by hour, then window, and so on; no two signals of one evaluation share it."""
    place = (signal.metric, signal.column, signal.segment, signal.baseline, signal.span)
    return (signal.window_end, signal.length, signal.version, *place)


def json_rows(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as a JSON list with one row a line; what is not a finite number is null."""
    return ("[\n" + ",\n".join(map(_line, rows)) + "\n]\n").encode()


def _line(row: Mapping[str, Any]) -> str:
    try:
        return _ENCODER.encode(row)
    except (TypeError, ValueError):  # a number that is not finite, or not Python's: rare, and slow to look for
        return _ENCODER.encode(json_ready(row))


def signal_row(signal: Signal) -> dict[str, Any]:
    """Return a signal with its fields, times as ISO 8601 text."""
    return _place(signal) | {name: getattr(signal, name) for name in MEASURED}


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict with the place and value of its signal."""
    signal = verdict.signal
    return _place(signal) | {
        "value": signal.value,
        "threshold": verdict.threshold,
        "threshold_origin": verdict.threshold_origin,
        "verdict": verdict.level.value,
        "reason": verdict.reason,
    }


def rule_row(outcome: RuleOutcome) -> dict[str, Any]:
    """Return what a rule said of one hour, with the verdicts that made it, worst first."""
    return {
        "rule": outcome.rule,
        "model": outcome.model,
        "hour": outcome.hour.isoformat(),
        "state": outcome.state.value,
        "severity": outcome.severity.value,
        "since": outcome.since.isoformat(),
        "why": outcome.why,
        "reason": outcome.reason,
        "runbook": outcome.runbook,
        "owner": outcome.owner,
        "evidence": [verdict_row(verdict) for verdict in outcome.evidence],
    }


def _place(signal: Signal) -> dict[str, Any]:
    times = {name: _text(getattr(signal, name)) for name in TIMES}
    return times | {name: getattr(signal, name) for name in PLACE}


@lru_cache(maxsize=4096)
def _text(moment: datetime) -> str:
    return moment.isoformat()
