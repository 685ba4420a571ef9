"""Performance estimated before labels arrive, and what such estimates were worth when they did.

Metrics: `estimate.<name>` for the names of the task's performance metrics, with an interval for what labels will show;
`estimate.error`, how far the estimate of accuracy (of the loss, where there is none; of predicted numbers as a share of
the estimated mean absolute error) lay from what labels then showed;
and `estimate.largest_error`, the largest of the weeks before that chance does not explain: while there is one, nobody
should rely on the estimates. They see a change in which scores there are, never one in what a score means.

Add the estimate of another task to `_ESTIMATES`. Keep formulas out: they belong in stats.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.columns import IntArray
from monitoring_pipeline.describe.loss_model import FOLDS
from monitoring_pipeline.describe.multiclass_outcomes import SHOWN_BINS, MulticlassOutcomes
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.describe.regression_outcomes import RegressionOutcomes
from monitoring_pipeline.evaluate.measures import Measure
from monitoring_pipeline.evaluate.multiclass_measures import averages
from monitoring_pipeline.evaluate.performance import label_absence, measures_of
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.evaluate.trailing import TrailingWindow, totals, trailing_windows
from monitoring_pipeline.stats.confidence_estimates import (
    ScoreCalibration,
    expected_accuracy_deviation,
    expected_metrics,
    isotonic_calibration,
)

WIDTH = 1.96
"""Standard deviations on either side of an estimate: 95 %."""

DAY = timedelta(days=1)

Why = tuple[Absence, str]


@dataclass(frozen=True, slots=True)
class EstimatePolicy:
    """Windows, rows an estimate needs, and how far back its errors are remembered (in days, a day at a time)."""

    windows: tuple[timedelta, ...]
    plan: OutcomePlan = field(default_factory=OutcomePlan)
    min_rows: int = 100
    min_coverage: float = 0.6
    memory: timedelta = timedelta(days=28)

    @property
    def reach(self) -> timedelta:
        """How far before its end an evaluation reads outcomes."""
        return max(*self.windows, self.memory)


class Estimate(NamedTuple):
    """What is expected of one metric, give or take; `std` is NaN where that is not known."""

    value: float
    std: float


Estimator = Callable[[OutcomeProfile], tuple[int, dict[str, Estimate]]]
"""From outcomes to the rows an estimate can be made of, and the estimates by metric; labels are not looked at."""


def estimates_by_version(
    model: str,
    outcomes: Mapping[datetime, Mapping[str, OutcomeProfile]],
    references: Mapping[str, Reference],
    hours: Sequence[datetime],
    policy: EstimatePolicy,
) -> list[Signal]:
    """Return the estimates of every version that served in a window; none for a task that has no estimate.

    `outcomes` must reach back by the policy's reach.
    """
    if policy.plan.task not in _ESTIMATES:
        return []
    empty = policy.plan.empty()
    made: dict[str, tuple[OutcomeProfile, Estimator]] = {
        version: (reference.outcomes, _ESTIMATES[policy.plan.task](reference.outcomes))
        for version, reference in references.items()
        if reference.outcomes is not None
    }
    signals: list[Signal] = []
    for window in trailing_windows(outcomes, hours, policy.windows, empty):
        signals += _window_signals(window, model, made.get(window.version), policy)
    days: dict[tuple[str, datetime], Signal | None] = {}
    last = {
        version: totals({at: parts[version] for at, parts in outcomes.items() if version in parts}, empty)
        for version in made
    }
    for version, end in dict.fromkeys((signal.version, signal.window_end) for signal in signals):
        ends = [end - back * DAY for back in range(round(policy.memory / DAY))]
        for day in ends if version in made else ():
            if (version, day) not in days:
                days[version, day] = _day(last[version](day, 24), day, made[version][1], policy)
        place = {"model": model, "version": version, "window_start": end - HOUR, "window_end": end}
        signals.append(_largest_error(place, [days.get((version, day)) for day in ends]))
    return signals


def _window_signals(
    window: TrailingWindow[OutcomeProfile],
    model: str,
    made: tuple[OutcomeProfile, Estimator] | None,
    policy: EstimatePolicy,
) -> Iterator[Signal]:
    place, total, why = window.place(model), window.total, window.missing
    if why is None and total.rows == 0:
        why = Absence.EMPTY_HOUR, "no prediction was logged"
    if made is None:
        why = why or (Absence.NO_REFERENCE, "the labelled reference rows of this version are not known")
    if why or made is None:
        assert why is not None
        yield Signal("estimate.error", **place, absence=why[0], reason=why[1])
        return
    baseline, estimate = made
    rows, found = estimate(total)
    known = {each.name: each for each in measures_of(baseline, {}) if not each.part}
    if rows < policy.min_rows:
        reason = f"{rows} rows with a usable {_SEEN[total.task]}, {policy.min_rows} are needed (performance.min_rows)"
        why = Absence.TOO_FEW_ROWS, reason
    for name, (value, std) in found.items():
        before = known.get(name, Measure(name=name, value=np.nan, rows=0))
        shared = place | {"baseline_value": before.value if np.isfinite(before.value) else None, "unit": before.unit}
        unknown = why or (None if np.isfinite(value) else (Absence.UNDEFINED, "the formula divides by zero"))
        if unknown:
            yield Signal(f"estimate.{name}", **shared, rows=rows, absence=unknown[0], reason=unknown[1])
            continue
        ends = {"low": value - WIDTH * std, "high": value + WIDTH * std} if np.isfinite(std) else {}
        yield Signal(f"estimate.{name}", **shared | ends, value=value, rows=rows)
    yield _error(place, total, found, why, policy)


def _primary(found: Mapping[str, Estimate]) -> str:
    """Return the metric by which estimates are held against labels: the first of these that there is."""
    return next(name for name in ("accuracy", "mae", "brier") if name in found and np.isfinite(found[name].value))


def _realised(total: OutcomeProfile, found: Mapping[str, Estimate]) -> tuple[str, float, Estimate, int]:
    """Return the metric, what labels show of it, its estimate with the deviation for so many labels, and how many."""
    name = _primary(found)
    measure = next(each for each in measures_of(total, {}) if each.name == name and not each.part)
    value, std = found[name]
    return name, measure.value, Estimate(value, std * np.sqrt(total.rows / max(measure.rows, 1))), measure.rows


def _error(
    place: dict[str, Any],
    total: OutcomeProfile,
    found: Mapping[str, Estimate],
    why: Why | None,
    policy: EstimatePolicy,
) -> Signal:
    why = why or label_absence(total, min_coverage=policy.min_coverage)
    if why is None and not any(np.isfinite(each.value) for each in found.values()):
        why = Absence.UNDEFINED, "nothing could be estimated"
    if why:
        return Signal("estimate.error", **place, absence=why[0], reason=why[1])
    name, shown, expected, rows = _realised(total, found)
    if not np.isfinite(shown):
        return Signal("estimate.error", **place, absence=Absence.UNDEFINED, reason=f"labels do not define {name}")
    # The size of numbers means nothing by itself, that of shares does.
    scale = expected.value if name == "mae" and expected.value else 1.0
    error, slack = abs(shown - expected.value) / scale, WIDTH * expected.std / scale
    detail: dict[str, object] = {"metric": name, "estimated": expected.value, "realised": shown}
    reason = f"{name} was estimated at {expected.value:.3f}, labels show {shown:.3f}"
    ends = {"low": max(error - slack, 0.0), "high": error + slack} if np.isfinite(slack) else {}
    return Signal("estimate.error", **place | ends, value=error, rows=rows, reason=reason, detail=detail)


def _day(total: OutcomeProfile, end: datetime, estimate: Estimator, policy: EstimatePolicy) -> Signal | None:
    """Return the error of the 24 hours before `end`, None where it is not known."""
    if total.labelled < policy.min_rows:
        return None
    rows, found = estimate(total)
    if rows < policy.min_rows:
        return None
    place = {"model": "", "version": "", "window_start": end - DAY, "window_end": end}
    signal = _error(place, total, found, None, policy)
    return signal if signal.value is not None else None


def _largest_error(place: dict[str, Any], days: Sequence[Signal | None]) -> Signal:
    """Return the largest error of some days that chance does not explain, zero where it explains all of them."""
    known = [day for day in days if day is not None]
    if not known:
        reason = "no day has both estimates and labels yet"
        return Signal("estimate.largest_error", **place, absence=Absence.NO_LABELS_YET, reason=reason)
    # Of many days one is off by more than two deviations anyway: three.
    beyond = [day for day in known if (day.value or 0.0) > 1.5 * ((day.value or 0.0) - (day.low or 0.0))]
    rows = sum(day.rows for day in known)
    if not beyond:
        reason = f"estimates agreed with the labels of {len(known)} days"
        return Signal("estimate.largest_error", **place, value=0.0, rows=rows, reason=reason)
    worst = max(beyond, key=lambda day: day.value or 0.0)
    reason = (
        f"estimates of {worst.detail['metric']} were off by {worst.value:.2f} in the 24 hours to "
        f"{worst.window_end:%Y-%m-%d %H:%MZ}: do not rely on them"
    )
    detail = {**worst.detail, "days": len(known), "days_off": len(beyond), "until": worst.window_end.isoformat()}
    return Signal("estimate.largest_error", **place, value=worst.value, rows=rows, reason=reason, detail=detail)


def _binary(baseline: OutcomeProfile) -> Estimator:
    assert isinstance(baseline, BinaryOutcomes)
    calibration = isotonic_calibration(baseline.positives, baseline.negatives)

    def estimate(total: OutcomeProfile) -> tuple[int, dict[str, Estimate]]:
        assert isinstance(total, BinaryOutcomes)
        found = expected_metrics(total.served, calibration)
        return int(total.served.sum()), {name: Estimate(float(e.value), float(e.std)) for name, e in found.items()}

    return estimate


def _multiclass(baseline: OutcomeProfile) -> Estimator:
    """Return an estimator that takes each class against the rest, and makes the probabilities of a row add up.

    Averages over classes have no deviation of their own: how classes are confused is known on average only.
    """
    assert isinstance(baseline, MulticlassOutcomes)
    calibrations = {
        name: isotonic_calibration(_coarse(baseline.positives[name]), _coarse(baseline.negatives[name]))
        for name in baseline.positives
    }
    classes = sorted(calibrations)

    def estimate(total: OutcomeProfile) -> tuple[int, dict[str, Estimate]]:
        assert isinstance(total, MulticlassOutcomes)
        zero = np.zeros(SHOWN_BINS, np.int64)
        shown = np.array([[total.shown.get(j, {}).get(k, zero) for k in classes] for j in classes]).reshape(
            len(classes), len(classes), SHOWN_BINS
        )
        rows = int(shown[:, 0].sum()) if classes else 0
        if rows == 0:
            return 0, {}
        p = np.stack([calibrations[name].probability for name in classes])
        confusion = np.einsum("jkb,kb->kj", shown, p)
        served = shown[:, 0].sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            confusion = np.nan_to_num(confusion / confusion.sum(axis=0) * served)
        found = {name: Estimate(float(value), np.nan) for name, value in averages(confusion).items()}
        diagonal = [(shown[at, at], calibrations[name]) for at, name in enumerate(classes)]
        accuracy = Estimate(float(np.trace(confusion) / rows), expected_accuracy_deviation(diagonal, rows=rows))
        areas = [_expected_area(shown[:, at].sum(axis=0), calibrations[name]) for at, name in enumerate(classes)]
        return rows, {"accuracy": accuracy, **found, "roc_auc": Estimate(float(np.mean(areas)), np.nan)}

    return estimate


def _expected_area(rows: IntArray, calibration: ScoreCalibration) -> float:
    nobody = np.zeros_like(rows)
    return float(expected_metrics(np.stack([nobody, nobody, rows]), calibration)["roc_auc"].value)


def _coarse(counts: IntArray) -> IntArray:
    return np.asarray(counts.reshape(SHOWN_BINS, -1).sum(axis=-1))


def _regression(_: OutcomeProfile) -> Estimator:
    """Return an estimator that adds up what the loss model of the version expected of each row."""
    # How far the folds lie apart is known from few of them: Student's t in units of the normal.
    wider = float(stdtrit(FOLDS - 1, 0.975)) / WIDTH

    def estimate(total: OutcomeProfile) -> tuple[int, dict[str, Estimate]]:
        assert isinstance(total, RegressionOutcomes)
        rows = total.expected_rows
        if rows == 0:
            return 0, {}
        folds = total.expected_losses / rows
        mae, mse = (float(mean) for mean in folds.mean(axis=0))
        # The jackknife with a part of the reference left out at a time (Shao and Wu 1989) for what all rows share.
        shared = wider**2 * (FOLDS - 1) * folds.var(axis=0)
        std = np.sqrt(total.expected_variances / rows**2 + shared)
        root = float(np.sqrt(mse))
        of_root = Estimate(root, float(std[1]) / (2 * root) if root else 0.0)
        return rows, {"mae": Estimate(mae, float(std[0])), "mse": Estimate(mse, float(std[1])), "rmse": of_root}

    return estimate


_ESTIMATES: Mapping[Task, Callable[[OutcomeProfile], Estimator]] = {
    Task.BINARY: _binary,
    Task.MULTICLASS: _multiclass,
    Task.REGRESSION: _regression,
}

_SEEN: Mapping[Task, str] = {Task.BINARY: "score", Task.MULTICLASS: "score", Task.REGRESSION: "prediction"}
