from datetime import timedelta

from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.judge.triggers import ClauseOutcome, NoRetrain, RetrainDecision, episode_id
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.publish.metrics import RecordedCounts
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.stores.recorded_counts import DatabaseCounts
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
        [outcome], now=hour(2), policies={outcome.rule: AlertPolicy()}, rules=DeliveryRules(lambda _: [])
    )
    expected = RecordedCounts(
        incidents={("churn", "warning"): 1},
        decisions={("churn", "cooldown"): 1, ("churn", "fired"): 1},
        decided={"churn": hour(1)},
        episodes={("churn", "requested"): 1},
    )
    assert counts.read() == expected
    assert DatabaseCounts(state).read() == expected, "after a restart"


def test_what_ends_is_counted_as_ended(state: StateDatabase) -> None:
    counts = DatabaseCounts(state)
    decide(state, 0, None)
    assert counts.read().episodes == {("churn", "requested"): 1}
    state.finish_episode(episode_id("churn", hour(0), "12"), EpisodeStatus.PROMOTED, {}, hour(3))
    assert counts.read().episodes == {("churn", "promoted"): 1}
    decide(state, 1, NoRetrain.COOLDOWN)
    assert counts.read().decisions == {("churn", "cooldown"): 1, ("churn", "fired"): 1}
