"""Drift signals: how far the inputs, scores and predictions of each window lie from what they are held against.

Metrics: `drift.<name>` for every name in `describe.distances.METRICS`; of features, the score and the predicted class
alike, for all rows and for each segment. Add a distance there. Keep thresholds out: they belong in judge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np

from monitoring_pipeline.capture.windows import HOUR, window_name
from monitoring_pipeline.describe.columns import Bins, ColumnRole
from monitoring_pipeline.describe.distances import METRICS, Measured, Pair, as_windows, expected_windows, measured
from monitoring_pipeline.describe.hours import hours_by_version, profiles_of_version
from monitoring_pipeline.describe.profiles import ColumnProfile, ColumnWindows, HourlyProfiles, Profile
from monitoring_pipeline.describe.references import ColumnReference, Reference
from monitoring_pipeline.describe.spans import (
    WEEK,
    Baseline,
    BaselineSeries,
    FixedPeriod,
    SameHoursOfWeek,
    Span,
    SpanSeries,
    hours_of,
    last_rows_span,
    totals_of,
)
from monitoring_pipeline.evaluate.signals import TRAINING, Absence, Signal, warming_up

MOST_MOVED = 3
"""Bins named in a signal: enough to see what happened, few enough for a message."""

DEFAULT_METRICS = (
    *("psi", "js", "js_distance", "l_infinity", "unseen_share"),
    *("ks", "wasserstein", "wasserstein_normalised"),
)

LAST_ROWS_REACH = timedelta(days=30)
"""How far back the last N predictions are looked for; a model with less traffic has no such window."""

Why = tuple[Absence, str] | None
"""Why a window has no drift at all, in words, or None where it has."""


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """What is measured: windows, the rows below which a distance says nothing, metrics, and further baselines.

    segment_metrics: what is measured per segment. last_predictions: also measure the last so many predictions, in
    whole hours.
    """

    windows: tuple[timedelta, ...]
    min_rows: int = 1000
    metrics: tuple[str, ...] = DEFAULT_METRICS
    segment_metrics: tuple[str, ...] = ("psi",)
    baselines: tuple[Baseline, ...] = ()
    last_predictions: int | None = None

    @property
    def reach(self) -> timedelta:
        """How far before its end an evaluation reads profiles, at most."""
        longest = max(self.windows)
        back = max((baseline.reach for baseline in self.baselines), default=timedelta(0))
        return max(longest + back, LAST_ROWS_REACH if self.last_predictions else longest)

    @property
    def periods(self) -> tuple[Span, ...]:
        """Fixed periods whose profiles are read too, wherever they lie."""
        return tuple((each.start, each.end) for each in self.baselines if isinstance(each, FixedPeriod))


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
    served = {
        hour: {entry.version: entry.rows for entry in entries if not entry.segment}
        for hour, entries in profiles.items()
    }
    traffic = {hour: sum(counts.values()) for hour, counts in served.items()}
    by_version = hours_by_version(served, hours, reach=max(policy.windows))
    signals: list[Signal] = []
    for version, own_hours in by_version.items():
        if version in references:
            signals += drift_signals(references[version], profiles, own_hours, policy, traffic=traffic)
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
    profiles: Mapping[datetime, Sequence[Profile]],
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
    own = profiles_of_version(profiles, reference)
    served = {hour: profile.rows for hour, profile in own.items()}
    signals = _signals_of(reference, own, hours, policy, served, traffic or {}, "")
    for name, segment in reference.segments.items():
        part = profiles_of_version(profiles, reference, segment=name)
        signals += _signals_of(segment, part, hours, _of_segments(policy), served, traffic or {}, name)
    return signals


def _of_segments(policy: DriftPolicy) -> DriftPolicy:
    return DriftPolicy(policy.windows, policy.min_rows, policy.segment_metrics)


def _signals_of(
    reference: Reference,
    profiles: HourlyProfiles,
    hours: Sequence[datetime],
    policy: DriftPolicy,
    served: Mapping[datetime, int],
    traffic: Mapping[datetime, int],
    segment: str,
) -> list[Signal]:
    ends = [hour + HOUR for hour in hours]
    rows = {hour: profile.rows for hour, profile in profiles.items()}
    measured_together = []
    totals = totals_of(profiles, [(end - max(policy.windows), end) for end in ends])
    for window in policy.windows:
        spans: list[Span] = [(end - window, end) for end in ends]
        whys = [_window_absence(rows, served, traffic, span, policy.min_rows) for span in spans]
        windows = _Windows(reference, spans, whys, policy.metrics, segment)
        measured_together.append((windows, SpanSeries(totals, spans)))
    signals = list(_against_training(measured_together))
    for windows, _ in measured_together:
        for baseline in policy.baselines:
            if isinstance(baseline, SameHoursOfWeek) and windows.length > WEEK:
                continue  # more than a week has no same hours of another week beside it
            signals += _against(windows, profiles, baseline, policy.min_rows, served, traffic)
    if policy.last_predictions is not None:
        signals += _last_predictions(reference, profiles, rows, traffic, ends, policy, policy.last_predictions)
    return signals


def _against_training(together: Sequence[tuple["_Windows", SpanSeries]]) -> Iterator[Signal]:
    """Yield the drift of windows of several lengths of the same columns."""
    first, _ = together[0]
    for entry in first.entries():
        expected = first.expected(entry)
        for windows, series in together:
            yield from _column_signals(windows, entry, expected, series.column(entry.column), series)


def _against(
    windows: "_Windows",
    profiles: HourlyProfiles,
    baseline: Baseline,
    min_rows: int,
    served: Mapping[datetime, int],
    traffic: Mapping[datetime, int],
) -> Iterator[Signal]:
    """Yield the drift of the windows from the same version's own traffic at another time."""
    series = SpanSeries(profiles, windows.spans)
    held_against = BaselineSeries(profiles, baseline, windows.spans)
    whys = [
        why or _baseline_absence(baseline.name, pieces, served, traffic)
        for why, pieces in zip(windows.absences, held_against.pieces, strict=True)
    ]
    for entry in windows.entries():
        reference = held_against.column(entry.column)
        thin = [
            why or _thin_baseline(baseline.name, int(count), min_rows)
            for why, count in zip(whys, reference.rows, strict=True)
        ]
        part = replace(windows, absences=thin, baseline=baseline.name)
        yield from _column_signals(part, entry, reference, series.column(entry.column), series)


