"""Operations profiles: how requests were answered, as the prediction log tells it, in counters that add up.

Add a counter here when it is additive and a metric of operations needs it. Keep metrics out: they belong in evaluate.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring_pipeline.capture.arrays import int_values
from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.counters import Counters, added
from monitoring_pipeline.describe.kernel import numeric_values, tally
from monitoring_pipeline.describe.log_histogram import LogHistogram, counts_from_json, counts_to_json

HEAVIEST = 20
"""Error types and answering parts that are told apart; of the others only the rows are counted."""

LONGEST = 100
"""Letters of a status that are kept."""

SUCCESS = re.compile(r"(?i)\s*|ok|success|2\d\d(\.0)?( .*)?")
"""What a status says when all is well."""


@dataclass(frozen=True, slots=True)
class OperationsProfile(Counters):
    """Counters of the requests of one hour and version; all of them add.

    errors: rows with a status other than success; error_types: the heaviest of them. answered: rows that say who
    answered, served_by: the heaviest of those. latency: seconds by stage; unusable: stage -> rows whose latency is no
    number, infinite or negative. batched: rows that say how many were scored at once, in so many batches, of which the
    largest had largest_batch. minutes: rows by minute since 1970.
    """

    rows: int = 0
    errors: int = 0
    error_types: Mapping[str, int] = field(default_factory=dict)
    answered: int = 0
    served_by: Mapping[str, int] = field(default_factory=dict)
    latency: Mapping[str, LogHistogram] = field(default_factory=dict)
    unusable: Mapping[str, int] = field(default_factory=dict)
    batched: int = 0
    batches: float = 0.0
    largest_batch: int = 0
    minutes: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pa.Table, columns: LogColumns) -> "OperationsProfile":
        """Return the profile of prepared predictions (`capture.predictions.prepare_predictions`)."""
        statuses = _counts(rows, columns.status)
        errors = {name: count for name, count in statuses.items() if SUCCESS.fullmatch(name) is None}
        answers = _counts(rows, columns.served_by)
        latency, unusable = {}, {}
        for stage, name in columns.latency_ms.items():
            values = numeric_values(rows[name], ColumnKind.NUMERIC)
            usable = values.finite[values.finite >= 0]
            latency[stage] = LogHistogram.of(usable / 1000)
            unusable[stage] = values.invalid + len(values.finite) - len(usable)
        sizes = np.zeros(0)
        if columns.batch_rows is not None:
            sizes = numeric_values(rows[columns.batch_rows], ColumnKind.NUMERIC).finite
            sizes = sizes[sizes >= 1]
        times = int_values(rows[columns.predicted_at].cast(pa.int64()))
        minutes, counts = np.unique(times // 60_000_000, return_counts=True)
        return cls(
            rows=rows.num_rows,
            errors=sum(errors.values()),
            error_types=_heaviest(errors),
            answered=sum(answers.values()),
            served_by=_heaviest(answers),
            latency=latency,
            unusable=unusable,
            batched=len(sizes),
            batches=float((1 / sizes).sum()),  # a batch of n rows is logged n times
            largest_batch=int(sizes[-1]) if len(sizes) else 0,
            minutes=dict(zip(minutes.tolist(), counts.tolist(), strict=True)),
        )

    def merge(self, other: "OperationsProfile") -> "OperationsProfile":
        """Return the profile of both batches: counts exactly, sums up to floating-point rounding.

        The rows of single error types are exact until more than `HEAVIEST` of them have occurred; the same of
        answering parts.
        """
        both = added(self, other, largest_batch=max(self.largest_batch, other.largest_batch))
        return replace(both, error_types=_heaviest(both.error_types), served_by=_heaviest(both.served_by))

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and text, without what is empty."""
        document = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        document["latency"] = {stage: histogram.to_json() for stage, histogram in self.latency.items()}
        document["minutes"] = counts_to_json(self.minutes)
        return {name: value for name, value in document.items() if value}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "OperationsProfile":
        latency = {stage: LogHistogram.from_json(entry) for stage, entry in document.get("latency", {}).items()}
        minutes = counts_from_json(document["minutes"])
        return cls(**{**document, "latency": latency, "minutes": minutes})


def _counts(rows: pa.Table, column: str | None) -> dict[str, int]:
    """Return how often each text of a column occurs; of very long ones the beginning."""
    counts: Counter[str] = Counter()
    if column is not None:
        found = tally(rows[column])
        for name, count in found.heaviest(len(found.names)).items():
            counts[name[:LONGEST]] += count
    return counts


def _heaviest(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:HEAVIEST])
