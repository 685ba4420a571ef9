"""Segments: parts of the traffic that are described on their own, one for each frequent value of a column.

Add another way of cutting traffic into segments here. Keep what is measured per segment out: it belongs in evaluate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.kernel import category_counts, category_names

REST = "(other)"
"""The segment of values too rare for one of their own, of new values and of missing ones."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A column and those of its values that make a segment each; all other rows make one together."""

    column: str
    kind: ColumnKind
    values: tuple[str, ...]

    @classmethod
    def of(cls, values: pa.ChunkedArray, column: str, kind: ColumnKind, *, most: int) -> "Segmentation":
        """Return a segment for each of the `most` most frequent values."""
        counts = category_counts(values, kind)
        ranked = sorted(counts, key=lambda name: (-counts[name], name))
        return cls(column, kind, tuple(ranked[:most]))

    def names(self) -> list[str]:
        """Return the names of all segments, such as `origin=JFK`."""
        return [f"{self.column}={value}" for value in (*self.values, REST)]

    def split(self, rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        """Yield the segments that have rows, by name."""
        names = category_names(rows[self.column], self.kind)
        place = pc.fill_null(pc.index_in(names, pa.array(self.values, pa.string())), len(self.values))
        for index, name in enumerate(self.names()):
            part = rows.filter(pc.equal(place, index))
            if part.num_rows:
                yield name, part

    def to_json(self) -> dict[str, Any]:
        return {"column": self.column, "kind": self.kind.value, "values": list(self.values)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Segmentation":
        return cls(document["column"], ColumnKind(document["kind"]), tuple(document["values"]))


def split_all(rows: pa.Table, segmentations: Sequence[Segmentation]) -> Iterator[tuple[str, pa.Table]]:
    """Yield the segments of every segmentation whose column the rows have."""
    for segmentation in segmentations:
        if segmentation.column in rows.column_names:
            yield from segmentation.split(rows)
