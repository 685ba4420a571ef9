import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.judge.triggers import ClauseOutcome, NoRetrain, RetrainDecision, episode_id
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.decision_store import Episode, EpisodeStatus, asked_by_hand
from monitoring_pipeline_tests.outcomes import hour

CLAUSES = (
    ClauseOutcome("performance", RuleState.FIRING, 0.61, 0.7, "f1 is 0.61, below 95 % of 0.74"),
    ClauseOutcome("labels", RuleState.UNKNOWN, None, None, "no labels yet"),
)


def decision(number: int, *, fired: bool = True, model: str = "churn") -> RetrainDecision:
    reason = None if fired else NoRetrain.NOT_ENOUGH_CLAUSES
    identity = episode_id(model, hour(number), "12")
    decided_at = hour(number) + timedelta(minutes=70)
    return RetrainDecision(model, hour(number), "12", fired, reason, "1 of 2 hold", CLAUSES, identity, decided_at)


def test_every_decision_is_kept_as_it_was_made(state: StateDatabase) -> None:
    made = [decision(number, fired=number == 2) for number in range(4)]
    assert [state.record_decision(found) for found in made] == made
    assert state.decisions("churn") == made
    assert state.last_decision("churn") == made[-1]
    assert state.last_decision("fraud") is None


def test_only_a_fired_decision_opens_an_episode(state: StateDatabase) -> None:
    state.record_decision(decision(0, fired=False))
    assert state.open_episodes() == []
    state.record_decision(decision(1))
    (episode,) = state.open_episodes("churn")
    assert (episode.id, episode.status) == ("churn:2026-11-20T07Z:v12", EpisodeStatus.REQUESTED)
    assert (episode.hour, episode.opened_at) == (hour(1), hour(1) + timedelta(minutes=70))
    assert state.episodes("churn") == [episode]
    assert state.episodes("fraud") == []


def test_deciding_an_hour_again_keeps_the_first_decision(state: StateDatabase) -> None:
    first = state.record_decision(decision(0, fired=False))
    assert state.record_decision(decision(0)) == first
    assert state.open_episodes() == []
    state.record_decision(decision(1))
    state.record_decision(replace(decision(1), decided_at=hour(5)))
    assert len(state.episodes()) == 1


def test_a_second_retraining_waits_for_the_first_to_end(state: StateDatabase) -> None:
    state.record_decision(decision(0))
    held = state.record_decision(decision(1))
    assert (held.fired, held.reason) == (False, NoRetrain.EPISODE_OPEN)
    assert state.decisions("churn")[-1] == held
    assert state.record_decision(decision(1, model="fraud")).fired, "another model is not held back"
    state.finish_episode(decision(0).episode_id, EpisodeStatus.FAILED, {}, hour(2))
    assert state.record_decision(decision(2)).fired


@pytest.mark.parametrize("same_hour", [True, False], ids=["the same hour", "different hours"])
def test_deciders_working_at_once_open_one_episode(state_url: str, same_hour: bool) -> None:
    together = threading.Barrier(4)

    def decide(number: int) -> RetrainDecision:
        state = StateDatabase(state_url)
        together.wait()
        stands = state.record_decision(decision(0 if same_hour else number))
        state.close()
        return stands

    with ThreadPoolExecutor(4) as pool:
        stand = list(pool.map(decide, range(4)))
    state = StateDatabase(state_url)
    assert len(state.open_episodes()) == 1
    assert len(state.decisions("churn")) == (1 if same_hour else 4)
    assert sum(found.fired for found in stand) == (4 if same_hour else 1)
    state.close()


def test_an_episode_belongs_to_one_run(state: StateDatabase) -> None:
    identity = state.record_decision(decision(0)).episode_id
    assert state.start_episode(identity, "run-1")
    assert state.start_episode(identity, "run-1"), "the same run may ask again"
    assert not state.start_episode(identity, "run-2")
    assert state.open_episodes()[0].run_id == "run-1"
    assert not state.start_episode("unheard of", "run-1")


