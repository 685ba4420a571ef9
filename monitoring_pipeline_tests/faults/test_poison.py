"""Poison: whatever one column of a log holds, every signal that does not depend on it stays the same, bit by bit.

The cases are a sample that holds every role and every bad value; `POISON=all` runs all of them.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from monitoring_pipeline.capture.labels import hours_in
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.describe.reference_building import specs_of
from monitoring_pipeline.describe.reference_json import reference_to_json
from monitoring_pipeline.errors import TableError
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.retrain.registry import ModelRegistry
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline.stores.reference_store import ReferenceStore
from monitoring_pipeline.workflow.offline import evaluate_against
from monitoring_pipeline.workflow.stages import REPORTS, Stages
from monitoring_pipeline_tests import traffic
from monitoring_pipeline_tests.poison import (
    AN_HOUR,
    TYPES,
    VALUES,
    Role,
    Test,
    any_of,
    labels,
    logged,
    meaningless,
    monitor,
    of,
    put,
    reference,
    roles,
    served,
)
from monitoring_pipeline_tests.traffic import START, hour, log_rows

pytestmark = pytest.mark.slow

EVERYTHING = os.environ.get("POISON") == "all"
A_ROW, SOME_ROWS, ONE_OF_TWO_COPIES = (37,), (5, 30, 31, 32, 45, 80, 81, 100), (12,)
KINDS = list(ColumnKind)

Signals = Mapping[Any, Signal]


class Case(NamedTuple):
    """A bad value in some places of a column (in all of them: None), or a type that a whole column turns into."""

    role: Role
    name: str
    places: tuple[int, ...] | None

    def poisoned(self, rows: pa.Table) -> pa.Table:
        return replaced(rows, self.role.column, self._column(rows[self.role.column]))

    def hurt(self, rows: int) -> tuple[int, ...]:
        return tuple(range(rows)) if self.places is None else self.places

    def _column(self, column: pa.ChunkedArray) -> pa.Array:
        if self.name in TYPES:
            return TYPES[self.name](len(column))
        return put(column, self.hurt(len(column)), VALUES[self.name])


def replaced(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, column)


def all_cases(role: Role) -> list[Case]:
    places = (A_ROW, SOME_ROWS, ONE_OF_TWO_COPIES, None)
    return [
        *(Case(role, name, each) for each in places for name in VALUES),
        *(Case(role, name, None) for name in TYPES),
    ]


def some_case(role: Role, number: int) -> Case:
    """Return a case for the role of this number: all values in rows and all types come up, then some whole columns."""
    of_rows = [Case(role, name, (A_ROW, SOME_ROWS, ONE_OF_TWO_COPIES)[turn % 3]) for turn, name in enumerate(VALUES)]
    of_types = [Case(role, name, None) for name in TYPES]
    mixed = [case for pair in zip_longest(of_rows, of_types) for case in pair if case is not None]
    cases = [*mixed, *(Case(role, name, None) for name in VALUES)]
    return cases[number % len(cases)]


ROLES = [
    (task, role)
    for task in Task
    for role in roles(task)
    # What no task reads in a way of its own is read the same in all of them; losses are expected from features.
    if task is Task.BINARY or role.of_task or (task is Task.REGRESSION and role.column in ("amount", "plan"))
]


def evaluated(task: Task, rows: pa.Table, known: pa.Table) -> Signals:
    return by_key(evaluate_against(monitor(task), reference(task), rows, known).signals)


@cache
def clean(task: Task) -> Signals:
    return evaluated(task, logged(task), labels(task))


def by_key(signals: Sequence[Signal]) -> Signals:
    found = {signal.key: signal for signal in signals}
    assert len(found) == len(signals), "two signals of one identity"
    return found


def assert_sane(signals: Signals) -> None:
    """Every signal has a usable value, or an absence that says why; only a formula fails, of a column it cannot use."""
    for signal in signals.values():
        assert signal.absence is not Absence.FAILED or signal.metric.startswith("business."), signal
        numbers = [each for each in (signal.value, signal.low, signal.high, signal.p_value) if each is not None]
        assert np.isfinite(numbers).all(), signal
        assert signal.value is not None or signal.reason, signal


def assert_same(found: Signals, expected: Signals, *, but: Test) -> None:
    differing = [
        (found.get(key), expected.get(key))
        for key in {**found, **expected}
        if found.get(key) != expected.get(key) and not but(found.get(key) or expected[key])
    ]
    assert not differing, differing[:3]


def without(rows: pa.Table, places: Sequence[int]) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(pa.array(np.arange(rows.num_rows)), pa.array(places, pa.int64()))))


@cache
def poorer(task: Task, role: Role, places: tuple[int, ...]) -> Signals | None:
    """Return the signals without what a meaningless value costs, None where that is everything."""
    tables = {"log": logged(task), "labels": labels(task)}
    rows = tables[role.table]
    missing = replaced(rows, role.column, put(rows[role.column], places, None))
    tables[role.table] = without(rows, places) if role.lost == "row" else missing
    return evaluated(task, tables["log"], tables["labels"]) if tables["log"].num_rows else None


@pytest.mark.parametrize(
    ("task", "role"), ROLES, ids=[f"{task.name}-{role.table}-{role.column}" for task, role in ROLES]
)
def test_a_bad_value_changes_no_signal_that_does_not_depend_on_it(task: Task, role: Role) -> None:
    for case in all_cases(role) if EVERYTHING else [some_case(role, ROLES.index((task, role)))]:
        tables = {"log": logged(task), "labels": labels(task)}
        tables[role.table] = case.poisoned(tables[role.table])
        refused = ""
        try:
            found = evaluated(task, tables["log"], tables["labels"])
        except TableError as error:
            found, refused = {}, str(error)
        if refused:
            # Nothing can be told from a log in which no row has an id and a time: that is refused, by name.
            assert (case.places, role.lost) == (None, "row"), (case, refused)
            assert repr(role.column) in refused
            continue
        assert_sane(found)
        assert_same(found, clean(task), but=any_of(role.describes, role.uses))
        places = case.hurt(tables[role.table].num_rows)
        if places != ONE_OF_TWO_COPIES and meaningless(role, case.name):
            less = poorer(task, role, places)
            assert_same(found, found if less is None else less, but=role.describes)


def test_an_id_nobody_knows_costs_its_label_alone() -> None:
    rows, known = logged(Task.BINARY), labels(Task.BINARY)
    alone = without(known, A_ROW)
    for name, value in VALUES.items():
        if value is not None and (EVERYTHING or name in ("NaN", "bytes", "a megabyte")):
            case = Case(Role("prediction_id", of("quality.oversized_rate")), name, A_ROW)
            found = evaluated(Task.BINARY, case.poisoned(rows), known)
            assert_same(found, evaluated(Task.BINARY, rows, alone), but=case.role.describes)


@cache
def of_another_version() -> Signals:
    return evaluated(Task.BINARY, with_versions("2"), labels(Task.BINARY))


def with_versions(name: Any) -> pa.Table:
    rows = logged(Task.BINARY)
    return replaced(rows, "model_version", put(rows["model_version"], SOME_ROWS, name))


@pytest.mark.parametrize("name", ["text", "infinite", "bytes", "a megabyte", "null"])
def test_a_version_of_any_kind_is_a_version(name: str) -> None:
    found = evaluated(Task.BINARY, with_versions(VALUES[name]), labels(Task.BINARY))
    assert_sane(found)
    told, again = (
        {
            (*key[:2], signal.version == "1", *key[3:]): replace(signal, version="", reason="")
            for key, signal in each.items()
        }
        for each in (found, of_another_version())
    )
    assert told == again


@pytest.mark.parametrize("column", ["amount", "plan", "vip", "joined", "sex", "orders_at"])
def test_a_missing_column_changes_no_signal_of_another(column: str) -> None:
    task = Task.BINARY
    role = next(role for role in roles(task) if role.column == column)
    found = evaluated(task, logged(task).drop_columns([column]), labels(task))
    assert_sane(found)
    assert_same(found, clean(task), but=any_of(role.describes, role.uses, of("schema.*")))


ELSEWHERE = of("labels.feedback_*", "concept.*", "estimate.largest_error", "model.*")
"""What looks at other hours than its own."""


def stored(folder: Path, bad: Mapping[int, Case]) -> dict[int, Signals]:
    """Return the signals by hour of logs that are stored hour by hour, some of them with a bad value."""
    asked, hours = monitor(Task.BINARY), len(bad)
    stages = Stages(
        asked,
        ParquetPredictionLog(folder, asked.columns),
        ParquetLabelLog(folder, asked.labels.columns()),
        HourlyStore(folder),
        ReferenceStore(folder, cast("ModelRegistry", None)),
    )
    stages.references._copy(reference(Task.BINARY))
    rows = served(Task.BINARY, hours=hours)
    for number, case in bad.items():
        part = rows.slice(number * AN_HOUR, AN_HOUR)
        known = part.select(["prediction_id", "actual"]).append_column(
            "labelled_at", pc.add(part["predicted_at"], pa.scalar(timedelta(seconds=20), pa.duration("us")))
        )
        tables = {"log": part.drop_columns(["actual"]), "labels": known}
        if case.name:
            tables[case.role.table] = case.poisoned(tables[case.role.table])
        stages.predictions.append(stages.model, tables["log"])
        stages.labels.append(stages.model, tables["labels"], hours=hours_in(known["labelled_at"]))
    asked_hours = [hour(number) for number in range(hours)]
    stages.describe(asked_hours)
    stages.join(asked_hours, as_of=hour(hours))
    for name in ("drift", "quality", "operations", "performance"):
        getattr(stages, f"measure_{name}")(asked_hours)
    stages.judge(asked_hours)
    stages.diagnose(asked_hours)
    found: dict[int, list[Signal]] = {number: [] for number in bad}
    for kind in REPORTS:
        for at, signals in stages.hourly.read_signals(kind, stages.model, START, hour(hours)).items():
            found[(at - START) // HOUR] += signals
    return {number: by_key(signals) for number, signals in found.items()}


@pytest.mark.parametrize("turn", range(len(TYPES) if EVERYTHING else 1))
def test_what_one_hour_stores_in_a_column_changes_no_signal_of_another_column_or_hour(
    turn: int, tmp_path: Path
) -> None:
    names = [*TYPES, *VALUES]
    bad = {}
    # Another version has no reference here.
    for number, role in enumerate(role for role in roles(Task.BINARY) if role.column != "model_version"):
        name = names[(number * 5 + turn) % len(names)]
        whole = name in TYPES and role.lost != "row"
        bad[number] = Case(role, name if whole or name in VALUES else "text", None if whole else A_ROW)
    healthy = stored(tmp_path / "healthy", {number: Case(case.role, "", None) for number, case in bad.items()})
    for number, found in stored(tmp_path / "bad", bad).items():
        assert_sane(found)
        role = bad[number].role
        assert_same(found, healthy[number], but=any_of(ELSEWHERE, role.describes, role.uses))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TYPES)
def test_a_reference_of_bad_values_is_still_a_reference(kind: ColumnKind, name: str) -> None:
    size = 240
    good = {
        ColumnKind.NUMERIC: np.random.default_rng(1).normal(size=size),
        ColumnKind.CATEGORICAL: np.random.default_rng(2).choice(["a", "b", "c"], size),
        ColumnKind.BOOLEAN: np.random.default_rng(3).random(size) < 0.3,
        ColumnKind.DATETIME: [START + timedelta(minutes=7 * number) for number in range(size)],
    }[kind]
    specs = (*traffic.SPECS, *specs_of("feature", ColumnRole.FEATURE, kind, groups=10, aged=True))
    healthy, poisoned = (
        traffic.reference(log_rows(size, seed=5, feature=feature), specs, time="predicted_at")
        for feature in (good, TYPES[name](size))
    )
    told, usual = (reference_to_json(each)["columns"] for each in (poisoned, healthy))
    assert all(told[column.name] == usual[column.name] for column in traffic.SPECS)
    assert traffic.drift(poisoned, log_rows(size, seed=4, feature=good), [hour(0)])
