"""Retraining that is given up, asked for by hand, or started by two daemons; and what is made good of a killed run."""

import json
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.judge.triggers import NoRetrain
from monitoring_pipeline.notify.actions import Action, ActionKind
from monitoring_pipeline.notify.alerts import Step
from monitoring_pipeline.stores.decision_store import Episode, EpisodeStatus
from monitoring_pipeline.workflow.episodes import EPISODE_TAG, REASON_TAG, open_by_hand
from monitoring_pipeline.workflow.retraining_sensor import record_decisions, turned_down
from monitoring_pipeline.workflow.telling import delivery_rules
from monitoring_pipeline_tests.deployments import ASKED, MODEL, TRAINED_UNTIL, Deployment, customers
from monitoring_pipeline_tests.traffic import START, hour

SENSOR = "churn__retraining"
AGED = {"name": "age", "condition": {"metric": "model.age_days", "above": 1}}
EAGER = {"retraining": ASKED["retraining"] | {"triggers": [AGED], "minimum_labelled_rows": 1, "cooldown": "1h"}}
EAGER["retraining"] |= {"daily_cap": 100}


def watched(deployment: Deployment, hours: int, **asked: Any) -> None:
    """Serve and judge some hours in which a retraining is wanted from the first on."""
    deployment.watch({**EAGER, **asked})
    deployment.serve(0, hours - 1, rows=40)
    deployment.set_clock(hour(hours))
    deployment.compute(0, hours - 1)


def ended(deployment: Deployment, status: EpisodeStatus, number: int, **said: Any) -> None:
    """End what is open at the hour of a number."""
    database = deployment.monitoring.database
    (episode,) = database.open_episodes(MODEL)
    database.finish_episode(episode.id, status, {"reasons": ["auc loses 0.02"], **said}, hour(number))


def decided_one_by_one(deployment: Deployment, hours: int, status: EpisodeStatus) -> list[NoRetrain | None]:
    """Serve hours one after the other; what each asks for ends with a status. Returns why none was asked for."""
    reasons = []
    for number in range(hours):
        deployment.serve(number, number, rows=40)
        deployment.set_clock(hour(number + 1))
        deployment.compute(number, number)
        (decision,) = record_decisions(deployment.monitoring, deployment.monitor)
        reasons.append(decision.reason)
        if decision.fired:
            ended(deployment, status, number + 1)
    return reasons


def pages(deployment: Deployment) -> list[str]:
    found = deployment.monitoring.database.incidents(MODEL)
    return [incident.reason for incident in found if incident.severity.value == "critical"]


@pytest.mark.parametrize("status", [EpisodeStatus.REJECTED, EpisodeStatus.FAILED])
def test_after_three_challengers_in_a_row_that_came_to_nothing_a_person_is_paged_once(
    deployment: Deployment, status: EpisodeStatus
) -> None:
    deployment.watch(EAGER)
    assert decided_one_by_one(deployment, 5, status) == [None, None, None, NoRetrain.GIVEN_UP, NoRetrain.GIVEN_UP]
    for _ in range(3):
        assert deployment.tick(SENSOR).run_requests == []
    (page,) = pages(deployment)
    assert "3 challengers in a row were not promoted, the last one because auc loses 0.02" in page
    assert "monitoring-pipeline retrain churn --why WHY" in page
    assert len(deployment.monitoring.database.notifications()) == 1


def test_a_tick_killed_before_it_paged_is_made_good_by_the_next(deployment: Deployment) -> None:
    deployment.watch(EAGER)
    decided_one_by_one(deployment, 5, EpisodeStatus.REJECTED)  # records the decisions, and there the process ends
    assert pages(deployment) == []
    deployment.tick(SENSOR)
    assert len(pages(deployment)) == 1


def test_nobody_is_paged_while_no_retraining_is_wanted(deployment: Deployment) -> None:
    deployment.watch(EAGER)
    decided_one_by_one(deployment, 3, EpisodeStatus.REJECTED)
    deployment.tick(SENSOR)
    assert pages(deployment) == []


def test_a_promotion_and_a_person_both_let_it_start_anew(deployment: Deployment) -> None:
    watched(deployment, 1)
    database, monitor = deployment.monitoring.database, deployment.monitor

    def episode(number: int, status: EpisodeStatus, **said: Any) -> Episode:
        return Episode(str(number), MODEL, hour(number), "1", hour(number), status, None, hour(number), said)

    rejected = [episode(number, EpisodeStatus.REJECTED) for number in range(3)]
    assert turned_down(rejected) == 3
    assert turned_down([*rejected, episode(3, EpisodeStatus.ROLLED_BACK, by="anna")][:3]) == 3
    assert turned_down([*rejected, episode(3, EpisodeStatus.PROMOTED)]) == 0
    assert turned_down([*rejected, episode(3, EpisodeStatus.REJECTED, by="anna")]) == 0
    assert turned_down([episode(0, EpisodeStatus.PROMOTED), *rejected[1:]]) == 2
    assert turned_down([episode(number, EpisodeStatus.FAILED, recorded_only=True) for number in range(5)]) == 0
    for each in rejected:
        database.record_episode(each)
    open_by_hand(deployment.monitoring, monitor, by="anna", why="the cause is mended")
    (request,) = deployment.tick(SENSOR).run_requests
    assert request.tags[REASON_TAG] == "asked for by anna: the cause is mended"


