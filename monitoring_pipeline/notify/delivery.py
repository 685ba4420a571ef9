"""Delivery: what waits in the outbox is handed to its channel, at least once, without a storm.

Add a rule of retrying here. Keep what is said out (messages) and how a channel says it (channels); the table behind
Outbox belongs in stores.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.messages import Message


@dataclass(frozen=True, slots=True)
class Claim:
    """One notification a worker holds for the length of its lease; `token` is void once somebody else claims it."""

    id: int
    channel: str
    message: Message
    dedup_key: str  # the same at every attempt
    attempts: int  # this one included
    token: int


class Channel(Protocol):
    """Somewhere people read."""

    @property
    def name(self) -> str: ...

    def send(self, message: Message, *, dedup_key: str) -> None:
        """Hand the message over; raises DeliveryError when it was not taken, or may not have been."""
        ...


class Outbox(Protocol):
    """Notifications that were decided and are not yet delivered. The three last return False when the claim is void."""

    def channels_due(self, *, now: datetime) -> list[str]:
        """Return the names of the channels something is due for."""
        ...

    def claim(self, channel: str, *, now: datetime, lease: timedelta, worker: str) -> Claim | None:
        """Lease the oldest due notification; None when nothing is due or all of it is held by others."""
        ...

    def mark_sent(self, claim: Claim, *, now: datetime) -> bool: ...

    def mark_retry(self, claim: Claim, *, at: datetime, error: str, outcome_unknown: bool) -> bool: ...

    def mark_dead(self, claim: Claim, *, now: datetime, error: str, outcome_unknown: bool) -> bool: ...


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

    `per_channel` bounds one call, so that the backlog of an outage drains over several instead of all at once.
    `lease` must be longer than the longest time-out of a channel.
    """

    lease: timedelta = timedelta(minutes=2)
    per_channel: int = 20
    max_attempts: int = 30
    first_delay: timedelta = timedelta(seconds=30)
    longest_delay: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one call did, and the channels that have mail waiting but are not configured here."""

    outcomes: tuple[tuple[int, str, Outcome], ...]  # outbox id, channel, outcome
    not_configured: tuple[str, ...]

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
    """Send what is due. A channel that fails once is left alone until the next call."""
    policy = policy or DeliveryPolicy()
    done: list[tuple[int, str, Outcome]] = []
    due = outbox.channels_due(now=clock())
    for name in due:
        if name not in channels:
            continue
        for _ in range(policy.per_channel):
            # One at a time: a lease then covers one send, and a worker that dies delays one message.
            claim = outbox.claim(name, now=clock(), lease=policy.lease, worker=worker)
            if claim is None:
                break
            outcome = _deliver(outbox, channels[name], claim, clock, policy)
            done.append((claim.id, name, outcome))
            if outcome is not Outcome.SENT:
                break
    return DeliveryReport(tuple(done), tuple(name for name in due if name not in channels))


def retry_delay(claim: Claim, policy: DeliveryPolicy, *, retry_after: float | None = None) -> timedelta:
    """Return how long to wait: doubling from `first_delay`, at least what the channel asked for, up to the longest.

    Up to a quarter more is added by the notification's id, so that a backlog does not come back in one second.
    """
    doubled = policy.first_delay * int(2 ** min(claim.attempts - 1, 16))
    wished = timedelta(seconds=min(max(retry_after or 0.0, 0.0), policy.longest_delay.total_seconds()))
    spread = zlib.crc32(f"{claim.id}:{claim.attempts}".encode()) / 2**32 / 4
    return max(min(doubled, policy.longest_delay), wished) * (1 + spread)


def _deliver(
    outbox: Outbox, channel: Channel, claim: Claim, clock: Callable[[], datetime], policy: DeliveryPolicy
) -> Outcome:
    if claim.attempts > policy.max_attempts:  # only after workers died in each of them
        error = f"given up after {policy.max_attempts} attempts, in the last of which the worker did not report back"
        kept = outbox.mark_dead(claim, now=clock(), error=error, outcome_unknown=True)
        return Outcome.DEAD if kept else Outcome.FENCED
    try:
        channel.send(claim.message, dedup_key=claim.dedup_key)
    except DeliveryError as error:
        return _after_failure(outbox, claim, error, clock(), policy)
    except Exception as error:  # noqa: BLE001 - a defect in one channel must not keep the others from being served
        refused = DeliveryError(
            f"{channel.name}: {type(error).__name__}: {error}", retryable=True, outcome_unknown=True
        )
        return _after_failure(outbox, claim, refused, clock(), policy)
    return Outcome.SENT if outbox.mark_sent(claim, now=clock()) else Outcome.FENCED


def _after_failure(
    outbox: Outbox, claim: Claim, error: DeliveryError, now: datetime, policy: DeliveryPolicy
) -> Outcome:
    unknown = error.outcome_unknown
    if not error.retryable or claim.attempts >= policy.max_attempts:
        kept = outbox.mark_dead(claim, now=now, error=str(error), outcome_unknown=unknown)
        return Outcome.DEAD if kept else Outcome.FENCED
    at = now + retry_delay(claim, policy, retry_after=error.retry_after)
    if not outbox.mark_retry(claim, at=at, error=str(error), outcome_unknown=unknown):
        return Outcome.FENCED
    return Outcome.UNKNOWN if unknown else Outcome.RETRY