def _baseline_absence(
    name: str, pieces: Sequence[Span], served: Mapping[datetime, int], traffic: Mapping[datetime, int]
) -> Why:
    """Return why a baseline is not what its name says: a stretch of it is not described, or was served by others."""
    if not pieces:
        return Absence.UNDEFINED, f"nothing of the baseline {name} lies outside the window"
    for piece in pieces:
        hours = hours_of(piece)
        described = {at: served[at] for at in hours if at in served}
        if (why := warming_up(described, traffic, start=piece[0], length=len(hours))) is not None:
            return why[0], f"baseline {name}: {why[1]}"
    return None


def _thin_baseline(name: str, rows: int, min_rows: int) -> Why:
    if rows >= min_rows:
        return None
    return Absence.TOO_FEW_ROWS, f"the baseline {name} has {rows} rows, drift needs {min_rows}"


def _last_predictions(
    reference: Reference,
    profiles: HourlyProfiles,
    rows: Mapping[datetime, int],
    traffic: Mapping[datetime, int],
    ends: Sequence[datetime],
    policy: DriftPolicy,
    wanted: int,
) -> Iterator[Signal]:
    spans = [last_rows_span(rows, end, wanted=wanted, reach=LAST_ROWS_REACH) for end in ends]
    few = (Absence.TOO_FEW_ROWS, f"fewer than {wanted} predictions in the {window_name(LAST_ROWS_REACH)} before")
    whys = [few if span is None else _window_absence(rows, rows, traffic, span, policy.min_rows) for span in spans]
    named = [span or (end - LAST_ROWS_REACH, end) for span, end in zip(spans, ends, strict=True)]
    windows = _Windows(reference, named, whys, policy.metrics, span=f"last_{wanted}")
    yield from _against_training([(windows, SpanSeries(profiles, spans))])


def table_drift(
    reference: Reference, current: Profile, *, start: datetime, end: datetime, metrics: Sequence[str] = DEFAULT_METRICS
) -> list[Signal]:
    """Return the drift of rows that are one window, whatever hours they came from.

    A column without a usable value on either side has not drifted; it is not known.
    """
    signals: list[Signal] = []
    for name, entry in reference.columns.items():
        profile = current.columns[name]
        absence = None
        if not _usable_rows(entry.profile) and not _usable_rows(profile):
            absence = (Absence.UNDEFINED, "neither table has a usable value in this column")
        windows = _Windows(reference, [(start, end)], [absence], tuple(metrics))
        signals += _column_signals(windows, entry, windows.expected(entry), as_windows(profile), _OneWindow(current))
    return signals


@dataclass(frozen=True, slots=True)
class _OneWindow:
    profile: Profile

    def unseen_names(self, column: str, _: int) -> Mapping[str, int]:
        return dict(self.profile.columns[column].unseen)


def _usable_rows(profile: ColumnProfile) -> int:
    return int(profile.counts.sum()) + profile.unseen_rows


