from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.serve.guard import HEADERS, LOOPBACK, MOST_CLIENTS, Clients, Guard, Rate
from monitoring_pipeline.stores.database import SignedRequests, StateDatabase
from monitoring_pipeline.workflow.exporter import app_of as exporter_app
from monitoring_pipeline.workflow.incident_webhook import app_of as webhook_app
from monitoring_pipeline_tests.scoring import NOW, ROW, Port, Scoring, listening
from monitoring_pipeline_tests.serve.test_app import registered

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Page:
    """What an exporter has to say, where nothing is stored."""

    def page(self, _: str) -> tuple[bytes, str]:
        return b"up 1\n", "text/plain"


@pytest.fixture(params=["scoring", "webhook", "exporter"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Port]:
    """Each service of the pipeline, as it listens on loopback."""
    apps: dict[str, Callable[[], Any]] = {
        "scoring": lambda: Scoring(tmp_path, registered(), hosts=LOOPBACK).app,
        "webhook": lambda: webhook_app(
            lambda _: {},
            Credential(SECRET),
            clock=lambda: NOW,
            replays=SignedRequests(StateDatabase(f"sqlite:///{tmp_path / 'state.db'}")),  # nothing here is signed
            hosts=LOOPBACK,
        ),
        "exporter": lambda: exporter_app(Page(), hosts=LOOPBACK),  # type: ignore[arg-type]  # all that is asked of one
    }
    with listening(apps[request.param]()) as port:
        yield port


def guarded(headers: dict[str, str]) -> bool:
    return all(headers.get(name) == value for name, value in HEADERS.items())


def test_every_answer_says_that_it_is_no_page_and_not_to_be_kept(service: Port) -> None:
    for path in ("/health", "/nothing-here"):
        _, _, headers = service.ask("GET", path)
        assert guarded(dict(headers)), path


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "[::1", ""])
def test_a_service_of_this_machine_is_not_reached_under_another_name(service: Port, host: str) -> None:
    status, answer, headers = service.ask("GET", "/health", host=host)
    assert status in (400, 421)
    assert status == 400 or (answer["status"] == 421 and guarded(dict(headers)))


@pytest.mark.parametrize("host", ["localhost:8008", "127.0.0.1", "[::1]:8008", "LOCALHOST"])
def test_it_is_reached_under_all_of_its_own(service: Port, host: str) -> None:
    assert service.ask("GET", "/health", host=host)[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_site_can_change_nothing(service: Port, origin: str) -> None:
    for path in ("/predict", "/feedback", "/incidents/actions", "/metrics"):
        status, answer, headers = service.ask("POST", path, b"{}", origin=origin)
        assert (status, answer["status"]) == (403, 403)
        assert guarded(dict(headers))
        assert "access-control-allow-origin" not in headers


def test_a_client_that_asks_too_often_waits_and_others_do_not(tmp_path: Path) -> None:
    app = Scoring(tmp_path, registered(), rate=Rate(per_s=0.5, burst=3)).app
    with listening(app) as port:
        answers = [port.ask("POST", "/predict", {"features": ROW}) for _ in range(5)]
        assert [status for status, _, _ in answers] == [200, 200, 200, 429, 429]
        assert int(answers[-1][2]["retry-after"]) >= 1
        assert answers[-1][1]["title"] == "Too Many Requests"


def test_what_was_sent_too_fast_may_be_sent_again_later() -> None:
    now = [0.0]
    clients = Clients(Rate(per_s=2, burst=2), clock=lambda: now[0])
    assert [clients.wait_s("a") for _ in range(3)] == [0, 0, 0.5]
    assert clients.wait_s("b") == 0
    now[0] = 0.5
    assert [clients.wait_s("a") for _ in range(2)] == [0, 0.5]
    now[0] = 1000
    assert [clients.wait_s("a") > 0 for _ in range(3)] == [False, False, True]


def test_addresses_without_end_take_no_memory_without_end() -> None:
    clients = Clients(Rate(per_s=1, burst=1))
    for number in range(MOST_CLIENTS + 100):
        clients.wait_s(str(number))
    assert len(clients._left) == MOST_CLIENTS


def test_no_page_of_the_service_runs_scripts_of_others(tmp_path: Path) -> None:
    with listening(Scoring(tmp_path, registered()).app) as port:
        assert [port.ask("GET", path)[0] for path in ("/docs", "/redoc", "/openapi.json")] == [404, 404, 200]


def test_a_body_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with listening(Scoring(tmp_path, registered()).app) as port:
        for path in ("/predict", "/predict/batch", "/feedback"):
            assert port.ask("POST", path, b" " * (2**20 + 1))[0] == 413


async def _nothing(*_: Any) -> Any:
    raise AssertionError("asked")


def test_what_is_no_request_passes() -> None:
    import asyncio

    seen = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(Guard(app, rate=Rate(1, 1), hosts=LOOPBACK)({"type": "lifespan"}, _nothing, _nothing))
    assert seen == ["lifespan"]
