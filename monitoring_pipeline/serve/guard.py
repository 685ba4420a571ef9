"""What stands before every service that listens: who may ask by which name, how often, and what a browser may do.

Add here what holds for all of them. Keep out keys and signatures, which differ, and sizes of bodies, which the services
limit where they read them.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Names of what listens on this machine alone. A page in a browser can reach it under a name of its own."""

HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer: nothing in it is a page, and nobody keeps it."""

READING = ("GET", "HEAD", "OPTIONS")
MOST_CLIENTS = 10_000
CONNECTIONS = 1000
"""Connections that are held at a time; who comes beyond them is told to come later."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests one address may send: so many a second, after `burst` at once."""

    per_s: float
    burst: int


class Clients:
    """What each address may still send; those that have been quiet longest are forgotten first."""

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock, self._lock = rate, clock, Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Count a request; return 0 where it may go on, or after how many seconds the next one may."""
        rate, now = self._rate, self._clock()
        with self._lock:
            left, at = self._left.pop(client, (float(rate.burst), now))
            left = min(left + (now - at) * rate.per_s, rate.burst)
            taken = left >= 1
            self._left[client] = left - taken, now
            if len(self._left) > MOST_CLIENTS:
                self._left.popitem(last=False)
        return 0.0 if taken else (1 - left) / rate.per_s


class Guard:
    """ASGI middleware. Without `hosts` a service may be asked for by any name."""

    def __init__(self, app: "ASGIApp", *, rate: Rate, hosts: Sequence[str] = ()) -> None:
        self._app, self._hosts, self._clients = app, frozenset(hosts), Clients(rate)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                said = {name.lower() for name, _ in message["headers"]}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in said]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        if refusal := self._refusal(scope):
            await _answer(guarded, *refusal)
        else:
            await self._app(scope, receive, guarded)

    def _refusal(self, scope: "Scope") -> tuple[int, str, dict[str, str]] | None:
        fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = fields.get("host", ""), fields.get("origin")
        if self._hosts and _name(host) not in self._hosts:
            return 421, "This service is asked for by another name.", {}
        if origin is not None and scope["method"] not in READING and urlsplit(origin).netloc != host:
            return 403, "Pages of other sites may not ask this service.", {}
        if wait := self._clients.wait_s((scope.get("client") or ("",))[0]):
            return 429, "These are more requests than one client may send.", {"retry-after": str(max(round(wait), 1))}
        return None


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _answer(send: "Send", status: int, detail: str, headers: dict[str, str]) -> None:
    told = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    body = json.dumps(told).encode()
    fields = {"content-type": "application/problem+json", "content-length": str(len(body)), **headers}
    pairs = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
