"""What of a model is removed at which age, and what is left of it.

Add a kind of file to the tier it belongs to. Keep ages out: they belong in settings. What is removed is said to be
expired before it goes, so that nobody takes its absence for an hour without traffic.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.stores.files import publish
from monitoring_pipeline.stores.hourly import DAILY_OUTCOMES, DAILY_PROFILES, HourlyStore
from monitoring_pipeline.stores.hours import DAY
from monitoring_pipeline.stores.objects import Place, names, sizes
from monitoring_pipeline.stores.parquet import expired, hour_name, model_folder

ROWS = frozenset({"predictions", "labels", "quarantine"})
"""Kinds that hold rows as they were logged."""

HOURLY = frozenset(
    {"intake", "samples", "profiles", "operations", "freshness", "outcomes", "label_arrivals", "business", "unread"}
    | {"drift", "performance", "quality", "service", "first_seen", "verdicts", "rules", "diagnoses", "objectives"}
)
"""Kinds with a table for every hour."""

FOREVER = frozenset({"references", "calibrations", "importances", "expired"})
"""Kinds that are small, and without which a version that is served could not be judged."""

ELSEWHERE = frozenset({"evidently", "health", "retraining"})
"""Kinds that are replaced by what writes them; of retrainings, rows go with `remove_training_rows`."""

_DATE = re.compile(r"(?:^|[=/])(\d{4}-\d\d-\d\d)[T./]")


@dataclass(frozen=True, slots=True)
class Limits:
    """The midnights before which rows, what was made of hours, and what was made of days are removed; None for never.

    Profiles of `periods` stay: baselines compare with them, however old they are.
    """

    rows: datetime | None
    hours: datetime
    days: datetime
    periods: tuple[tuple[datetime, datetime], ...] = ()

    def of(self, kind: str) -> datetime | None:
        if kind in FOREVER | ELSEWHERE:
            return None
        return self.rows if kind in ROWS else self.hours if kind in HOURLY else self.days


@dataclass(frozen=True, slots=True)
class Removal:
    """Files of one kind that go, or went: all before a midnight."""

    kind: str
    before: datetime
    files: int
    bytes: int


def compact(store: HourlyStore, root: Place, model: str, *, before: datetime) -> int:
    """Make one file a day of hourly ones before a midnight, of all kinds; returns how many files less there are."""
    kinds = sorted({*names(root)} - FOREVER - ELSEWHERE - {"predictions", "labels"})
    return sum(store.compact(kind, model, before=before) for kind in kinds)


def remove_expired(store: HourlyStore, root: Place, model: str, limits: Limits, *, dry_run: bool) -> list[Removal]:
    """Remove what is older than the limits, and say so; returns what went, or with `dry_run` what would go."""
    found = {kind: (before, dict(_old(root, kind, model, limits))) for kind, before in _limited(root, limits)}
    found = {kind: (before, files) for kind, (before, files) in found.items() if files}
    if found and not dry_run:
        roll_up(store, model, limits.days, limits.hours)
        known = expired(root, model)
        said = known | {kind: max(before, known.get(kind, before)) for kind, (before, _) in found.items()}
        document = {kind: hour_name(before) for kind, before in sorted(said.items())}
        publish(model_folder(root, "expired", model) / "before.json", json.dumps(document).encode())
        for _, files in found.values():
            for path in files:
                _remove(path)
    return [Removal(kind, before, len(files), sum(files.values())) for kind, (before, files) in sorted(found.items())]


def remove_training_rows(folder: Path, before: datetime, *, dry_run: bool) -> list[Removal]:
    """Remove the rows of retrainings whose folder nothing was written to since a midnight: they are over.

    Their documents stay: they are small, and say what was trained on and how it was judged.
    """
    files = {path: path.stat() for path in folder.glob("*/*")}
    going_on = {path.parent for path, known in files.items() if known.st_mtime >= before.timestamp()}
    rows = [path for path in files if path.suffix == ".parquet" and path.parent not in going_on]
    for path in () if dry_run else rows:
        path.unlink(missing_ok=True)
    return [Removal("retraining", before, len(rows), sum(files[path].st_size for path in rows))] if rows else []


def roll_up(store: HourlyStore, model: str, start: datetime, end: datetime) -> None:
    """Add the hours of every day from one midnight to another up to one profile and one outcome a version."""
    for day in _days(store, "profiles", DAILY_PROFILES, model, start, end):
        profiles: dict[object, Profile] = {}
        for hour in store.read_profiles(model, day, day + DAY).values():
            for each in hour:
                key = each.version, each.segment, each.bins, frozenset(each.columns)
                profiles[key] = profiles[key].merge(each) if key in profiles else each
        store.write_profiles(model, day, list(profiles.values()), kind=DAILY_PROFILES)
    for day in _days(store, "outcomes", DAILY_OUTCOMES, model, start, end):
        outcomes: dict[str, OutcomeProfile] = {}
        for by_version in store.read_outcomes(model, day, day + DAY).values():
            for version, part in by_version.items():
                outcomes[version] = outcomes[version].merge(part) if version in outcomes else part
        store.write_records(DAILY_OUTCOMES, model, day, outcomes)


def _days(store: HourlyStore, hourly: str, daily: str, model: str, start: datetime, end: datetime) -> list[datetime]:
    # A day that is there already may have lost hours since: it is left as it is.
    days = {hour.replace(hour=0) for hour in store.hours(hourly, model) if start <= hour < end}
    return sorted(days.difference(store.hours(daily, model)))


def _limited(root: Place, limits: Limits) -> Iterator[tuple[str, datetime]]:
    for kind in sorted(names(root)):
        if (before := limits.of(kind)) is not None:
            yield kind, before


def _old(root: Place, kind: str, model: str, limits: Limits) -> Iterator[tuple[Place, int]]:
    folder, before = model_folder(root, kind, model), limits.of(kind)
    kept = limits.periods if kind == "profiles" else ()
    for name, size in sizes(folder).items():
        day = _DATE.search(name)
        if day is None or before is None or day[1] >= f"{before:%Y-%m-%d}":
            continue
        if not any(f"{start:%Y-%m-%d}" <= day[1] <= f"{end:%Y-%m-%d}" for start, end in kept):
            yield folder / name, size


def _remove(path: Place) -> None:
    path.unlink(missing_ok=True)
    # The folder of an hour of a log is looked into by whoever asks which hours there are.
    if isinstance(path, Path) and "=" in path.parent.name and not path.parent.name.startswith("model="):
        try:
            path.parent.rmdir()
        except OSError:
            return
