"""One HTTP request to one configured address, with a hard limit of time and size.

Add what every caller of a plain HTTP service needs here. Keep what an answer means out: it belongs to the caller.
"""

import json
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead
from urllib.error import URLError

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.notify.channels.connections import opener

LARGEST_ANSWER = 1_000_000
"""Bytes of an answer that are read; what health checks ask for is far smaller."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, whatever the status, and how long that took."""

    status: int
    body: bytes
    latency_ms: float

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def said(self) -> str:
        """The status in words."""
        phrase = next((f" {entry.phrase}" for entry in HTTPStatus if entry.value == self.status), "")
        redirect = "; no redirect is followed, write the address it leads to" if 300 <= self.status < 400 else ""
        return f"{self.status}{phrase}{redirect}"

    def document(self) -> object:
        """Return the body as JSON; raises ValueError where it is none."""
        return json.loads(self.body)


def ask(url: str, *, timeout_s: float, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
    """GET an address, or POST `body` to it as JSON; raises StoreError, which does not quote the address.

    Only what is configured is asked: no redirect is followed, and nothing but HTTP is spoken. A proxy of the
    environment is used, as by every other client.
    """
    if not url.startswith(("http://", "https://")):
        raise StoreError("the address does not start with http:// or https://")
    data = None if body is None else json.dumps(body).encode()
    sent = {"User-Agent": "monitoring-pipeline"} | ({} if data is None else {"Content-Type": "application/json"})
    start = time.perf_counter()
    try:
        request = urllib.request.Request(url, data, {**sent, **(headers or {})})  # noqa: S310 - checked above
        with opener().open(request, timeout=timeout_s) as response:
            found = b""
            # The time-out of a socket starts again with every byte; this one does not.
            while len(found) < LARGEST_ANSWER and (part := response.read1(65536)):
                found += part
                if time.perf_counter() - start > timeout_s:
                    raise TimeoutError
            if response.length and len(found) < LARGEST_ANSWER:
                raise IncompleteRead(found, response.length)
            return Answer(response.status, found, 1000 * (time.perf_counter() - start))
    except (OSError, HTTPException, ValueError) as error:
        raise StoreError(_why(error, timeout_s)) from None  # what it is chained to may hold the address


def _why(error: Exception, timeout_s: float) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(cause, OSError) and cause.strerror:
        return f"no connection: {cause.strerror}"
    return f"no answer that is HTTP ({type(cause).__name__})"
