"""Heartbeats: when each part of the pipeline was last heard from, and whether that is too long ago.

Add what makes a heartbeat suspicious to `silences`. Keep files and addresses out: they belong in stores.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

DAEMON = "daemon"
"""The heartbeat of the Dagster daemon: a tick of the sensor that every deployment has."""

HEALTH = "health_checks"
"""The heartbeat of the health checks, which also says that the state database took their outcome."""

DISPATCHER = "dispatcher"
"""The heartbeat of `monitoring-pipeline deliver --every`, where that runs beside Dagster."""

CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """When a part of the pipeline was last heard from; None: never, or what it left cannot be read."""

    name: str
    at: datetime | None


def hourly_name(model: str) -> str:
    """Return the name of the heartbeat that a model's newest hour leaves when it has been judged."""
    return f"hourly_{model}"


def silences(heartbeats: Iterable[Heartbeat], *, now: datetime, max_age: timedelta) -> list[str]:
    """Return a sentence for every heartbeat that is missing, too old, or from the future."""
    return [sentence for heartbeat in heartbeats if (sentence := _silence(heartbeat, now, max_age))]


def in_words(length: timedelta) -> str:
    """Return a length of time as people say it, in the largest unit that leaves two or more: `3 h`, `90 min`."""
    seconds = round(length.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _silence(heartbeat: Heartbeat, now: datetime, max_age: timedelta) -> str:
    name, at = heartbeat.name, heartbeat.at
    fix = "Look whether dagster-daemon runs, and at the newest runs."
    if name == DISPATCHER:
        fix = "Look whether `monitoring-pipeline deliver --every` runs; delete the heartbeat's file where it shall not."
    elif name not in (DAEMON, HEALTH):
        fix = "Look at the newest runs of its hourly job, and whether its schedule is on."
    if at is None:
        return f"heartbeat {name}: never heard from. {fix}"
    if at > now + CLOCKS_DIFFER:
        return f"heartbeat {name}: from {at:%Y-%m-%d %H:%M}Z, which is yet to come. Set the clock of its machine right."
    if now - at > max_age:
        heard = f"last heard from {in_words(now - at)} ago, at {at:%Y-%m-%d %H:%M}Z"
        return f"heartbeat {name}: {heard}; {in_words(max_age)} is allowed. {fix}"
    return ""
