"""Delivery: what waits in the outbox is handed to its channel, at least once, without a storm.

Add a rule of retrying here. Keep what is said out (messages) and how a channel says it (channels); the table behind
Outbox belongs in stores.
"""

import threading
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Protocol, runtime_checkable

from monitoring_pipeline.crash_points import reached
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.messages import Message

MOST_IN_DIGEST = 200

KNOW_INCIDENTS_ONLY = ("pagerduty", "alertmanager")
"""Kinds of channels that are told of no dead letter: one would drop it, the other would not see it end."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One notification a worker holds for the length of its lease; `token` is void once somebody else claims it."""

    id: int
    channel: str
    message: Message
    dedup_key: str  # the same at every attempt
    attempts: int  # this one included
    token: int
    thread: str | None = None  # what the channel called the first message about the same incident


class Channel(Protocol):
    """Somewhere people read."""

    @property
    def name(self) -> str: ...

    def send(self, message: Message, *, dedup_key: str, thread: str | None = None) -> str | None:
        """Hand the message over; raises DeliveryError when it was not taken, or may not have been.

        Returns what the channel calls the message, which comes back as `thread` with every later one about the same
        incident; None where a channel has no such thing.
        """
        ...


@runtime_checkable
class DigestChannel(Channel, Protocol):
    """Somewhere people read once a day: all that is due goes in one message."""

    def send_digest(self, messages: Sequence[Message], *, dedup_key: str) -> None:
        """Hand the messages over as one; raises DeliveryError as `send` does."""
        ...


class Outbox(Protocol):
    """Notifications that were decided and are not yet delivered. The three last return False when the claim is void."""

    def channels_due(self, *, now: datetime) -> list[str]:
        """Return the names of the channels something is due for, in order."""
        ...

    def claim(
        self, channel: str, *, now: datetime, lease: timedelta, worker: str, after: Collection[int] = ()
    ) -> Claim | None:
        """Lease the oldest due notification; None when nothing is due or all of it is held by others.

        None overtakes an older one of the same incident, unless that is among those `after` which it is sent.
        """
        ...

    def mark_sent(self, claim: Claim, *, now: datetime, receipt: str | None = None) -> bool: ...

    def mark_retry(
        self, claim: Claim, *, at: datetime, error: str, outcome_unknown: bool, pause: datetime | None = None
    ) -> bool:
        """Try again at `at`; nothing else is due for the channel before `pause`."""
        ...

    def mark_dead(
        self, claim: Claim, *, now: datetime, error: str, outcome_unknown: bool, instead: Sequence[str] = ()
    ) -> bool:
        """Give the notification up and tell the first channel of `instead`; the last, when that is given up too."""
        ...


class Outcome(StrEnum):
    """What became of one notification in one call."""

    SENT = "sent"
    RETRY = "retry"
    UNKNOWN = "unknown"  # may have arrived: tried again with the same dedup key
    DEAD = "dead"  # given up; kept in the outbox for a person to send again
    FENCED = "fenced"  # the lease ran out meanwhile: another worker has it, what we know of it is void


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How hard to try. The defaults keep trying for about a day: an outage of a chat service is shorter.

    `per_channel` and `longest_call` bound what one call sends to a channel: the backlog of an outage drains over
    several calls, and new mail of the others does not wait for it. `lease` must be longer than the longest time-out of
    a channel. A server that asks to be left alone gets nothing at all for up to `longest_pause`. `digests` names the
    channels that get all that is due in one message.
    """

    lease: timedelta = timedelta(minutes=2)
    per_channel: int = 20
    longest_call: timedelta = timedelta(seconds=30)
    max_attempts: int = 30
    first_delay: timedelta = timedelta(seconds=30)
    longest_delay: timedelta = timedelta(hours=1)
    longest_pause: timedelta = timedelta(minutes=5)
    digests: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one call did, and the channels that have mail waiting but are not configured here.

    `left_behind` are those that had not come back within a lease: what they hold is claimed anew.
    """

    outcomes: tuple[tuple[int, str, Outcome], ...]  # outbox id, channel, outcome; by channel, in the order sent
    not_configured: tuple[str, ...]
    left_behind: tuple[str, ...] = ()

    def count(self, outcome: Outcome) -> int:
        """Return how many notifications ended this way."""
        return Counter(found for _, _, found in self.outcomes)[outcome]


def deliver_pending(
    outbox: Outbox,
    channels: Mapping[str, Channel],
    *,
    worker: str,
    clock: Callable[[], datetime],
    policy: DeliveryPolicy | None = None,
) -> DeliveryReport:
    """Send what is due, each channel in a thread of its own: one that hangs keeps nobody else's mail waiting.

    A channel that fails once is left alone until the next call.
    """
    policy = policy or DeliveryPolicy()
    due = outbox.channels_due(now=clock())
    call = _Call(outbox, channels, worker, clock, policy)
    working = {name: _aside(partial(call.serve, name)) for name in due if name in channels}
    futures.wait(working.values(), timeout=policy.lease.total_seconds())
    back = [name for name, future in working.items() if future.done()]
    return DeliveryReport(
        tuple(entry for name in back for entry in working[name].result()),
        not_configured=tuple(name for name in due if name not in channels),
        left_behind=tuple(name for name in working if name not in back),
    )


