"""Concept drift signals: control charts of the hourly prediction errors, and predicted against observed rates.

Metrics: `concept.cusum`, `.ewma`, `.page_hinkley` and `.adwin`, each a statistic over its limit: beyond 1 the errors
rose out of control, below -1 they fell; and of two classes `concept.rate_gap`, observed minus predicted positive rate
(`performance.bias` is its like of numbers). Add a chart to `_charts`. Keep thresholds out: they belong in judge.

A chart looks at the trailing history of its hour and remembers nothing else, so that any hour can be computed again.
Hourly errors come in bad days; the charts watch what is new in each hour (`stats.autocorrelation.innovations`), by the
dispersion that the reference hours had. Simulated, with error rates that wander (dispersion 4 to 8, persistence 0.8 to
0.95) and charts calibrated on one month each, they run 0.6 to 1.2 times the stated 8,760 hours and 0.9 to 1.5 times a
stated 2,160; a plain binomial CUSUM runs 10 hours. Of lognormal residuals whose size wanders as much, they run 0.5 to
1.4 times either (2.3 times without wandering; Page and Hinkley's 1.2 to 5 times).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.columns import FloatArray, IntArray
from monitoring_pipeline.describe.error_dispersion import (
    FEWEST_ROWS,
    ErrorDispersion,
    errors_by_hour,
    errors_of,
)
from monitoring_pipeline.describe.hours import hours_by_version
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import HourlyOutcomes, OutcomeProfile, Task
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.performance import label_absence
from monitoring_pipeline.evaluate.signals import Absence, Signal, warming_up
from monitoring_pipeline.evaluate.trailing import totals
from monitoring_pipeline.stats.autocorrelation import innovations
from monitoring_pipeline.stats.change_points import locate_change
from monitoring_pipeline.stats.intervals import normal_interval
from monitoring_pipeline.stats.sequential import adwin, cusum, cusum_limit, ewma, ewma_limit, page_hinkley

CHARTS = ("cusum", "ewma", "page_hinkley", "adwin")


def charts_of(task: Task) -> tuple[str, ...]:
    """Return the charts of a task: the bound of ADWIN holds for errors between 0 and 1, which residuals are not."""
    return tuple(name for name in CHARTS if name != "adwin" or task is not Task.REGRESSION)


FREAK = 2.5
"""What is new in one hour counts as at most this many standard deviations, so that no single hour raises an alarm.

It also undoes the skewness of rare errors and the rest of a dispersion measured on one month, which together would let
a chart cry two to three times as often as its run length says.
"""

CEILING = 2.0
"""Sums stop at this many limits: a chart of an hour that is well again must not show last week's storm."""

AT_ONCE = 500
"""Hours computed together; each has a history of its own in memory."""


@dataclass(frozen=True, slots=True)
class ConceptPolicy:
    """Windows of the rate gap, and how the charts are set.

    `average_run_length` is how many labelled hours a chart runs between two false alarms. `slack` is half the shift
    that must be found fast, `weight` that of the newest hour in the EWMA, both for what is new in an hour, in standard
    deviations. `min_hours`: labelled hours in the history below which a chart says nothing.
    """

    windows: tuple[timedelta, ...]
    history: timedelta = timedelta(days=30)
    average_run_length: float = 8760.0
    slack: float = 0.5
    weight: float = 0.1
    min_hours: int = 24
    min_rows: int = 100
    min_coverage: float = 0.6
    plan: OutcomePlan = field(default_factory=OutcomePlan)


def concept_by_version(
    model: str,
    outcomes: Mapping[datetime, Mapping[str, OutcomeProfile]],
    references: Mapping[str, Reference],
    hours: Sequence[datetime],
    policy: ConceptPolicy,
) -> list[Signal]:
    """Return the concept drift of every version that served in a window, against its own reference.

    `outcomes` must reach back by the policy's history.
    """
    empty = policy.plan.empty()
    served = {hour: {name: part.rows for name, part in entries.items()} for hour, entries in outcomes.items()}
    traffic = {hour: sum(counts.values()) for hour, counts in served.items()}
    signals: list[Signal] = []
    for version, own_hours in hours_by_version(served, hours, reach=max(policy.windows)).items():
        own = {hour: entries.get(version, empty) for hour, entries in outcomes.items()}
        baseline = references[version].outcomes if version in references else None
        dispersion = references[version].error_dispersion if version in references else None
        signals += chart_signals(model, version, own, own_hours, policy, dispersion=dispersion)
        if policy.plan.task is Task.BINARY:
            known = baseline if isinstance(baseline, BinaryOutcomes) else None
            signals += rate_gap_signals(
                model, version, own, own_hours, policy, baseline=known, dispersion=dispersion, traffic=traffic
            )
    return signals


