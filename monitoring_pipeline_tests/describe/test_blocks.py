"""What the reference's own blocks say of ordinary change."""

import json
import math
from datetime import timedelta
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.blocks import (
    CALIBRATED,
    WEEK,
    BlockDistances,
    Calibration,
    calibrate,
    calibration_from_json,
    calibration_to_json,
    same_hours_name,
)
from monitoring_pipeline.describe.columns import Column, ColumnKind, ColumnRole
from monitoring_pipeline.describe.distances import Pair, as_windows, measured
from monitoring_pipeline.describe.profiles import HourlyProfiles, Profile, rows_by_hour
from monitoring_pipeline.describe.reference_building import ColumnSpec
from monitoring_pipeline_tests.traffic import VERSION, hour, log_rows, reference

DAY = timedelta(days=1)
ROWS = log_rows(2400, seed=1, hours=72)
TENURE = (ColumnSpec("tenure", ColumnRole.FEATURE, ColumnKind.NUMERIC),)


def calibration(rows: pa.Table, *windows: timedelta, column: str = "tenure") -> Calibration:
    return reference(rows, time="predicted_at", windows=windows).columns[column].calibration


def test_a_window_is_calibrated_when_the_reference_holds_two_blocks_of_it() -> None:
    found = calibration(ROWS, HOUR, DAY, 36 * HOUR, 48 * HOUR)
    assert {metric: list(by_window) for metric, by_window in found.items()} == {
        metric: ["1h", "24h", "36h"] for metric in CALIBRATED if metric != "l_infinity"
    }
    day = found["psi"]["24h"]
    assert (day.independent, day.largest > 0) == (3.0, True)


def test_categories_are_calibrated_by_the_distances_that_need_no_order() -> None:
    assert set(calibration(ROWS, DAY, column="plan")) == {"psi", "js", "js_distance", "hellinger", "l_infinity"}


def test_without_windows_or_times_nothing_is_calibrated() -> None:
    assert calibration(ROWS) == {}
    nowhere = ROWS.set_column(1, "predicted_at", pa.nulls(2400, pa.timestamp("us", tz="UTC")))
    assert calibration(nowhere, HOUR, DAY) == {}
    assert reference(nowhere, time="predicted_at", windows=[HOUR]).rows == 2400


def test_a_stretch_without_rows_makes_no_block() -> None:
    later = log_rows(800, seed=2, at=24 * 300, hours=24)
    gap = calibration(pa.concat_tables([ROWS, later]), HOUR, DAY)["psi"]["24h"]
    assert 4 <= gap.independent < 7


def test_a_constant_column_is_calibrated_at_nothing() -> None:
    rows = ROWS.set_column(ROWS.column_names.index("tenure"), "tenure", pa.array([3.7] * 2400))
    assert calibration(rows, DAY)["psi"]["24h"].largest < 1e-9


def test_rows_that_remember_are_worth_fewer_than_rows_that_do_not() -> None:
    independent = calibration(ROWS, DAY)["psi"]["24h"].inflation
    level = np.repeat(np.random.default_rng(3).normal(0, 20, 3), 800)
    restless = log_rows(2400, seed=1, hours=72, tenure=ROWS["tenure"].to_numpy() + level)
    assert 1 <= independent < 2
    assert calibration(restless, DAY)["psi"]["24h"].inflation > 20
    assert math.isnan(calibration(ROWS, DAY)["js"]["24h"].inflation)


@pytest.mark.parametrize("metric", ["psi", "js", "js_distance", "hellinger", "ks"])
def test_what_chance_alone_does_to_a_distance_is_not_taken_for_a_level(metric: str) -> None:
    rows = log_rows(30_000, seed=7, hours=30 * 24)
    day = calibration(rows, DAY)[metric]["24h"]
    shift = np.repeat(np.random.default_rng(3).normal(0, 3, 30), 1000)
    moving = log_rows(30_000, seed=7, hours=30 * 24, tenure=rows["tenure"].to_numpy() + shift)
    restless = calibration(moving, DAY)[metric]["24h"]
    assert 0 < day.level < day.noise < 0.02
    assert restless.level > 10 * day.level
    assert restless.noise == pytest.approx(day.noise, rel=0.5)