def retry_delay(claim: Claim, policy: DeliveryPolicy, *, retry_after: float | None = None) -> timedelta:
    """Return how long to wait: doubling from `first_delay`, at least what the channel asked for, up to the longest.

    Up to a quarter more is added by the notification's id, so that a backlog does not come back in one second.
    """
    doubled = policy.first_delay * int(2 ** min(claim.attempts - 1, 16))
    wished = timedelta(seconds=min(max(retry_after or 0.0, 0.0), policy.longest_delay.total_seconds()))
    spread = zlib.crc32(f"{claim.id}:{claim.attempts}".encode()) / 2**32 / 4
    return max(min(doubled, policy.longest_delay), wished) * (1 + spread)


Entries = list[tuple[int, str, Outcome]]


def _aside(serve: Callable[[], Entries]) -> futures.Future[Entries]:
    """Start a thread. Not one of a pool, which a process waits for when it ends, however long a server drips."""
    future: futures.Future[Entries] = futures.Future()

    def run() -> None:
        try:
            future.set_result(serve())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


@dataclass(frozen=True, slots=True)
class _Call:
    """What is the same for all channels of one call."""

    outbox: Outbox
    channels: Mapping[str, Channel]
    worker: str
    clock: Callable[[], datetime]
    policy: DeliveryPolicy

    def serve(self, name: str) -> Entries:
        channel, until = self.channels[name], self.clock() + self.policy.longest_call
        if name in self.policy.digests and isinstance(channel, DigestChannel):
            return self._digest(name, channel)
        done: Entries = []
        while len(done) < self.policy.per_channel and self.clock() < until:
            # One at a time: a lease then covers one send, and a worker that dies delays one message.
            claim = self._claim(name)
            if claim is None:
                break
            reached("outbox.after_claim")
            done.append((claim.id, name, self._deliver(claim)))
            if done[-1][2] is not Outcome.SENT:
                break
        return done

    def _claim(self, name: str, after: Collection[int] = ()) -> Claim | None:
        return self.outbox.claim(name, now=self.clock(), lease=self.policy.lease, worker=self.worker, after=after)

    def _deliver(self, claim: Claim) -> Outcome:
        channel, most = self.channels[claim.channel], self.policy.max_attempts
        if claim.attempts > most:  # only after workers died in each of them
            error = f"given up after {most} attempts, in the last of which the worker did not report back"
            return self._after_failure(claim, DeliveryError(error, retryable=False, outcome_unknown=True))
        try:
            receipt = channel.send(claim.message, dedup_key=claim.dedup_key, thread=claim.thread)
        except Exception as error:  # noqa: BLE001 - a defect in one channel is a failure like any other
            return self._after_failure(claim, _refusal(channel, error))
        reached("outbox.after_send")
        kept = self.outbox.mark_sent(claim, now=self.clock(), receipt=receipt)
        reached("outbox.after_mark")
        return Outcome.SENT if kept else Outcome.FENCED

    def _digest(self, name: str, channel: DigestChannel) -> Entries:
        claims: list[Claim] = []
        while len(claims) < MOST_IN_DIGEST and (claim := self._claim(name, [held.id for held in claims])):
            claims.append(claim)
        if not claims:
            return []
        try:
            # The oldest names the digest: after a crash the same one is sent again, perhaps with what came since.
            channel.send_digest([claim.message for claim in claims], dedup_key=f"digest/{claims[0].dedup_key}")
        except Exception as error:  # noqa: BLE001 - as above
            return [(claim.id, name, self._after_failure(claim, _refusal(channel, error))) for claim in claims]
        sent = [(claim.id, self.outbox.mark_sent(claim, now=self.clock())) for claim in claims]
        return [(number, name, Outcome.SENT if kept else Outcome.FENCED) for number, kept in sent]

    def _after_failure(self, claim: Claim, error: DeliveryError) -> Outcome:
        now, unknown, policy = self.clock(), error.outcome_unknown, self.policy
        if not error.retryable or claim.attempts >= policy.max_attempts:
            others = self._others(claim.channel)
            kept = self.outbox.mark_dead(claim, now=now, error=str(error), outcome_unknown=unknown, instead=others)
            return Outcome.DEAD if kept else Outcome.FENCED
        pause = None if not error.retry_after else now + min(policy.longest_pause, timedelta(seconds=error.retry_after))
        at = now + retry_delay(claim, policy, retry_after=error.retry_after)
        if not self.outbox.mark_retry(claim, at=at, error=str(error), outcome_unknown=unknown, pause=pause):
            return Outcome.FENCED
        return Outcome.UNKNOWN if unknown else Outcome.RETRY

    def _others(self, name: str) -> list[str]:
        """Return who may be told what a channel did not take: those people read first, the log last."""
        others = [
            other
            for other, channel in self.channels.items()
            if channel is not self.channels[name]
            and other not in self.policy.digests
            and channel.name not in KNOW_INCIDENTS_ONLY
        ]
        return sorted(others, key=lambda other: self.channels[other].name == "console")


def _refusal(channel: Channel, error: Exception) -> DeliveryError:
    if isinstance(error, DeliveryError):
        return error
    return DeliveryError(f"{channel.name}: {type(error).__name__}: {error}", retryable=True, outcome_unknown=True)
