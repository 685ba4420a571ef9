"""Quality of the columns: missing, unusable, unheard-of and far-out values, and how mean and spread moved.

Metrics: `quality.` and a key of `MEASURES`, of every feature, the score and the prediction. `baseline_value` is what
the reference itself reaches in windows of this length; limits count from there, so that a column that was 40 % null is
well at 40 %. `low` and `high` are 95 % intervals, those of `quality.distinct_change` four standard errors. Add a
measure to `MEASURES`. Keep limits out: they belong in judge.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import gammaln

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import CategoricalBins, ColumnRole, FloatArray, IntArray
from monitoring_pipeline.describe.distances import as_windows
from monitoring_pipeline.describe.hours import hours_by_version, profiles_of_version
from monitoring_pipeline.describe.profiles import ColumnWindows, HourlyProfiles, Profile, ProfileSeries
from monitoring_pipeline.describe.references import ColumnReference, Reference, UsualRanges
from monitoring_pipeline.describe.usual_ranges import (
    NUMBERS,
    SHARES,
    applies,
    expected_distinct,
    rarely_constant,
    usual_range,
)
from monitoring_pipeline.evaluate.signals import Absence, Signal, warming_up
from monitoring_pipeline.stats.intervals import normal_quantile, wilson_interval

TAIL_LENGTHS = 3.0
"""How many times as far as from its 99th percentile to its maximum the reference's tail is taken to go on.

