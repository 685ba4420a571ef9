"""Prediction logs described hour by hour and version by version.

Add what turns the rows of several hours into hourly records here. Keep stores and windows longer than an hour out.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import TypeVar

import pyarrow as pa

from monitoring_pipeline.capture.predictions import UNVERSIONED, LogColumns
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.describe.profiles import HourlyProfiles, Profile, rows_by_hour, rows_by_version
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.describe.segments import split_all

AnyRecord = TypeVar("AnyRecord")


def profile_hours(
    rows: pa.Table, references: Mapping[str, Reference], hours: Sequence[datetime], columns: LogColumns
) -> dict[datetime, list[Profile]]:
    """Return the profiles of every hour, one per version that served in it and one per segment of its rows.

    An hour without rows has none. `rows` must be prepared (`capture.predictions.prepare_predictions`). A version
    without a reference has no bins: its rows are counted, its columns are not described.
    """

    def described(version: str, rows: pa.Table) -> list[Profile]:
        reference = references.get(version)
        specs = reference.specs if reference else {}
        cuts = [("", rows), *(split_all(rows, reference.segmentations) if reference else ())]
        return [Profile.of(part, version, specs, segment, time=columns.predicted_at) for segment, part in cuts]

    found = _by_version(rows, hours, columns, described)
    return {hour: list(chain.from_iterable(versions.values())) for hour, versions in found.items()}


def records_by_hour(
    rows: pa.Table, hours: Sequence[datetime], columns: LogColumns, of: Callable[[pa.Table], AnyRecord]
) -> dict[datetime, dict[str, AnyRecord]]:
    """Return what `of` makes of every hour's rows, by version; `rows` must be prepared."""
    return _by_version(rows, hours, columns, lambda _, part: of(part))


def outcome_hours(
    joined: pa.Table, hours: Sequence[datetime], plan: OutcomePlan, references: Mapping[str, Reference]
) -> dict[datetime, dict[str, OutcomeProfile]]:
    """Return the outcome profiles of every hour by version, from predictions joined to their labels."""

    def counted(version: str, part: pa.Table) -> OutcomeProfile:
        known = references.get(version)
        return plan.of(part, known.segmentations, known.loss_model) if known is not None else plan.of(part)

    return _by_version(joined, hours, plan.columns, counted)


def _by_version(
    rows: pa.Table, hours: Sequence[datetime], columns: LogColumns, of: Callable[[str, pa.Table], AnyRecord]
) -> dict[datetime, dict[str, AnyRecord]]:
    parts = rows_by_hour(rows, time=columns.predicted_at)
    found: dict[datetime, dict[str, AnyRecord]] = {}
    for hour in hours:
        versions = rows_by_version(parts[hour], version=columns.version, default=UNVERSIONED) if hour in parts else {}
        found[hour] = {version: of(version, part) for version, part in versions.items()}
    return found


def profiles_of_version(
    profiles: Mapping[datetime, Sequence[Profile]], reference: Reference, *, segment: str = ""
) -> HourlyProfiles:
    """Return one version's profile of every described hour, or of one segment; empty where it did not serve.

    An hour it served before it had a reference, or in the bins of an earlier one, is left out: its rows were counted,
    but cannot be compared.
    """
    empty = Profile.empty(reference.version, reference.specs, segment)
    described = {}
    for hour, entries in profiles.items():
        of_version = [profile for profile in entries if profile.version == reference.version]
        if all(profile.bins == empty.bins for profile in of_version):
            described[hour] = next((profile for profile in of_version if profile.segment == segment), empty)
    return described


def hours_before_first(
    served: Mapping[datetime, int], traffic: Mapping[datetime, int], *, start: datetime, end: datetime
) -> int:
    """Return how many hours of [start, end) had traffic before the version that `served` counts answered any of it.

    A week that holds half a day of a new version must not be compared as if it were a week. Only hours of the window
    itself are looked at, so that an hour gives the same signals in whatever range it is computed.
    """
    passed = 0
    while start < end and not served.get(start, 0):
        passed += traffic.get(start, 0) > 0
        start += HOUR
    return passed


def hours_by_version(
    served: Mapping[datetime, Mapping[str, int]], hours: Sequence[datetime], *, reach: timedelta
) -> dict[str, list[datetime]]:
    """Return, for every version, those of `hours` that it served in or within `reach` before.

    `served` counts rows by hour and version. An hour is evaluated for the same versions in whatever range it is
    computed; a version that is long gone is not evaluated for ever.
    """
    found: dict[str, list[datetime]] = {}
    for hour in hours:
        for version in sorted({name for at, counts in served.items() if hour - reach < at <= hour for name in counts}):
            found.setdefault(version, []).append(hour)
    return dict(sorted(found.items()))


def serving_version(served: Mapping[datetime, Mapping[str, int]], hour: datetime) -> str | None:
    """Return the version that answered most requests in the last hour, up to `hour`, that had any.

    `served` counts rows by hour and version. Taken from the log rather than from the registry, so that judging an old
    hour again gives what it gave then.
    """
    for at in sorted((at for at in served if at <= hour), reverse=True):
        if any(served[at].values()):
            return max(served[at], key=lambda version: (served[at][version], version))
    return None
