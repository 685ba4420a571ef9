"""What an experiment has shown so far, and what to do: ship the treatment, revert it, go on, or stop.

Metrics (column: the experiment): `experiment.information`, `.split_p_value`, `.difference`, `.lift`, `.latency_p99`
and `.error_rate`. Add a guard-rail to `_guard_rails`. Keep formulas out: they belong in stats; who is in which arm is
decided in serve.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from scipy.special import ndtri

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.experiment_arms import ExperimentArm, ExperimentColumns, count_dispersion
from monitoring_pipeline.describe.log_histogram import LogHistogram
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.stats.experiments import (
    Effect,
    cuped,
    effect_interval,
    information_needed,
    lift_interval,
    sample_ratio_p_value,
    two_proportions,
    welch,
)
from monitoring_pipeline.stats.intervals import wilson_interval
from monitoring_pipeline.stats.spending import Boundary, limits_of

ARMS = CONTROL, TREATMENT = "control", "treatment"

BROKEN_SPLIT = 0.001
"""Below this p-value the split is not the one asked for, and whatever made it so may have made the difference, too."""


class Recommendation(StrEnum):
    """What to do with the treatment."""

    SHIP = "ship"
    REVERT = "revert"
    CONTINUE = "continue"  # nothing is decided yet
    STOP = "stop"  # nothing will be decided by going on


@dataclass(frozen=True, slots=True)
class ExperimentPolicy:
    """How an experiment is read.

    change: of the outcome's mean, what was planned to be found. boundary, looks: see `stats.spending`. latency_p99 (in
    seconds, of `stage`) and error_rate: what the treatment may not exceed; None for no such limit. min_rows: of either
    arm, with an outcome. max_days: when waiting ends.
    """

    name: str
    start: datetime
    change: float
    what: ExperimentColumns = field(default_factory=ExperimentColumns)
    log: LogColumns = field(default_factory=LogColumns)
    treatment_share: float = 0.5
    alpha: float = 0.05
    power: float = 0.8
    boundary: Boundary = "obrien_fleming"
    looks: int = 5
    higher_is_better: bool = True
    min_rows: int = 1000
    max_days: int = 28
    latency_p99: float | None = 0.2
    stage: str = "total"
    error_rate: float | None = 0.01

    @property
    def by_unit(self) -> bool:
        """Whether units may have several rows each."""
        return self.what.unit != self.log.prediction_id


@dataclass(frozen=True, slots=True)
class Look:
    """One analysis: the share of the planned information there was, the statistic, its limit, and the effect.

    low, high: of the difference, and of the lift; they hold at all looks together.
    """

    at: datetime
    fraction: float
    statistic: float
    limit: float
    effect: Effect
    interval: tuple[float, float]
    lift: tuple[float, float, float]

    @property
    def decides(self) -> bool:
        return abs(self.statistic) >= self.limit


@dataclass(frozen=True, slots=True)
class GuardRail:
    """What the treatment may not exceed; `value` is None where it is not known."""

    metric: str
    unit: str
    limit: float
    value: float | None
    low: float | None
    high: float | None
    control: float | None
    rows: int

    def in_words(self) -> str:
        if self.value is None:
            return f"{self.metric} is not known: log it, or lift its limit of {self.limit:g} {self.unit}"
        control = "" if self.control is None else f", control {self.control:.4g}"
        return f"{self.metric} {self.value:.4g}{control}, the limit is {self.limit:g} {self.unit}"


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    """What is known at `end` and what follows, with every reason. `rows` and `known` (with an outcome) are by arm."""

    name: str
    start: datetime
    end: datetime
    recommendation: Recommendation
    reasons: tuple[str, ...]
    rows: Mapping[str, int]
    known: Mapping[str, int]
    split_p_value: float
    fraction: float
    looks: tuple[Look, ...]
    guard_rails: tuple[GuardRail, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and text; null where something is not known, or infinite."""
        document = asdict(self)
        for look, plain in zip(self.looks, document["looks"], strict=True):
            plain["effect"] = look.effect._asdict()
        return {key: _plain(value) for key, value in document.items()}

    def signals(self, model: str, *, version: str, baseline: str) -> list[Signal]:
        """Return the same as signals of the treatment's version, held against that of the control."""
        place: dict[str, Any] = {"model": model, "version": version, "window_start": self.start, "window_end": self.end}
        place |= {"column": self.name, "baseline": baseline, "rows": sum(self.known.values())}
        found = [_signal("information", place, self.fraction), _signal("split_p_value", place, self.split_p_value)]
        nothing = place | {"absence": Absence.WARMING_UP, "reason": f"no look yet: {self.reasons[0]}"}
        if not self.looks:
            found += [Signal(f"experiment.{name}", **nothing) for name in ("difference", "lift")]
        for look in self.looks[-1:]:
            effect, detail = look.effect, {"look": len(self.looks), "z": look.statistic, "limit": look.limit}
            more = {"p_value": effect.p_value, "baseline_value": effect.control, "detail": detail}
            found.append(_signal("difference", place | more, effect.difference, *look.interval))
            found.append(_signal("lift", place | {"detail": detail}, *look.lift))
        for rail in self.guard_rails:
            more = {"unit": rail.unit, "rows": rail.rows, "baseline_value": rail.control}
            found.append(_signal(rail.metric, place | more, rail.value, rail.low, rail.high))
        return found


