"""The Slack channels: a bot token with chat.postMessage, or an incoming webhook.

Add a way into Slack here. Keep the look of a message out: it belongs in channels/slack_blocks.py.
"""

import logging
import re
import uuid
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import URLError

from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels.slack_blocks import blocks_of, fallback_of
from monitoring_pipeline.notify.messages import Message

TIMEOUT_S = 10
_PASSING = {"internal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited", "fatal_error"}
"""Codes of Slack that a later attempt may not meet; every other code needs a person."""

# The client writes requests (the webhook's secret address among them) to its log at debug level.
_SILENT = logging.Logger("monitoring_pipeline.notify.slack", logging.CRITICAL)


class SlackChannel:
    """Posts to one Slack channel as a bot. The outbox retries; the client itself never does."""

    name = "slack"

    def __init__(self, token: str, channel: str, *, base_url: str = "https://slack.com/api/") -> None:
        from slack_sdk import WebClient

        self._client = WebClient(token, base_url=base_url, timeout=TIMEOUT_S, retry_handlers=[], logger=_SILENT)
        self._channel = channel

    def send(self, message: Message, *, dedup_key: str) -> None:
        """Post the message; Slack drops a second one with the same `client_msg_id`."""
        from slack_sdk.errors import SlackApiError

        def post() -> tuple[int, Mapping[str, str], str]:
            try:
                self._client.chat_postMessage(
                    channel=self._channel,
                    text=fallback_of(message),
                    blocks=blocks_of(message),
                    parse="none",
                    link_names=False,
                    unfurl_links=False,
                    unfurl_media=False,
                    client_msg_id=str(uuid.uuid5(uuid.NAMESPACE_OID, dedup_key)),
                )
            except SlackApiError as error:
                response: Any = error.response
                code = response.data.get("error") if isinstance(response.data, dict) else ""
                return response.status_code, response.headers, str(code)
            return 200, {}, "ok"

        _handed_over(f"slack channel {self._channel}", message, post)


class SlackWebhookChannel:
    """Posts through an incoming webhook; the address is the secret, and a repeated message shows twice."""

    name = "slack"

    def __init__(self, url: str) -> None:
        from slack_sdk.webhook import WebhookClient

        if not url.startswith(("https://", "http://")):
            raise ValueError(
                "slack webhook: its address does not start with https://. Check the secret it is read from."
            )
        self._client = WebhookClient(url, timeout=TIMEOUT_S, retry_handlers=[], logger=_SILENT)

    def send(self, message: Message, *, dedup_key: str) -> None:
        """Post the message; a webhook knows no `dedup_key`."""

        def post() -> tuple[int, Mapping[str, str], str]:
            response = self._client.send(
                text=fallback_of(message), blocks=blocks_of(message), unfurl_links=False, unfurl_media=False
            )
            return response.status_code, response.headers, response.body

        _handed_over("slack webhook", message, post)


def _handed_over(where: str, message: Message, post: Callable[[], tuple[int, Mapping[str, str], str]]) -> None:
    """Raise DeliveryError unless Slack said yes; its text names no token and no address."""
    what = f"{where}: {message.incident_id}"
    try:
        status, headers, code = post()
    except URLError as error:  # the request did not get through
        raise DeliveryError(f"{what}: no connection to Slack: {error.reason}", retryable=True) from None
    except (OSError, HTTPException) as error:  # it did, and no answer came back
        problem = f"{what}: no answer from Slack ({type(error).__name__}): it may have been posted"
        raise DeliveryError(problem, retryable=True, outcome_unknown=True) from None
    if status == 200 and code == "ok":
        return
    passing = status >= 500 or status in (408, 429) or code in _PASSING or not re.fullmatch(r"[a-z][a-z0-9_]*", code)
    advice = (
        "it is tried again" if passing else "correct the token, the channel or the app's scopes, then send it again"
    )
    raise DeliveryError(
        f"{what}: Slack answered {status} {code[:100]!r}; {advice}",
        retryable=passing,
        retry_after=_seconds(headers),
        outcome_unknown=status == 504 or code in ("fatal_error", "request_timeout"),
    )


def _seconds(headers: Mapping[str, str]) -> float | None:
    wish = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return float(wish) if re.fullmatch(r"\d+(\.\d+)?", str(wish)) else None
