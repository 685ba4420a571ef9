"""The layout of reference rows: how each column is stored, the few values it has, and which columns keep an order.

Add what a change of meaning is recognised by, and a profile does not hold, here. Keep distributions out: they belong in
profiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring_pipeline.describe.columns import Column, ColumnKind, FloatArray
from monitoring_pipeline.describe.kernel import floats_with_nan
from monitoring_pipeline.describe.kinds import kind_of_type

KNOWN_VALUES = 256
"""Columns with more distinct numbers than this have none of them remembered."""

ORDER_ROWS = 20_000
"""Rows that orders are learnt from: spread evenly over the reference."""

BY_CHANCE = 0.01
"""An order says something of two columns that would be in the other order in this share of rows by chance."""

EXCEPTIONS = 0.001
"""Share of rows in which one column may exceed another that it is said never to exceed."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How columns of the log are stored, the distinct values of those with few, and pairs (smaller, larger)."""

    kinds: Mapping[str, ColumnKind] = field(default_factory=dict)
    known: Mapping[str, FloatArray] = field(default_factory=dict)
    orders: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, rows: pa.Table, columns: Sequence[Column]) -> "Layout":
        """Return the layout of reference rows; `columns` are those whose layout matters."""
        sources = dict.fromkeys(column.read_from for column in columns if column.read_from in rows.column_names)
        kinds = {name: kind for name in sources if (kind := stored_kind(rows[name])) is not None}
        numbers = {
            column.name: floats_with_nan(rows[column.name], column.kind)
            for column in columns
            if column.kind is ColumnKind.NUMERIC and column.name in kinds
        }
        distinct = {name: np.unique(values[np.isfinite(values)]) for name, values in numbers.items()}
        known = {name: values for name, values in distinct.items() if len(values) <= KNOWN_VALUES}
        return cls(kinds, known, _orders(numbers, distinct))

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        return {
            "kinds": {name: kind.value for name, kind in self.kinds.items()},
            "known": {name: values.tolist() for name, values in self.known.items()},
            "orders": [list(pair) for pair in self.orders],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Layout":
        return cls(
            {name: ColumnKind(kind) for name, kind in document["kinds"].items()},
            {name: np.asarray(values, dtype=np.float64) for name, values in document["known"].items()},
            tuple((smaller, larger) for smaller, larger in document["orders"]),
        )


def stored_kind(column: pa.ChunkedArray) -> ColumnKind | None:
    """Return what a column holds, from the type it is stored in; None where that says nothing: no value, or a list."""
    type_ = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return None if column.null_count == len(column) else kind_of_type(type_)


def _orders(numbers: Mapping[str, FloatArray], distinct: Mapping[str, FloatArray]) -> tuple[tuple[str, str], ...]:
    """Return the pairs whose first column does not exceed the second, where their distributions do not say so."""
    found = []
    for smaller in numbers:
        for larger in numbers:
            if smaller == larger or not len(distinct[smaller]) or not len(distinct[larger]):
                continue
            if distinct[smaller][-1] < distinct[larger][0] or distinct[smaller][0] > distinct[larger][-1]:
                continue
            if _exceeding_by_chance(numbers[smaller], numbers[larger]) < BY_CHANCE:
                continue
            below, above, both = order_counts(numbers[smaller], numbers[larger])
            if above <= EXCEPTIONS * both and below >= 0.9 * both and both:
                found.append((smaller, larger))
    return tuple(found)


def _exceeding_by_chance(first: FloatArray, second: FloatArray) -> float:
    """Return how often the first column would exceed the second if the two had nothing to do with each other."""
    first, second = (each[np.isfinite(each)][:: -(-len(each) // ORDER_ROWS) or 1] for each in (first, second))
    return float(np.searchsorted(np.sort(second), first).mean() / len(second))


def order_counts(first: FloatArray, second: FloatArray) -> tuple[int, int, int]:
    """Return in how many rows the first column is below the second, above it, and both are numbers.

    Of more than `ORDER_ROWS` rows, so many evenly spaced ones are looked at.
    """
    step = -(-len(first) // ORDER_ROWS) or 1
    first, second = first[::step], second[::step]
    both = int((np.isfinite(first) & np.isfinite(second)).sum())
    return int((first < second).sum()), int((first > second).sum()), both
