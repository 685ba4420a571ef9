"""A trailing window is the merge of its hours, and the same to the bit in whatever range of hours it is computed."""

from dataclasses import fields
from datetime import datetime
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.profiles import ColumnProfile, ColumnWindows, Profile, ProfileSeries
from monitoring_pipeline_tests.traffic import VERSION, column, hour

SPECS = {
    "x": column("x", np.random.default_rng(0).normal(size=500)),
    "plan": column("plan", ["basic", "basic", "pro"], ColumnKind.CATEGORICAL),
}
REACH = 50
LENGTHS = [1, 3, 23, 24, 25, 48, REACH]
ROUNDING = 1e-12
"""Of sums: floats are not added up in the order of the hours."""


def hourly(seed: int) -> dict[datetime, Profile]:
    """Three days of hours: some empty, some not described at all."""
    generator = np.random.default_rng(seed)
    profiles = {}
    for number in range(-REACH, 72):
        if generator.random() < 0.15:
            continue
        size = int(generator.integers(0, 30)) if generator.random() < 0.8 else 0
        rows = {
            "x": np.where(generator.random(size) < 0.1, np.nan, generator.normal(size=size) / 3),
            "plan": generator.choice(["basic", "pro", "new", f"new {number}"], size).tolist(),
        }
        table = pa.table(rows | {"plan": pa.array(rows["plan"], pa.string())})
        profiles[hour(number)] = Profile.of(table, VERSION, SPECS)
    return profiles


def window(profiles: dict[datetime, Profile], end: int, length: int) -> Profile:
    parts = [profiles[at] for at in map(hour, range(end - length + 1, end + 1)) if at in profiles]
    return reduce(Profile.merge, parts, Profile.empty(VERSION, SPECS))


def bits(windows: ColumnWindows, index: int) -> list[bytes]:
    return [np.ascontiguousarray(getattr(windows, entry.name)[index]).tobytes() for entry in fields(windows)]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("seed", range(3))
def test_a_trailing_window_is_the_merge_of_its_hours(seed: int, length: int) -> None:
    profiles = hourly(seed)
    numbers = [0, 5, 6, 40, 71, 12]  # neither consecutive nor in order
    series = ProfileSeries(profiles, [hour(number) for number in numbers], reach=REACH)
    for index, number in enumerate(numbers):
        merged = window(profiles, number, length)
        described = sum(hour(at) in profiles for at in range(number - length + 1, number + 1))
        assert (series.rows(length)[index], series.described(length)[index]) == (merged.rows, described)
        for name, spec in SPECS.items():
            windows, expected = series.column(spec, length), merged.columns[name]
            assert (windows.counts[index] == expected.counts).all()
            assert windows.sums[index] == pytest.approx(expected.sums, rel=ROUNDING, abs=ROUNDING)
            assert windows.squares[index] == pytest.approx(expected.squares, rel=ROUNDING)
            assert windows.nulls[index] == expected.nulls
            assert windows.unseen[index] == expected.unseen_rows
            assert windows.rows[index] == expected.rows
            assert series.unseen_names(name, index, length) == dict(expected.unseen)


@pytest.mark.parametrize("length", LENGTHS)
def test_an_hour_is_the_same_bits_in_every_range_it_is_computed_in(length: int) -> None:
    profiles = hourly(seed=9)
    alone = ProfileSeries(profiles, [hour(30)], reach=length)
    for first, last in ((30, 30), (0, 30), (30, 71), (0, 71), (17, 44), (24, 48)):
        hours = [hour(number) for number in range(first, last + 1)]
        for reach in (length, REACH):
            series = ProfileSeries(profiles, hours, reach=reach)
            for spec in SPECS.values():
                assert bits(series.column(spec, length), 30 - first) == bits(alone.column(spec, length), 0)


def test_a_column_that_was_not_described_then_counts_as_no_rows() -> None:
    profiles = {hour(0): Profile.of(pa.table({"x": [1.0, 2.0]}), VERSION, {"x": SPECS["x"]})}
    windows = ProfileSeries(profiles, [hour(0)], reach=1).column(SPECS["plan"], 1)
    assert windows.rows.tolist() == [0]
    assert ColumnProfile.empty(SPECS["plan"].bins).rows == 0
