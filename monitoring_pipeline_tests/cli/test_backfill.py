"""Hours computed by hand, on a real instance."""

import json
import re
import shutil
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.utils import make_new_run_id
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.workflow import backfill
from monitoring_pipeline.workflow.partitions import RANGE_END, RANGE_START
from monitoring_pipeline_tests.deployments import Deployment
from monitoring_pipeline_tests.traffic import hour

JOB = "churn__hourly"


def run(first: object = "2026-11-20", stop: object = "2026-11-20T06:00", *more: str, model: str = "churn") -> Result:
    return CliRunner().invoke(app, ["backfill", model, "--from", str(first), "--to", str(stop), *more])


@pytest.fixture
def served(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Six hours that are over, and one that is not."""
    monkeypatch.setenv("DAGSTER_HOME", str(deployment.home / "dagster"))
    deployment.serve(0, 6)
    deployment.set_clock(hour(6) + timedelta(minutes=30))
    return deployment


def test_a_range_is_computed_in_one_run_that_is_on_record(served: Deployment) -> None:
    done = run()
    assert done.exit_code == 0, done.output
    rows = sum(sum(each.values()) for each in served.store.read_served("churn", hour(0), hour(6)).values())
    assert done.stdout == f"6 hours in 1 run(s), {rows:,} predictions\nno rule fires\n"
    assert done.stderr == ""
    assert served.store.hours("verdicts", "churn") == [hour(number) for number in range(6)]
    (recorded,) = served.instance.get_runs(dg.RunsFilter(job_name=JOB))
    assert recorded.status is dg.DagsterRunStatus.SUCCESS
    assert recorded.tags["monitoring/model"] == "churn", "so others wait for it"
    assert (recorded.tags[RANGE_START], recorded.tags[RANGE_END]) == ("2026-11-20-00:00", "2026-11-20-05:00")


def test_more_than_a_month_takes_a_run_each_and_all_progress_is_told(
    served: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME")  # it is then the instance beside the state, which is the same one here
    monkeypatch.setattr(backfill, "CATCH_UP_HOURS", 2)
    heard: list[int] = []
    found = backfill.backfill(served.monitor, hour(1), hour(4), done=heard.append)
    assert len(found.runs) == 2
    assert sum(heard) == backfill.materialisations(served.monitor, hour(1), hour(4)) > 3
    assert {each.run_id for each in served.instance.get_runs(dg.RunsFilter(job_name=JOB))} == set(found.runs)


def test_after_a_change_of_thresholds_hours_are_judged_anew_when_their_logs_are_long_gone(served: Deployment) -> None:
    assert run().exit_code == 0
    before = served.files("profiles", "outcomes", "samples")
    for log in ("predictions", "labels"):
        shutil.rmtree(served.monitoring.data / log)
    served.watch(
        {"rules": [{"name": "any_traffic", "condition": {"metric": "drift.psi", "window": "1h", "above": -1}}]}
    )
    done = run("2026-11-20", "2026-11-20T06:00", "--stored")
    assert done.exit_code == 0, done.output
    assert "rule any_traffic fires in 6 hours" in done.stdout
    assert served.files("profiles", "outcomes", "samples") == before
    assert all(served.store.read_verdicts("churn", hour(0), hour(6)).values())


@pytest.mark.parametrize(
    ("first", "stop", "said"),
    [
        ("2026-11-20", "2026-11-20T07:00", "--to: 2026-11-20 07:00Z has hours that are not over, or not monitored."),
        ("2026-11-19", "2026-11-20T06:00", "--from: 2026-11-19 00:00Z is before the monitor starts."),
        ("2026-11-20T06:00", "2026-11-20T06:00", "--to: 2026-11-20 06:00Z is not after --from."),
        ("2026-11-20T01:30", "2026-11-20T06:00", "is not a whole hour. Write 2026-11-20T01:00."),
        ("2026-11-20T01:00+01:00", "soon", "--to"),
    ],
)
def test_hours_that_cannot_be_computed_are_refused(served: Deployment, first: str, stop: str, said: str) -> None:
    done = run(first, stop)
    assert done.exit_code == 2
    assert said in done.stderr
    assert served.store.hours("verdicts", "churn") == []


def test_a_run_in_progress_is_waited_for_by_a_person(served: Deployment) -> None:
    tags, status = {"monitoring/model": "churn"}, dg.DagsterRunStatus.STARTED
    other = dg.DagsterRun(job_name="churn__late_labels", run_id=make_new_run_id(), tags=tags, status=status)
    served.instance.add_run(other)
    done = run()
    assert done.exit_code == 2
    assert "a run of churn__late_labels is in progress. Wait for it" in done.stderr


def test_without_a_reference_it_says_which_job_makes_one(served: Deployment) -> None:
    for path in (served.monitoring.data / "references").rglob("*.json"):
        path.unlink()
    done = run()
    assert done.exit_code == 2
    assert "no version of churn has a reference. Run the job churn__reference first" in done.stderr


def test_an_instance_that_is_not_there_is_said(served: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "/nowhere/dagster")
    done = run()
    assert done.exit_code == 2
    assert done.stderr.startswith("DAGSTER_HOME: /nowhere/dagster is no folder.")


def test_a_run_that_fails_says_where_and_why(served: Deployment) -> None:
    folder = served.monitoring.data / "predictions" / "model=churn" / "hour=2026-11-20T02Z"
    for path in folder.glob("*.parquet"):
        path.write_bytes(b"torn")
    done = run()
    assert done.exit_code == 2
    assert done.stderr.startswith("backfill from 2026-11-20 00:00Z: churn__")
    assert re.search(r" failed in run [0-9a-f-]{36}: .*not a readable Parquet file", done.stderr)


def test_a_program_is_told_which_rules_fire(served: Deployment) -> None:
    served.watch(
        {"rules": [{"name": "any_traffic", "condition": {"metric": "drift.psi", "window": "1h", "above": -1}}]}
    )
    answer = json.loads(run("2026-11-20", "2026-11-20T02:00", "--format", "json").stdout)
    assert (answer["model"], answer["fired"]) == ("churn", {"any_traffic": 2})
    assert answer["start"] == "2026-11-20T00:00:00+00:00"