def hourly(rows: pa.Table) -> tuple[Column, HourlyProfiles]:
    column = reference(rows, TENURE).columns["tenure"].column
    parts = rows_by_hour(rows, time="predicted_at")
    return column, {at: Profile.of(part, VERSION, {"tenure": column}) for at, part in parts.items()}


def furthest(column: Column, profiles: HourlyProfiles, length: int, *, weeks_apart: bool) -> float:
    """Return how far the furthest block lies from all other hours, or from the same hours of the other weeks."""
    largest = 0.0
    first, last = min(profiles), max(profiles)
    starts = [first + step * HOUR for step in range(round((last - first) / HOUR) + 2 - length)]
    for start in starts:
        block = {start + step * HOUR for step in range(length)}
        rest = set(profiles) - block
        if weeks_apart:
            shifts = range(-4, 5)
            whole = [shift for shift in shifts if shift and start + shift * WEEK in starts]
            rest = {at + shift * WEEK for at in block for shift in whole}
        sides = [
            reduce(Profile.merge, [profiles[at] for at in sorted(hours)], Profile.empty(VERSION, {"tenure": column}))
            for hours in (rest, block)
        ]
        pair = Pair(column, *(as_windows(side.columns["tenure"]) for side in sides))
        largest = max(largest, float(measured(pair, ["psi"])["psi"].values[0]))
    return largest


def nightly(days: int, *, per_hour: int = 8) -> pa.Table:
    """Rows whose values are twice as large for six hours of every night."""
    rows = log_rows(days * 24 * per_hour, seed=5, hours=days * 24)
    at_night = (np.arange(rows.num_rows) // per_hour) % 24 < 6
    values = rows["tenure"].to_numpy() * np.where(at_night, 2.0, 1.0)
    return rows.set_column(rows.column_names.index("tenure"), "tenure", pa.array(values))


@pytest.mark.parametrize("weeks_apart", [False, True])
def test_blocks_are_held_against_all_other_hours_or_the_same_hours_of_other_weeks(weeks_apart: bool) -> None:
    column, profiles = hourly(nightly(21))
    found = calibrate(column, profiles, [6 * HOUR], metrics=["psi"], recurring=True)
    name = same_hours_name(6 * HOUR) if weeks_apart else "6h"
    expected = furthest(column, profiles, 6, weeks_apart=weeks_apart)
    assert found["psi"][name].largest == pytest.approx(expected, rel=1e-9)


def test_a_night_that_differs_from_the_day_is_ordinary_beside_other_nights() -> None:
    column, profiles = hourly(nightly(28, per_hour=60))
    found = calibrate(column, profiles, [6 * HOUR], metrics=["psi"], recurring=True)["psi"]
    assert found["6h"].largest > 5 * found["6h same hours"].largest


@pytest.mark.parametrize(
    ("days", "window", "known"), [(20, 6, False), (21, 6, True), (28, 168, True), (28, 192, False)]
)
def test_three_weeks_calibrate_the_same_hours_of_windows_up_to_a_week(days: int, window: int, known: bool) -> None:
    column, profiles = hourly(nightly(days))
    length = window * HOUR
    found = calibrate(column, profiles, [length], metrics=["psi"], recurring=True).get("psi", {})
    assert (same_hours_name(length) in found) is known
    plain = calibrate(column, profiles, [length], metrics=["psi"])
    assert all("same hours" not in name for name in plain.get("psi", {}))


def test_a_calibration_comes_back_from_json_with_what_is_not_known() -> None:
    known = BlockDistances(4.4, -3.0, 0.25, 0.2, 7.5, 0.01, 0.04)
    unknown = BlockDistances(4.4, -3.0, 0.25, 0.2)
    stored = json.dumps(calibration_to_json({"psi": {"24h": known}, "js": {"7d": unknown}}), allow_nan=False)
    again = calibration_from_json(json.loads(stored))
    assert again["psi"]["24h"] == known
    assert math.isnan(again["js"]["7d"].inflation)
    assert again["js"]["7d"].largest == 0.2


def test_hours_that_were_never_described_calibrate_nothing() -> None:
    column, _ = hourly(ROWS)
    assert calibrate(column, {}, [HOUR]) == {}
    assert calibrate(column, {hour(0): Profile.empty(VERSION, {"tenure": column})}, [HOUR]) == {}
