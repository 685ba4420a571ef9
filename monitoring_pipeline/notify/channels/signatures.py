"""Signatures of webhooks, as the Standard Webhooks specification has them: HMAC-SHA256 over id, time and body.

Add another scheme of the specification here, next to `v1`. Keep posting out: it belongs in channels/webhook.py.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

TOLERANCE = timedelta(minutes=5)
_SHORTEST, _LONGEST = 24, 64


def signature(secret: str, *, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`; of several secrets, divided by spaces, each signs.

    Two secrets at once are how one is replaced by another without losing a message.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys(secret)
    )


def verify(
    secret: str, headers: Mapping[str, str], body: bytes, *, now: datetime, tolerance: timedelta = TOLERANCE
) -> str:
    """Return the id of a webhook that whoever knows the secret signed, `tolerance` ago at most; else raise ValueError.

    The same webhook passes again for as long as that: who must not act twice remembers the ids of that time.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    webhook_id, sent, given = (fields.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (webhook_id and sent and given):
        raise ValueError("it is not signed: webhook-id, webhook-timestamp and webhook-signature are needed")
    if not (sent.isascii() and sent.isdecimal() and len(sent) < 12):
        raise ValueError("webhook-timestamp is not a number of seconds since 1970")
    if abs(now.timestamp() - int(sent)) > tolerance.total_seconds():
        raise ValueError(f"it was signed more than {tolerance} from now: correct the clock, or sign it again")
    right = signature(secret, webhook_id=webhook_id, timestamp=int(sent), body=body).split()
    pairs = [hmac.compare_digest(mine.encode(), theirs.encode()) for mine in right for theirs in given.split()]
    if not any(pairs):
        raise ValueError("none of its signatures is of this secret, this id, this time and this body")
    return webhook_id


def keys(secret: str) -> list[bytes]:
    """Return the keys that a secret holds: base64 of 24 to 64 bytes, with `whsec_` before it; raises ValueError."""
    found = []
    for word in secret.split():
        try:
            key = base64.b64decode(word.removeprefix("whsec_"), validate=True)
        except ValueError:
            key = b""
        if not _SHORTEST <= len(key) <= _LONGEST:
            raise ValueError(
                f"a signing secret is whsec_ and the base64 of {_SHORTEST} to {_LONGEST} random bytes: "
                "make one with `openssl rand -base64 32`"
            )
        found.append(key)
    if not found:
        raise ValueError("a signing secret is empty: make one with `openssl rand -base64 32`")
    return found
