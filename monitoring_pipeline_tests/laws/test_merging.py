"""Every class of the package that has `merge`: merging is addition, however the rows were split.

Add an example generator to `EXAMPLES` when a class that merges is added; until then the first test fails. Keep the
meaning of single counters out: it belongs in the tests of the module.
"""

import ast
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import monitoring_pipeline
from monitoring_pipeline.capture.labels import LABELLED
from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.business import BusinessProfile, FormulaSums
from monitoring_pipeline.describe.columns import Column, ColumnKind
from monitoring_pipeline.describe.experiment_arms import ExperimentArm, ExperimentColumns
from monitoring_pipeline.describe.formulas import Formula
from monitoring_pipeline.describe.freshness import FreshnessProfile, LoggedSource, SourceAges
from monitoring_pipeline.describe.intake import IntakeProfile
from monitoring_pipeline.describe.label_arrivals import LabelArrivals
from monitoring_pipeline.describe.log_histogram import LogHistogram
from monitoring_pipeline.describe.loss_model import LossModel
from monitoring_pipeline.describe.moments import Moments
from monitoring_pipeline.describe.objectives import ObjectiveCounts
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.describe.outcome_plan import OutcomePlan, outcome_from_json
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task
from monitoring_pipeline.describe.profiles import ColumnProfile, Profile
from monitoring_pipeline.describe.quarantine import IntakePlan
from monitoring_pipeline.describe.reference_json import profile_from_json, profile_to_json
from monitoring_pipeline.stats.cardinality import DistinctCount
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline_tests.traffic import LOG, START, VERSION, column

PACKAGE = Path(monitoring_pipeline.__file__).parent

ROUNDING = 1e-12
"""Of the sum of the sizes of what was added: where terms cancel, rounding is relative to them and not to their sum."""


