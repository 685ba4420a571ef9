"""Signals of how old the features were: per source, and of requests all of whose features were fresh.

Metrics by column = source: `freshness.fresh_share`, `.stale_share`, `.critical_share`, `.age_p50`, `.age_p95` and
`.age_ratio`; without a column, `freshness.requests_fresh_share`. Add a metric of the age of features here. Keep
databases and feature stores out: a `SourceClock` reads them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from monitoring_pipeline.describe.freshness import (
    FeastSource,
    FreshnessProfile,
    LoggedSource,
    Reading,
    Source,
    SourceAges,
    TableSource,
)
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.evaluate.trailing import TrailingWindow, trailing_windows
from monitoring_pipeline.stats.intervals import wilson_interval


class SourceClock(Protocol):
    """Knows how new a source is that the log says nothing about."""

    def newest(self, source: TableSource | FeastSource) -> datetime | None:
        """Return the time of the newest row, None where there is none; raises StoreError where it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class FreshnessPolicy:
    """Windows to evaluate, and the sources whose age is watched."""

    windows: tuple[timedelta, ...]
    sources: tuple[Source, ...]


def read_sources(sources: Sequence[Source], clock: SourceClock, *, at: datetime) -> dict[str, Reading]:
    """Return how old the tables and feature views are at the moment `at`; one that cannot be read is of unknown age."""
    readings = {}
    for source in sources:
        if isinstance(source, LoggedSource):
            continue
        try:
            newest = clock.newest(source)
        except MonitoringError as error:
            readings[source.name] = Reading(math.nan, str(error))
        else:
            age = math.nan if newest is None else (at - newest).total_seconds()
            readings[source.name] = Reading(age, "it has no rows" if newest is None else "")
    return readings


def freshness_by_version(
    model: str,
    hourly: Mapping[datetime, Mapping[str, FreshnessProfile]],
    references: Mapping[str, FreshnessProfile],
    hours: Sequence[datetime],
    policy: FreshnessPolicy,
) -> list[Signal]:
    """Return how old every source was for the requests of every version, against its reference rows where known."""
    if not policy.sources:
        return []
    blank, signals = SourceAges.empty(), list[Signal]()
    for window in trailing_windows(hourly, hours, policy.windows, FreshnessProfile.empty()):
        place, total = window.place(model), window.total
        signals.append(_share(place, "requests_fresh_share", total.all_fresh, total.rows, _absence(window, total.rows)))
        reference = references.get(window.version, FreshnessProfile.empty())
        for source in policy.sources:
            ages, usual = total.sources.get(source.name, blank), reference.sources.get(source.name, blank)
            why = _absence(window, ages.rows)
            signals += _source_signals(place | {"column": source.name}, source, ages, usual, why)
    return signals


Why = dict[str, Any] | None


def _absence(window: TrailingWindow[FreshnessProfile], rows: int) -> Why:
    if window.missing is not None:
        return {"absence": window.missing[0], "reason": window.missing[1]}
    if window.total.rows == 0:
        return {"absence": Absence.EMPTY_HOUR, "reason": "no prediction was logged"}
    if rows == 0:
        return {"absence": Absence.MISSING_COLUMN, "reason": "the source was not read in these hours"}
    return None


def _source_signals(
    place: dict[str, Any], source: Source, ages: SourceAges, usual: SourceAges, why: Why
) -> Iterator[Signal]:
    for name in ("fresh", "stale", "critical"):
        reason = _trouble(source, ages) if name == "critical" and ages.critical else ""
        yield _share(place, f"{name}_share", getattr(ages, name), ages.rows, why, reason)
    known = ages.ages.count
    if why is None and known == 0:
        why = {"absence": Absence.UNDEFINED, "reason": _trouble(source, ages)}
    median, usual_median = float(ages.ages.quantile(0.5)), float(usual.ages.quantile(0.5))
    for name, share in (("age_p50", 0.5), ("age_p95", 0.95)):
        low, high = ages.ages.quantile_interval(share)
        expected = float(usual.ages.quantile(share))
        value: Any = why or {"value": float(ages.ages.quantile(share)), "low": low, "high": high}
        baseline = None if math.isnan(expected) else expected
        yield Signal(f"freshness.{name}", **place, **value, unit="s", rows=known, baseline_value=baseline)
    if usual.ages.count:
        zero = {"absence": Absence.UNDEFINED, "reason": "half of the reference rows had a source of age zero"}
        value = why or ({"value": median / usual_median} if usual_median > 0 else zero)
        detail: dict[str, object] = {"median_s": median, "reference_median_s": usual_median} if known else {}
        yield Signal("freshness.age_ratio", **place, **value, rows=known, baseline_value=1.0, detail=detail)


def _share(place: dict[str, Any], name: str, count: int, rows: int, why: Why, reason: str = "") -> Signal:
    if why is not None:
        return Signal(f"freshness.{name}", **place, **why)
    low, high = (float(end) for end in wilson_interval(count, rows))
    value: dict[str, Any] = {"value": count / rows, "rows": rows, "low": low, "high": high, "reason": reason}
    return Signal(f"freshness.{name}", **place, **value)


def _trouble(source: Source, ages: SourceAges) -> str:
    """Return what is wrong with the critical rows of a source, in words."""
    old = ages.critical - ages.missing - ages.unreadable - ages.future
    parts = (
        (old, f"older than {_words(2 * source.max_age)}"),
        (ages.missing, "of unknown age"),
        (ages.unreadable, "with a timestamp that is no time"),
        (ages.future, "from the future: a clock is wrong, or a time zone"),
    )
    found = ", ".join(f"{count} of {ages.rows} {what}" for count, what in parts if count)
    return f"{source.name}: {found}" + (f" ({ages.problem})" if ages.problem else "")


def _words(age: timedelta) -> str:
    hours = age / timedelta(hours=1)
    return f"{hours:g} h" if hours >= 1 else f"{60 * hours:g} min"
