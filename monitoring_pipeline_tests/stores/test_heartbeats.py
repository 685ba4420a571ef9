from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.evaluate.heartbeats import Heartbeat
from monitoring_pipeline.stores.heartbeats import ping, read_heartbeats, write_heartbeat

AT = datetime(2026, 11, 20, 13, 5, tzinfo=UTC)


def test_the_last_heartbeat_counts(tmp_path: Path) -> None:
    for step in range(3):
        write_heartbeat(tmp_path / "heartbeats", "daemon", AT + step * timedelta(seconds=30))
    assert read_heartbeats(tmp_path / "heartbeats", []) == [Heartbeat("daemon", AT + timedelta(minutes=1))]


def test_what_is_due_is_listed_whether_it_was_heard_or_not(tmp_path: Path) -> None:
    assert read_heartbeats(tmp_path / "none", ["churn"]) == [Heartbeat("daemon", None), Heartbeat("hourly_churn", None)]


def test_what_is_there_is_listed_but_not_what_a_model_left_that_is_gone(tmp_path: Path) -> None:
    for name in ("daemon", "health_checks", "hourly_churn", "hourly_gone"):
        write_heartbeat(tmp_path, name, AT)
    found = [heartbeat.name for heartbeat in read_heartbeats(tmp_path, ["churn"])]
    assert found == ["daemon", "hourly_churn", "health_checks"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"at": "soon"}', b'{"at": "2026-11-20T13:05:00"}'])
def test_a_file_that_cannot_be_read_is_no_sign_of_life(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "daemon.json").write_bytes(content)
    assert read_heartbeats(tmp_path, []) == [Heartbeat("daemon", None)]


def test_a_ping_names_who_is_alive(httpserver: HTTPServer) -> None:
    httpserver.expect_oneshot_request("/ping/hourly_churn", method="GET").respond_with_data("OK")
    ping(httpserver.url_for("/ping/{name}"), "hourly_churn")
    httpserver.check()


def test_a_ping_that_is_not_taken_is_an_error_without_its_address(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hunter2").respond_with_data(status=404)
    for url in (httpserver.url_for("/hunter2"), "http://127.0.0.1:1/hunter2", "hunter2"):
        with pytest.raises(StoreError, match=r"ping of heartbeat daemon.*MONITORING_HEARTBEAT_URL") as raised:
            ping(url, "daemon")
        assert "hunter2" not in str(raised.value)
