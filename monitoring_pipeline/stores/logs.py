"""What every store of a log does with rows: which of them have a time, and how batches of several types are one table.

Add a rule here when all stores of logs follow it. Keep files and databases out: they belong in `parquet`,
`postgres_log` and `sql_log`.
"""

from collections.abc import Sequence

import pyarrow as pa

from monitoring_pipeline.capture.predictions import as_utc, require_columns
from monitoring_pipeline.describe.kernel import category_names


def by_presence_of_time(rows: pa.Table, time: str) -> tuple[pa.Table, pa.Table]:
    """Return the rows whose time can be read, with times in UTC, and those without, as they came."""
    require_columns(rows, [time], table="rows to store")
    moments = as_utc(rows[time], name=time, table="rows to store", each_alone=True)
    placed = rows.set_column(rows.column_names.index(time), time, moments)
    return placed.filter(moments.is_valid()), rows.filter(moments.is_null())


def together(tables: Sequence[pa.Table]) -> pa.Table | None:
    """Return tables as one; None for no tables.

    A column whose type differs between them becomes text where no type holds both: a producer that suddenly writes
    numbers as text must not cost the other columns.
    """
    if not tables:
        return None
    if (found := _concatenated(tables)) is not None:
        return found
    names = {name for table in tables for name in table.column_names}
    mixed = [
        name for name in names if _concatenated([t.select([name]) for t in tables if name in t.column_names]) is None
    ]
    return pa.concat_tables([_with_text(table, mixed) for table in tables], promote_options="permissive")


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table | None:
    """Return tables as one, or None where a column has no type that holds what all of them have in it."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        return None


def _with_text(table: pa.Table, names: Sequence[str]) -> pa.Table:
    for name in names:
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, category_names(table[name]))
    return table
