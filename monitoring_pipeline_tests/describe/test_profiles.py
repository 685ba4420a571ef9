import tracemalloc
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.describe.columns import (
    KNOWN_CATEGORIES,
    Column,
    ColumnKind,
    ColumnRole,
    DatetimePart,
    datetime_parts,
    numeric_bins,
)
from monitoring_pipeline.describe.kernel import category_counts
from monitoring_pipeline.describe.profiles import ColumnProfile, Profile, rows_by_hour, rows_by_version
from monitoring_pipeline_tests.traffic import LOG, START, VERSION, column, hour, log_rows


def test_a_numeric_column_is_counted_with_its_moments_and_its_ends() -> None:
    spec = column("x", [0.0, 1.0, 2.0])
    values = pa.chunked_array([[1.0, None, 2.0], [float("inf"), 2.0, float("nan"), 7.0]])
    profile = ColumnProfile.of(values, spec)
    assert (profile.rows, profile.nulls, profile.invalid, profile.low, profile.high) == (7, 2, 1, 1.0, 7.0)
    assert profile.sums.sum() == pytest.approx((1 + 2 + 2 + 7) - 4 * 1.0)
    assert profile.squares == pytest.approx(0 + 1 + 1 + 36)
    assert profile.counts.sum() == 4


def test_the_order_of_the_rows_changes_no_bit() -> None:
    generator = np.random.default_rng(1)
    values, spec = generator.lognormal(sigma=5, size=3000), column("x", generator.lognormal(sigma=5, size=3000))
    first, second = (
        ColumnProfile.of(pa.chunked_array([part]), spec) for part in (values, generator.permutation(values))
    )
    assert first.sums.tobytes() == second.sums.tobytes()
    assert first.squares == second.squares


def test_unseen_categories_are_named_by_weight_and_then_by_name() -> None:
    spec = column("plan", ["basic"], ColumnKind.CATEGORICAL)
    profile = ColumnProfile.of(pa.chunked_array([["b", "a", "c", "c", "basic", None]]), spec)
    assert (profile.counts.tolist(), profile.nulls, profile.unseen_rows) == ([1, 0], 1, 4)
    assert profile.unseen == (("c", 2), ("a", 1), ("b", 1))


@pytest.mark.parametrize("kind", ColumnKind)
def test_a_column_that_the_rows_lack_is_null_in_every_row(kind: ColumnKind) -> None:
    spec = column("x", [START, START] if kind is ColumnKind.DATETIME else [1, 0], kind)
    profile = Profile.of(pa.table({"y": [1, 2, 3]}), VERSION, {"x": spec}).columns["x"]
    assert (profile.nulls, profile.rows) == (3, 3)


def test_rows_are_split_by_the_hour_they_were_made_in() -> None:
    rows = prepare_predictions(log_rows(50, seed=1, at=-1, hours=5), LOG)
    parts = rows_by_hour(rows, time="predicted_at")
    assert list(parts) == [hour(number) for number in range(-1, 4)]
    assert all(part.num_rows == 10 for part in parts.values())
    assert rows_by_hour(rows.slice(0, 0), time="predicted_at") == {}


def test_rows_are_split_by_version() -> None:
    rows = log_rows(3, seed=1, model_version=["10", "9", "10"])
    parts = rows_by_version(rows, version="model_version", default="?")
    assert {name: part.num_rows for name, part in parts.items()} == {"10": 2, "9": 1}
    assert rows_by_version(rows, version=None, default="?") == {"?": rows}
    assert rows_by_version(rows.slice(0, 0), version=None, default="?") == {}


def counters(profile: ColumnProfile) -> dict[str, Any]:
    """Return everything a profile counts; the last bin, which an outlier falls into, apart from the others."""
    return {
        "counts": profile.counts[:-1].tolist(),
        "sums": profile.sums[:-1].tolist(),
        "last count": int(profile.counts[-1]),
        "last sum": profile.sums[-1:].tolist(),
        "squares": profile.squares,
        "nulls": profile.nulls,
        "invalid": profile.invalid,
        "low": profile.low,
        "high": profile.high,
        "unseen": (profile.unseen, profile.unseen_rows),
    }


CLEAN = np.random.default_rng(4).normal(5.0, 2.0, 400).tolist()
NUMBERS = column("x", CLEAN)
OUTLIER = {"last count": 1, "last sum": ..., "squares": ..., "high": ...}


@pytest.mark.parametrize(
    ("type_", "poison", "changed"),
    [
        (pa.float64(), 1e12, OUTLIER | {"high": 1e12}),
        (pa.float64(), float("inf"), {"invalid": 1}),
        (pa.float64(), 1e308, {"invalid": 1}),
        (pa.float64(), -1e308, {"invalid": 1}),
        (pa.float64(), float("nan"), {"nulls": 1}),
        (pa.float64(), None, {"nulls": 1}),
        (pa.string(), "n/a", {"invalid": 1}),
        (pa.string(), "1e400", {"invalid": 1}),
        (pa.string(), str(10**30), OUTLIER | {"high": 1e30}),
        (pa.decimal128(38, 4), Decimal(10) ** 30, OUTLIER | {"high": 1e30}),
        (pa.decimal256(60, 4), Decimal(10) ** 50, OUTLIER | {"high": 1e50}),
    ],
)
def test_one_poisoned_value_is_counted_and_moves_nothing_else(
    type_: pa.DataType, poison: Any, changed: dict[str, Any]
) -> None:
    clean = pa.array([round(value, 3) for value in CLEAN]).cast(type_)
    poisoned = pa.chunked_array([clean, pa.array([poison], type_)])
    before, after = (counters(ColumnProfile.of(each, NUMBERS)) for each in (pa.chunked_array([clean]), poisoned))
    for name, value in after.items():
        expected = changed.get(name, before[name])
        if name in ("last count", "nulls", "invalid") and name in changed:
            expected = before[name] + changed[name]
        assert expected is ... or value == expected, name


