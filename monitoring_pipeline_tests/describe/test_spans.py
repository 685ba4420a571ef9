"""Windows and what they are held against: never themselves, and always the sum of their hours."""

from collections.abc import Sequence
from datetime import timedelta
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.profiles import ColumnWindows, Profile
from monitoring_pipeline.describe.spans import (
    WEEK,
    Baseline,
    BaselineSeries,
    FixedPeriod,
    SameHoursOfWeek,
    Span,
    SpanSeries,
    TrailingWeeks,
    hours_of,
    last_rows_span,
)
from monitoring_pipeline_tests.traffic import VERSION, column, hour

DAY = timedelta(days=1)
LENGTHS = [HOUR, DAY, WEEK, 30 * DAY]
NUMBERS = st.integers(-2000, 2000)
PERIODS = st.builds(lambda first, length: FixedPeriod(hour(first), hour(first + length)), NUMBERS, st.integers(1, 1500))
BASELINES = st.builds(TrailingWeeks, st.integers(1, 6)) | st.builds(SameHoursOfWeek, st.integers(1, 6)) | PERIODS


@given(BASELINES, st.sampled_from(LENGTHS), NUMBERS)
def test_no_window_is_part_of_its_own_baseline(baseline: Baseline, length: timedelta, end: int) -> None:
    window = (hour(end) - length, hour(end))
    spans = baseline.spans(*window)
    hours = [at for span in spans for at in hours_of(span)]
    assert not set(hours) & set(hours_of(window))
    assert len(hours) == len(set(hours))
    assert all(start < end for start, end in spans)
    if not isinstance(baseline, FixedPeriod):
        assert all(window[0] - baseline.reach <= at < window[0] for at in hours)


@pytest.mark.parametrize("length", LENGTHS[:3])
def test_the_same_hours_of_the_week_are_those_of_the_weeks_before(length: timedelta) -> None:
    spans = SameHoursOfWeek(4).spans(hour(0) - length, hour(0))
    assert spans == [(hour(0) - length - back * WEEK, hour(0) - back * WEEK) for back in (4, 3, 2, 1)]


def test_more_than_a_week_has_no_same_hours_of_other_weeks() -> None:
    assert SameHoursOfWeek(4).spans(hour(0) - WEEK - HOUR, hour(0)) == []
    assert SameHoursOfWeek(4).spans(hour(0) - 30 * DAY, hour(0)) == []


@pytest.mark.parametrize(
    ("window", "spans"),
    [
        ((200, 224), [(0, 100)]),
        ((-50, -26), [(0, 100)]),
        ((90, 114), [(0, 90)]),
        ((-10, 14), [(14, 100)]),
        ((40, 64), [(0, 40), (64, 100)]),
        ((0, 100), []),
        ((-1, 300), []),
    ],
)
def test_a_period_that_the_window_lies_in_loses_just_the_overlap(
    window: tuple[int, int], spans: list[tuple[int, int]]
) -> None:
    found = FixedPeriod(hour(0), hour(100)).spans(hour(window[0]), hour(window[1]))
    assert found == [(hour(start), hour(end)) for start, end in spans]


def test_baselines_have_names_that_tell_them_apart() -> None:
    period = FixedPeriod(hour(0), hour(30))
    names = [baseline.name for baseline in (TrailingWeeks(4), TrailingWeeks(2), SameHoursOfWeek(4), period)]
    assert names == ["trailing_4w", "trailing_2w", "same_hours_4w", "2026-11-20T00Z/2026-11-21T06Z"]


def test_the_last_rows_are_the_shortest_stretch_of_whole_hours_that_holds_them() -> None:
    rows = {hour(0): 50, hour(2): 40, hour(3): 30, hour(9): 99}
    assert last_rows_span(rows, hour(4), wanted=30, reach=DAY) == (hour(3), hour(4))
    assert last_rows_span(rows, hour(4), wanted=31, reach=DAY) == (hour(2), hour(4))
    assert last_rows_span(rows, hour(4), wanted=71, reach=DAY) == (hour(0), hour(4))
    assert last_rows_span(rows, hour(4), wanted=121, reach=DAY) is None
    assert last_rows_span(rows, hour(4), wanted=120, reach=4 * HOUR) == (hour(0), hour(4))
    assert last_rows_span(rows, hour(4), wanted=120, reach=3 * HOUR) is None