def _window_absence(
    rows: Mapping[datetime, int],
    served: Mapping[datetime, int],
    traffic: Mapping[datetime, int],
    span: Span,
    min_rows: int,
) -> Why:
    """Return why `rows` of a window are not measured: a segment warms up with its version, whose rows `served` are."""
    hours = hours_of(span)
    described = {at: served[at] for at in hours if at in served}
    if (why := warming_up(described, traffic, start=span[0], length=len(hours))) is not None:
        return why
    found = sum(rows.get(at, 0) for at in hours)
    if found == 0:
        return Absence.EMPTY_HOUR, "no prediction was logged"
    if found < min_rows:
        fix = "Raise the traffic that is logged, or lower drift.min_rows."
        return Absence.TOO_FEW_ROWS, f"{found} rows, drift needs {min_rows}. {fix}"
    return None


@dataclass(frozen=True, slots=True)
class _Windows:
    """Windows that are measured together, and what their signals have in common."""

    reference: Reference
    spans: Sequence[Span]
    absences: Sequence[Why]
    metrics: tuple[str, ...]
    segment: str = ""
    baseline: str = TRAINING
    span: str = ""

    @property
    def length(self) -> timedelta:
        start, end = self.spans[0]
        return end - start

    def expected(self, entry: ColumnReference) -> ColumnWindows:
        """Return what a column is held against; which categories came once is known of all rows only."""
        whole = not self.segment
        return expected_windows(entry.column, entry.profile) if whole else as_windows(entry.profile)

    def entries(self) -> list[ColumnReference]:
        """Return the columns that are served; the label is not one of them."""
        return [entry for entry in self.reference.columns.values() if entry.column.role is not ColumnRole.LABEL]


_Unseen = SpanSeries | _OneWindow


def _column_signals(
    windows: _Windows, entry: ColumnReference, reference: ColumnWindows, current: ColumnWindows, unseen: _Unseen
) -> Iterator[Signal]:
    name = entry.column.name
    pair = Pair(entry.column, reference, current)
    rows = pair.rows.tolist()
    nothing = Absence.UNDEFINED, f"no usable value of {name!r} in the window or in what it is held against"
    for metric, found in measured(pair, windows.metrics).items():
        values, p_values = found.values.tolist(), _p_values(found)
        highs = None if found.high is None else found.high.tolist()
        finite = zip(windows.absences, np.isfinite(found.values).tolist(), strict=True)
        whys = [why or (None if known else nothing) for why, known in finite]
        details = _details(pair, [why is None for why in whys], unseen) if metric == "psi" else None
        shared = partial(
            Signal,
            metric=f"drift.{metric}",
            model=windows.reference.model,
            version=windows.reference.version,
            unit=METRICS[metric].unit,
            column=name,
            segment=windows.segment,
            baseline=windows.baseline,
            span=windows.span,
        )
        for index, (start, end) in enumerate(windows.spans):
            place = {"window_start": start, "window_end": end, "rows": rows[index]}
            if (why := whys[index]) is not None:
                yield shared(**place, absence=why[0], reason=why[1])
                continue
            yield shared(
                **place,
                value=values[index],
                low=values[index] if highs else None,
                high=highs[index] if highs else None,
                p_value=p_values[index] if p_values else None,
                detail=details[index] if details else {},
            )


def _p_values(found: Measured) -> list[float] | None:
    if found.p_values is None:
        return None
    # Where rows are too few for theory to say anything, nothing speaks against chance.
    values: list[float] = np.where(np.isfinite(found.p_values), found.p_values, 1.0).tolist()
    return values


def _details(pair: Pair, wanted: Sequence[bool], unseen: _Unseen) -> list[dict[str, object]]:
    """Return of every wanted window the coarse bins that make most of the PSI, and the unseen categories by name."""
    order = np.argsort(-pair.contributions, axis=-1, kind="stable")[:, :MOST_MOVED]
    sides = pair.contributions, *(np.broadcast_to(side, pair.contributions.shape) for side in pair.smoothed)
    largest = zip(order.tolist(), *(np.take_along_axis(side, order, axis=-1).tolist() for side in sides), strict=True)
    names = [bin_name(pair.column.bins, place) for place in range(pair.contributions.shape[-1])]
    found: list[dict[str, object]] = [{} for _ in wanted]
    for index, bins in enumerate(largest):
        if not wanted[index]:
            continue
        found[index]["bins"] = [
            {
                "bin": names[place],
                "contribution": round(contribution, 6),
                "reference": round(before, 6),
                "current": round(now, 6),
                "direction": "up" if now > before else "down",
            }
            for place, contribution, before, now in zip(*bins, strict=True)
            if contribution > 0
        ]
        if pair.current.unseen[index]:  # most have none, and looking for their names takes as long as all the rest
            new = unseen.unseen_names(pair.column.name, index)
            found[index]["unseen"] = dict(list(new.items())[:MOST_MOVED])
    return found


def bin_name(bins: Bins, place: int) -> str:
    """Return what a coarse bin holds, as a person reads it; the last two are what was never seen, and nulls."""
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
