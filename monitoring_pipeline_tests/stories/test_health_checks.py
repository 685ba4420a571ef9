"""A service goes down and comes back: from the check of every five minutes to the message, through real jobs."""

import json
import time
from datetime import timedelta

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat  # no public way to be a daemon without running one
from pytest_httpserver import HTTPServer

from monitoring_pipeline.evaluate.service_health import DEPLOYMENT, SLOT
from monitoring_pipeline.notify.alerts import Status
from monitoring_pipeline.notify.incidents import Incident
from monitoring_pipeline.stores.heartbeats import read_heartbeats
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline.workflow.health import CheckedAt
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import START, hour


@pytest.fixture
def watched(deployment: Deployment, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment whose daemons are well, with two services, and a channel of its own for their trouble."""
    for kind in deployment.instance.get_required_daemon_types():
        deployment.instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), kind, "here", errors=[]))
    url = httpserver.url_for("").rstrip("/")
    services = [{"name": name, "kind": "http", "url": url, "health": f"/{name}"} for name in ("api", "store")]
    path = deployment.home / "services.yaml"
    notifications = {"slack": {"channel": "#ops"}, "routes": {"critical": ["console", "slack"]}}
    path.write_text(json.dumps({"services": services, "notifications": notifications}))
    monkeypatch.setenv("MONITORING_SERVICES", str(path))
    return deployment


def check(
    deployment: Deployment, httpserver: HTTPServer, first: int, *statuses: int, store: int = 200
) -> dg.ExecuteInProcessResult:
    """Run the checks number `first` and following; the service api answers with these statuses."""
    for number, status in enumerate(statuses, first):
        httpserver.clear_all_handlers()
        httpserver.expect_request("/api").respond_with_data("", status=status)
        httpserver.expect_request("/store").respond_with_data("", status=store)
        slot = START + number * SLOT
        deployment.set_clock(slot + timedelta(seconds=5))
        config = dg.RunConfig(ops={"ask_services": CheckedAt(slot=slot.isoformat())})
        result = deployment.run("check_services", run_config=config, raise_on_error=False)
    return result


def incidents(deployment: Deployment) -> list[Incident]:
    return deployment.monitoring.database.incidents(DEPLOYMENT)


def told(deployment: Deployment, channel: str = "console") -> list[tuple[str, str]]:
    found = [each for each in deployment.monitoring.database.notifications() if each.channel == channel]
    return [(each.step_key, each.incident_id.partition("@")[0]) for each in found]


def test_a_service_that_goes_down_and_comes_back_is_one_incident_told_once_and_resolved(
    watched: Deployment, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    check(watched, httpserver, 0, 200, 500)
    assert incidents(watched) == [], "a restart misses one check"
    assert check(watched, httpserver, 2, 500, 500, 500).success
    (incident,) = incidents(watched)
    assert (incident.rule, incident.sev, incident.kind.value) == ("health_api", 1, "system")
    assert "500" in incident.reason
    check(watched, httpserver, 5, 200, 200)
    assert incidents(watched)[0].status is Status.OPEN, "not yet for long enough"
    check(watched, httpserver, 7, 200)
    assert incidents(watched)[0].status is Status.RESOLVED

    assert (
        told(watched)
        == told(watched, "slack:#ops")
        == [
            ("opened", "deployment/health_api"),
            ("resolved", "deployment/health_api"),
        ]
    )
    assert watched.pass_on("outbox")[0].success
    printed = capsys.readouterr().out
    assert [printed.count(f"{word}: deployment: health_api") for word in ("Critical", "Resolved")] == [1, 1]
    sent = {each.channel: each.status for each in watched.monitoring.database.notifications()}
    assert sent == {"console": Posted.SENT, "slack:#ops": Posted.PENDING}, "Slack waits for its token"


def test_a_second_outage_on_the_same_day_is_news(watched: Deployment, httpserver: HTTPServer) -> None:
    check(watched, httpserver, 0, 500, 500, 200, 200, 200, 500, 500)
    (incident,) = incidents(watched)
    assert (incident.status, incident.times_reopened) == (Status.OPEN, 1)
    assert [key for key, _ in told(watched)] == ["opened", "resolved", "reopened#1"]


def test_services_that_fall_together_are_one_incident(watched: Deployment, httpserver: HTTPServer) -> None:
    check(watched, httpserver, 0, 500, 500, store=500)
    (incident,) = incidents(watched)
    assert set(incident.rules) == {"health_api", "health_store"}
    assert len(told(watched)) == 1


def test_a_service_that_falls_while_another_is_down_for_long_is_news(
    watched: Deployment, httpserver: HTTPServer
) -> None:
    check(watched, httpserver, 0, *[500] * 6)
    check(watched, httpserver, 6, 500, 500, store=500)
    assert told(watched) == [("opened", "deployment/health_api"), ("opened", "deployment/health_store")]


def test_without_a_database_the_checks_fall_silent_and_that_is_what_is_heard(
    watched: Deployment, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITORING_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert not check(watched, httpserver, 0, 200).success
    assert "health_checks" not in heard(watched)
    monkeypatch.delenv("MONITORING_DATABASE_URL")
    assert check(watched, httpserver, 1, 200).success
    assert "health_checks" in heard(watched)


def heard(deployment: Deployment) -> list[str]:
    return [each.name for each in read_heartbeats(deployment.home / "heartbeats", [MODEL]) if each.at is not None]


def test_the_daemon_is_heard_from_with_every_tick_that_looks_into_the_outbox(deployment: Deployment) -> None:
    assert heard(deployment) == []
    assert deployment.tick("outbox").skip_message == "nothing due"
    assert heard(deployment) == ["daemon"]


def test_an_hour_that_was_judged_is_a_sign_of_life_here_and_outside(
    deployment: Deployment, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.expect_request("/hourly_churn").respond_with_data("OK")
    monkeypatch.setenv("MONITORING_HEARTBEAT_URL", httpserver.url_for("/") + "{name}")
    deployment.serve(0, 3)
    deployment.set_clock(hour(4) + timedelta(minutes=10))
    assert deployment.process(0, 1).success
    assert (len(httpserver.log), heard(deployment)) == (0, []), "old hours say nothing of the new ones"
    assert deployment.process(2, 3).success
    assert [request.path for request, _ in httpserver.log] == ["/hourly_churn"]
    assert heard(deployment) == [f"hourly_{MODEL}"]
