"""How far the reference lies from itself: contiguous blocks of it against the rest, the scale of ordinary change.

Add what is learnt from blocks of the reference here. Keep thresholds out: they belong in judge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring_pipeline.capture.windows import HOUR, window_name
from monitoring_pipeline.describe.columns import Column, FloatArray
from monitoring_pipeline.describe.distances import Pair, measured
from monitoring_pipeline.describe.profiles import ColumnWindows, HourlyProfiles, HourlyTotals, ProfileSeries, all_hours
from monitoring_pipeline.stats.block_limits import block_moments
from monitoring_pipeline.stats.divergence_moments import Divergence, null_moments

CALIBRATED = (
    "psi",
    "js",
    "js_distance",
    "hellinger",
    "l_infinity",
    "ks",
    "wasserstein",
    "wasserstein_normalised",
    "mean_shift",
)
"""Distances with block calibration."""

SQUARES = frozenset({"psi", "js"})
"""Distances that grow with the square of a small shift; the others grow with the shift and are squared."""

SUMS: Mapping[str, tuple[Divergence, float]] = {
    "psi": ("psi", 1.0),
    "js": ("jensen_shannon", 8.0),
    "js_distance": ("jensen_shannon", 8.0 * float(np.log(2))),
    "hellinger": ("hellinger", 8.0),
}
"""What chance alone makes of a squared distance is known: as a divergence, and what that has to be divided by."""

WEEK = timedelta(weeks=1)

FEWEST_WEEKS = 3
"""An hour of the week is calibrated against the same hour of at least two other weeks."""


@dataclass(frozen=True, slots=True)
class BlockDistances:
    """How far contiguous blocks of the reference lie from the rest of it.

    independent: how many blocks fit side by side. mean, variance: as `stats.block_limits.block_moments` gives
    them. largest: the largest distance. inflation: how many times as far the blocks lie apart as independent rows
    would, so that rows / inflation is the effective sample size; NaN where that is not known. noise, level: as
    `stats.block_limits.block_limit_from_level` takes them.
    """

    independent: float
    mean: float
    variance: float
    largest: float
    inflation: float = float("nan")
    noise: float = 0.0
    level: float = float("nan")


Calibration = Mapping[str, Mapping[str, BlockDistances]]
"""Block distances by metric and by the name of window (and baseline, where it is not the training rows)."""


def calibrate(
    column: Column,
    hourly: HourlyProfiles,
    windows: Sequence[timedelta],
    *,
    metrics: Sequence[str] = CALIBRATED,
    recurring: bool = False,
) -> Calibration:
    """Return the distances of the reference's own blocks from the rest of it.

    Every block of consecutive hours is held against all other hours (leave one block out). Real columns are
    autocorrelated, so a week of one spring lies far from the month it is part of: the block distances say how far
    without any change. A window needs two independent blocks, or it is not calibrated; stretches without rows, such as
    a gap between two months, make no block. With `recurring` each block is also held against the same hours of the
    other weeks.
    """
    calibration: dict[str, dict[str, BlockDistances]] = {}
    if not hourly:
        return {}
    hours = all_hours(hourly)
    totals = HourlyTotals(hourly, hours[0], hours[-1])
    whole = ProfileSeries(totals, hours[-1:], reach=len(hours)).column(column, len(hours))
    for window in windows:
        length = round(window / HOUR)
        if len(hours) < 2 * length:
            continue
        blocks = ProfileSeries(totals, hours[length - 1 :], reach=length).column(column, length)
        rests = {window_name(window): combined(whole, blocks, -1)}
        if recurring and window <= WEEK and len(hours) * HOUR >= FEWEST_WEEKS * WEEK:
            rests[same_hours_name(window)] = _other_weeks(blocks)
        for name, rest in rests.items():
            for metric, entry in block_distances(column, rest, blocks, length, metrics).items():
                calibration.setdefault(metric, {})[name] = entry
    return calibration


def same_hours_name(window: timedelta) -> str:
    """Return the name a window's calibration against the same hours of other weeks goes by."""
    return f"{window_name(window)} same hours"


def combined(first: ColumnWindows, second: ColumnWindows, sign: int = 1) -> ColumnWindows:
    """Return the sum of two sets of windows, or with sign -1 the first without the second."""
    parts = (entry.name for entry in fields(ColumnWindows))
    return ColumnWindows(*(getattr(first, name) + sign * getattr(second, name) for name in parts))


