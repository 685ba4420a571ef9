import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.judge.rules import RuleOutcome
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.actions import Action, ActionKind, IncidentNotFoundError
from monitoring_pipeline.notify.alerts import AlertPolicy, Status, Step, Transition, Why
from monitoring_pipeline.notify.silences import silence_of
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline.stores.tables import alerts
from monitoring_pipeline_tests.outcomes import firing, hour, pending, quiet, unknown

POLICIES = {
    "feature_drift": AlertPolicy(resolve_after=2, cooldown=timedelta(hours=4)),
    "accuracy": AlertPolicy(resolve_after=2, cooldown=timedelta(0)),
}
NOW = hour(30)


def channels_for(severity: str) -> list[str]:
    return ["console"] if severity == "info" else ["console", "slack"]


RULES = DeliveryRules(channels_for, late_after=timedelta(days=30), per_hour=1000)


def apply(
    state: StateDatabase, outcomes: Sequence[RuleOutcome], now: datetime = NOW, rules: DeliveryRules = RULES
) -> Sequence[Transition]:
    return state.apply_outcomes(outcomes, now=now, policies=POLICIES, rules=rules).transitions


def steps(state: StateDatabase) -> list[tuple[str, str]]:
    return [(note.step_key, note.channel) for note in state.notifications()]


def test_a_drifting_night_is_one_incident_announced_once_on_each_channel_and_ended_once(state: StateDatabase) -> None:
    for number in range(9):
        apply(state, [firing(number)])
    for number in range(9, 14):
        apply(state, [quiet(number)])
    (incident,) = state.incidents("churn")
    assert incident.status is Status.RESOLVED
    assert (incident.first_hour, incident.last_hour, incident.resolved_at) == (hour(0), hour(10), NOW)
    assert steps(state) == [("opened", "console"), ("opened", "slack"), ("resolved", "console"), ("resolved", "slack")]
    assert [event.step for event in state.incident_events(incident.id)] == [
        Step.OPENED,
        *[Step.UPDATED] * 8,
        Step.RESOLVED,
    ]


def test_an_incident_comes_back_as_it_was_decided(state: StateDatabase) -> None:
    (moved,) = apply(state, [firing(0, severity=Level.CRITICAL)])
    assert state.alerts() == [moved.alert]
    (move,) = state.apply_outcomes([firing(1)], now=NOW, policies=POLICIES, rules=RULES).moves
    assert state.incidents() == [move.incident]
    assert state.incidents()[0].evidence_summary[0]["value"] == 0.41


def test_the_same_outcomes_again_change_nothing(state: StateDatabase) -> None:
    series = [
        firing(0),
        firing(1, severity=Level.CRITICAL),
        quiet(2),
        unknown(3),
        quiet(4),
        firing(5),
        firing(9),
        pending(10),
    ]
    apply(state, series)
    before = (state.incidents(), steps(state), [state.incident_events(found.id) for found in state.incidents()])
    again = apply(state, series)
    assert {moved.step for moved in again} == {Step.NONE}
    assert (state.incidents(), steps(state), [state.incident_events(found.id) for found in state.incidents()]) == before


def test_many_outcomes_at_once_end_where_one_after_the_other_does(state: StateDatabase) -> None:
    series = [firing(0), firing(1), quiet(2), quiet(3), firing(4), firing(8)]
    together = apply(state, list(reversed(series)))
    assert [(moved.step, moved.why) for moved in together] == [
        (Step.OPENED, Why.STARTED_FIRING),
        (Step.UPDATED, Why.STILL_BREACHED),
        (Step.NONE, Why.QUIET_NOT_LONG_ENOUGH),
        (Step.RESOLVED, Why.QUIET_LONG_ENOUGH),
        (Step.NONE, Why.IN_COOLDOWN),
        (Step.OPENED, Why.STARTED_FIRING),
    ]
    assert [found.status for found in state.alerts()] == [Status.RESOLVED, Status.OPEN]
    assert [(found.status, found.times_reopened) for found in state.incidents()] == [(Status.OPEN, 1)]


def test_a_rise_in_severity_is_announced_once(state: StateDatabase) -> None:
    for outcome in (firing(0), firing(1, severity=Level.CRITICAL), firing(2), firing(3, severity=Level.CRITICAL)):
        apply(state, [outcome])
    announced = [step for step, channel in steps(state) if channel == "slack"]
    assert announced == ["opened", "worsened:critical"]


