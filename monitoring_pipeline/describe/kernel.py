"""The counting kernel: one pass over a batch of values gives the counts and sums of every bin.

Add a faster way of counting here. Keep statistics out: they belong in stats and evaluate.
"""

from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.arrays import float_scalar, float_values, row_numbers
from monitoring_pipeline.capture.predictions import TIME_TYPE, as_text, as_utc
from monitoring_pipeline.describe.columns import (
    KNOWN_CATEGORIES,
    AnyArray,
    CategoricalBins,
    ColumnKind,
    DatetimePart,
    FloatArray,
    IntArray,
    NumericBins,
)
from monitoring_pipeline.errors import TableError
from monitoring_pipeline.stats.cardinality import DistinctCount

LARGEST = 1e140
"""Numbers further from zero are taken for infinite: their squares could not be added up."""

TEXTS = 65_536
"""Names that are Python objects at the same time."""

SINGLE = 2**24
"""Single precision holds every whole number up to this one."""

ENDS = np.array([-LARGEST, np.nextafter(LARGEST, np.inf), np.nan])
"""Where the usable ones of sorted numbers start, where they end, and where NaN starts."""


@dataclass(frozen=True, slots=True, eq=False)
class NumericValues:
    """A batch of a numeric column: its usable values in ascending order, and how many were null or unusable."""

    finite: FloatArray
    nulls: int
    invalid: int  # infinite, or not a number in a column of numbers

    @property
    def rows(self) -> int:
        return len(self.finite) + self.nulls + self.invalid


def column_values(rows: pa.Table, source: str, part: DatetimePart | None, time: str | None) -> pa.ChunkedArray:
    """Return the values of a column of the log, or one part of a date and time; null in every row if it is missing.

    `time` names the rows' own time, which ages are counted from. A part is a float; what is no time is infinite.
    """
    if source not in rows.column_names:
        return pa.chunked_array([pa.nulls(rows.num_rows)])
    if part is None:
        return rows[source]
    own = _times(rows[time]) if time is not None and time in rows.column_names else None
    return _datetime_part(_decoded(rows[source]), part, own)


def _datetime_part(column: pa.ChunkedArray, part: DatetimePart, own: pa.ChunkedArray | None) -> pa.ChunkedArray:
    micros = _times(column).cast(pa.int64())
    naive = micros.cast(pa.timestamp("us"))  # Arrow needs no time zones for what is UTC anyway
    if part is DatetimePart.DAY_OF_WEEK:
        found = pc.day_of_week(naive).cast(pa.float64())
    elif part is DatetimePart.HOUR_OF_DAY:
        midnight = pc.floor_temporal(naive, unit="day").cast(pa.int64())
        found = pc.divide(pc.subtract(micros, midnight).cast(pa.float64(), safe=False), float_scalar(3.6e9))
    elif own is None:
        found = pa.chunked_array([pa.nulls(len(column), pa.float64())])
    else:
        passed = pc.subtract(own.cast(pa.int64()), micros).cast(pa.float64(), safe=False)
        found = pc.divide(passed, float_scalar(8.64e10))
    return pc.if_else(pc.and_(column.is_valid(), micros.is_null()), float_scalar(np.inf), found)


def numeric_values(column: pa.ChunkedArray, kind: ColumnKind) -> NumericValues:
    """Return a column as sorted numbers. NaN is null; infinities and what is no number (or no time) are invalid.

    Floats of a datetime are a part of it that `column_values` has read; anything else is read as its hour of the day.
    """
    column = _decoded(column)
    if pa.types.is_floating(column.type) or (pa.types.is_integer(column.type) and kind is not ColumnKind.DATETIME):
        values = _plain_floats(column)
        values.sort()
        ordered = values.astype(np.float64, copy=False)
        start, end, known = (int(place) for place in np.searchsorted(ordered, ENDS))
        nulls = len(ordered) - known
    else:
        ordered = np.sort(_valid_floats(column.drop_null(), kind))
        start, end = (int(place) for place in np.searchsorted(ordered, ENDS[:2]))
        nulls = column.null_count
    return NumericValues(ordered[start:end], nulls, len(column) - nulls - (end - start))


def floats_with_nan(column: pa.ChunkedArray, kind: ColumnKind) -> FloatArray:
    """Return a column as one float per row, NaN where it is null or no number."""
    values = np.full(len(column), np.nan)
    values[np.asarray(column.is_valid().to_numpy())] = _valid_floats(_decoded(column).drop_null(), kind)
    return values


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _plain_floats(column: pa.ChunkedArray) -> AnyArray:
    """Return whole numbers or floats as one float per row, NaN where null; in single precision where that is exact.

    Half as wide sorts in half the time.
    """
    parts = [_buffer(chunk) for chunk in column.chunks]
    values, start = np.empty(len(column), np.float32 if all(map(_fits_single, parts)) else np.float64), 0
    for chunk, numbers in zip(column.chunks, parts, strict=True):
        place = values[start : start + len(chunk)]
        place[:] = numbers
        if chunk.null_count:
            place[_nulls(chunk)] = np.nan
        start += len(chunk)
    return values