def chart_signals(
    model: str,
    version: str,
    outcomes: HourlyOutcomes,
    hours: Sequence[datetime],
    policy: ConceptPolicy,
    *,
    dispersion: ErrorDispersion | None,
) -> list[Signal]:
    """Return the charts of one version's errors for each hour in `hours`."""
    signals: list[Signal] = []
    for begin in range(0, len(hours), AT_ONCE):
        part = list(hours[begin : begin + AT_ONCE])
        absences = [_hour_absence(outcomes.get(hour), dispersion, policy) for hour in part]
        asked = [hour for hour, absence in zip(part, absences, strict=True) if absence is None]
        found = _charted(outcomes, asked, dispersion, policy) if asked and dispersion else {}
        for hour, absence in zip(part, absences, strict=True):
            place: dict[str, Any] = {
                "model": model,
                "version": version,
                "window_start": hour,
                "window_end": hour + HOUR,
            }
            chart = found.get(hour)
            if chart is None or isinstance(chart, str):
                why = absence or (Absence.WARMING_UP, str(chart))
                names = charts_of(policy.plan.task)
                signals += [Signal(f"concept.{name}", **place, absence=why[0], reason=why[1]) for name in names]
            else:
                signals += [Signal(f"concept.{name}", **place, **values) for name, values in chart.items()]
    return signals


def _hour_absence(
    outcome: OutcomeProfile | None, dispersion: ErrorDispersion | None, policy: ConceptPolicy
) -> tuple[Absence, str] | None:
    if outcome is None:
        return Absence.WARMING_UP, "the hour is not described"
    if why := label_absence(outcome, min_coverage=policy.min_coverage):
        return why
    if (rows := errors_of(outcome)[2]) < FEWEST_ROWS:
        return Absence.TOO_FEW_ROWS, f"{rows} labelled predictions in this hour, a chart needs {FEWEST_ROWS}"
    if dispersion is None:
        return Absence.NO_REFERENCE, "the hourly errors of this version's reference are not known"
    return None


def _charted(
    outcomes: HourlyOutcomes, hours: Sequence[datetime], dispersion: ErrorDispersion, policy: ConceptPolicy
) -> dict[datetime, dict[str, dict[str, Any]] | str]:
    """Return the charts of each hour, as arguments of their signals, or in words why there are none."""
    length = round(policy.history / HOUR)
    first = min(hours) - (length - 1) * HOUR
    times = [first + step * HOUR for step in range(round((max(hours) - first) / HOUR) + 1)]
    mature = {
        hour: outcomes[hour]
        for hour in times
        if hour in outcomes and not label_absence(outcomes[hour], min_coverage=policy.min_coverage)
    }
    ends = np.array([round((hour - first) / HOUR) + 1 for hour in hours])
    # Taken by index, which copies: sums over views of different strides would differ in their last bit.
    histories = ends[:, None] + np.arange(-length, 0)
    errors, _, rows = (part[histories] for part in errors_by_hour(mature, times))
    scaled = dispersion.scores(errors, rows) / np.sqrt(dispersion.dispersion)
    news = innovations(scaled, share=dispersion.share, persistence=dispersion.persistence)
    news = np.clip(news, -FREAK, FREAK)
    charts, cuts = _charts(errors, rows, news, dispersion, policy)
    found: dict[datetime, dict[str, dict[str, Any]] | str] = {}
    for number, hour in enumerate(hours):
        known = int((rows[number] > 0).sum())
        if known < policy.min_hours:
            found[hour] = f"{known} labelled hours in the history, a chart needs {policy.min_hours}"
            continue
        start = hour - (length - 1) * HOUR
        statistics = {name: (float(values[number]), limit) for name, (values, limit) in charts.items()}
        moved = any(abs(statistic) > limit for name, (statistic, limit) in statistics.items() if name != "adwin")
        began = _began(news[number], start) if moved else {}
        of_hour: dict[str, dict[str, Any]] = {}
        for name, (statistic, limit) in statistics.items():
            detail: dict[str, object] = {
                "statistic": statistic,
                "limit": limit,
                "average_run_length": policy.average_run_length,
            }
            if abs(statistic) > limit:
                detail |= began if name != "adwin" else {"began": (start + int(cuts[number]) * HOUR).isoformat()}
            detail["hours"] = known
            of_hour[name] = {"value": statistic / limit, "rows": int(rows[number].sum()), "detail": detail}
        found[hour] = of_hour
    return found


