"""Performance signals, from outcome profiles alone: of any window, for all rows and for each segment.

Metrics: `performance.label_coverage` and `performance.<name>` for every name the measures of the task have
(`binary_measures` and its like), each with its 95 % interval where one is defined. Add a metric there. Keep thresholds
out: they belong in judge.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from monitoring_pipeline.capture.windows import EPOCH, HOUR
from monitoring_pipeline.describe.hours import hours_by_version
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import HourlyOutcomes, OutcomeProfile, Task
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.binary_measures import binary_measures
from monitoring_pipeline.evaluate.measures import Costs, Measure
from monitoring_pipeline.evaluate.multiclass_measures import multiclass_measures
from monitoring_pipeline.evaluate.ranking_measures import ranking_against, ranking_measures
from monitoring_pipeline.evaluate.regression_measures import regression_against, regression_measures
from monitoring_pipeline.evaluate.signals import Absence, Signal, warming_up
from monitoring_pipeline.evaluate.trailing import totals
from monitoring_pipeline.stats.intervals import wilson_interval

MEASURES: Mapping[Task, Callable[[Any, Costs], Iterable[Measure]]] = {
    Task.BINARY: binary_measures,
    Task.MULTICLASS: multiclass_measures,
    Task.REGRESSION: regression_measures,
    Task.RANKING: ranking_measures,
}

COMPARED: Mapping[Task, Callable[[Any, Any, OutcomePlan], Iterable[Measure]]] = {
    Task.REGRESSION: regression_against,
    Task.RANKING: ranking_against,
}
"""Metrics that need the outcomes of the reference, which may be None."""


@dataclass(frozen=True, slots=True)
class PerformancePolicy:
    """Windows to evaluate, and how many labelled rows make a number worth saying.

    min_coverage: share of the window's predictions that must have labels; what is labelled first is rarely a fair
    sample (a late flight is known to be late later than a punctual one is known to be punctual). segments: columns
    whose segments are measured too, of them the `segment_metrics` (empty: all).
    """

    windows: tuple[timedelta, ...]
    min_rows: int = 100
    min_coverage: float = 0.6
    plan: OutcomePlan = field(default_factory=OutcomePlan)
    segments: tuple[str, ...] = ()
    segment_metrics: tuple[str, ...] = ()
    costs: Costs = field(default_factory=dict)


def performance_by_version(
    model: str,
    outcomes: Mapping[datetime, Mapping[str, OutcomeProfile]],
    references: Mapping[str, Reference],
    hours: Sequence[datetime],
    policy: PerformancePolicy,
) -> list[Signal]:
    """Return the performance of every version that served in a window, against its own baseline where it has one."""
    empty = policy.plan.empty()
    served = {hour: {name: part.rows for name, part in entries.items()} for hour, entries in outcomes.items()}
    traffic = {hour: sum(counts.values()) for hour, counts in served.items()}
    signals: list[Signal] = []
    for version, own_hours in hours_by_version(served, hours, reach=max(policy.windows)).items():
        own = {hour: entries.get(version, empty) for hour, entries in outcomes.items()}
        baseline = references[version].outcomes if version in references else None
        signals += performance_signals(model, version, own, own_hours, policy, baseline=baseline, traffic=traffic)
    return signals


def performance_signals(
    model: str,
    version: str,
    outcomes: HourlyOutcomes,
    hours: Sequence[datetime],
    policy: PerformancePolicy,
    *,
    baseline: OutcomeProfile | None = None,
    traffic: Mapping[datetime, int] | None = None,
) -> list[Signal]:
    """Return the performance of one model version for each hour in `hours` and each window that ends with it.

    `traffic` counts the predictions of all versions by hour; with it, a window in which others served first is not
    yet this version's.
    """
    expected = _expected(baseline, policy)
    last = totals(outcomes, policy.plan.empty())
    signals: list[Signal] = []
    for hour in hours:
        for window in policy.windows:
            start, length = hour + HOUR - window, round(window / HOUR)
            place = {"model": model, "version": version, "window_start": start, "window_end": hour + HOUR}
            rows = {at: outcomes[at].rows for step in range(length) if (at := start + step * HOUR) in outcomes}
            missing = warming_up(rows, traffic or {}, start=start, length=length)
            total = last(hour + HOUR, length)
            signals += _window_signals(place, total, baseline, expected, policy, missing)
            signals += _segment_signals(place, total, baseline, policy, missing)
    return signals


def measures_of(total: OutcomeProfile, costs: Costs) -> Iterable[Measure]:
    """Return every metric of some outcomes."""
    return MEASURES[total.task](total, costs)


def _compared(total: OutcomeProfile, baseline: OutcomeProfile | None, plan: OutcomePlan) -> Iterable[Measure]:
    if total.task not in COMPARED:
        return ()
    return COMPARED[total.task](total, baseline if type(baseline) is type(total) else None, plan)


def _expected(baseline: OutcomeProfile | None, policy: PerformancePolicy) -> dict[tuple[str, str], float]:
    return {(each.name, each.part): each.value for each in measures_of(baseline, policy.costs)} if baseline else {}


def _segment_signals(
    place: dict[str, Any],
    total: OutcomeProfile,
    baseline: OutcomeProfile | None,
    policy: PerformancePolicy,
    missing: tuple[Absence, str] | None,
) -> Iterator[Signal]:
    known = baseline.segments if baseline else {}
    names = sorted({*known, *total.segments})
    for name in (name for name in names if name.partition("=")[0] in policy.segments):
        part, expected = total.segments.get(name, policy.plan.empty()), _expected(known.get(name), policy)
        for signal in _window_signals(place | {"segment": name}, part, known.get(name), expected, policy, missing):
            asked = not policy.segment_metrics or signal.metric.partition(".")[2] in policy.segment_metrics
            if asked and signal.segment == name:  # not of one class of the segment
                yield signal


def _window_signals(
    place: dict[str, Any],
    total: OutcomeProfile,
    baseline: OutcomeProfile | None,
    expected: Mapping[tuple[str, str], float],
    policy: PerformancePolicy,
    missing: tuple[Absence, str] | None,
) -> Iterator[Signal]:
    as_of = (EPOCH + timedelta(microseconds=total.known_at)).astimezone(UTC).isoformat() if total.known_at else ""
    detail: dict[str, object] = {"labels_as_of": as_of} if as_of else {}
    yield _coverage(place, total, detail, missing)
    absence = missing or _absence(total, policy)
    for each in (*measures_of(total, policy.costs), *_compared(total, baseline, policy.plan)):
        why = absence or _undefined(each, policy)
        yield Signal(
            metric=f"performance.{each.name}",
            **place | ({"segment": each.part} if each.part else {}),
            value=None if why else each.value,
            absence=why[0] if why else None,
            reason=why[1] if why else "",
            unit=each.unit,
            rows=each.rows,
            low=_number(each.low) if not why else None,
            high=_number(each.high) if not why else None,
            baseline_value=_number(expected.get((each.name, each.part))),
            p_value=each.p_value if not why else None,
            detail=detail | each.detail,
        )


def _coverage(
    place: dict[str, Any], total: OutcomeProfile, detail: dict[str, object], missing: tuple[Absence, str] | None
) -> Signal:
    if missing or total.rows == 0:
        why = missing or (Absence.EMPTY_HOUR, "no prediction was logged")
        return Signal(metric="performance.label_coverage", **place, absence=why[0], reason=why[1])
    low, high = wilson_interval(total.labelled, total.rows)
    return Signal(
        metric="performance.label_coverage",
        **place,
        value=total.labelled / total.rows,
        rows=total.rows,
        low=float(low),
        high=float(high),
        detail=detail | {"labelled": total.labelled, "unusable": total.unusable},
    )


def label_absence(total: OutcomeProfile, *, min_coverage: float) -> tuple[Absence, str] | None:
    """Return why the labels of some predictions say nothing yet, or None where they do."""
    if total.rows == 0:
        return Absence.EMPTY_HOUR, "no prediction was logged"
    if total.labelled == 0:
        return Absence.NO_LABELS_YET, f"none of {total.rows} predictions has a label yet"
    if total.labelled / total.rows < min_coverage:
        share = f"{total.labelled} of {total.rows} predictions have labels"
        return Absence.LABELS_IMMATURE, f"{share}, {min_coverage:.0%} are needed (performance.min_coverage)"
    return None


def _absence(total: OutcomeProfile, policy: PerformancePolicy) -> tuple[Absence, str] | None:
    if (why := label_absence(total, min_coverage=policy.min_coverage)) is not None:
        return why
    if total.labelled < policy.min_rows:
        needed = f"{policy.min_rows} are needed (performance.min_rows)"
        return Absence.TOO_FEW_ROWS, f"{total.labelled} labelled rows, {needed}"
    return None


def _undefined(measure: Measure, policy: PerformancePolicy) -> tuple[Absence, str] | None:
    """Return why one metric has no value although there are labels enough."""
    if measure.basis and measure.basis_rows < policy.min_rows:
        needed = f"{policy.min_rows} are needed (performance.min_rows)"
        return Absence.TOO_FEW_ROWS, f"{measure.basis_rows} {measure.counted} with a usable {measure.basis}, {needed}"
    if np.isfinite(measure.value):
        return None
    return measure.absence, measure.reason


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
