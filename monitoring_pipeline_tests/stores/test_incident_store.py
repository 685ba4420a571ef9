import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.judge.rules import RuleOutcome
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.incidents import IncidentPolicy, Status, Step, Transition, Why
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline.stores.tables import incidents
from monitoring_pipeline_tests.outcomes import firing, hour, pending, quiet, unknown

POLICIES = {
    "feature_drift": IncidentPolicy(resolve_after=2, cooldown=timedelta(hours=4)),
    "accuracy": IncidentPolicy(resolve_after=2, cooldown=timedelta(0)),
}
NOW = hour(30)


def channels_for(severity: str) -> list[str]:
    return ["console"] if severity == "info" else ["console", "slack"]


def apply(state: StateDatabase, outcomes: Sequence[RuleOutcome]) -> list[Transition]:
    return state.apply_outcomes(outcomes, now=NOW, policies=POLICIES, channels_for=channels_for)


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
    assert state.incidents() == [moved.incident]
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
    assert [found.status for found in state.incidents()] == [Status.RESOLVED, Status.OPEN]


def test_a_rise_in_severity_is_announced_once(state: StateDatabase) -> None:
    apply(state, [firing(0), firing(1, severity=Level.CRITICAL), firing(2), firing(3, severity=Level.CRITICAL)])
    announced = [step for step, channel in steps(state) if channel == "slack"]
    assert announced == ["opened", "worsened:critical"]


def test_rules_and_models_have_incidents_of_their_own(state: StateDatabase) -> None:
    apply(state, [firing(0), firing(0, rule="accuracy"), firing(0, model="fraud")])
    assert {found.fingerprint for found in state.incidents()} == {
        "churn/accuracy",
        "churn/feature_drift",
        "fraud/feature_drift",
    }
    assert [found.rule for found in state.incidents("churn")] == ["accuracy", "feature_drift"]
    assert state.incidents(status=Status.RESOLVED) == []


def test_a_rule_without_policy_is_named_and_nothing_is_written(state: StateDatabase) -> None:
    with pytest.raises(StoreError, match=r"rule\(s\) typo: policies given are accuracy, feature_drift"):
        apply(state, [firing(0), firing(0, rule="typo")])
    assert state.incidents() == []


def test_an_outcome_that_cannot_be_routed_leaves_no_incident_behind(state: StateDatabase) -> None:
    def nowhere(severity: str) -> list[str]:
        raise ValueError(f"no route for {severity}")

    with pytest.raises(ValueError, match="no route for warning"):
        state.apply_outcomes([firing(0)], now=NOW, policies=POLICIES, channels_for=nowhere)
    assert state.incidents() == []
    assert state.notifications() == []


def test_the_database_itself_refuses_a_second_open_incident_of_one_fingerprint(state: StateDatabase) -> None:
    apply(state, [firing(0)])
    with state.reading() as connection:
        row = dict(connection.execute(sa.select(incidents)).mappings().one())
    with pytest.raises(sa.exc.IntegrityError), state.writing() as connection:
        connection.execute(incidents.insert().values({**row, "id": "another"}))


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