def _fits_single(numbers: AnyArray) -> bool:
    if numbers.dtype.kind == "f" or len(numbers) == 0:
        return bool(numbers.dtype.itemsize <= 4)
    return bool(numbers.min() >= -SINGLE and numbers.max() <= SINGLE)


def _buffer(chunk: pa.Array) -> AnyArray:
    """Return the numbers of an array as they lie in memory, whatever stands in the place of a null."""
    code = "f" if pa.types.is_floating(chunk.type) else "i" if pa.types.is_signed_integer(chunk.type) else "u"
    dtype = np.dtype(f"{code}{chunk.type.bit_width // 8}")
    buffer = chunk.buffers()[1]
    return np.frombuffer(buffer, dtype, len(chunk), chunk.offset * dtype.itemsize) if buffer else np.empty(0, dtype)


def _nulls(chunk: pa.Array) -> npt.NDArray[np.bool_]:
    """Return which places of an array that has nulls are null."""
    first = chunk.offset // 8
    bits = np.unpackbits(np.frombuffer(chunk.buffers()[0], np.uint8, offset=first), bitorder="little")
    start = chunk.offset - 8 * first
    return np.asarray(bits[start : start + len(chunk)] == 0)


def _valid_floats(valid: pa.ChunkedArray, kind: ColumnKind) -> FloatArray:
    """Return values without nulls as floats, NaN for what is no number."""
    if kind is ColumnKind.DATETIME:
        valid = _datetime_part(valid, DatetimePart.HOUR_OF_DAY, None)
    elif pa.types.is_temporal(valid.type):
        return np.full(len(valid), np.nan)  # no number, though Arrow would count microseconds
    try:
        return float_values(valid.cast(pa.float64(), safe=False))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.array([_number(value) for value in valid.to_pylist()], dtype=np.float64)


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return np.nan


