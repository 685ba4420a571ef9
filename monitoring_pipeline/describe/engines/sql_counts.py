"""The counters of columns as statements, and what their answers say.

Add a counter of profiles here when the kernel has it. Keep which rows are counted out: it belongs in `sql`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from sqlglot import exp

from monitoring_pipeline.describe.columns import (
    KNOWN_CATEGORIES,
    CategoricalBins,
    Column,
    ColumnKind,
    DatetimePart,
    NumericBins,
    bins_digest,
)
from monitoring_pipeline.describe.engines.sql_tables import (
    LoggedTable,
    Part,
    Run,
    by_bytes,
    row_count,
    rows_of,
    statement,
    unreadable,
)
from monitoring_pipeline.describe.engines.sql_values import (
    INVALID,
    NULL,
    TINY,
    Stored,
    all_of,
    any_of,
    bin_number,
    cases,
    cast,
    datetime_part,
    double,
    given,
    missing,
    name_of,
    number,
    one_of,
    quoted,
    whole,
)
from monitoring_pipeline.describe.kernel import Tally, category_names
from monitoring_pipeline.describe.profiles import ColumnProfile, Profile
from monitoring_pipeline.describe.segments import Segmentation
from monitoring_pipeline.errors import MonitoringError, TableError

COLUMNS_AT_ONCE = 10
"""What one statement counts: some warehouses take no more than a million letters."""

MOST_NAMES = KNOWN_CATEGORIES
"""New categories of an hour that are fetched by name, the most frequent ones; of the others the rows are counted."""


@dataclass(frozen=True, slots=True)
class ColumnCounts:
    """Columns of a table that are counted, over all rows and over those of every segment."""

    table: LoggedTable
    columns: Mapping[str, Column]
    cuts: Sequence[Segmentation]
    timed: bool = True

    def sources(self) -> list[exp.Expr]:
        """Return what is read of the table: each column once, times as microseconds too."""
        found = []
        for place, name in enumerate(self._read()):
            found.append(self.table.own(name).as_(f"c{place}", quoted=True))
            if self.table.stored(name).is_temporal:
                found.append(self.table.micros(name).as_(f"t{place}", quoted=True))
        return found

    def profiles(self, run: Run, placed: Sequence[Part], version: str) -> dict[int, list[Profile]]:
        """Return the profiles by hours since 1970: of all rows, then of the segments that have any."""
        rows = {(hour, segment): int(count) for hour, segment, count in run(self._sizes(placed))}
        lines: dict[tuple[str, int, int], list[Sequence[Any]]] = {}
        names = [name for name, column in self.columns.items() if column.read_from in self.table.fields]
        for start in range(0, len(names), COLUMNS_AT_ONCE):
            for item, hour, segment, *line in self._lines(run, placed, names[start : start + COLUMNS_AT_ONCE]):
                lines.setdefault((item, hour, segment), []).append(line)
        digest, segments = bins_digest(self.columns), ["", *(name for cut in self.cuts for name in cut.names())]
        found: dict[int, list[Profile]] = {}
        for (hour, segment), count in sorted(rows.items()):
            columns = {
                name: self._column(column, lines.get((name, hour, segment), []), count)
                for name, column in self.columns.items()
            }
            found.setdefault(hour, []).append(Profile(version, count, columns, segments[segment], digest))
        return found

    def _lines(self, run: Run, placed: Sequence[Part], names: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Yield lines of the answer, whose first entry becomes the column's name; errors name the column."""
        statement = self._counts(placed, names)
        try:
            answer = run(statement)
        except MonitoringError as error:
            for name in names if len(names) > 1 else ():
                list(self._lines(run, placed, [name]))
            where = f"log in table {self.table.name!r}, column(s) {', '.join(map(repr, names))}"
            raise TableError(f"{where}: they cannot be counted. {error}") from error
        for item, *line in answer:
            yield names[item], *line

    def _read(self) -> list[str]:
        names = [column.read_from for column in self.columns.values()] + [cut.column for cut in self.cuts]
        return [name for name in dict.fromkeys(names) if name in self.table.fields]

    def _raw(self, name: str) -> tuple[exp.Expr, exp.Expr, Stored]:
        """Return a column as `sources` calls it, and as microseconds; and what it holds."""
        place = self._read().index(name)
        return quoted(f"c{place}"), quoted(f"t{place}"), self.table.stored(name)

    def _sizes(self, placed: Sequence[Part]) -> str:
        """Return the statement that finds hour, segment and rows."""
        keys = self._segments()
        valued = rows_of("placed", quoted("hour"), *self._segment_numbers())
        each = [
            exp.select(quoted("hour"), key.as_("segment", quoted=True), row_count())
            .from_(exp.table_("valued", quoted=True))
            .group_by(*_grouped(quoted("hour"), key))
            for key in keys
        ]
        return statement([*placed, ("valued", valued)], _all(each), self.table.dialect)

    def _counts(self, placed: Sequence[Part], names: Sequence[str]) -> str:
        """Return the statement that counts some columns: item, hour, segment, bin, name, rows, sum, squares, ends."""
        columns = [self.columns[name] for name in names]
        values: list[exp.Expr] = [quoted("hour"), *self._segment_numbers()]
        places: list[exp.Expr] = [exp.Star()]
        for item, column in enumerate(columns):
            value, given, stored = self._value(column)
            values.append(value.as_(f"x{item}", quoted=True))
            if isinstance(column.bins, NumericBins):
                values.append(cases((given, whole(1))).as_(f"g{item}", quoted=True))
                there = exp.EQ(this=quoted(f"g{item}"), expression=whole(1))
                place = bin_number(quoted(f"x{item}"), there, stored, column.bins)
                places.append(exp.alias_(place, f"b{item}", quoted=True, copy=False))
        valued = rows_of("placed", *values)
        binned = rows_of("valued", *places)
        each = [
            _of_numbers(item, bins.center, key)
            if isinstance(bins := column.bins, NumericBins)
            else _of_names(item, bins, key, self.table.dialect)
            for item, column in enumerate(columns)
            for key in self._segments()
        ]
        return statement([*placed, ("valued", valued), ("binned", binned)], _all(each), self.table.dialect)

    def _value(self, column: Column) -> tuple[exp.Expr, exp.Expr, Stored]:
        """Return a column as a double, or as a name; when it is unusable if that is null; and what it holds."""
        raw, time, stored = self._raw(column.read_from)
        if not isinstance(column.bins, NumericBins):
            return name_of(raw, stored, column.kind), given(raw), stored
        if column.kind is not ColumnKind.DATETIME:
            return number(raw, stored, self.table.dialect), given(raw), stored
        if stored is Stored.TEXT:
            raise unreadable(self.table, column.read_from, "a timestamp or a date")
        if not stored.is_temporal:
            return double(None), given(raw), stored
        own = quoted("moment") if self.timed else None
        found = datetime_part(time, column.part or DatetimePart.HOUR_OF_DAY, own)
        return found, all_of(given(raw), missing(time)), stored

    def _segment_numbers(self) -> Iterator[exp.Expr]:
        first = 1
        for place, cut in enumerate(self.cuts):
            raw, _, stored = self._raw(cut.column)
            name = name_of(raw, stored, cut.kind)
            pairs = [(one_of(name.copy(), [value]), whole(first + at)) for at, value in enumerate(cut.values)]
            rest = whole(first + len(cut.values))
            yield (cases(*pairs, default=rest) if pairs else rest).as_(f"s{place}", quoted=True)
            first += len(cut.values) + 1

    def _segments(self) -> list[exp.Expr]:
        return [whole(0), *(quoted(f"s{place}") for place in range(len(self.cuts)))]

    def _column(self, column: Column, lines: Sequence[Sequence[Any]], rows: int) -> ColumnProfile:
        if column.read_from not in self.table.fields:
            return replace(ColumnProfile.empty(column.bins), nulls=rows)
        if isinstance(column.bins, NumericBins):
            return _numbers(lines, column.bins)
        return _names(lines, column.bins, self.table.stored(column.read_from), column.kind)


