"""A deployment looked over when all is well, and with one thing broken at a time."""

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.stores.heartbeats import write_heartbeat
from monitoring_pipeline.workflow import examination
from monitoring_pipeline.workflow.doctor import examine
from monitoring_pipeline.workflow.examination import Surroundings
from monitoring_pipeline_tests.deployments import Deployment, deploying
from monitoring_pipeline_tests.postgres import running_postgres
from monitoring_pipeline_tests.traffic import hour

SECRET = "whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="

FORMULA: dict[str, Any] = {"business": {"lost": {"formula": "count(actual == 1) / count()"}}}
"""Names what only the labels know, which no log has to hold."""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


def checks(*arguments: str) -> dict[str, dict[str, str]]:
    result = run(*arguments, "--format", "json")
    found: dict[str, Any] = json.loads(result.stdout)
    failed = any(each["outcome"] == "failed" for each in found["checks"])
    assert result.exit_code == int(failed)
    assert found["summary"]["failed"] == sum(each["outcome"] == "failed" for each in found["checks"])
    return {each["what"]: each for each in found["checks"]}


@pytest.fixture(scope="module")
def well(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    home = tmp_path_factory.mktemp("doctor") / "home"
    with pytest.MonkeyPatch.context() as patch, deploying(template, home, patch) as made:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        patch.delenv("DAGSTER_HOME", raising=False)
        made.watch(FORMULA)
        made.serve(0, 3)
        made.set_clock(hour(4) + timedelta(minutes=20))
        made.monitoring.database.migrate()
        for name in ("daemon", "hourly_churn"):
            write_heartbeat(home / "heartbeats", name, datetime.now(UTC))
        yield made
        made.monitoring.teardown_after_execution(None)  # type: ignore[arg-type]


def test_mlflow_is_asked_at_its_own_address_and_nowhere_it_points_to(
    well: Deployment, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    elsewhere = {"Location": httpserver.url_for("/elsewhere")}
    httpserver.expect_request("/health").respond_with_data(status=302, headers=elsewhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", httpserver.url_for("/"))
    found = checks()["mlflow"]
    assert found["outcome"] == "failed"
    assert "302" in found["found"]
    assert "/elsewhere" not in {request.path for request, _ in httpserver.log}


@pytest.fixture
def watched(well: Deployment) -> Iterator[Deployment]:
    """The same, whose monitor a test may change."""
    yield well
    well.watch(FORMULA)


def test_a_deployment_that_is_well_passes_every_check(well: Deployment) -> None:
    found = checks()
    assert {what for what, each in found.items() if each["outcome"] != "ok"} == {"dagster", "services", "channels"}
    assert found["channels"]["found"] == "only the console hears of incidents"
    assert found["churn: reference"]["found"].startswith("version 1: ")
    assert found["churn: predictions arrive"]["found"].startswith("the newest is 21 min old")
    assert {"churn: labels arrive", "churn: columns of the log", "churn: columns of the reference"} <= found.keys()
    assert {"libraries", "disk: space", "disk: written", "heartbeat daemon", "mlflow", "state database"} <= found.keys()
    shown = run()
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[-1].endswith("0 failed, 2 skipped")


def test_a_column_that_the_log_does_not_have_is_named_with_the_one_that_may_be_meant(watched: Deployment) -> None:
    watched.watch({"features": {"numeric": ["usage", "tenur"], "categorical": ["plan"]}})
    for what in ("churn: columns of the log", "churn: columns of the reference"):
        check = checks()[what]
        assert (check["outcome"], check["found"]) == ("failed", "'tenur' missing")
        assert "'tenur' may be 'tenure'" in check["fix"]


def test_a_monitor_without_rows_labels_or_a_version_fails_and_the_others_are_still_looked_at(
    watched: Deployment,
) -> None:
    watched.watch({}, {"model": "idle"})
    found = checks()
    outcomes = {
        what: found[f"idle: {what}"]["outcome"] for what in ("reference", "predictions arrive", "labels arrive")
    }
    assert outcomes == {"reference": "failed", "predictions arrive": "failed", "labels arrive": "warning"}
    assert found["idle: reference"]["found"] == "no version of idle is champion"
    assert found["churn: reference"]["outcome"] == "ok"


def test_rows_that_stopped_arriving_are_a_warning_with_their_age(
    well: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    well.set_clock(hour(40))
    found = checks()
    well.set_clock(hour(4) + timedelta(minutes=20))
    assert found["churn: predictions arrive"]["outcome"] == "warning"
    assert found["churn: predictions arrive"]["needed"] == "at most 3 h"
    assert found["churn: labels arrive"]["outcome"] == "warning"


def test_a_mistake_in_a_file_fails_and_the_rest_is_looked_at(watched: Deployment) -> None:
    (watched.home / "monitors" / "churn.yaml").write_text("model: churn\n")
    found = checks()
    assert found["monitors"]["outcome"] == "failed"
    assert "features" in found["monitors"]["found"]
    assert found["state database"]["outcome"] == "ok"


@pytest.mark.parametrize(
    ("variable", "value", "what", "said"),
    [
        ("MONITORING_DATABASE_URL", "postgresql://m:hunter2@127.0.0.1:1/m", "state database", "refused"),
        ("MONITORING_DATABASE_URL", "sqlite:////nowhere/state.db", "state database", "there is no file"),
        ("MLFLOW_TRACKING_URI", "http://m:hunter2@127.0.0.1:1", "mlflow", ""),
        ("MLFLOW_TRACKING_URI", "sqlite:////nowhere/mlflow.db", "mlflow", "there is no file"),
        ("DAGSTER_POSTGRES_HOST", "127.0.0.1", "dagster", ""),
        ("MONITORING_HOME", "/proc/none", "disk: written", "No such file"),
    ],
)
def test_what_does_not_answer_fails_without_showing_a_password(
    well: Deployment, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, what: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("DAGSTER_POSTGRES_PORT", "1")
    result = run("--format", "json")
    found = [each for each in json.loads(result.stdout)["checks"] if each["what"] == what]
    assert found[-1]["outcome"] == "failed"
    assert said in found[-1]["found"]
    assert result.exit_code == 1
    assert "hunter2" not in result.output


def test_a_clock_that_is_wrong_is_told(
    well: Deployment, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/health").respond_with_data("OK")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", httpserver.url_for("").rstrip("/"))
    now = datetime.now(UTC)
    for minutes, outcome in {0: "ok", 1: "warning", 10: "failed"}.items():
        ahead = now + timedelta(minutes=minutes)
        around = Surroundings(well.monitoring.deployment, os.environ, now, clock=partial(max, ahead, now))
        found = {each.what: each for each in examine(around)}
        assert found["mlflow"].outcome == "ok"
        assert found["clock against mlflow"].outcome == outcome


def test_a_daemon_that_fell_silent_fails_and_one_that_never_ran_is_a_warning(well: Deployment) -> None:
    folder = well.home / "heartbeats"
    write_heartbeat(folder, "daemon", datetime.now(UTC) - timedelta(hours=5))
    (folder / "hourly_churn.json").unlink()
    found = checks()
    for name in ("daemon", "hourly_churn"):
        write_heartbeat(folder, name, datetime.now(UTC))
    assert found["heartbeat daemon"]["outcome"] == "failed"
    assert found["heartbeat daemon"]["fix"].startswith("Look whether dagster-daemon runs")
    assert found["heartbeat hourly_churn"]["outcome"] == "warning"


def test_a_channel_without_its_secret_fails_and_nothing_is_sent_unless_asked_for(
    watched: Deployment, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hook").respond_with_data("ok")
    watched.watch({"notifications": {"webhook": {"url": httpserver.url_for("/hook")}}})
    name = f"channel webhook:{httpserver.host}:{httpserver.port}/hook"
    monkeypatch.delenv("MONITORING_WEBHOOK_SECRET", raising=False)
    assert checks()[name]["fix"] == "Set the environment variable MONITORING_WEBHOOK_SECRET."
    monkeypatch.setenv("MONITORING_WEBHOOK_SECRET", SECRET)
    assert checks()[name]["found"] == "is set up, not tried"
    assert httpserver.log == []
    assert checks("--send-test")[name]["found"] == "took a test message"
    steps = [request.get_json()["data"]["step"] for request, _ in httpserver.log]
    assert steps == ["opened", "resolved"], "nothing is left open"


def test_a_channel_that_refuses_the_test_fails(
    watched: Deployment, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hook").respond_with_data("no", status=410)
    watched.watch({"notifications": {"webhook": {"url": httpserver.url_for("/hook")}}})
    monkeypatch.setenv("MONITORING_WEBHOOK_SECRET", SECRET)
    found = checks("--send-test")
    assert found[f"channel webhook:{httpserver.host}:{httpserver.port}/hook"]["outcome"] == "failed"


def test_what_never_answers_costs_seconds_and_hides_nothing(
    well: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        services = tmp_path / "services.yaml"
        services.write_text(json.dumps({"services": [{"name": "scoring", "url": address}]}))
        monkeypatch.setenv("MONITORING_SERVICES", str(services))
        monkeypatch.setattr(examination, "DEADLINE_S", 3.0)
        found = checks()
    assert found["services"]["found"] == "no answer within 3 s"
    assert found["state database"]["outcome"] == "ok"


@pytest.mark.postgres
def test_a_real_postgresql_answers_and_its_clock_is_compared(well: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not tmp_path: its parents are closed to the user the server runs as.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        Path(folder).chmod(0o755)
        with running_postgres(Path(folder) / "server") as url:
            monkeypatch.setenv("MONITORING_DATABASE_URL", url)
            for name, value in {
                "HOST": "127.0.0.1",
                "PORT": url.split(":")[-1].split("/")[0],
                "USER": "postgres",
            }.items():
                monkeypatch.setenv(f"DAGSTER_POSTGRES_{name}", value)
            found = checks()
            assert found["state database"]["fix"] == "Run monitoring-pipeline migrate."
            assert CliRunner().invoke(app, ["migrate"]).exit_code == 0
            found = checks()
    for what in ("state database", "clock against state database", "dagster's PostgreSQL"):
        assert found[what]["outcome"] == "ok", found[what]
    assert found["clock against dagster's PostgreSQL"]["found"] == "0 s apart"