def classes_that_merge() -> dict[str, str]:
    """Return `module:Class` of every class that merges, by itself or as `Counters`, read from the source."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text())):
            bases = {getattr(base, "id", "") for base in getattr(node, "bases", [])}
            if not isinstance(node, ast.ClassDef) or "Protocol" in bases or node.name == "Counters":
                continue
            if "Counters" in bases or any(getattr(item, "name", "") == "merge" for item in node.body):
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


CLASSES = ("blue", "green", "red")


@st.composite
def multiclass_outcomes(draw: st.DrawFn) -> Case:
    named = st.sampled_from([None, "purple", *CLASSES])
    rows = st.lists(st.tuples(named, named, *(SCORES for _ in CLASSES)), max_size=20)
    plan = OutcomePlan(
        Task.MULTICLASS,
        LogColumns(
            prediction=draw(st.sampled_from([None, "prediction"])), probabilities={each: each for each in CLASSES}
        ),
        classes=CLASSES,
    )
    kinds = (pa.string(), pa.string(), *(pa.float64() for _ in CLASSES))
    tables = []
    for _ in range(draw(BATCHES)):
        drawn = draw(rows)
        names = ("actual", "prediction", *CLASSES)
        columns = {name: pa.array([row[at] for row in drawn], kinds[at]) for at, name in enumerate(names)}
        tables.append(pa.table(columns | {"labelled_at": pa.nulls(len(drawn), pa.timestamp("us", tz="UTC"))}))
    return Case([plan.of(part) for part in tables], plan.of(pa.concat_tables(tables)), plan.empty(), stored_outcome)


@st.composite
def label_arrivals(draw: st.DrawFn) -> Case:
    seconds = st.one_of(st.none(), st.integers(-100, 10_000_000))
    rows = st.lists(st.tuples(seconds, st.booleans(), st.booleans()), max_size=20)
    tables = []
    for _ in range(draw(BATCHES)):
        drawn = draw(rows)
        known = [None if late is None else START + timedelta(seconds=late) for late, _, _ in drawn]
        values = [None if late is None else float(value) for late, value, _ in drawn]
        first = [None if late is None else float(value) for late, _, value in drawn]
        columns = dict(zip(LABELLED, (values, known, first, known, [1] * len(drawn)), strict=True))
        table = pa.table({name: pa.array(columns[name], LABELLED[name]) for name in LABELLED})
        tables.append(table.append_column("at", pa.array([START] * len(drawn), LABELLED["labelled_at"])))
    parts = [LabelArrivals.of(part, predicted_at="at") for part in tables]
    whole = LabelArrivals.of(pa.concat_tables(tables), predicted_at="at")
    return Case(parts, whole, LabelArrivals.empty(), lambda each: LabelArrivals.from_json(each.to_json()))


NEAR_NUMBERS = st.one_of(NUMBERS, st.floats(-10, 10))


@st.composite
def regression_outcomes(draw: st.DrawFn) -> Case:
    names = ("actual", "prediction", "lower", "upper")
    lower, upper = draw(st.sampled_from([(None, None), ("lower", "upper")]))
    columns = LogColumns(prediction="prediction", lower=lower, upper=upper)
    plan = OutcomePlan(Task.REGRESSION, columns, quantile=draw(st.sampled_from([0.5, 0.9])))
    tables = []
    for _ in range(draw(BATCHES)):
        rows = draw(some(st.tuples(*(NEAR_NUMBERS for _ in names))))
        columns_of_rows = {name: pa.array([row[at] for row in rows], pa.float64()) for at, name in enumerate(names)}
        tables.append(pa.table(columns_of_rows | {"labelled_at": pa.nulls(len(rows), pa.timestamp("us", tz="UTC"))}))
    losses = draw(st.sampled_from([None, loss_model()]))
    parts = [plan.of(part, (), losses) for part in tables]
    return Case(parts, plan.of(pa.concat_tables(tables), (), losses), plan.empty(), stored_outcome)


@cache
def loss_model() -> LossModel | None:
    served = np.linspace(-10, 10, 400)
    prediction = column("prediction", served)
    return LossModel.of(pa.table({"prediction": served}), {"prediction": prediction}, np.abs(served) * np.sin(served))


@st.composite
def ranking_outcomes(draw: st.DrawFn) -> Case:
    plan = OutcomePlan(Task.RANKING, LogColumns(request="request", item="item"), top=draw(st.sampled_from([1, 3])))
    rows = st.lists(
        st.tuples(
            st.sampled_from([None, "a", "b", "c"]), TEXTS, SCORES, st.one_of(LABELS, st.sampled_from([3.0, -1.0]))
        ),
        max_size=30,
    )
    kinds = {"request": pa.string(), "item": pa.string(), "score": pa.float64(), "actual": pa.float64()}
    tables = []
    for batch in range(draw(BATCHES)):
        # A request belongs to one batch: one that two hours share is a list of each.
        drawn = [(each[0] and f"{each[0]}{batch}", *each[1:]) for each in draw(rows)]
        columns = {name: pa.array([row[at] for row in drawn], kind) for at, (name, kind) in enumerate(kinds.items())}
        tables.append(pa.table(columns | {"labelled_at": pa.nulls(len(drawn), pa.timestamp("us", tz="UTC"))}))
    return Case([plan.of(part) for part in tables], plan.of(pa.concat_tables(tables)), plan.empty(), stored_outcome)


@st.composite
def moments(draw: st.DrawFn) -> Case:
    pairs = st.tuples(st.one_of(st.floats(-1e30, 1e30), st.floats(-10, 10)), st.floats(0, 1e6))
    parts = [np.array(draw(some(pairs)), np.float64).reshape(-1, 2).T for _ in range(draw(BATCHES))]
    return Case(
        [Moments.of(*part) for part in parts],
        Moments.of(*np.concatenate(parts, axis=1)),
        Moments.empty(),
        lambda found: Moments.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))),
    )


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


PAST = st.one_of(st.none(), st.datetimes(datetime(2026, 11, 18), datetime(2026, 11, 21)))  # noqa: DTZ001 - as above
SERVED = st.tuples(
    st.datetimes(datetime(2026, 11, 20), datetime(2026, 11, 20, 1)),  # noqa: DTZ001 - as above
    st.sampled_from([None, "ok", "200", "timeout", "", "x" * 200]),
    st.sampled_from([None, "champion", "fallback"]),
    st.sampled_from([None, 1, 7, 32, -1]),
    st.one_of(NUMBERS, st.floats(0, 1e4)),
    PAST,
    PAST,
)


@st.composite
def served_rows(draw: st.DrawFn) -> list[pa.Table]:
    """Return parts of a log with what was served, by whom and how fast, and of what age."""
    time = pa.timestamp("us", tz="UTC")
    types = {"predicted_at": time, "status": pa.string(), "by": pa.string(), "batch": pa.int64(), "ms": pa.float64()}
    types |= {"users_at": time, "items_at": time}
    parts = [draw(st.lists(SERVED, max_size=5)) for _ in range(draw(BATCHES))]
    return [
        pa.table({name: pa.array([row[at] for row in part], type_) for at, (name, type_) in enumerate(types.items())})
        for part in parts
    ]


@st.composite
def operations_profiles(draw: st.DrawFn) -> Case:
    columns = LogColumns(status="status", served_by="by", batch_rows="batch", latency_ms={"total": "ms"})
    parts = draw(served_rows())
    return Case(
        [OperationsProfile.of(part, columns) for part in parts],
        OperationsProfile.of(pa.concat_tables(parts), columns),
        OperationsProfile.empty(),
        lambda record: OperationsProfile.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))),
    )


# Quarters, whose sums and squares are exact: those of arms are of either sign and may cancel.
OUTCOMES = st.one_of(st.none(), st.integers(-40, 40).map(lambda number: number / 4), st.sampled_from(NOT_FINITE))


@st.composite
def experiment_arms(draw: st.DrawFn) -> Case:
    what, log = ExperimentColumns("users_at", "by", "items_at"), LogColumns(status="status", latency_ms={"total": "ms"})
    parts = []
    for part in draw(served_rows()):
        for name in ("users_at", "items_at"):
            values = draw(st.lists(OUTCOMES, min_size=part.num_rows, max_size=part.num_rows))
            part = part.set_column(part.column_names.index(name), name, pa.array(values, pa.float64()))
        parts.append(part)
    return Case(
        [ExperimentArm.of(part, what, log) for part in parts],
        ExperimentArm.of(pa.concat_tables(parts), what, log),
        ExperimentArm.empty(),
        lambda record: ExperimentArm.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))),
    )


@st.composite
def freshness_profiles(draw: st.DrawFn) -> Case:
    ages = {"users": timedelta(hours=6), "items": timedelta(minutes=5)}
    sources = [LoggedSource(name=name, max_age=age, column=f"{name}_at") for name, age in ages.items()]
    parts = draw(served_rows())
    return Case(
        [FreshnessProfile.of(part, sources, predicted_at="predicted_at") for part in parts],
        FreshnessProfile.of(pa.concat_tables(parts), sources, predicted_at="predicted_at"),
        FreshnessProfile.empty(),
        lambda record: FreshnessProfile.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))),
    )


@st.composite
def source_ages(draw: st.DrawFn) -> Case:
    values = st.one_of(st.sampled_from(SPECIAL), st.floats(-20, 1000))
    parts = [(np.array(draw(some(values)), np.float64), draw(st.sampled_from(["", "a", "b"]))) for _ in range(3)]
    whole, worst = np.concatenate([part for part, _ in parts]), max(problem for _, problem in parts)
    limit = timedelta(minutes=5)
    return Case(
        [SourceAges.of(part, limit, problem=problem) for part, problem in parts],
        SourceAges.of(whole, limit, problem=worst),
        SourceAges.empty(),
        lambda record: SourceAges.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))),
    )


@st.composite
def intake_profiles(draw: st.DrawFn) -> Case:
    # Every batch is an hour of its own; so are the ids that have no time.
    kind, type_, values = draw(st.sampled_from(VALUES))
    plan = IntakePlan(LOG, {"x": kind, "y": ColumnKind.NUMERIC}, ("x",), ("y",), longest=2)

    def table(number: int) -> pa.Table:
        size = draw(st.integers(0, 8))

        def column(each: st.SearchStrategy[Any]) -> list[Any]:
            return draw(st.lists(each, min_size=size, max_size=size))

        moment = START.replace(hour=number)
        return pa.table(
            {
                "prediction_id": pa.array(column(st.sampled_from([None, "a", "b", "c"])), pa.string()),
                "predicted_at": pa.array(column(st.sampled_from([None, moment])), pa.timestamp("us", tz="UTC")),
                "x": pa.array(column(values), type_),
                "y": pa.array(column(st.sampled_from([None, 0.5, 2.0, float("inf")])), pa.float64()),
            }
        )

    tables = [table(number) for number in range(draw(BATCHES))]
    return Case(
        [IntakeProfile.of(part, plan) for part in tables],
        IntakeProfile.of(pa.concat_tables(tables), plan),
        IntakeProfile.empty(),
        lambda record: IntakeProfile.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))),
    )


FORMULAS = {
    "mean": Formula.parse("mean(x) + count() - share(x > 1)"),
    "ends": Formula.parse("max(x) - min(y)"),
    "labels": Formula.parse("sum(where(actual == 1, x, y)) / count(plan == 'a')"),
    "failing": Formula.parse("sum(nowhere)"),
}
# Halves, so that sums are exact: what rounding does where terms cancel is numpy's.
HALVES = st.one_of(
    st.none(), st.sampled_from([float("nan"), float("inf"), -1e200]), st.integers(-9, 9).map(lambda n: n / 2)
)


@st.composite
def business_tables(draw: st.DrawFn) -> list[pa.Table]:
    types = {"x": pa.float64(), "y": pa.float64(), "plan": pa.string(), "actual": pa.float64()}
    row = st.tuples(HALVES, HALVES, TEXTS, LABELS)
    batches = [draw(st.lists(row, max_size=20)) for _ in range(draw(BATCHES))]
    return [
        pa.table({name: pa.array([row[at] for row in rows], type_) for at, (name, type_) in enumerate(types.items())})
        for rows in batches
    ]


@st.composite
def business_profiles(draw: st.DrawFn) -> Case:
    tables = draw(business_tables())

    def record(rows: pa.Table) -> BusinessProfile:
        return BusinessProfile.of(rows, FORMULAS, LOG)

    return Case(
        [record(part) for part in tables],
        record(pa.concat_tables(tables)),
        BusinessProfile.empty(),
        lambda profile: BusinessProfile.from_json(json.loads(json.dumps(profile.to_json(), allow_nan=False))),
    )


@st.composite
def formula_sums(draw: st.DrawFn) -> Case:
    tables, formula = draw(business_tables()), draw(st.sampled_from(list(FORMULAS.values())))
    return Case(
        [FormulaSums.of(part, formula, LOG) for part in tables],
        FormulaSums.of(pa.concat_tables(tables), formula, LOG),
        FormulaSums.empty(formula),
        lambda sums: FormulaSums.from_json(json.loads(json.dumps(sums.to_json(), allow_nan=False))),
    )


@st.composite
def objective_counts(draw: st.DrawFn) -> Case:
    counts = st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)).map(lambda each: (each[0], sum(each)))
    hour = st.dictionaries(st.sampled_from(["availability", "drift", "freshness"]), counts)
    parts = [draw(st.lists(hour, max_size=4)) for _ in range(draw(BATCHES))]
    return Case(
        [ObjectiveCounts.of(part) for part in parts],
        ObjectiveCounts.of([hour for part in parts for hour in part]),
        ObjectiveCounts.empty(),
        lambda record: ObjectiveCounts.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))),
    )


EXAMPLES: Mapping[str, st.SearchStrategy[Case]] = {
    "monitoring_pipeline.describe.business:BusinessProfile": business_profiles(),
    "monitoring_pipeline.describe.business:FormulaSums": formula_sums(),
    "monitoring_pipeline.describe.intake:IntakeProfile": intake_profiles(),
    "monitoring_pipeline.describe.profiles:ColumnProfile": column_profiles(),
    "monitoring_pipeline.describe.profiles:Profile": profiles(),
    "monitoring_pipeline.describe.outcomes:OutcomeProfile": st.one_of(
        outcome_profiles(), multiclass_outcomes(), regression_outcomes(), ranking_outcomes()
    ),
    "monitoring_pipeline.describe.moments:Moments": moments(),
    "monitoring_pipeline.describe.experiment_arms:ExperimentArm": experiment_arms(),
    "monitoring_pipeline.describe.freshness:FreshnessProfile": freshness_profiles(),
    "monitoring_pipeline.describe.freshness:SourceAges": source_ages(),
    "monitoring_pipeline.describe.label_arrivals:LabelArrivals": label_arrivals(),
    "monitoring_pipeline.describe.log_histogram:LogHistogram": log_histograms(),
    "monitoring_pipeline.describe.objectives:ObjectiveCounts": objective_counts(),
    "monitoring_pipeline.describe.operations:OperationsProfile": operations_profiles(),
    "monitoring_pipeline.stats.cardinality:DistinctCount": distinct_counts(),
}


def same(found: Any, expected: Any, *, rounding: float = 0.0, size: Any = 0.0) -> bool:
    """Whether two records are equal: whole numbers exactly, floats up to `rounding` of their size."""
    if is_dataclass(expected):
        if isinstance(expected, ColumnProfile):
            # Cauchy and Schwarz: the sizes of what was added to `sums` add up to at most this.
            size = float(np.sqrt(expected.squares) * np.sqrt(expected.rows))
        if isinstance(expected, LogHistogram):
            one_sided = LogHistogram({abs(number): count for number, count in expected.buckets.items()})
            size = 2.0 * expected.count * float(one_sided.quantile(1.0)) if expected.count else 0.0
        sizes = {"sums": size, "total": size}
        if isinstance(expected, Moments):
            largest = abs(expected.centre) + expected.sums[0, 4] ** 0.25
            sizes = {"centre": largest, "sums": expected.sums[:, :1] * largest ** np.arange(5)}
        return all(
            same(getattr(found, name), getattr(expected, name), rounding=rounding, size=sizes.get(name, 0.0))
            for name in (entry.name for entry in fields(expected))
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


def merging_gives_what_one_pass_over_all_rows_gives(case: Case) -> None:
    merged = reduce(lambda left, right: left.merge(right), case.parts)
    assert same(merged, case.whole, rounding=ROUNDING)


def the_record_of_no_rows_changes_nothing(case: Case) -> None:
    assert same(case.empty.merge(case.empty), case.empty)
    for part in case.parts:
        assert same(part.merge(case.empty), part)
        assert same(case.empty.merge(part), part)


def merging_does_not_depend_on_the_order(case: Case) -> None:
    first, last = case.parts[0], case.parts[-1]
    assert same(first.merge(last), last.merge(first))


def merging_does_not_depend_on_the_grouping(case: Case) -> None:
    a, b, c = (case.parts * 3)[:3]
    assert same(a.merge(b).merge(c), a.merge(b.merge(c)), rounding=ROUNDING)


def a_stored_record_comes_back_bit_for_bit(case: Case) -> None:
    for record in (case.whole, case.empty):
        assert same(case.round_trip(record), record)


@pytest.mark.parametrize("name", EXAMPLES)
def test_merging_is_addition(name: str) -> None:
    loss_model()  # loads libraries that draw random numbers, which nothing may do while an example is made

    # All laws of one example: making it takes ten times as long as holding it against them.
    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(EXAMPLES[name])
    def laws(case: Case) -> None:
        merging_gives_what_one_pass_over_all_rows_gives(case)
        the_record_of_no_rows_changes_nothing(case)
        merging_does_not_depend_on_the_order(case)
        merging_does_not_depend_on_the_grouping(case)
        a_stored_record_comes_back_bit_for_bit(case)

    laws()


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
