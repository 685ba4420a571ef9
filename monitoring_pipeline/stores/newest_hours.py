"""The newest judged hour of each model, found and read without touching what has not changed.

Add here what else is read of the newest hour alone. Keep what is made of it out: it belongs in publish.
"""

import os
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import NumericBins, bins_digest
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.reference_json import reference_from_json
from monitoring_pipeline.evaluate.signals import TRAINING
from monitoring_pipeline.publish.metrics import COLUMN_LABELS, FEATURE_METRICS, Measured, NewestHour
from monitoring_pipeline.stores.files import parquet_errors, read_json
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.parquet import model_folder, parse_hour

SETTLED = timedelta(seconds=2)
"""A folder that changed less than this before it was listed may change again within one tick of the file system."""

_PLACE = ["segment", "baseline"]


class Stamp(NamedTuple):
    """What the newest judged hour of a model is, and which write of it."""

    hour: datetime
    path: Path
    verdicts: tuple[int, int]
    profiles: tuple[int, int] | None


class NewestHours:
    """The newest judged hours below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._hourly = HourlyStore(root)
        self._listed: dict[str, tuple[int, Path | None]] = {}
        self._centers: dict[tuple[str, str, str], dict[str, float]] = {}

    def stamp(self, model: str, *, now: datetime) -> Stamp | None:
        """Return what there is to read of a model; None when no hour was ever judged. The same stamp: the same hour."""
        path = self._newest(model, now)
        if path is None:
            return None
        profiles = model_folder(self._root, "profiles", model) / path.name
        with parquet_errors(path):
            return Stamp(parse_hour(path.stem), path, _write(path), _write(profiles) if profiles.exists() else None)

    def _newest(self, model: str, now: datetime) -> Path | None:
        folder = model_folder(self._root, "verdicts", model)
        try:
            modified = folder.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        known = self._listed.get(model)
        if known is not None and known[0] == modified:
            return known[1]
        # Not glob: making a path of each of a year of hours takes longer than reading one. Names sort as times do.
        with os.scandir(folder) as entries:
            newest = max((entry.name for entry in entries if entry.name.endswith(".parquet")), default=None)
        path = folder / newest if newest is not None else None
        if modified < (now - SETTLED).timestamp() * 1e9:
            self._listed[model] = modified, path
        return path

    def read(self, model: str, stamp: Stamp) -> NewestHour:
        """Return the hour: what is known of all traffic, against training, and how many verdicts there are of all."""
        with parquet_errors(stamp.path), pq.ParquetFile(stamp.path, memory_map=False) as file:
            table = file.read(columns=[*Measured._fields, *_PLACE])
        levels: Counter[tuple[str, str, str]] = Counter()
        for row in table.group_by(["version", "metric", "level"]).aggregate([([], "count_all")]).to_pylist():
            report = row["metric"].partition(".")[0]
            levels["" if report == "slo" else row["version"], report, row["level"]] += row["count_all"]
        found = table.filter(_exported(table))
        signals = map(Measured, *(found[name].to_pylist() for name in Measured._fields))
        profiles = self._hourly.read_profiles(model, stamp.hour, stamp.hour + HOUR).get(stamp.hour, [])
        whole = [profile for profile in profiles if profile.segment == ""]
        served = {profile.version: profile.rows for profile in whole}
        means = {key: mean for profile in whole for key, mean in self._means(model, profile).items()}
        return NewestHour(model, stamp.hour, tuple(signals), served, means, levels)

    def _reference(self, model: str, version: str) -> Path:
        return model_folder(self._root, "references", model) / f"{quote(version, safe='')}.json"

    def _means(self, model: str, profile: Profile) -> dict[tuple[str, str], float]:
        """Return means, which profiles hold relative to the center of the reference whose bins they count in."""
        if not profile.columns:
            return {}
        key = model, profile.version, profile.bins
        if key not in self._centers:
            # Only the copy in the folder: asking the registry takes longer than whoever scrapes waits.
            specs = reference_from_json(read_json(self._reference(model, profile.version))).specs
            # Another reference of the same version has other centers.
            if bins_digest(specs) != profile.bins:
                return {}
            bins = {name: column.bins for name, column in specs.items()}
            self._centers[key] = {name: each.center for name, each in bins.items() if isinstance(each, NumericBins)}
        counted = {name: int(column.counts.sum()) for name, column in profile.columns.items()}
        return {
            (profile.version, name): center + float(profile.columns[name].sums.sum()) / counted[name]
            for name, center in self._centers[key].items()
            if counted.get(name)
        }


def _exported(table: pa.Table) -> pa.ChunkedArray:
    metric = table["metric"]
    whole = pc.and_(pc.equal(table["segment"], ""), pc.is_in(table["baseline"], pa.array(["", TRAINING], pa.string())))
    wanted = pc.or_(pc.equal(table["column"], ""), pc.is_in(metric, pa.array(FEATURE_METRICS, pa.string())))
    for report in COLUMN_LABELS:
        wanted = pc.or_(wanted, pc.starts_with(metric, f"{report}."))
    return pc.and_(whole, wanted)


def _write(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino
