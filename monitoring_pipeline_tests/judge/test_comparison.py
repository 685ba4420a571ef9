import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binom

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.parquet_pass import ParquetRows
from monitoring_pipeline.errors import TableError
from monitoring_pipeline.judge.comparison import ColumnComparison, Comparison, ComparisonPolicy, compare_tables
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.verdicts import signal

ROWS = 2000
POLICY = ComparisonPolicy()
START = datetime(2026, 3, 1)  # noqa: DTZ001 - without a zone: tables often have none


def numbers(seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, ROWS)


def choices(seed: int, names: list[str], shares: list[float]) -> list[str]:
    return np.random.default_rng(seed).choice(names, ROWS, p=shares).tolist()  # type: ignore[no-any-return]


def compared(reference: Mapping[str, Any], current: Mapping[str, Any], **more: Any) -> dict[str, ColumnComparison]:
    comparison = compare_tables(pa.table(dict(reference)), pa.table(dict(current)), POLICY, **more)
    return {entry.column: entry for entry in comparison.columns}


def one(reference: Any, current: Any, **more: Any) -> ColumnComparison:
    return compared({"x": reference}, {"x": current}, **more)["x"]


def test_rows_of_the_same_distribution_are_ok_and_a_shift_of_a_deviation_is_critical() -> None:
    assert one(numbers(1), numbers(2)).verdict is Level.OK
    moved = one(numbers(1), numbers(2, shift=1.0))
    assert (moved.verdict, moved.metric, moved.threshold, moved.threshold_origin) == (
        "critical",
        "psi",
        0.25,
        "textbook",
    )
    assert moved.value == moved.metrics["psi"] == pytest.approx(1.0, abs=0.25)  # of N(0,1) and N(d,1) it is d squared
    assert moved.p_value == pytest.approx(0.0, abs=1e-12)


def test_the_bins_that_moved_say_from_where_to_where() -> None:
    top, *_ = one(numbers(1), numbers(2, shift=1.0)).moved
    assert set(top) == {"range", "direction", "reference", "current", "contribution"}
    assert top["range"].endswith(", inf)")
    assert top["direction"] == "up"
    assert top["reference"] == pytest.approx(0.1, abs=0.001)
    assert top["current"] > 0.3


def test_a_number_can_be_confirmed_to_warn_by_ks_but_never_made_critical_by_it() -> None:
    entry = one(numbers(1), numbers(2, shift=0.29))
    assert entry.metrics["psi"] is not None
    assert entry.metrics["psi"] < 0.1
    assert (entry.verdict, entry.metric, entry.value) == ("warning", "ks", entry.metrics["ks"])


def test_categories_are_judged_by_psi_and_js_and_never_by_ks() -> None:
    names = ["a", "b", "c"]
    entry = one(choices(1, names, [0.6, 0.3, 0.1]), choices(2, names, [0.1, 0.3, 0.6]))
    assert (entry.kind, entry.verdict) == ("categorical", "critical")
    assert entry.metrics["ks"] is None
    assert entry.metrics["wasserstein"] is None
    assert entry.metrics["js_distance"] is not None


def test_new_categories_are_named_with_their_counts() -> None:
    entry = one(["a", "b"] * 1000, ["a"] * 1000 + ["b"] * 600 + ["neu"] * 400)
    assert entry.verdict is Level.CRITICAL
    assert entry.unseen == {"neu": 400}


@pytest.mark.parametrize("values", [numbers(1), choices(1, ["a", "b"], [0.5, 0.5]), numbers(1) > 0])
def test_a_column_that_goes_60_percent_null_has_drifted_critically(values: Any) -> None:
    holed = [None if place % 5 < 3 else value for place, value in enumerate(np.asarray(values).tolist())]
    entry = one(values, holed)
    assert entry.verdict is Level.CRITICAL
    assert (entry.null_rate_reference, entry.null_rate_current) == (0.0, 0.6)
    assert entry.moved[0]["range"] == "null"


def test_nan_counts_as_null() -> None:
    holed = np.where(np.arange(ROWS) % 5 < 3, np.nan, numbers(1))
    assert one(numbers(1), holed).null_rate_current == 0.6


def test_a_constant_that_moved_is_critical_and_one_that_stayed_is_ok() -> None:
    assert one([5.0] * ROWS, [6.0] * ROWS).verdict is Level.CRITICAL
    assert one([5.0] * ROWS, [5.0] * ROWS).verdict is Level.OK


