"""Fairness signals: how differently a model treats the groups of protected attributes.

Metrics of each group: `fairness.selection_rate`, `.true_positive_rate`, `.false_positive_rate`, `.accuracy` and
`.calibration_gap` (mean score minus share of positives). Between the groups of an attribute, for each of the first
four: `fairness.<name>_ratio`, the smallest over the largest, and `fairness.<name>_difference`; besides
`fairness.equalized_odds_ratio` and `.equalized_odds_difference`, the worse of both error rates. Definitions are
fairlearn's. An attribute is the signal's column (a pair reads `sex & age`), a group its segment.

Add a rate here. Keep thresholds out: they belong in judge. Groups with fewer rows than asked are left out and named.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.groups import AND, Grouping, attributes_of
from monitoring_pipeline.describe.multiclass_outcomes import MulticlassOutcomes
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.multiclass_measures import confusion_matrix
from monitoring_pipeline.evaluate.performance import label_absence
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.evaluate.trailing import trailing_windows
from monitoring_pipeline.stats.intervals import normal_interval, wilson_interval

ODDS = ("true_positive_rate", "false_positive_rate")
WITHOUT_LABELS = frozenset({"selection_rate"})


@dataclass(frozen=True, slots=True)
class FairnessPolicy:
    """Windows, the groups, and the rows a group needs to be compared."""

    windows: tuple[timedelta, ...]
    grouping: Grouping = field(default_factory=Grouping)
    plan: OutcomePlan = field(default_factory=OutcomePlan)
    min_rows: int = 100
    min_coverage: float = 0.6


class Rate(NamedTuple):
    """How many of some rows."""

    hits: int
    rows: int

    @property
    def value(self) -> float:
        return self.hits / self.rows if self.rows else np.nan


def fairness_by_version(
    model: str,
    outcomes: Mapping[datetime, Mapping[str, OutcomeProfile]],
    references: Mapping[str, Reference],
    hours: Sequence[datetime],
    policy: FairnessPolicy,
) -> list[Signal]:
    """Return the fairness of every version that served in a window, beside that of its reference rows."""
    if not policy.grouping.attributes:
        return []
    known: dict[str, dict[tuple[str, str, str], float | None]] = {}
    for version, reference in references.items():
        before = reference.outcomes.segments if reference.outcomes else {}
        measured = _measured({}, before, policy, None)
        known[version] = {(each.metric, each.column, each.segment): each.value for each in measured}
    signals: list[Signal] = []
    for window in trailing_windows(outcomes, hours, policy.windows, policy.plan.empty()):
        expected = known.get(window.version, {})
        for signal in _measured(window.place(model), window.total.segments, policy, window.missing):
            value = expected.get((signal.metric, signal.column, signal.segment))
            signals.append(signal if value is None else replace(signal, baseline_value=value))
    return signals


def _measured(
    place: dict[str, Any],
    segments: Mapping[str, OutcomeProfile],
    policy: FairnessPolicy,
    missing: tuple[Absence, str] | None,
) -> Iterator[Signal]:
    place = {"model": "", "version": "", "window_start": _NEVER, "window_end": _NEVER} | place
    for names in policy.grouping.sets():
        groups = {name: part for name, part in sorted(segments.items()) if attributes_of(name) == names}
        here: dict[str, Any] = place | {"column": AND.join(names)}
        if missing or not groups:
            why = missing or (Absence.EMPTY_HOUR, f"no row says {' and '.join(names)}")
            yield Signal("fairness.selection_rate_ratio", **here, absence=why[0], reason=why[1])
            continue
        yield from _of_groups(here, groups, policy)


_NEVER = datetime.min.replace(tzinfo=UTC)


def _of_groups(place: dict[str, Any], groups: Mapping[str, OutcomeProfile], policy: FairnessPolicy) -> Iterator[Signal]:
    rates = {name: dict(_rates(part)) for name, part in groups.items()}
    immature = {name: label_absence(part, min_coverage=policy.min_coverage) for name, part in groups.items()}
    between: dict[str, dict[str, Rate]] = {}
    for name, part in groups.items():
        for metric, rate in rates[name].items():
            why = None if metric in WITHOUT_LABELS else immature[name]
            if why is None and rate.rows < policy.min_rows:
                why = Absence.TOO_FEW_ROWS, f"{rate.rows} rows, {policy.min_rows} are needed (fairness.min_rows)"
            if why:
                yield Signal(f"fairness.{metric}", **place, segment=name, absence=why[0], reason=why[1], rows=rate.rows)
                continue
            low, high = map(float, wilson_interval(*rate))
            found: dict[str, Any] = place | {"low": low, "high": high, "rows": rate.rows, "segment": name}
            yield Signal(f"fairness.{metric}", **found, value=rate.value)
            between.setdefault(metric, {})[name] = rate
        if isinstance(part, BinaryOutcomes) and immature[name] is None and part.scored >= policy.min_rows:
            yield _calibration_gap(place | {"segment": name}, part)
    left_out = sorted(name for name in groups if all(name not in known for known in between.values()))
    for metric in dict.fromkeys(metric for known in rates.values() for metric in known):
        yield from _compared(place, metric, between.get(metric, {}), left_out)
    if all(name in {metric for known in rates.values() for metric in known} for name in ODDS):
        yield from _odds(place, between, left_out)


def _rates(part: OutcomeProfile) -> Iterator[tuple[str, Rate]]:
    """Yield the rates of one group; the selection rate is of all rows served, the others of those with labels."""
    if isinstance(part, BinaryOutcomes):
        (tn, fp), (fn, tp) = part.confusion.tolist()
        refused, selected = part.decided.tolist()
        yield "selection_rate", Rate(selected, refused + selected)
        yield "true_positive_rate", Rate(tp, tp + fn)
        yield "false_positive_rate", Rate(fp, fp + tn)
        yield "accuracy", Rate(tp + tn, tn + fp + fn + tp)
    elif isinstance(part, MulticlassOutcomes):
        confusion, _ = confusion_matrix(part)
        yield "accuracy", Rate(int(np.trace(confusion)), int(confusion.sum()))


def _calibration_gap(place: dict[str, Any], part: BinaryOutcomes) -> Signal:
    gap = float(part.score_sums.sum() - part.positives.sum()) / part.scored
    variance = max(float(part.losses[2]) / part.scored - gap**2, 0.0)
    low, high = map(float, normal_interval(gap, variance, rows=part.scored))
    return Signal("fairness.calibration_gap", **place | {"low": low, "high": high, "rows": part.scored}, value=gap)


def _compared(
    place: dict[str, Any], metric: str, groups: Mapping[str, Rate], left_out: Sequence[str]
) -> Iterator[Signal]:
    if len(groups) < 2:
        reason = f"{len(groups)} groups have rows enough to compare, two are needed"
        for kind in ("ratio", "difference"):
            yield Signal(f"fairness.{metric}_{kind}", **place, absence=Absence.TOO_FEW_ROWS, reason=reason)
        return
    least, most = _extremes(groups)
    yield _ratio(place, f"{metric}_ratio", groups, least, most, left_out)
    yield _difference(place, f"{metric}_difference", groups, least, most, left_out)


def _extremes(groups: Mapping[str, Rate]) -> tuple[str, str]:
    ranked = sorted(groups, key=lambda name: (groups[name].value, name))
    return ranked[0], ranked[-1]


def _deviations(groups: Mapping[str, Rate]) -> float:
    """Return how many standard deviations hold any pair of the groups: the two extremes were chosen among them all."""
    pairs = len(groups) * (len(groups) - 1) / 2
    return float(-ndtri(0.025 / pairs))


def _said(metric: str, groups: Mapping[str, Rate], least: str, most: str) -> str:
    name = metric.rpartition("_")[0].replace("_", " ")
    return f"{name} is {groups[least].value:.3f} for {least} and {groups[most].value:.3f} for {most}"


def _ratio(
    place: dict[str, Any], metric: str, groups: Mapping[str, Rate], least: str, most: str, left_out: Sequence[str]
) -> Signal:
    (k, n), (large_k, large_n) = groups[least], groups[most]
    if large_k == 0:
        return Signal(f"fairness.{metric}", **place, absence=Absence.UNDEFINED, reason="every rate is zero")
    # Half a hit keeps the logarithm of none finite; it moves the interval only.
    p, q = (k + 0.5) / (n + 1), (large_k + 0.5) / (large_n + 1)
    slack = _deviations(groups) * np.sqrt((1 - p) / (n * p) + (1 - q) / (large_n * q))
    value = groups[least].value / groups[most].value
    high = float(min(p / q * np.exp(slack), 1.0))
    interval = {"low": float(p / q * np.exp(-slack)), "high": max(high, value), "rows": n + large_n}
    detail: dict[str, object] = {"least": least, "most": most, "left_out": list(left_out)}
    reason = _said(metric, groups, least, most)
    return Signal(f"fairness.{metric}", **place | interval, value=value, reason=reason, detail=detail)


def _difference(
    place: dict[str, Any], metric: str, groups: Mapping[str, Rate], least: str, most: str, left_out: Sequence[str]
) -> Signal:
    (_, n), (_, large_n) = groups[least], groups[most]
    p, q = groups[least].value, groups[most].value
    slack = float(_deviations(groups) * np.sqrt(p * (1 - p) / n + q * (1 - q) / large_n))
    interval = {"low": max(q - p - slack, 0.0), "high": min(q - p + slack, 1.0), "rows": n + large_n}
    detail: dict[str, object] = {"least": least, "most": most, "left_out": list(left_out)}
    reason = _said(metric, groups, least, most)
    return Signal(f"fairness.{metric}", **place | interval, value=q - p, reason=reason, detail=detail)


def _odds(
    place: dict[str, Any], between: Mapping[str, Mapping[str, Rate]], left_out: Sequence[str]
) -> Iterator[Signal]:
    """Yield the worse of the two error rates, unknown when either is."""
    for kind, worst in (("ratio", min), ("difference", max)):
        found = [
            signal
            for name in ODDS
            for signal in _compared(place, name, between.get(name, {}), left_out)
            if signal.metric.endswith(kind)
        ]
        unknown = next((signal for signal in found if signal.value is None), None)
        if unknown is not None:
            yield replace(unknown, metric=f"fairness.equalized_odds_{kind}")
        else:
            worse = worst(found, key=lambda each: each.value or 0.0)
            yield replace(worse, metric=f"fairness.equalized_odds_{kind}")
