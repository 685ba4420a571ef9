import socket
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Thread

import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import DeliveryError, StoreError
from monitoring_pipeline.notify.channels import connections, http
from monitoring_pipeline.notify.channels.alertmanager import AlertmanagerChannel
from monitoring_pipeline.notify.channels.pagerduty import PagerDutyChannel
from monitoring_pipeline.notify.channels.slack import SlackChannel, SlackWebhookChannel
from monitoring_pipeline.notify.channels.webhook import WebhookChannel
from monitoring_pipeline.notify.delivery import Channel
from monitoring_pipeline.stores.http import ask
from monitoring_pipeline_tests.sinks import Answer, http_sink
from monitoring_pipeline_tests.told import OPENED

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
METADATA = (
    *("169.254.169.254", "169.254.170.2", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.16689662"),
    *("[::ffff:169.254.169.254]", "[fe80::1]", "[fe80::1%25eth0]", "0.0.0.0", "0", "[::]", "224.0.0.1", "[ff02::1]"),
)


def now() -> datetime:
    return datetime(2026, 3, 9, tzinfo=UTC)


CHANNELS: dict[str, Callable[[str], Channel]] = {
    "slack": lambda url: SlackChannel(Credential("xoxb-token"), "#ml", base_url=f"{url}/"),
    "slack webhook": lambda url: SlackWebhookChannel(Credential(url)),
    "pagerduty": lambda url: PagerDutyChannel(Credential("key-of-the-service"), url=url),
    "webhook": lambda url: WebhookChannel(Credential(url), Credential(SECRET), clock=now),
    "alertmanager": lambda url: AlertmanagerChannel(url, clock=now, token=Credential("token-of-ours")),
}
every_channel = pytest.mark.parametrize("channel", CHANNELS)


@every_channel
@pytest.mark.parametrize("host", METADATA)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_channel_is_made_for_an_address_that_only_machines_talk_to(channel: str, host: str, scheme: str) -> None:
    with pytest.raises(ValueError, match=r"link-local|starts with https|not an address"):
        CHANNELS[channel](f"{scheme}://{host}/x")


@pytest.mark.parametrize("host", METADATA)
def test_it_is_said_what_is_wrong_with_such_an_address(host: str) -> None:
    assert "link-local" in http.not_safe(f"https://{host}/latest/meta-data")


@pytest.mark.parametrize(
    "url", ["http://127.1/x", "http://2130706433/x", "http://[::ffff:127.0.0.1]/x", "https://10.0.0.7/x"]
)
def test_this_machine_and_services_inside_can_be_addressed_in_any_form(url: str) -> None:
    assert http.not_safe(url) == ""


@every_channel
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_and_no_secret_reaches_where_it_leads(channel: str, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        there = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/x"
        with http_sink(lambda *_: Answer(status, "", {"Location": there})) as sink:
            with pytest.raises(DeliveryError) as caught:
                CHANNELS[channel](sink.url).send(OPENED, dedup_key="k")
            assert len(sink.received) == 1
        assert not caught.value.retryable
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


@every_channel
def test_where_a_name_leads_is_looked_at_before_anything_is_sent(channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                taken.append(connection.recv(1000))

        made = CHANNELS[channel](f"http://localhost:{listener.getsockname()[1]}")
        # The name is fine, and what it leads to is taken for a link-local address.
        monkeypatch.setattr(connections, "never_asked", lambda host: host == "127.0.0.1")
        thread = Thread(target=accept)
        thread.start()
        with pytest.raises(DeliveryError, match="link-local"):
            made.send(OPENED, dedup_key="k")
        thread.join()
    assert taken == [b""]


def test_probes_of_services_are_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "never_asked", lambda host: host == "127.0.0.1")
    with http_sink() as sink:
        with pytest.raises(StoreError, match="link-local"):
            ask(sink.url, timeout_s=2, headers={"Authorization": "Bearer token"})
        assert sink.received == []
