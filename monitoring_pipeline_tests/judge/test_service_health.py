from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitoring_pipeline.evaluate.service_health import SLOT, CanaryCheck, CanaryRecord, Probe, health_signals
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.service_health import IN_A_ROW, RUNBOOKS, Checked, ServiceLimits, judge_service
from monitoring_pipeline.judge.verdicts import Level

AT = datetime(2026, 11, 20, 13, 5, tzinfo=UTC)
WELL = Probe("api", 12.0, "7")
DOWN = Probe("api", problem="api: no connection")
LIMITS = ServiceLimits(slow_ms=100.0, tolerances=(("usual", 0.01),))


def failed(*slots: datetime, level: Level = Level.CRITICAL) -> list[Checked]:
    return [Checked(slot, level, "") for slot in slots]


def judged(
    probe: Probe, earlier: list[Checked], *, error: float | None = 0.0, limits: ServiceLimits = LIMITS
) -> RuleOutcome:
    checks = {"usual": CanaryCheck(error, "canary usual", CanaryRecord(0.75))}
    return judge_service("api", health_signals(probe, checks, slot=AT), limits, earlier, slot=AT)


def test_a_service_that_is_well_is_quiet_whatever_was_before() -> None:
    outcome = judged(WELL, failed(AT - SLOT, AT - 2 * SLOT))
    assert (outcome.model, outcome.rule, outcome.state) == ("deployment", "health_api", RuleState.QUIET)


def test_one_failure_waits_for_a_second_one_in_a_row() -> None:
    assert judged(DOWN, []).state is RuleState.PENDING
    assert judged(DOWN, failed(AT - SLOT)).state is RuleState.FIRING
    well_between = [*failed(AT - 2 * SLOT), *failed(AT - SLOT, level=Level.OK)]
    assert judged(DOWN, well_between).state is RuleState.PENDING


def test_the_same_five_minutes_checked_twice_are_one_failure() -> None:
    assert judged(DOWN, failed(AT)).state is RuleState.PENDING


def test_failures_far_apart_are_not_in_a_row() -> None:
    assert judged(DOWN, failed(AT - IN_A_ROW)).state is RuleState.FIRING
    assert judged(DOWN, failed(AT - IN_A_ROW - SLOT)).state is RuleState.PENDING


@pytest.mark.parametrize(
    ("probe", "error", "level", "metric"),
    [
        (DOWN, 0.0, Level.CRITICAL, "health.reachable"),
        (Probe("api", 101.0), 0.0, Level.WARNING, "health.latency_ms"),
        (WELL, 0.02, Level.CRITICAL, "health.canary_error"),
        (WELL, None, Level.CRITICAL, "health.canary_error"),
        (Probe("api", 101.0), 0.02, Level.CRITICAL, "health.canary_error"),
        (Probe("api", 12.0, behind={"churn": 4.0}), 0.0, Level.CRITICAL, "health.hours_behind"),
    ],
)
def test_what_went_wrong_decides_severity_and_runbook(
    probe: Probe, error: float | None, level: Level, metric: str
) -> None:
    outcome = judged(probe, failed(AT - SLOT), error=error)
    assert (outcome.state, outcome.severity) == (RuleState.FIRING, level)
    assert outcome.evidence[0].signal.metric == metric
    assert outcome.runbook == RUNBOOKS[metric]


def test_within_its_limits_a_service_is_quiet() -> None:
    probe = Probe("api", 99.0, behind={"churn": 3.0, "returns": None})
    assert judged(probe, failed(AT - SLOT), error=0.01).state is RuleState.QUIET


def test_a_service_others_can_do_without_only_warns() -> None:
    assert judged(DOWN, [], limits=ServiceLimits(Level.WARNING)).severity is Level.WARNING


def test_every_page_an_outcome_links_to_exists() -> None:
    root = Path(__file__).parents[2]
    assert [page for page in RUNBOOKS.values() if not (root / page).is_file()] == []
