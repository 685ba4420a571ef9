"""What the kernel makes of single values, as SQL expressions: numbers, their bins, parts of times, names of categories.

Every name and value goes through sqlglot, which quotes it for the dialect; nothing is pasted into text. Add a type that
warehouses have to `Stored`. Keep whole statements out: they belong in `sql`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

import numpy as np
from sqlglot import exp

from monitoring_pipeline.describe.columns import ColumnKind, DatetimePart, NumericBins
from monitoring_pipeline.describe.kernel import LARGEST

DIALECTS = ("bigquery", "databricks", "duckdb", "postgres", "snowflake", "trino")
"""Dialects that statements are written in; those of DuckDB and PostgreSQL are run by the tests."""

NULL, INVALID = -2, -1
"""Bins of what is missing, and of what is no usable number."""

NUMBER = "^[+-]?([0-9]{1,150}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?0*([0-9]{1,2}|1[0-4][0-9]))?$"
"""Text that is a number; none of them is too large or too small to be read, which PostgreSQL takes for an error."""

TINY = 1e-140
"""The square of a smaller number is taken for zero: PostgreSQL takes what underflows for an error."""

HOUR_MICROS, DAY_MICROS = 3_600_000_000, 86_400_000_000


class Stored(StrEnum):
    """What a column of a table holds."""

    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    TEXT = "text"
    DATE = "date"
    TIME = "time"  # without a zone, in UTC
    ZONED = "zoned"
    OTHER = "other"

    @property
    def is_temporal(self) -> bool:
        return self in (Stored.DATE, Stored.TIME, Stored.ZONED)


def cast(value: exp.Expr, type_: str) -> exp.Expr:
    """Return a value as another type."""
    return exp.Cast(this=value, to=_type(type_).copy())


@lru_cache
def _type(name: str) -> exp.DataType:
    return exp.DataType.build(name)


def quoted(name: str) -> exp.Column:
    """Return a column; its name is never read as SQL."""
    return exp.column(exp.to_identifier(name, quoted=True))


def text(value: str) -> exp.Expr:
    """Return a text, quoted."""
    return exp.Literal.string(value)


def whole(value: int) -> exp.Expr:
    """Return a whole number."""
    return exp.convert(value)


def double(value: float | exp.Expr | None) -> exp.Expr:
    """Return a double; of a number its text is read, since literals with a point are decimals in some dialects."""
    if value is None:
        return cast(exp.null(), "double")
    return cast(value if isinstance(value, exp.Expr) else text(repr(float(value))), "double")


def cases(*pairs: tuple[exp.Expr, exp.Expr], default: exp.Expr | None = None) -> exp.Case:
    """Return the result of the first condition that holds."""
    return exp.Case(ifs=[exp.If(this=when, true=then) for when, then in pairs], default=default)


def any_of(*conditions: exp.Expr) -> exp.Expr:
    """Return whether one of some conditions holds."""
    return exp.or_(*conditions, copy=False)


def all_of(*conditions: exp.Expr) -> exp.Expr:
    """Return whether all of some conditions hold."""
    return exp.and_(*conditions, copy=False)


def missing(value: exp.Expr) -> exp.Expr:
    """Return whether a value is null."""
    return exp.Is(this=value.copy(), expression=exp.null())


def given(value: exp.Expr) -> exp.Expr:
    """Return whether a value is not null."""
    return exp.not_(missing(value), copy=False)


def number(value: exp.Expr, stored: Stored, dialect: str) -> exp.Expr:
    """Return a value as a double, null where it is none."""
    if stored is Stored.BOOLEAN:
        return cases((value, double(1.0)), (exp.not_(value), double(0.0)))
    if stored is Stored.TEXT:
        trimmed = exp.Trim(this=value)
        # The pattern comes first: PostgreSQL has no cast that may fail.
        read = exp.TryCast(this=trimmed.copy(), to=_type("double").copy(), requires_string=True)
        return cases((exp.RegexpLike(this=trimmed, expression=text(NUMBER)), read))
    if stored is Stored.DECIMAL and dialect == "postgres":
        # Of more digits than a double can have the size of; the first 300 say whether it is too large.
        value = exp.Substring(this=cast(value, "text"), start=whole(1), length=whole(300))
    numbers = (Stored.INTEGER, Stored.FLOAT, Stored.DECIMAL)
    return double(value) if stored in numbers else double(None)


def datetime_part(micros: exp.Expr, part: DatetimePart, moment: exp.Expr | None) -> exp.Expr:
    """Return a part of a date and time as a double; it and the row's own time are microseconds since 1970."""
    if part is DatetimePart.AGE_DAYS:
        return double(None) if moment is None else _quotient(exp.paren(moment - micros), DAY_MICROS)
    passed = _modulo(micros, DAY_MICROS)
    if part is DatetimePart.HOUR_OF_DAY:
        return _quotient(passed, HOUR_MICROS)
    days = cast(exp.Round(this=_quotient(exp.paren(micros - passed), DAY_MICROS)), "bigint")
    return double(_modulo(exp.paren(days + 3), 7))  # 1970 began on a Thursday


