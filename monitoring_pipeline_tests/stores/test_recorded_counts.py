from datetime import timedelta

from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.judge.triggers import ClauseOutcome, NoRetrain, RetrainDecision, episode_id
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.publish.metrics import RecordedCounts
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.decision_store import EpisodeStatus, asked_by_hand
from monitoring_pipeline.stores.recorded_counts import MOST_DEPLOYMENTS, DatabaseCounts
from monitoring_pipeline_tests.outcomes import firing, hour


def decide(state: StateDatabase, number: int, reason: NoRetrain | None) -> None:
    identity, clauses = episode_id("churn", hour(number), "12"), (ClauseOutcome("f1", RuleState.FIRING, 1, 2, "f1"),)
    when = hour(number) + timedelta(minutes=70)
    state.record_decision(
        RetrainDecision("churn", hour(number), "12", reason is None, reason, "", clauses, identity, when)
    )


def test_what_is_open_and_decided_is_counted_by_model(state: StateDatabase) -> None:
    counts = DatabaseCounts(state)
    assert counts.read() == RecordedCounts()
    decide(state, 0, NoRetrain.COOLDOWN)
    decide(state, 1, None)
    outcome = firing(2)
    state.apply_outcomes(
        [outcome],
        now=hour(2),
        policies={outcome.rule: AlertPolicy()},
        rules=DeliveryRules(lambda _: ["console", "slack"]),
    )
    expected = RecordedCounts(
        opened={("churn", "warning", state.incidents("churn")[0].id): hour(2)},
        decisions={("churn", "cooldown"): 1, ("churn", "fired"): 1},
        decided={"churn": hour(1)},
        episodes={("churn", "requested"): 1},
        messages={"pending": 2},
    )
    assert counts.read() == expected
    assert DatabaseCounts(state).read() == expected, "after a restart"


def test_what_ends_is_counted_as_ended(state: StateDatabase) -> None:
    counts = DatabaseCounts(state)
    decide(state, 0, None)
    assert counts.read().episodes == {("churn", "requested"): 1}
    said = {"champion": "12", "challenger": "13"}
    state.finish_episode(episode_id("churn", hour(0), "12"), EpisodeStatus.PROMOTED, said, hour(3))
    found = counts.read()
    assert found.episodes == {("churn", "promoted"): 1}
    assert found.finished == {("churn", "promoted"): hour(3)}
    assert found.deployed == {("churn", "13", "promotion"): hour(3)}
    decide(state, 1, NoRetrain.COOLDOWN)
    assert counts.read().decisions == {("churn", "cooldown"): 1, ("churn", "fired"): 1}


def roll_back(state: StateDatabase, number: int, to: str, status: EpisodeStatus) -> None:
    said = {"champion": "13", "to": to, "by": "ann", "why": "worse"}
    identity = f"churn:rollback:{number}"
    state.begin_rollback(asked_by_hand(identity, "churn", "13", EpisodeStatus.ROLLING_BACK, now=hour(number), **said))
    state.end_rollback(identity, status, "", hour(number))


def test_a_rollback_is_a_deployment_and_no_retraining(state: StateDatabase) -> None:
    counts = DatabaseCounts(state)
    roll_back(state, 4, "12", EpisodeStatus.FAILED)
    assert counts.read() == RecordedCounts(episodes={("churn", "failed"): 1})
    roll_back(state, 5, "12", EpisodeStatus.ROLLED_BACK)
    assert counts.read().deployed == {("churn", "12", "rollback"): hour(5)}
    assert counts.read().finished == {}


def test_the_newest_deployments_are_told_and_of_one_version_the_last(state: StateDatabase) -> None:
    for number in range(MOST_DEPLOYMENTS + 5):
        roll_back(state, number, str(min(number, MOST_DEPLOYMENTS)), EpisodeStatus.ROLLED_BACK)
    told = DatabaseCounts(state).read().deployed
    assert told["churn", str(MOST_DEPLOYMENTS), "rollback"] == hour(MOST_DEPLOYMENTS + 4)
    assert {int(version) for _, version, _ in told} == set(range(5, MOST_DEPLOYMENTS + 1))