def _times(valid: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values as UTC times, null where one is no time: a bad value in a feature costs that value alone."""
    try:
        return as_utc(valid, name="feature", table="log")
    except TableError:
        import pandas as pd

        if not is_text(valid.type):
            return pa.chunked_array([pa.nulls(len(valid), TIME_TYPE)])
        parsed = pd.to_datetime(valid.to_pandas(), utc=True, format="ISO8601", errors="coerce")
        return pa.chunked_array([pa.Array.from_pandas(parsed).cast(TIME_TYPE, safe=False)])


def bin_counts(ordered: FloatArray, bins: NumericBins) -> tuple[IntArray, FloatArray, float]:
    """Return counts and sums of (value - center) per bin, and the sum of all squares of it, of ascending values.

    Both arrays have the shape (bins.size,). Sorting once and cutting at the edges is several times faster than
    locating every value (numpy's sort is vectorised), and makes the sums independent of the order of the rows.
    """
    cuts = np.concatenate([[0], np.searchsorted(ordered, bins.edges, side="left"), [len(ordered)]])
    counts = np.diff(cuts).astype(np.int64)
    sums = np.zeros(bins.size)
    filled = counts > 0
    # Subtracting first: sums of values far from zero would round off what makes them differ.
    centred = ordered - bins.center
    if len(ordered):
        sums[filled] = np.add.reduceat(centred, cuts[:-1][filled])
    # Neither a dot product, which wakes a thread pool for longer than it works, nor einsum, which rounds more.
    return counts, sums, float(np.square(centred, out=centred).sum())


def category_names(column: pa.ChunkedArray, kind: ColumnKind = ColumnKind.CATEGORICAL) -> pa.ChunkedArray:
    """Return a column as text, value by value: 1, 1.0 and "1" are one category, and true is "true".

    In a boolean column 1 and 0 are "true" and "false" too, since missing values turn booleans into numbers.
    """
    names = as_text(column)
    if kind is ColumnKind.BOOLEAN:
        names = pc.utf8_lower(names)
        for digit, word in (("^1$", "true"), ("^0$", "false")):
            names = pc.replace_substring_regex(names, digit, word)
    return names


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """How often each of some categories occurs. The names stay in Arrow: a million are not a million Python objects."""

    names: pa.Array  # each once, none null
    counts: IntArray
    nulls: int = 0

    @property
    def rows(self) -> int:
        return int(self.counts.sum()) + self.nulls

    def heaviest(self, most: int) -> dict[str, int]:
        """Return the most frequent categories, those of equal weight by name."""
        if len(self.names) == 0:
            return {}
        table = pa.table({"name": self.names, "count": row_numbers(self.counts)})
        order = [("count", "descending"), ("name", "ascending")]
        found = table.take(pc.select_k_unstable(table, k=min(most, len(self.names)), sort_keys=order))
        return dict(zip(found["name"].to_pylist(), found["count"].to_pylist(), strict=True))

    def where(self, kept: npt.NDArray[np.bool_]) -> "Tally":
        """Return some of the categories."""
        return Tally(self.names.take(row_numbers(np.flatnonzero(kept))), self.counts[kept])

    def distinct(self) -> DistinctCount:
        """Return the sketch of the categories, with few of their names as Python objects at once."""
        parts = (self.names.slice(start, TEXTS) for start in range(0, len(self.names), TEXTS))
        sketches = (DistinctCount.of(part.to_pylist()) for part in parts)
        return reduce(DistinctCount.merge, sketches, DistinctCount.empty())


def tally(column: pa.ChunkedArray, kind: ColumnKind = ColumnKind.CATEGORICAL) -> Tally:
    """Return how often each category occurs."""
    pieces = [_value_counts(chunk) for chunk in column.chunks]
    if not pieces:
        return Tally(pa.nulls(0, pa.string()), np.empty(0, np.int64))
    names = [category_names(pa.chunked_array([values]), kind).combine_chunks() for values, _ in pieces]
    counts = np.concatenate([each for _, each in pieces])
    if len(names) == 1 and names[0].null_count == 0 and kind is not ColumnKind.BOOLEAN and is_text(pieces[0][0].type):
        return Tally(names[0], counts, len(column) - int(counts.sum()))
    # Several chunks, or several values with one name, such as 1 and true of a boolean column.
    encoded = pa.concat_arrays(names).dictionary_encode()
    total = np.zeros(len(encoded.dictionary) + 1, dtype=np.int64)
    np.add.at(total, _codes(encoded), counts)
    return Tally(encoded.dictionary, total[:-1], len(column) - int(total[:-1].sum()))


def counted(column: pa.ChunkedArray, kind: ColumnKind) -> NumericValues | Tally:
    """Return what everything else is found from: a column in order where it is binned, its categories otherwise."""
    return numeric_values(column, kind) if kind.is_binned else tally(column, kind)


def is_text(type_: pa.DataType) -> bool:
    """Return whether values of this type are text that is written out, not places in a dictionary."""
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _codes(encoded: pa.DictionaryArray) -> IntArray:
    """Return the place of every row's value in the dictionary, and one place beyond it for null."""
    codes = _buffer(encoded.indices).astype(np.int64)
    if encoded.indices.null_count:
        codes[_nulls(encoded.indices)] = len(encoded.dictionary)
    return codes


def _value_counts(chunk: pa.Array) -> tuple[pa.Array, IntArray]:
    """Return the values that occur in an array, and how often."""
    if pa.types.is_dictionary(chunk.type):
        size = len(chunk.dictionary)
        counts = np.bincount(_codes(chunk), minlength=size)[:size]
        present = np.flatnonzero(counts)
        # The dictionary of a slice is that of the whole table.
        values = chunk.dictionary if len(present) == size else chunk.dictionary.take(row_numbers(present))
        return values, counts[present]
    if pa.types.is_nested(chunk.type) or pa.types.is_float16(chunk.type):  # Arrow cannot count these
        chunk = category_names(pa.chunked_array([chunk])).combine_chunks()
    found = pc.value_counts(chunk.drop_null())
    return found.field("values"), _buffer(found.field("counts"))


def category_counts(column: pa.ChunkedArray, kind: ColumnKind = ColumnKind.CATEGORICAL) -> dict[str, int]:
    """Return how often each category occurs, of the most frequent ones: one more than bins can remember."""
    return tally(column, kind).heaviest(KNOWN_CATEGORIES + 1)


def category_places(names: pa.Array, bins: CategoricalBins) -> IntArray:
    """Return the bin of each category, `bins.size` for one the reference never had."""
    unseen = bins.size if bins.complete else bins.size - 1
    found = pc.index_in(names, value_set=_known_names(bins))
    places = np.minimum(_buffer(found), bins.size - 1).astype(np.int64)
    if found.null_count:
        places[_nulls(found)] = unseen
    return places


def row_places(column: pa.ChunkedArray, kind: ColumnKind, bins: CategoricalBins) -> IntArray:
    """Return the bin of every row, `bins.size` for a category the reference never had and one more for null."""
    encoded = category_names(column, kind).combine_chunks().dictionary_encode()
    return np.append(category_places(encoded.dictionary, bins), bins.size + 1)[_codes(encoded)]


@lru_cache(maxsize=256)
def _known_names(bins: CategoricalBins) -> pa.Array:
    texts = [name.encode() for name in (*bins.categories, *bins.others)]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts)))


def split_known(counts: Tally, bins: CategoricalBins) -> tuple[IntArray, Tally]:
    """Return the counts of known categories, shape (bins.size,), and the unseen ones."""
    places = category_places(counts.names, bins)
    known = np.zeros(bins.size + 1, dtype=np.int64)
    np.add.at(known, places, counts.counts)
    return known[:-1], counts.where(places == bins.size)
