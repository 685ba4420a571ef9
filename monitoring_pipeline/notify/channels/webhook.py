"""The webhook channel: every message as JSON, signed, to an address of your own.

Change the form of the body only by adding to it; what would break a reader is a new VERSION.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.notify.channels import http
from monitoring_pipeline.notify.channels.signatures import keys, signature
from monitoring_pipeline.notify.messages import Message

VERSION = 1


class WebhookChannel:
    """Posts to one address, with the signature of Standard Webhooks; a repeated message has the same `webhook-id`.

    `clock` is that of the wall, whatever time is being monitored: readers refuse what was signed long ago.
    """

    name = "webhook"

    def __init__(self, url: Credential, secret: Credential, *, clock: Callable[[], datetime]) -> None:
        if problem := http.not_safe(url.reveal()):
            raise ValueError(f"webhook: its address cannot be used. {problem}")
        keys(secret.reveal())
        self._url, self._secret, self._clock = url, secret, clock

    def send(self, message: Message, *, dedup_key: str, thread: str | None = None) -> str | None:
        body = body_of(message)
        webhook_id = "msg_" + hashlib.sha256(dedup_key.encode()).hexdigest()[:32]
        sent = int(self._clock().timestamp())
        signed = signature(self._secret.reveal(), webhook_id=webhook_id, timestamp=sent, body=body)
        headers = {"webhook-id": webhook_id, "webhook-timestamp": str(sent), "webhook-signature": signed}
        where = f"webhook: {message.incident_id}"
        http.post(where, self._url.reveal(), body, headers=headers, secrets=(self._secret,))
        return None


def body_of(message: Message) -> bytes:
    """Return what is posted: the same bytes at every attempt."""
    document = {"version": VERSION, "type": f"incident.{message.step}", "data": message.as_record()}
    return json.dumps(document, ensure_ascii=False).encode()
