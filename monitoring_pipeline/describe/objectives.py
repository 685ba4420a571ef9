"""Objective counts: what kept a promise and all that could have, hour by hour, in counters that add up.

Add a counter here when budgets need it. Keep promises out, and what breaks one: they belong in judge.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monitoring_pipeline.describe.counters import Counters

Count = tuple[int, int]
"""Good events, and all events of which it is known whether they were good."""


@dataclass(frozen=True, slots=True)
class ObjectiveCounts(Counters):
    """Good and known events by objective: requests, or hours. What is not known is in neither of the two."""

    counts: Mapping[str, Count] = field(default_factory=dict)

    @classmethod
    def of(cls, hours: Iterable[Mapping[str, Count]]) -> "ObjectiveCounts":
        """Return the counts of several hours, each by objective."""
        counts: dict[str, Count] = {}
        for hour in hours:
            for name, (good, known) in hour.items():
                before = counts.get(name, (0, 0))
                counts[name] = before[0] + good, before[1] + known
        return cls(counts)

    def merge(self, other: "ObjectiveCounts") -> "ObjectiveCounts":
        """Return the counts of both."""
        return self.of([self.counts, other.counts])

    def to_json(self) -> dict[str, list[int]]:
        """Return plain numbers."""
        return {name: list(count) for name, count in self.counts.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, list[int]]) -> "ObjectiveCounts":
        return cls({name: (good, known) for name, (good, known) in document.items()})
