from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.describe.columns import ColumnKind, categorical_bins, numeric_bins
from monitoring_pipeline.describe.kernel import (
    bin_counts,
    category_counts,
    category_names,
    floats_with_nan,
    numeric_values,
    split_known,
    tally,
)

NUMERIC, CATEGORICAL, BOOLEAN, DATETIME = ColumnKind
NAN, INF = float("nan"), float("inf")


def chunked(values: Any, type_: pa.DataType | None = None) -> pa.ChunkedArray:
    whole = pa.array(values, type=type_)
    return pa.chunked_array([whole.slice(0, 1), whole.slice(1)])  # as tables come: in chunks, with offsets


def repeated(counts: dict[str, int]) -> pa.ChunkedArray:
    return chunked([name for name, count in counts.items() for _ in range(count)])


def numbers(values: Any, kind: ColumnKind = NUMERIC, type_: pa.DataType | None = None) -> tuple[list[float], int, int]:
    found = numeric_values(chunked(values, type_), kind)
    return found.finite.tolist(), found.nulls, found.invalid


@pytest.mark.parametrize(
    ("values", "type_", "expected"),
    [
        ([3.0, None, NAN, 1.0, INF, -INF], pa.float64(), ([1.0, 3.0], 2, 2)),
        ([3.0, None, NAN, 1.0, INF, -INF], pa.float32(), ([1.0, 3.0], 2, 2)),
        ([2, None, -1], pa.int8(), ([-1.0, 2.0], 1, 0)),
        ([True, False, None], pa.bool_(), ([0.0, 1.0], 1, 0)),
        ([Decimal("1.50"), None], pa.decimal128(9, 2), ([1.5], 1, 0)),
        (["1.5", " 2 ", "x", "", "nan", "inf", None], pa.string(), ([1.5, 2.0], 1, 4)),
        ([[1], None], pa.list_(pa.int64()), ([], 1, 1)),
        ([{"a": 1}, None], pa.struct([("a", pa.int64())]), ([], 1, 1)),
        ([timedelta(1)], pa.duration("us"), ([], 0, 1)),
        ([None, None], pa.null(), ([], 2, 0)),
        ([1e140, 1e141, -1.7e308], pa.float64(), ([1e140], 0, 2)),
    ],
)
def test_what_is_no_number_is_null_or_unusable_and_never_an_error(
    values: Any, type_: pa.DataType, expected: tuple[list[float], int, int]
) -> None:
    assert numbers(values, type_=type_) == expected


def test_an_encoded_column_reads_as_what_it_encodes() -> None:
    values = [1.5, NAN, None, INF, 1.5]
    encoded = pa.chunked_array([pa.array(values).dictionary_encode()])
    found = numeric_values(encoded, NUMERIC)
    assert (found.finite.tolist(), found.nulls, found.invalid) == numbers(values)
    assert category_counts(encoded) == category_counts(chunked(values))


@pytest.mark.parametrize("size", [1, 3])
def test_text_is_read_the_same_whatever_stands_beside_it(size: int) -> None:
    texts = ["1", "+1", "1_0", " 1", "1e400", "-0", "x", "0x10", "1.", "Infinity", "\N{ARABIC-INDIC DIGIT ONE}"]
    alone = [numbers([text])[0] for text in texts]
    for place in range(len(texts) - size):
        together = numbers(texts[place : place + size])[0]
        assert together == sorted(value for each in alone[place : place + size] for value in each)


def test_a_time_is_its_hour_of_the_day_in_utc() -> None:
    noon = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
    assert numbers([noon, None], DATETIME) == ([12.5], 1, 0)
    assert numbers([noon, None]) == ([], 1, 1), "a time is no number"
    assert numbers([date(2026, 11, 20)], DATETIME) == ([0.0], 0, 0)
    assert numbers(["2026-11-20T12:30:00Z", "noon", "", None, "1900-01-01 01:15"], DATETIME) == ([1.25, 12.5], 1, 2)


@pytest.mark.parametrize("values", [[1_763_643_600], [True], [[1]], [b"x"], [Decimal(1)]])
def test_what_is_no_time_costs_its_own_value_alone(values: Any) -> None:
    assert numbers([*values, None], DATETIME) == ([], 1, 1)
    assert numbers([None], DATETIME, pa.null()) == ([], 1, 0)


