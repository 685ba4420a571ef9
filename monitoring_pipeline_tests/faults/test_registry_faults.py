"""The registry is away, slow, broken or damaged: what an hour lacks by it is unknown and says why, until it is back."""

import json
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from monitoring_pipeline.errors import RegistryUnreachableError
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.reference_store import ARTIFACT
from monitoring_pipeline.workflow.sensors import GRACE, hours_to_process
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.processes import free_port
from monitoring_pipeline_tests.traffic import hour


@contextmanager
def registry_that(how: str) -> Iterator[str]:
    """Give the address of a registry that is down, slow, or answers every request with an error or with nonsense."""
    if how == "is down":
        yield f"http://127.0.0.1:{free_port()}"
        return
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if how == "is slow":
                over.wait(20)
                return
            status, body = (500, b"{}") if how == "answers 500" else (200, b"<html>who are you?</html>")
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name the server looks for

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def copy_of(deployment: Deployment) -> Path:
    return deployment.monitoring.data / "references" / f"model={MODEL}" / "1.json"


def drift(deployment: Deployment, number: int) -> list[Signal]:
    found = deployment.store.read_signals("drift", MODEL, hour(number), hour(number + 1))[hour(number)]
    return [signal for signal in found if signal.window == "1h"]


def waiting(deployment: Deployment) -> list[int]:
    found = hours_to_process(deployment.monitoring, deployment.monitor, deployment.monitoring.now())
    return [round((at - hour(0)).total_seconds() / 3600) for at in found]


@pytest.fixture
def served(deployment: Deployment) -> Deployment:
    deployment.serve(0, 1)
    deployment.set_clock(hour(2) + GRACE)
    return deployment


@pytest.mark.parametrize("how", ["is down", "is slow", "answers 500", "answers nonsense"])
def test_an_hour_whose_reference_cannot_be_fetched_is_unknown_says_why_and_is_tried_again(
    served: Deployment, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.compute(0, 1)
    healthy = served.files()
    copy_of(served).unlink()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with registry_that(how) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        served.compute(1, 1)
        (signal,) = drift(served, 1)
        assert signal.absence is Absence.NO_REFERENCE
        assert signal.reason.startswith("its reference could not be read: http://127.0.0.1")
        verdicts = served.store.read_verdicts(MODEL, hour(1), hour(2))[hour(1)]
        assert {each.level for each in verdicts if each.signal.metric == "drift.psi"} == {Level.UNKNOWN}
        assert waiting(served) == [], "as long as it cannot be read, computing the hour again would bring nothing"
        with pytest.raises(RegistryUnreachableError):
            served.monitoring.references.fetch(MODEL, "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert waiting(served) == [1]
    served.compute(1, 1)
    assert waiting(served) == []
    assert served.files() == healthy, "and nothing of it is left"


def test_a_registry_that_is_down_costs_nothing_where_the_reference_is_known(
    served: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry_that("is down") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        served.compute(0, 1)
        assert {each.absence for each in drift(served, 1)} == {None}
        with pytest.raises(RegistryUnreachableError):
            served.tick(f"{MODEL}__model_registry")
        assert served.tick(f"{MODEL}__missed_hours").skip_message == "every complete hour has been processed"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert len(served.tick(f"{MODEL}__model_registry").run_requests) == 1, "a tick that failed has not been passed over"


@pytest.mark.parametrize("how", ["is down", "is slow"])
def test_a_database_of_mlflow_that_does_not_answer_takes_seconds_and_not_minutes(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if how == "is slow" else free_port()
        registry = MlflowRegistry(f"postgresql://mlflow:secret@127.0.0.1:{port}/mlflow")
        began = time.monotonic()
        with pytest.raises(RegistryUnreachableError) as raised:
            registry.versions(MODEL)
    assert time.monotonic() - began < 10
    assert "secret" not in "".join(traceback.format_exception(raised.value))


def test_a_damaged_copy_of_a_reference_is_fetched_again(served: Deployment) -> None:
    copy = copy_of(served)
    whole = copy.read_bytes()
    document = json.loads(whole)
    other = json.dumps(document | {"rows": 7}).encode()
    for damaged in (b"", b"[]", whole[:5000], b"\xff" * 100, other):
        copy.write_bytes(damaged)
        served.compute(0, 0)
        assert {each.absence for each in drift(served, 0)} == {None}
        assert json.loads(copy.read_bytes()) == document


@pytest.mark.parametrize("damage", ["changed", "of another version"])
def test_a_reference_that_is_damaged_everywhere_is_used_nowhere_and_taken_up_once_it_is_built_again(
    served: Deployment, damage: str
) -> None:
    registry, sound = served.monitoring.registry, served.monitoring.references.load(MODEL, "1")
    assert sound is not None
    document = json.loads(copy_of(served).read_bytes())
    version = registry.version(MODEL, "1")
    if damage == "changed":
        registry.write_json(version, ARTIFACT, document | {"rows": 7})
    else:
        made = served.add_version(served.serve(0, 0), trained_until=hour(0))
        served.run(f"{MODEL}__reference")
        registry.write_json(version, ARTIFACT, registry.read_json(registry.version(MODEL, made), ARTIFACT))
    copy_of(served).unlink()
    served.compute(1, 1)
    found = [each for each in drift(served, 1) if each.version == "1"]
    assert {each.absence for each in found} == {Absence.NO_REFERENCE}
    assert "could not be read" in found[0].reason
    assert waiting(served)[-1:] != [1]
    served.monitoring.references.save(sound)
    assert 1 in waiting(served)
    served.compute(1, 1)
    assert {each.absence for each in drift(served, 1) if each.version == "1"} == {None}


def test_a_version_that_is_deleted_is_compared_with_what_is_known_of_it_and_unknown_without(served: Deployment) -> None:
    version = served.add_version(served.serve(0, 0), trained_until=hour(0))
    served.run(f"{MODEL}__reference")
    uri = served.monitoring.deployment.tracking_uri
    MlflowClient(uri, uri).delete_model_version(MODEL, "1")
    served.compute(0, 0)
    assert {each.absence for each in drift(served, 0) if each.version == "1"} == {None}
    copy_of(served).unlink()
    served.compute(1, 1)
    (signal,) = (each for each in drift(served, 1) if each.version == "1")
    assert (signal.absence, "has no reference" in signal.reason) == (Absence.NO_REFERENCE, True)
    assert version == "2"
