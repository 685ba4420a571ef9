import json
import logging
from collections.abc import Iterator

import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels import http
from monitoring_pipeline.notify.channels.slack import SlackChannel, SlackWebhookChannel
from monitoring_pipeline_tests.processes import free_port
from monitoring_pipeline_tests.sinks import Answer, Behaviour, Cut, Hang, HttpSink, http_sink, like_slack
from monitoring_pipeline_tests.told import ACKNOWLEDGED, ESCALATED, HOSTILE, OPENED, RESOLVED, WORSENED

TOKEN = "xoxb-secret-token"


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with http_sink(like_slack) as found:
        yield found


@pytest.fixture
def channel(sink: HttpSink) -> SlackChannel:
    return SlackChannel(Credential(TOKEN), "#ml-alerts", base_url=f"{sink.url}/api/")


def says(error: str, *, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps({"ok": False, "error": error}), headers)


def refusal(channel: SlackChannel | SlackWebhookChannel, *, thread: str | None = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        channel.send(RESOLVED if thread else OPENED, dedup_key="incident/step", thread=thread)
    return caught.value


def calls(sink: HttpSink) -> list[str]:
    return [posted.path.rpartition("/")[2] for posted in sink.received]


def test_a_message_arrives_with_its_blocks_and_no_mention_of_its_own(sink: HttpSink, channel: SlackChannel) -> None:
    channel.send(HOSTILE, dedup_key="incident/opened")
    (posted,) = sink.received
    assert posted.headers["Authorization"] == f"Bearer {TOKEN}"
    assert posted.json["channel"] == "#ml-alerts"
    assert posted.json["blocks"][0]["type"] == "header"
    assert (posted.json["parse"], posted.json["link_names"]) == ("none", False)
    assert b"<!" not in posted.body


def test_every_attempt_carries_the_same_message_id(sink: HttpSink, channel: SlackChannel) -> None:
    for key in ("a/opened", "a/opened", "a/resolved"):
        channel.send(OPENED, dedup_key=key)
    first, again, other = (posted.json["client_msg_id"] for posted in sink.received)
    assert first == again != other


def test_the_first_message_shows_what_became_of_it_and_the_thread_how(sink: HttpSink, channel: SlackChannel) -> None:
    thread = channel.send(OPENED, dedup_key="opened")
    assert thread == "C0ML:1700000000.000000"
    for message in (ESCALATED, ACKNOWLEDGED, RESOLVED):
        assert channel.send(message, dedup_key=message.step, thread=thread) == thread
    _, escalated, noted, acknowledged, ended, resolved = (posted.json for posted in sink.received)
    assert calls(sink)[1:] == [
        "chat.postMessage",
        *("chat.update", "chat.postMessage"),
        *("chat.update", "chat.postMessage"),
    ]
    for changed in (noted, ended):
        assert (changed["channel"], changed["ts"]) == ("C0ML", "1700000000.000000")
    assert noted["blocks"][0]["text"]["text"].startswith("👀 Acknowledged")
    assert ended["blocks"][0]["text"]["text"].startswith("🟢 Resolved")
    for reply in (escalated, acknowledged, resolved):
        assert (reply["channel"], reply["thread_ts"]) == ("C0ML", "1700000000.000000")
    assert [reply["reply_broadcast"] for reply in (escalated, acknowledged, resolved)] == [True, False, False]


def test_an_attempt_that_failed_half_way_is_repeated_whole(sink: HttpSink, channel: SlackChannel) -> None:
    thread = channel.send(OPENED, dedup_key="opened")
    sink.script(Answer(200, '{"ok": true}'), says("ratelimited", status=429))
    assert refusal(channel, thread=thread).retryable
    channel.send(RESOLVED, dedup_key="incident/step", thread=thread)
    assert calls(sink)[1:] == ["chat.update", "chat.postMessage"] * 2
    assert sink.received[2].json["client_msg_id"] == sink.received[4].json["client_msg_id"]


@pytest.mark.parametrize("code", ["cant_update_message", "edit_window_closed", "message_not_found"])
def test_a_message_that_cannot_be_changed_is_still_answered(sink: HttpSink, channel: SlackChannel, code: str) -> None:
    sink.script(says(code))
    assert channel.send(RESOLVED, dedup_key="resolved", thread="C0ML:1.5") == "C0ML:1.5"
    assert calls(sink) == ["chat.update", "chat.postMessage"]


def test_a_thread_that_somebody_deleted_begins_anew(sink: HttpSink, channel: SlackChannel) -> None:
    sink.script(says("message_not_found"), says("thread_not_found"))
    assert channel.send(WORSENED, dedup_key="worsened", thread="C0ML:1.5") == "C0ML:1700000000.000002"
    last = sink.received[-1].json
    assert last["channel"] == "#ml-alerts"
    assert "thread_ts" not in last


def test_a_full_channel_is_tried_again_when_slack_says(sink: HttpSink, channel: SlackChannel) -> None:
    sink.script(says("ratelimited", status=429, **{"Retry-After": "37"}))
    error = refusal(channel)
    assert (error.retryable, error.retry_after, error.outcome_unknown) == (True, 37.0, False)
    assert len(sink.received) == 1, "the client does not try again by itself"


@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize("body", ['{"ok": false, "error": "internal_error"}', "<html>bad gateway</html>", ""])
def test_a_broken_server_is_tried_again(sink: HttpSink, channel: SlackChannel, status: int, body: str) -> None:
    sink.script(Answer(status, body))
    error = refusal(channel)
    assert (error.retryable, error.outcome_unknown) == (True, False)


@pytest.mark.parametrize("code", ["invalid_auth", "channel_not_found", "invalid_blocks", "not_in_channel"])
def test_what_only_a_person_can_mend_is_not_tried_again(sink: HttpSink, channel: SlackChannel, code: str) -> None:
    sink.script(says(code))
    error = refusal(channel)
    assert not error.retryable
    assert code in str(error)
    assert "#ml-alerts" in str(error)


def test_an_address_that_is_not_slacks_is_for_a_person(sink: HttpSink, channel: SlackChannel) -> None:
    sink.script(Answer(404, "<html>not found</html>"))
    assert not refusal(channel).retryable


def test_a_fatal_error_of_slack_may_have_posted(sink: HttpSink, channel: SlackChannel) -> None:
    sink.script(says("fatal_error"))
    error = refusal(channel)
    assert (error.retryable, error.outcome_unknown) == (True, True)


@pytest.mark.parametrize("behaviour", [Hang(), Cut()])
@pytest.mark.parametrize("thread", [None, "C0ML:1.5"])
def test_without_an_answer_the_outcome_is_unknown_and_the_outbox_decides(
    sink: HttpSink, behaviour: Behaviour, thread: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.2)
    sink.script(behaviour)
    error = refusal(SlackChannel(Credential(TOKEN), "#ml-alerts", base_url=f"{sink.url}/api/"), thread=thread)
    assert (error.retryable, error.outcome_unknown) == (True, True)
    assert "may have been posted" in str(error)
    assert len(sink.received) == 1


def test_an_unreachable_slack_took_nothing() -> None:
    error = refusal(SlackChannel(Credential(TOKEN), "#ml-alerts", base_url=f"http://127.0.0.1:{free_port()}/api/"))
    assert (error.retryable, error.outcome_unknown) == (True, False)


def test_neither_token_nor_address_is_ever_written_down(
    sink: HttpSink, channel: SlackChannel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sink.script(says("invalid_auth"), Answer(404, "no_service"))
    webhook = SlackWebhookChannel(Credential(f"{sink.url}/hook/secret"))
    seen = [str(refusal(channel)), repr(channel), str(refusal(webhook)), repr(webhook)]
    seen += [record.getMessage() for record in caplog.records]
    for address in ("hook/secret", "http://hooks.example/secret"):
        with pytest.raises(ValueError, match="cannot be used") as caught:
            SlackWebhookChannel(Credential(address))
        seen.append(str(caught.value))
    for text in seen:
        assert TOKEN not in text
        assert "secret" not in text


def test_a_webhook_takes_the_same_blocks_and_knows_no_thread(sink: HttpSink) -> None:
    sink.script(Answer(200, "ok"))
    assert SlackWebhookChannel(Credential(f"{sink.url}/hook")).send(RESOLVED, dedup_key="k", thread="C0ML:1.5") is None
    assert sink.received[0].json["blocks"][0]["type"] == "header"


@pytest.mark.parametrize(
    ("status", "body", "retryable"),
    [(404, "no_service", False), (400, "invalid_payload", False), (429, "rate_limited", True), (503, "down", True)],
)
def test_a_webhook_fails_like_the_bot_does(sink: HttpSink, status: int, body: str, retryable: bool) -> None:
    sink.script(Answer(status, body, {"Retry-After": "5"}))
    error = refusal(SlackWebhookChannel(Credential(f"{sink.url}/hook")))
    assert error.retryable is retryable
    assert error.retry_after == 5.0
