"""The counting kernel: one pass over a batch of values gives the counts and sums of every bin.

Add a faster way of counting here. Keep statistics out: they belong in stats and evaluate.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.arrays import float_values, int_values
from monitoring_pipeline.capture.predictions import TIME_TYPE, as_utc, floats_as_text
from monitoring_pipeline.describe.columns import CategoricalBins, ColumnKind, FloatArray, IntArray, NumericBins
from monitoring_pipeline.errors import TableError

LARGEST = 1e140
"""Numbers further from zero are taken for infinite: their squares could not be added up."""


@dataclass(frozen=True, slots=True, eq=False)
class NumericValues:
    """A batch of a numeric column: its usable values in ascending order, and how many were null or unusable."""

    finite: FloatArray
    nulls: int
    invalid: int  # infinite, or not a number in a column of numbers


def numeric_values(column: pa.ChunkedArray, kind: ColumnKind) -> NumericValues:
    """Return a column as sorted numbers. NaN is null; infinities and what is no number (or no time) are invalid."""
    column = _decoded(column)
    valid = _valid_floats(column.drop_null(), kind)
    unknown = (pc.sum(pc.is_nan(column)).as_py() or 0) if pa.types.is_floating(column.type) else 0
    finite = np.sort(valid[np.abs(valid) <= LARGEST])
    nulls = column.null_count + unknown
    return NumericValues(finite, nulls, len(column) - nulls - len(finite))


def floats_with_nan(column: pa.ChunkedArray, kind: ColumnKind) -> FloatArray:
    """Return a column as one float per row, NaN where it is null or no number."""
    values = np.full(len(column), np.nan)
    values[np.asarray(column.is_valid().to_numpy())] = _valid_floats(_decoded(column).drop_null(), kind)
    return values


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _valid_floats(valid: pa.ChunkedArray, kind: ColumnKind) -> FloatArray:
    """Return values without nulls as floats, NaN for what is no number."""
    if kind is ColumnKind.DATETIME or pa.types.is_timestamp(valid.type) or pa.types.is_date(valid.type):
        return _hours_of_day(valid)
    try:
        return float_values(valid.cast(pa.float64(), safe=False))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.array([_number(value) for value in valid.to_pylist()], dtype=np.float64)


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return np.nan


def _hours_of_day(valid: pa.ChunkedArray) -> FloatArray:
    times = _times(valid).cast(pa.int64())
    # What is no time is null, and so NaN.
    micros = times.to_numpy() if times.null_count else int_values(times)
    return np.asarray((micros % 86_400_000_000) / 3_600_000_000, dtype=np.float64)


def _times(valid: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values as UTC times, null where one is no time: a bad value in a feature costs that value alone."""
    try:
        return as_utc(valid, name="feature", table="log")
    except TableError:
        import pandas as pd

        if not (pa.types.is_string(valid.type) or pa.types.is_large_string(valid.type)):
            return pa.chunked_array([pa.nulls(len(valid), TIME_TYPE)])
        parsed = pd.to_datetime(valid.to_pandas(), utc=True, format="ISO8601", errors="coerce")
        return pa.chunked_array([pa.Array.from_pandas(parsed).cast(TIME_TYPE, safe=False)])


def bin_counts(ordered: FloatArray, bins: NumericBins) -> tuple[IntArray, FloatArray]:
    """Return counts and sums of (value - center) per bin, both of shape (bins.size,), of values in ascending order.

    Sorting once and cutting at the edges is several times faster than locating every value (numpy's sort is
    vectorised), and makes the sums independent of the order of the rows.
    """
    cuts = np.concatenate([[0], np.searchsorted(ordered, bins.edges, side="left"), [len(ordered)]])
    counts = np.diff(cuts)
    sums = np.zeros(bins.size)
    filled = counts > 0
    if len(ordered):
        sums[filled] = np.add.reduceat(ordered - bins.center, cuts[:-1][filled])
    return counts.astype(np.int64), sums


def category_names(column: pa.ChunkedArray, kind: ColumnKind = ColumnKind.CATEGORICAL) -> pa.ChunkedArray:
    """Return a column as text, value by value: 1, 1.0 and "1" are one category, and true is "true".

    In a boolean column 1 and 0 are "true" and "false" too, since missing values turn booleans into numbers.
    """
    names = _text(_decoded(column))
    if kind is ColumnKind.BOOLEAN:
        names = pc.utf8_lower(names)
        for digit, word in (("^1$", "true"), ("^0$", "false")):
            names = pc.replace_substring_regex(names, digit, word)
    return names


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(column.type):
        return floats_as_text(column)
    try:
        names = column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.chunked_array([[_name(value) for value in column.to_pylist()]], pa.string())
    if pa.types.is_decimal(column.type):
        # 1.50 is 1.5 and 1.00 is 1, whatever number of digits the type keeps.
        names = pc.replace_substring_regex(names, r"(\.\d*?)0+$", r"\1")
        names = pc.replace_substring_regex(names, r"\.$", "")
    return names


def _name(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return None if value is None else str(value)


def category_counts(column: pa.ChunkedArray, kind: ColumnKind = ColumnKind.CATEGORICAL) -> dict[str, int]:
    """Return how often each category occurs; nulls are not counted."""
    table = pc.value_counts(category_names(column, kind).drop_null().combine_chunks())
    return dict(zip(table.field("values").to_pylist(), table.field("counts").to_pylist(), strict=True))


def split_known(counts: Mapping[str, int], bins: CategoricalBins) -> tuple[IntArray, Counter[str]]:
    """Return the counts of known categories, shape (bins.size,), and the counts of the unseen ones by name."""
    place = {name: index for index, name in enumerate(bins.categories)}
    rare = set(bins.others)
    known = np.zeros(bins.size, dtype=np.int64)
    unseen: Counter[str] = Counter()
    for name, count in counts.items():
        if (index := place.get(name)) is not None:
            known[index] += count
        elif name in rare or not bins.complete:
            known[-1] += count
        else:
            unseen[name] += count
    return known, unseen