def test_a_column_that_is_null_in_every_row_counts_nulls_alone() -> None:
    empty = counters(ColumnProfile.empty(NUMBERS.bins))
    for type_ in (pa.float64(), pa.int64(), pa.string(), pa.null(), pa.decimal128(9, 2)):
        found = counters(ColumnProfile.of(pa.chunked_array([pa.nulls(7, type_)]), NUMBERS))
        assert found == empty | {"nulls": 7}


def test_numbers_are_counted_the_same_in_whatever_type_they_come() -> None:
    whole = [3, 0, 7, None, 7, 5, 2] * 20
    spec = column("x", list(range(100)))
    expected = ColumnProfile.of(pa.chunked_array([pa.array(whole, pa.float64())]), spec)
    for type_ in (pa.int8(), pa.uint16(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.decimal128(9, 2)):
        found = ColumnProfile.of(pa.chunked_array([pa.array(whole, pa.float64()).cast(type_)]), spec)
        assert counters(found) == counters(expected), type_
        assert found.sums.tobytes() == expected.sums.tobytes()


def test_whole_numbers_beyond_single_precision_keep_their_last_digit() -> None:
    values = [2**24 + 1, 2**53 - 1, -(2**24) - 1, 5]
    spec = Column("x", ColumnRole.FEATURE, ColumnKind.NUMERIC, numeric_bins(np.sort(np.array(values, float)), groups=4))
    profile = ColumnProfile.of(pa.chunked_array([pa.array(values, pa.int64())]), spec)
    assert profile.counts.sum() == profile.counts[spec.bins.groups < 4].sum() == 4
    assert (profile.low, profile.high) == (-(2**24) - 1, 2**53 - 1)


@pytest.mark.parametrize("values", [[True, False, True, None], [1, 0, 1, None], [1.0, 0.0, 1.0, None]])
def test_booleans_are_the_same_as_ones_and_zeros(values: list[Any]) -> None:
    spec = column("flag", [True, True, False], ColumnKind.BOOLEAN)
    profile = ColumnProfile.of(pa.chunked_array([values]), spec)
    assert (profile.counts.tolist(), profile.nulls, profile.unseen_rows) == ([2, 1, 0], 1, 0)
    assert profile.distinct is not None
    assert profile.distinct.estimate == 2


def test_a_million_names_take_little_memory_and_few_of_them_are_remembered() -> None:
    names = pa.chunked_array([pa.array([f"user {number:07d}" for number in range(1_000_000)])])
    spec = column("user", ["user 0000001", "user 0000002"], ColumnKind.CATEGORICAL)
    tracemalloc.start()
    try:
        profile = ColumnProfile.of(names, spec)
        counts = category_counts(names)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40e6  # a dictionary of the names takes 160 MB
    assert (profile.counts.sum(), profile.unseen_rows, len(profile.unseen)) == (2, 999_998, 50)
    assert profile.distinct is not None
    assert profile.distinct.low < 1_000_000 < profile.distinct.high
    assert len(counts) == KNOWN_CATEGORIES + 1


def test_profiles_in_other_bins_have_another_digest_and_those_in_the_same_bins_the_same() -> None:
    first, again, other = (Profile.empty(VERSION, {"x": column("x", values)}) for values in ([1, 2], [1, 2], [1, 3]))
    assert first.bins == again.bins != other.bins
    assert Profile.of(pa.table({"x": [9]}), VERSION, {"x": column("x", [1, 2])}).bins == first.bins


MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (DatetimePart.HOUR_OF_DAY, [0.0, 23 + 59 / 60, 12.0]),
        (DatetimePart.DAY_OF_WEEK, [4.0, 3.0, 4.0]),
        (DatetimePart.AGE_DAYS, [1.0, 1.0 + 1 / 1440, 25_522.5]),
    ],
)
def test_a_datetime_is_described_by_its_parts(part: DatetimePart, expected: list[float]) -> None:
    signup = [MIDNIGHT, MIDNIGHT - timedelta(minutes=1), datetime(1957, 1, 4, 12, tzinfo=UTC), None]
    rows = pa.table({"signup": signup, "served": [MIDNIGHT + timedelta(days=1)] * 4})
    bins = numeric_bins(np.array([]), groups=2)
    spec = Column(f"signup.{part}", ColumnRole.FEATURE, ColumnKind.DATETIME, bins, "signup", part)
    profile = Profile.of(rows, VERSION, {spec.name: spec}, time="served").columns[spec.name]
    assert (profile.nulls, profile.invalid, profile.low, profile.high) == (1, 0, min(expected), max(expected))
    assert profile.sums.sum() == pytest.approx(sum(expected))


def test_what_is_no_time_is_unusable_in_every_part_and_an_age_needs_both_times() -> None:
    rows = pa.table({"signup": ["2026-11-20", "soon", None, "2026-11-20"], "served": [MIDNIGHT, MIDNIGHT, None, None]})
    for name, part in datetime_parts("signup", aged=True):
        bins = numeric_bins(np.array([]), groups=2)
        spec = Column(name, ColumnRole.FEATURE, ColumnKind.DATETIME, bins, "signup", part)
        profile = Profile.of(rows, VERSION, {name: spec}, time="served").columns[name]
        missing = 2 if part is DatetimePart.AGE_DAYS else 1
        assert (profile.nulls, profile.invalid, profile.rows) == (missing, 1, 4), name


def test_rows_without_a_time_of_their_own_have_no_ages() -> None:
    assert [name for name, _ in datetime_parts("signup", aged=False)] == ["signup.hour_of_day", "signup.day_of_week"]
