"""The prediction log and the label log as hive-partitioned Parquet files: the store that needs no server.

    predictions/model=<name>/hour=2013-04-18T05Z/<content digest>.parquet
    predictions/model=<name>/unplaced/<content digest>.parquet
    labels/model=<name>/known=2013-04-18T09Z/<content digest>.parquet
    labels/model=<name>/arrivals/00000000000000000042.json

Files are named by their content, so storing a batch twice stores it once. Add what keeps rows in files here. Keep
what rows mean out: it belongs in capture.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.labels import LabelArrival, LabelColumns
from monitoring_pipeline.capture.predictions import TIME_TYPE, LogColumns
from monitoring_pipeline.capture.windows import HOUR, Window, hour_of
from monitoring_pipeline.describe.profiles import rows_by_hour
from monitoring_pipeline.stores.files import digest, parquet_bytes, publish, publish_new, read_together
from monitoring_pipeline.stores.logs import by_presence_of_time

HOUR_FORMAT = "%Y-%m-%dT%HZ"


def model_folder(root: Path, kind: str, model: str) -> Path:
    """Return the folder of one model's files; characters that mean something in paths are escaped."""
    return root / kind / f"model={quote(model, safe='')}"


def hour_name(hour: datetime) -> str:
    """Return the name of a UTC hour in paths and journals."""
    return hour.astimezone(UTC).strftime(HOUR_FORMAT)


def parse_hour(name: str) -> datetime:
    """Return the hour that `hour_name` calls `name`."""
    return datetime.strptime(name, HOUR_FORMAT).replace(tzinfo=UTC)


class ParquetPredictionLog:
    """Prediction log in Parquet files, one folder per hour (`capture.predictions.PredictionLog`).

    Rows whose time is missing or cannot be read are kept as they came: with the latest hour of the batch they came in,
    where they are counted, or in a folder of their own where the batch names no hour at all.
    """

    def __init__(self, root: Path, columns: LogColumns) -> None:
        self._root = root
        self._columns = columns

    def append(self, model: str, rows: pa.Table) -> int:
        time = self._columns.predicted_at
        placed, lost = by_presence_of_time(rows, time)
        parts = list(rows_by_hour(placed, time=time).items())
        folders = [self._folder(model, hour) for hour, _ in parts]
        tables = [part for _, part in parts]
        if lost.num_rows:
            folders.append(folders[-1] if folders else model_folder(self._root, "predictions", model) / "unplaced")
            tables.append(lost)
        for folder, table in zip(folders, tables, strict=True):
            content = parquet_bytes(table)
            publish(folder / f"{digest(content)}.parquet", content)
        return int(rows.num_rows)

    def read(self, window: Window) -> pa.Table:
        files = [file for hour in window.hours() for file in self._folder(window.model, hour.start).glob("*.parquet")]
        rows = read_together(files)
        return pa.table({}) if rows is None else rows

    def unplaced(self, model: str) -> pa.Table:
        """Return the rows of batches in which no row has a time."""
        rows = read_together([*(model_folder(self._root, "predictions", model) / "unplaced").glob("*.parquet")])
        return pa.table({}) if rows is None else rows

    def hours(self, model: str, *, since: datetime) -> Sequence[datetime]:
        folder = model_folder(self._root, "predictions", model)
        first = hour_of(since)
        hours = {parse_hour(entry.name.removeprefix("hour=")): entry for entry in folder.glob("hour=*")}
        # A crash can leave a folder without a file.
        return sorted(hour for hour, entry in hours.items() if hour >= first and any(entry.glob("*.parquet")))

    def _folder(self, model: str, hour: datetime) -> Path:
        return model_folder(self._root, "predictions", model) / f"hour={hour_name(hour)}"


class ParquetLabelLog:
    """Label log in Parquet files by the hour labels became known, with a journal of arrivals (`LabelLog`)."""

    def __init__(self, root: Path, columns: LabelColumns) -> None:
        self._root = root
        self._columns = columns

    def append(self, model: str, labels: pa.Table, *, hours: Sequence[datetime]) -> LabelArrival:
        # The journal is written last: an arrival that is listed has its labels in place.
        folder = model_folder(self._root, "labels", model)
        time = self._columns.labelled_at
        placed, _ = by_presence_of_time(labels, time)  # those without a time belong to no hour
        for hour, part in rows_by_hour(placed, time=time).items():
            content = parquet_bytes(part)
            publish(folder / f"known={hour_name(hour)}" / f"{digest(content)}.parquet", content)
        return self._record(folder / "arrivals", labels.num_rows, hours)

    def _record(self, journal: Path, rows: int, hours: Sequence[datetime]) -> LabelArrival:
        """Take the next free number. A number can be seen only once all smaller ones can: a cursor misses nothing."""
        content = json.dumps({"rows": rows, "hours": [hour_name(hour) for hour in hours]}).encode()
        sequence = max((int(path.stem) for path in journal.glob("*.json")), default=0)
        while True:
            sequence += 1
            if publish_new(journal / f"{sequence:020d}.json", content):
                return LabelArrival(sequence, rows, tuple(hours))

    def read(self, model: str, *, start: datetime, end: datetime) -> pa.Table | None:
        folder = model_folder(self._root, "labels", model)
        files: list[Path] = []
        hour = hour_of(start)
        while hour < end:
            files += (folder / f"known={hour_name(hour)}").glob("*.parquet")
            hour += HOUR
        labels = read_together(files)
        if labels is None:
            return None
        known_at = labels[self._columns.labelled_at]
        first, last = pa.scalar(start, TIME_TYPE), pa.scalar(end, TIME_TYPE)
        labels = labels.filter(pc.and_(pc.greater_equal(known_at, first), pc.less(known_at, last)))
        return labels if labels.num_rows else None

    def arrivals(self, model: str, *, after: int, limit: int) -> Sequence[LabelArrival]:
        journal = model_folder(self._root, "labels", model) / "arrivals"
        found: list[LabelArrival] = []
        while len(found) < limit:
            path = journal / f"{after + len(found) + 1:020d}.json"
            if not path.exists():
                break
            entry = json.loads(path.read_bytes())
            found.append(LabelArrival(int(path.stem), entry["rows"], tuple(map(parse_hour, entry["hours"]))))
        return found
