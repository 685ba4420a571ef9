"""Requests over HTTP at the moments they belong to, with every answer counted.

Add here what is counted of an answer. Keep what is asked out: the demonstration knows.
"""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from monitoring_pipeline.serve.app import CANARY

CALLERS = 4
"""Requests that wait for an answer at the same time."""

ANSWER_S = 30


class Ask(NamedTuple):
    """A request, and the moment at which it is sent."""

    at: datetime
    path: str
    body: Mapping[str, Any]


class Reply(NamedTuple):
    """What came back: the HTTP status, or the name of what went wrong."""

    status: str
    body: Any
    took_ms: float


@dataclass
class Traffic:
    """Callers of a service, whose clock they set."""

    port: int
    clock: Path
    sent: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    served: dict[str, Counter[str]] = field(default_factory=dict)
    arms: Counter[str] = field(default_factory=Counter)
    took_ms: list[float] = field(default_factory=list)
    labels: int = 0
    last: Ask | None = None

    def set_clock(self, moment: datetime) -> None:
        """Make it `moment` for the service and the pipeline; a reader never sees half of it."""
        beside = self.clock.with_suffix(".new")
        beside.write_text(moment.isoformat())
        beside.replace(self.clock)

    def send(self, asks: Sequence[Ask]) -> None:
        """Send requests in the order of their moments, those of one moment side by side; wait for all answers."""
        with ThreadPoolExecutor(CALLERS) as callers:
            for at, together in groupby(asks, key=lambda ask: ask.at):
                self.set_clock(at)
                same = list(together)
                self.last = same[-1]
                for ask, reply in zip(same, callers.map(self._ask, same), strict=True):
                    self._count(ask, reply)

    def give_labels(self, at: datetime, labels: Sequence[Mapping[str, Any]]) -> None:
        """Tell what became known."""
        if labels:
            ask = Ask(at, "/feedback", {"labels": labels})
            reply = self._ask(ask)
            self._count(ask, reply)
            self.labels += 0 if reply.body is None else reply.body["stored"]

    def probe(self) -> None:
        """Ask once more what was asked last, without a record of it."""
        if self.last is not None:
            reply = self._ask(self.last, canary=True)
            self._count(self.last._replace(path=f"{self.last.path} (probes)"), reply, served=False)

    def get(self, path: str) -> Any:
        """Return what the service says of itself; raises OSError while it does not answer."""
        reply = self._ask(Ask(datetime.min, path, {}), method="GET")  # noqa: DTZ901 - it belongs to no moment
        if reply.body is None:
            raise ConnectionError(f"{path}: {reply.status}")
        return reply.body

    def _ask(self, ask: Ask, *, method: str = "POST", canary: bool = False) -> Reply:
        began = time.perf_counter()
        # A connection of its own: one that is kept would be closed by the service while the clock waits.
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        try:
            headers = {"content-type": "application/json"} | ({CANARY: "1"} if canary else {})
            connection.request(method, ask.path, json.dumps(ask.body), headers)
            answer = connection.getresponse()
            status, text = str(answer.status), answer.read()
        except (OSError, HTTPException) as error:
            status, text = f"{type(error).__name__}: {error}", b""
        finally:
            connection.close()
        return Reply(status, json.loads(text) if status == "200" else None, (time.perf_counter() - began) * 1000)

    def _count(self, ask: Ask, reply: Reply, *, served: bool = True) -> None:
        self.sent[ask.path] += 1
        if reply.body is None:
            self.failures.append(f"{ask.at:%Y-%m-%d %H:%M} {ask.path}: {reply.status}")
            return
        self.took_ms.append(reply.took_ms)
        for one in reply.body.get("predictions", [reply.body] if "version" in reply.body else []) if served else []:
            alone = "" if one["served_by"] in ("champion", "challenger") else f" {one['served_by']}"
            self.served.setdefault(f"{ask.at:%Y-%m-%dT%H}", Counter())[f"v{one['version']}{alone}"] += 1
            if one["variant"]:
                self.arms[f"{one['variant']} v{one['version']}"] += 1

    def in_words(self) -> str:
        """Return how it went so far."""
        versions = sum(self.served.values(), Counter())
        served = ", ".join(f"{name} {rows:,}" for name, rows in sorted(versions.items()))
        return f"{self.sent.total():,} requests, {len(self.failures)} failed; answered by {served}"
