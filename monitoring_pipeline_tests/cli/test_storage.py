from datetime import timedelta

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import START, hour


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["storage", *arguments], catch_exceptions=False)


def test_what_would_go_is_said_before_it_goes_and_that_it_has_expired_after(deployment: Deployment) -> None:
    deployment.watch({"retention": {}, "retraining": {"trainer": "none"}})
    deployment.serve(0, 1)
    deployment.set_clock(hour(3))
    deployment.compute(0, 1)
    deployment.set_clock(START + timedelta(days=100))
    before = deployment.files()
    would = run("--dry-run")
    assert deployment.files() == before
    did = run()
    assert "verdicts" in would.stdout
    assert not deployment.files("verdicts")
    assert deployment.store.expired("verdicts", MODEL) == START + timedelta(days=9)
    assert [line for line in did.stdout.splitlines() if "2026-11-29" in line and "verdicts" in line]
    assert "bytes of expired data" in did.stdout
    assert "2026-11-29" in run().stdout, "it is still said when nothing goes any more"


def test_a_bucket_that_is_not_understood_is_said_in_a_sentence(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITORING_DATA", "gs://bucket")
    done = run()
    assert done.exit_code == 2
    assert "s3://bucket/prefix" in done.stderr