def test_an_episode_ends_once_and_says_how(state: StateDatabase) -> None:
    identity = state.record_decision(decision(0)).episode_id
    state.start_episode(identity, "run-1")
    assert state.finish_episode(identity, EpisodeStatus.REJECTED, {"gain": float("nan"), "margin": 0.01}, hour(3))
    assert not state.finish_episode(identity, EpisodeStatus.PROMOTED, {}, hour(4))
    assert not state.start_episode(identity, "run-1")
    (episode,) = state.episodes("churn")
    assert (episode.status, episode.finished_at) == (EpisodeStatus.REJECTED, hour(3))
    assert episode.outcome == {"gain": None, "margin": 0.01}
    with pytest.raises(ValueError, match="running is not an end"):
        state.finish_episode(identity, EpisodeStatus.RUNNING, {}, hour(4))


def by_hand(name: str, status: EpisodeStatus = EpisodeStatus.REQUESTED, **said: object) -> Episode:
    return asked_by_hand(f"churn:{name}", "churn", "3", status, now=hour(2), by="anna", why="a strike ended", **said)


def test_an_episode_by_hand_keeps_who_asked_and_why_and_waits_for_none(state: StateDatabase) -> None:
    assert state.open_episode(by_hand("one"))
    assert not state.open_episode(by_hand("two")), "one retraining of a model at a time"
    assert state.record_decision(decision(3)).reason is NoRetrain.EPISODE_OPEN
    assert state.add_outcome("churn:one", {"outcome": "promote", "challenger": "4"})
    assert state.finish_episode("churn:one", EpisodeStatus.REJECTED, {"outcome": "champion_moved"}, hour(4))
    assert not state.add_outcome("churn:one", {"outcome": "promote"})
    found = state.episode("churn:one")
    assert found is not None
    assert (found.by_hand, found.status, found.finished_at) == (True, EpisodeStatus.REJECTED, hour(4))
    said = {"by": "anna", "why": "a strike ended", "outcome": "champion_moved", "challenger": "4"}
    assert found.outcome == said
    assert state.open_episode(by_hand("two"))


def test_what_is_over_already_is_put_on_record_once(state: StateDatabase) -> None:
    for reason in ("first", "second"):
        state.record_episode(by_hand("run", EpisodeStatus.PROMOTED, reasons=[reason]))
    (episode,) = state.episodes("churn")
    assert (episode.outcome["reasons"], episode.finished_at) == (["first"], hour(2))


def test_a_rollback_that_was_cut_short_stands_until_it_is_ended(state: StateDatabase) -> None:
    state.record_decision(decision(1))
    first = by_hand("rollback:1", EpisodeStatus.ROLLING_BACK, champion="3", to="2")
    assert state.begin_rollback(first) == first, "it does not wait for a retraining that is open"
    assert state.begin_rollback(replace(first, id="churn:rollback:2")) == first
    assert state.unfinished_rollback("churn") == first
    state.end_rollback(first.id, EpisodeStatus.ROLLED_BACK, "done", hour(3))
    state.end_rollback(first.id, EpisodeStatus.FAILED, "too late", hour(4))
    ended = state.episode(first.id)
    assert ended is not None
    assert (ended.status, ended.outcome["reasons"], ended.finished_at) == (
        EpisodeStatus.ROLLED_BACK,
        ["done"],
        hour(3),
    )
    assert state.begin_rollback(first) == ended, "the same again is the same"
    assert state.unfinished_rollback("churn") is None
    assert len(state.open_episodes("churn")) == 1


def test_two_people_who_roll_back_at_once_carry_out_one_rollback(state_url: str) -> None:
    together = threading.Barrier(4)

    def begin(number: int) -> str:
        state = StateDatabase(state_url)
        together.wait()
        stands = state.begin_rollback(by_hand(f"rollback:{number}", EpisodeStatus.ROLLING_BACK)).id
        state.close()
        return stands

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(begin, range(4)))) == 1
