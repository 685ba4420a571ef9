"""The Slack channels: a bot token with chat.postMessage and chat.update, or an incoming webhook.

Add a way into Slack here. Keep the look of a message out: it belongs in channels/slack_blocks.py.
"""

import logging
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.request import Request

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels import http
from monitoring_pipeline.notify.channels.connections import opener
from monitoring_pipeline.notify.channels.slack_blocks import blocks_of, fallback_of
from monitoring_pipeline.notify.messages import Message, one_line

_PASSING = {"internal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited", "fatal_error"}
"""Codes of Slack that a later attempt may not meet; every other code needs a person."""

_GONE = {"message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed"}
"""The message that began the thread is not there any more, or may not be changed any more."""

_NEW_STATE = {"acknowledged", "worsened", "reopened", "resolved"}
"""Steps that the first message is changed at, so that nobody scrolling by takes it for the latest news."""

_LOUD = {"worsened", "reopened", "escalated"}
"""Steps that are shown in the channel too: those who do not follow the thread have to hear of them."""

_OPENER = opener(raises=True)
_LONGEST_ANSWER = 1_000_000

# The client writes requests (the webhook's secret address among them) to its log at debug level.
_SILENT = logging.Logger("monitoring_pipeline.notify.slack", logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    code: str
    headers: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


class SlackChannel:
    """Posts to one Slack channel as a bot. The outbox retries; the client itself never does."""

    name = "slack"

    def __init__(self, token: Credential, channel: str, *, base_url: str = "https://slack.com/api/") -> None:
        if problem := http.not_safe(base_url):
            raise ValueError(f"slack: its base_url cannot be used. {problem}")
        self._client = _web_client()(
            token.reveal(), base_url=base_url, timeout=http.TIMEOUT_S, retry_handlers=[], logger=_SILENT
        )
        self._channel = channel

    def send(self, message: Message, *, dedup_key: str, thread: str | None = None) -> str | None:
        """Post the message; a later step of `thread` replies there and brings what was posted first up to date.

        Returns `<channel id>:<ts>` of the first message: chat.update takes no channel by its name. Slack drops a
        second message with the same `client_msg_id`, so an attempt repeated half-way shows nothing twice.
        """
        new: dict[str, Any] = {"client_msg_id": str(uuid.uuid5(uuid.NAMESPACE_OID, dedup_key)), "unfurl_links": False}
        channel, _, ts = (thread or "").partition(":")
        if ts:
            if message.step in _NEW_STATE:
                self._ask(self._client.chat_update, message, accepted=_GONE, channel=channel, ts=ts)
            reply = {"thread_ts": ts, "reply_broadcast": message.step in _LOUD, **new}
            if self._ask(self._client.chat_postMessage, message, accepted=_GONE, channel=channel, **reply).code == "ok":
                return thread
        posted = self._ask(self._client.chat_postMessage, message, channel=self._channel, unfurl_media=False, **new)
        return f"{posted.data['channel']}:{posted.data['ts']}" if {"channel", "ts"} <= set(posted.data) else None

    def _ask(
        self, method: Callable[..., Any], message: Message, *, accepted: set[str] | None = None, **arguments: object
    ) -> _Answer:
        from slack_sdk.errors import SlackApiError

        def ask() -> _Answer:
            look = {"text": fallback_of(message), "blocks": blocks_of(message), "parse": "none", "link_names": False}
            try:
                response = method(**look, **arguments)
            except SlackApiError as error:
                refused: Any = error.response
                code = refused.data.get("error") if isinstance(refused.data, dict) else ""
                return _Answer(refused.status_code, str(code).replace(self._client.token or "", "***"), refused.headers)
            return _Answer(200, "ok", data=response.data)

        return _answered(f"slack channel {self._channel}: {message.incident_id}", ask, accepted or set())


class SlackWebhookChannel:
    """Posts through an incoming webhook: the address is the secret, a repeated message shows twice, none is changed."""

    name = "slack"

    def __init__(self, url: Credential) -> None:
        if problem := http.not_safe(url.reveal()):
            raise ValueError(f"slack webhook: its address cannot be used. {problem}")
        self._client = _webhook_client()(url.reveal(), timeout=http.TIMEOUT_S, retry_handlers=[], logger=_SILENT)

    def send(self, message: Message, *, dedup_key: str, thread: str | None = None) -> str | None:
        """Post the message; a webhook knows no `dedup_key` and no thread."""

        def ask() -> _Answer:
            response = self._client.send(
                text=fallback_of(message), blocks=blocks_of(message), unfurl_links=False, unfurl_media=False
            )
            return _Answer(response.status_code, response.body, response.headers)

        _answered(f"slack webhook: {message.incident_id}", ask, set())
        return None


def _web_client() -> type[Any]:
    """Return Slack's client, which by itself follows redirects, with the token, to wherever they lead."""
    from slack_sdk import WebClient

    class Client(WebClient):
        def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
            status, headers, body = _opened(req)
            return {"status": status, "headers": headers, "body": body}

    return Client


def _webhook_client() -> type[Any]:
    """Return the client of incoming webhooks, which follows redirects too."""
    from slack_sdk.webhook import WebhookClient, WebhookResponse

    class Client(WebhookClient):
        def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
            status, headers, body = _opened(req)
            return WebhookResponse(url=url, status_code=status, body=body, headers=headers)

    return Client


def _opened(request: Request) -> tuple[int, Any, str]:
    with _OPENER.open(request, timeout=http.TIMEOUT_S) as answer:
        return answer.status, answer.headers, answer.read(_LONGEST_ANSWER).decode(errors="replace")


def _answered(where: str, ask: Callable[[], _Answer], accepted: set[str]) -> _Answer:
    """Raise DeliveryError unless Slack said yes, or one of the `accepted`; its text names no token and no address."""
    try:
        answer = ask()
    except URLError as error:  # the request did not get through
        raise DeliveryError(f"{where}: no connection to Slack: {one_line(error.reason)}", retryable=True) from None
    except (OSError, HTTPException) as error:  # it did, and no answer came back
        problem = f"{where}: no answer from Slack ({type(error).__name__}): it may have been posted"
        raise DeliveryError(problem, retryable=True, outcome_unknown=True) from None
    status, code = answer.status, answer.code
    if (status == 200 and code == "ok") or code in accepted:
        return answer
    nonsense = status == 200 and not re.fullmatch(r"[a-z][a-z0-9_]*", code)
    passing = status >= 500 or status in http.PASSING or code in _PASSING or nonsense
    advice = (
        "it is tried again" if passing else "correct the token, the channel or the app's scopes, then send it again"
    )
    raise DeliveryError(
        f"{where}: Slack answered {status} {one_line(code)[:100]!r}; {advice}",
        retryable=passing,
        retry_after=http.retry_after(answer.headers),
        outcome_unknown=status == 504 or code in ("fatal_error", "request_timeout"),
    )
