import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from monitoring_pipeline.notify.channels.alertmanager import AlertmanagerChannel
from monitoring_pipeline.notify.channels.slack import SlackChannel, SlackWebhookChannel
from monitoring_pipeline.notify.delivery import Channel
from monitoring_pipeline.settings.channels import CHANNEL_NAMES, Channels, make_channels
from monitoring_pipeline_tests.sinks import http_sink, like_pagerduty
from monitoring_pipeline_tests.told import OPENED

EVERYTHING: dict[str, Any] = {
    "slack": {"channel": "#ml-alerts"},
    "pagerduty": {"url": "https://events.eu.pagerduty.com/v2/enqueue"},
    "email": {"host": "mail.example.com", "sender": "ml@example.com", "recipients": ("a@example.com",), "user": "ml"},
    "webhook": {"url": "https://hooks.example.com/ml?team=7"},
    "alertmanager": {"url": "http://alertmanager:9093", "keep_firing": "2w"},
}
ENVIRONMENT = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "PAGERDUTY_ROUTING_KEY": "k" * 32 + "\n",
    "SMTP_PASSWORD": "p",
    "MONITORING_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


def channels(**sections: Any) -> Channels:
    return Channels.model_validate(sections)


def made(*monitors: Channels, env: dict[str, str] | None = None) -> tuple[dict[str, Channel], dict[str, str]]:
    found = ENVIRONMENT if env is None else env
    return make_channels(monitors, found.get, clock=lambda: datetime.now(UTC), stream=io.StringIO())


def test_a_monitor_without_channels_has_its_console() -> None:
    assert channels().offered() == {"console": ()}
    assert list(made(channels())[0]) == ["console"]


def test_every_channel_is_offered_with_what_it_needs_and_made_under_its_target() -> None:
    monitor = channels(**EVERYTHING)
    assert set(monitor.offered()) == set(CHANNEL_NAMES) == set(monitor.targets())
    assert monitor.offered() == {
        "console": (),
        "slack": ("SLACK_BOT_TOKEN",),
        "pagerduty": ("PAGERDUTY_ROUTING_KEY",),
        "email": ("SMTP_PASSWORD",),
        "webhook": ("MONITORING_WEBHOOK_SECRET",),
        "alertmanager": (),
    }
    found, wanting = made(monitor)
    assert wanting == {}
    assert {name: channel.name for name, channel in found.items()} == {
        "console": "console",
        "slack:#ml-alerts": "slack",
        "pagerduty:PAGERDUTY_ROUTING_KEY": "pagerduty",
        "email:a@example.com": "email",
        "webhook:hooks.example.com/ml": "webhook",
        "alertmanager:alertmanager:9093": "alertmanager",
    }
    assert set(found) == set(monitor.targets().values())


def test_monitors_that_differ_in_a_channel_have_one_each() -> None:
    found, _ = made(channels(slack={"channel": "#a"}), channels(slack={"channel": "#b"}), channels())
    assert list(found) == ["console", "slack:#a", "slack:#b"]


def test_a_channel_without_its_secret_is_named_and_keeps_nobody_else_waiting() -> None:
    found, wanting = made(channels(**EVERYTHING), env=ENVIRONMENT | {"SLACK_BOT_TOKEN": " "})
    assert wanting == {"slack:#ml-alerts": "set the environment variable SLACK_BOT_TOKEN"}
    assert len(found) == 5


def test_a_secret_that_cannot_be_one_is_named_and_not_shown() -> None:
    found, wanting = made(channels(**EVERYTHING), env=ENVIRONMENT | {"MONITORING_WEBHOOK_SECRET": "hunter2"})
    assert len(found) == 5
    assert "MONITORING_WEBHOOK_SECRET: a signing secret is whsec_" in wanting["webhook:hooks.example.com/ml"]
    assert "hunter2" not in str(wanting)


def test_a_secret_arrives_without_the_line_end_of_its_file() -> None:
    with http_sink(like_pagerduty) as sink:
        found, _ = made(channels(pagerduty={"url": sink.url}))
        found["pagerduty:PAGERDUTY_ROUTING_KEY"].send(OPENED, dedup_key="k")
    assert sink.received[0].json["routing_key"] == "k" * 32


def test_addresses_that_are_secrets_come_from_the_environment() -> None:
    monitor = channels(slack={"channel": "#a", "webhook_env": "SLACK_HOOK"}, webhook={"url_env": "HOOK_URL"})
    env = ENVIRONMENT | {"SLACK_HOOK": "https://hooks.example/a", "HOOK_URL": "https://hooks.example/b"}
    assert monitor.offered()["webhook"] == ("HOOK_URL", "MONITORING_WEBHOOK_SECRET")
    found, wanting = made(monitor, env=env)
    assert wanting == {}
    assert isinstance(found["slack:#a"], SlackWebhookChannel)
    assert "webhook:HOOK_URL" in found
    _, wanting = made(monitor, env=env | {"HOOK_URL": "http://hooks.example/b", "SLACK_HOOK": "b"})
    assert set(wanting) == {"slack:#a", "webhook:HOOK_URL"}
    assert "hooks.example" not in str(wanting)


def test_a_token_of_a_bot_and_of_an_alertmanager() -> None:
    monitor = channels(slack={"channel": "#a"}, alertmanager={"url": "https://am.example", "token_env": "AM_TOKEN"})
    found, _ = made(monitor, env=ENVIRONMENT | {"AM_TOKEN": "t"})
    assert isinstance(found["slack:#a"], SlackChannel)
    assert isinstance(found["alertmanager:am.example"], AlertmanagerChannel)
    weeks = [section.keep_firing for each in (monitor, channels(**EVERYTHING)) if (section := each.alertmanager)]
    assert weeks == [timedelta(weeks=4), timedelta(weeks=2)]


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"pagerduty": {"url": "http://events.pagerduty.com"}}, "starts with https://"),
        ({"webhook": {"url": "https://me:pass@a.example"}}, "ends up in logs"),
        ({"webhook": {"url": "https://a.example", "url_env": "HOOK"}}, "one of url and url_env"),
        ({"webhook": {}}, "one of url and url_env"),
        ({"webhook": {"url": "https://a.example", "secret_env": "whsec_abc"}}, "in capitals"),
        ({"alertmanager": {"url": "http://alertmanager.example:9093"}}, "starts with https://"),
        ({"slack": {"channel": "#a", "base_url": "http://slack.example/api/"}}, "starts with https://"),
        ({"email": EVERYTHING["email"] | {"security": "none"}}, "starttls or tls"),
        ({"email": EVERYTHING["email"] | {"security": "ssl"}}, "starttls"),
        ({"email": EVERYTHING["email"] | {"sender": "Me <me@example.com>"}}, "e-mail address"),
        ({"email": EVERYTHING["email"] | {"recipients": ()}}, "at least 1"),
        ({"email": EVERYTHING["email"] | {"port": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_work_is_refused_in_words(sections: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        channels(**sections)


def test_mail_to_this_machine_needs_no_encryption() -> None:
    email = EVERYTHING["email"] | {"host": "localhost", "security": "none"}
    assert channels(email=email).email
