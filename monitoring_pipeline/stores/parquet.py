"""The prediction log and the label log as hive-partitioned Parquet files: the store that needs no server.

    predictions/model=<name>/hour=2013-04-18T05Z/<content digest>.parquet
    predictions/model=<name>/unplaced/<content digest>.parquet
    labels/model=<name>/known=2013-04-18T09Z/<content digest>.parquet
    labels/model=<name>/arrivals/

In a bucket the hours of a day are below day=2013-04-18/, so that one request lists them. Files are named by their
content, so storing a batch twice stores it once. Add what keeps rows in files here. Keep what rows mean out: it belongs
in capture.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar, cast
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.labels import LabelArrival, LabelColumns
from monitoring_pipeline.capture.predictions import TIME_TYPE, LogColumns
from monitoring_pipeline.capture.windows import HOUR, Window, hour_of
from monitoring_pipeline.describe.profiles import rows_by_hour
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores import arrivals
from monitoring_pipeline.stores.files import digest, parquet_bytes, publish_lasting, read_json, read_together
from monitoring_pipeline.stores.logs import by_presence_of_time
from monitoring_pipeline.stores.objects import ObjectPath, Place, names

HOUR_FORMAT = "%Y-%m-%dT%HZ"


AnyPlace = TypeVar("AnyPlace", bound=Place)


def model_folder(root: AnyPlace, kind: str, model: str) -> AnyPlace:
    """Return the folder of one model's files; characters that mean something in paths are escaped."""
    return cast("AnyPlace", root / kind / f"model={quote(model, safe='')}")


def hour_name(hour: datetime) -> str:
    """Return the name of a UTC hour in paths and journals."""
    return hour.astimezone(UTC).strftime(HOUR_FORMAT)


def parse_hour(name: str) -> datetime:
    """Return the hour that `hour_name` calls `name`."""
    return datetime.strptime(name, HOUR_FORMAT).replace(tzinfo=UTC)


def expired(root: Place, model: str) -> dict[str, datetime]:
    """Return before when retention has removed what there was of a model, by kind."""
    path = model_folder(root, "expired", model) / "before.json"
    return {kind: parse_hour(str(name)) for kind, name in read_json(path).items()} if path.exists() else {}


def _hour_folder(folder: Place, key: str, hour: datetime) -> Place:
    day = folder / f"day={hour:%Y-%m-%d}" if isinstance(folder, ObjectPath) else folder
    return day / f"{key}={hour_name(hour)}"


def _files(folder: Place, key: str, hours: Sequence[datetime]) -> list[Place]:
    """Return the Parquet files of some hours; in a bucket that is one listing for a day, however many of its hours."""
    if not isinstance(folder, ObjectPath):
        return [file for hour in hours for file in (folder / f"{key}={hour_name(hour)}").glob("*.parquet")]
    if len(hours) == 1:
        return _parquet(_hour_folder(folder, key, hours[0]))
    found: list[Place] = []
    wanted = {f"{key}={hour_name(hour)}" for hour in hours}
    for day in dict.fromkeys(f"day={hour:%Y-%m-%d}" for hour in hours):
        files = [ObjectPath(info.path) for info in (folder / day).below(recursive=True)]
        found += [path for path in files if path.key.split("/")[-2] in wanted and _is_parquet(path.name)]
    return found


def _parquet(folder: Place) -> list[Place]:
    return [folder / name for name in names(folder) if _is_parquet(name)]


def _is_parquet(name: str) -> bool:
    return name.endswith(".parquet") and not name.startswith(".")


def _store(parts: Iterable[tuple[Place, pa.Table]]) -> None:
    contents = [(folder, parquet_bytes(rows)) for folder, rows in parts]
    publish_lasting({folder / f"{digest(content)}.parquet": content for folder, content in contents})


