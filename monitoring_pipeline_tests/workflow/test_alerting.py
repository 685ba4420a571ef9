"""From rule outcomes to incidents, and from the outbox to channels, with jobs on a real instance."""

from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.notify.alerts import Status
from monitoring_pipeline.notify.channels.console import ConsoleChannel
from monitoring_pipeline.notify.channels.slack import SlackChannel
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline.workflow.alerting import apply_rule_outcomes
from monitoring_pipeline.workflow.resources import wall_clock
from monitoring_pipeline.workflow.telling import channel_names, deployment_channels
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour


def slack(base_url: str = "http://127.0.0.1:9/", channel: str = "#ml") -> dict[str, Any]:
    return {
        "notifications": {
            "routes": {"warning": ["console", "slack"]},
            "slack": {"channel": channel, "token_env": "TEST_SLACK_TOKEN", "base_url": base_url},
        }
    }


def fire(deployment: Deployment) -> None:
    """Process hours that open an incident, and open it."""
    deployment.serve(0, 4, shift=15.0)
    deployment.set_clock(hour(6))
    deployment.compute(0, 4)
    apply_rule_outcomes(deployment.monitoring, deployment.monitor, hour(0), hour(5))


def test_outcomes_are_applied_in_order_and_again_without_effect(deployment: Deployment) -> None:
    deployment.serve(0, 4, shift=15.0)
    deployment.serve(5, 10)
    deployment.set_clock(hour(12))
    deployment.compute(0, 10)
    steps = apply_rule_outcomes(deployment.monitoring, deployment.monitor, hour(0), hour(11))
    assert [entry["step"] for entry in steps if entry["step"] != "updated"] == ["opened", "resolved"]
    assert steps[0] == {
        "incident": "churn/feature_drift@2026-11-20T04Z",
        "hour": hour(4).isoformat(),
        "step": "opened",
    }
    assert apply_rule_outcomes(deployment.monitoring, deployment.monitor, hour(0), hour(11)) == []
    (incident,) = deployment.monitoring.database.incidents(MODEL)
    assert incident.status is Status.RESOLVED
    assert incident.last_hour - incident.first_hour > HOUR


def test_a_slack_channel_is_known_by_its_target_because_monitors_differ(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SLACK_TOKEN", "xoxb-test")
    deployment.watch(slack(), {"model": "returns", **slack(channel="#returns")}, {"model": "quiet"})
    by_model = {monitor.model: monitor for monitor in deployment.monitors}
    assert channel_names(by_model[MODEL].notifications, "warning") == ["console", "slack:#ml"]
    assert channel_names(by_model["quiet"].notifications, "warning") == ["console"]
    channels, wanting = deployment_channels(
        [each.notifications for each in deployment.monitors], deployment.monitoring.secret, clock=wall_clock
    )
    assert wanting == {}
    assert {name: type(channel) for name, channel in channels.items()} == {
        "console": ConsoleChannel,
        "slack:#ml": SlackChannel,
        "slack:#returns": SlackChannel,
    }


def test_nothing_due_starts_no_delivery(deployment: Deployment) -> None:
    assert deployment.tick("outbox").skip_message == "nothing due"


def test_what_is_due_is_delivered_once(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    fire(deployment)
    (delivered,) = deployment.pass_on("outbox")
    assert delivered.success
    assert capsys.readouterr().out.count("Warning: churn: feature_drift") == 1
    assert [entry.status for entry in deployment.monitoring.database.notifications()] == [Posted.SENT]
    assert deployment.tick("outbox").skip_message == "nothing due"


def test_a_missing_token_keeps_its_own_mail_waiting_and_nobody_elses(
    deployment: Deployment, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TEST_SLACK_TOKEN", raising=False)
    deployment.watch(slack(httpserver.url_for("/api/")))
    fire(deployment)
    found = deployment.tick("outbox")
    assert found.run_requests[0].tags["channels"] == "console"
    assert deployment.start("outbox", found)[0].success
    assert "Warning: churn" in capsys.readouterr().out
    notifications = deployment.monitoring.database.notifications()
    assert {entry.channel: entry.status for entry in notifications} == {
        "console": Posted.SENT,
        "slack:#ml": Posted.PENDING,
    }
    waiting = deployment.tick("outbox")
    assert waiting.run_requests == []
    assert waiting.skip_message == ("mail is waiting for slack:#ml: set the environment variable TEST_SLACK_TOKEN")

    httpserver.expect_request("/api/chat.postMessage").respond_with_json({"ok": True})
    monkeypatch.setenv("TEST_SLACK_TOKEN", "xoxb-test")
    assert deployment.pass_on("outbox")[0].success
    assert len(httpserver.log) == 1


def test_an_outage_of_slack_delays_its_message_and_no_run_fails(
    deployment: Deployment, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SLACK_TOKEN", "xoxb-test")
    deployment.watch(slack(httpserver.url_for("/api/")))
    fire(deployment)
    httpserver.expect_oneshot_request("/api/chat.postMessage").respond_with_data("bad gateway", status=502)
    assert deployment.pass_on("outbox")[0].success
    assert deployment.tick("outbox").skip_message == "nothing due", "it waits before it tries again"
    httpserver.expect_request("/api/chat.postMessage").respond_with_json({"ok": True})
    deployment.set_clock(hour(7))
    assert deployment.pass_on("outbox")[0].success
    assert {entry.status for entry in deployment.monitoring.database.notifications()} == {Posted.SENT}
