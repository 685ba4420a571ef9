import logging
from datetime import UTC, datetime, timedelta

import pytest
from pytest_httpserver import HTTPServer

from monitoring_pipeline.stores.heartbeats import read_heartbeats
from monitoring_pipeline.workflow.heartbeats import beat, beat_for_hours
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour

LOG = logging.getLogger("test_heartbeats")


def heard(deployment: Deployment) -> list[str]:
    return [each.name for each in read_heartbeats(deployment.home / "heartbeats", [MODEL]) if each.at is not None]


def test_a_heartbeat_is_of_the_wall_clock_even_in_a_replay(deployment: Deployment) -> None:
    beat(deployment.monitoring, "daemon", LOG)
    (found, _) = read_heartbeats(deployment.home / "heartbeats", [MODEL])
    assert found.at is not None
    assert datetime.now(UTC) - found.at < timedelta(minutes=1)


def test_the_newest_hour_is_a_sign_of_life_and_older_ones_are_not(deployment: Deployment) -> None:
    deployment.set_clock(hour(6) + timedelta(minutes=10))
    beat_for_hours(deployment.monitoring, deployment.monitor, [hour(2), hour(3)], LOG)
    assert heard(deployment) == []
    beat_for_hours(deployment.monitoring, deployment.monitor, [hour(4), hour(5)], LOG)
    assert heard(deployment) == [f"hourly_{MODEL}"]


def test_a_run_that_took_until_the_next_hour_counts(deployment: Deployment) -> None:
    deployment.set_clock(hour(7) + timedelta(minutes=10))
    beat_for_hours(deployment.monitoring, deployment.monitor, [hour(5)], LOG)
    assert heard(deployment) == [f"hourly_{MODEL}"]


def test_somebody_outside_is_pinged(
    deployment: Deployment, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.expect_oneshot_request("/hourly_churn").respond_with_data("OK")
    monkeypatch.setenv("MONITORING_HEARTBEAT_URL", httpserver.url_for("/") + "{name}")
    deployment.set_clock(hour(6))
    beat_for_hours(deployment.monitoring, deployment.monitor, [hour(5)], LOG)
    httpserver.check()
    assert len(httpserver.log) == 1


def test_a_ping_that_fails_is_a_warning_and_nothing_more(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logging.disable(logging.NOTSET)
    monkeypatch.setenv("MONITORING_HEARTBEAT_URL", "http://127.0.0.1:1/hunter2")
    deployment.set_clock(hour(6))
    beat_for_hours(deployment.monitoring, deployment.monitor, [hour(5)], LOG)
    assert "ping of heartbeat hourly_churn: no connection: Connection refused" in caplog.text
    assert "hunter2" not in caplog.text
    assert heard(deployment) == [f"hourly_{MODEL}"]


def test_a_folder_that_cannot_be_written_is_a_warning_and_nothing_more(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    logging.disable(logging.NOTSET)
    (deployment.home / "heartbeats").write_text("a file where the folder should be")
    beat(deployment.monitoring, "daemon", LOG)
    assert "heartbeat daemon could not be written" in caplog.text
