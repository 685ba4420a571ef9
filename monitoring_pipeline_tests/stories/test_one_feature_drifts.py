"""One feature drifts, its owner is told once, and it resolves: through the daemon's own ticks and real runs."""

import json
import sys
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from monitoring_pipeline.notify.alerts import Status
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline.workflow.rehearsal import MODULE, rehearsing
from monitoring_pipeline.workflow.sensors import GRACE
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour

# Dagster reads its own deprecated property when a code location is loaded in this process.
pytestmark = pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars`:DeprecationWarning")


def texts(block: Any) -> str:
    """Return everything a Slack block shows."""
    if isinstance(block, dict):
        own = [block["text"]] if isinstance(block.get("text"), str) else []
        return "\n".join([*own, *(texts(value) for value in block.values() if isinstance(value, dict | list))])
    return "\n".join(map(texts, block)) if isinstance(block, list) else ""


@pytest.mark.slow
def test_one_feature_drifts_the_owner_is_told_once_and_it_resolves(
    deployment: Deployment, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_json({"ok": True})
    monkeypatch.setenv("TEST_SLACK_TOKEN", "xoxb-test")
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    slack = {"channel": "#churn", "token_env": "TEST_SLACK_TOKEN", "base_url": httpserver.url_for("/api/")}
    deployment.watch({"notifications": {"routes": {"warning": ["console", "slack"]}, "slack": slack}})

    with rehearsing(deployment.home / "dagster", deployment.home / "clock") as rehearsal:
        rehearsal.start_sensors()
        # In whatever order sensors tick: hours are judged by the first, applied by the second, told of by the third.
        for first, last, shift, ticks in ((0, 4, 0.0, 1), (5, 10, 12.0, 3), (11, 17, 0.0, 3), (18, 18, 0.0, 2)):
            deployment.serve(first, last, shift=shift)
            rehearsal.set_clock(hour(last + 1) + GRACE)
            rehearsal.tick(ticks)
        runs = rehearsal.run_counts()
    assert all(name.endswith(" success") for name in runs), runs

    (incident,) = deployment.monitoring.database.incidents(MODEL)
    assert (incident.rule, incident.status) == ("feature_drift", Status.RESOLVED)
    assert incident.first_hour == hour(5), "when the drift began"
    (alert,) = deployment.monitoring.database.alerts(MODEL)
    assert hour(5) < alert.first_hour < hour(8), "after two evaluations in a row"
    opening = next(event for event in deployment.monitoring.database.incident_events(incident.id)).evidence
    assert {each["column"] for each in opening} == {"usage"}

    opened, resolved = (json.loads(request.data) for request, _ in httpserver.log)
    assert (opened["channel"], resolved["channel"]) == ("#churn", "#churn")
    shown = texts(opened["blocks"])
    judged = deployment.store.read_verdicts(MODEL, hour(10), hour(11), {"drift.psi"})[
        hour(10)
    ]  # told together up to then
    worst = next(each for each in judged if (each.signal.column, each.signal.window) == ("usage", "4h"))
    for part in (
        "Warning: churn: feature_drift",
        "drift.psi",
        "usage",
        f"{worst.signal.value:.4g}",
        f"{worst.threshold:.4g} (textbook)",
        "Top bins",
        "<https://runbooks.example/feature-drift|Runbook>",
    ):
        assert part in shown, part
    assert "Resolved: churn: feature_drift" in texts(resolved["blocks"])

    printed = capsys.readouterr().out
    assert [printed.count(f"{step}: churn: feature_drift") for step in ("Warning", "Resolved")] == [1, 1]
    notifications = deployment.monitoring.database.notifications()
    assert [entry.status for entry in notifications] == [Posted.SENT] * 4
    assert sorted((entry.step_key, entry.channel) for entry in notifications) == [
        ("opened", "console"),
        ("opened", "slack:#churn"),
        ("resolved", "console"),
        ("resolved", "slack:#churn"),
    ]
