"""Drift signals: how far the inputs, scores and predictions of each window lie from the reference.

Metrics: `drift.psi`, `drift.js` (divergence, nats), `drift.js_distance`, `drift.ks`, `drift.wasserstein` (in units of
the column), `drift.wasserstein_normalised` (by the reference's standard deviation); of features, the score and the
predicted class alike. Add a distance here once `describe.distances` computes it. Keep thresholds out: they belong in
judge.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import numpy as np

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import Bins, ColumnRole, NumericBins
from monitoring_pipeline.describe.distances import ColumnDistances, as_windows, column_distances
from monitoring_pipeline.describe.hours import hours_by_version, profiles_of_version
from monitoring_pipeline.describe.profiles import ColumnProfile, ColumnWindows, HourlyProfiles, Profile, ProfileSeries
from monitoring_pipeline.describe.references import ColumnReference, Reference
from monitoring_pipeline.evaluate.signals import Absence, Signal, warming_up

MOST_MOVED = 3
"""Bins named in a signal: enough to see what happened, few enough for a message."""


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """Windows to evaluate and the rows below which a distance says nothing."""

    windows: tuple[timedelta, ...]
    min_rows: int = 1000


def drift_by_version(
    model: str,
    profiles: Mapping[datetime, Sequence[Profile]],
    references: Mapping[str, Reference],
    hours: Sequence[datetime],
    policy: DriftPolicy,
) -> list[Signal]:
    """Return the drift of every version that served in a window, an absence where it has no reference.

    Where no version served in the longest window there is one absence, so that no hour is silently missing.
    """
    served = {hour: {entry.version: entry.rows for entry in entries} for hour, entries in profiles.items()}
    traffic = {hour: sum(counts.values()) for hour, counts in served.items()}
    by_version = hours_by_version(served, hours, reach=max(policy.windows))
    signals: list[Signal] = []
    for version, own_hours in by_version.items():
        if version in references:
            own = profiles_of_version(profiles, references[version])
            signals += drift_signals(references[version], own, own_hours, policy, traffic=traffic)
        else:
            rows = {hour: counts.get(version, 0) for hour, counts in served.items()}
            signals += missing_reference_signals(model, version, rows, own_hours)
    silent = set(hours).difference(*by_version.values())
    return signals + [silent_hour_signal(model, hour) for hour in sorted(silent)]


def silent_hour_signal(model: str, hour: datetime) -> Signal:
    """Return the absence of an hour before which nothing was served for as long as the monitor looks back."""
    reason = "no version has served a prediction in any window that ends with this hour"
    return Signal("drift.psi", model, "", hour, hour + HOUR, absence=Absence.EMPTY_HOUR, reason=reason)


def drift_signals(
    reference: Reference,
    profiles: HourlyProfiles,
    hours: Sequence[datetime],
    policy: DriftPolicy,
    *,
    traffic: Mapping[datetime, int] | None = None,
) -> list[Signal]:
    """Return the drift of one model version for each hour in `hours` and each window that ends with it.

    `traffic` counts the predictions of all versions by hour; with it, a window in which others served first is not
    yet this version's.
    """
    if not hours:
        return []
    reach = max(round(window / HOUR) for window in policy.windows)
    series = ProfileSeries(profiles, hours, reach=reach)
    ends = [hour + HOUR for hour in hours]
    signals: list[Signal] = []
    for window in policy.windows:
        length = round(window / HOUR)
        absences = [_window_absence(profiles, traffic or {}, end - window, length, policy.min_rows) for end in ends]
        windows = _Windows(reference, ends, window, absences, partial(series.unseen_names, length=length))
        for entry in reference.columns.values():
            if entry.column.role is not ColumnRole.LABEL:
                signals += _column_signals(windows, entry, series.column(entry.column, length))
    return signals


def table_drift(reference: Reference, current: Profile, *, start: datetime, end: datetime) -> list[Signal]:
    """Return the drift of rows that are one window, whatever hours they came from.

    A column without a usable value on either side has not drifted; it is not known.
    """

    def unseen(column: str, _: int) -> Mapping[str, int]:
        return dict(current.columns[column].unseen)

    signals: list[Signal] = []
    for name, entry in reference.columns.items():
        profile = current.columns[name]
        absence = None
        if not _usable_rows(entry.profile) and not _usable_rows(profile):
            absence = (Absence.UNDEFINED, "neither table has a usable value in this column")
        windows = _Windows(reference, [end], end - start, [absence], unseen)
        signals += _column_signals(windows, entry, as_windows(profile))
    return signals


def _usable_rows(profile: ColumnProfile) -> int:
    return int(profile.counts.sum()) + profile.unseen_rows


def _window_absence(
    profiles: HourlyProfiles, traffic: Mapping[datetime, int], start: datetime, length: int, min_rows: int
) -> tuple[Absence, str] | None:
    """Return why a window has no drift at all, or None where it has."""
    described = {at: profiles[at].rows for step in range(length) if (at := start + step * HOUR) in profiles}
    if (why := warming_up(described, traffic, start=start, length=length)) is not None:
        return why
    rows = sum(described.values())
    if rows == 0:
        return Absence.EMPTY_HOUR, "no prediction was logged"
    if rows < min_rows:
        fix = "Raise the traffic that is logged, or lower drift.min_rows."
        return Absence.TOO_FEW_ROWS, f"{rows} rows, drift needs {min_rows}. {fix}"
    return None


@dataclass(frozen=True, slots=True)
class _Windows:
    """Windows of one length that are measured together: where they end, and what to call what is in them.

    absences: why a window has no drift at all, or None. unseen: names of new categories by column and window.
    """

    reference: Reference
    ends: Sequence[datetime]
    length: timedelta
    absences: Sequence[tuple[Absence, str] | None]
    unseen: Callable[[str, int], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class _Measure:
    """One metric of a column: values, bounds and p-values by window."""

    name: str
    unit: str
    values: np.ndarray
    p_values: np.ndarray | None = None
    high: np.ndarray | None = None


def _measures(entry: ColumnReference, distances: ColumnDistances) -> Iterator[_Measure]:
    yield _Measure("psi", "1", distances.psi, distances.psi_p_value)
    yield _Measure("js", "nat", distances.js, distances.js_p_value)
    yield _Measure("js_distance", "1", distances.js_distance)
    if distances.ks is None or distances.wasserstein is None:
        return
    bound = None if distances.ks_bound is None else np.minimum(distances.ks + distances.ks_bound, 1.0)
    yield _Measure("ks", "1", distances.ks, distances.ks_p_value, bound)
    yield _Measure("wasserstein", "column", distances.wasserstein)
    bins = entry.column.bins
    if isinstance(bins, NumericBins) and bins.scale > 0:
        yield _Measure("wasserstein_normalised", "sd", distances.wasserstein / bins.scale)


def _column_signals(windows: _Windows, entry: ColumnReference, current: ColumnWindows) -> Iterator[Signal]:
    name = entry.column.name
    distances = column_distances(entry.column, as_windows(entry.profile), current)
    for measure in _measures(entry, distances):
        for index, end in enumerate(windows.ends):
            absence = windows.absences[index]
            value = float(measure.values[index])
            if absence is None and not np.isfinite(value):
                absence = (Absence.UNDEFINED, f"no usable value of {name!r} in the window or in the reference")
            yield Signal(
                metric=f"drift.{measure.name}",
                model=windows.reference.model,
                version=windows.reference.version,
                window_start=end - windows.length,
                window_end=end,
                value=None if absence else value,
                absence=absence[0] if absence else None,
                reason=absence[1] if absence else "",
                unit=measure.unit,
                rows=int(distances.rows[index]),
                low=value if measure.high is not None and not absence else None,
                high=float(measure.high[index]) if measure.high is not None and not absence else None,
                column=name,
                p_value=_p_value(measure, index) if not absence else None,
                detail=_detail(windows, entry, current, distances, index)
                if measure.name == "psi" and not absence
                else {},
            )


def _p_value(measure: _Measure, index: int) -> float | None:
    if measure.p_values is None or not np.isfinite(measure.p_values[index]):
        return None
    return float(measure.p_values[index])


def _detail(
    windows: _Windows, entry: ColumnReference, current: ColumnWindows, distances: ColumnDistances, index: int
) -> dict[str, object]:
    """Return the coarse bins that make most of the PSI, and the unseen categories by name."""
    contributions = distances.contributions[index]
    bins = entry.column.bins
    order = np.argsort(-contributions, kind="stable")[:MOST_MOVED]
    reference = distances.reference[index if len(distances.reference) > 1 else 0]
    moved = [
        {
            "bin": _bin_name(bins, int(place)),
            "contribution": round(float(contributions[place]), 6),
            "reference": round(float(reference[place]), 6),
            "current": round(float(distances.current[index, place]), 6),
            "direction": "up" if distances.current[index, place] > reference[place] else "down",
        }
        for place in order
        if contributions[place] > 0
    ]
    detail: dict[str, object] = {"bins": moved}
    if current.unseen[index]:  # most windows have none, and looking for their names takes as long as all the rest
        unseen = windows.unseen(entry.column.name, index)
        detail["unseen"] = dict(list(unseen.items())[:MOST_MOVED])
    return detail


def _bin_name(bins: Bins, place: int) -> str:
    return "null" if place == bins.group_count + 1 else bins.describe_group(place)


def missing_reference_signals(
    model: str, version: str, rows: Mapping[datetime, int], hours: Sequence[datetime]
) -> list[Signal]:
    """Return the absences of a version that served predictions but has no reference."""
    fix = "Log its reference rows with log_reference, then materialise reference_distributions."
    return [
        Signal(
            metric="drift.psi",
            model=model,
            version=version,
            window_start=hour,
            window_end=hour + HOUR,
            absence=Absence.NO_REFERENCE,
            reason=f"{model} v{version} has no reference. {fix}",
            rows=rows.get(hour, 0),
        )
        for hour in hours
    ]
