import json
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.health_history import HISTORY
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline_tests.verdicts import MORNING, verdict

pytest.importorskip("datadog")

MONITOR = {"model": "churn", "start": "2013-04-01T00:00Z", "features": {"numeric": ["tenure"]}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment of one monitor with one judged hour."""
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "churn.yaml").write_text(json.dumps(MONITOR))
    for name in ("MONITORING_DATABASE_URL", "MLFLOW_TRACKING_URI", "DD_DOGSTATSD_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MONITORING_HOME", str(tmp_path))
    monkeypatch.setenv("MONITORING_MONITORS", str(tmp_path / "monitors"))
    StateDatabase(f"sqlite:///{tmp_path / 'monitoring.db'}").migrate()
    judged = verdict(Level.OK, value=0.1, column="tenure", hour=MORNING)
    HourlyStore(tmp_path / "data").write_verdicts("churn", {MORNING: [judged]})
    return tmp_path


@pytest.fixture
def agent() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(5)
        yield listening


def run(agent: socket.socket, *arguments: str) -> Result:
    to = f"statsd://127.0.0.1:{agent.getsockname()[1]}"
    return CliRunner().invoke(app, ["push-metrics", "--to", to, *arguments])


def test_what_is_asked_for_is_sent_once(home: Path, agent: socket.socket) -> None:
    done = run(agent, "--only", "drift_*", "--only", "host_cpu_*")
    assert (done.exit_code, done.output.split(" to ")[0]) == (0, "2 values sent")
    lines = agent.recv(65_536).decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["host_cpu_used_ratio", "drift_psi"]
    assert "drift_psi:0.1|g|#model:churn,version:1,window:24h,feature:tenure" in lines[1]


def test_a_store_that_cannot_be_read_is_told_by_the_exit_code_and_hides_nothing_else(
    home: Path, agent: socket.socket
) -> None:
    (home / HISTORY).write_text("{")
    assert run(agent, "--only", "drift_*", "--only", "exporter_*").exit_code == 1
    lines = agent.recv(65_536).decode().splitlines()
    assert any(line.startswith("drift_psi:0.1|g") for line in lines)
    assert any(line.startswith("exporter_source_up:0|g|#source:health_checks") for line in lines)


def test_what_was_not_sent_is_an_error(home: Path, agent: socket.socket) -> None:
    agent.close()
    agent_gone = CliRunner().invoke(app, ["push-metrics", "--to", f"statsd://{home}/none"])
    assert agent_gone.exit_code == 2
    assert "See that the agent runs" in agent_gone.output
    assert "values sent" not in agent_gone.output


def test_it_is_sent_again_and_again_until_it_cannot_be(home: Path, agent: socket.socket) -> None:
    def hears_twice() -> None:
        with agent:
            agent.recv(65_536)
            agent.recv(65_536)

    listening = Thread(target=hears_twice)
    listening.start()
    done = run(agent, "--only", "drift_*", "--every", "0.2")
    listening.join()
    assert done.exit_code == 2
    assert done.output.count("1 values sent") in (2, 3), "the third may be on its way when nobody listens any more"