def _charts(
    errors: FloatArray, rows: FloatArray, news: FloatArray, dispersion: ErrorDispersion, policy: ConceptPolicy
) -> tuple[dict[str, tuple[FloatArray, float]], IntArray]:
    """Return statistic (negative where errors fell) and limit of every chart, and where ADWIN's newest part begins."""
    sum_limit, average_limit = _limits(policy.average_run_length, policy.slack, policy.weight)
    upper, lower = (path[:, -1] for path in cusum(news, slack=policy.slack, ceiling=CEILING * sum_limit))
    average, deviation = (path[:, -1] for path in ewma(news, weight=policy.weight))
    risen = page_hinkley(news, tolerance=policy.slack, ceiling=CEILING * sum_limit)[:, -1]
    charts = {
        "cusum": (np.where(upper >= lower, upper, -lower), sum_limit),
        "ewma": (average / deviation, average_limit),
        # The limit of two sides for a chart of one: rare errors are skewed upwards, which halves its runs.
        "page_hinkley": (risen, sum_limit),
    }
    if "adwin" not in charts_of(policy.plan.task):
        return charts, np.zeros(len(rows), np.int64)
    cuts, excess = _newest_change(errors, rows, dispersion.inflation(), alpha=1 / policy.average_run_length)
    return charts | {"adwin": (excess, 1.0)}, cuts


@cache
def _limits(average_run_length: float, slack: float, weight: float) -> tuple[float, float]:
    return cusum_limit(average_run_length, slack), ewma_limit(average_run_length, weight)


def _newest_change(
    errors: FloatArray, rows: FloatArray, inflation: float, *, alpha: float
) -> tuple[IntArray, FloatArray]:
    """Return where the newest part of each history begins and by how much it differs from what came before.

    The window is cut, and what is left of it again, as ADWIN does while it grows: a storm that passed is an older
    change than the return to normal.
    """
    k, n = errors / inflation, rows / inflation
    cuts, excess = adwin(k, n, alpha=alpha)
    while (stands := np.abs(excess) > 1).any():
        older = stands[:, None] & (np.arange(n.shape[-1]) < cuts[:, None])
        k, n = np.where(older, 0.0, k), np.where(older, 0.0, n)
        later, further = adwin(k, n, alpha=alpha)
        again = stands & (np.abs(further) > 1)
        if not again.any():
            break
        cuts, excess = np.where(again, later, cuts), np.where(again, further, excess)
    return cuts, excess


def _began(news: FloatArray, start: datetime) -> dict[str, Any]:
    change = locate_change(news)
    if change is None:
        return {}
    began, low, high = ((start + place * HOUR).isoformat() for place in (change.index, change.low, change.high))
    return {"began": began, "began_low": low, "began_high": high, "began_p_value": change.p_value}


def rate_gap_signals(
    model: str,
    version: str,
    outcomes: HourlyOutcomes,
    hours: Sequence[datetime],
    policy: ConceptPolicy,
    *,
    baseline: BinaryOutcomes | None = None,
    dispersion: ErrorDispersion | None = None,
    traffic: Mapping[datetime, int] | None = None,
) -> Iterator[Signal]:
    """Yield the observed minus the predicted rate of positives for each hour in `hours` and each window to its end.

    The interval is as wide as the dispersion and memory of the reference's hours make it; without them, as for
    independent rows.
    """
    last = totals(outcomes, policy.plan.empty())
    for hour in hours:
        for window in policy.windows:
            start, length = hour + HOUR - window, round(window / HOUR)
            parts = {at: outcomes[at] for step in range(length) if (at := start + step * HOUR) in outcomes}
            rows = {at: part.rows for at, part in parts.items()}
            total = last(hour + HOUR, length)
            assert isinstance(total, BinaryOutcomes)
            place: dict[str, Any] = {
                "model": model,
                "version": version,
                "window_start": start,
                "window_end": hour + HOUR,
            }
            why = warming_up(rows, traffic or {}, start=start, length=length) or label_absence(
                total, min_coverage=policy.min_coverage
            )
            if why is None and total.scored < policy.min_rows:
                needed = f"{policy.min_rows} are needed (performance.min_rows)"
                why = Absence.TOO_FEW_ROWS, f"{total.scored} labelled rows with a usable score, {needed}"
            expected = rate_gap(baseline) if baseline is not None and baseline.scored else None
            if why:
                yield Signal("concept.rate_gap", **place, absence=why[0], reason=why[1], baseline_value=expected)
                continue
            gap, inflation = rate_gap(total), dispersion.inflation(length) if dispersion else 1.0
            # Per row the difference between outcome and score has the Brier score for its mean square.
            variance = max(float(total.losses[2]) / total.scored - gap**2, 0.0) * inflation
            low, high = normal_interval(gap, variance, rows=total.scored)
            yield Signal(
                "concept.rate_gap",
                **place,
                value=gap,
                rows=total.scored,
                low=float(low),
                high=float(high),
                baseline_value=expected,
                detail={"observed": float(total.positives.sum()) / total.scored, "interval_inflation": inflation},
            )


def rate_gap(total: BinaryOutcomes) -> float:
    """Return the share of positives minus the mean score, over the rows with both."""
    return float(total.positives.sum() - total.score_sums.sum()) / total.scored
