"""Records of counters: added up field by field, and written as plain numbers, lists and mappings.

Add a kind of field here when a record has one. Keep what is counted out: it belongs to the record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

import numpy as np

Record = TypeVar("Record")


def added(first: Record, second: Record, **own: Any) -> Record:
    """Return the sum of two records, field by field; `own` are those fields that do not simply add."""
    names = [entry.name for entry in fields(first) if entry.name not in own]  # type: ignore[arg-type]  # a dataclass
    return type(first)(**{name: _sum(getattr(first, name), getattr(second, name)) for name in names}, **own)


@dataclass(frozen=True, slots=True, eq=False)
class Counters:
    """Counters of some rows, all of which add; the default of each is that of no rows."""

    @classmethod
    def empty(cls) -> Self:
        """Return the record of no rows, the identity of `merge`."""
        return cls()

    def merge(self, other: Self) -> Self:
        """Return the record of both batches: counts exactly, sums up to floating-point rounding."""
        return added(self, other)

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, lists and mappings; of arrays only what is not zero."""
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        blank = cls()
        return cls(**{entry.name: _restored(document[entry.name], getattr(blank, entry.name)) for entry in fields(cls)})


def _sum(first: Any, second: Any) -> Any:
    if isinstance(first, Mapping):
        both = {name: _sum(first[name], second[name]) for name in first.keys() & second.keys()}
        found = {**first, **second, **both}
        return {name: found[name] for name in sorted(found)}
    return first.merge(second) if hasattr(first, "merge") else first + second


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        flat = value.ravel()
        (at,) = np.nonzero(flat)
        kind = "float" if value.dtype.kind == "f" else "int"
        return [kind, list(value.shape), at.tolist(), flat[at].tolist()]
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return value.to_json() if hasattr(value, "to_json") else value


def _restored(plain: Any, blank: Any) -> Any:
    if hasattr(blank, "from_json"):
        return blank.from_json(plain)
    if isinstance(plain, list):
        kind, shape, at, values = plain
        found = np.zeros(shape, np.float64 if kind == "float" else np.int64)
        found.ravel()[at] = values
        return found
    if isinstance(plain, Mapping):
        return {name: _restored(part, None) for name, part in plain.items()}
    return plain