def test_values_are_new_where_the_reference_had_none_and_unknown_where_neither_has_any() -> None:
    nulls = pa.nulls(ROWS, pa.float64())
    assert one(nulls, numbers(1)).verdict is Level.CRITICAL
    assert one(numbers(1), nulls).verdict is Level.CRITICAL
    for nothing in (nulls, pa.nulls(ROWS), np.full(ROWS, np.nan), np.full(ROWS, np.inf)):
        entry = one(nothing, nothing)
        assert (entry.verdict, entry.absence) == ("unknown", "undefined")


@pytest.mark.parametrize("extreme", [1e308, -1e308, 5e-324, 2.0**63])
def test_numbers_at_the_ends_of_the_floats_are_counted_like_others(extreme: float) -> None:
    mixed = np.where(numbers(3) > 0, extreme, numbers(1))
    assert one(mixed, mixed).verdict is Level.OK
    assert one(numbers(1), mixed).verdict is Level.CRITICAL


def test_infinities_that_become_frequent_are_drift() -> None:
    assert one(numbers(1), np.where(numbers(3) > 0.5, np.inf, numbers(2))).verdict is Level.CRITICAL


def test_numbers_that_became_text_are_drift() -> None:
    assert one(np.arange(ROWS) % 7, ["?"] * ROWS).verdict is Level.CRITICAL


def test_lists_have_no_distribution_and_the_entry_says_so() -> None:
    entry = one([[1.0, 2.0]] * ROWS, [[1.0, 2.0]] * ROWS)
    assert (entry.verdict, entry.kind) == ("unknown", None)
    assert "list<" in entry.reason


def test_text_that_is_no_time_has_no_usable_value_where_times_are_asked_for() -> None:
    entries = compared({"x": ["soon"] * ROWS}, {"x": ["later"] * ROWS}, kinds={"x": ColumnKind.DATETIME})
    assert [(entry.verdict, entry.absence) for entry in entries.values()] == [("unknown", "undefined")] * 2


class Corrupt(pa.ExtensionScalar):  # type: ignore[misc]  # pyarrow has no types
    def as_py(self, **_: Any) -> Any:
        raise ValueError("not a point:\n3 bytes too short")


class Points(pa.ExtensionType):  # type: ignore[misc]
    """A type somebody else made, whose values cannot be read."""

    def __init__(self) -> None:
        super().__init__(pa.binary(), "test.points")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    def __arrow_ext_scalar_class__(self) -> type:
        return Corrupt


def test_a_column_whose_values_cannot_be_read_fails_alone_and_says_why() -> None:
    points = pa.ExtensionArray.from_storage(Points(), pa.array([b"\xff"] * ROWS))
    entries = compared({"x": points, "y": numbers(1)}, {"x": points, "y": numbers(2)})
    assert (entries["x"].verdict, entries["x"].absence) == ("unknown", "failed")
    assert re.match(r"failed: .*point.*\. Correct the column, or leave it out\.", entries["x"].reason)
    assert entries["y"].verdict is Level.OK


def test_names_that_never_repeat_are_compared_by_their_heads_and_the_entry_says_so() -> None:
    names = pa.array([f"user-{number}" for number in range(100_000)])
    entry = one(names, names)
    assert entry.verdict is Level.OK
    assert "more categories than are remembered" in entry.reason


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([True, False] * 1000), "boolean"),
        (pa.array([1, 2] * 1000, pa.int8()), "numeric"),
        (pa.array([1, 2] * 1000, pa.decimal128(5, 2)), "numeric"),
        (pa.array(["a", "b"] * 1000).dictionary_encode(), "categorical"),
        (pa.array([b"\xff", b"\xfe"] * 1000), "categorical"),
        (pa.array([START] * ROWS), "datetime"),
        (pa.array([START.date()] * ROWS), "datetime"),
        (pa.array([timedelta(hours=1)] * ROWS), "categorical"),
        (pa.array([START.time()] * ROWS), "categorical"),
    ],
)
def test_the_kind_follows_from_the_type_and_every_type_can_be_read(values: pa.Array, kind: str) -> None:
    entries = compared({"x": values}, {"x": values})
    assert {(entry.kind, entry.verdict) for entry in entries.values()} == {(kind, "ok")}
    assert set(entries) == ({"x.hour_of_day", "x.day_of_week"} if kind == "datetime" else {"x"})


