"""Every class of the package that has `merge`: merging is addition, however the rows were split.

Add an example generator to `EXAMPLES` when a class that merges is added; until then the first test fails. Keep the
meaning of single counters out: it belongs in the tests of the module.
"""

import ast
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import monitoring_pipeline
from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.columns import Column, ColumnKind
from monitoring_pipeline.describe.log_histogram import LogHistogram
from monitoring_pipeline.describe.outcome_plan import outcome_from_json
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.describe.profiles import ColumnProfile, Profile
from monitoring_pipeline.describe.reference_json import profile_from_json, profile_to_json
from monitoring_pipeline.stats.cardinality import DistinctCount
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline_tests.traffic import START, VERSION, column

PACKAGE = Path(monitoring_pipeline.__file__).parent
LAWS = settings(max_examples=30, deadline=None, derandomize=True, database=None)

ROUNDING = 1e-12
"""Of the sum of the sizes of what was added: where terms cancel, rounding is relative to them and not to their sum."""


def classes_that_merge() -> dict[str, str]:
    """Return `module:Class` of every class with a method `merge`, read from the source so that none can hide."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(getattr(item, "name", "") == "merge" for item in node.body):
                found[f"{module}:{node.name}"] = str(path.relative_to(PACKAGE.parent))
    return found


@dataclass(frozen=True)
class Case:
    """Rows in batches: the record of each batch, the record of all of them at once, and the record of none."""

    parts: list[Any]
    whole: Any
    empty: Any
    round_trip: Callable[[Any], Any]


# What values of a column may look like, as (kind, type, one value). Every batch of an example has the same type.
NOT_FINITE = [float("inf"), float("-inf"), float("nan")]
SPECIAL = [0.0, -0.0, 1.0, 7.0, 1e-300, 5e-324, 1e139, -1e139, 1e300, -1.7e308, *NOT_FINITE]
NUMBERS = st.one_of(st.none(), st.sampled_from(SPECIAL), st.floats(), st.integers(-3, 3).map(float))
NAMES = ["", "a", "A", "1", "1.0", "true", "Zürich", "東京", "\N{PILE OF POO}", "a\x00b", "' OR 1=1", "NaN"]
TEXTS = st.one_of(st.none(), st.sampled_from(NAMES), st.text("abcé", max_size=2))
MOMENTS = st.one_of(st.none(), st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001 - stored as UTC
NUMBER_TEXTS = st.one_of(st.none(), st.sampled_from(["1", "1.0", "+2", " 3", "1e400", "inf", "nan", "", "x", "1_0"]))
TIME_TEXTS = st.one_of(st.none(), st.sampled_from(["2026-11-20T13:00:00Z", "2026-11-20 13:45", "20 November", ""]))
VALUES: list[tuple[ColumnKind, pa.DataType, st.SearchStrategy[Any]]] = [
    (ColumnKind.NUMERIC, pa.float64(), NUMBERS),
    (ColumnKind.NUMERIC, pa.float64(), st.just(3.7)),
    (ColumnKind.NUMERIC, pa.int64(), st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))),
    (ColumnKind.NUMERIC, pa.bool_(), st.one_of(st.none(), st.booleans())),
    (ColumnKind.NUMERIC, pa.string(), NUMBER_TEXTS),
    (ColumnKind.NUMERIC, pa.list_(pa.int64()), st.lists(st.integers(0, 1), max_size=1)),
    (ColumnKind.CATEGORICAL, pa.string(), TEXTS),
    (ColumnKind.CATEGORICAL, pa.dictionary(pa.int32(), pa.string()), TEXTS),
    (ColumnKind.CATEGORICAL, pa.float64(), NUMBERS),
    (ColumnKind.CATEGORICAL, pa.binary(), st.one_of(st.none(), st.sampled_from([b"", b"a", b"\xff"]))),
    (ColumnKind.BOOLEAN, pa.float64(), st.sampled_from([None, 0.0, 1.0, 2.0])),
    (ColumnKind.DATETIME, pa.timestamp("us", tz="UTC"), MOMENTS),
    (ColumnKind.DATETIME, pa.string(), TIME_TEXTS),
    (ColumnKind.DATETIME, pa.int64(), st.integers(0, 9)),
]
BATCHES = st.integers(1, 4)


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    # Nearly all of what goes wrong goes wrong with few rows; some lists are long enough for quantile bins.
    return st.one_of(st.lists(values, max_size=6), st.lists(values, min_size=22, max_size=40))


def array(values: list[Any], type_: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, type=type_)])


@st.composite
def batches(draw: st.DrawFn) -> tuple[Column, list[pa.ChunkedArray]]:
    kind, type_, values = draw(st.sampled_from(VALUES))
    spec = column("x", array(draw(some(values)), type_), kind, groups=draw(st.sampled_from([2, 10])))
    return spec, [array(draw(some(values)), type_) for _ in range(draw(BATCHES))]


@st.composite
def column_profiles(draw: st.DrawFn) -> Case:
    spec, parts = draw(batches())
    joined = pa.chunked_array([chunk for part in parts for chunk in part.chunks], type=parts[0].type)
    return Case(
        [ColumnProfile.of(part, spec) for part in parts],
        ColumnProfile.of(joined, spec),
        ColumnProfile.empty(spec.bins),
        lambda profile: profile_from_json(json.loads(json.dumps(profile_to_json(profile), allow_nan=False))),
    )


@st.composite
def profiles(draw: st.DrawFn) -> Case:
    number = draw(BATCHES)
    specs: dict[str, Column] = {}
    columns: dict[str, list[pa.ChunkedArray]] = {}
    lengths = draw(st.lists(st.integers(0, 8), min_size=number, max_size=number))
    for name in ("a", "b", "never logged"):
        kind, type_, values = draw(st.sampled_from(VALUES))
        specs[name] = column(name, array(draw(some(values)), type_), kind)
        drawn = [draw(st.lists(values, min_size=size, max_size=size)) for size in lengths]
        columns[name] = [array(part, type_) for part in drawn]
    del columns["never logged"]
    tables = [pa.table({name: parts[place] for name, parts in columns.items()}) for place in range(number)]
    return Case(
        [Profile.of(table, VERSION, specs) for table in tables],
        Profile.of(pa.concat_tables(tables), VERSION, specs),
        Profile.empty(VERSION, specs),
        stored_profile,
    )


SCORES = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 0.5, 0.002, 1e-320, -0.1, 1.1, float("nan")]), st.floats(0, 1))
LABELS = st.sampled_from([None, 0.0, 1.0, 2.0, float("nan"), float("inf")])


@st.composite
def outcome_profiles(draw: st.DrawFn) -> Case:
    with_score, with_prediction = draw(st.booleans()), draw(st.booleans())

    def table(rows: list[tuple[Any, ...]]) -> pa.Table:
        names = {"actual": pa.float64(), "score": pa.float64(), "prediction": pa.float64()}
        columns = {name: pa.array([row[at] for row in rows], type_) for at, (name, type_) in enumerate(names.items())}
        moments = [row[3].replace(tzinfo=UTC) if row[3] else None for row in rows]
        return pa.table(columns | {"labelled_at": pa.array(moments, pa.timestamp("us", tz="UTC"))})

    def record(joined: pa.Table) -> OutcomeProfile:
        score, prediction = "score" if with_score else None, "prediction" if with_prediction else None
        return BinaryOutcomes.of(joined, score=score, prediction=prediction)

    moments = st.one_of(st.none(), st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001 - as above
    rows = st.lists(st.tuples(LABELS, SCORES, LABELS, moments), max_size=30)
    tables = [table(draw(rows)) for _ in range(draw(BATCHES))]
    parts = [record(part) for part in tables]
    return Case(parts, record(pa.concat_tables(tables)), BinaryOutcomes(), stored_outcome)


def stored_profile(profile: Profile) -> Profile:
    with tempfile.TemporaryDirectory() as folder:
        store = HourlyStore(Path(folder))
        store.write_profiles("m", START, [profile])
        (found,) = store.read_profiles("m", START, START.replace(hour=1))[START]
    return found


def stored_outcome(outcome: OutcomeProfile) -> OutcomeProfile:
    assert same(outcome_from_json(json.loads(json.dumps(outcome.to_json(), allow_nan=False))), outcome)
    with tempfile.TemporaryDirectory() as folder:
        store = HourlyStore(Path(folder))
        store.write_outcomes("m", START, {VERSION: outcome})
        found: OutcomeProfile = store.read_outcomes("m", START, START.replace(hour=1))[START][VERSION]
    return found


@st.composite
def distinct_counts(draw: st.DrawFn) -> Case:
    # Stretches of numbers, so that some examples have more values than the sketch keeps.
    stretches = st.tuples(st.integers(0, 1500), st.integers(0, 700)).map(lambda each: range(each[0], sum(each)))
    parts = [[str(number) for number in draw(stretches)] + draw(some(st.sampled_from(NAMES))) for _ in range(3)]
    return Case(
        [DistinctCount.of(part) for part in parts],
        DistinctCount.of([value for part in parts for value in part]),
        DistinctCount.empty(),
        lambda count: DistinctCount(bytes(count.sketch)),
    )


@st.composite
def log_histograms(draw: st.DrawFn) -> Case:
    values = st.one_of(st.sampled_from(SPECIAL), st.floats(), st.floats(0.001, 10))
    parts = [np.array(draw(some(values)), np.float64) for _ in range(draw(BATCHES))]
    return Case(
        [LogHistogram.of(part) for part in parts],
        LogHistogram.of(np.concatenate(parts)),
        LogHistogram.empty(),
        lambda histogram: LogHistogram.from_json(json.loads(json.dumps(histogram.to_json(), allow_nan=False))),
    )


EXAMPLES: Mapping[str, st.SearchStrategy[Case]] = {
    "monitoring_pipeline.describe.profiles:ColumnProfile": column_profiles(),
    "monitoring_pipeline.describe.profiles:Profile": profiles(),
    "monitoring_pipeline.describe.outcomes:OutcomeProfile": outcome_profiles(),
    "monitoring_pipeline.describe.log_histogram:LogHistogram": log_histograms(),
    "monitoring_pipeline.stats.cardinality:DistinctCount": distinct_counts(),
}
every_mergeable = pytest.mark.parametrize("name", EXAMPLES)


def same(found: Any, expected: Any, *, rounding: float = 0.0, size: float = 0.0) -> bool:
    """Whether two records are equal: whole numbers exactly, floats up to `rounding` of their size."""
    if is_dataclass(expected):
        if isinstance(expected, ColumnProfile):
            # Cauchy and Schwarz: the sizes of what was added to `sums` add up to at most this.
            size = float(np.sqrt(expected.squares) * np.sqrt(expected.rows))
        if isinstance(expected, LogHistogram):
            one_sided = LogHistogram({abs(number): count for number, count in expected.buckets.items()})
            size = 2.0 * expected.count * float(one_sided.quantile(1.0)) if expected.count else 0.0
        names = [entry.name for entry in fields(expected)]
        return all(
            same(
                getattr(found, name),
                getattr(expected, name),
                rounding=rounding,
                size=size if name in ("sums", "total") else 0.0,
            )
            for name in names
        )
    if isinstance(expected, Mapping):
        return found.keys() == expected.keys() and all(
            same(found[key], value, rounding=rounding) for key, value in expected.items()
        )
    if isinstance(expected, np.ndarray):
        if found.shape != expected.shape or found.dtype != expected.dtype:
            return False
        if expected.dtype.kind == "f":
            assert np.isfinite(expected).all(), "sums stay finite, so that they can be added and written as JSON"
            return bool((np.abs(found - expected) <= rounding * np.maximum(np.abs(expected), size)).all())
        return bool((found == expected).all())
    if isinstance(expected, float) and np.isfinite(expected):
        return bool(abs(found - expected) <= rounding * max(abs(expected), size))
    return bool(found == expected)


def test_every_class_that_merges_has_an_example_generator() -> None:
    found = classes_that_merge()
    assert found.keys() >= EXAMPLES.keys(), "a class named in EXAMPLES no longer merges, or moved: correct EXAMPLES"
    missing = {name: path for name, path in found.items() if name not in EXAMPLES}
    assert not missing, f"classes with `merge` but without a generator in EXAMPLES of {Path(__file__).name}: {missing}"


@every_mergeable
def test_merging_gives_what_one_pass_over_all_rows_gives(name: str) -> None:
    @LAWS
    @given(EXAMPLES[name])
    def law(case: Case) -> None:
        merged = reduce(lambda left, right: left.merge(right), case.parts)
        assert same(merged, case.whole, rounding=ROUNDING)

    law()


@every_mergeable
def test_the_record_of_no_rows_changes_nothing(name: str) -> None:
    @LAWS
    @given(EXAMPLES[name])
    def law(case: Case) -> None:
        assert same(case.empty.merge(case.empty), case.empty)
        for part in case.parts:
            assert same(part.merge(case.empty), part)
            assert same(case.empty.merge(part), part)

    law()


@every_mergeable
def test_merging_does_not_depend_on_the_order(name: str) -> None:
    @LAWS
    @given(EXAMPLES[name])
    def law(case: Case) -> None:
        first, last = case.parts[0], case.parts[-1]
        assert same(first.merge(last), last.merge(first))

    law()


@every_mergeable
def test_merging_does_not_depend_on_the_grouping(name: str) -> None:
    @LAWS
    @given(EXAMPLES[name])
    def law(case: Case) -> None:
        a, b, c = (case.parts * 3)[:3]
        assert same(a.merge(b).merge(c), a.merge(b.merge(c)), rounding=ROUNDING)

    law()


@every_mergeable
def test_a_stored_record_comes_back_bit_for_bit(name: str) -> None:
    @LAWS
    @given(EXAMPLES[name])
    def law(case: Case) -> None:
        for record in (case.whole, case.empty):
            assert same(case.round_trip(record), record)

    law()


def test_what_does_not_belong_together_does_not_merge() -> None:
    own = {"a": column("a", [1.0])}
    first = Profile.empty("1", own)
    for other in (
        Profile.empty("2", own),
        Profile.empty("1", {}),
        Profile.empty("1", own, "x"),
        Profile.empty("1", {"a": column("a", [2.0])}),
    ):
        with pytest.raises(ValueError, match=f"{other.version}.*{other.segment}.*{other.bins}.*do not add up"):
            first.merge(other)


def test_unseen_categories_are_all_counted_even_when_not_all_are_named() -> None:
    spec = column("plan", ["basic"], ColumnKind.CATEGORICAL)
    parts = [ColumnProfile.of(array([f"{batch}-{n}" for n in range(80)], pa.string()), spec) for batch in range(3)]
    merged = reduce(lambda left, right: left.merge(right), parts)
    assert merged.unseen_rows == 240
    assert len(merged.unseen) == 50