def test_a_retraining_by_hand_waits_for_nothing_but_another_one(deployment: Deployment) -> None:
    watched(deployment, 1, retraining=ASKED["retraining"])
    deployment.tick(SENSOR)
    first = open_by_hand(deployment.monitoring, deployment.monitor, by="anna", why="a strike ended")
    with pytest.raises(MonitoringError, match=r"by_hand is requested since 2026-11-20 01:00Z, and only one"):
        open_by_hand(deployment.monitoring, deployment.monitor, by="ben", why="me too")
    keys = [request.run_key for _ in range(2) for request in deployment.tick(SENSOR).run_requests]
    assert keys == [first.id, first.id]
    found = deployment.monitoring.database.episode(first.id)
    assert found is not None
    assert found.outcome == {"by": "anna", "why": "a strike ended"}


def test_an_episode_that_a_run_of_another_daemon_has_is_neither_started_nor_closed_here(
    deployment: Deployment,
) -> None:
    watched(deployment, 1)
    (request,) = deployment.tick(SENSOR).run_requests
    database, name = deployment.monitoring.database, request.tags[EPISODE_TAG]
    assert database.start_episode(name, "a run over there")
    lost = deployment.start(SENSOR, dg.SensorResult(run_requests=[request]))
    assert [run.success for run in lost] == [False], "the other one was faster"
    assert deployment.tick(SENSOR).run_requests == []
    (episode,) = database.open_episodes(MODEL)
    assert episode.run_id == "a run over there"


def test_an_episode_whose_run_is_nowhere_is_given_up_after_a_day(deployment: Deployment) -> None:
    watched(deployment, 1)
    record_decisions(deployment.monitoring, deployment.monitor)
    (episode,) = deployment.monitoring.database.open_episodes(MODEL)
    deployment.monitoring.database.start_episode(episode.id, "gone")
    assert deployment.tick(SENSOR).run_requests == []
    deployment.set_clock(hour(1) + timedelta(days=1, minutes=1))
    deployment.tick(SENSOR)
    (closed,) = deployment.monitoring.database.episodes(MODEL)
    assert closed.status is EpisodeStatus.FAILED
    assert "run gone is not known here" in str(closed.outcome["reasons"])


def test_a_promotion_whose_run_was_killed_after_the_alias_moved_is_finished_by_the_sensor(
    deployment: Deployment,
) -> None:
    """Tags, the timeline of what is open, and the episode; an alias that had not moved is left alone."""
    watched(deployment, 1)
    reported = open_incident(deployment)
    version = deployment.add_version(customers([hour(-1)]), trained_until=TRAINED_UNTIL)
    (request,) = deployment.tick(SENSOR).run_requests
    registry, database = deployment.monitoring.registry, deployment.monitoring.database
    run = deployment.instance.create_run_for_job(
        deployment.defs.resolve_job_def("churn__retraining"), tags=request.tags, status=dg.DagsterRunStatus.FAILURE
    )
    name = request.tags[EPISODE_TAG]
    database.start_episode(name, run.run_id)
    said = {"outcome": "promote", "challenger": version, "champion": "1", "reasons": ["roc_auc +0.02"]}
    database.add_outcome(name, said)
    registry.set_alias(MODEL, "champion", version, expected="1")
    for _ in range(2):
        assert deployment.tick(SENSOR).run_requests == []
    (episode,) = database.episodes(MODEL)
    assert episode.status is EpisodeStatus.PROMOTED
    assert registry.version(MODEL, version).tags["promotion_reason"] == "roc_auc +0.02"
    assert registry.version(MODEL, "1").tags["replaced_by"] == version
    notes = [event.why for event in database.incident_events(reported) if event.step is Step.NOTED]
    assert notes == [f"version {version} promoted, because roc_auc +0.02"]


def test_a_challenger_without_a_reference_is_not_promoted(deployment: Deployment) -> None:
    version = deployment.add_version(customers([hour(-1)]), trained_until=TRAINED_UNTIL)
    run_id = "11111111-2222-4333-8444-555555555555"
    folder = deployment.monitoring.data / "retraining" / MODEL / run_id
    folder.mkdir(parents=True)
    better = {"outcome": "promote", "reasons": ["better"], "champion": "1", "challenger": version, "rows": 600}
    (folder / "evaluation.json").write_text(
        json.dumps(better | {"comparisons": {}, "guard_rails": [], "back_test": None})
    )
    chosen = [dg.AssetKey([MODEL, "promotion"])]
    assert deployment.run(SENSOR, run_id=run_id, asset_selection=chosen).success
    assert deployment.monitoring.registry.version(MODEL, "champion").version == "1"
    (episode,) = deployment.monitoring.database.episodes(MODEL)
    assert (episode.status, episode.by_hand) == (EpisodeStatus.REJECTED, True)
    assert "version 2 has no reference, so nothing it serves could be judged" in str(episode.outcome["reasons"])


def open_incident(deployment: Deployment) -> str:
    action = Action(ActionKind.OPEN, "", "ana", START, "it is wrong", {"model": MODEL})
    return deployment.monitoring.database.act(action, rules=delivery_rules(deployment.monitor)).id
