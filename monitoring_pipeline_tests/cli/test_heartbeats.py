import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import monitoring_pipeline.cli.health  # noqa: F401 - hangs the command on the app
from monitoring_pipeline.cli import app
from monitoring_pipeline.stores.heartbeats import write_heartbeat

MONITOR = {"model": "churn", "start": "2026-03-02T00:00Z", "features": {"numeric": ["tenure"]}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment of two monitors, of which one has come to its end, whose heartbeats are seconds old."""
    (tmp_path / "monitors").mkdir()
    for name, more in (("churn", {}), ("ended", {"end": "2026-04-01T00:00Z"})):
        document = json.dumps(MONITOR | {"model": name} | more)
        (tmp_path / "monitors" / f"{name}.yaml").write_text(document)
    monkeypatch.setenv("MONITORING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MONITORING_MONITORS", str(tmp_path / "monitors"))
    for name in ("daemon", "hourly_churn"):
        put_down(tmp_path / "home", name)
    return tmp_path / "home"


def put_down(home: Path, name: str, ago: timedelta = timedelta(0)) -> None:
    write_heartbeat(home / "heartbeats", name, datetime.now(UTC) - ago)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["heartbeat", *arguments])


def test_everybody_alive_is_shown_and_passes(home: Path) -> None:
    done = run("--check")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["daemon", "hourly_churn"]
    assert done.stderr == ""


def test_a_daemon_that_stopped_is_said_and_fails(home: Path) -> None:
    put_down(home, "daemon", timedelta(hours=3))
    done = run("--check")
    assert done.exit_code == 1
    assert done.stderr.startswith("heartbeat daemon: last heard from 3 h ago")
    assert len(done.stderr.splitlines()) == 1
    assert run().exit_code == 0, "only --check fails"


def test_a_heartbeat_that_is_missing_fails(home: Path) -> None:
    (home / "heartbeats" / "hourly_churn.json").unlink()
    done = run("--check")
    assert (done.exit_code, done.stderr.split(".")[0]) == (1, "heartbeat hourly_churn: never heard from")


def test_how_old_is_too_old_can_be_said(home: Path) -> None:
    put_down(home, "daemon", timedelta(minutes=20))
    assert run("--check").exit_code == 0
    assert run("--check", "--max-age", "15m").exit_code == 1
    wrong = run("--check", "--max-age", "soon")
    assert wrong.exit_code == 2
    assert "command line: --max-age: 'soon': A duration is a whole number" in wrong.stderr


def test_programs_and_prometheus_are_answered_in_their_formats(home: Path) -> None:
    assert [entry["name"] for entry in json.loads(run("--format", "json").stdout)] == ["daemon", "hourly_churn"]
    assert 'monitoring_heartbeat_timestamp_seconds{name="daemon"} ' in run("--format", "prometheus").stdout


def test_monitors_that_cannot_be_read_are_no_sign_of_life(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITORING_MONITORS", str(home / "none"))
    assert run("--check").exit_code == 2
