"""A dispatcher as a process of its own, that ends at a named point as it would if the machine lost its power.

Run as `python -m monitoring_pipeline_tests.dying_dispatcher DATABASE WEBHOOK MOMENT WORKER POINT`: it says that it is
ready, delivers once it reads a line, and prints how many messages it sent.

Add a point here, where the process does something whose loss would matter. Keep expectations out: they belong in the
tests.
"""

import os
import signal
import sys
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from monitoring_pipeline.notify.channels.webhook import WebhookChannel
from monitoring_pipeline.notify.delivery import Claim, DeliveryPolicy, Outcome, deliver_pending
from monitoring_pipeline.notify.messages import Message
from monitoring_pipeline.stores.database import StateDatabase

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


def main(database: str, webhook: str, moment: str, worker: str, point: str) -> None:
    state, channel = MortalDatabase(database, point), MortalChannel(webhook, point)
    now = datetime.fromisoformat(moment)
    print("ready", flush=True)  # noqa: T201 - whoever started it reads on
    sys.stdin.readline()
    policy = DeliveryPolicy(per_channel=1000)
    report = deliver_pending(state, {"webhook": channel}, worker=worker, clock=lambda: now, policy=policy)
    print(report.count(Outcome.SENT), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main(*sys.argv[1:])
