"""On-call schedules: who is to be told at a moment, whatever the clocks of their country do.

Add a way to reach somebody to Person, a way to take turns to Schedule. Keep out when somebody is told: it belongs in
escalation; and how: in channels.
"""

from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can be told, and how: `slack` is a member's id, `pagerduty` a user's."""

    name: str
    email: str = ""
    slack: str = ""
    phone: str = ""
    pagerduty: str = ""

    def contacts(self) -> tuple[str, ...]:
        """Return the ways to reach them as messages carry them: `email:ana@example.org`, `slack:U02AB`."""
        ways = ((field.name, str(getattr(self, field.name))) for field in fields(self)[1:])
        return tuple(f"{way}:{address}" for way, address in ways if address)


@dataclass(frozen=True, slots=True)
class Shift:
    """One person's time, [start, end)."""

    person: Person
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    """People who take turns of length `shift`, handing over at a wall-clock time of `time_zone`.

    The first person's first shift begins on the day `start`; turns go on forever in both directions. An override is a
    Shift of anybody; of two at once the later in the list counts.
    """

    name: str
    people: tuple[Person, ...]
    shift: timedelta = timedelta(days=7)
    start: date = date(2026, 1, 5)  # a Monday
    handover: time = time(9)
    time_zone: str = "UTC"
    overrides: tuple[Shift, ...] = ()

    def __post_init__(self) -> None:
        if not self.people:
            raise ValueError(f"schedule {self.name}: nobody takes turns: name at least one person")
        if self.shift < timedelta(hours=1):
            raise ValueError(f"schedule {self.name}: a shift of {self.shift} is too short: at least an hour")
        for override in self.overrides:
            if override.start >= override.end:
                raise ValueError(f"schedule {self.name}: the override of {override.person.name} ends before it starts")
        zone_of(self.time_zone)


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone of the IANA database; raises ValueError for any other name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there, not a name, and a folder of names such as "Europe"
        raise ValueError(f"{name!r} is not a time zone of the IANA database: write one such as Europe/Lisbon") from None


def on_call_at(schedule: Schedule, now: datetime) -> Person:
    """Return who is on call: always exactly one person."""
    for override in reversed(schedule.overrides):
        if override.start <= now < override.end:
            return override.person
    return schedule.people[_turn_at(schedule, now) % len(schedule.people)]


def _turn_at(schedule: Schedule, now: datetime) -> int:
    """Return the number of the turn that holds `now`, negative before the first."""
    local = now.astimezone(zone_of(schedule.time_zone)).replace(tzinfo=None)
    turn = (local - datetime.combine(schedule.start, schedule.handover)) // schedule.shift
    # Wall clocks jump: in the hour that comes twice, and around the one that never comes, that is a turn off.
    while _beginning(schedule, turn + 1) <= now:
        turn += 1
    while _beginning(schedule, turn) > now:
        turn -= 1
    return turn


def _beginning(schedule: Schedule, turn: int) -> datetime:
    """Return when a turn begins, in UTC; an hour that comes twice counts the first time."""
    local = datetime.combine(schedule.start, schedule.handover) + turn * schedule.shift
    return local.replace(tzinfo=zone_of(schedule.time_zone)).astimezone(UTC)
