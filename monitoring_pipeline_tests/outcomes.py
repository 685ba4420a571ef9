"""Rule outcomes for tests, an hour a number: `firing(3)` is the fourth hour of a made-up day.

Add a kind of outcome here. Keep expectations out: they belong in the tests.
"""

from datetime import UTC, datetime, timedelta

from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level, Verdict

START = datetime(2026, 11, 20, 6, tzinfo=UTC)


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


def psi(
    number: int, *, value: float = 0.41, column: str = "tenure", bins: list[dict[str, object]] | None = None
) -> Verdict:
    signal = Signal(
        metric="drift.psi",
        model="churn",
        version="12",
        window_start=hour(number) - timedelta(hours=23),
        window_end=hour(number + 1),
        value=value,
        rows=4200,
        column=column,
        detail={"bins": BINS if bins is None else bins},
    )
    return Verdict(signal, Level.CRITICAL, 0.25, "calibrated", f"{value} is above 0.25")


BINS: list[dict[str, object]] = [
    {"bin": "[24, 36)", "contribution": 0.2212, "reference": 0.1, "current": 0.32, "direction": "up"},
    {"bin": "null", "contribution": 0.0907, "reference": 0.01, "current": 0.06, "direction": "up"},
]


def outcome(
    number: int,
    state: RuleState,
    *,
    severity: Level = Level.WARNING,
    evidence: tuple[Verdict, ...] = (),
    rule: str = "feature_drift",
    model: str = "churn",
) -> RuleOutcome:
    reason = f"hour {number} is {state.value}"
    runbook = "https://runbooks.example/feature-drift"
    return RuleOutcome(rule, model, hour(number), state, severity, reason, evidence, runbook)


def firing(
    number: int,
    *,
    severity: Level = Level.WARNING,
    value: float = 0.41,
    rule: str = "feature_drift",
    model: str = "churn",
) -> RuleOutcome:
    evidence = (psi(number, value=value),)
    return outcome(number, RuleState.FIRING, severity=severity, evidence=evidence, rule=rule, model=model)


def pending(number: int) -> RuleOutcome:
    return outcome(number, RuleState.PENDING, evidence=(psi(number, value=0.3),))


def quiet(number: int) -> RuleOutcome:
    return outcome(number, RuleState.QUIET)


def unknown(number: int) -> RuleOutcome:
    return outcome(number, RuleState.UNKNOWN)
