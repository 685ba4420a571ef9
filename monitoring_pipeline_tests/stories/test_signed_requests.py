"""Another program takes an incident on: signed requests over HTTP, to real servers on one real state database."""

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitoring_pipeline.capture.windows import hour_of
from monitoring_pipeline.cli import app
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.channels.signatures import signature
from monitoring_pipeline.settings.load import load_monitor
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.workflow.telling import delivery_rules
from monitoring_pipeline_tests.outcomes import psi
from monitoring_pipeline_tests.processes import free_port, listens, running, wait_until

ROOT = Path(__file__).parents[2]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MONITOR = {"model": "churn", "start": "2026-11-01T00:00Z", "features": {"numeric": ["tenure"]}}
HOUR = hour_of(datetime.now(UTC)) - timedelta(hours=1)
INCIDENT = f"churn/feature_drift@{HOUR:%Y-%m-%dT%H}Z"
ACKNOWLEDGE = {"kind": "acknowledge", "incident_id": INCIDENT, "author": "ana", "text": "from the chat"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment with one open incident, which the environment names."""
    (tmp_path / "monitors").mkdir()
    path = tmp_path / "monitors" / "churn.yaml"
    path.write_text(json.dumps(MONITOR))
    variables = {"HOME": tmp_path, "MONITORS": tmp_path / "monitors", "WEBHOOK_SECRET": SECRET}
    for name, value in variables.items():
        monkeypatch.setenv(f"MONITORING_{name}", str(value))
    for name in ("MONITORING_DATABASE_URL", "MONITORING_CLOCK", "MONITORING_SERVICES"):
        monkeypatch.delenv(name, raising=False)
    state = database(tmp_path)
    state.migrate()
    fired = RuleOutcome(
        "feature_drift", "churn", HOUR, RuleState.FIRING, Level.CRITICAL, "it drifts", (psi(0),), runbook=""
    )
    state.apply_outcomes(
        [fired],
        now=datetime.now(UTC),
        policies={"feature_drift": AlertPolicy()},
        rules=delivery_rules(load_monitor(path)),
    )
    return tmp_path


def database(home: Path) -> StateDatabase:
    return StateDatabase(f"sqlite:///{home / 'monitoring.db'}")


@contextmanager
def serving(home: Path, count: int = 1) -> Iterator[list[int]]:
    """Run the command that serves the webhook, in so many processes; gives their ports."""
    ports = [free_port() for _ in range(count)]
    with ExitStack() as stack:
        for port in ports:
            command = [sys.executable, "-m", "monitoring_pipeline.cli", "incident-webhook", "--port", str(port)]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            stack.enter_context(running(command, env=env, cwd=home, log=home / f"{port}.log"))
        for port in ports:
            wait_until("it listens", partial(listens, port), seconds=60, logs=[home / f"{port}.log"])
        yield ports


def post(
    port: int, said: object, *, name: str = "msg_1", secret: str = SECRET, late: int = 0
) -> tuple[int, dict[str, object]]:
    body, sent = json.dumps(said).encode(), int(time.time()) - late
    headers = {
        "webhook-id": name,
        "webhook-timestamp": str(sent),
        "webhook-signature": signature(secret, webhook_id=name, timestamp=sent, body=body),
    }
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/incidents/actions", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def shown(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, [*arguments, "--format", "json"])
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_an_incident_is_taken_on_by_a_signed_request_once_whichever_process_it_reaches(home: Path) -> None:
    with serving(home, 2) as (one, other):
        assert post(one, ACKNOWLEDGE, secret="whsec_" + "A" * 32)[0] == 401
        assert post(one, ACKNOWLEDGE, late=301)[0] == 401
        status, answer = post(one, ACKNOWLEDGE | {"incident_id": "churn/other@2026-11-20T06Z"}, name="msg_0")
        assert (status, answer["title"]) == (404, "Not Found")
        assert "there is no incident 'churn/other@2026-11-20T06Z'" in str(answer["detail"])
        assert shown("incident", INCIDENT)["acknowledged_by"] == "", "nothing of that was done"

        expected = {"incident": INCIDENT, "status": "open", "sev": 2, "severity": "critical"}
        assert post(one, ACKNOWLEDGE) == (200, expected)
        status, answer = post(other, ACKNOWLEDGE)
        assert (status, "'msg_1' was taken already" in str(answer["detail"])) == (409, True)
        status, answer = post(other, ACKNOWLEDGE | {"author": "ben"}, name="msg_2")
        assert (status, "was acknowledged by ana at" in str(answer["detail"])) == (409, True)

    found = shown("incident", INCIDENT)
    assert found["acknowledged_by"] == "ana"
    line = found["timeline"][-1]  # type: ignore[index]
    assert (line["step"], line["author"], line["why"]) == ("acknowledged", "ana", "from the chat")
    assert [each.message.step for each in database(home).notifications()] == ["opened", "acknowledged"]


def test_of_one_request_to_two_processes_at_once_one_is_carried_out(home: Path) -> None:
    note = {"kind": "note", "incident_id": INCIDENT, "author": "ana", "text": "looking at it"}
    with serving(home, 2) as ports, ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda place: post(ports[place % 2], note)[0], range(8)))
        assert sorted(answers) == [200, *[409] * 7]
    assert [event.why for event in database(home).incident_events(INCIDENT)][1:] == ["looking at it"]


def test_a_request_is_remembered_after_the_process_that_took_it_has_ended(home: Path) -> None:
    note = {"kind": "note", "incident_id": INCIDENT, "author": "ana", "text": "looking at it"}
    for expected in (200, 409):
        with serving(home) as (port,):
            assert post(port, note)[0] == expected