def _signal(
    name: str, place: dict[str, Any], value: float | None, low: float | None = None, high: float | None = None
) -> Signal:
    if _plain(value) is None:
        return Signal(f"experiment.{name}", **place, absence=Absence.UNDEFINED, reason="not known from these rows")
    return Signal(f"experiment.{name}", **place, value=value, low=_plain(low), high=_plain(high))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def experiment_report(
    days: Iterable[tuple[datetime, Mapping[str, ExperimentArm]]], policy: ExperimentPolicy
) -> ExperimentReport:
    """Return what the counters of successive days, each with its end, say together.

    A look is taken on the first day that brings the information past the next one planned, or, where that is always
    valid, every day. It is the amount of information that decides when to look, never what was seen.
    """
    needed = information_needed(
        policy.change, power=policy.power, alpha=policy.alpha, boundary=policy.boundary, looks=policy.looks
    )
    planned = 1 if policy.boundary == "fixed" else policy.looks
    total = dict.fromkeys(ARMS, ExperimentArm.empty())
    looks: list[Look] = []
    end, fraction = policy.start, 0.0
    for end, arms in days:
        total = {name: arm.merge(arms.get(name, ExperimentArm.empty())) for name, arm in total.items()}
        effect = _effect(total[CONTROL], total[TREATMENT], policy)
        fraction = 0.0 if math.isnan(effect.error) else 1 / effect.error**2 / needed
        seen = looks[-1].fraction if looks else 0.0
        due = fraction > seen if policy.boundary == "always_valid" else int(fraction * planned) > int(seen * planned)
        over = looks and (looks[-1].decides or seen >= 1)
        if due and not over and min(arm.known for arm in total.values()) >= policy.min_rows:
            limits = limits_of(policy.boundary, [*(look.fraction for look in looks), fraction], alpha=policy.alpha)
            looks.append(_look(end, fraction, float(limits[-1]), effect))
    split = min(_split_p_value(total, policy, known=known) for known in (False, True))
    report = ExperimentReport(
        policy.name,
        policy.start,
        end,
        Recommendation.CONTINUE,
        (),
        {name: arm.rows for name, arm in total.items()},
        {name: arm.known for name, arm in total.items()},
        split,
        fraction,
        tuple(looks),
        tuple(_guard_rails(total[CONTROL], total[TREATMENT], policy)),
    )
    recommendation, reasons = _recommend(report, policy)
    return replace(report, recommendation=recommendation, reasons=tuple(reasons))


def _effect(control: ExperimentArm, treatment: ExperimentArm, policy: ExperimentPolicy) -> Effect:
    own, other = (arm.moments(by_unit=policy.by_unit) for arm in (control, treatment))
    if policy.what.covariate is not None and min(own.rows, other.rows) > 0:
        return cuped(own, other)
    if not policy.by_unit and control.is_share and treatment.is_share:
        return two_proportions(own, other)
    return welch(own, other)


def _look(at: datetime, fraction: float, limit: float, effect: Effect) -> Look:
    statistic = math.copysign(float(-ndtri(effect.p_value / 2)), effect.difference)
    ratio = effect.difference / effect.control if effect.control else math.nan
    lift = (ratio, *lift_interval(effect, limit=limit))
    return Look(at, fraction, statistic, limit, effect, effect_interval(effect, limit=limit), lift)


