import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import monitoring_pipeline.cli.models  # noqa: F401 - hangs the commands on the app
from monitoring_pipeline.cli import app

MONITOR = {"model": "churn", "start": "2026-03-02T00:00Z", "features": {"numeric": ["tenure"]}}


@pytest.fixture
def monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MONITORING_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MONITORING_API_KEYS", raising=False)
    path = tmp_path / "churn.yaml"
    path.write_text(json.dumps(MONITOR))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_others_are_not_let_in_without_a_key(monitor: Path) -> None:
    done = run("serve", "--monitor", monitor, "--host", "0.0.0.0")
    assert done.exit_code == 2
    assert "MONITORING_API_KEYS: is not set, and 0.0.0.0 is open to others." in done.stderr


def test_traffic_is_switched_to_a_part_of_the_service_and_back(monitor: Path, tmp_path: Path) -> None:
    switch = tmp_path / "home" / "serving" / "churn.switch.json"
    assert (
        run("switch-traffic", "--monitor", monitor, "--to", "rule").stdout
        == "churn: rule answers first, wherever it can\n"
    )
    assert json.loads(switch.read_text()) == {"first": "rule"}
    assert run("switch-traffic", "--monitor", monitor, "--to", "champion").exit_code == 0
    assert json.loads(switch.read_text()) == {"first": ""}


def test_a_part_that_does_not_exist_is_refused(monitor: Path) -> None:
    done = run("switch-traffic", "--monitor", monitor, "--to", "oracle")
    assert done.exit_code == 2
    assert "'oracle' is no part of the service. Choose one of champion, challenger, fallback, rule." in done.stderr
