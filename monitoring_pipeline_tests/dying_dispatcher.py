"""A dispatcher as a process of its own, that ends at a named point as it would if the machine lost its power.

It says that it is ready, delivers once it is told to, and says how many messages it sent.

Add a point here, where the process does something whose loss would matter. Keep expectations out: they belong in the
tests.
"""

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from monitoring_pipeline.notify.channels.webhook import WebhookChannel
from monitoring_pipeline.notify.delivery import Claim, DeliveryPolicy, Outcome, deliver_pending
from monitoring_pipeline.notify.messages import Message
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline_tests.processes import forks

POINTS = ("after the claim", "before the send", "after the send", "after the mark", "between two messages")
NEVER = "never"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class MortalDatabase(StateDatabase):
    def __init__(self, url: str, point: str) -> None:
        super().__init__(url)
        self.point, self.marked = point, 0

    def claim(
        self, channel: str, *, now: datetime, lease: timedelta, worker: str, after: Collection[int] = ()
    ) -> Claim | None:
        if self.marked:
            die_at("between two messages", self.point)
        found = super().claim(channel, now=now, lease=lease, worker=worker, after=after)
        die_at("after the claim", self.point)
        return found

    def mark_sent(self, claim: Claim, *, now: datetime, receipt: str | None = None) -> bool:
        kept = super().mark_sent(claim, now=now, receipt=receipt)
        die_at("after the mark", self.point)
        self.marked += 1
        return kept


class MortalChannel(WebhookChannel):
    def __init__(self, url: str, point: str) -> None:
        super().__init__(url, SECRET, clock=lambda: datetime.now(UTC))
        self.point = point

    def send(self, message: Message, *, dedup_key: str, thread: str | None = None) -> str | None:
        die_at("before the send", self.point)
        receipt = super().send(message, dedup_key=dedup_key, thread=thread)
        die_at("after the send", self.point)
        return receipt


def die_at(here: str, point: str) -> None:
    if here == point:
        os.kill(os.getpid(), signal.SIGKILL)


def main(parent: Connection, database: str, webhook: str, worker: str, point: str, now: datetime) -> None:
    state, channel = MortalDatabase(database, point), MortalChannel(webhook, point)
    parent.send("ready")
    parent.recv()
    policy = DeliveryPolicy(per_channel=1000)
    report = deliver_pending(state, {"webhook": channel}, worker=worker, clock=lambda: now, policy=policy)
    parent.send(report.count(Outcome.SENT))


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """One that has loaded everything, and waits."""

    process: BaseProcess
    child: Connection

    def go(self) -> None:
        self.child.send("go")

    def sent(self) -> int:
        """Return how many messages it sent, once it has delivered."""
        assert self.child.poll(60), "it is still at it"
        return int(self.child.recv())

    def ended_by(self) -> int | None:
        """Return what it ended with, once it has ended."""
        self.process.join(60)
        return self.process.exitcode


@contextmanager
def dispatcher(database: str, webhook: str, worker: str, point: str, *, now: datetime) -> Iterator[Dispatcher]:
    """Give a dispatcher that ends at `point`, in a process of its own."""
    context = forks()
    child, parent = context.Pipe()
    process = context.Process(target=main, args=(parent, database, webhook, worker, point, now))
    process.start()
    parent.close()
    try:
        assert child.recv() == "ready"
        yield Dispatcher(process, child)
    finally:
        process.kill()
        process.join()
        child.close()
