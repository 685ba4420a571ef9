"""What a person says about versions, on a real registry and state database; the story of a rollback is in stories."""

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_retraining_that_is_asked_for_is_on_record_with_who_and_why(deployment: Deployment) -> None:
    deployment.set_clock(hour(3))
    done = run("retrain", "churn", "--why", "a strike\nended", "--by", "anna")
    name = "churn:2026-11-20T03:00:00Z:by_hand"
    said = f"{name} is on record; the sensor churn__retraining starts its run\n"
    assert (done.exit_code, done.stdout) == (0, said)
    (episode,) = deployment.monitoring.database.open_episodes(MODEL)
    assert (episode.id, episode.version) == (name, "1")
    assert episode.outcome == {"by": "anna", "why": "a strike ended"}
    again = run("retrain", "churn", "--why", "again", "--by", "ben")
    assert again.exit_code == 2
    assert f"{name} is requested since 2026-11-20 03:00Z" in again.stderr


@pytest.mark.parametrize("command", ["retrain", "rollback"])
def test_what_a_person_gets_wrong_is_told_and_changes_nothing(deployment: Deployment, command: str) -> None:
    unknown = run(command, "chrun", "--why", "x", "--by", "anna")
    assert (unknown.exit_code, "no monitor watches 'chrun': those that exist watch churn" in unknown.stderr) == (
        2,
        True,
    )
    assert run(command, "churn", "--why", " ", "--by", "anna").exit_code == 2
    assert run(command, "churn", "--by", "anna").exit_code == 2, "a reason is needed"
    assert deployment.monitoring.database.episodes(MODEL) == []


def test_where_nothing_was_promoted_a_rollback_asks_for_the_version(deployment: Deployment) -> None:
    refused = run("rollback", "churn", "--why", "complaints", "--by", "anna")
    assert refused.exit_code == 2
    assert "no version says that 1 replaced it" in refused.stderr
    assert "--to VERSION; there are 1" in refused.stderr
