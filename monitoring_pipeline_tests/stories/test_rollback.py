"""The world turns back after a promotion: the new champion is found to be worse, and rolled back by a person or not."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.definitions import deployment_definitions
from monitoring_pipeline.judge.recorded_facts import ChangeKind
from monitoring_pipeline.notify.actions import Action, ActionKind
from monitoring_pipeline.notify.alerts import Status, Step
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.workflow.probation import look_at_champion
from monitoring_pipeline.workflow.recorded_changes import changes_before
from monitoring_pipeline.workflow.telling import delivery_rules
from monitoring_pipeline_tests.deployments import ASKED, MODEL, Deployment, customers, deploying
from monitoring_pipeline_tests.stories.test_retraining import SERVED_HOURS, champion_of, retrain, serve_a_day
from monitoring_pipeline_tests.traffic import hour

pytestmark = pytest.mark.slow

PROBATION, ROLLBACK = "churn__probation", "churn__rollback"
FIRST, LAST = SERVED_HOURS + 1, SERVED_HOURS + 96
ASKED_BACK = {"after_rows": 240}
SHORT = {"hot": "1d", "warm": "1d", "cold": "1d"}
UNTRAINED = {"trainer": "none", "holdout": "1d"}


@pytest.fixture(scope="module")
def promoted(template: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of a deployment whose version 2 was promoted over version 1 at hour 24."""
    home = tmp_path_factory.mktemp("promoted") / "home"
    with pytest.MonkeyPatch.context() as patch, deploying(template, home, patch) as made:
        serve_a_day(made, turned=True)
        incident = Action(ActionKind.OPEN, "", "ana", made.monitoring.now(), "it is wrong", {"model": MODEL})
        made.monitoring.database.act(incident, rules=delivery_rules(made.monitor))
        result, _ = retrain(made)
        assert result.success
        assert champion_of(made) == "2"
    return home


