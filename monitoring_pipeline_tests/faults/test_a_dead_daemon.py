"""A real Dagster daemon leaves heartbeats while it ticks; killed, it is missed by a program that needs no Dagster."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitoring_pipeline.evaluate.heartbeats import Heartbeat, silences
from monitoring_pipeline.stores.heartbeats import FOLDER, read_heartbeats
from monitoring_pipeline_tests.processes import running, wait_until

LOCATION = """\
import dagster as dg

from monitoring_pipeline.workflow.heartbeats import beat
from monitoring_pipeline.workflow.resources import Monitoring


@dg.op
def nothing():
    pass


@dg.job
def idle():
    nothing()


@dg.sensor(job=idle, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def tick(context: dg.SensorEvaluationContext, monitoring: Monitoring):
    beat(monitoring, "daemon", context.log)
    return dg.SkipReason("alive")


defs = dg.Definitions(jobs=[idle], sensors=[tick], resources={"monitoring": Monitoring()})
"""
INSTANCE = "telemetry:\n  enabled: false\n"
TWO_HOURS = timedelta(hours=2)


@pytest.mark.slow
def test_a_killed_daemon_falls_silent_and_the_silence_is_noticed(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "daemon.log"
    (tmp_path / "location.py").write_text(LOCATION)
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text(INSTANCE)
    env = {**os.environ, "DAGSTER_HOME": str(tmp_path / "dagster"), "MONITORING_HOME": str(home)}

    def newest() -> datetime | None:
        (found,) = read_heartbeats(home / FOLDER, [])
        return found.at

    command = [sys.executable, "-m", "dagster._daemon", "run", "-f", str(tmp_path / "location.py")]
    with running(command, env=env, cwd=tmp_path, log=log) as daemon:
        first = wait_until("the daemon is heard", newest, seconds=60, logs=[log])
        wait_until("it is heard again", lambda: (at := newest()) is not None and at > first, seconds=30, logs=[log])
        assert silences(read_heartbeats(home / FOLDER, []), now=datetime.now(UTC), max_age=TWO_HOURS) == []
        daemon.kill()
        daemon.wait()
        last = newest()
        assert last is not None
        # `running` asks a process to end that is still there; this one was killed.
        daemon.returncode = 0
    found = read_heartbeats(home / FOLDER, [])
    assert found == [Heartbeat("daemon", last)]
    (said,) = silences(found, now=last + timedelta(hours=2, minutes=1), max_age=TWO_HOURS)
    assert said.startswith("heartbeat daemon: last heard from 2 h ago")
