"""Hourly partitions in UTC, and the hours between partition keys.

Add arithmetic between partitions and hours here. Keep other time zones out: a local calendar has an hour twice a year
that exists twice, or never.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

import dagster as dg

from monitoring_pipeline.capture.windows import HOUR, hour_of

DAY = timedelta(days=1)
KEY_FORMAT = "%Y-%m-%d-%H:%M"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

PORTION_DAYS = 14
"""Days that a run works on at once: 41 columns and three windows take a gigabyte, a whole year would take twenty."""


def hourly_partitions(start: datetime, end: datetime | None) -> dg.HourlyPartitionsDefinition:
    """Return the hours from `start` on, up to `end` where monitoring ends."""
    return dg.HourlyPartitionsDefinition(
        start_date=start.strftime(KEY_FORMAT), end_date=end.strftime(KEY_FORMAT) if end else None, timezone="UTC"
    )


def daily_partitions(start: datetime, end: datetime | None) -> dg.DailyPartitionsDefinition | None:
    """Return the whole UTC days of monitoring, None where it ends before there is one."""
    first = (start + DAY - timedelta(microseconds=1)).date()
    last = end.date() if end else None
    if last is not None and last <= first:
        return None
    return dg.DailyPartitionsDefinition(
        start_date=first.isoformat(), end_date=last.isoformat() if last else None, timezone="UTC"
    )


def day_key(day: datetime) -> str:
    """Return the partition key of a day."""
    return day.date().isoformat()


def days_of(context: dg.AssetExecutionContext) -> list[datetime]:
    """Return the days a run covers: one, or every day of a range."""
    return hours_of(context)[::24]


def days_awaiting_labels(days: Sequence[datetime], delay: timedelta) -> list[datetime]:
    """Return all days up to the last of `days` whose labels may have come since, those before the first included."""
    first = min(days) - max(DAY, delay)
    return [(first + step * DAY).replace(hour=0) for step in range(round((max(days) - first) / DAY) + 1)]


def partition_key(hour: datetime) -> str:
    """Return the partition key of an hour."""
    return hour.astimezone(UTC).strftime(KEY_FORMAT)


def hour_of_key(key: str) -> datetime:
    """Return the hour of a partition key."""
    return datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC)


def hours_of(context: dg.AssetExecutionContext) -> list[datetime]:
    """Return the hours a run covers: one, or every hour of a range."""
    window = context.partition_time_window
    start, end = window.start.astimezone(UTC), window.end.astimezone(UTC)
    return [start + step * HOUR for step in range(round((end - start) / HOUR))]


def portions(hours: Sequence[datetime]) -> Iterator[list[datetime]]:
    """Yield hours two weeks of UTC days at a time: what a run holds in memory must not grow with its range."""
    for _, portion in groupby(hours, key=lambda hour: hour.date().toordinal() // PORTION_DAYS):
        yield list(portion)


def ranges(hours: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """Return the unbroken stretches of hours as (first, last), oldest first."""
    found: list[tuple[datetime, datetime]] = []
    for hour in sorted(set(hours)):
        if found and hour - found[-1][1] == HOUR:
            found[-1] = (found[-1][0], hour)
        else:
            found.append((hour, hour))
    return found


def range_tags(first: datetime, last: datetime) -> dict[str, str]:
    """Return the run tags that make one run of a stretch of partitions."""
    return {RANGE_START: partition_key(first), RANGE_END: partition_key(last)}


def last_complete_hour(now: datetime) -> datetime:
    """Return the start of the last hour that is over."""
    return hour_of(now) - HOUR