@pytest.fixture
def deployment(promoted: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with deploying(promoted, tmp_path / "home", monkeypatch) as made:
        watch(made)
        yield made


def watch(deployment: Deployment, **rollback: Any) -> None:
    deployment.watch({"retraining": ASKED["retraining"] | {"rollback": ASKED_BACK | rollback}})


def serve_days(deployment: Deployment, *, turned: bool, last: int = LAST) -> None:
    """Let version 2 serve four days, with their labels."""
    hours = [hour(number) for number in range(FIRST, last + 1)]
    rows = customers(hours, rows=5, turned=turned)
    deployment.log(rows, version="2")
    deployment.label(rows)
    deployment.set_clock(hours[-1] + timedelta(hours=2))
    deployment.monitoring.stages(deployment.monitor).join(hours, as_of=deployment.monitoring.now())


def request(deployment: Deployment, name: str = PROBATION) -> Any:
    """Tick, execute the one run that is asked for, and return what asked for it."""
    (found,) = deployment.tick(PROBATION).run_requests
    assert found.job_name == name
    assert deployment.run(name, run_config=found.run_config).success
    return found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def incidents(deployment: Deployment) -> list[str]:
    return [each.reason for each in deployment.monitoring.database.incidents(MODEL, Status.OPEN)]


def test_a_worse_champion_is_told_of_once_with_the_command_that_takes_it_back(deployment: Deployment) -> None:
    serve_days(deployment, turned=False)
    deployment.watch({"retention": SHORT, "labels": {"max_delay": "1d"}, "retraining": UNTRAINED})
    assert "not any more" in str(deployment.tick(PROBATION).skip_message), "its first rows have gone by now"
    watch(deployment)
    request(deployment)
    (_, proposal) = incidents(deployment)
    assert proposal.startswith("version 2 is worse than version 1 on its first 240 labelled rows: roc_auc 0.")
    command = 'monitoring-pipeline rollback churn --to 1 --why "it is worse"'
    assert proposal.endswith(f"take it back: {command}")
    assert "a rollback was proposed: version 2 is worse" in str(deployment.tick(PROBATION).skip_message)
    look_at_champion(deployment.monitoring, deployment.monitor)
    assert len(incidents(deployment)) == 2, "on record once, however often it is looked at"
    assert champion_of(deployment) == "2", "nobody is overruled"

    told = len(deployment.monitoring.database.notifications())
    done = run("rollback", "churn", "--to", "1", "--why", "it is worse", "--by", "anna")
    assert (done.exit_code, done.stdout) == (0, "churn: version 2 was rolled back to version 1 by anna\n")
    assert champion_of(deployment) == "1"
    database, said = deployment.monitoring.database, "version 2 was rolled back to version 1 by anna: it is worse"
    (*known, message) = database.notifications()
    assert (len(known), message.message.reason) == (told, said)
    for incident in database.incidents(MODEL)[:2]:
        assert (Step.NOTED, "anna", said) in [
            (each.step, each.author, each.why) for each in database.incident_events(incident.id)
        ]
    (episode,) = [each for each in database.episodes(MODEL) if each.is_rollback]
    assert (episode.status, episode.version) == (EpisodeStatus.ROLLED_BACK, "2")
    assert {name: episode.outcome[name] for name in ("to", "by", "why")} == {
        "to": "1",
        "by": "anna",
        "why": "it is worse",
    }
    assert "no predecessor" in str(deployment.tick(PROBATION).skip_message), "what came back is not on probation"


def test_a_promotion_and_a_rollback_are_changes_that_root_causes_know(deployment: Deployment) -> None:
    (opened, *others) = deployment.monitoring.database.incidents(MODEL)
    assert others == [], "a promotion pages nobody"
    notes = [
        event.why
        for event in deployment.monitoring.database.incident_events(opened.id)
        if event.step is Step.NOTED and event.author == "retraining"
    ]
    assert len(notes) == 1
    assert notes[0].startswith("version 2 promoted, because roc_auc")
    deployment.set_clock(hour(SERVED_HOURS + 3))
    assert run("rollback", "churn", "--why", "complaints", "--by", "anna").exit_code == 0
    found = changes_before(None, deployment.monitoring, deployment.monitor, hour(0), hour(SERVED_HOURS + 4))
    told = [(each.what, each.detail) for each in found if each.kind is ChangeKind.ALIAS]
    assert ("version 1", "became champion (rolled back from version 2 by anna: complaints)") in told
    assert ("version 2", "was replaced as champion (1)") in told


def test_a_second_rollback_says_why_it_does_nothing(deployment: Deployment) -> None:
    assert run("rollback", "churn", "--why", "complaints", "--by", "anna").exit_code == 0
    again = run("rollback", "churn", "--why", "complaints", "--by", "ben")
    assert again.exit_code == 2
    assert "version 1 is champion because anna rolled back version 2" in again.stderr
    assert champion_of(deployment) == "1"


def test_a_champion_that_is_no_worse_keeps_its_place_and_is_looked_at_no_more(deployment: Deployment) -> None:
    serve_days(deployment, turned=True, last=FIRST + 17)
    assert request(deployment).run_key.split(":")[-2] == "60"
    assert "72 labelled rows, the next look is at 120" in str(deployment.tick(PROBATION).skip_message)
    serve_days(deployment, turned=True)
    request(deployment)
    assert "looked at: version 2 is not worse than version 1" in str(deployment.tick(PROBATION).skip_message)
    assert len(incidents(deployment)) == 1


def test_where_it_is_automatic_the_rollback_is_started_once(deployment: Deployment) -> None:
    watch(deployment, automatic=True)
    serve_days(deployment, turned=False)
    request(deployment)
    first, second = (deployment.tick(PROBATION).run_requests for _ in range(2))
    assert [each.run_key for each in first] == [each.run_key for each in second], "and a key starts one run"
    request(deployment, ROLLBACK)
    assert champion_of(deployment) == "1"
    assert (
        "rolled back from version 2 by probation: version 2 is worse than version 1 on its first 240"
        in (deployment.monitoring.registry.version(MODEL, "1").tags["promotion_reason"])
    )
    assert deployment.tick(PROBATION).run_requests == []


def test_the_job_of_the_ui_rolls_back_once_however_often_its_run_is_tried_again(deployment: Deployment) -> None:
    asked = {"ops": {"churn__roll_back": {"config": {"reason": "complaints", "by": "anna"}}}}
    result = deployment.run(ROLLBACK, run_config=asked)
    (shown,) = (
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    assert (shown.asset_key.path, shown.metadata["champion"].value) == ([MODEL, "promotion"], "1")
    before = deployment.monitoring.registry.versions(MODEL)
    options = dg.ReexecutionOptions(result.run_id, step_selection=["churn__roll_back"])
    job = dg.reconstructable(rollback_job)
    with dg.execute_job(job, deployment.instance, reexecution_options=options, run_config=asked) as again:
        assert again.success
    assert deployment.monitoring.registry.versions(MODEL) == before


def rollback_job() -> dg.JobDefinition:
    return deployment_definitions().resolve_job_def(ROLLBACK)