Of windows with a tenth of the reference's 10,000 rows and no change, 2 % go further where values are Cauchy's, 0.2 % of
Student's t with 3 degrees and none in 2,000 of log-normal, exponential and normal ones.
"""

KURTOSIS = 9.0
"""Of the exponential distribution: how far the variance of a column with long tails strays by chance."""

CHANCE = 1e-4
"""A column that never had a missing value has one for certain when chance explains it less often than this."""

HIGH_NULL_RATE = 0.10
"""Beyond the usual; between the limits of a warning and of critical, and said in words."""


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """Windows to evaluate, how many rows make a number worth saying, and columns that must never be missing."""

    windows: tuple[timedelta, ...]
    min_rows: int = 30
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """One column over windows of one length: what they hold, between which values, and what is usual."""

    entry: ColumnReference
    windows: ColumnWindows
    lows: FloatArray
    highs: FloatArray
    new_names: IntArray
    ranges: Mapping[str, Mapping[str, tuple[float, float]]]
    length: timedelta
    required: bool

    def usual(self, name: str, otherwise: float) -> tuple[float, float]:
        """Return the reference's range, which always holds what it is as a whole."""
        low, high = usual_range(self.ranges, name, self.length) or (otherwise, otherwise)
        return min(low, otherwise), max(high, otherwise)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A measure by window; NaN where it is not defined."""

    values: FloatArray
    baseline: FloatArray | float | None = None
    low: FloatArray | None = None
    high: FloatArray | None = None
    p_values: FloatArray | None = None
    words: Callable[[int], str] | None = None
    detail: Callable[[int], Mapping[str, object]] | None = None


def _share(name: str) -> Callable[[_Column], _Found | None]:
    def measure(column: _Column) -> _Found | None:
        if not applies(column.entry, name):
            return None
        hits, trials = SHARES[name](column.entry, column.windows)
        known, of = (int(part[0]) for part in SHARES[name](column.entry, as_windows(column.entry.profile)))
        reference = known / of if of else 0.0
        bins = column.entry.column.bins
        if name == "unseen_share" and isinstance(bins, CategoricalBins):
            reference = max(reference, bins.singletons / max(of, 1))  # as many again will be new (Good 1953)
        low, high = wilson_interval(hits, trials)
        baseline = column.usual(name, reference)[1]
        values = hits / np.where(trials > 0, trials, np.nan)
        words = (lambda at: _missing(float(values[at]), baseline)) if name == "null_rate" else None
        return _Found(values, baseline, low, high, words=words, detail=lambda _: {"reference": round(reference, 6)})

    return measure


def _missing(rate: float, usual: float) -> str:
    high = "high: " if rate - usual > HIGH_NULL_RATE else ""
    return f"{high}{rate:.1%} of the values are missing, at most {usual:.1%} usually are" if rate > usual else ""


def _required_null_rate(column: _Column) -> _Found | None:
    """Missing values where there must be none: by the settings, or since the reference has none.

    For a column that only never happened to have any, `p_value` says how often all of them would come after the
    reference by chance, and `low` is 0 unless that is rare.
    """
    nulls, rows = column.windows.nulls, column.windows.rows
    before = column.entry.profile.rows
    if not column.required and (column.entry.profile.nulls or not before):
        return None
    low, high = wilson_interval(nulls, rows)
    values = nulls / np.where(rows > 0, rows, np.nan)

    def words(at: int) -> str:
        return f"{nulls[at]} of {rows[at]} values are missing in a column that must have all" if nulls[at] else ""

    if column.required:
        return _Found(values, 0.0, low, high, words=words)
    everything = before + rows
    logarithm = gammaln(rows + 1) - gammaln(rows - nulls + 1) + gammaln(everything - nulls + 1)
    p_values = np.exp(np.minimum(logarithm - gammaln(everything + 1), 0.0))
    return _Found(values, 0.0, np.where(p_values <= CHANCE, low, 0.0), high, p_values, words)


def _mean_shift(column: _Column) -> _Found | None:
    if not applies(column.entry, "mean_shift"):
        return None
    signed = NUMBERS["mean_shift"](column.entry, column.windows)
    low, high = column.usual("mean_shift", 0.0)
    spread = np.sqrt(NUMBERS["variance_ratio"](column.entry, column.windows))
    half = normal_quantile(0.95) * spread / np.sqrt(np.maximum(column.windows.counts.sum(axis=-1), 1))
    size = np.abs(signed)
    baseline = np.where(signed > 0, high, -low)
    return _Found(size, baseline, size - half, size + half, detail=lambda at: {"shift": round(float(signed[at]), 6)})


def _variance_ratio(column: _Column) -> _Found | None:
    """Variance over the nearest that is usual: 1 is usual."""
    if not applies(column.entry, "variance_ratio"):
        return None
    ratio = NUMBERS["variance_ratio"](column.entry, column.windows)
    nearest = np.clip(ratio, *column.usual("variance_ratio", 1.0))
    rows = np.maximum(column.windows.counts.sum(axis=-1), 1)
    times = np.exp(normal_quantile(0.95) * np.sqrt((KURTOSIS - 1) / rows))
    values = ratio / nearest

    def detail(at: int) -> dict[str, object]:
        return {"variance_of_reference": round(float(ratio[at]), 9)}

    return _Found(values, nearest, values / times, values * times, detail=detail)


def _range(side: str) -> Callable[[_Column], _Found | None]:
    def measure(column: _Column) -> _Found | None:
        """How far the lowest or highest value lies beyond the reference's; its own tail is usual.

        The maximum of more rows is larger: what is usual grows with the rows where they exceed the reference's.
        """
        entry = column.entry
        if not applies(entry, "out_of_range_share"):
            return None
        scale, quantiles = getattr(entry.column.bins, "scale", np.nan), entry.summary["quantiles"]
        if side == "low":
            known, tail = entry.profile.low, quantiles["0.01"] - entry.profile.low
            seen = column.lows
            beyond = known - seen
        else:
            known, tail = entry.profile.high, entry.profile.high - quantiles["0.99"]
            seen = column.highs
            beyond = seen - known
        values = np.where(np.isfinite(seen), np.maximum(beyond, 0.0) / scale, np.nan)
        growth = np.maximum(column.windows.rows / max(entry.profile.rows, 1), 1.0)
        name = "lowest" if side == "low" else "highest"

        def words(at: int) -> str:
            return f"the {name} value is {seen[at]:.6g}, of the reference it is {known:.6g}" if values[at] else ""

        return _Found(
            values,
            TAIL_LENGTHS * growth * max(tail, 0.0) / scale,
            words=words,
            detail=lambda at: {name: float(seen[at]), "reference": known},
        )

    return measure


def _distinct_change(column: _Column) -> _Found | None:
    """Distinct values over the nearest usual number for as many rows, less 1; new ones count."""
    if not applies(column.entry, "distinct_ratio"):
        return None
    expected, spread = (np.asarray(part) for part in expected_distinct(column.entry, column.windows))
    expected = np.where(expected > 0, expected, np.nan)
    ratio = NUMBERS["distinct_ratio"](column.entry, column.windows) + column.new_names / expected
    nearest = np.clip(ratio, *column.usual("distinct_ratio", 1.0))
    values, error = ratio / nearest - 1, 4 * spread / expected / nearest

    def detail(at: int) -> dict[str, object]:
        return {"distinct": round(float((ratio * expected)[at]))}

    return _Found(values, 0.0, values - error, values + error, detail=detail)


def _constant(column: _Column) -> _Found | None:
    """1 where a column that has several values has one; `baseline_value` is 1 where that is usual, or chance."""
    if not applies(column.entry, "constant"):
        return None
    values = NUMBERS["constant"](column.entry, column.windows)
    usual = np.maximum(column.usual("constant", 0.0)[1] > 0, 1 - rarely_constant(column.entry, column.windows))
    return _Found(values, usual, words=lambda at: "every value is the same" if values[at] else "")


@dataclass(frozen=True, slots=True)
class Measure:
    """How a measure of quality is taken (None: it means nothing for the column), and its unit."""

    of: Callable[[_Column], _Found | None]
    unit: str = "1"


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {name: Measure(_share(name)) for name in SHARES}
    | {
        "required_null_rate": Measure(_required_null_rate),
        "mean_shift": Measure(_mean_shift, "sd"),
        "variance_ratio": Measure(_variance_ratio),
        "below_range": Measure(_range("low"), "sd"),
        "above_range": Measure(_range("high"), "sd"),
        "distinct_change": Measure(_distinct_change),
        "constant": Measure(_constant),
    }
)
"""Every measure of a column's quality, by its name in signals."""

