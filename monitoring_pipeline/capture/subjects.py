"""One person or thing that rows are about, and which rows those are.

Add a form of rows here that names its subject in a way of its own. Keep files and databases out: they belong in stores.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.predictions import as_text

ANOTHER_COLUMN, ITS_VALUE = "column", "value"
"""Columns of quarantined values, each of which is a value of some column of the log."""


@dataclass(frozen=True, slots=True, repr=False)
class Subject:
    """The values of a column that one subject has, and the ids of its predictions as far as they are known.

    `keys` are the columns that ids of predictions stand in: rows without any are about nobody.
    """

    column: str
    values: frozenset[str]
    keys: tuple[str, ...]
    ids: frozenset[str] = frozenset()

    def with_ids(self, ids: Collection[str]) -> "Subject":
        """Return the subject, of whom more is known."""
        return replace(self, ids=self.ids | frozenset(ids))

    def key(self, names: Collection[str]) -> str | None:
        """Return the column that the ids of predictions stand in."""
        return next((name for name in self.keys if name in names), None)

    def named_in(self, names: Collection[str]) -> bool:
        """Whether rows with such columns name the subject themselves, and not only a prediction of it."""
        return self.column in names and not {ANOTHER_COLUMN, ITS_VALUE} <= {*names}

    def rows_of(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Return which rows are about the subject."""
        names, key = rows.column_names, self.key(rows.column_names)
        if key is None:
            return np.zeros(rows.num_rows, bool)
        if self.named_in(names):
            return _is_in(rows[self.column], self.values)
        found = _is_in(rows[key], self.ids)
        if {ANOTHER_COLUMN, ITS_VALUE} <= {*names}:
            found |= _is_in(rows[ANOTHER_COLUMN], {self.column}) & _is_in(rows[ITS_VALUE], self.values)
        return found

    def ids_in(self, rows: pa.Table) -> set[str]:
        """Return the ids of the predictions that some rows say are the subject's."""
        key = self.key(rows.column_names)
        if key is None or not self.named_in(rows.column_names):
            return set()
        ids = as_text(rows[key].filter(pa.array(self.rows_of(rows))))
        return {each for each in ids.to_pylist() if each is not None}


def _is_in(column: pa.ChunkedArray, values: Collection[str]) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.is_in(as_text(column), value_set=pa.array(sorted(values), pa.string())), bool)
