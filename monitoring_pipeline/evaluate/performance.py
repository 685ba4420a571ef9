"""Performance signals of a binary classifier, from outcome profiles alone.

Metrics: `performance.accuracy`, `.precision`, `.recall`, `.f1`, `.roc_auc`, `.average_precision`, `.log_loss`,
`.brier`, `.expected_calibration_error`, `.positive_rate`, `.mean_score` and `.label_coverage`, each with its 95 %
interval where one is defined. Add a metric by adding it to `_measures`. Keep thresholds out: they belong in judge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from monitoring_pipeline.capture.windows import EPOCH, HOUR
from monitoring_pipeline.describe.hours import hours_by_version
from monitoring_pipeline.describe.outcomes import SCORE_BINS, HourlyOutcomes, OutcomeProfile
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import Absence, Signal, warming_up
from monitoring_pipeline.stats.classification import (
    average_precision_from_histograms,
    expected_calibration_error,
    roc_auc_from_histograms,
    roc_auc_interval,
)
from monitoring_pipeline.stats.intervals import f1_interval, normal_interval, wilson_interval

CALIBRATION_BINS = 20
"""Score bins of the expected calibration error; each sums 25 of the fine ones."""


DECIDED = frozenset({"accuracy", "precision", "recall", "f1"})
"""Metrics of the class that was served; the others are metrics of the score."""


@dataclass(frozen=True, slots=True)
class PerformancePolicy:
    """Windows to evaluate, and how many labelled rows make a number worth saying.

    min_coverage: share of the window's predictions that must have labels; what is labelled first is rarely a fair
    sample (a late flight is known to be late later than a punctual one is known to be punctual).
    """

    windows: tuple[timedelta, ...]
    min_rows: int = 100
    min_coverage: float = 0.6


def performance_by_version(
    model: str,
    outcomes: Mapping[datetime, Mapping[str, OutcomeProfile]],
    references: Mapping[str, Reference],
    hours: Sequence[datetime],
    policy: PerformancePolicy,
) -> list[Signal]:
    """Return the performance of every version that served in a window, against its own baseline where it has one."""
    empty = OutcomeProfile.empty()
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
    expected = {name: value for name, _, value, *_ in _measures(baseline)} if baseline else {}
    signals: list[Signal] = []
    for hour in hours:
        for window in policy.windows:
            start, length = hour + HOUR - window, round(window / HOUR)
            parts = [outcomes[at] for step in range(length) if (at := start + step * HOUR) in outcomes]
            place = {"model": model, "version": version, "window_start": start, "window_end": hour + HOUR}
            rows = {at: outcomes[at].rows for step in range(length) if (at := start + step * HOUR) in outcomes}
            missing = warming_up(rows, traffic or {}, start=start, length=length)
            signals += _window_signals(place, merge_outcomes(parts), expected, policy, missing)
    return signals


def merge_outcomes(parts: Sequence[OutcomeProfile]) -> OutcomeProfile:
    """Return the merge of outcome profiles, oldest first."""
    total = OutcomeProfile.empty()
    for part in parts:
        if part.rows:
            total = total.merge(part)
    return total


def _window_signals(
    place: dict[str, Any],
    total: OutcomeProfile,
    expected: dict[str, float],
    policy: PerformancePolicy,
    missing: tuple[Absence, str] | None,
) -> Iterator[Signal]:
    as_of = (EPOCH + timedelta(microseconds=total.known_at)).astimezone(UTC).isoformat() if total.known_at else ""
    detail: dict[str, object] = {"labels_as_of": as_of} if as_of else {}
    yield _coverage(place, total, detail, missing)
    absence = missing or _absence(total, policy)
    for name, unit, value, low, high, rows in _measures(total):
        why = absence or _undefined(name, value, total, policy)
        yield Signal(
            metric=f"performance.{name}",
            **place,
            value=None if why else value,
            absence=why[0] if why else None,
            reason=why[1] if why else "",
            unit=unit,
            rows=rows,
            low=_number(low) if not why else None,
            high=_number(high) if not why else None,
            baseline_value=_number(expected.get(name)),
            detail=detail,
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


def _undefined(name: str, value: float, total: OutcomeProfile, policy: PerformancePolicy) -> tuple[Absence, str] | None:
    """Return why one metric has no value although there are labels enough."""
    what, rows = ("prediction", int(total.confusion.sum())) if name in DECIDED else ("score", total.scored)
    if rows < policy.min_rows and name != "positive_rate":
        needed = f"{policy.min_rows} are needed (performance.min_rows)"
        return Absence.TOO_FEW_ROWS, f"{rows} labelled rows with a usable {what}, {needed}"
    if np.isfinite(value):
        return None
    if name in ("roc_auc", "average_precision"):
        return Absence.ONE_CLASS_ONLY, f"{int(total.positives.sum())} positives among {total.scored} scored labels"
    return Absence.UNDEFINED, "the formula divides by zero on these rows"


Measure = tuple[str, str, float, float, float, int]


def _measures(total: OutcomeProfile) -> Iterator[Measure]:
    """Yield (name, unit, value, low, high, rows) of every metric; NaN where the rows do not define it."""
    yield from _confusion_measures(total)
    positives, negatives, scored = total.positives, total.negatives, total.scored
    low, high = roc_auc_interval(positives, negatives)
    yield "roc_auc", "1", float(roc_auc_from_histograms(positives, negatives)), float(low), float(high), scored
    precision = float(average_precision_from_histograms(positives, negatives))
    yield "average_precision", "1", precision, np.nan, np.nan, scored
    for name, unit, place in (("log_loss", "nat", 0), ("brier", "1", 2)):
        mean, square = (total.losses[place] / scored, total.losses[place + 1] / scored) if scored else (np.nan, np.nan)
        low, high = normal_interval(mean, max(square - mean**2, 0.0), rows=scored)  # rounding can go below zero
        yield name, unit, float(mean), float(low), float(high), scored
    counts = (positives + negatives).reshape(CALIBRATION_BINS, -1).sum(axis=1)
    hits = positives.reshape(CALIBRATION_BINS, -1).sum(axis=1)
    sums = total.score_sums.reshape(CALIBRATION_BINS, SCORE_BINS // CALIBRATION_BINS).sum(axis=1)
    error = float(expected_calibration_error(counts, hits, sums))
    yield "expected_calibration_error", "1", error, np.nan, np.nan, scored
    mean_score = float(total.score_sums.sum() / scored) if scored else np.nan
    yield "mean_score", "1", mean_score, np.nan, np.nan, scored


def _confusion_measures(total: OutcomeProfile) -> Iterator[Measure]:
    (tn, fp), (fn, tp) = total.confusion.tolist()
    decided = tn + fp + fn + tp
    for name, hits, trials in (
        ("accuracy", tp + tn, decided),
        ("precision", tp, tp + fp),
        ("recall", tp, tp + fn),
    ):
        low, high = wilson_interval(hits, trials)
        yield name, "1", hits / trials if trials else np.nan, float(low), float(high), trials
    low, high = f1_interval(tp, fp, fn)
    f1 = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else np.nan
    yield "f1", "1", f1, float(low), float(high), decided
    observed = int(total.positives.sum()) if total.scored else tp + fn
    trials = total.scored or decided
    low, high = wilson_interval(observed, trials)
    yield "positive_rate", "1", observed / trials if trials else np.nan, float(low), float(high), trials


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