def _split_p_value(total: Mapping[str, ExperimentArm], policy: ExperimentPolicy, *, known: bool) -> float:
    """Return that of all rows, or of those with an outcome: labels that one arm loses are a broken split, too."""
    arms = [total[name] for name in ARMS]
    rows = [arm.known if known else arm.rows for arm in arms]
    dispersion = count_dispersion(arms, known=known) if policy.by_unit else 1.0
    return sample_ratio_p_value(rows, [1 - policy.treatment_share, policy.treatment_share], dispersion=dispersion)


def _guard_rails(control: ExperimentArm, treatment: ExperimentArm, policy: ExperimentPolicy) -> Iterable[GuardRail]:
    own, other = treatment.operations, control.operations
    if policy.latency_p99 is not None:
        histogram, before = (each.latency.get(policy.stage, LogHistogram.empty()) for each in (own, other))
        value, low, high, expected = (None,) * 4
        if histogram.count >= policy.min_rows:
            value, (low, high) = float(histogram.quantile(0.99)), histogram.quantile_interval(0.99)
            expected = _plain(float(before.quantile(0.99)))
        yield GuardRail("latency_p99", "s", policy.latency_p99, value, low, high, expected, histogram.count)
    if policy.error_rate is not None:
        value, low, high, expected = (None,) * 4
        if policy.log.status is not None and own.rows >= policy.min_rows:
            value, (low, high) = own.errors / own.rows, map(float, wilson_interval(own.errors, own.rows))
            expected = other.errors / other.rows if other.rows else None
        yield GuardRail("error_rate", "1", policy.error_rate, value, low, high, expected, own.rows)


def _recommend(report: ExperimentReport, policy: ExperimentPolicy) -> tuple[Recommendation, Sequence[str]]:
    last = report.looks[-1] if report.looks else None
    late = report.end - report.start >= timedelta(days=policy.max_days)
    waiting = Recommendation.STOP if late else Recommendation.CONTINUE
    out_of_time = [f"{policy.max_days} days have passed"] if late else []
    if report.split_p_value < BROKEN_SPLIT:
        rows = f"{report.rows[CONTROL]} to {report.rows[TREATMENT]} rows, with an outcome {report.known[CONTROL]} to "
        wanted = f"{report.known[TREATMENT]}, where {policy.treatment_share:.0%} should be treated"
        cure = "nothing can be concluded: find out who is lost, and start again under another name"
        return Recommendation.STOP, [f"the split is broken: {rows}{wanted} (p {report.split_p_value:.1g}); {cure}"]
    fewest = min(report.known.values())
    if fewest < policy.min_rows:
        return waiting, [*out_of_time, f"{fewest} rows with an outcome in the smaller arm, {policy.min_rows} needed"]
    broken = [rail.in_words() for rail in report.guard_rails if rail.low is not None and rail.low > rail.limit]
    if broken:
        return Recommendation.REVERT, broken
    if last is not None and last.decides:
        if (last.effect.difference > 0) is not policy.higher_is_better:
            return Recommendation.REVERT, [_in_words(last, report, "worse")]
        doubts = [rail.in_words() for rail in report.guard_rails if rail.value is None or rail.value > rail.limit]
        found = _in_words(last, report, "better")
        return (waiting, [*out_of_time, *doubts, found]) if doubts else (Recommendation.SHIP, [found])
    if last is not None and last.fraction >= 1:
        return Recommendation.STOP, [_in_words(last, report, "not shown to differ"), "all planned information is in"]
    if report.fraction == 0:
        return waiting, [*out_of_time, "the difference is not known: no outcome varies"]
    said = [] if last is None else [_in_words(last, report, "not shown to differ yet")]
    return waiting, [*out_of_time, *said, f"{report.fraction:.0%} of the planned information is in"]


def _in_words(look: Look, report: ExperimentReport, what: str) -> str:
    effect, (ratio, low, high) = look.effect, look.lift
    means = f"{effect.control:.4g} -> {effect.control + effect.difference:.4g}"
    lift = f"lift {ratio:+.2%}, {low:+.2%} to {high:+.2%}"
    number = report.looks.index(look) + 1
    return f"treatment is {what}: {means} ({lift}) at look {number}, z {look.statistic:.2f}, limit {look.limit:.2f}"