def _of_numbers(item: int, center: float, segment: exp.Expr) -> exp.Select:
    """Return the lines of a column of numbers, one for each bin that has rows."""
    place = quoted(f"b{item}")
    usable = cases((place >= whole(0), quoted(f"x{item}")))
    keys = [quoted("hour"), segment, place]
    values = rows_of("binned", *_keyed(keys), usable.as_("x", quoted=True))
    centred = exp.paren(quoted("x") - double(center))
    tiny = double(TINY)
    small = all_of(centred.copy() < tiny, exp.Neg(this=centred.copy()) < tiny.copy())
    square = cases((small, double(0.0)), default=centred.copy() * centred.copy())
    return (
        exp.select(whole(item).as_("item", quoted=True), *map(quoted, KEYS), cast(exp.null(), "text"), row_count())
        .select(exp.Sum(this=centred), exp.Sum(this=square), exp.Min(this=quoted("x")), exp.Max(this=quoted("x")))
        .from_(values.subquery("each"))
        .group_by(*map(quoted, KEYS))
    )


def _of_names(item: int, bins: CategoricalBins, segment: exp.Expr, dialect: str) -> exp.Select:
    """Return the lines of a column of categories: of known and frequent new ones in bin 0, of all others in bin 1."""
    known = one_of(quoted("name"), (*bins.categories, *bins.others))
    keys = [quoted("hour"), segment, quoted(f"x{item}")]
    each = rows_of("binned", *_keyed(keys, ("hour", "segment", "name")))
    names = [quoted(key) for key in ("hour", "segment", "name")]
    counted = exp.select(*names, exp.Count(this=exp.Star()).as_("rows", quoted=True)).from_(each.subquery("each"))
    is_known = cases((any_of(missing(quoted("name")), known), whole(1)), default=whole(0))
    flagged = exp.select(exp.Star(), is_known.as_("known", quoted=True)).from_(
        counted.group_by(*names).subquery("counted")
    )
    rank = exp.Window(
        this=exp.RowNumber(),
        partition_by=[quoted("hour"), quoted("segment"), quoted("known")],
        order=exp.Order(
            expressions=[
                exp.Ordered(this=quoted("rows"), desc=True, nulls_first=False),
                exp.Ordered(this=by_bytes(quoted("name"), dialect), desc=False, nulls_first=False),
            ]
        ),
    )
    ranked = exp.select(exp.Star(), rank.as_("place", quoted=True)).from_(flagged.subquery("flagged"))
    kept = any_of(exp.EQ(this=quoted("known"), expression=whole(1)), quoted("place") <= whole(MOST_NAMES))
    chosen = exp.select(
        *(quoted(key) for key in ("hour", "segment", "rows")),
        cases((kept, whole(0)), default=whole(1)).as_("bin", quoted=True),
        cases((kept.copy(), quoted("name"))).as_("name", quoted=True),
    ).from_(ranked.subquery("ranked"))
    total = cast(exp.Sum(this=quoted("rows")), "bigint")
    return (
        exp.select(whole(item).as_("item", quoted=True), *map(quoted, KEYS), quoted("name"), total)
        .select(*(double(None) for _ in range(4)))
        .from_(chosen.subquery("chosen"))
        .group_by(*map(quoted, KEYS), quoted("name"))
    )


