"""The prediction log: one row per prediction served, and the rules that make a batch of rows usable.

Add a role a column of the log can have to `LogColumns`. Keep file formats out: they belong in stores.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.windows import Window
from monitoring_pipeline.errors import TableError

UNVERSIONED = "unversioned"
TIME_TYPE = pa.timestamp("us", tz="UTC")

EARLIEST, LATEST = (datetime(year, 1, 1, tzinfo=UTC) for year in (1900, 2200))
"""Predictions are made and labels become known in between; seconds taken for microseconds lie in the year 58,000."""


@dataclass(frozen=True, slots=True)
class LogColumns:
    """Names of the columns of a prediction log that are not features.

    `score` is the probability of the positive class, or what a ranking sorts by; `probabilities` names the column of
    every class where there are more than two; `prediction` is the class or the value that was served, `lower` and
    `upper` bound it where the model gives an interval. `request` and `item` say which list a recommended item was part
    of. `latency_ms` names a column per stage, `status` says what went wrong (nothing, "ok" and 200 are fine),
    `served_by` which part of the service answered, `batch_rows` how many rows were scored at once. A column that is
    not named is not logged.
    """

    prediction_id: str = "prediction_id"
    predicted_at: str = "predicted_at"
    version: str | None = "model_version"
    prediction: str | None = "prediction"
    score: str | None = "score"
    probabilities: Mapping[str, str] = field(default_factory=dict)
    lower: str | None = None
    upper: str | None = None
    request: str | None = None
    item: str | None = None
    entity: str | None = None
    served_by: str | None = None
    status: str | None = None
    batch_rows: str | None = None
    latency_ms: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Return the names in use, each once."""
        found: list[str] = []
        for entry in fields(self):
            named = getattr(self, entry.name)
            found += named.values() if isinstance(named, Mapping) else [named] if named is not None else []
        return tuple(dict.fromkeys(found))


class PredictionLog(Protocol):
    """Where served predictions are kept, by the hour they were made in."""

    def append(self, model: str, rows: pa.Table) -> int:
        """Store rows; the same rows again change nothing that is read. Returns the number of rows stored."""
        ...

    def read(self, window: Window) -> pa.Table:
        """Return the rows of a window as logged, duplicates included."""
        ...

    def hours(self, model: str, *, since: datetime) -> Sequence[datetime]:
        """Return the hours from `since` on that hold at least one row, oldest first."""
        ...


def require_columns(rows: pa.Table, needed: Iterable[str], *, table: str) -> None:
    """Raise TableError naming every needed column that `rows` lacks."""
    missing = [name for name in needed if name not in rows.column_names]
    if missing:
        raise TableError.missing_columns(table, missing, rows.column_names)


def as_utc(column: pa.ChunkedArray, *, name: str, table: str, each_alone: bool = False) -> pa.ChunkedArray:
    """Return a time column as microseconds in UTC; text is parsed as ISO 8601, naive times are taken as UTC.

    With `each_alone` text that is no time is null in its own row, unless none is one, and so is a time nobody means.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = as_text(column)
    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            import pandas as pd

            texts = column.to_pandas()
            parsed = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce" if each_alone else "raise")
            if each_alone and parsed.isna().all() and not texts.isna().all():
                example = texts.dropna().iloc[0][:80]
                raise pa.ArrowInvalid(f"none of {len(texts)} texts can be read, such as {example!r}")
            column = pa.chunked_array([pa.Array.from_pandas(parsed).cast(TIME_TYPE, safe=False)])
        if pa.types.is_date(column.type) or pa.types.is_null(column.type):
            column = column.cast(pa.timestamp("us"))
        if not pa.types.is_timestamp(column.type):
            raise pa.ArrowInvalid(f"its type is {column.type}")
        if column.type.tz is None:
            column = pc.assume_timezone(column.cast(pa.timestamp("us"), safe=False), "UTC")
        column = column.cast(TIME_TYPE, safe=False)
        if each_alone:
            first, last = (pa.scalar(moment, TIME_TYPE) for moment in (EARLIEST, LATEST))
            column = pc.if_else(pc.and_(pc.greater_equal(column, first), pc.less(column, last)), column, None)
        return column
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        why = str(error).splitlines()[0][:200].rstrip(".")  # what follows is advice on calling pandas
        raise TableError(
            f"{table}, column {name!r}: not a time ({why}). Give timestamps, or ISO 8601 text such as "
            "2026-11-20T13:00:00Z."
        ) from error


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as text, value by value: 7, 7.0 and "7" are the same, NaN and nothing are none."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        return _floats_as_text(column)
    try:
        texts = column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.chunked_array([[_text(value) for value in column.to_pylist()]], pa.string())
    if pa.types.is_decimal(column.type):
        # 1.50 is 1.5 and 1.00 is 1, whatever number of digits the type keeps.
        texts = pc.replace_substring_regex(texts, r"(\.\d*?)0+$", r"\1")
        texts = pc.replace_substring_regex(texts, r"\.$", "")
    return texts


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return None if value is None else str(value)


def _floats_as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return floats as text, value by value: whole ones without a point, NaN as null.

    Whole numbers come as floats where a table has missing ones among them.
    """
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    column = pc.if_else(pc.is_nan(column), None, column)
    whole = pc.and_(pc.equal(column, pc.floor(column)), pc.less(pc.abs(column), 2.0**53))
    digits = pc.if_else(whole, column, None).cast(pa.int64()).cast(pa.string())
    return pc.coalesce(digits, column.cast(pa.string()))


