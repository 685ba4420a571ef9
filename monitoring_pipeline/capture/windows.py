"""Windows of time: half open, UTC, named after the model they belong to.

Add arithmetic on time here. Keep clocks out: the present moment is always an argument.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hour_of(moment: datetime) -> datetime:
    """Return the start of the UTC hour that holds `moment`."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


@cache
def window_name(length: timedelta) -> str:
    """Return the short name of a window length: `1h`, `24h`, `7d`."""
    hours = round(length / HOUR)
    return f"{hours // 24}d" if hours > 24 and hours % 24 == 0 else f"{hours}h"


def window_length(name: str) -> timedelta:
    """Return the length that `window_name` calls `name`; raises ValueError with the accepted form."""
    unit = {"h": 1, "d": 24, "w": 168}.get(name[-1:])
    if unit is None or not name[:-1].isdigit() or int(name[:-1]) == 0:
        raise ValueError(f"{name!r} is not a window length: write a whole number of hours or days, such as 24h or 7d")
    return int(name[:-1]) * unit * HOUR


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Half-open stretch [start, end) of whole UTC hours of one model."""

    model: str
    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for moment in (self.start, self.end):
            if moment.utcoffset() != timedelta(0) or hour_of(moment) != moment:
                raise ValueError(f"{self.model}: {moment.isoformat()} is not a whole hour in UTC")
        if not self.start < self.end:
            raise ValueError(f"{self.model}: a window must end after it starts, not {self.start} to {self.end}")

    @classmethod
    def of_hour(cls, model: str, moment: datetime) -> "Window":
        """Return the hour that holds `moment`."""
        start = hour_of(moment)
        return cls(model, start, start + HOUR)

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    @property
    def name(self) -> str:
        """Length as it appears in signals and rules: `1h`, `24h`, `7d`."""
        return window_name(self.length)

    def hours(self) -> Iterator["Window"]:
        """Yield the hours of the window, oldest first."""
        start = self.start
        while start < self.end:
            yield Window(self.model, start, start + HOUR)
            start += HOUR

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end
