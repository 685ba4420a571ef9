"""How Arrow columns travel to PostgreSQL and back: by COPY as CSV, which both ends read and write in C.

Every value comes back exactly, in the type it had. Add a type here when PostgreSQL has one of its own for it; all
others are kept as bytes. Keep tables and transactions out: they belong in `postgres_log`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

JSON_TYPES = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_struct)

TIMED = "timestamp with time zone"
READ_AS = {
    "boolean": pa.bool_(),
    "bigint": pa.int64(),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "timestamp without time zone": pa.timestamp("us"),
    TIMED: pa.timestamp("us", tz="UTC"),
}
"""Types of columns that are read as they are; what is in the others comes as text."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Rows as they are sent: the types they had, and for each column that of PostgreSQL; "" for one without values."""

    schema: pa.Schema
    types: tuple[str, ...]
    columns: tuple[pa.ChunkedArray, ...]

    @classmethod
    def of(cls, rows: pa.Table) -> "Wire":
        """Return rows as they are sent; dictionaries are decoded, and what a library noted beside them is dropped."""
        columns = [
            column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
            for column in rows.itercolumns()
        ]
        fields = [field.with_type(column.type) for field, column in zip(rows.schema, columns, strict=True)]
        sent = [_sent(column) for column in columns]
        return cls(pa.schema(fields), tuple(type_ for type_, _ in sent), tuple(values for _, values in sent))


def csv_bytes(rows: pa.Table) -> bytes:
    """Return rows as CSV; nothing is nothing, and empty text is a pair of quotes."""
    sink = BytesIO()
    pyarrow.csv.write_csv(rows, sink, pyarrow.csv.WriteOptions(include_header=False))
    return sink.getvalue()


def read_csv(source: IO[bytes], types: dict[str, str]) -> pa.Table:
    """Return what COPY wrote with a header, block by block, in the Arrow types nearest to those of PostgreSQL."""
    return pyarrow.csv.read_csv(
        source,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: READ_AS.get(type_, pa.string()) for name, type_ in types.items()},
            true_values=["t"],
            false_values=["f"],
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def restored(column: pa.ChunkedArray, type_: str, wanted: pa.DataType) -> pa.ChunkedArray:
    """Return a column that was read from one of PostgreSQL's types in the type it once had."""
    if type_ == "json":
        texts = column.to_pylist()
        return pa.chunked_array([pa.array([None if text is None else json.loads(text) for text in texts], wanted)])
    if type_ != "bytea":
        return column.cast(wanted)
    contents = [None if text is None else bytes.fromhex(text.removeprefix("\\x")) for text in column.to_pylist()]
    if _is_bytes(wanted):
        return pa.chunked_array([pa.array(contents, wanted)])
    schema = pa.schema({"": wanted})
    parts = [pa.nulls(1, wanted) if each is None else pa.ipc.read_record_batch(each, schema)[0] for each in contents]
    return pa.chunked_array(parts, wanted)


def _sent(column: pa.ChunkedArray) -> tuple[str, pa.ChunkedArray]:
    """Return the type of PostgreSQL that holds a column exactly, and its values as they are written."""
    type_ = column.type
    if pa.types.is_null(type_):
        return "", column
    if pa.types.is_boolean(type_):
        return "boolean", column
    if pa.types.is_uint64(type_):
        return "numeric", column.cast(pa.decimal128(20, 0))
    if pa.types.is_integer(type_):
        return "bigint", column.cast(pa.int64())
    if pa.types.is_floating(type_):
        return "double precision", column.cast(pa.float64())
    if pa.types.is_decimal(type_) and type_.scale >= 0:
        return "numeric", column
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        has_zero = pc.any(pc.match_substring(column, "\0")).as_py()  # which no text in PostgreSQL may have
        return ("bytea", _as_hex(column)) if has_zero else ("text", column)
    if pa.types.is_date32(type_) and _is_printable(column.cast(pa.timestamp("s"))):
        return "date", column
    if pa.types.is_timestamp(type_):
        return _moments(column)
    if any(is_one(type_) for is_one in JSON_TYPES) and (texts := _as_json(column)) is not None:
        return "json", texts
    return "bytea", _as_hex(column)


def _moments(column: pa.ChunkedArray) -> tuple[str, pa.ChunkedArray]:
    kept = TIMED if column.type.tz else "timestamp without time zone"
    try:
        moments = column.cast(pa.timestamp("us", tz="UTC" if column.type.tz else None))
    except pa.ArrowInvalid:  # nanoseconds that are no microseconds
        return "bytea", _as_hex(column)
    return (kept, moments) if _is_printable(moments) else ("bytea", _as_hex(column))


def _is_printable(moments: pa.ChunkedArray) -> bool:
    """Return whether all moments lie in years of four digits."""
    zone = UTC if moments.type.tz else None
    first, last = (pa.scalar(datetime(year, 1, 1, tzinfo=zone), moments.type) for year in (1, 9999))
    inside = pc.and_(pc.greater_equal(moments, first), pc.less(moments, last))
    return pc.all(inside).as_py() is not False


def _as_json(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return lists and records as JSON; None where it does not hold all of what is in them."""
    try:
        values = column.to_pylist()
        texts = [None if value is None else json.dumps(value, allow_nan=False) for value in values]
        again = pa.chunked_array([[None if text is None else json.loads(text) for text in texts]], column.type)
    except (TypeError, ValueError, pa.ArrowException):
        return None
    exact = again.equals(column) and not any(text is not None and "\\u0000" in text for text in texts)
    return pa.chunked_array([pa.array(texts, pa.string())]) if exact else None


def _as_hex(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if _is_bytes(column.type):
        contents = column.to_pylist()
    else:
        rows = (column.slice(row, 1).combine_chunks() for row in range(len(column)))
        contents = [None if row.null_count else pa.record_batch([row], [""]).serialize() for row in rows]
    texts = [None if content is None else f"\\x{bytes(content).hex()}" for content in contents]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_))