def prepare_predictions(rows: pa.Table, columns: LogColumns, *, table: str = "prediction log") -> pa.Table:
    """Return the rows in their canonical form: valid times, text ids and versions, one row per id and hour, sorted.

    Rows without an id or a readable time cannot be placed in an hour and are left out; `describe.quarantine` lists
    them. Where an id occurs more than once in an hour, the earliest row stays (ties by version, prediction, score and
    then every other column), so neither order nor duplication of the log matters. Other hours do not count: an hour
    must come out the same whether it is prepared alone or in a range.
    """
    require_columns(rows, columns.names(), table=table)
    time, key = columns.predicted_at, columns.prediction_id
    rows = _replace(rows, time, as_utc(rows[time], name=time, table=table, each_alone=True))
    rows = _replace(rows, key, as_text(rows[key]))
    if columns.version is not None:
        rows = _replace(rows, columns.version, pc.fill_null(as_text(rows[columns.version]), UNVERSIONED))
    rows = rows.filter(pc.and_(pc.is_valid(rows[key]), pc.is_valid(rows[time])))
    first = [name for name in (time, columns.version, columns.prediction, columns.score) if name is not None]
    others = sorted(set(rows.column_names) - {key, *first})
    return first_of_each(rows, key, [*first, *others], hour=time)


def first_of_each(rows: pa.Table, key: str, order: Sequence[str], *, hour: str | None = None) -> pa.Table:
    """Return the first row of every `key` in the order of the named columns, sorted by key.

    With `hour`, a column of UTC times, the first of every key and hour; it must come first in `order`.
    """
    if pc.count_distinct(rows[key]).as_py() == rows.num_rows:
        return rows.sort_by(key)  # nothing to choose between, which is the rule
    keys = pa.table({"0": rows[key]} | {str(at): sortable(rows[name]) for at, name in enumerate(order, start=1)})
    rows = rows.take(pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names]))
    new = _differs_from_previous(rows[key])
    if hour is not None:
        new = pc.or_(new, _differs_from_previous(pc.floor_temporal(rows[hour], unit="hour")))
    return rows.filter(pa.concat_arrays([pa.array([True]), new]))


def _differs_from_previous(values: pa.ChunkedArray) -> pa.BooleanArray:
    whole = values.combine_chunks()
    return pc.not_equal(whole.slice(1), whole.slice(0, len(whole) - 1))


def sortable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as Arrow can sort it: dictionaries decoded, lists and records as text, no half precision."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    if pa.types.is_nested(column.type) or isinstance(column.type, pa.BaseExtensionType):
        return pa.chunked_array([[None if value is None else repr(value) for value in column.to_pylist()]], pa.string())
    return column.cast(pa.float32()) if pa.types.is_float16(column.type) else column


def _replace(rows: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, values)
