from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.notify.escalation import (
    FOUR_LEVELS,
    RESPONSE_TARGETS,
    EscalationLevel,
    IncidentFacts,
    Ladder,
    Reason,
    due_step,
    late_responses,
    responded_late,
)
from monitoring_pipeline.notify.on_call import Person, Schedule

T0 = datetime(2026, 3, 9, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FACTS = IncidentFacts(sev=1, since=T0, last_hour=T0 - HOUR)
LADDER = Ladder()
BUSINESS = ({"metric": "business.revenue", "level": "critical", "window": "1h"},)


def level_told(facts: IncidentFacts, minutes: float, already: int = 0, ladder: Ladder = LADDER) -> int | None:
    step = due_step(facts, ladder, T0 + minutes * MINUTE, already=already)
    return None if step is None else step.level


@pytest.mark.parametrize(
    ("minutes", "already", "told"),
    [
        (0, 0, 1),
        (14.9, 1, None),
        (15, 1, 2),
        (29, 2, None),
        (30, 2, 3),
        (60, 3, 4),
        (600, 4, None),
    ],
)
def test_levels_follow_at_0_15_30_and_60_minutes(minutes: float, already: int, told: int | None) -> None:
    assert level_told(FACTS, minutes, already) == told


def test_after_missed_ticks_the_highest_level_is_told_and_the_others_are_on_record() -> None:
    step = due_step(FACTS, LADDER, T0 + 45 * MINUTE, already=0)
    assert step is not None
    assert (step.level, step.role, step.passed) == (3, "team lead", (1, 2))
    assert step.text == "nobody has acknowledged it for 45 min"


def test_an_acknowledgement_stops_the_climb_and_so_does_the_end() -> None:
    assert level_told(replace(FACTS, acknowledged_at=T0 + 5 * MINUTE), 45, 1) is None
    assert level_told(replace(FACTS, resolved_at=T0 + 5 * MINUTE), 45, 1) is None


def test_what_is_no_emergency_does_not_climb() -> None:
    assert level_told(replace(FACTS, sev=3), 600) is None
    assert level_told(replace(FACTS, sev=3), 600, ladder=Ladder(sev=3)) == 4


def test_whoever_is_on_call_at_that_moment_is_told_first_and_nobody_twice() -> None:
    ana, ben = Person("Ana", "ana@example.org"), Person("Ben", "ben@example.org")
    week = Schedule("first", (ana, ben))
    ladder = Ladder((EscalationLevel(timedelta(0), "on call", (ben, ana), week, ("slack",)),))
    step = due_step(FACTS, ladder, T0, already=0)
    assert step is not None
    assert (step.to, step.channels) == ((ben, ana), ("slack",))
    assert ladder.levels[0].responders(T0 - timedelta(days=3)) == (ana, ben)


def test_a_pager_gets_it_once_and_goes_on_by_itself() -> None:
    ladder = Ladder(handed_to="pagerduty")
    step = due_step(FACTS, ladder, T0 + 45 * MINUTE, already=0)
    assert step is not None
    assert (step.level, step.channels, step.why) == (1, ("pagerduty",), Reason.HANDED_OVER)
    assert step.text == "handed to pagerduty: who is told from here on is decided there"
    assert level_told(FACTS, 600, 1, ladder) is None


def test_a_pager_does_not_keep_a_business_loss_from_the_team_lead() -> None:
    assert level_told(replace(FACTS, evidence=BUSINESS), 1, 1, Ladder(handed_to="pagerduty")) == 3


def test_still_breaching_an_hour_after_it_was_taken_on_goes_one_level_up_once() -> None:
    taken = replace(FACTS, acknowledged_at=T0 + 20 * MINUTE)  # by the second level
    assert level_told(taken, 79, 2) is None
    step = due_step(taken, LADDER, T0 + 80 * MINUTE, already=2)
    assert step is not None
    assert (step.level, step.why, step.text) == (
        3,
        Reason.NOT_MITIGATED,
        "still breaching 1 h after it was acknowledged",
    )
    assert level_told(taken, 600, 3) is None


def test_quiet_since_it_was_taken_on_goes_nowhere() -> None:
    assert level_told(replace(FACTS, acknowledged_at=T0, breaching=False), 600, 1) is None


def test_a_mitigation_is_judged_by_a_window_that_began_after_it() -> None:
    evidence = ({"metric": "performance.accuracy", "level": "critical", "window": "24h"},)
    mitigated = replace(FACTS, acknowledged_at=T0, mitigated_at=T0 + 10 * MINUTE, evidence=evidence)
    day_after = replace(mitigated, last_hour=T0 + 23 * HOUR)
    assert level_told(day_after, 24 * 60, 1) is None  # its day began ten minutes before the mitigation
    assert level_told(replace(day_after, last_hour=T0 + 24 * HOUR), 25 * 60, 1) == 2
    by_hour = replace(mitigated, evidence=({**evidence[0], "window": "1h"},), last_hour=T0 + HOUR)
    assert level_told(by_hour, 120, 1) == 2
    assert level_told(replace(by_hour, last_hour=T0), 120, 1) is None


@pytest.mark.parametrize("acknowledged", [None, T0])
def test_a_business_loss_goes_to_the_team_lead_at_once(acknowledged: datetime | None) -> None:
    step = due_step(replace(FACTS, acknowledged_at=acknowledged, evidence=BUSINESS), LADDER, T0, already=1)
    assert step is not None
    assert (step.level, step.why, step.passed) == (3, Reason.BUSINESS_LOSS, (2,))


def test_a_business_metric_that_only_warns_is_no_loss() -> None:
    assert level_told(replace(FACTS, evidence=({**BUSINESS[0], "level": "warning"},)), 0, 1) is None


@pytest.mark.parametrize(
    ("sev", "answered", "late"),
    [(1, 5, False), (1, 6, True), (2, 60, False), (2, 61, True), (3, 1440, False), (3, 1441, True), (4, 9999, False)],
)
def test_each_sev_has_its_response_target(sev: int, answered: int, late: bool) -> None:
    facts = replace(FACTS, sev=sev, acknowledged_at=T0 + answered * MINUTE)
    assert responded_late(facts, RESPONSE_TARGETS, T0 + timedelta(days=30)) is late


def test_a_target_is_missed_while_nobody_answers_and_late_ones_are_counted_by_sev() -> None:
    waiting, gone = FACTS, replace(FACTS, resolved_at=T0 + 4 * MINUTE)
    late = replace(FACTS, sev=2, acknowledged_at=T0 + 90 * MINUTE)
    assert late_responses([waiting, gone], RESPONSE_TARGETS, T0 + 5 * MINUTE) == {}
    assert late_responses([waiting, waiting, gone, late], RESPONSE_TARGETS, T0 + 99 * MINUTE) == {1: 2, 2: 1}


MOMENTS = st.none() | st.integers(0, 300).map(lambda minutes: T0 + minutes * MINUTE)


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=12).map(sorted),
    MOMENTS,
    MOMENTS,
    st.booleans(),
    st.sampled_from(["", "pagerduty"]),
)
def test_whatever_ticks_come_each_level_is_told_or_passed_once_and_only_upwards(
    ticks: list[int], acknowledged: datetime | None, mitigated: datetime | None, loss: bool, pager: str
) -> None:
    ladder, told = Ladder(handed_to=pager), 0
    seen: list[int] = []
    for minutes in ticks:
        now = T0 + minutes * MINUTE
        facts = IncidentFacts(
            sev=1,
            since=T0,
            last_hour=now - (now - T0) % HOUR - HOUR,
            acknowledged_at=acknowledged if acknowledged is not None and acknowledged <= now else None,
            mitigated_at=mitigated if mitigated is not None and mitigated <= now else None,
            evidence=BUSINESS if loss else (),
        )
        step = due_step(facts, ladder, now, already=told)
        if step is not None:
            assert step.level > told
            seen += [*step.passed, step.level]
            told = step.level
    assert seen == list(range(1, told + 1))
    assert told <= len(FOUR_LEVELS)


def test_a_ladder_without_levels_or_with_levels_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="none: a ladder needs at least one"):
        Ladder(())
    with pytest.raises(ValueError, match="each later than the one before"):
        Ladder(FOUR_LEVELS[::-1])
