from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.conditions import SignalCondition
from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.judge.triggers import NoRetrain, RetrainDecision, Trigger, TriggerPolicy, decide
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.verdicts import MORNING, signal, verdict

DAY = timedelta(days=1)
TRIGGERS = (
    Trigger("performance", SignalCondition("performance.f1", "24h", below_baseline=0.05), 2),
    Trigger("drift", SignalCondition("drift.psi", "24h", level=Level.WARNING, above=0.2)),
    Trigger("age", SignalCondition("model.age_days", "1h", above=30)),
)
POLICY = TriggerPolicy(TRIGGERS, at_least=2, minimum_labelled_rows=1000)


def hours(
    *, f1: float | None = 0.8, psi: float | None = 0.05, age: float | None = 10.0
) -> dict[datetime, list[Verdict]]:
    """Return two hours that look alike."""
    past = {}
    for hour in (MORNING - HOUR, MORNING):
        drifted = psi is not None and psi > 0.1
        level = Level.UNKNOWN if psi is None else Level.WARNING if drifted else Level.OK
        past[hour] = [
            Verdict(signal("performance.f1", f1, hour=hour, baseline_value=0.8), Level.OK, None, "none", ""),
            verdict(level, hour=hour, value=psi),
            Verdict(signal("model.age_days", age, hour=hour, window="1h"), Level.OK, None, "none", ""),
        ]
    return past


def decided(past: dict[datetime, list[Verdict]], policy: TriggerPolicy = POLICY, **more: Any) -> RetrainDecision:
    circumstances: dict[str, Any] = {
        "labelled_rows": 5000,
        "last_episode_opened": None,
        "episodes_last_day": 0,
        "episode_open": False,
        "now": MORNING + 2 * HOUR,
    }
    return decide(policy, past, model="churn", hour=MORNING, version="3", **(circumstances | more))


BAD = hours(f1=0.7, psi=0.3)


def test_enough_clauses_fire_and_the_decision_records_their_values() -> None:
    decision = decided(BAD)

    assert decision.fired
    assert decision.reason is None
    assert decision.explanation == "2 of 3 clauses hold (performance, drift), 2 needed"
    assert [(c.name, c.state, c.value, c.threshold) for c in decision.clauses] == [
        ("performance", RuleState.FIRING, 0.7, pytest.approx(0.76)),
        ("drift", RuleState.FIRING, 0.3, 0.2),
        ("age", RuleState.QUIET, 10.0, 30),
    ]
    assert (decision.episode_id, decision.decided_at) == ("churn:2013-04-22T08Z:v3", MORNING + 2 * HOUR)


def test_too_few_clauses_do_not_fire_and_are_recorded_all_the_same() -> None:
    decision = decided(hours(f1=0.7))

    assert (decision.fired, decision.reason) == (False, NoRetrain.NOT_ENOUGH_CLAUSES)
    assert [c.value for c in decision.clauses] == [0.7, 0.05, 10.0]


def test_a_clause_that_has_not_lasted_long_enough_does_not_count() -> None:
    past = BAD | {MORNING - HOUR: hours(psi=0.3)[MORNING - HOUR]}

    decision = decided(past)

    assert decision.reason is NoRetrain.NOT_ENOUGH_CLAUSES
    assert decision.clauses[0].state is RuleState.PENDING


@pytest.mark.parametrize(
    ("past", "reason"),
    [
        (hours(f1=None, psi=0.3), NoRetrain.UNKNOWN),
        (hours(f1=None), NoRetrain.NOT_ENOUGH_CLAUSES),
        (hours(f1=None, psi=0.3, age=40), None),
        ({}, NoRetrain.UNKNOWN),
    ],
)
def test_what_is_not_known_matters_only_where_it_could_decide(
    past: dict[datetime, list[Verdict]], reason: NoRetrain | None
) -> None:
    assert decided(past).reason is reason


@pytest.mark.parametrize(
    ("mode", "at_least", "past", "fired"),
    [
        ("any", 2, hours(age=31), True),
        ("any", 2, hours(), False),
        ("all", 2, BAD, False),
        ("all", 2, hours(f1=0.7, psi=0.3, age=31), True),
        ("at_least", 1, hours(age=31), True),
        ("at_least", 3, BAD, False),
    ],
)
def test_modes_say_how_many_clauses_it_takes(
    mode: Any, at_least: int, past: dict[datetime, list[Verdict]], fired: bool
) -> None:
    policy = TriggerPolicy(TRIGGERS, mode=mode, at_least=at_least, minimum_labelled_rows=1000)

    assert decided(past, policy).fired is fired


@pytest.mark.parametrize(
    ("circumstances", "reason"),
    [
        ({"episode_open": True}, NoRetrain.EPISODE_OPEN),
        ({"turned_down": 3, "last_episode_opened": MORNING + HOUR - 28 * DAY + HOUR}, NoRetrain.GIVEN_UP),
        ({"turned_down": 3, "last_episode_opened": MORNING + HOUR - 28 * DAY}, None),
        ({"turned_down": 3, "last_episode_opened": MORNING, "episodes_last_day": 1}, NoRetrain.GIVEN_UP),
        ({"turned_down": 2}, None),
        ({"last_episode_opened": MORNING + HOUR - 7 * DAY + HOUR}, NoRetrain.COOLDOWN),
        ({"last_episode_opened": MORNING + HOUR - 7 * DAY}, None),
        ({"last_episode_opened": MORNING + 3 * DAY}, NoRetrain.COOLDOWN),
        ({"episodes_last_day": 1}, NoRetrain.DAILY_CAP),
        ({"labelled_rows": 999}, NoRetrain.TOO_FEW_LABELS),
        ({"labelled_rows": 1000}, None),
    ],
)
def test_a_retraining_is_held_back_for_a_reason_on_record(
    circumstances: dict[str, Any], reason: NoRetrain | None
) -> None:
    decision = decided(BAD, **circumstances)

    assert (decision.reason, decision.fired) == (reason, reason is None)


def test_cooldown_is_measured_in_event_time_so_a_replay_years_later_decides_the_same() -> None:
    opened = MORNING - DAY

    at_once = decided(BAD, last_episode_opened=opened)
    years_later = decided(BAD, last_episode_opened=opened, now=MORNING + 4000 * DAY)

    assert at_once.reason is years_later.reason is NoRetrain.COOLDOWN


def test_deciding_again_gives_the_same_episode() -> None:
    assert decided(BAD) == decided(BAD)


@pytest.mark.parametrize(("triggers", "at_least"), [((), 1), (TRIGGERS, 4), (TRIGGERS, 0)])
def test_a_policy_that_cannot_decide_is_refused(triggers: tuple[Trigger, ...], at_least: int) -> None:
    with pytest.raises(ValueError, match="cannot decide"):
        TriggerPolicy(triggers, at_least=at_least)


def test_a_policy_that_needs_all_of_no_triggers_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot decide"):
        TriggerPolicy((), mode="all")