def selected(windows: ColumnWindows, kept: Any) -> ColumnWindows:
    """Return some of the windows: those an index array or a mask names."""
    return ColumnWindows(*(getattr(windows, entry.name)[kept] for entry in fields(ColumnWindows)))


def with_rows(blocks: ColumnWindows) -> npt.NDArray[np.bool_]:
    """Return which windows have rows enough to be held against the others: nights are not held against days."""
    rows = blocks.rows
    return rows >= max(1.0, float(np.median(rows[rows > 0])) / 4) if rows.any() else rows > 0


def _other_weeks(blocks: ColumnWindows) -> ColumnWindows:
    """Return, for each block, the sum of the blocks a whole number of weeks before or after it."""
    count, week = len(blocks.nulls), round(WEEK / HOUR)
    rest = combined(blocks, blocks, -1)
    place = np.arange(count)
    for shift in range(-((count - 1) // week) * week, count, week):
        there = (place + shift >= 0) & (place + shift < count)
        if shift:
            for entry in fields(ColumnWindows):
                getattr(rest, entry.name)[there] += getattr(blocks, entry.name)[place[there] + shift]
    return rest


def block_distances(
    column: Column, rest: ColumnWindows, blocks: ColumnWindows, length: int, metrics: Sequence[str]
) -> dict[str, BlockDistances]:
    """Return, by metric, how far blocks of `length` hours lie from what is left; few rows make no block."""
    kept = with_rows(blocks) & (rest.rows > 0)
    independent = (int(kept.sum()) + length - 1) / length
    if independent < 2:
        return {}
    pair = Pair(column, selected(rest, kept), selected(blocks, kept))
    found = {}
    for metric, distances in measured(pair, metrics, tested=False).items():
        values = distances.values[np.isfinite(distances.values)]
        if len(values) >= 2:
            found[metric] = block_summary(metric, values, independent, *_by_chance(pair, metric))
    return found


def block_summary(
    metric: str, values: FloatArray, independent: float, noise: float = 0.0, own: float = 0.0
) -> BlockDistances:
    """Return what is kept of distances of which chance makes `own` in the direction the level moves in, and `noise`."""
    mean, variance = block_moments(values)
    square = float(np.mean(values if metric in SQUARES else np.square(values)))
    level = max(square - noise, own)
    inflation = max(square / (noise + own), 1.0) if metric == "psi" and own > 0 else float("nan")
    # A block far out is far out by chance too, the more so the less the level moves.
    noise *= 1 + (own / (2 * level) if level > 0 else 0.0)
    return BlockDistances(independent, float(mean), float(variance), float(values.max()), inflation, noise, level)


def _by_chance(pair: Pair, metric: str) -> tuple[float, float]:
    """Return what independent rows make of the mean squared distance: in all directions but one, and in that one."""
    rows, before = pair.usable if metric == "ks" else (pair.sizes["current_rows"], pair.sizes["reference_rows"])
    scale = float(np.mean(1 / np.maximum(rows, 1) + 1 / np.maximum(before, 1)))
    if metric == "ks":  # the mean of Kolmogorov's distribution squared, and the scale of its tail
        return (np.pi**2 / 12 - 1 / 4) * scale, scale / 4
    if metric not in SUMS:
        return 0.0, 0.0
    pooled = (pair.expected + pair.seen).mean(axis=0)
    degrees = int((pooled > 0).sum()) - 1
    if degrees < 1:
        return 0.0, 0.0
    divergence, factor = SUMS[metric]
    mean, _ = null_moments(divergence, pooled, reference_rows=before.mean(), current_rows=rows.mean())
    expected = float(mean) * scale / factor
    return expected * (1 - 1 / degrees), expected / degrees


def calibration_to_json(calibration: Calibration) -> dict[str, dict[str, list[float | None]]]:
    """Return plain lists; what is not known is null."""
    return {
        metric: {
            window: [None if np.isnan(value) else value for value in _values(blocks)]
            for window, blocks in by_window.items()
        }
        for metric, by_window in calibration.items()
    }


def calibration_from_json(document: Mapping[str, Mapping[str, Sequence[float | None]]]) -> Calibration:
    """Read what `calibration_to_json` wrote."""
    return {
        metric: {
            window: BlockDistances(*(float("nan") if value is None else value for value in values))
            for window, values in by_window.items()
        }
        for metric, by_window in document.items()
    }


def _values(blocks: BlockDistances) -> list[float]:
    return [getattr(blocks, entry.name) for entry in fields(BlockDistances)]
