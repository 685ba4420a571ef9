"""Business signals: the formulas of a monitor over each window, with their intervals.

Metrics: `business.<name>` for every formula, in the unit the monitor gives it. Add what a formula's value needs to be
worth saying here. Keep the grammar out, it belongs in `describe.formulas`, and limits belong in judge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

import numpy as np

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.business import BusinessProfile, FormulaSums
from monitoring_pipeline.describe.formulas import Formula
from monitoring_pipeline.describe.hours import hours_by_version
from monitoring_pipeline.evaluate.signals import Absence, Signal, warming_up


@dataclass(frozen=True, slots=True)
class BusinessPolicy:
    """Windows to evaluate, the formulas with their units, and what share of a window's rows must have labels."""

    windows: tuple[timedelta, ...]
    formulas: Mapping[str, Formula]
    units: Mapping[str, str] = field(default_factory=dict)
    min_coverage: float = 0.6


def business_by_version(
    model: str,
    hourly: Mapping[datetime, Mapping[str, BusinessProfile]],
    baselines: Mapping[str, BusinessProfile],
    hours: Sequence[datetime],
    policy: BusinessPolicy,
) -> list[Signal]:
    """Return every formula of every version that served in a window, beside the value its reference rows had.

    An hour described with another text of a formula does not count as described.
    """
    signals: list[Signal] = []
    for name, formula in policy.formulas.items():
        known = {
            hour: {version: each.formulas[name] for version, each in entries.items() if _has(each, name, formula)}
            for hour, entries in hourly.items()
        }
        # An hour that nobody served in is described all the same.
        known = {hour: each for hour, each in known.items() if each or not hourly[hour]}
        served = {hour: {version: sums.rows for version, sums in entries.items()} for hour, entries in known.items()}
        traffic = {hour: sum(counts.values()) for hour, counts in served.items()}
        for version, own_hours in hours_by_version(served, hours, reach=max(policy.windows)).items():
            baseline = baselines.get(version, BusinessProfile.empty())
            expected = baseline.formulas[name].value(formula)[0] if _has(baseline, name, formula) else np.nan
            for hour in own_hours:
                for window in policy.windows:
                    start, length = hour + HOUR - window, round(window / HOUR)
                    span = [at for step in range(length) if (at := start + step * HOUR) in known]
                    rows = {at: served[at].get(version, 0) for at in span}
                    place = {"model": model, "version": version, "window_start": start, "window_end": hour + HOUR}
                    place |= {"unit": policy.units.get(name, "1"), "baseline_value": _number(expected)}
                    parts = [known[at][version] for at in span if version in known[at]]
                    total = reduce(FormulaSums.merge, parts, FormulaSums.empty(formula))
                    why = warming_up(rows, traffic, start=start, length=length) or _absence(total, formula, policy)
                    signals.append(_signal(f"business.{name}", place, total, formula, why))
    return signals


def _has(profile: BusinessProfile, name: str, formula: Formula) -> bool:
    return name in profile.formulas and profile.formulas[name].text == formula.text


def _absence(total: FormulaSums, formula: Formula, policy: BusinessPolicy) -> tuple[Absence, str] | None:
    if total.rows == 0:
        return Absence.EMPTY_HOUR, "no prediction was logged"
    if total.failed:
        return Absence.FAILED, total.failed
    if not formula.needs_labels or total.labelled >= policy.min_coverage * total.rows:
        return None
    if total.labelled == 0:
        return Absence.NO_LABELS_YET, f"none of {total.rows} predictions has a label yet"
    share = f"{total.labelled} of {total.rows} predictions have labels"
    return Absence.LABELS_IMMATURE, f"{share}, {policy.min_coverage:.0%} are needed (performance.min_coverage)"


def _signal(
    metric: str, place: dict[str, Any], total: FormulaSums, formula: Formula, why: tuple[Absence, str] | None
) -> Signal:
    value, low, high = total.value(formula) if why is None else (np.nan, np.nan, np.nan)
    if why is None and not np.isfinite(value):
        why = Absence.UNDEFINED, f"{formula.text!r} divides by zero, or has no rows to add up, in this window"
    if why is not None:
        return Signal(metric, **place, absence=why[0], reason=why[1], rows=total.rows)
    return Signal(metric, **place, value=value, low=_number(low), high=_number(high), rows=total.rows)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