def hour_number(moment: exp.Expr) -> exp.Expr:
    """Return the hours since 1970 of microseconds: doubles tell the last one of an hour from the next hour."""
    return cast(exp.Floor(this=_quotient(moment, HOUR_MICROS)), "bigint")


def _quotient(micros: exp.Expr, by: int) -> exp.Expr:
    return exp.Div(this=double(micros), expression=double(by))


def micros(value: exp.Expr, stored: Stored, dialect: str) -> exp.Expr:
    """Return the microseconds from 1970 to a time, null for one that is in none of the years 1 to 9999."""
    if stored is Stored.DATE:
        value = cast(value, "timestamp")
    if dialect == "duckdb":
        found: exp.Expr = exp.func("EPOCH_US", value)
    elif dialect == "snowflake":
        found = exp.Anonymous(this="DATE_PART", expressions=[text("epoch_microsecond"), value])
    elif dialect == "bigquery":
        found = exp.Anonymous(this="UNIX_MICROS", expressions=[cast(value, "timestamptz")])
    elif dialect == "databricks":
        found = exp.Anonymous(this="UNIX_MICROS", expressions=[cast(value, "timestamp")])
    elif dialect == "trino":
        found = _micros(exp.Anonymous(this="TO_UNIXTIME", expressions=[value]))
    else:
        found = _micros(exp.Extract(this=exp.var("EPOCH"), expression=value))
    if dialect not in ("duckdb", "postgres"):
        return found
    # These have times at infinity.
    zone = Stored.TIME if stored is Stored.DATE else stored
    first, last = (moment(datetime(year, 1, 2, tzinfo=UTC), zone) for year in (1, 9999))
    return cases((all_of(value.copy() >= first, value.copy() < last), found))


def moment(at: datetime, stored: Stored) -> exp.Expr:
    """Return a moment in UTC as a column of times is compared with it."""
    zoned = stored is Stored.ZONED
    written = at.replace(tzinfo=None).isoformat(" ", "seconds")
    return cast(text(f"{written}+00:00" if zoned else written), "timestamptz" if zoned else "timestamp")


def _micros(seconds: exp.Expr) -> exp.Expr:
    return cast(exp.Round(this=seconds * 1_000_000), "bigint")


def _modulo(value: exp.Expr, by: int) -> exp.Expr:
    """Return the remainder, which is never negative."""
    positive = exp.paren(exp.Mod(this=value.copy(), expression=whole(by)) + by)
    return exp.Mod(this=positive, expression=whole(by))


def bin_number(value: exp.Expr, is_given: exp.Expr, stored: Stored, bins: NumericBins) -> exp.Expr:
    """Return the bin of a double, `NULL` or `INVALID`; `is_given` says whether there was a value at all.

    NaN is below nothing in some dialects and above infinity in others: in none is it below -`LARGEST`, whatever its
    sign, or at most `LARGEST`. As a float it is missing, as text it is no number.
    """
    lowest = double(-LARGEST)
    return cases(
        (any_of(value < lowest, exp.Neg(this=value.copy()) < lowest.copy()), whole(INVALID)),
        (value <= double(LARGEST), _bin(value, bins.edges.tolist(), 0, bins.size - 1)),
        *([] if stored is Stored.FLOAT else [(is_given, whole(INVALID))]),
        default=whole(NULL),
    )


def _bin(value: exp.Expr, edges: Sequence[float], first: int, last: int) -> exp.Expr:
    """Return a tree of comparisons: seven find one of a hundred bins."""
    if first == last:
        return whole(first)
    middle = (first + last) // 2
    below: exp.Expr = value < double(edges[middle])
    if middle and edges[middle] == np.nextafter(edges[middle - 1], np.inf):
        below = value <= double(edges[middle - 1])  # the next float may be one that a warehouse cannot write
    return cases((below, _bin(value, edges, first, middle)), default=_bin(value, edges, middle + 1, last))


def name_of(value: exp.Expr, stored: Stored, kind: ColumnKind) -> exp.Expr:
    """Return a value as text. It is known by it: the caller writes fractions and times as Arrow does."""
    found: exp.Expr = cast(value, "text")
    if stored is Stored.TEXT:
        found = value
    elif stored is Stored.BOOLEAN:
        found = cases((value, text("true")), (exp.not_(value), text("false")))
    elif stored is Stored.FLOAT:  # whole numbers come as floats where some are missing; NaN has no name
        low, high = value < double(2.0**53), exp.Neg(this=value.copy()) < double(2.0**53)
        same = exp.EQ(this=value.copy(), expression=exp.Floor(this=value.copy()))
        digits = cast(cast(value.copy(), "bigint"), "text")
        found = cases((all_of(low, high, same), digits), (any_of(low, high), found))
    if kind is not ColumnKind.BOOLEAN or stored is Stored.BOOLEAN:
        return found
    small = exp.Lower(this=found)
    pairs = (("1", "true"), ("0", "false"))
    words = ((exp.EQ(this=small.copy(), expression=text(digit)), text(word)) for digit, word in pairs)
    return cases(*words, default=small)


def one_of(value: exp.Expr, names: Sequence[str]) -> exp.Expr:
    """Return whether a text is one of some; no database holds text with a zero byte in it."""
    known = [text(name) for name in names if "\0" not in name]
    return exp.In(this=value, expressions=known) if known else exp.false()