def test_codes_can_be_declared_categories() -> None:
    codes = np.random.default_rng(1).integers(0, 50, ROWS)
    entry = one(codes, codes, kinds={"x": ColumnKind.CATEGORICAL})
    assert (entry.kind, entry.metrics["ks"]) == ("categorical", None)


def test_a_column_that_is_all_null_in_the_reference_has_the_kind_it_has_today() -> None:
    assert one(pa.nulls(ROWS), numbers(1)).kind == "numeric"


def test_times_without_a_zone_are_compared_with_times_in_utc() -> None:
    moments = [START + timedelta(minutes=number) for number in range(ROWS)]
    entries = compared({"x": moments}, {"x": [moment.replace(tzinfo=UTC) for moment in moments]})
    assert {(entry.verdict, entry.value) for entry in entries.values()} == {("ok", 0.0)}


def joined(rows: int, *, days: int, start: datetime = START) -> dict[str, Any]:
    """Return moments of rows and, up to `days` earlier, when their customers joined."""
    at = [start + timedelta(minutes=10 * number) for number in range(rows)]
    ago = np.random.default_rng(rows).uniform(0, days, rows)
    return {"at": at, "joined": [moment - timedelta(days=each) for moment, each in zip(at, ago, strict=True)]}


def test_dates_are_compared_by_their_hour_their_day_and_where_rows_have_a_time_their_age() -> None:
    old, new = joined(3000, days=30), joined(2000, days=30, start=START + timedelta(days=70))
    steady = compared(old, new, time="at")
    parts = ["joined.hour_of_day", "joined.day_of_week", "joined.age_days"]
    assert [name for name in steady if name.startswith("joined")] == parts
    assert {steady[name].verdict for name in parts} == {Level.OK}
    aged = compared(old, new | {"joined": old["joined"][:2000]}, time="at")
    assert aged["joined.age_days"].verdict is Level.CRITICAL
    assert (aged["joined.age_days"].kind, aged["joined.hour_of_day"].verdict) == ("datetime", "ok")
    assert "joined.age_days" not in compared(old, new)


@pytest.mark.parametrize("side", ["reference", "current"])
@pytest.mark.parametrize("rows", [0, 1, 999])
def test_too_few_rows_on_either_side_are_unknown_with_what_was_found_and_needed(side: str, rows: int) -> None:
    tables = {"reference": {"x": numbers(1)}, "current": {"x": numbers(2)}}
    tables[side] = {"x": numbers(1)[:rows]}
    entry = compared(tables["reference"], tables["current"])["x"]
    assert (entry.verdict, entry.absence, entry.value) == ("unknown", "too_few_rows", None)
    assert entry.reason.startswith(f"too_few_rows: the {side} table has {rows} rows, 1000 are needed.")


def test_one_row_is_compared_when_one_is_asked_for_and_is_no_drift() -> None:
    comparison = compare_tables(pa.table({"x": [1.0]}), pa.table({"x": [9.0]}), ComparisonPolicy(min_rows=1))
    assert comparison.verdict is Level.OK
    assert "sampling noise" in comparison.columns[0].reason


@pytest.mark.parametrize("side", ["reference", "current"])
def test_a_column_that_one_table_lacks_is_unknown_and_the_others_are_compared(side: str) -> None:
    full, lacking = {"x": numbers(1), "y": numbers(3)}, {"x": numbers(2)}
    entries = compared(lacking, full) if side == "reference" else compared(full, lacking)
    assert (entries["y"].verdict, entries["y"].absence, entries["y"].metric) == ("unknown", "missing_column", "psi")
    assert f"the {side} table does not have it" in entries["y"].reason
    assert entries["x"].verdict is Level.OK


def test_a_name_that_neither_table_has_is_an_error_that_lists_the_names_there_are() -> None:
    with pytest.raises(TableError, match=r"neither table has 'z'; there are 'x'"):
        one(numbers(1), numbers(2), columns=["z"])
    with pytest.raises(TableError, match="neither table has 'zip'"):
        one(numbers(1), numbers(2), kinds={"zip": ColumnKind.CATEGORICAL})


