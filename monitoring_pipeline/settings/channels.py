"""Where messages may go, as written in YAML, and the channels made of it.

Add a section for a new channel here and name it in Channels. Keep secrets out: a section names the environment variable
that holds one. Keep which severity goes where out: it belongs to the routes.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Literal, TextIO, get_args

from pydantic import AfterValidator, Field, model_validator

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.notify.channels import http, pagerduty
from monitoring_pipeline.notify.channels.alertmanager import AlertmanagerChannel
from monitoring_pipeline.notify.channels.console import ConsoleChannel
from monitoring_pipeline.notify.channels.email import ADDRESS, EmailChannel, Security
from monitoring_pipeline.notify.channels.slack import SlackChannel, SlackWebhookChannel
from monitoring_pipeline.notify.channels.webhook import WebhookChannel
from monitoring_pipeline.notify.delivery import Channel
from monitoring_pipeline.settings.conditions import Duration, Section, matching, parse_duration

Clock = Callable[[], datetime]
Secrets = Mapping[str, Credential]
"""The values of the variables that a section names."""

ChannelName = Literal["console", "slack", "pagerduty", "email", "webhook", "alertmanager"]
CHANNEL_NAMES: tuple[str, ...] = get_args(ChannelName)

Variable = Annotated[
    str, matching(r"[A-Z][A-Z0-9_]*", "Name an environment variable in capitals; the secret itself stays there.")
]
_PORTS: Mapping[str, int] = {"starttls": 587, "tls": 465, "none": 25}


def _address(url: str) -> str:
    if problem := http.not_safe(url):
        raise ValueError(problem)
    return url


def _inside(url: str) -> str:
    if problem := http.not_safe(url, inside=True):
        raise ValueError(problem)
    return url


Address = Annotated[str, AfterValidator(_address)]
Mailbox = Annotated[str, matching(ADDRESS.pattern, "Write an e-mail address, such as ml-oncall@example.com.")]


class Slack(Section):
    """A Slack channel, as a bot; with `webhook_env` through an incoming webhook, which changes and threads nothing."""

    channel: Annotated[str, matching(r"[#@]?[\w.-]+", "Write a channel, such as '#ml-monitoring' (in quotes).")]
    token_env: Variable = "SLACK_BOT_TOKEN"  # noqa: S105 - the name of a variable
    webhook_env: Variable | None = None
    base_url: Address = "https://slack.com/api/"

    def variables(self) -> tuple[str, ...]:
        return (self.webhook_env or self.token_env,)

    def target(self) -> str:
        return f"slack:{self.channel}"

    def made(self, secrets: Secrets, clock: Clock) -> Channel:
        if self.webhook_env:
            return SlackWebhookChannel(secrets[self.webhook_env])
        return SlackChannel(secrets[self.token_env], self.channel, base_url=self.base_url)


class PagerDuty(Section):
    """A service of PagerDuty; accounts of the EU region have an address of their own."""

    routing_key_env: Variable = "PAGERDUTY_ROUTING_KEY"
    url: Address = pagerduty.URL

    def variables(self) -> tuple[str, ...]:
        return (self.routing_key_env,)

    def target(self) -> str:
        return f"pagerduty:{self.routing_key_env}"

    def made(self, secrets: Secrets, clock: Clock) -> Channel:
        return pagerduty.PagerDutyChannel(secrets[self.routing_key_env], url=self.url)


class Email(Section):
    """Mail over SMTP; `port` follows `security` (587, 465, 25). Without encryption only to this machine itself."""

    host: str
    sender: Mailbox
    recipients: tuple[Mailbox, ...] = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    security: Security = "starttls"
    user: str | None = None
    password_env: Variable = "SMTP_PASSWORD"  # noqa: S105 - the name of a variable

    @model_validator(mode="after")
    def _is_encrypted(self) -> "Email":
        if self.security == "none" and not http.loopback(self.host):
            raise ValueError("Mail to another machine is encrypted: set security to starttls or tls.")
        return self

    def variables(self) -> tuple[str, ...]:
        return (self.password_env,) if self.user else ()

    def target(self) -> str:
        return f"email:{','.join(self.recipients)}"

    def made(self, secrets: Secrets, clock: Clock) -> Channel:
        return EmailChannel(
            self.host,
            self.port or _PORTS[self.security],
            sender=self.sender,
            recipients=self.recipients,
            clock=clock,
            security=self.security,
            user=self.user or "",
            password=secrets.get(self.password_env),
        )


class Webhook(Section):
    """An address of your own that takes signed JSON; one that is itself a secret is given by `url_env`."""

    url: Address | None = None
    url_env: Variable | None = None
    secret_env: Variable = "MONITORING_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable

    @model_validator(mode="after")
    def _has_one_address(self) -> "Webhook":
        if (self.url is None) == (self.url_env is None):
            raise ValueError("Say where to: give one of url and url_env.")
        return self

    def variables(self) -> tuple[str, ...]:
        return (self.secret_env,) if self.url_env is None else (self.url_env, self.secret_env)

    def target(self) -> str:
        return f"webhook:{self.url_env or (self.url or '').partition('://')[2].partition('?')[0]}"

    def made(self, secrets: Secrets, clock: Clock) -> Channel:
        url = Credential(self.url or "") if self.url_env is None else secrets[self.url_env]
        return WebhookChannel(url, secrets[self.secret_env], clock=clock)


class Alertmanager(Section):
    """An Alertmanager; `keep_firing` is how long an incident goes on there without a further word about it."""

    url: Annotated[str, AfterValidator(_inside)]
    token_env: Variable | None = None
    keep_firing: Duration = parse_duration("4w")

    def variables(self) -> tuple[str, ...]:
        return (self.token_env,) if self.token_env else ()

    def target(self) -> str:
        return f"alertmanager:{self.url.partition('://')[2].rstrip('/')}"

    def made(self, secrets: Secrets, clock: Clock) -> Channel:
        token = secrets[self.token_env] if self.token_env else None
        return AlertmanagerChannel(self.url, clock=clock, token=token, keep_firing=self.keep_firing)


ChannelForm = Slack | PagerDuty | Email | Webhook | Alertmanager


class Channels(Section):
    """The channels of a monitor besides the console, which is always there."""

    slack: Slack | None = None
    pagerduty: PagerDuty | None = None
    email: Email | None = None
    webhook: Webhook | None = None
    alertmanager: Alertmanager | None = None

    def forms(self) -> dict[str, ChannelForm]:
        """Return the sections that are filled in, by the name that routes use."""
        found = {name: getattr(self, name) for name in CHANNEL_NAMES if name != "console"}
        return {name: form for name, form in found.items() if form is not None}

    def offered(self) -> dict[str, tuple[str, ...]]:
        """Return the names that routes may use, and the environment variables each of them needs."""
        return {"console": (), **{name: form.variables() for name, form in self.forms().items()}}

    def targets(self) -> dict[str, str]:
        """Return what the outbox calls each: with its target, as monitors may differ in it."""
        return {"console": "console", **{name: form.target() for name, form in self.forms().items()}}


def make_channels(
    monitors: Iterable[Channels], secret: Callable[[str], str | None], *, clock: Clock, stream: TextIO
) -> tuple[dict[str, Channel], dict[str, str]]:
    """Return the channels by their names in the outbox, and for each that could not be made what to do about it.

    One without its secret keeps its own mail waiting, and nobody else's. `clock` is that of the wall, even in a replay.
    """
    channels: dict[str, Channel] = {"console": ConsoleChannel(stream)}
    wanting: dict[str, str] = {}
    for form in (form for each in monitors for form in each.forms().values()):
        values = {name: Credential((secret(name) or "").strip()) for name in form.variables()}
        unset = [name for name, value in values.items() if not value]
        if unset:
            wanting[form.target()] = f"set the environment variable {' and '.join(unset)}"
            continue
        try:
            channels[form.target()] = form.made(values, clock)
        except ValueError as error:
            wanting[form.target()] = f"correct the environment variable {' or '.join(values)}: {error}"
    return channels, wanting
