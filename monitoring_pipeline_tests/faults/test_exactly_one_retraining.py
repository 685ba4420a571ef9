"""Whatever is killed, and whoever else ticks: one decision is one episode, one run at a time, one promotion."""

import multiprocessing
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline.notify.actions import Action, ActionKind
from monitoring_pipeline.notify.alerts import Step
from monitoring_pipeline.retrain.gate import Outcome
from monitoring_pipeline.retrain.promotion import promote
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.workflow.episodes import EPISODE_TAG
from monitoring_pipeline.workflow.telling import delivery_rules
from monitoring_pipeline_tests.deployments import MODEL, TRAINED_UNTIL, Deployment, customers, open_instance
from monitoring_pipeline_tests.stories.test_retraining import serve_a_day
from monitoring_pipeline_tests.traffic import START, hour
from monitoring_pipeline_tests.workers import NEVER, SENSOR, finished, go_on, killed, start, take_back, tick_and_run

pytestmark = pytest.mark.slow

AUTO_RETRY = {"dagster/will_retry": "true"}


def report(deployment: Deployment) -> str:
    """Open an incident, and return its id."""
    action = Action(ActionKind.OPEN, "", "ana", deployment.monitoring.now(), "it is wrong", {"model": MODEL})
    return deployment.monitoring.database.act(action, rules=delivery_rules(deployment.monitor)).id


def notes(deployment: Deployment, incident: str) -> list[str]:
    events = deployment.monitoring.database.incident_events(incident)
    return [event.why for event in events if event.step is Step.NOTED]


def newest_run(deployment: Deployment) -> dg.DagsterRun:
    return deployment.instance.get_runs()[0]


def found_dead(deployment: Deployment, **tags: str) -> str:
    """Do what Dagster does about a run whose process is gone; returns its id."""
    run = newest_run(deployment)
    assert run.status is dg.DagsterRunStatus.STARTED
    assert deployment.tick(SENSOR).run_requests == [], "nobody knows yet that it is dead"
    deployment.instance.add_run_tags(run.run_id, tags)
    deployment.instance.report_run_failed(run)
    return run.run_id


def test_a_retraining_killed_after_each_of_its_steps_is_still_one_retraining(deployment: Deployment) -> None:
    serve_a_day(deployment, turned=True)
    incident, database = report(deployment), deployment.monitoring.database
    home = deployment.home / "dagster"
    killed(tick_and_run, "retraining.after_decision", home)
    (asked,) = database.open_episodes(MODEL)
    assert (asked.status, deployment.instance.get_runs_count()) == (EpisodeStatus.REQUESTED, 0)

    killed(tick_and_run, "asset.before_done", home)  # the training set is written, and is written again
    for point in (
        "retraining.after_register",
        "asset.before_done",  # the same challenger
        "asset.before_done:2",  # its evaluation
        "alias.after_move",
    ):
        dead = found_dead(deployment, **AUTO_RETRY)
        assert deployment.tick(SENSOR).run_requests == [], "it is about to be started again"
        killed(go_on, point, home, dead)
        deployment.instance.add_run_tags(dead, {"dagster/auto_retry_run_id": newest_run(deployment).run_id})
    found_dead(deployment)
    registry = deployment.monitoring.registry
    assert registry.version(MODEL, "champion").version == "2"
    assert (notes(deployment, incident), "deployed_at" in registry.version(MODEL, "2").tags) == ([], False)
    for _ in range(3):
        assert deployment.tick(SENSOR).run_requests == []
    (episode,) = database.episodes(MODEL)
    assert (episode.id, episode.status) == (asked.id, EpisodeStatus.PROMOTED)
    assert [version.version for version in registry.versions(MODEL)] == ["1", "2"], "one challenger was trained"
    assert "deployed_at" in registry.version(MODEL, "2").tags
    (note,) = notes(deployment, incident)
    assert note.startswith("version 2 promoted, because roc_auc")
    runs = deployment.instance.get_runs()
    assert len(runs) == 5
    assert {run.tags[EPISODE_TAG] for run in runs} == {asked.id}


@pytest.mark.postgres
def test_two_daemons_with_one_state_in_postgres_start_one_retraining(
    deployment: Deployment, postgres_only: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each with a Dagster instance of its own, which knows nothing of the other's runs."""
    monkeypatch.setenv("MONITORING_DATABASE_URL", postgres_only)
    serve_a_day(deployment, turned=True, holdout="20h")  # too little is left to train on: the run that has it fails
    together = multiprocessing.get_context("forkserver").Barrier(2)
    homes = [tmp_path / name for name in ("one", "two")]
    daemons = [start(tick_and_run, NEVER, home, together) for home in homes]
    for daemon in daemons:
        daemon.join(120)
    assert [daemon.exitcode for daemon in daemons] == [0, 0]
    state = StateDatabase(postgres_only)
    (decision,), (episode,) = state.decisions(MODEL), state.episodes(MODEL)
    state.close()
    assert (decision.fired, episode.id) == (True, decision.episode_id)
    runs = []
    for home in homes:
        with open_instance(home) as instance:
            runs += [run.run_id for run in instance.get_runs()]
    assert episode.status is EpisodeStatus.FAILED
    assert episode.outcome["runs"] == [episode.run_id], "closed by the daemon whose run had it, and by no other"
    assert 1 <= len(runs) <= 2
    assert [version.version for version in deployment.monitoring.registry.versions(MODEL)] == ["1"]


@pytest.mark.parametrize(
    "point", ["rollback.after_intent", "alias.after_move", "incident.after_act", "incident.after_act:2"]
)
def test_a_rollback_killed_at_this_point_is_finished_by_the_next_and_told_once(
    deployment: Deployment, point: str
) -> None:
    registry, database = deployment.monitoring.registry, deployment.monitoring.database
    for days in (2, 1):
        version = deployment.add_version(customers([START - timedelta(days=days)]), trained_until=TRAINED_UNTIL)
        champion = registry.version(MODEL, "champion").version
        promote(
            registry, model=MODEL, challenger=version, champion=champion, outcome=Outcome.PROMOTE, reason="better",
            now=START - timedelta(days=days),
        )  # fmt: skip
    deployment.set_clock(hour(1))
    incident = report(deployment)
    killed(take_back, point, "first")
    finished(take_back, "second")
    assert registry.version(MODEL, "champion").version == "2", "one back, not two"
    text = "version 3 was rolled back to version 2 by anna: complaints"
    assert notes(deployment, incident) == [text]
    assert [each.reason for each in database.incidents(MODEL)] == ["it is wrong", text]
    assert len({note.message.incident_id for note in database.notifications()}) == len(database.notifications()) == 2
    (episode,) = database.episodes(MODEL)
    assert (episode.id, episode.status) == ("churn:rollback:first", EpisodeStatus.ROLLED_BACK)
