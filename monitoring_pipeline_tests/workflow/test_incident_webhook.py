import json
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest
import uvicorn

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import ActionError, StoreError
from monitoring_pipeline.notify.actions import Action, IncidentNotFoundError
from monitoring_pipeline.notify.channels.signatures import signature
from monitoring_pipeline.workflow.incident_webhook import LONGEST_BODY, app_of
from monitoring_pipeline_tests.pages import ROOT, blocks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
ACKNOWLEDGE = {"kind": "acknowledge", "incident_id": "churn/drift@2026-03-09T11Z", "author": "ana"}


class Remembered:
    """Requests for as long as a test takes."""

    def __init__(self) -> None:
        self.claimed = set[str]()

    def claim(self, message_id: str, now: datetime) -> bool:
        known = message_id in self.claimed
        self.claimed.add(message_id)
        return not known

    def release(self, message_id: str) -> None:
        self.claimed.remove(message_id)


@dataclass
class Service:
    """The app on a port of its own, and what it was told to do."""

    port: int
    done: list[Action] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str, dict[str, object]]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.getheader("content-type", ""), json.loads(answer.read())
        finally:
            connection.close()

    def act(
        self, said: object, *, name: str = "msg_1", at: datetime = NOW, secret: str = SECRET
    ) -> tuple[int, dict[str, object]]:
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        stamp = int(at.timestamp())
        signed = signature(secret, webhook_id=name, timestamp=stamp, body=body)
        status, kind, answer = self.ask(
            "POST",
            "/incidents/actions",
            body,
            webhook_id=name,
            webhook_timestamp=str(stamp),
            webhook_signature=signed,
        )
        assert kind == ("application/json" if status == 200 else "application/problem+json")
        assert status == 200 or (answer["status"] == status and answer["type"] == "about:blank")
        return status, answer


@contextmanager
def serving(
    respond: Callable[[Action], Mapping[str, object]] = lambda action: {"status": "open"},
    *,
    now: datetime = NOW,
) -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        service = Service(listening.getsockname()[1])

        def apply(action: Action) -> Mapping[str, object]:
            answer = respond(action)
            service.done.append(action)
            return answer

        app = app_of(apply, Credential(SECRET), clock=lambda: now, replays=Remembered())
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            deadline = monotonic() + 10
            while not server.started and monotonic() < deadline:
                sleep(0.01)
            yield service
        finally:
            server.should_exit = True
            thread.join()


def test_a_signed_action_is_carried_out_and_answered() -> None:
    with serving() as service:
        assert service.act(ACKNOWLEDGE) == (200, {"status": "open"})
        assert [(action.kind, action.author, action.at) for action in service.done] == [("acknowledge", "ana", NOW)]


def test_what_the_guide_signs_is_accepted() -> None:
    (sign,) = [block for block in blocks(ROOT / "docs" / "incidents.md") if block.file == "sign.py"]
    guide: dict[str, Any] = {}
    exec(sign.code, guide)
    with serving(now=datetime.now(UTC)) as service:
        url = f"http://127.0.0.1:{service.port}/incidents/actions"
        assert guide["act"](url, SECRET, **ACKNOWLEDGE) == {"status": "open"}
        assert [action.author for action in service.done] == ["ana"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"secret": "whsec_" + "A" * 32}, "none of its signatures"),
        ({"at": NOW - timedelta(minutes=5, seconds=1)}, "signed more than"),
        ({"at": NOW + timedelta(minutes=5, seconds=1)}, "signed more than"),
    ],
)
def test_who_does_not_know_the_secret_or_comes_too_late_is_turned_away(how: dict[str, object], words: str) -> None:
    with serving() as service:
        status, answer = service.act(ACKNOWLEDGE, **how)  # type: ignore[arg-type]
        assert (status, service.done) == (401, [])
        assert words in str(answer["detail"])
        assert SECRET not in str(answer)


