"""The PagerDuty channel: Events API v2, with which PagerDuty itself pages, escalates and groups.

Add what an event tells PagerDuty to `event_of`. Keep who is on call out: that is PagerDuty's to know.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.notify.channels import http
from monitoring_pipeline.notify.messages import Message

URL = "https://events.pagerduty.com/v2/enqueue"
LONGEST_SUMMARY, LONGEST_KEY, MOST_LINKS = 1024, 255, 20

_ACTIONS: Mapping[str, str] = {
    **dict.fromkeys(("opened", "reopened", "worsened", "joined", "updated", "escalated"), "trigger"),
    "acknowledged": "acknowledge",
    "resolved": "resolve",
}
"""Steps that PagerDuty has a word for. Of the others it hears nothing: a trigger would page somebody for a note."""


class PagerDutyChannel:
    """Sends events to one service of PagerDuty, which is named by its routing key."""

    name = "pagerduty"

    def __init__(self, routing_key: Credential, *, url: str = URL) -> None:
        if problem := http.not_safe(url):
            raise ValueError(f"pagerduty: its address cannot be used. {problem}")
        self._key, self._url = routing_key, url

    def send(self, message: Message, *, dedup_key: str, thread: str | None = None) -> str | None:
        """Send the event; a repeated one joins the incident that PagerDuty has, so `dedup_key` is not needed."""
        event = event_of(message)
        if event is not None:
            body = json.dumps({"routing_key": self._key.reveal(), **event}, ensure_ascii=False).encode()
            where = f"pagerduty: {message.incident_id}"
            http.post(where, self._url, body, accepted=(202,), secrets=(self._key,))
        return thread


def event_of(message: Message) -> dict[str, Any] | None:
    """Return the event, without its routing key; None where PagerDuty has nothing to do.

    PagerDuty groups by the incident's id, which is the fingerprint and the hour it began. With the fingerprint alone, a
    late "resolved" of one incident would silence the page of the next.
    """
    action = _ACTIONS.get(message.step)
    if action is None:
        return None
    key = message.incident_id
    if len(key) > LONGEST_KEY:
        key = hashlib.sha256(key.encode()).hexdigest()
    event: dict[str, Any] = {"event_action": action, "dedup_key": key}
    if action != "trigger":
        return event
    addresses = [("Runbook", message.runbook), *message.links]
    links = [{"href": href, "text": text} for text, href in addresses if re.fullmatch(r"https?://\S+", href)]
    payload = {
        "summary": message.title[:LONGEST_SUMMARY],
        "source": message.model,
        "severity": message.severity if message.severity in ("critical", "warning") else "info",
        "timestamp": message.started_at,
        "component": message.model,
        "class": message.fingerprint.rpartition("/")[2],
        "custom_details": _details(message),
    }
    told = {name: value for name, value in payload.items() if value}
    return {**event, "client": "monitoring-pipeline", "payload": told, "links": links[:MOST_LINKS]}


def _details(message: Message) -> dict[str, Any]:
    details: dict[str, Any] = {
        **dict(message.facts),
        "Likely causes": list(message.causes),
        "Top bins": list(message.top_bins),
        "Step": message.step,
        **dict(message.closing()),
    }
    return {name: value for name, value in details.items() if value}