def test_two_columns_of_one_name_are_an_error() -> None:
    twice = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["x", "x"])
    with pytest.raises(TableError, match="reference table: more than one column is called 'x'"):
        compare_tables(twice, pa.table({"x": [1.0]}), POLICY)


def test_the_row_numbers_that_pandas_stores_are_left_out_unless_asked_for() -> None:
    table = {"x": numbers(1), "__index_level_0__": np.arange(ROWS)}
    assert set(compared(table, table)) == {"x"}
    assert set(compared(table, table, columns=["__index_level_0__"])) == {"__index_level_0__"}


def test_one_poisoned_column_leaves_every_other_entry_as_it_was() -> None:
    reference = {"a": numbers(1), "b": choices(1, ["p", "q"], [0.5, 0.5]), "c": numbers(5)}
    current = {"a": numbers(2, 0.5), "b": choices(2, ["p", "q"], [0.4, 0.6]), "c": numbers(6)}
    clean = compared(reference, current)
    poisons = ([["nested"]] * ROWS, ["text"] * ROWS, pa.nulls(ROWS), np.full(ROWS, np.inf), np.full(ROWS, 1e308))
    for poison in poisons:
        poisoned = compared(reference, {**current, "c": poison})
        assert poisoned["c"] != clean["c"]
        # How rare a column must be depends on how many there are; what is measured of it does not.
        assert {name: replace(poisoned[name], q_value=None) for name in ("a", "b")} == {
            name: replace(clean[name], q_value=None) for name in ("a", "b")
        }


def test_the_order_of_rows_does_not_matter_and_repeated_rows_count_again() -> None:
    reference, current = numbers(1), numbers(2, shift=0.3)
    assert one(reference[::-1], np.roll(current, 7)) == one(reference, current)
    doubled = one(reference, np.tile(current, 2))
    assert doubled.n_current == 2 * ROWS
    assert doubled.value == pytest.approx(one(reference, current).value, rel=0.05)


def daily_wave(days: int, *, amplitude: float, start: datetime = START) -> dict[str, Any]:
    """Return ten rows an hour of a value that is one thing by day and another by week."""
    hours = np.repeat(np.arange(days * 24), 10)
    noise = np.random.default_rng(days).normal(0, 1, len(hours))
    return {
        "x": amplitude * np.sin(hours / 24 / 5) + noise,
        "at": [start + timedelta(hours=int(hour)) for hour in hours],
    }


def test_with_a_time_a_restless_reference_allows_what_a_quiet_one_does_not() -> None:
    current = daily_wave(5, amplitude=3.0, start=START + timedelta(days=60))
    assert compared(daily_wave(60, amplitude=3.0), current)["x"].verdict is Level.CRITICAL
    calibrated = compared(daily_wave(60, amplitude=3.0), current, time="at")["x"]
    assert (calibrated.verdict, calibrated.threshold_origin) == ("ok", "calibrated")
    assert calibrated.threshold is not None
    assert calibrated.threshold > 0.25
    quiet = compared(daily_wave(60, amplitude=0.0), current, time="at")["x"]
    assert quiet.verdict is Level.CRITICAL


def test_a_reference_too_short_to_calibrate_is_said_to_be() -> None:
    tables = pa.table(daily_wave(6, amplitude=1.0)), pa.table(daily_wave(5, amplitude=1.0))
    comparison = compare_tables(*tables, POLICY, time="at")
    assert "6d of reference for 5d" in comparison.note
    assert comparison.columns[0].threshold_origin == "textbook"


def test_a_time_column_must_be_there_and_hold_times() -> None:
    with pytest.raises(TableError, match=r"reference table: column.*'at' not found"):
        one(numbers(1), numbers(2), time="at")
    with pytest.raises(TableError, match="reference table, column 'at': no row has a time"):
        compared({"at": pa.nulls(ROWS, pa.timestamp("us"))}, {"at": pa.nulls(ROWS, pa.timestamp("us"))}, time="at")


REPORTS, COLUMNS = 200, 41


