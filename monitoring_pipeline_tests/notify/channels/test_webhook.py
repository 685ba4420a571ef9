import json
from datetime import UTC, datetime

import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels.signatures import verify
from monitoring_pipeline.notify.channels.webhook import WebhookChannel, body_of
from monitoring_pipeline.notify.messages import Message
from monitoring_pipeline_tests.golden_files import assert_golden
from monitoring_pipeline_tests.sinks import Answer, Cut, http_sink
from monitoring_pipeline_tests.told import MESSAGES, OPENED, RESOLVED

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 11, 20, 6, 5, tzinfo=UTC)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_body_is_the_one_that_was_read_and_found_good(name: str) -> None:
    document = json.loads(body_of(MESSAGES[name]))
    assert_golden(f"{name}_webhook.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def test_a_reader_gets_the_whole_message_back() -> None:
    assert Message.from_record(json.loads(body_of(OPENED))["data"]) == OPENED


def test_what_arrives_is_signed_and_has_the_same_id_at_every_attempt() -> None:
    with http_sink() as sink:
        channel = WebhookChannel(Credential(f"{sink.url}/in"), Credential(SECRET), clock=lambda: NOW)
        sink.script(Cut())
        with pytest.raises(DeliveryError):
            channel.send(OPENED, dedup_key="incident/opened")
        channel.send(OPENED, dedup_key="incident/opened")
        channel.send(RESOLVED, dedup_key="incident/resolved")
        ids = [verify(SECRET, posted.headers, posted.body, now=NOW) for posted in sink.received]
    assert ids[0] == ids[1] != ids[2]
    assert sink.received[0].body == sink.received[1].body


def test_neither_secret_nor_address_is_ever_written_down() -> None:
    with http_sink() as sink:
        url = f"{sink.url}/hooks/very-secret-path"
        sink.script(Answer(404, f"no {url} for {SECRET}"))
        with pytest.raises(DeliveryError) as caught:
            WebhookChannel(Credential(url), Credential(SECRET), clock=lambda: NOW).send(OPENED, dedup_key="k")
    assert "very-secret-path" not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "secret"), [("http://a.example/", SECRET), ("hooks/secret-path", SECRET), ("https://a.example/", "guess")]
)
def test_it_is_not_made_without_an_address_and_a_secret_that_can_be_used(url: str, secret: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be used|signing secret") as caught:
        WebhookChannel(Credential(url), Credential(secret), clock=lambda: NOW)
    assert "secret-path" not in str(caught.value)