NEED_RANGES = frozenset({"variance_ratio", "distinct_change", "constant"})
"""Measures that say nothing without ranges: the hour of the day is constant in every hour."""

UNRANGED = (Absence.UNDEFINED, "the reference has no two stretches of time to learn from what is usual in a window")


def quality_by_version(
    model: str,
    profiles: Mapping[datetime, Sequence[Profile]],
    references: Mapping[str, Reference],
    usual: Mapping[str, UsualRanges],
    hours: Sequence[datetime],
    policy: QualityPolicy,
) -> list[Signal]:
    """Return the quality of the columns of every version that served in a window; `usual` is by version too."""
    served = {
        hour: {entry.version: entry.rows for entry in entries if not entry.segment}
        for hour, entries in profiles.items()
    }
    traffic = {hour: sum(counts.values()) for hour, counts in served.items()}
    signals: list[Signal] = []
    for version, own_hours in hours_by_version(served, hours, reach=max(policy.windows)).items():
        if version in references:
            own = profiles_of_version(profiles, references[version])
            signals += quality_signals(references[version], own, usual.get(version, {}), own_hours, policy, traffic)
            continue
        why = (Absence.NO_REFERENCE, f"{model} v{version} has no reference: what is usual in it is not known")
        places = [_place(model, version, hour, HOUR) for hour in own_hours]
        signals += (_absent("null_rate", place, why, "", 0) for place in places)
    return signals


def quality_signals(
    reference: Reference,
    profiles: HourlyProfiles,
    usual: UsualRanges,
    hours: Sequence[datetime],
    policy: QualityPolicy,
    traffic: Mapping[datetime, int],
) -> list[Signal]:
    """Return the quality of one version's columns for each of `hours` and each window that ends with it.

    `traffic` counts the predictions of all versions by hour.
    """
    rows = {hour: profile.rows for hour, profile in profiles.items()}
    entries = [entry for entry in reference.columns.values() if entry.column.role is not ColumnRole.LABEL]
    signals: list[Signal] = []
    for window in policy.windows:
        length = round(window / HOUR)
        places = [_place(reference.model, reference.version, hour, window) for hour in hours]
        whys = [_why(rows, traffic, place["window_start"], length, policy.min_rows) for place in places]
        series = ProfileSeries(profiles, hours, reach=length)
        for entry in entries:
            column = _column(entry, series, profiles, hours, usual, window, policy)
            signals += _column_signals(column, places, whys)
    return signals