def test_rules_of_one_model_that_begin_together_are_one_incident_and_models_never_are(state: StateDatabase) -> None:
    apply(state, [firing(0), firing(1, rule="accuracy"), firing(0, model="fraud")])
    assert [found.rules for found in state.incidents("churn")] == [("feature_drift", "accuracy")]
    assert [found.rules for found in state.incidents("fraud")] == [("feature_drift",)]
    assert state.incidents(status=Status.RESOLVED) == []
    assert [step for step, _ in steps(state)] == ["opened"] * 4


def test_a_rule_without_policy_is_named_and_nothing_is_written(state: StateDatabase) -> None:
    with pytest.raises(StoreError, match=r"rule\(s\) typo: policies given are accuracy, feature_drift"):
        apply(state, [firing(0), firing(0, rule="typo")])
    assert state.incidents() == []


def test_an_outcome_that_cannot_be_routed_leaves_no_incident_behind(state: StateDatabase) -> None:
    def nowhere(severity: str) -> list[str]:
        raise ValueError(f"no route for {severity}")

    with pytest.raises(ValueError, match="no route for warning"):
        apply(state, [firing(0)], rules=DeliveryRules(nowhere, late_after=timedelta(days=30)))
    assert state.incidents() == []
    assert state.notifications() == []


def test_the_database_itself_refuses_a_second_open_alert_of_one_fingerprint(state: StateDatabase) -> None:
    apply(state, [firing(0)])
    with state.reading() as connection:
        row = dict(connection.execute(sa.select(alerts)).mappings().one())
    with pytest.raises(sa.exc.IntegrityError), state.writing() as connection:
        connection.execute(alerts.insert().values({**row, "id": "another"}))


def test_processes_that_see_different_rules_fire_at_once_open_one_incident(state_url: str) -> None:
    together = threading.Barrier(2)

    def evaluate(rule: str) -> None:
        state = StateDatabase(state_url)
        together.wait()
        apply(state, [firing(0, rule=rule)])
        state.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(evaluate, POLICIES))
    state = StateDatabase(state_url)
    (incident,) = state.incidents()
    assert set(incident.rules) == set(POLICIES)
    state.close()


def test_processes_that_evaluate_the_same_hours_at_once_open_one_incident(state_url: str) -> None:
    together = threading.Barrier(4)

    def evaluate(_worker: int) -> list[Step]:
        state = StateDatabase(state_url)
        together.wait()
        moved = [
            found.step for number in range(6) for found in apply(state, [firing(number), firing(number, model="fraud")])
        ]
        state.close()
        return moved

    with ThreadPoolExecutor(4) as pool:
        taken = [step for steps_of_worker in pool.map(evaluate, range(4)) for step in steps_of_worker]
    state = StateDatabase(state_url)
    assert len(state.incidents(status=Status.OPEN)) == 2
    assert taken.count(Step.OPENED) == 2
    assert [note.status for note in state.notifications()] == [Posted.PENDING] * 4
    state.close()


def act(state: StateDatabase, kind: ActionKind, number: int = 5, text: str = "", **fields: str) -> None:
    incidents = state.incidents(status=Status.OPEN) or state.incidents()
    identity = incidents[-1].id if incidents else ""
    state.act(Action(kind, identity, "ada", hour(number), text, fields), rules=RULES)


def told(state: StateDatabase, channel: str = "slack") -> list[str]:
    return [step for step, name in steps(state) if name == channel]


def timeline(state: StateDatabase) -> list[tuple[str, str, str]]:
    (incident,) = state.incidents()
    return [(event.step.value, event.author, event.why) for event in state.incident_events(incident.id)]


def test_what_people_do_is_on_the_timeline_and_the_others_hear_who_took_it_on(state: StateDatabase) -> None:
    apply(state, [firing(0)])
    act(state, ActionKind.ACKNOWLEDGE, text="on it")
    act(state, ActionKind.NOTE, text="the upstream job was renamed")
    act(state, ActionKind.MITIGATE, text="renamed it back")
    assert timeline(state) == [
        ("opened", "feature_drift", "started_firing"),
        ("acknowledged", "ada", "on it"),
        ("noted", "ada", "the upstream job was renamed"),
        ("mitigated", "ada", "renamed it back"),
    ]
    assert told(state) == ["opened", "acknowledged"]
    assert state.notifications()[-1].message.title == "Taken on by ada: churn: feature_drift"


