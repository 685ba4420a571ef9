"""What a shadow says of the rows another version served: how alike, how shifted, and which of the two was right.

Metrics, of the shadow's version against the one that served: `shadow.coverage`, `.agreement`, `.kappa`, `.score_shift`,
`.psi`, `.ks`, `.rank_correlation`, `.drift`, and `.roc_auc_gain`, `.log_loss_gain`, `.mae_gain` once labels are there.
Add one to `_of_scores` or `_gains`. Keep promotions out: the gate decides them, on rows neither version was trained on.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from scipy.special import stdtrit

from monitoring_pipeline.describe.columns import FloatArray, IntArray
from monitoring_pipeline.describe.distances import Pair, as_windows, expected_windows, measured
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.describe.profiles import ColumnProfile
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.gains import gains, mean_of, per_row
from monitoring_pipeline.evaluate.signals import TRAINING, Absence, Signal
from monitoring_pipeline.stats.agreement import clustered_mean, cohens_kappa
from monitoring_pipeline.stats.distances import population_stability_index
from monitoring_pipeline.stats.experiments import information_needed, student_limit
from monitoring_pipeline.stats.histograms import quantile_edges, smoothed_pair
from monitoring_pipeline.stats.hypothesis_tests import two_sample_ks
from monitoring_pipeline.stats.intervals import normal_quantile, wilson_interval
from monitoring_pipeline.stats.spending import always_valid_limits

SO_FAR = "so_far"
"""Span of a signal over all the time of a shadow: it is read again every day, and its interval holds at all of them."""

LOOKS = 5
"""A difference of the margin is planned to be found at one of so many looks, as in an experiment."""

BINS = 10
"""Of about equal mass, for the population stability index of the two scores."""

FEWEST_DAYS = 7
"""Of labels, before anything is said of errors: rows of a day err together, as on a day of rain."""

ShadowMetric = Literal["roc_auc", "log_loss", "mae"]
COMPARED: Mapping[Task, tuple[ShadowMetric, ...]] = {Task.BINARY: ("roc_auc", "log_loss"), Task.REGRESSION: ("mae",)}


class Recommendation(StrEnum):
    """How the shadow compares with what is served."""

    BETTER = "better"
    WORSE = "worse"
    ALIKE = "alike"  # a difference worth having would have been found
    UNDECIDED = "undecided"  # no difference is certain yet
    UNKNOWN = "unknown"  # nothing, or too little, to compare


@dataclass(frozen=True, slots=True)
class ShadowPolicy:
    """How a shadow is read.

    metric: what decides. margin: the difference in it that is worth having; of errors as a share of the served error.
    min_rows: with both scores. min_labelled: of those, with an outcome.
    """

    task: Task
    metric: ShadowMetric = "roc_auc"
    margin: float = 0.005
    threshold: float = 0.5
    min_rows: int = 1000
    min_labelled: int = 100
    alpha: float = 0.05
    power: float = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class ShadowRows:
    """Rows two versions scored, each of shape (rows,). `actual` is NaN where not known; `hours` count from 1970."""

    served: FloatArray
    shadow: FloatArray
    actual: FloatArray
    hours: IntArray

    @classmethod
    def concat(cls, parts: Sequence["ShadowRows"]) -> "ShadowRows":
        """Return the rows of all parts."""
        blank = [np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.int64)]
        names = ("served", "shadow", "actual", "hours")
        columns = ([getattr(each, name) for each in parts] for name in names)
        return cls(*(np.concatenate([empty, *column]) for empty, column in zip(blank, columns, strict=True)))

    def where(self, kept: Any) -> "ShadowRows":
        """Return some of the rows."""
        return ShadowRows(self.served[kept], self.shadow[kept], self.actual[kept], self.hours[kept])

    def labelled(self, task: Task) -> "ShadowRows":
        """Return the rows with an outcome that can be compared."""
        known = np.isfinite(self.actual)
        if task is Task.BINARY:
            known = np.isin(self.actual, (0, 1))
            for scores in (self.served, self.shadow):
                known &= (scores >= 0) & (scores <= 1)
        return self.where(known)


@cache
def _needed(alpha: float, power: float) -> float:
    """Return the information it takes to find a difference of 1; one of a half takes four times as much."""
    return information_needed(1.0, power=power, alpha=alpha, boundary="always_valid", looks=LOOKS)


@dataclass(frozen=True, slots=True)
class Gain:
    """A metric of both versions on the same labelled rows; `gain` is positive where the shadow is better."""

    metric: str
    served: float
    shadow: float
    gain: float
    error: float
    freedom: float
    rows: int

    def fraction(self, policy: ShadowPolicy) -> float:
        """Return the share of the information it takes to find a difference of the margin."""
        margin = policy.margin * (self.served if self.metric == "mae" else 1.0)
        if not (self.error > 0 and margin > 0):
            return math.inf
        return margin**2 / self.error**2 / _needed(policy.alpha, policy.power)

    def interval(self, policy: ShadowPolicy, *, so_far: bool = True) -> tuple[float, float]:
        """Return within what the true gain lies; `so_far`: at every look at ever more rows, however many there are."""
        limit = float(normal_quantile(1 - policy.alpha))
        if so_far and math.isfinite(fraction := self.fraction(policy)):
            limit = float(always_valid_limits(fraction, alpha=policy.alpha))
        half = student_limit(limit, freedom=self.freedom) * self.error
        return self.gain - half, self.gain + half


def compare_labelled(rows: ShadowRows, policy: ShadowPolicy, clusters: IntArray) -> list[Gain]:
    """Return how much better the shadow is on labelled rows, by each metric of the task; a cluster's rows err alike."""
    found = []
    for name in COMPARED[policy.task]:
        served, shadow = (per_row(name, rows.actual, said) for said in (rows.served, rows.shadow))
        gain = mean_of(gains(name, served, shadow), clusters)
        found.append(Gain(name, float(served.mean()), float(shadow.mean()), *gain, len(served)))
    return found