SPECS = {
    "x": column("x", np.random.default_rng(0).normal(size=500)),
    "plan": column("plan", ["basic", "basic", "pro"], ColumnKind.CATEGORICAL),
}


def profile(number: int) -> Profile:
    generator = np.random.default_rng(number + 10_000)
    size = int(generator.integers(0, 12))
    plans = generator.choice(["basic", "pro", "new", f"new {number}"], size).tolist()
    numbers = np.where(generator.random(size) < 0.1, np.nan, generator.normal(size=size) / 3)
    return Profile.of(pa.table({"x": numbers, "plan": pa.array(plans, pa.string())}), VERSION, SPECS)


# Three weeks, some hours of which are not described.
PROFILES = {hour(number): profile(number) for number in range(-504, 0) if number % 11}


def brute_force(spans: Sequence[Span]) -> Profile:
    parts = [PROFILES[at] for span in spans for at in hours_of(span) if at in PROFILES]
    return reduce(Profile.merge, parts, Profile.empty(VERSION, SPECS))


def is_merge(found: ColumnWindows, index: int, merged: Profile, name: str) -> None:
    expected = merged.columns[name]
    assert (found.counts[index] == expected.counts).all()
    np.testing.assert_allclose(found.sums[index], expected.sums, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.squares[index], expected.squares, rtol=1e-12)
    counted = (found.nulls[index], found.invalid[index], found.unseen[index])
    assert counted == (expected.nulls, expected.invalid, expected.unseen_rows)


WINDOWS = st.builds(
    lambda end, length: (hour(end - length), hour(end)), st.integers(-400, 40), st.sampled_from([1, 5, 24, 60])
)


@given(st.lists(WINDOWS | st.none(), min_size=1, max_size=6))
def test_every_span_is_the_merge_of_its_hours_and_none_has_no_rows(spans: list[Span | None]) -> None:
    series = SpanSeries(PROFILES, spans)
    for name, spec in SPECS.items():
        found = series.column(spec)
        for index, span in enumerate(spans):
            merged = brute_force([] if span is None else [span])
            is_merge(found, index, merged, name)
            assert series.unseen_names(name, index) == dict(merged.columns[name].unseen)


NEARBY = st.builds(
    lambda first, length: FixedPeriod(hour(first), hour(first + length)), st.integers(-600, 60), st.integers(1, 200)
)


@given(st.sampled_from([TrailingWeeks(1), SameHoursOfWeek(2)]) | NEARBY, st.lists(WINDOWS, min_size=1, max_size=4))
def test_a_baseline_is_the_merge_of_the_hours_of_its_spans(baseline: Baseline, windows: list[Span]) -> None:
    series = BaselineSeries(PROFILES, baseline, windows)
    assert series.pieces == [baseline.spans(*window) for window in windows]
    for name, spec in SPECS.items():
        found = series.column(spec)
        for index, window in enumerate(windows):
            is_merge(found, index, brute_force(baseline.spans(*window)), name)


def bits(windows: ColumnWindows, index: int) -> list[bytes]:
    names = ("counts", "sums", "squares", "nulls", "invalid", "unseen")
    return [np.ascontiguousarray(getattr(windows, name)[index]).tobytes() for name in names]


@given(st.sampled_from([TrailingWeeks(1), SameHoursOfWeek(2)]) | NEARBY, st.lists(WINDOWS, min_size=2, max_size=4))
def test_a_window_and_its_baseline_are_the_same_bits_beside_whatever_others(
    baseline: Baseline, windows: list[Span]
) -> None:
    for spec in SPECS.values():
        together = [
            SpanSeries(PROFILES, windows).column(spec),
            BaselineSeries(PROFILES, baseline, windows).column(spec),
        ]
        for index, window in enumerate(windows):
            alone = [
                SpanSeries(PROFILES, [window]).column(spec),
                BaselineSeries(PROFILES, baseline, [window]).column(spec),
            ]
            assert [bits(each, index) for each in together] == [bits(each, 0) for each in alone]
