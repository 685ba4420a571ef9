"""The newest judged hour of each model, found and read without touching what has not changed.

Add here what else is read of the newest hour alone. Keep what is made of it out: it belongs in publish.
"""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import NumericBins, bins_digest
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.reference_json import reference_from_json
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.evaluate.signals import TRAINING
from monitoring_pipeline.publish.metrics import COLUMN_LABELS, FEATURE_METRICS, Measured, NewestHour
from monitoring_pipeline.stores.files import read_json
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.objects import Place
from monitoring_pipeline.stores.parquet import model_folder

SETTLED = timedelta(seconds=2)
"""A folder that changed less than this before it was listed may change again within one tick of the file system."""

_PLACE = ["segment", "baseline"]


class Stamp(NamedTuple):
    """What the newest judged hour of a model is, and which write of it."""

    hour: datetime
    verdicts: tuple[int, int] | None
    profiles: tuple[int, int] | None


class NewestHours:
    """The newest judged hours below one folder."""

    def __init__(self, root: Place) -> None:
        self._root = root
        self._hourly = HourlyStore(root)
        self._listed: dict[str, tuple[int, datetime | None]] = {}
        self._centers: dict[tuple[str, str, str], dict[str, float]] = {}

    def stamp(self, model: str, *, now: datetime) -> Stamp | None:
        """Return what there is to read of a model; None when no hour was ever judged. The same stamp: the same hour."""
        hour = self._newest(model, now)
        if hour is None:
            return None
        return Stamp(hour, *(self._hourly.stamp(kind, model, hour) for kind in ("verdicts", "profiles")))

    def _newest(self, model: str, now: datetime) -> datetime | None:
        folder = model_folder(self._root, "verdicts", model)
        if not isinstance(folder, Path):  # a bucket does not say when something in it last changed
            return self._hourly.newest("verdicts", model)
        try:
            modified = folder.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        known = self._listed.get(model)
        if known is not None and known[0] == modified:
            return known[1]
        hour = self._hourly.newest("verdicts", model)
        if modified < (now - SETTLED).timestamp() * 1e9:
            self._listed[model] = modified, hour
        return hour

    def read(self, model: str, stamp: Stamp) -> NewestHour:
        """Return the hour: what is known of all traffic, against training, and how many verdicts there are of all."""
        # Whole, for a part of it would be kept for the next time, and there is none.
        table = self._hourly.read("verdicts", model, stamp.hour, stamp.hour + HOUR).get(stamp.hour)
        if table is None:
            raise StoreError(
                f"verdicts of {model}, {stamp.hour:%Y-%m-%dT%HZ}: removed since they were found. Try again."
            )
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

    def _reference(self, model: str, version: str) -> Place:
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