def recommend(rows: ShadowRows, policy: ShadowPolicy) -> tuple[Recommendation, str]:
    """Return what all labelled rows so far say of the shadow, and why."""
    known = rows.labelled(policy.task)
    few = _too_few(known, policy)
    if few is not None:
        return Recommendation.UNKNOWN, few[1]
    compared = compare_labelled(known, policy, _clusters(known, so_far=True))
    primary = next(gain for gain in compared if gain.metric == policy.metric)
    if not math.isfinite(primary.error):
        return Recommendation.UNKNOWN, f"{primary.metric} is not known: its labels are of one class, or of one hour"
    low, high = primary.interval(policy)
    said = _in_words(primary, policy)
    if high < 0:
        return Recommendation.WORSE, f"the shadow is worse: {said}"
    if low > 0:
        against = [gain for gain in compared if gain.interval(policy)[1] < 0]
        if against:
            return Recommendation.UNDECIDED, f"the shadow is better in one thing and worse in another: {said}; " + (
                "; ".join(_in_words(gain, policy) for gain in against)
            )
        return Recommendation.BETTER, f"the shadow is better: {said}"
    fraction = primary.fraction(policy)
    if fraction >= 1:
        return Recommendation.ALIKE, f"no difference: {said}; one of {policy.margin:g} would most likely have shown"
    more = float(f"{primary.rows * (1 / fraction - 1):.2g}")
    return Recommendation.UNDECIDED, f"no difference yet: {said}; needs about {max(more, 1):,.0f} more labelled rows"


def _in_words(gain: Gain, policy: ShadowPolicy) -> str:
    low, high = gain.interval(policy)
    return (
        f"{gain.metric} {gain.served:.4g} -> {gain.shadow:.4g}, gain {gain.gain:+.4g} ({low:+.4g} to {high:+.4g}) on "
        f"{gain.rows:,} rows"
    )