def test_floats_keep_their_rows() -> None:
    found = floats_with_nan(chunked(["1", None, "x", "0.5"]), NUMERIC)
    assert found[[0, 3]].tolist() == [1.0, 0.5]
    assert np.isnan(found[[1, 2]]).all()
    assert np.isnan(floats_with_nan(chunked([None, None], pa.null()), NUMERIC)).all()


def test_every_value_is_counted_in_the_bin_its_edges_say() -> None:
    generator = np.random.default_rng(3)
    bins = numeric_bins(np.sort(generator.normal(size=1000)), groups=10)
    values = np.sort(np.concatenate([generator.normal(size=5000) * 2, bins.edges]))
    counts, sums, squares = bin_counts(values, bins)
    place = np.searchsorted(bins.edges, values, side="right")
    assert (counts == np.bincount(place, minlength=bins.size)).all()
    expected = np.bincount(place, weights=values - bins.center, minlength=bins.size)
    np.testing.assert_allclose(sums, expected, rtol=1e-12, atol=1e-12)
    assert squares == pytest.approx(np.square(values - bins.center).sum(), rel=1e-12)
    assert bin_counts(np.array([]), bins)[0].sum() == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 1], {"1": 2}),
        ([1.0, None, NAN, 2.5, -0.0], {"1": 1, "2.5": 1, "0": 1}),
        (["1", "1.0", ""], {"1": 1, "1.0": 1, "": 1}),
        ([True, False, True], {"true": 2, "false": 1}),
        ([Decimal("1.00"), Decimal("1.50"), Decimal("100.00")], {"1": 1, "1.5": 1, "100": 1}),
        ([123456789012.0, 1e300, INF], {"123456789012": 1, "1e+300": 1, "inf": 1}),
        (pa.array([0.5, 3.0], pa.float16()), {"0.5": 1, "3": 1}),
        ([b"a", b"\xff"], {"a": 1, "\\xff": 1}),
        ([[1, 2], None], {"[1, 2]": 1}),
        ([{"a": 1}], {"{'a': 1}": 1}),
        ([date(2026, 11, 20)], {"2026-11-20": 1}),
        (["Zürich", "東京", "a\x00b"], {"Zürich": 1, "東京": 1, "a\x00b": 1}),
        (pa.nulls(2), {}),
    ],
)
def test_a_category_is_its_text(values: Any, expected: dict[str, int]) -> None:
    assert category_counts(chunked(values)) == expected


def test_a_category_has_the_same_name_whatever_stands_beside_it() -> None:
    for values in ([1.0, 2.5, 1e17, INF], [b"a", b"\xff"], [Decimal("1.50"), Decimal("2.00")]):
        together = category_names(chunked(values)).to_pylist()
        assert together == [category_names(pa.chunked_array([[value]])).to_pylist()[0] for value in values]


def test_numbers_of_a_boolean_column_are_booleans() -> None:
    for values in ([True, False], [1, 0], [1.0, 0.0], ["True", "false"], ["1", "0"]):
        assert category_counts(chunked(values), BOOLEAN) == {"true": 1, "false": 1}
    assert category_counts(chunked([2, None]), BOOLEAN) == {"2": 1}


def test_counts_are_split_into_known_rare_and_unseen() -> None:
    bins = categorical_bins({f"c{number:03d}": 200 - number for number in range(150)}, groups=10)
    counts = {"c000": 7, "c099": 1, "c100": 2, "c149": 3, "new": 5}
    known, unseen = split_known(tally(repeated(counts)), bins)
    assert (known[0], known[99], known[100], known.sum()) == (7, 1, 5, 13)
    assert unseen.heaviest(9) == {"new": 5}


def test_where_not_every_name_is_remembered_a_new_one_counts_as_rare() -> None:
    bins = categorical_bins({f"c{number}": 1 for number in range(10_001)}, groups=10)
    known, unseen = split_known(tally(repeated({"new": 5})), bins)
    assert (known[-1], unseen.heaviest(9)) == (5, {})
