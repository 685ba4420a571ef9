"""The checker finds every kind of violation: each of these histories is sound but for one thing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from monitoring_pipeline.judge.triggers import RetrainDecision
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.retrain.registry import ModelVersion
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.decision_store import Episode, EpisodeStatus
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline_tests.faults.invariants import (
    KINDS,
    Acknowledged,
    Hour,
    Retrainings,
    Telling,
    computed_alike,
    everybody_was_told,
    no_hour_is_missing,
    nobody_was_told_twice,
    nothing_acknowledged_is_lost,
    prove,
    retrained_once,
    state_of,
    telling,
)
from monitoring_pipeline_tests.outcomes import firing, hour, outcome, psi
from monitoring_pipeline_tests.outcomes import quiet as quiet_outcome

CHANNELS = ("slack", "email")


@pytest.fixture
def sound(state: StateDatabase) -> Telling:
    """An incident that is open, and of which both channels took the news."""
    rules = DeliveryRules(lambda _severity: CHANNELS)
    state.apply_outcomes([firing(0)], now=hour(1), policies={"feature_drift": AlertPolicy()}, rules=rules)
    for channel in CHANNELS:
        claim = state.claim(channel, now=hour(1), lease=timedelta(minutes=2), worker="a")
        assert claim is not None
        assert state.mark_sent(claim, now=hour(1))
    arrivals = [(note.channel, note.incident_id, note.step_key) for note in state.notifications()]
    found = telling(state, arrivals, now=hour(4), channels=lambda _incident: CHANNELS)
    prove(everybody_was_told(found), nobody_was_told_twice(found))
    return found


def test_an_open_incident_that_a_channel_never_took_violates_i1(sound: Telling) -> None:
    first, second = sound.notifications
    assert len(everybody_was_told(replace(sound, notifications=[first]))) == 1, "no message was made"
    waiting = replace(second, status=Posted.PENDING)
    assert len(everybody_was_told(replace(sound, notifications=[first, waiting]))) == 1, "it still waits"
    dead = replace(second, status=Posted.DEAD)
    letter = replace(sound, notifications=[first, dead], arrivals=sound.arrivals[:1])
    assert everybody_was_told(letter) == [], "a dead letter is seen"
    lost = everybody_was_told(replace(sound, arrivals=sound.arrivals[:1]))
    assert [said[:3] for said in lost] == ["I1:", "I1:"], "marked as sent, and the channel has no such thing"


def test_what_is_young_over_or_withheld_need_not_have_been_told(sound: Telling) -> None:
    (incident,) = sound.incidents
    silent = replace(sound, notifications=[], arrivals=[])
    assert everybody_was_told(silent)
    assert everybody_was_told(replace(silent, now=incident.opened_at + timedelta(minutes=59))) == []
    assert everybody_was_told(replace(silent, withheld=[incident.id])) == []


def test_news_that_came_twice_or_from_nowhere_violates_i2(sound: Telling) -> None:
    twice = replace(sound, arrivals=[*sound.arrivals, sound.arrivals[0]])
    assert len(nobody_was_told_twice(twice)) == 1
    known = [replace(note, outcome_unknown=True) for note in sound.notifications]
    assert nobody_was_told_twice(replace(twice, notifications=known)) == [], "on record as possibly sent"
    assert len(nobody_was_told_twice(replace(sound, arrivals=[("slack", "another", "opened")]))) == 1


def decision(number: int = 1) -> RetrainDecision:
    return RetrainDecision("churn", hour(number), "1", True, None, "old", (), f"e{number}", hour(number))


def episode(number: int = 1, status: EpisodeStatus = EpisodeStatus.PROMOTED, challenger: str = "2") -> Episode:
    ended = None if status is EpisodeStatus.RUNNING else hour(number + 1)
    said: dict[str, object] = {"challenger": challenger}
    return Episode(f"e{number}", "churn", hour(number), "1", hour(number), status, finished_at=ended, outcome=said)


def version(number: int, episode_id: str = "", *, deployed: bool = False) -> ModelVersion:
    tags = {"retrain_episode": episode_id} if episode_id else {}
    tags |= {"deployed_at": "then"} if deployed else {}
    return ModelVersion("churn", str(number), "run", (), tags, hour(0))


def test_more_than_one_retraining_or_promotion_violates_i3() -> None:
    versions = [version(1), version(2, "e1", deployed=True)]
    sound = Retrainings([decision()], [episode()], versions)
    assert retrained_once(sound) == []
    assert len(retrained_once(replace(sound, episodes=[]))) == 1, "a decision came to nothing"
    assert len(retrained_once(replace(sound, versions=[*versions, version(3, "e1")]))) == 1, "two challengers"
    assert len(retrained_once(replace(sound, versions=[version(2, "e1")]))) == 1, "never deployed"
    both = [episode(), episode(2)]
    assert len(retrained_once(replace(sound, episodes=both))) == 1, "one version promoted by two"
    running = [episode(number, EpisodeStatus.RUNNING) for number in (1, 2)]
    assert len(retrained_once(replace(sound, episodes=running))) == 1, "two at once"


def test_another_byte_or_another_file_violates_i4() -> None:
    files = {"drift/1": b"a", "drift/2": b"b"}
    assert computed_alike(files, dict(files)) == []
    assert len(computed_alike(files, files | {"drift/2": b"c"})) == 1
    assert len(computed_alike(files, {"drift/1": b"a"})) == 1
    assert len(computed_alike(files, files | {"drift/3": b""})) == 1


def of_one_hour(level: Level) -> Hour:
    found = psi(0)
    signal = replace(found.signal, window_start=hour(0))
    return Hour(60, 60, KINDS, [replace(found, signal=signal, level=level)], [quiet_outcome(0)])


def test_an_hour_that_is_missing_or_says_less_than_was_logged_violates_i5() -> None:
    sound = of_one_hour(Level.OK)
    assert no_hour_is_missing({hour(0): sound}) == []
    assert len(no_hour_is_missing({hour(0): replace(sound, kinds=KINDS[:-1])})) == 1
    assert len(no_hour_is_missing({hour(0): replace(sound, described=59)})) == 1
    assert len(no_hour_is_missing({hour(0): replace(sound, verdicts=[])})) == 1
    assert len(no_hour_is_missing({hour(0): replace(sound, logged=0, described=0)})) == 1, "empty is never ok"


def test_every_hour_has_one_of_four_names() -> None:
    assert state_of(of_one_hour(Level.OK)) == "ok"
    assert state_of(of_one_hour(Level.WARNING)) == "alerting"
    assert state_of(of_one_hour(Level.UNKNOWN)) == "unknown"
    fired = outcome(0, quiet_outcome(0).state.__class__.FIRING)
    assert state_of(replace(of_one_hour(Level.OK), rules=[fired])) == "alerting"
    assert state_of(replace(of_one_hour(Level.UNKNOWN), logged=0, described=0)) == "empty"


def test_an_acknowledgement_without_a_row_violates_i6() -> None:
    sound = Acknowledged(["a", "b"], ["a", "b", "c"], ["a"], ["a"])
    assert nothing_acknowledged_is_lost(sound) == []
    assert len(nothing_acknowledged_is_lost(replace(sound, logged=["a"]))) == 1
    assert len(nothing_acknowledged_is_lost(replace(sound, labelled=[]))) == 1


def test_a_violation_fails_with_all_that_was_found() -> None:
    with pytest.raises(AssertionError, match=r"(?s)one.*two"):
        prove(["one"], [], ["two"])