def _too_few(known: ShadowRows, policy: ShadowPolicy) -> tuple[Absence, str] | None:
    if len(known.actual) < policy.min_labelled:
        absence = Absence.TOO_FEW_ROWS if len(known.actual) else Absence.NO_LABELS_YET
        return absence, f"{len(known.actual)} rows that both scored have their label, {policy.min_labelled} needed"
    days = len(np.unique(known.hours // 24))
    if days < FEWEST_DAYS:
        return Absence.WARMING_UP, f"{days} days have labels, {policy.metric} needs {FEWEST_DAYS}"
    return None


def _clusters(rows: ShadowRows, *, so_far: bool) -> IntArray:
    return rows.hours // 24 if so_far else rows.hours


def shadow_signals(
    rows: ShadowRows, policy: ShadowPolicy, place: Mapping[str, Any], *, so_far: bool = False
) -> list[Signal]:
    """Return the comparison of one stretch of time, or of all the time of the shadow, as signals.

    `place` is what they have in common: model, the shadow's version, the window, and as baseline the version served.
    """
    place = {**place, "span": SO_FAR if so_far else "", "rows": len(rows.served)}
    found = list(_of_scores(rows, policy, place))
    known = rows.labelled(policy.task)
    names = COMPARED[policy.task]
    few = _too_few(known, policy) if so_far or len(known.actual) < policy.min_labelled else None
    place["rows"] = len(known.actual)
    if few is not None:
        return found + [Signal(f"shadow.{name}_gain", **place, absence=few[0], reason=few[1]) for name in names]
    for gain in compare_labelled(known, policy, _clusters(known, so_far=so_far)):
        unit = {"roc_auc": "1", "log_loss": "nat", "mae": "target"}[gain.metric]
        detail = {"served": gain.served, "shadow": gain.shadow}
        more = {"unit": unit, "baseline_value": gain.served, "detail": detail}
        between = gain.interval(policy, so_far=so_far)
        found.append(_signal(f"{gain.metric}_gain", place | more, gain.gain, *between))
    return found


def _of_scores(rows: ShadowRows, policy: ShadowPolicy, place: dict[str, Any]) -> Iterator[Signal]:
    served, shadow, count = rows.served, rows.shadow, len(rows.served)
    binary = policy.task is Task.BINARY
    if count < policy.min_rows:
        few = {"absence": Absence.TOO_FEW_ROWS, "reason": f"{count} rows have both scores, {policy.min_rows} needed"}
        names = ("agreement", "kappa") if binary else ()
        for name in (*names, "score_shift", "psi", "ks", "rank_correlation"):
            yield Signal(f"shadow.{name}", **place | few)
        return
    if binary:
        table = np.zeros((2, 2), np.int64)
        np.add.at(table, tuple((said >= policy.threshold).astype(np.int64) for said in (served, shadow)), 1)
        equal = int(np.trace(table))
        yield _signal("agreement", place, equal / count, *map(float, wilson_interval(equal, count)))
        yield _signal("kappa", place, float(cohens_kappa(table)))
    shift = clustered_mean(shadow - served, rows.hours)
    half = float(stdtrit(shift.freedom, 0.975)) * shift.error if shift.freedom else math.nan
    more = {"unit": "1" if binary else "target", "baseline_value": float(served.mean())}
    yield _signal("score_shift", place | more, shift.mean, shift.mean - half, shift.mean + half)
    edges = quantile_edges(served, BINS)[1:-1]
    counts = (np.bincount(np.searchsorted(edges, said, "right"), minlength=len(edges) + 1) for said in (served, shadow))
    yield _signal("psi", place, float(population_stability_index(*smoothed_pair(*counts))))
    # No p-values: those are for two samples, and these are the same rows.
    yield _signal("ks", place, two_sample_ks(served, shadow)[0])
    yield _signal("rank_correlation", place, _rank_correlation(served, shadow))


def _rank_correlation(served: FloatArray, shadow: FloatArray) -> float:
    from scipy.stats import rankdata

    if np.ptp(served) == 0 or np.ptp(shadow) == 0:
        return math.nan
    return float(np.corrcoef(rankdata(served), rankdata(shadow))[0, 1])


def shadow_drift(
    scores: FloatArray, reference: Reference | None, column: str, policy: ShadowPolicy, place: Mapping[str, Any]
) -> Signal:
    """Return how far a shadow's scores lie from those it had in its own reference, as what is served is judged."""
    place = {**place, "column": column, "baseline": TRAINING, "rows": len(scores)}
    entry = reference.columns.get(column) if reference is not None else None
    if entry is None:
        why = "the shadow's version has no reference with its scores"
        return Signal("shadow.drift", **place, absence=Absence.NO_REFERENCE, reason=why)
    if len(scores) < policy.min_rows:
        why = f"{len(scores)} rows have both scores, {policy.min_rows} needed"
        return Signal("shadow.drift", **place, absence=Absence.TOO_FEW_ROWS, reason=why)
    profile = ColumnProfile.of(pa.chunked_array([pa.array(scores)]), entry.column)
    pair = Pair(entry.column, expected_windows(entry.column, entry.profile), as_windows(profile))
    return _signal("drift", place, float(measured(pair, ["psi"], tested=False)["psi"].values[0]))


def shadow_coverage(scored: int, served: int, place: Mapping[str, Any]) -> Signal:
    """Return the share of the rows served that the shadow scored, too."""
    if not served:
        return Signal("shadow.coverage", **place, absence=Absence.EMPTY_HOUR, reason="no prediction was logged")
    between = map(float, wilson_interval(scored, served))
    return _signal("coverage", {**place, "rows": served}, scored / served, *between)


def _signal(name: str, place: Mapping[str, Any], value: float, low: float = math.nan, high: float = math.nan) -> Signal:
    if not math.isfinite(value):
        return Signal(f"shadow.{name}", **place, absence=Absence.UNDEFINED, reason="not known from these rows")
    bounds: Sequence[float | None] = [each if math.isfinite(each) else None for each in (low, high)]
    return Signal(f"shadow.{name}", **place, value=value, low=bounds[0], high=bounds[1])
