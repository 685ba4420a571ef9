"""Signals and verdicts as Arrow tables and back, a column at a time: every hour of a monitor has thousands of them.

Add a field of the records to the schema here. Keep where tables are kept out: it belongs in hourly.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

import pyarrow as pa

from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.verdicts import Level, Verdict

TIME = pa.timestamp("us", tz="UTC")

SIGNAL_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("metric", "model", "version")),
        *((name, TIME) for name in ("window_start", "window_end")),
        ("window", pa.string()),
        ("value", pa.float64()),
        *((name, pa.string()) for name in ("absence", "reason", "unit")),
        ("rows", pa.int64()),
        *((name, pa.float64()) for name in ("low", "high")),
        *((name, pa.string()) for name in ("column", "segment", "baseline")),
        *((name, pa.float64()) for name in ("baseline_value", "p_value")),
        ("span", pa.string()),
        ("detail", pa.string()),
    ]
)

VERDICT_SCHEMA = pa.schema(
    [
        *SIGNAL_SCHEMA,
        ("level", pa.string()),
        ("threshold", pa.float64()),
        ("threshold_origin", pa.string()),
        ("verdict_reason", pa.string()),
        ("q_value", pa.float64()),
    ]
)

_SIGNAL_FIELDS = tuple(entry.name for entry in fields(Signal))
_OWN = {"verdict_reason" if entry.name == "reason" else entry.name: entry.name for entry in fields(Verdict)[1:]}
"""Columns of a verdict beside those of its signal, and the fields they hold."""

_ABSENCES: Mapping[str | None, Absence | None] = {None: None, **{absence.value: absence for absence in Absence}}
_JSON = json.JSONEncoder(sort_keys=True)


def signals_table(signals: Iterable[Signal]) -> pa.Table:
    """Return signals as a table, one row each; `detail` is JSON text."""
    return _table(_signal_columns(list(signals)), SIGNAL_SCHEMA)


def verdicts_table(verdicts: Iterable[Verdict]) -> pa.Table:
    """Return verdicts as a table: the columns of their signals and five more."""
    return _table(_verdict_columns(list(verdicts)), VERDICT_SCHEMA)


def signals_of(table: pa.Table) -> list[Signal]:
    """Return the signals of a table."""
    return [Signal(*row) for row in _signal_rows(_texts_once(table, _SIGNAL_FIELDS))]


def verdicts_of(table: pa.Table) -> list[Verdict]:
    """Return the verdicts of a table."""
    return _verdicts(_texts_once(table, (*_SIGNAL_FIELDS, *_OWN)))


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as one flat row."""
    return {name: values[0] for name, values in _verdict_columns([verdict]).items()}


def verdict_of(row: Mapping[str, Any]) -> Verdict:
    """Return the verdict of a flat row."""
    return _verdicts({name: [row[name]] for name in (*_SIGNAL_FIELDS, *_OWN)})[0]


def _columns(records: Sequence[Any], names: Sequence[str]) -> dict[str, Sequence[Any]]:
    values = zip(*map(attrgetter(*names), records), strict=True) if records else [()] * len(names)
    return dict(zip(names, values, strict=True))


def _signal_columns(signals: Sequence[Signal]) -> dict[str, Sequence[Any]]:
    columns = _columns(signals, _SIGNAL_FIELDS)
    places = list(zip(*(columns[name] for name in ("window_start", "window_end", "span")), strict=True))
    windows = {place: signal.window for place, signal in dict(zip(places, signals, strict=True)).items()}
    return columns | {
        "window": [windows[place] for place in places],
        "detail": [_JSON.encode(detail) if detail else None for detail in columns["detail"]],
    }


def _verdict_columns(verdicts: Sequence[Verdict]) -> dict[str, Sequence[Any]]:
    own = _columns(verdicts, tuple(_OWN.values()))
    signals = _signal_columns([verdict.signal for verdict in verdicts])
    return signals | {name: own[field] for name, field in _OWN.items()}


def _table(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> pa.Table:
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _texts_once(table: pa.Table, names: Iterable[str]) -> dict[str, Iterable[Any]]:
    """Return columns as values of Python, each text and each time made once: nearly all of them repeat."""
    found: dict[str, Iterable[Any]] = {}
    for name in names:
        column = table[name].combine_chunks()
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            found[name] = column.to_pylist()
            continue
        coded = column.dictionary_encode()
        known = [*coded.dictionary.to_pylist(), None]
        found[name] = map(known.__getitem__, coded.indices.fill_null(len(known) - 1).to_pylist())
    return found


def _signal_rows(columns: Mapping[str, Iterable[Any]]) -> Iterator[tuple[Any, ...]]:
    read = {
        "absence": map(_ABSENCES.__getitem__, columns["absence"]),
        "detail": (json.loads(text) if text else {} for text in columns["detail"]),
    }
    return zip(*(read.get(name, columns[name]) for name in _SIGNAL_FIELDS), strict=True)


def _verdicts(columns: Mapping[str, Iterable[Any]]) -> list[Verdict]:
    levels = map(Level, columns["level"])
    own = zip(*(levels if name == "level" else columns[name] for name in _OWN), strict=True)
    return [Verdict(Signal(*row), *more) for row, more in zip(_signal_rows(columns), own, strict=True)]
