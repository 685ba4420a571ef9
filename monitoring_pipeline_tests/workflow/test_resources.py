import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline_tests.deployments import Deployment
from monitoring_pipeline_tests.traffic import hour


def open_databases(name: str) -> int:
    targets = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            targets.append(entry.readlink().name)
        except FileNotFoundError:  # the listing itself
            continue
    return targets.count(name)


def test_the_clock_is_the_moment_a_replay_has_reached(deployment: Deployment) -> None:
    deployment.set_clock(hour(5))
    assert deployment.monitoring.now() == hour(5)


def test_without_a_clock_file_it_is_now(deployment: Deployment) -> None:
    (deployment.home / "clock").unlink()
    assert abs(deployment.monitoring.now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_relative_places_start_at_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITORING_HOME", "state")
    assert Monitoring(root=str(tmp_path)).data == tmp_path / "state" / "data"


@pytest.mark.parametrize(("value", "expected"), [("s3cret", "s3cret"), ("", None)])
def test_a_secret_is_read_when_it_is_used(monkeypatch: pytest.MonkeyPatch, value: str, expected: str | None) -> None:
    monitoring = Monitoring()
    monkeypatch.setenv("SOME_TOKEN", value)
    assert monitoring.secret("SOME_TOKEN") == expected


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files where the system lists them")  # noqa: PTH112
def test_ticks_and_runs_leave_no_connection_to_the_state_database_open(deployment: Deployment) -> None:
    before = open_databases("monitoring.db")
    for _ in range(3):
        deployment.tick("outbox")
    deployment.run("deliver_notifications")
    assert open_databases("monitoring.db") == before
