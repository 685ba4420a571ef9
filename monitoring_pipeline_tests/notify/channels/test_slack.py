import json
import logging
import socket
import threading
import time
from contextlib import suppress

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels import slack
from monitoring_pipeline.notify.channels.slack import SlackChannel, SlackWebhookChannel
from monitoring_pipeline.notify.incidents import Step
from monitoring_pipeline.notify.messages import message_of
from monitoring_pipeline_tests.incidents import ATTACK, opened

TOKEN = "xoxb-secret-token"
MESSAGE = message_of(opened(), Step.OPENED)


@pytest.fixture
def channel(httpserver: HTTPServer) -> SlackChannel:
    return SlackChannel(TOKEN, "#ml-alerts", base_url=httpserver.url_for("/api/"))


def answer(httpserver: HTTPServer, body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
    handler = httpserver.expect_request("/api/chat.postMessage", method="POST")
    handler.respond_with_json(body, status=status, headers=headers)


def refusal(channel: SlackChannel | SlackWebhookChannel) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        channel.send(MESSAGE, dedup_key="incident/opened")
    return caught.value


def test_a_message_arrives_with_its_blocks_and_no_mention_of_its_own(
    httpserver: HTTPServer, channel: SlackChannel
) -> None:
    answer(httpserver, {"ok": True, "ts": "1"})
    channel.send(message_of(opened(column=ATTACK), Step.OPENED), dedup_key="incident/opened")
    request, _ = httpserver.log[0]
    body = json.loads(request.data)
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert body["channel"] == "#ml-alerts"
    assert [block["type"] for block in body["blocks"]] == ["header", "section", "section", "section", "context"]
    assert (body["parse"], body["link_names"]) == ("none", False)
    assert "<!" not in request.data.decode()


def test_every_attempt_carries_the_same_message_id(httpserver: HTTPServer, channel: SlackChannel) -> None:
    answer(httpserver, {"ok": True})
    for key in ("a/opened", "a/opened", "a/resolved"):
        channel.send(MESSAGE, dedup_key=key)
    first, again, other = (json.loads(request.data)["client_msg_id"] for request, _ in httpserver.log)
    assert first == again != other


def test_a_full_channel_is_tried_again_when_slack_says(httpserver: HTTPServer, channel: SlackChannel) -> None:
    answer(httpserver, {"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "37"})
    error = refusal(channel)
    assert (error.retryable, error.retry_after, error.outcome_unknown) == (True, 37.0, False)
    assert len(httpserver.log) == 1, "the client does not try again by itself"


@pytest.mark.parametrize("body", ['{"ok": false, "error": "internal_error"}', "<html>bad gateway</html>", '"no"', ""])
def test_a_broken_server_is_tried_again(httpserver: HTTPServer, channel: SlackChannel, body: str) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_data(body, status=502)
    error = refusal(channel)
    assert (error.retryable, error.outcome_unknown) == (True, False)


@pytest.mark.parametrize("code", ["invalid_auth", "channel_not_found", "invalid_blocks", "not_in_channel"])
def test_what_only_a_person_can_mend_is_not_tried_again(
    httpserver: HTTPServer, channel: SlackChannel, code: str
) -> None:
    answer(httpserver, {"ok": False, "error": code})
    error = refusal(channel)
    assert not error.retryable
    assert code in str(error)
    assert "#ml-alerts" in str(error)


def test_a_fatal_error_of_slack_may_have_posted(httpserver: HTTPServer, channel: SlackChannel) -> None:
    answer(httpserver, {"ok": False, "error": "fatal_error"})
    error = refusal(channel)
    assert (error.retryable, error.outcome_unknown) == (True, True)


def test_no_answer_in_time_leaves_the_outcome_unknown(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack, "TIMEOUT_S", 0.2)

    def slow(_request: Request) -> Response:
        time.sleep(0.6)
        return Response('{"ok": true}', content_type="application/json")

    httpserver.expect_request("/api/chat.postMessage").respond_with_handler(slow)
    error = refusal(SlackChannel(TOKEN, "#ml-alerts", base_url=httpserver.url_for("/api/")))
    assert (error.retryable, error.outcome_unknown) == (True, True)
    assert "may have been posted" in str(error)


def test_a_connection_cut_after_the_request_is_not_retried_behind_the_back_of_the_outbox() -> None:
    connections = []

    def cut(server: socket.socket) -> None:
        with suppress(OSError):  # closing the server ends the thread
            while True:
                connection, _ = server.accept()
                connections.append(connection.recv(65536))
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=cut, args=(server,))
        thread.start()
        error = refusal(SlackChannel(TOKEN, "#ml-alerts", base_url=f"http://127.0.0.1:{server.getsockname()[1]}/api/"))
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert (error.retryable, error.outcome_unknown) == (True, True)
    assert len(connections) == 1


def test_an_unreachable_slack_took_nothing() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    error = refusal(SlackChannel(TOKEN, "#ml-alerts", base_url=f"http://127.0.0.1:{port}/api/"))
    assert (error.retryable, error.outcome_unknown) == (True, False)


def test_neither_token_nor_address_is_ever_written_down(
    httpserver: HTTPServer, channel: SlackChannel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer(httpserver, {"ok": False, "error": "invalid_auth"})
    httpserver.expect_request("/hook/secret").respond_with_data("no_service", status=404)
    webhook = SlackWebhookChannel(httpserver.url_for("/hook/secret"))
    seen = [str(refusal(channel)), repr(channel), str(refusal(webhook)), repr(webhook)]
    seen += [record.getMessage() for record in caplog.records if record.name != "werkzeug"]  # the server's own log
    with pytest.raises(ValueError, match="does not start with https") as caught:
        SlackWebhookChannel("hook/secret")
    seen.append(str(caught.value))
    for text in seen:
        assert TOKEN not in text
        assert "secret" not in text.replace("the secret it is read from", "")


def test_a_webhook_takes_the_same_blocks(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data("ok")
    SlackWebhookChannel(httpserver.url_for("/hook")).send(MESSAGE, dedup_key="k")
    request, _ = httpserver.log[0]
    assert json.loads(request.data)["blocks"][0]["type"] == "header"


@pytest.mark.parametrize(
    ("status", "body", "retryable"),
    [(404, "no_service", False), (400, "invalid_payload", False), (429, "rate_limited", True), (503, "down", True)],
)
def test_a_webhook_fails_like_the_bot_does(httpserver: HTTPServer, status: int, body: str, retryable: bool) -> None:
    httpserver.expect_request("/hook").respond_with_data(body, status=status, headers={"Retry-After": "5"})
    error = refusal(SlackWebhookChannel(httpserver.url_for("/hook")))
    assert error.retryable is retryable
    assert error.retry_after == 5.0