def test_a_comparison_of_many_columns_without_change_names_a_drift_as_seldom_as_stated() -> None:
    """Every value is beyond its band, and every judge's p-value chance: at worst they know nothing of each other."""
    p_values = np.random.default_rng(7).random((REPORTS, 3, COLUMNS)).tolist()
    signals = [
        signal(metric, 0.2, column=f"c{place}", p_value=p, version=str(number))
        for number, report in enumerate(p_values)
        for metric, row in zip(("drift.psi", "drift.ks", "drift.js"), report, strict=True)
        for place, p in enumerate(row)
    ]
    verdicts = judge_signals(signals, {}, POLICY.judging())
    alarmed = {verdict.signal.version for verdict in verdicts if verdict.level.rank > 0}
    low, high = binom.interval(0.95, REPORTS, POLICY.alpha)
    assert low <= len(alarmed) <= high


def test_forty_small_columns_without_change_are_ok_where_the_textbook_calls_them_drifted_and_a_shift_is_found() -> None:
    generator = np.random.default_rng(11)
    names = [f"c{place}" for place in range(COLUMNS)]
    old, new = ({name: generator.normal(size=150) for name in names} for _ in range(2))
    policy = ComparisonPolicy(min_rows=100)
    calm = compare_tables(pa.table(old), pa.table(new), policy)
    assert sum((entry.metrics["psi"] or 0.0) > 0.1 for entry in calm.columns) > COLUMNS / 4
    assert calm.verdict is Level.OK
    assert all(entry.q_value is not None and entry.q_value > 0.05 / 3 for entry in calm.columns)
    shifted = compare_tables(pa.table(old), pa.table(new | {"c17": new["c17"] + 1.0}), policy)
    assert [entry.column for entry in shifted.drifted] == ["c17"]
    assert shifted.conclusion().startswith("1 of 41 columns drifted, 1 critically: c17")


def entry(verdict: Level, name: str = "x", value: float = 0.5) -> ColumnComparison:
    return ColumnComparison(name, "numeric", 9, 9, verdict, value=value, threshold=0.1, reason="made for a test")


@pytest.mark.parametrize(
    ("levels", "verdict", "conclusion"),
    [
        ((), "unknown", "Nothing to compare"),
        ((Level.OK, Level.OK), "ok", "No drift: all 2 columns"),
        ((Level.OK, Level.UNKNOWN), "unknown", "No drift: all 1 columns compared.*; 1 could not be compared"),
        ((Level.UNKNOWN,), "unknown", "Nothing is known: none of the 1"),
        ((Level.UNKNOWN, Level.WARNING), "warning", "1 of 1 columns drifted: 1; 1 could not"),
        ((Level.OK, Level.WARNING, Level.CRITICAL), "critical", "2 of 3 columns drifted, 1 critically: 2, 1"),
    ],
)
def test_the_whole_is_as_bad_as_its_worst_column_and_ok_only_when_all_are_known(
    levels: tuple[Level, ...], verdict: str, conclusion: str
) -> None:
    comparison = Comparison(tuple(entry(level, str(place)) for place, level in enumerate(levels)))
    assert comparison.verdict == verdict
    assert re.match(conclusion, comparison.conclusion())
    summary = comparison.to_json()["summary"]
    assert summary["columns"] == len(levels) == sum(summary[level] for level in Level)


def test_columns_are_ranked_by_level_and_then_by_how_far_over_their_threshold_they_are() -> None:
    entries = [
        entry(Level.OK, "calm"),
        entry(Level.WARNING, "far", 9.0),
        entry(Level.WARNING, "near"),
        entry(Level.CRITICAL, "bad"),
    ]
    assert [each.column for each in Comparison(tuple(entries)).worst_first()] == ["bad", "far", "near", "calm"]


@pytest.mark.parametrize("time", [None, "at"])
def test_files_read_column_by_column_compare_as_tables_do_to_the_bit(tmp_path: Path, time: str | None) -> None:
    tables: list[Any] = []
    files: list[Any] = []
    for seed in (1, 2):
        moments = [START + timedelta(minutes=30 * number // seed) for number in range(ROWS)]
        plans = choices(seed, ["a", "b"], [0.5, 0.5])
        tables.append(pa.table({"x": numbers(seed, seed / 9), "plan": plans, "at": moments}))
        pq.write_table(tables[-1], tmp_path / f"{seed}.parquet", row_group_size=700)
        files.append(ParquetRows(tmp_path / f"{seed}.parquet"))
    expected, found = (compare_tables(first, second, POLICY, time=time) for first, second in (tables, files))
    assert found.to_json() == expected.to_json()