def _place(model: str, version: str, hour: datetime, window: timedelta) -> dict[str, Any]:
    return {"model": model, "version": version, "window_start": hour + HOUR - window, "window_end": hour + HOUR}


def _why(
    rows: Mapping[datetime, int], traffic: Mapping[datetime, int], start: datetime, length: int, min_rows: int
) -> tuple[Absence, str] | None:
    described = {at: rows[at] for step in range(length) if (at := start + step * HOUR) in rows}
    if (why := warming_up(described, traffic, start=start, length=length)) is not None:
        return why
    if (found := sum(described.values())) == 0:
        return Absence.EMPTY_HOUR, "no prediction was logged"
    if found < min_rows:
        return Absence.TOO_FEW_ROWS, f"{found} rows, {min_rows} are needed (quality.min_rows)"
    return None


def _column(
    entry: ColumnReference,
    series: ProfileSeries,
    profiles: HourlyProfiles,
    hours: Sequence[datetime],
    usual: UsualRanges,
    window: timedelta,
    policy: QualityPolicy,
) -> _Column:
    name, length = entry.column.name, round(window / HOUR)
    windows = series.column(entry.column, length)
    new = [len(series.unseen_names(name, at, length)) if unseen else 0 for at, unseen in enumerate(windows.unseen)]
    lows = -_trailing_maximum({hour: -profile.columns[name].low for hour, profile in profiles.items()}, hours, length)
    highs = _trailing_maximum({hour: profile.columns[name].high for hour, profile in profiles.items()}, hours, length)
    required = name in policy.required or entry.column.read_from in policy.required
    return _Column(entry, windows, lows, highs, np.array(new), usual.get(name, {}), window, required)


def _trailing_maximum(values: Mapping[datetime, float], hours: Sequence[datetime], length: int) -> FloatArray:
    """Return the largest value in `length` hours up to each of `hours`, -inf where there is none."""
    first, last = min(hours) - (length - 1) * HOUR, max(hours)
    axis = [values.get(first + step * HOUR, -np.inf) for step in range(round((last - first) / HOUR) + 1)]
    largest = np.lib.stride_tricks.sliding_window_view(np.array(axis), length).max(axis=-1)
    return np.asarray(largest[[round((hour - min(hours)) / HOUR) for hour in hours]])


def _column_signals(
    column: _Column, places: Sequence[dict[str, Any]], whys: Sequence[tuple[Absence, str] | None]
) -> Iterator[Signal]:
    name = column.entry.column.name
    for metric, measure in MEASURES.items():
        failed, unranged = None, UNRANGED if metric in NEED_RANGES and not column.ranges else None
        try:
            found = measure.of(column)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this measure of this column only
            found, failed = _Found(np.full(len(places), np.nan)), f"{type(error).__name__}: {error}"
        if found is None:
            continue
        for at, (place, why) in enumerate(zip(places, whys, strict=True)):
            rows = int(column.windows.rows[at])
            if failed is not None:
                why = why or (Absence.FAILED, failed)
            elif not np.isfinite(found.values[at]):
                why = why or (Absence.UNDEFINED, f"no usable value of {name!r} in the window")
            why = why or unranged
            if why:
                yield _absent(metric, place, why, name, rows)
                continue
            yield Signal(
                metric=f"quality.{metric}",
                **place,
                value=float(found.values[at]),
                unit=measure.unit,
                rows=rows,
                low=_at(found.low, at),
                high=_at(found.high, at),
                column=name,
                baseline_value=_at(found.baseline, at),
                p_value=_at(found.p_values, at),
                reason=found.words(at) if found.words else "",
                detail=dict(found.detail(at)) if found.detail else {},
            )


def _at(values: FloatArray | float | None, at: int) -> float | None:
    if values is None:
        return None
    value = float(values) if isinstance(values, float) else float(values[at])
    return value if np.isfinite(value) else None


def _absent(metric: str, place: Mapping[str, Any], why: tuple[Absence, str], column: str, rows: int) -> Signal:
    unit = MEASURES[metric].unit
    return Signal(f"quality.{metric}", **place, absence=why[0], reason=why[1], unit=unit, column=column, rows=rows)
