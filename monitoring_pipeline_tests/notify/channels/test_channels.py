"""What holds for every channel: each is met with the same failures and says the same of them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels import http
from monitoring_pipeline.notify.channels.alertmanager import AlertmanagerChannel
from monitoring_pipeline.notify.channels.pagerduty import PagerDutyChannel
from monitoring_pipeline.notify.channels.slack import SlackChannel, SlackWebhookChannel
from monitoring_pipeline.notify.channels.webhook import WebhookChannel
from monitoring_pipeline.notify.delivery import Channel
from monitoring_pipeline_tests.processes import free_port
from monitoring_pipeline_tests.sinks import (
    Answer,
    Behaviour,
    Cut,
    Hang,
    HttpSink,
    http_sink,
    like_pagerduty,
    like_slack,
)
from monitoring_pipeline_tests.told import MESSAGES, OPENED

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def now() -> datetime:
    return datetime.now(UTC)


def ok_in_words(_sink: HttpSink, _body: bytes) -> Answer:
    return Answer(200, "ok")


CHANNELS: dict[str, tuple[Callable[[HttpSink, bytes], Answer], Callable[[str], Channel]]] = {
    "slack": (like_slack, lambda url: SlackChannel(Credential("xoxb-1"), "#ml", base_url=f"{url}/api/")),
    "slack webhook": (ok_in_words, lambda url: SlackWebhookChannel(Credential(f"{url}/services/T0/B0/very-secret"))),
    "pagerduty": (like_pagerduty, lambda url: PagerDutyChannel(Credential("k" * 32), url=f"{url}/v2/enqueue")),
    "webhook": (ok_in_words, lambda url: WebhookChannel(Credential(f"{url}/in"), Credential(SECRET), clock=now)),
    "alertmanager": (ok_in_words, lambda url: AlertmanagerChannel(url, clock=now)),
}


@pytest.fixture(params=CHANNELS)
def met(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Channel, HttpSink]]:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.3)
    usually, make = CHANNELS[request.param]
    with http_sink(usually) as sink:
        yield make(sink.url), sink


def test_every_step_is_taken(met: tuple[Channel, HttpSink]) -> None:
    channel, sink = met
    thread = None
    for name, message in MESSAGES.items():
        thread = channel.send(message, dedup_key=f"incident/{name}", thread=thread) or thread
    assert len(sink.taken) >= len(MESSAGES)


FAILURES: dict[str, tuple[Behaviour, tuple[bool, bool]]] = {
    "full": (Answer(429, "slow down"), (True, False)),
    "broken": (Answer(500, "oops"), (True, False)),
    "away": (Answer(503), (True, False)),
    "a gateway that gave up": (Answer(504), (True, True)),
    "a hanging server": (Hang(), (True, True)),
    "taken, then reset": (Cut(), (True, True)),
    "malformed": (Answer(400, "bad_request"), (False, False)),
    "unknown to it": (Answer(401, "who_are_you"), (False, False)),
    "forbidden": (Answer(403, "not_you"), (False, False)),
    "not there": (Answer(404, "nothing_here"), (False, False)),
    "gone": (Answer(410, "gone"), (False, False)),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_the_same_failure_means_the_same_on_every_channel(met: tuple[Channel, HttpSink], failure: str) -> None:
    channel, sink = met
    behaviour, expected = FAILURES[failure]
    sink.script(behaviour)
    with pytest.raises(DeliveryError) as caught:
        channel.send(OPENED, dedup_key="incident/opened")
    assert (caught.value.retryable, caught.value.outcome_unknown) == expected
    assert OPENED.incident_id in str(caught.value)
    assert "very-secret" not in str(caught.value)
    assert len(sink.received) == 1, "the outbox tries again, not the channel"
    channel.send(OPENED, dedup_key="incident/opened")
    assert len(sink.received) == 2


def test_a_server_is_left_alone_for_as_long_as_it_asks(met: tuple[Channel, HttpSink]) -> None:
    channel, sink = met
    dates = {"Date": format_datetime(now(), usegmt=True)}
    forms = {"37": 37.0, "2.5": 2.5, "-1": 0.0, str(10**9): http.LONGEST_WAIT_S, "later": None}
    for wish, seconds in forms.items():
        sink.script(Answer(429, "slow down", {"Retry-After": wish, **dates}))
        with pytest.raises(DeliveryError) as caught:
            channel.send(OPENED, dedup_key="incident/opened")
        assert caught.value.retry_after == seconds


@pytest.mark.parametrize("name", CHANNELS)
def test_where_nobody_listens_nothing_was_taken(name: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        CHANNELS[name][1](f"http://127.0.0.1:{free_port()}").send(OPENED, dedup_key="incident/opened")
    assert (caught.value.retryable, caught.value.outcome_unknown) == (True, False)