KEYS = ("hour", "segment", "bin")


def _keyed(keys: Sequence[exp.Expr], names: Sequence[str] = KEYS) -> Iterator[exp.Expr]:
    return (key.as_(name, quoted=True) for key, name in zip(keys, names, strict=True))


def _grouped(*keys: exp.Expr) -> list[exp.Expr]:
    """Return what is grouped by: a constant would be read as the place of a column."""
    return [key.copy() for key in keys if isinstance(key, exp.Column)]


def _all(queries: Sequence[exp.Select]) -> exp.Query:
    found: exp.Query = queries[0]
    for query in queries[1:]:
        found = exp.union(found, query, distinct=False, copy=False)
    return found


def _numbers(lines: Sequence[Sequence[Any]], bins: NumericBins) -> ColumnProfile:
    counts, sums = np.zeros(bins.size, np.int64), np.zeros(bins.size)
    special = {place: int(rows) for place, _, rows, *_ in lines if place < 0}
    found = [line for line in lines if line[0] >= 0]
    for place, _, rows, total, *_ in found:
        counts[place], sums[place] = rows, total
    nulls, invalid = special.get(NULL, 0), special.get(INVALID, 0)
    squares = math.fsum(line[4] for line in found)
    # 0 and -0 are equal: which of them a warehouse returns says nothing.
    low, high = (
        min((line[5] + 0.0 for line in found), default=np.inf),
        max((line[6] + 0.0 for line in found), default=-np.inf),
    )
    return ColumnProfile(counts, sums, squares, nulls, invalid, low, high)


def _names(lines: Sequence[Sequence[Any]], bins: CategoricalBins, stored: Stored, kind: ColumnKind) -> ColumnProfile:
    kept = [(name, int(rows)) for place, name, rows, *_ in lines if place == 0]
    rest = sum(int(rows) for place, _, rows, *_ in lines if place == 1)
    values = _typed([name for name, _ in kept], Stored.TEXT if kind is ColumnKind.BOOLEAN else stored)
    encoded = category_names(pa.chunked_array([values]), kind).combine_chunks().dictionary_encode()
    total = np.zeros(len(encoded.dictionary) + 1, np.int64)
    codes = np.asarray(encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False), np.int64)
    np.add.at(total, codes, np.array([rows for _, rows in kept], np.int64))
    found = ColumnProfile.of_counted(Tally(encoded.dictionary, total[:-1], int(total[-1])), bins)
    if not rest:
        return found
    if bins.complete:
        return replace(found, unseen_rows=found.unseen_rows + rest, distinct=None)
    return replace(found, counts=found.counts + np.append(np.zeros(bins.size - 1, np.int64), rest), distinct=None)


def _typed(names: Sequence[str | None], stored: Stored) -> pa.Array:
    """Return values that came as text as the log has them, so that they are written in one way."""
    read: Callable[[str], Any] = str
    if stored is Stored.FLOAT:
        read = float
    elif stored is Stored.DECIMAL:
        read = Decimal
    elif stored in (Stored.TIME, Stored.ZONED):
        zone = "UTC" if stored is Stored.ZONED else None
        times = [None if name is None else datetime.fromisoformat(name) for name in names]
        return pa.array([at and at.astimezone(UTC) if zone else at for at in times], pa.timestamp("us", tz=zone))
    values = [None if name is None else read(name) for name in names]
    return pa.array(values) if any(value is not None for value in values) else pa.nulls(len(values), pa.string())