def test_an_incident_that_a_person_ended_comes_back_when_its_rule_fires_on(state: StateDatabase) -> None:
    apply(state, [firing(0)])
    act(state, ActionKind.RESOLVE, number=1)
    apply(state, [firing(2), firing(3)])
    assert state.incidents()[0].status is Status.RESOLVED, "in its cooldown"
    apply(state, [firing(4)])
    assert (state.incidents()[0].status, state.incidents()[0].times_reopened) == (Status.OPEN, 1)
    assert told(state) == ["opened", "resolved", "reopened#1"]


def test_a_user_reports_what_no_rule_saw(state: StateDatabase) -> None:
    act(state, ActionKind.OPEN, text="nobody gets offers", model="churn", severity="critical")
    assert [(found.rule, found.reason) for found in state.incidents()] == [("reported", "nobody gets offers")]
    assert told(state) == ["opened"]
    with pytest.raises(IncidentNotFoundError, match="there is no incident 'typo'"):
        state.act(Action(ActionKind.NOTE, "typo", "ada", hour(5), "?"), rules=RULES)


def test_history_opens_incidents_and_tells_nobody_until_it_is_the_present(state: StateDatabase) -> None:
    rules = DeliveryRules(channels_for, late_after=timedelta(hours=24))
    apply(state, [firing(0), firing(1)], hour(60), rules)
    assert told(state) == []
    assert timeline(state)[-1] == (
        "withheld",
        "inhibit",
        "opened: history: it was evaluated 2 days, 11:00:00 after it happened",
    )
    apply(state, [firing(59)], hour(60), rules)
    assert told(state) == ["opened"]


def test_a_silence_holds_an_incident_back_and_its_end_lets_it_through(state: StateDatabase) -> None:
    until = hour(8).isoformat()
    asked = silence_of("1", "model=churn", until=until, now=hour(0), author="ada", comment="a release")
    state.silence(asked)
    assert state.silences(now=hour(1)) == [asked]
    apply(state, [firing(0)], hour(1))
    assert told(state) == []
    assert timeline(state)[-1][2] == "opened: silenced by ada until 2026-11-20 14:00Z: a release"
    lines = len(timeline(state))
    assert state.announce_waiting("churn", now=hour(2), rules=RULES) == 0
    assert len(timeline(state)) == lines, "waiting is not news"
    assert state.end_silence("1", now=hour(3))
    assert state.announce_waiting("churn", now=hour(3), rules=RULES) == 1
    assert state.announce_waiting("churn", now=hour(3), rules=RULES) == 0
    assert told(state) == ["opened"]


def test_each_level_of_an_escalation_is_told_once_and_nobody_once_it_is_taken_on(state: StateDatabase) -> None:
    apply(state, [firing(0)])
    (incident,) = state.incidents()

    def escalate(level: int) -> bool:
        return state.escalate(
            incident.id, level, "nobody answered", channels=["slack"], to=["bo@example.com"], now=hour(1), rules=RULES
        )

    assert [escalate(2), escalate(2), escalate(1), escalate(3)] == [True, False, False, True]
    assert told(state) == ["opened", "escalated:2", "escalated:3"]
    assert state.notifications()[-1].message.to == ("bo@example.com",)


def test_causes_are_kept_with_the_incident_and_told(state: StateDatabase) -> None:
    cause = {
        "name": "a column went missing",
        "kind": "integration",
        "confidence": 0.9,
        "evidence": ["tenure: 98 % null"],
    }
    state.apply_outcomes([firing(0)], now=NOW, policies=POLICIES, rules=RULES, causes={hour(0): [cause]})
    assert state.incidents()[0].causes == (cause,)
    assert state.notifications()[0].message.causes == ("a column went missing (90.0%): tenure: 98 % null",)


@pytest.mark.postgres
def test_what_a_person_does_while_hours_are_applied_is_not_overwritten(postgres_only: str) -> None:
    state, other = StateDatabase(postgres_only), StateDatabase(postgres_only)
    apply(state, [firing(0)])
    acting = threading.Event()

    def slowly(severity: str) -> list[str]:
        acting.set()  # within the transaction, after the incident was read
        threading.Event().wait(0.5)
        return channels_for(severity)

    rules = DeliveryRules(slowly, late_after=timedelta(days=30))
    with ThreadPoolExecutor(2) as pool:
        applying = pool.submit(apply, state, [firing(1, severity=Level.CRITICAL)], NOW, rules)
        acting.wait(10)
        act(other, ActionKind.ACKNOWLEDGE)
        applying.result()
    (incident,) = state.incidents()
    assert (incident.acknowledged_by, incident.severity) == ("ada", Level.CRITICAL)
    state.close()
    other.close()
