"""What the signals of a service mean: one rule per service, which fires when two checks in a row went wrong.

Add a limit to `ServiceLimits` and a case to `_verdict`. Keep the signals themselves out: they belong in evaluate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline.evaluate.service_health import DEPLOYMENT, SLOT
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level, Verdict

FAILURES = 2
"""Checks in a row that go wrong before anybody hears: a restart misses one."""

IN_A_ROW = 3 * SLOT
"""Checks further apart are not in a row: what an earlier one said may long have been mended."""

RUNBOOKS = {
    "health.reachable": "docs/runbooks/error-rate.md",
    "health.latency_ms": "docs/runbooks/high-latency.md",
    "health.canary_error": "docs/runbooks/prediction-drift.md",
    "health.hours_behind": "docs/runbooks/stale-data.md",
}


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """How bad it is when a service is down, and from when it is slow, or monitors are behind."""

    severity: Level = Level.CRITICAL
    slow_ms: float = 1000.0
    max_behind_hours: float = 3.0
    tolerances: tuple[tuple[str, float], ...] = ()  # of canaries, by name


@dataclass(frozen=True, slots=True)
class Checked:
    """What an earlier check of a service came to."""

    slot: datetime
    level: Level
    reason: str


def judge_service(
    service: str, signals: Sequence[Signal], limits: ServiceLimits, earlier: Sequence[Checked], *, slot: datetime
) -> RuleOutcome:
    """Return the outcome of the service's rule; `earlier` are its earlier checks in any order."""
    verdicts = [_verdict(signal, limits) for signal in signals]
    bad = sorted((verdict for verdict in verdicts if verdict.level.rank > 0), key=lambda each: -each.level.rank)
    if not bad:
        well = [signal.reason for signal in signals if signal.metric == "health.reachable"]
        reason = "; ".join(well) or f"{service} is no longer checked"
        return RuleOutcome(f"health_{service}", DEPLOYMENT, slot, RuleState.QUIET, limits.severity, reason)
    length = 1 + failures_before(earlier, slot)
    reason = "; ".join(verdict.reason for verdict in bad)
    return RuleOutcome(
        rule=f"health_{service}",
        model=DEPLOYMENT,
        hour=slot,
        state=RuleState.FIRING if length >= FAILURES else RuleState.PENDING,
        severity=bad[0].level,
        reason=f"{reason} ({min(length, FAILURES)} of the {FAILURES} checks in a row it takes)",
        evidence=tuple(bad),
        runbook=RUNBOOKS[bad[0].signal.metric],
    )


def failures_before(earlier: Sequence[Checked], slot: datetime) -> int:
    """Return how many checks in a row went wrong right before `slot`."""
    length, after = 0, slot
    for check in sorted((each for each in earlier if each.slot < slot), key=lambda each: each.slot, reverse=True):
        if check.level.rank <= 0 or after - check.slot > IN_A_ROW:
            break
        length, after = length + 1, check.slot
    return length


def _verdict(signal: Signal, limits: ServiceLimits) -> Verdict:
    value, tolerances = signal.value, dict(limits.tolerances)
    threshold: float | None = None
    bad, level = False, limits.severity
    if signal.metric == "health.reachable":
        bad = value == 0.0
    elif signal.metric == "health.latency_ms":
        # Nothing to time is no second alarm: that the service is not reachable says it already.
        threshold, level = limits.slow_ms, Level.WARNING
        bad = value is not None and value > threshold
    elif signal.metric == "health.canary_error":
        # One that cannot be compared is as bad as one that differs.
        threshold, level = tolerances.get(signal.segment, 0.0), Level.CRITICAL
        bad = value is None or value > threshold
    elif signal.metric == "health.hours_behind":
        threshold = limits.max_behind_hours
        bad = value is not None and value > threshold
    allowed = "" if threshold is None or value is None or not bad else f" (allowed: {threshold:g} {signal.unit})"
    if not bad:
        level = Level.UNKNOWN if value is None else Level.OK
    return Verdict(signal, level, threshold, "none" if threshold is None else "absolute", signal.reason + allowed)