class ParquetPredictionLog:
    """Prediction log in Parquet files, one folder per hour (`capture.predictions.PredictionLog`).

    Rows whose time is missing or cannot be read are kept as they came: with the latest hour of the batch they came in,
    where they are counted, or in a folder of their own where the batch names no hour at all.
    """

    def __init__(self, root: Place, columns: LogColumns) -> None:
        self._root = root
        self._columns = columns

    def append(self, model: str, rows: pa.Table) -> int:
        time = self._columns.predicted_at
        placed, lost = by_presence_of_time(rows, time)
        parts = list(rows_by_hour(placed, time=time).items())
        own = model_folder(self._root, "predictions", model)
        folders = [_hour_folder(own, "hour", hour) for hour, _ in parts]
        tables = [part for _, part in parts]
        if lost.num_rows:
            folders.append(folders[-1] if folders else own / "unplaced")
            tables.append(lost)
        _store(zip(folders, tables, strict=True))
        return int(rows.num_rows)

    def read(self, window: Window) -> pa.Table:
        folder = model_folder(self._root, "predictions", window.model)
        rows = read_together(_files(folder, "hour", [hour.start for hour in window.hours()]))
        if rows is not None:
            return rows
        if (before := expired(self._root, window.model).get("predictions")) and window.start < before:
            # Described again without its rows, an hour would pass for one without traffic.
            raise StoreError(
                f"predictions of {window.model}, {hour_name(window.start)}: expired, its rows were removed with all "
                f"before {hour_name(before)}. What was made of them stays; keep rows longer with retention.hot."
            )
        return pa.table({})

    def added_since(self, model: str, hour: datetime, moment: int) -> bool:
        """Return whether rows of an hour came after a moment of the disk's clock, in ns; no bucket is asked."""
        folder = _hour_folder(model_folder(self._root, "predictions", model), "hour", hour)
        if isinstance(folder, ObjectPath) or not folder.exists() or folder.stat().st_mtime_ns <= moment:
            return False
        # A folder also changes when a file goes.
        return any(path.stat().st_mtime_ns > moment for path in folder.glob("*.parquet"))

    def unplaced(self, model: str) -> pa.Table:
        """Return the rows of batches in which no row has a time."""
        rows = read_together(_parquet(model_folder(self._root, "predictions", model) / "unplaced"))
        return pa.table({}) if rows is None else rows

    def hours(self, model: str, *, since: datetime) -> Sequence[datetime]:
        folder, first = model_folder(self._root, "predictions", model), hour_of(since)
        if isinstance(folder, ObjectPath):
            days = [name for name in names(folder) if f"day={first:%Y-%m-%d}" <= name < "day=A"]
            files = [info.path.split("/") for day in days for info in (folder / day).below(recursive=True)]
            found = {parts[-2] for parts in files if _is_parquet(parts[-1])}
        else:
            # A crash can leave a folder without a file.
            found = {entry.name for entry in folder.glob("hour=*") if any(entry.glob("*.parquet"))}
        hours = (parse_hour(name.removeprefix("hour=")) for name in found)
        return sorted(hour for hour in hours if hour >= first)


class ParquetLabelLog:
    """Label log in Parquet files by the hour labels became known, with a journal of arrivals (`LabelLog`)."""

    def __init__(self, root: Place, columns: LabelColumns) -> None:
        self._root = root
        self._columns = columns

    def append(self, model: str, labels: pa.Table, *, hours: Sequence[datetime]) -> LabelArrival:
        # The journal is written last: an arrival that is listed has its labels in place.
        folder = model_folder(self._root, "labels", model)
        time = self._columns.labelled_at
        placed, _ = by_presence_of_time(labels, time)  # those without a time belong to no hour
        _store((_hour_folder(folder, "known", hour), part) for hour, part in rows_by_hour(placed, time=time).items())
        entry = {"rows": labels.num_rows, "hours": [hour_name(hour) for hour in hours]}
        return LabelArrival(arrivals.record(folder / "arrivals", entry), labels.num_rows, tuple(hours))

    def read(self, model: str, *, start: datetime, end: datetime) -> pa.Table | None:
        folder = model_folder(self._root, "labels", model)
        hours, hour = [], hour_of(start)
        while hour < end:
            hours.append(hour)
            hour += HOUR
        labels = read_together(_files(folder, "known", hours)) if hours else None
        if labels is None:
            return None
        known_at = labels[self._columns.labelled_at]
        first, last = pa.scalar(start, TIME_TYPE), pa.scalar(end, TIME_TYPE)
        labels = labels.filter(pc.and_(pc.greater_equal(known_at, first), pc.less(known_at, last)))
        return labels if labels.num_rows else None

    def arrivals(self, model: str, *, after: int, limit: int) -> Sequence[LabelArrival]:
        journal = model_folder(self._root, "labels", model) / "arrivals"
        return [
            LabelArrival(number, entry["rows"], tuple(map(parse_hour, entry["hours"])))
            for number, entry in arrivals.entries(journal, after=after, limit=limit)
        ]
