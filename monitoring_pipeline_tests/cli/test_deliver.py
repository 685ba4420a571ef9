"""The dispatcher that needs no orchestrator: messages of a real outbox, sent over HTTP."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.evaluate.heartbeats import DISPATCHER
from monitoring_pipeline.stores.heartbeats import FOLDER, read_heartbeats
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline.workflow.alerting import apply_rule_outcomes
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.outcomes import firing, hour
from monitoring_pipeline_tests.processes import wait_until
from monitoring_pipeline_tests.sinks import HttpSink, http_sink


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with http_sink() as sink:
        yield sink


@pytest.fixture
def waiting(deployment: Deployment, sink: HttpSink, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment with an incident that nobody has been told of."""
    monkeypatch.setenv("MONITORING_WEBHOOK_SECRET", "whsec_" + "c2VjcmV0" * 4)
    told = {"routes": {"warning": ["webhook"]}, "webhook": {"url": f"{sink.url}/in"}}
    deployment.watch({"notifications": told})
    deployment.set_clock(hour(1))
    deployment.store.write_rules(MODEL, {hour(0): [firing(0)]})
    assert apply_rule_outcomes(deployment.monitoring, deployment.monitor, hour(0), hour(1))
    return deployment


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["deliver", *arguments])


def test_what_waits_is_sent_once(waiting: Deployment, sink: HttpSink) -> None:
    done, again = run(), run()
    assert (done.exit_code, "1 sent" in done.stdout) == (0, True), done.output
    assert "0 sent" in again.stdout
    assert len(sink.received) == 1


def test_it_looks_again_until_it_is_asked_to_stop(waiting: Deployment, sink: HttpSink) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop() -> None:
        try:
            wait_until("the message", lambda: sink.received, seconds=30)
            database = waiting.monitoring.database
            wait_until("the record", lambda: database.notifications()[0].status is Posted.SENT, seconds=5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=stop)
    watcher.start()
    try:
        done = run("--every", "1")
    finally:
        watcher.join()
        for number, handler in before.items():
            signal.signal(number, handler)
    assert (done.exit_code, len(sink.received)) == (0, 1), done.output
    heard = {each.name: each.at for each in read_heartbeats(waiting.monitoring.deployment.state_directory / FOLDER, [])}
    assert heard[DISPATCHER] is not None
