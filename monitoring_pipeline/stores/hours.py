"""Tables by model, kind and hour as files: one an hour, and after a while one a day.

    <kind>/model=<name>/2013-04-18T05Z.parquet             an hour
    <kind>/model=<name>/days/2013-04-18.ffffff.parquet     a day: which of its hours, as bits, the first one lowest

An hour that was processed has a table, even when it is empty. Where both files hold an hour, its own counts: so hours
go only after their day is there, and an hour that is written again is simply written. Add ways to keep tables of hours
here. Keep what is in them out: it belongs in `hourly`.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.files import parquet_bytes, publish, read_parquet
from monitoring_pipeline.stores.objects import THREADS, ObjectPath, Place, names, stamp
from monitoring_pipeline.stores.parquet import expired, hour_name, model_folder, parse_hour

DAY = timedelta(days=1)
DAYS = "days"
DAYS_PREFIX = f"{DAYS}/"
PLACE = "__hour__"
"""The column in the file of a day that says which of its hours a row is of; rows are in their order."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of some hours of a kind."""

    hours: Mapping[datetime, Place]
    days: Mapping[Place, Sequence[datetime]]

    def all_hours(self) -> set[datetime]:
        return {*self.hours, *(hour for hours in self.days.values() for hour in hours)}


class HourFiles:
    """Tables of all kinds and models below one place. Every write replaces the hour as a whole."""

    def __init__(self, root: Place) -> None:
        self._root = root

    def hours(self, kind: str, model: str) -> list[datetime]:
        """Return the hours of a kind that have been processed, oldest first."""
        return sorted(self.files(kind, model).all_hours())

    def expired(self, kind: str, model: str) -> datetime | None:
        """Return before when retention has removed the hours of a kind; None where it has removed none."""
        return expired(self._root, model).get(kind)

    def newest(self, kind: str, model: str) -> datetime | None:
        """Return the newest hour that has been processed. Names sort as times do: few of them have to be understood."""
        folder = model_folder(self._root, kind, model)
        listed = [name[:10] for name in [*names(folder), *names(folder / DAYS)] if name.endswith(".parquet")]
        if not listed:
            return None
        start = parse_hour(f"{max(listed)}T00Z")
        return max(self.files(kind, model, start, start + DAY).all_hours(), default=None)

    def stamp(self, kind: str, model: str, hour: datetime) -> tuple[int, int] | None:
        """Return what differs between two writes of an hour; None where it has not been processed."""
        there = self.files(kind, model, hour, hour + HOUR)
        path = next(iter([*there.hours.values(), *there.days]), None)
        return stamp(path) if path is not None else None

    def written_at(self, kind: str, model: str, hour: datetime) -> int | None:
        """Return when the file of an hour was written, by the disk's clock in ns; None where it has none of its own."""
        path = self._path(kind, model, hour)
        return path.stat().st_mtime_ns if isinstance(path, Path) and path.exists() else None

    def write(self, kind: str, model: str, hour: datetime, table: pa.Table) -> None:
        """Replace one hour of one kind."""
        publish(self._path(kind, model, hour), parquet_bytes(table))

    def write_all(self, kind: str, model: str, tables: Mapping[datetime, pa.Table]) -> None:
        """Replace some hours of one kind: those of a whole day in one file, unless some have files of their own."""
        by_day: dict[date, dict[datetime, pa.Table]] = {}
        for hour, table in tables.items():
            by_day.setdefault(hour.date(), {})[hour] = table
        for day, parts in by_day.items():
            start = parse_hour(f"{day}T00Z")
            if len(parts) == DAY // HOUR and not self.files(kind, model, start, start + DAY).hours:
                self._write_day(kind, model, day, parts)
                continue
            for hour, table in parts.items():
                self.write(kind, model, hour, table)

    def remove(self, kind: str, model: str, hour: datetime) -> None:
        """Forget one hour of one kind, where it is known."""
        path, there = self._path(kind, model, hour), self.files(kind, model, hour, hour + HOUR)
        if there.days:
            day = hour.replace(hour=0)
            tables = self.read(kind, model, day, day + DAY)
            self._write_day(kind, model, day.date(), {at: table for at, table in tables.items() if at != hour})
        if there.hours:
            path.unlink(missing_ok=True)

    def read(
        self, kind: str, model: str, start: datetime, end: datetime, columns: Sequence[str] | None = None
    ) -> dict[datetime, pa.Table]:
        """Return the hours in [start, end) that have been processed, or only some of their columns."""
        there = self.files(kind, model, start, end)
        while True:
            try:
                return self._read(there, columns)
            except StoreError as error:
                # Hours may have become a day, or have expired, since they were listed.
                before, there = there, self.files(kind, model, start, end)
                if there == before or not isinstance(error.__cause__, FileNotFoundError):
                    raise

    def compact(self, kind: str, model: str, *, before: datetime) -> int:
        """Make one file of the hours of every UTC day before `before`; returns how many files less there are.

        Killed at any moment it leaves every hour as it was. One at a time: two could bring back what a third replaced.
        """
        there = self.files(kind, model, end=before.replace(hour=0))
        saved = 0
        for day in sorted({hour.date() for hour in there.hours}):
            single = {path: stamp(path) for hour, path in there.hours.items() if hour.date() == day}
            if len(single) == 1 and not any(hours[0].date() == day for hours in there.days.values()):
                continue
            start = parse_hour(f"{day}T00Z")
            written = self._write_day(kind, model, day, self.read(kind, model, start, start + DAY))
            # One that was written again meanwhile stays, and counts.
            gone = [path for path, before_reading in single.items() if stamp(path) == before_reading]
            for path in gone:
                path.unlink(missing_ok=True)
            saved += len(gone) - written
        return saved

    def files(self, kind: str, model: str, start: datetime | None = None, end: datetime | None = None) -> Files:
        """Return the files that hold hours in [start, end)."""
        folder = model_folder(self._root, kind, model)
        first, last = (hour_name(start) if start else ""), (hour_name(end) if end else "A")
        if isinstance(folder, ObjectPath):
            below = [info.path.removeprefix(f"{folder.key}/") for info in folder.below(recursive=True)]
            named, days = below, [name.removeprefix(DAYS_PREFIX) for name in below if name.startswith(DAYS_PREFIX)]
        elif start and end:  # a few are looked for, and not listed: there may be a year of others
            wanted = (f"{hour_name(start + step * HOUR)}.parquet" for step in range(round((end - start) / HOUR)))
            named, days = [name for name in wanted if (folder / name).exists()], names(folder / DAYS)
        else:
            named, days = names(folder), names(folder / DAYS)
        return Files(
            {
                parse_hour(name[:14]): folder / name
                for name in sorted(named)
                if name[14:] == ".parquet" and first <= name[:14] < last
            },
            {
                folder / DAYS / name: held
                for name in sorted(days)
                if name.endswith(".parquet") and first[:10] <= name[:10] <= last
                if (held := [hour for hour in _held(name) if first <= hour_name(hour) < last])
            },
        )

    def _read(self, there: Files, columns: Sequence[str] | None) -> dict[datetime, pa.Table]:
        found: dict[datetime, pa.Table] = {}
        with ThreadPoolExecutor(THREADS if isinstance(self._root, ObjectPath) else 2) as pool:
            for of_day in pool.map(lambda path: _of_day(path, columns), there.days):
                found |= of_day
            tables = pool.map(lambda path: read_parquet(path, columns), there.hours.values())
            found |= dict(zip(there.hours, tables, strict=True))
        wanted = there.all_hours()
        return {hour: found[hour] for hour in sorted(wanted)}

    def _write_day(self, kind: str, model: str, day: date, tables: Mapping[datetime, pa.Table]) -> int:
        """Replace the files of a day, one for each schema its hours have; returns how many more there are."""
        folder, start = model_folder(self._root, kind, model), parse_hour(f"{day}T00Z")
        alike: dict[bytes, dict[datetime, pa.Table]] = {}
        for hour, table in sorted(tables.items()):
            alike.setdefault(table.schema.serialize().to_pybytes(), {})[hour] = table
        old, new = set(self.files(kind, model, start, start + DAY).days), list[Place]()
        for parts in alike.values():
            mask = sum(1 << round((hour - start) / HOUR) for hour in parts)
            new.append(folder / DAYS / f"{day}.{mask:06x}.parquet")
            placed = (
                table.append_column(PLACE, pa.array(np.full(table.num_rows, hour.hour, np.int8)))
                for hour, table in parts.items()
            )
            publish(new[-1], parquet_bytes(pa.concat_tables(placed)))
        for path in old.difference(new):
            path.unlink(missing_ok=True)
        return len(new) - len(old)

    def _path(self, kind: str, model: str, hour: datetime) -> Place:
        return model_folder(self._root, kind, model) / f"{hour_name(hour)}.parquet"


def _held(name: str) -> list[datetime]:
    start, mask = parse_hour(f"{name[:10]}T00Z"), int(name[11:17], 16)
    return [start + place * HOUR for place in range(24) if mask >> place & 1]


def _of_day(path: Place, columns: Sequence[str] | None) -> dict[datetime, pa.Table]:
    """Return the hours of a day as they were written."""
    if columns is None and isinstance(path, Path):
        table = _lately(path, stamp(path))
    else:
        table = read_parquet(path, None if columns is None else [*columns, PLACE])
    places = table[PLACE].to_numpy()
    rows = table.drop_columns([PLACE])
    found = {}
    for hour in _held(path.name):
        start, end = (int(np.searchsorted(places, hour.hour, side)) for side in ("left", "right"))
        found[hour] = rows.slice(start, end - start)
    return found


# Hours are often asked for one after the other: the last few days are not read for each of them.
@lru_cache(maxsize=4)
def _lately(path: Place, written: tuple[int, int] | None) -> pa.Table:  # noqa: ARG001 - part of the key
    return read_parquet(path)