def test_what_is_not_signed_and_what_was_changed_on_the_way_is_turned_away() -> None:
    with serving() as service:
        body = json.dumps(ACKNOWLEDGE).encode()
        assert service.ask("POST", "/incidents/actions", body)[0] == 401
        stamp = int(NOW.timestamp())
        fields = {"webhook_id": "msg_1", "webhook_timestamp": str(stamp)}
        signed = signature(SECRET, webhook_id="msg_1", timestamp=stamp, body=body)
        changed = body.replace(b"ana", b"eve")
        assert service.ask("POST", "/incidents/actions", changed, **fields, webhook_signature=signed)[0] == 401
        assert service.done == []


def test_the_same_request_again_changes_nothing() -> None:
    with serving() as service:
        assert service.act(ACKNOWLEDGE)[0] == 200
        status, answer = service.act(ACKNOWLEDGE)
        assert (status, len(service.done)) == (409, 1)
        assert "'msg_1' was taken already" in str(answer["detail"])
        assert service.act(ACKNOWLEDGE, name="msg_2")[0] == 200


def test_of_the_same_request_many_times_at_once_one_is_carried_out() -> None:
    def slowly(action: Action) -> Mapping[str, object]:
        sleep(0.2)
        return {}

    with serving(slowly) as service, ThreadPoolExecutor(8) as crowd:
        statuses = list(crowd.map(lambda _: service.act(ACKNOWLEDGE)[0], range(8)))
        assert sorted(statuses) == [200, *[409] * 7]
        assert len(service.done) == 1


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (IncidentNotFoundError("there is no incident 'x'"), 404, "there is no incident 'x'"),
        (ActionError("it is resolved"), 409, "it is resolved"),
        (StoreError("postgresql://monitoring:hunter2@db refused"), 503, "Nothing was done"),
        (RuntimeError("hunter2"), 500, "the log says why"),
    ],
)
def test_what_fails_is_told_without_secrets_and_may_be_sent_again(error: Exception, status: int, words: str) -> None:
    failures = [error]

    def respond(action: Action) -> Mapping[str, object]:
        if failures:
            raise failures.pop()
        return {}

    with serving(respond) as service:
        found, answer = service.act(ACKNOWLEDGE)
        assert found == status
        assert words in str(answer["detail"])
        assert "hunter2" not in str(answer)
        assert service.act(ACKNOWLEDGE)[0] == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"[1]", "JSON list: needed an object"),
        (b'{"kind": "dance"}', "kind: found 'dance', needed one of acknowledge"),
        (b'{"kind": "note", "author": "ana"}', "incident_id: found nothing"),
        (b'{"kind": "note", "author": {"a": ' + b'{"b":' * 900 + b"1" + b"}" * 902, "author: found"),
    ],
)
def test_a_body_that_is_no_action_is_refused_with_what_is_needed(body: bytes, words: str) -> None:
    with serving() as service:
        status, answer = service.act(body)
        assert (status, service.done) == (400, [])
        assert words in str(answer["detail"])


def test_a_body_is_short_and_so_is_an_id() -> None:
    with serving() as service:
        long = json.dumps(ACKNOWLEDGE | {"text": "a"}).encode()
        assert service.act(long + b" " * (LONGEST_BODY - len(long)))[0] == 200
        assert service.act(long + b" " * (LONGEST_BODY - len(long) + 1), name="msg_2")[0] == 413
        assert service.act(ACKNOWLEDGE, name="m" * 201)[0] == 400


def test_it_says_that_it_listens_and_knows_no_other_place_or_way() -> None:
    with serving() as service:
        assert service.ask("GET", "/health") == (200, "application/json", {"status": "ok"})
        for method, path, status in (("GET", "/incidents/actions", 405), ("GET", "/", 404)):
            found, kind, answer = service.ask(method, path)
            assert (found, kind, answer["status"]) == (status, "application/problem+json", status)


def test_an_app_without_a_secret_does_not_start() -> None:
    with pytest.raises(ValueError, match="signing secret"):
        app_of(lambda action: {}, Credential(""), clock=lambda: NOW, replays=Remembered())
