"""Rows of a prediction log with a value that cannot be used, one line for each such value, with the reason.

A row without an id or a time has no place in any hour and counts in no statistic; one with a bad value stays, and the
value counts as unusable. Add a reason here. Keep rates and limits out: they belong in evaluate and judge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.arrays import row_numbers
from monitoring_pipeline.capture.predictions import TIME_TYPE, LogColumns, as_text, as_utc
from monitoring_pipeline.describe.columns import ColumnKind, DatetimePart, IntArray
from monitoring_pipeline.describe.kernel import LARGEST, category_names, column_values, floats_with_nan, is_text
from monitoring_pipeline.errors import TableError

SHOWN = 120
"""Characters of a bad value that are kept."""

SCHEMA = pa.schema(
    {
        "prediction_id": pa.string(),
        "predicted_at": TIME_TYPE,
        "column": pa.string(),
        "reason": pa.string(),
        "value": pa.string(),
    }
)


class Reason(StrEnum):
    """Why a value cannot be used."""

    MISSING_ID = "missing_id"
    MISSING_TIME = "missing_time"
    UNREADABLE_TIME = "unreadable_time"
    BAD_TYPE = "bad_type"  # text in a number, what is no time in a time, neither yes nor no in a boolean
    INFINITE = "infinite"  # or further from zero than can be added up
    OVERSIZED = "oversized"
    OUT_OF_BOUNDS = "out_of_bounds"  # a probability that is none


UNPLACED = frozenset({Reason.MISSING_ID, Reason.MISSING_TIME, Reason.UNREADABLE_TIME})
"""Reasons for which the whole row is left out."""


@dataclass(frozen=True, slots=True)
class IntakePlan:
    """What the columns of a log should hold: features and outputs by kind, and which of them are probabilities.

    longest: characters of a text, beyond which it is no category but a document. kept: values listed for each hour.
    """

    columns: LogColumns
    kinds: Mapping[str, ColumnKind]
    features: Sequence[str] = ()
    probabilities: Sequence[str] = ()
    longest: int = 1000
    kept: int = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """The rows in which one column has a value that cannot be used for one reason."""

    column: str
    reason: Reason
    rows: IntArray


Mask = npt.NDArray[np.bool_]


def problems_of(rows: pa.Table, plan: IntakePlan) -> list[Problem]:
    """Return everything wrong with the values of some rows as they were logged; missing values of features are not."""
    found = [*_of_keys(rows, plan.columns)]
    for name, kind in plan.kinds.items():
        if name not in rows.column_names or name in (plan.columns.prediction_id, plan.columns.predicted_at):
            continue
        try:
            parts = list(_of_values(rows[name], name, kind, plan))
        except Exception:  # noqa: BLE001 - what nothing here can read is of a bad type, and costs no other column
            parts = [(Reason.BAD_TYPE, _mask(rows[name].is_valid()))]
        found += (Problem(name, reason, np.flatnonzero(mask)) for reason, mask in parts)
    return [problem for problem in found if len(problem.rows)]


def _of_keys(rows: pa.Table, columns: LogColumns) -> Iterator[Problem]:
    key, time = columns.prediction_id, columns.predicted_at
    if key in rows.column_names:
        ids = as_text(rows[key])
        yield Problem(key, Reason.MISSING_ID, np.flatnonzero(_mask(ids.is_null())))
    if time in rows.column_names:
        given, read = _mask(rows[time].is_valid()), _mask(times_of(rows[time], time).is_valid())
        yield Problem(time, Reason.MISSING_TIME, np.flatnonzero(~given))
        yield Problem(time, Reason.UNREADABLE_TIME, np.flatnonzero(given & ~read))


def times_of(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return the moments of rows, null where there is none or none can be read, even in no row."""
    try:
        return as_utc(column, name=name, table="prediction log", each_alone=True)
    except TableError:
        return pa.chunked_array([pa.nulls(len(column), TIME_TYPE)])


def _of_values(column: pa.ChunkedArray, name: str, kind: ColumnKind, plan: IntakePlan) -> Iterator[tuple[Reason, Mask]]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    given = _mask(pc.and_(column.is_valid(), pc.invert(column.is_null(nan_is_null=True))))
    if is_text(column.type):
        long = given & _mask(pc.fill_null(pc.greater(pc.utf8_length(column), plan.longest), False))
        yield Reason.OVERSIZED, long
        given = given & ~long
    if kind is ColumnKind.BOOLEAN:
        known = pc.is_in(category_names(column, kind), value_set=pa.array(["true", "false"]))
        yield Reason.BAD_TYPE, given & ~_mask(known)
    elif kind is ColumnKind.DATETIME:
        pieces = pa.table({name: column})
        yield Reason.BAD_TYPE, given & np.isinf(_floats(column_values(pieces, name, DatetimePart.HOUR_OF_DAY, None)))
    elif kind is ColumnKind.NUMERIC:
        values = _floats(column)
        yield Reason.BAD_TYPE, given & np.isnan(values)
        yield Reason.INFINITE, given & (np.abs(values) > LARGEST)
    if name in plan.probabilities:
        values = _floats(column)
        yield Reason.OUT_OF_BOUNDS, given & (np.abs(values) <= LARGEST) & ((values < 0) | (values > 1))


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return floats_with_nan(column, ColumnKind.NUMERIC)


def _mask(flags: pa.ChunkedArray) -> Mask:
    return np.asarray(flags.to_numpy(), dtype=np.bool_)


def quarantined(rows: pa.Table, problems: Sequence[Problem], plan: IntakePlan) -> pa.Table:
    """Return a line for each bad value: whose it is, the column, the reason and the value as harmless text.

    Of every column and reason at most an equal part of `plan.kept`, those of the first ids, so that one column full of
    rubbish hides no other; all of them are counted (`describe.intake`).
    """
    columns, each = plan.columns, max(plan.kept // max(len(problems), 1), 1)
    names = [columns.prediction_id, columns.predicted_at]
    ids, moments = (rows[name] if name in rows.column_names else None for name in names)
    texts = as_text(ids) if ids is not None else None
    times = times_of(moments, names[1]) if moments is not None else None
    tables = []
    for problem in problems:
        place = row_numbers(problem.rows)
        count = len(problem.rows)
        part = pa.table(
            {
                "prediction_id": texts.take(place) if texts is not None else pa.nulls(count, pa.string()),
                "predicted_at": times.take(place) if times is not None else pa.nulls(count, TIME_TYPE),
                "row": place,
            }
        ).sort_by([("prediction_id", "ascending"), ("predicted_at", "ascending")])[:each]
        values = as_text(rows[problem.column].take(part["row"].combine_chunks())).to_pylist()
        tables.append(
            part.drop_columns(["row"])
            .append_column("column", pa.array([problem.column] * part.num_rows, pa.string()))
            .append_column("reason", pa.array([problem.reason.value] * part.num_rows, pa.string()))
            .append_column("value", pa.array([_shown(value) for value in values], pa.string()))
        )
    return pa.concat_tables(tables).cast(SCHEMA) if tables else SCHEMA.empty_table()


def _shown(text: str | None) -> str | None:
    """Return a value as short text without anything that does not print."""
    if text is None:
        return None
    short = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text[: SHOWN + 1])
    return short if len(short) <= SHOWN else f"{short[: SHOWN - 1]}…"
