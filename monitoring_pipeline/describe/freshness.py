"""Freshness profiles: how old the features were when requests were answered, in counters that add up.

Add a kind of source here, with what must be known to read it. Keep reading databases out (it belongs in stores), and
metrics too (in evaluate).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring_pipeline.describe.columns import ColumnKind, DatetimePart, FloatArray
from monitoring_pipeline.describe.counters import Counters, added
from monitoring_pipeline.describe.kernel import column_values, floats_with_nan
from monitoring_pipeline.describe.log_histogram import LogHistogram

CLOCK_TOLERANCE = timedelta(seconds=5)
"""How far two well-kept clocks may differ; a feature that is newer than its request by more is clock trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedSource:
    """A source whose timestamp every row of the prediction log carries in `column`."""

    name: str
    max_age: timedelta
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSource:
    """A table of a database, as new as the newest value of `column`; `url_env` names the variable with its URL."""

    name: str
    max_age: timedelta
    url_env: str
    table: str
    column: str
    schema: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeastSource:
    """A Feast feature view, as new as what was last materialised of it."""

    name: str
    max_age: timedelta
    repository: str
    feature_view: str


Source = LoggedSource | TableSource | FeastSource


@dataclass(frozen=True, slots=True)
class Reading:
    """How old the newest row of a table or feature view was, in seconds; NaN where that is not known, and why."""

    age_s: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SourceAges(Counters):
    """Rows by how old one source was for them, all of which add.

    fresh: up to its longest age, stale: up to twice that; the others, which are older or unknown, are critical.
    missing: rows without a timestamp, unreadable: with one that is no time, future: with one that was still to come.
    ages: seconds, of all that are known and past.
    """

    rows: int = 0
    fresh: int = 0
    stale: int = 0
    missing: int = 0
    unreadable: int = 0
    future: int = 0
    ages: LogHistogram = field(default_factory=LogHistogram)
    problem: str = ""

    @classmethod
    def of(cls, seconds: FloatArray, max_age: timedelta, *, problem: str = "") -> "SourceAges":
        """Return the counters of ages, NaN where a timestamp is missing and infinite where it is no time."""
        past = seconds[np.isfinite(seconds) & (seconds >= -CLOCK_TOLERANCE.total_seconds())]
        fresh = int((past <= max_age.total_seconds()).sum())
        missing, unreadable = int(np.isnan(seconds).sum()), int(np.isinf(seconds).sum())
        return cls(
            rows=len(seconds),
            fresh=fresh,
            stale=int((past <= 2 * max_age.total_seconds()).sum()) - fresh,
            missing=missing,
            unreadable=unreadable,
            future=len(seconds) - missing - unreadable - len(past),
            ages=LogHistogram.of(np.maximum(past, 0)),
            problem=problem,
        )

    def merge(self, other: "SourceAges") -> "SourceAges":
        """Return the counters of both batches; of two problems one is kept, the same in either order."""
        return added(self, other, problem=max(self.problem, other.problem))

    @property
    def critical(self) -> int:
        """Rows for which the source was older than twice its longest age, or of unknown age."""
        return self.rows - self.fresh - self.stale

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and text, without what is empty."""
        document = asdict(self) | {"ages": self.ages.to_json()}
        return {name: value for name, value in document.items() if value}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "SourceAges":
        return cls(**{**document, "ages": LogHistogram.from_json(document["ages"])})


@dataclass(frozen=True, slots=True)
class FreshnessProfile(Counters):
    """The ages of every source, and for how many requests all of them were fresh; all of it adds."""

    rows: int = 0
    all_fresh: int = 0
    sources: Mapping[str, SourceAges] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        rows: pa.Table,
        sources: Sequence[Source],
        *,
        predicted_at: str,
        readings: Mapping[str, Reading] | None = None,
    ) -> "FreshnessProfile":
        """Return the profile of prepared predictions.

        `readings` are those of tables and feature views in the same hour: each counts once, whatever the rows, and
        all of the rows are as fresh as it was. A source that was not read has no counters.
        """
        found: dict[str, SourceAges] = {}
        fresh = np.ones(rows.num_rows, np.bool_)
        for source in sources:
            if isinstance(source, LoggedSource):
                seconds, problem = _ages(rows, source.column, predicted_at), ""
            elif readings and source.name in readings:
                reading = readings[source.name]
                seconds, problem = np.array([reading.age_s]), reading.problem
            else:
                continue
            found[source.name] = SourceAges.of(seconds, source.max_age, problem=problem)
            fresh &= (seconds <= source.max_age.total_seconds()) & (seconds >= -CLOCK_TOLERANCE.total_seconds())
        return cls(rows.num_rows, int(fresh.sum()), found)

    def with_readings_of(self, earlier: "FreshnessProfile") -> "FreshnessProfile":
        """Return the same with the sources that only an earlier look at the hour had read."""
        return replace(self, sources={**earlier.sources, **self.sources})

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "FreshnessProfile":
        sources = {name: SourceAges.from_json(entry) for name, entry in document["sources"].items()}
        return cls(document["rows"], document["all_fresh"], sources)


def _ages(rows: pa.Table, column: str, predicted_at: str) -> FloatArray:
    days = column_values(rows, column, DatetimePart.AGE_DAYS, predicted_at)
    if pa.types.is_null(days.type):
        return np.full(rows.num_rows, math.nan)
    # To the microsecond again: an age of exactly five minutes is not above five minutes.
    return np.round(floats_with_nan(days, ColumnKind.NUMERIC) * 86_400, 6)
