"""Groups of people or things that a model should treat alike: the values of protected attributes, and of pairs of them.

Add another way of forming groups here. Keep what is compared between groups out: it belongs in evaluate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.describe.kernel import category_names
from monitoring_pipeline.describe.segments import REST

AND = " & "
MISSING = "(missing)"


@dataclass(frozen=True, slots=True)
class Grouping:
    """Protected attributes, whether pairs of them make groups too, and how many groups each is cut into at most."""

    attributes: tuple[str, ...] = ()
    intersections: bool = True
    most: int = 20

    def sets(self) -> list[tuple[str, ...]]:
        """Return the attributes, and the pairs of them, whose groups are compared with each other."""
        pairs = combinations(self.attributes, 2) if self.intersections else ()
        return [*((name,) for name in self.attributes), *pairs]

    def split(self, rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        """Yield the groups that have rows, such as `sex=F` and `sex=F & age=young`; the rarest are one together."""
        for names in self.sets():
            if not set(names) <= set(rows.column_names):
                continue
            values = _named(rows, names).dictionary_encode().combine_chunks()
            counts = pc.value_counts(values.cast(pa.string()))
            ranked = sorted(counts.to_pylist(), key=lambda each: (-each["counts"], each["values"]))
            kept = [each["values"] for each in ranked[: self.most]]
            place = pc.fill_null(pc.index_in(values.cast(pa.string()), pa.array(kept, pa.string())), len(kept))
            for number, group in enumerate([*kept, AND.join(f"{name}={REST}" for name in names)]):
                part = rows.filter(pc.equal(place, number))
                if part.num_rows:
                    yield group, part


def attributes_of(group: str) -> tuple[str, ...]:
    """Return the attributes a group is of."""
    return tuple(part.partition("=")[0] for part in group.split(AND))


def _named(rows: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    parts = [
        pc.binary_join_element_wise(f"{name}=", pc.fill_null(category_names(rows[name]), MISSING), "") for name in names
    ]
    return pc.binary_join_element_wise(*parts, AND)
