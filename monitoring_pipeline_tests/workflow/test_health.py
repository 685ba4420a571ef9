"""Health checks of real services on loopback, from the probe to the outcome that opens an incident."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from pytest_httpserver import HTTPServer

from monitoring_pipeline.evaluate.service_health import SLOT
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.settings.services import Services
from monitoring_pipeline.stores.heartbeats import read_heartbeats
from monitoring_pipeline.workflow.health import (
    CheckedAt,
    HealthReport,
    check_health,
    deployment_services,
    health_job,
    health_schedule,
    slot_of,
)
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour

SLOTS = [datetime(2026, 3, 2, 5, 0, tzinfo=UTC) + step * SLOT for step in range(20)]


def describe(deployment: Deployment, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, **asked: Any) -> None:
    """Say in the services file that the loopback server is the scoring API."""
    canary = {"name": "usual", "request": {"tenure": 3}, "output": "/score", "expected": 0.75, "version": "/version"}
    api = {"name": "api", "url": httpserver.url_for("").rstrip("/"), "canaries": [canary]} | asked
    path = deployment.home / "services.yaml"
    path.write_text(json.dumps({"timeout_s": 2, "services": [api]}))
    monkeypatch.setenv("MONITORING_SERVICES", str(path))


def serve(httpserver: HTTPServer, *, version: str = "1", score: float = 0.75, status: int = 200) -> None:
    httpserver.clear_all_handlers()
    httpserver.expect_request("/health").respond_with_json({"version": version}, status=status)
    httpserver.expect_request("/predict").respond_with_json({"score": score, "version": version})


def check(deployment: Deployment, slot: datetime) -> HealthReport:
    monitors = {monitor.model: monitor for monitor in deployment.monitors}
    monitoring = deployment.monitoring
    return check_health(monitoring, deployment_services(monitoring), monitors, deployment.instance, slot)


def rule(report: HealthReport, service: str) -> RuleOutcome:
    (found,) = [outcome for outcome in report.outcomes if outcome.rule == f"health_{service}"]
    return found


@pytest.fixture
def api(deployment: Deployment, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    _ = deployment.monitoring.database  # migrated, as by any run before
    describe(deployment, httpserver, monkeypatch)
    serve(httpserver)
    return httpserver


def test_an_outage_fires_at_the_second_check_and_ends_with_the_first_good_one(
    deployment: Deployment, api: HTTPServer
) -> None:
    states = []
    for slot, status in zip(SLOTS, [200, 500, 200, 500, 500, 200], strict=False):
        serve(api, status=status)
        states.append(rule(check(deployment, slot), "api").state.value)
    assert states == ["quiet", "pending", "quiet", "pending", "firing", "quiet"]


def test_a_changed_output_without_a_new_version_is_critical(deployment: Deployment, api: HTTPServer) -> None:
    check(deployment, SLOTS[0])
    serve(api, score=0.4)
    check(deployment, SLOTS[1])
    fired = rule(check(deployment, SLOTS[2]), "api")
    assert (fired.state, fired.severity) == (RuleState.FIRING, Level.CRITICAL)
    assert "version 1 gives 0.4 where 0.75 gave before" in fired.reason
    assert fired.evidence[0].signal.metric == "health.canary_error"


def test_a_new_version_is_learnt_and_that_is_on_record(deployment: Deployment, api: HTTPServer) -> None:
    check(deployment, SLOTS[0])
    serve(api, version="2", score=0.4)
    report = check(deployment, SLOTS[1])
    assert report.learnt == ("api: canary usual: version 2 gives 0.4, version 1 gave 0.75; learnt",)
    assert rule(report, "api").state is RuleState.QUIET
    known = json.loads((deployment.home / "health.json").read_text())["canaries"]["api/usual"]["known"]
    assert [(entry["version"], entry["output"]) for entry in known] == [("1", 0.75), ("2", 0.4)]
    serve(api, version="2", score=0.75)
    assert rule(check(deployment, SLOTS[2]), "api").state is RuleState.PENDING


def test_the_database_and_the_pipeline_are_checked_without_a_services_file(deployment: Deployment) -> None:
    _ = deployment.monitoring.database
    report = check(deployment, SLOTS[0])
    assert [probe.service for probe in report.probes] == ["database", "pipeline"]
    assert rule(report, "database").state is RuleState.QUIET
    # No daemon runs here, and the instance says so.
    assert "SENSOR" in rule(report, "pipeline").reason
    assert rule(report, "pipeline").state is RuleState.PENDING


def test_a_tracking_server_is_a_service_without_being_named(
    deployment: Deployment, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.expect_request("/health").respond_with_data("OK")
    httpserver.expect_request("/version").respond_with_data("3.17.2")
    address = httpserver.url_for("").replace("//", "//user:hunter2@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    report = check(deployment, SLOTS[0])
    assert ("mlflow", "3.17.2") in [(probe.service, probe.version) for probe in report.probes]
    httpserver.clear_all_handlers()
    assert "hunter2" not in rule(check(deployment, SLOTS[1]), "mlflow").reason


def test_a_monitor_that_falls_behind_is_the_pipelines_trouble(deployment: Deployment) -> None:
    _ = deployment.monitoring.database
    deployment.set_clock(hour(3))
    assert check(deployment, SLOTS[0]).probes[-1].behind == {MODEL: None}
    deployment.serve(0, 1)
    deployment.compute(0, 1)
    assert check(deployment, SLOTS[1]).probes[-1].behind == {MODEL: 1.0}
    deployment.set_clock(hour(8))
    report = check(deployment, SLOTS[2])
    assert report.probes[-1].behind == {MODEL: 6.0}
    assert "the newest judged hour of churn is 6 h behind (allowed: 3 h)" in rule(report, "pipeline").reason


def test_a_service_taken_out_of_the_file_is_quiet_until_it_is_forgotten(
    deployment: Deployment, api: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(api, status=500)
    for slot in SLOTS[:2]:
        fired = rule(check(deployment, slot), "api")
    assert fired.state is RuleState.FIRING
    monkeypatch.delenv("MONITORING_SERVICES")
    monkeypatch.chdir(deployment.home / "monitors")
    quiet = rule(check(deployment, SLOTS[2]), "api")
    assert (quiet.state, quiet.reason) == (RuleState.QUIET, "api is no longer checked")
    rules = [outcome.rule for slot in SLOTS[3:] for outcome in check(deployment, slot).outcomes]
    assert rules.count("health_api") == 10


def run(deployment: Deployment, heard: list[RuleOutcome], *, slot: str = "", down: bool = False) -> bool:
    def apply(monitoring: Monitoring, services: Services, outcomes: Sequence[RuleOutcome]) -> None:
        heard.extend(outcomes)
        if down:
            raise OSError("the database is down")

    monitors = {monitor.model: monitor for monitor in deployment.monitors}
    result = health_job(monitors, apply).execute_in_process(
        instance=deployment.instance,
        resources={"monitoring": Monitoring()},
        run_config=dg.RunConfig(ops={"ask_services": CheckedAt(slot=slot)}),
        raise_on_error=False,
    )
    return result.success


def test_the_job_hands_over_the_outcomes_and_leaves_a_heartbeat(deployment: Deployment, api: HTTPServer) -> None:
    heard: list[RuleOutcome] = []
    assert run(deployment, heard, slot=SLOTS[1].isoformat())
    assert {(outcome.rule, outcome.hour) for outcome in heard} == {
        (f"health_{name}", SLOTS[1]) for name in ("api", "database", "pipeline")
    }
    beats = {beat.name: beat.at for beat in read_heartbeats(deployment.home / "heartbeats", [])}
    assert beats["health_checks"] is not None


def test_without_a_database_to_take_the_outcomes_there_is_no_heartbeat(deployment: Deployment, api: HTTPServer) -> None:
    assert not run(deployment, [], down=True)
    assert [beat.name for beat in read_heartbeats(deployment.home / "heartbeats", [])] == ["daemon"]


def test_the_schedule_asks_for_one_run_every_five_minutes(deployment: Deployment) -> None:
    schedule = health_schedule(health_job({}, lambda monitoring, services, outcomes: None))
    context = dg.build_schedule_context(scheduled_execution_time=SLOTS[3])
    (request,) = schedule.evaluate_tick(context).run_requests or []
    assert request.run_key == SLOTS[3].isoformat()
    assert request.run_config["ops"]["ask_services"]["config"] == {"slot": SLOTS[3].isoformat()}
    assert schedule.cron_schedule == "*/5 * * * *"


def test_a_moment_belongs_to_its_five_minutes() -> None:
    assert slot_of(datetime(2026, 3, 2, 5, 4, 59, tzinfo=UTC)) == SLOTS[0]
    assert slot_of(SLOTS[1]) == SLOTS[1]
