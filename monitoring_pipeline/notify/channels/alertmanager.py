"""The Alertmanager channel: incidents as alerts of its API v2, for those who route and silence there.

Add an annotation to `alerts_of`. Keep labels as they are: Alertmanager tells alerts apart by their labels.

Prometheus sends a firing alert again every minute, and Alertmanager ends what it has not heard of for five. Here an
incident is told of once, so each message carries an `endsAt` that is `keep_firing` away and every later step moves it
on: an end that never arrived leaves the alert firing until then, and no longer.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.notify.channels import http
from monitoring_pipeline.notify.messages import Message

SEVERITIES = ("info", "warning", "critical")
_ADDRESS = re.compile(r"https?://\S+")


class AlertmanagerChannel:
    """Posts alerts to one Alertmanager. `clock` is that of the wall: Alertmanager compares `endsAt` with its own."""

    name = "alertmanager"

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], datetime],
        token: Credential | None = None,
        keep_firing: timedelta = timedelta(days=28),
    ) -> None:
        if problem := http.not_safe(url, inside=True):
            raise ValueError(f"alertmanager: its address cannot be used. {problem}")
        self._url, self._token = f"{url.rstrip('/')}/api/v2/alerts", token
        self._clock, self._keep_firing = clock, keep_firing

    def send(self, message: Message, *, dedup_key: str, thread: str | None = None) -> str | None:
        """Post the alert; the same labels are the same alert, so `dedup_key` is not needed."""
        alerts = alerts_of(message, now=self._clock(), keep_firing=self._keep_firing)
        secrets = (self._token,) if self._token else ()
        headers = {"Authorization": f"Bearer {self._token.reveal()}"} if self._token else {}
        body = json.dumps(alerts, ensure_ascii=False).encode()
        http.post(f"alertmanager: {message.incident_id}", self._url, body, headers=headers, secrets=secrets)
        return None


def alerts_of(message: Message, *, now: datetime, keep_firing: timedelta) -> list[dict[str, Any]]:
    """Return the alert, and the ends of those it takes the place of: with another severity it is another alert."""
    over = message.status == "resolved"
    alert = _alert(message, message.severity, now=now, ends=now if over else now + keep_firing)
    if message.step != "worsened":
        return [alert]
    milder = SEVERITIES[: SEVERITIES.index(message.severity)]
    return [alert, *(_alert(message, severity, now=now, ends=now) for severity in milder)]


def _alert(message: Message, severity: str, *, now: datetime, ends: datetime) -> dict[str, Any]:
    labels = {
        "alertname": message.fingerprint.rpartition("/")[2] or "incident",
        "model": message.model,
        "severity": severity,
        "incident": message.incident_id,
    }
    annotations = {
        "summary": message.title,
        "description": message.reason,
        "details": "; ".join(f"{name}: {value}" for name, value in message.facts),
        "causes": "; ".join(message.causes),
        "next_step": message.next_step,
        "runbook_url": message.runbook if _ADDRESS.fullmatch(message.runbook) else "",
        "owner": message.owner,
        "step": message.step,
    }
    alert: dict[str, Any] = {
        "labels": labels,
        "annotations": {name: text for name, text in annotations.items() if text},
        "endsAt": _moment(ends),
    }
    if message.started_at:  # an alert that starts after it ends is refused, and a replay may live in another time
        alert["startsAt"] = _moment(min(datetime.fromisoformat(message.started_at), now))
    address = next((href for _, href in message.links if _ADDRESS.fullmatch(href)), "")
    return alert | ({"generatorURL": address} if address else {})


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
