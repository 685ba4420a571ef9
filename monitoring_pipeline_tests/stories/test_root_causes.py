"""A fault is injected into served rows, the default rules notice, and the first cause named is the right one.

Four runs of each fault, in each of which it is another column, factor or delay; `SEEDS=all` runs twenty.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.labels import join_labels, prepare_labels
from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.freshness import FreshnessProfile
from monitoring_pipeline.describe.hours import outcome_hours, profile_hours, records_by_hour
from monitoring_pipeline.describe.intake import intake_of_hour
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.describe.profiles import rows_by_hour
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.judge.drift_types import diagnose_drift
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.root_causes import Cause, rank_causes
from monitoring_pipeline.judge.rules import RuleState, evaluate_rules
from monitoring_pipeline.judge.served import served_verdicts
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.offline import table_reference
from monitoring_pipeline.workflow.recorded_changes import versions_that_began
from monitoring_pipeline.workflow.reports import (
    Labelled,
    Requests,
    Served,
    drift_report,
    operations_report,
    performance_report,
    quality_report,
)
from monitoring_pipeline_tests.deployments import (
    ASKED,
    REFERENCE_DAYS,
    ROWS,
    champion,
    customers,
    hours_before,
    scored,
)
from monitoring_pipeline_tests.traffic import START, hour
from monitoring_pipeline_tests.trainers import fit_backwards

FAULT = 8
"""Number of the hour in which the fault begins."""

SEEDS = range(20 if os.environ.get("SEEDS") == "all" else 4)

OUTPUTS = {"score", "prediction"}


@cache
def monitor() -> Monitor:
    """Return the monitor of the deployments with the default rules, and with latencies and a source to watch."""
    more = {
        "columns": {"latency_ms": {"total": "latency_ms"}},
        "freshness": {"sources": [{"name": "users", "max_age": "1h", "column": "users_at"}]},
    }
    return parse_monitor({name: value for name, value in ASKED.items() if name != "rules"} | more)


def table(rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)


@cache
def reference() -> Reference:
    rows = as_logged(customers(hours_before(START, REFERENCE_DAYS)), seed=0)
    return table_reference(monitor(), table(rows), version="1", computed_at=START)


@cache
def backwards() -> Any:
    return fit_backwards(customers(hours_before(START, 2)))


def as_logged(rows: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Return scored rows with all that the log says beside: version, latency, and when the source was loaded."""
    generator = np.random.default_rng(seed)
    return scored(rows, champion()).assign(
        model_version="1",
        latency_ms=generator.gamma(4, 20, len(rows)),
        users_at=rows["predicted_at"] - pd.to_timedelta(generator.uniform(0, 50, len(rows)), "min"),
    )


def column_nulled(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The service falls back to a mean, and logs what it was given."""
    column, mean = (("usage", 50.0), ("tenure", 24.0))[seed % 2]
    return scored(rows.assign(**{column: mean}), champion()).assign(**{column: np.nan})


def unit_changed(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    column, factor = (("usage", 0.01), ("tenure", 365.25 / 12), ("usage", 1000.0), ("tenure", 1 / 12))[seed % 4]
    return scored(rows.assign(**{column: rows[column] * factor}), champion())


def source_stale(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The load stopped some time before the fault was noticed."""
    stopped = pd.Timestamp(hour(FAULT) - timedelta(hours=1 + seed % 3))
    return rows.assign(users_at=rows["users_at"].where(rows["users_at"] < stopped, stopped))


def bad_version(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A version that believes the opposite, or one whose scores are all but noise."""
    worse = scored(rows, backwards()).assign(model_version="2")
    if seed % 2:
        noise = np.random.default_rng(seed).random(len(rows))
        worse = worse.assign(score=noise, prediction=(noise >= 0.5).astype(np.int64))
    return worse


def latency_spike(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return rows.assign(latency_ms=rows["latency_ms"] * (8 + seed % 20))


def traffic_surge(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    hours = sorted(set(rows["predicted_at"].dt.floor("h").dt.to_pydatetime()))
    return as_logged(customers(hours, seed=seed + 1, rows=ROWS * (3 + seed % 4)), seed=seed)


Fault = Callable[[pd.DataFrame, int], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Story:
    """What is evaluated: the verdicts on what served in each hour, and how many rows each version served."""

    verdicts: Mapping[datetime, Sequence[Verdict]]
    served: Mapping[datetime, Mapping[str, int]]
    alarmed_at: datetime | None
    alarmed: set[str] = field(default_factory=set)

    def causes(self, at: datetime) -> list[Cause]:
        known = {hour: found for hour, found in self.verdicts.items() if hour <= at}
        diagnoses = {at: diagnose_drift(known[at], {}, outputs=OUTPUTS)}
        changes = versions_that_began(self.served)
        return rank_causes(known, diagnoses, changes, hour=at, outputs=OUTPUTS, alarmed=self.alarmed)


def story(fault: Fault | None, seed: int, *, before: int, after: int) -> Story:
    """Serve some hours, from number FAULT on with the fault, and evaluate those from `before` to `after` it began."""
    first, last = FAULT - before, FAULT + after
    described, asked = [hour(n) for n in range(first - 4, last + 1)], [hour(n) for n in range(first, last + 1)]
    people = customers(described, seed=seed + 1)
    rows = as_logged(people, seed=seed)
    if fault is not None:
        broken = rows["predicted_at"] >= hour(FAULT)
        rows = pd.concat([rows[~broken], fault(rows[broken].copy(), seed)], ignore_index=True)
    log, labels = rows.drop(columns="actual"), rows[["prediction_id", "predicted_at", "actual"]]
    labels = labels.assign(labelled_at=labels["predicted_at"] + timedelta(minutes=10))
    return evaluated(table(log), table(labels), described, asked, seed=seed)


def evaluated(
    log: pa.Table, labels: pa.Table, described: Sequence[datetime], asked: Sequence[datetime], *, seed: int
) -> Story:
    """Describe, evaluate and judge as the hourly stages do, in memory."""
    watch = monitor()
    columns, known = watch.columns, {version: reference().for_version(version) for version in ("1", "2")}
    rows = prepare_predictions(log, columns, table="predictions")
    profiles = profile_hours(rows, known, described, columns)
    prepared = prepare_labels(labels, watch.labels.columns(), table="labels")
    joined = join_labels(rows, prepared, id_column=columns.prediction_id, as_of=max(described) + 2 * HOUR)
    outcomes = outcome_hours(joined, described, watch.outcome_plan(), known)
    sources = watch.freshness.policy(watch.lengths).sources
    of_sources = partial(FreshnessProfile.of, sources=sources, predicted_at=columns.predicted_at)
    requests = Requests(
        records_by_hour(rows, described, columns, lambda part: OperationsProfile.of(part, columns)),
        records_by_hour(rows, described, columns, of_sources),
    )
    counts = {at: {entry.version: entry.rows for entry in entries} for at, entries in profiles.items()}
    generator = np.random.default_rng(seed)
    weeks = {at - week * 168 * HOUR: {"1": int(generator.poisson(ROWS))} for at in described for week in (4, 3, 2, 1)}
    logged = rows_by_hour(log, time=columns.predicted_at)
    intake = {at: intake_of_hour(part, watch.intake_plan())[0] for at, part in logged.items()}
    served = Served(profiles, intake, weeks | counts, rows_by_hour(rows, time=columns.predicted_at))
    signals = [
        *drift_report(watch, profiles, known, asked),
        *performance_report(watch, Labelled(outcomes, {}, {}), known, asked),
        *quality_report(watch, served, known, asked),
        *operations_report(watch, requests, known, asked),
    ]
    verdicts: dict[datetime, list[Verdict]] = {at: [] for at in asked}
    for verdict in judge_signals(signals, known, watch.judging_policy()):
        verdicts[verdict.signal.window_end - HOUR].append(verdict)
    on_served = served_verdicts(verdicts, counts)
    outcomes_of_rules = evaluate_rules(watch.alert_rules(), on_served, asked, model=watch.registry_name)
    firing = [each for each in outcomes_of_rules if each.state is RuleState.FIRING and each.hour >= hour(FAULT)]
    first = min((each.hour for each in firing), default=None)
    alarmed = {v.signal.metric for each in firing if each.hour == first for v in each.evidence}
    return Story(on_served, counts, first, alarmed)


def first_named(fault: Fault, seed: int, *, before: int, after: int) -> Cause:
    told = story(fault, seed, before=before, after=after)
    return told.causes(told.alarmed_at or hour(FAULT + after))[0]


FAULTS = {
    "column missing": (column_nulled, 1, 0),
    "meaning changed": (unit_changed, 1, 1),
    "source stale": (source_stale, 1, 2),
    "bad model version": (bad_version, 5, 8),  # whether it was any better before has to be known
    "latency": (latency_spike, 1, 2),
    "traffic surge": (traffic_surge, 1, 1),  # no rule by default: a surge by itself harms nobody
}
"""By the cause that must be named first: the fault, and how many hours before and after it began are evaluated."""


@pytest.mark.slow
@pytest.mark.parametrize("cause", FAULTS)
def test_the_first_cause_named_is_the_fault_in_nineteen_of_twenty_seeded_runs(cause: str) -> None:
    fault, before, after = FAULTS[cause]
    named = [first_named(fault, seed, before=before, after=after) for seed in SEEDS]
    right = [each.name.replace(",", ":").partition(":")[0] == cause for each in named]
    assert sum(right) >= 0.95 * len(SEEDS), [each.name for each in named]
    started = [each.since for each, is_right in zip(named, right, strict=True) if is_right]
    assert max(abs(at - hour(FAULT)) for at in started if at is not None) <= 3 * HOUR


def test_without_a_fault_no_cause_is_named_with_confidence() -> None:
    for seed in SEEDS:
        told = story(None, seed, before=0, after=2)
        assert told.alarmed_at is None
        for number in range(FAULT, FAULT + 3):
            assert all(cause.confidence < 0.7 for cause in told.causes(hour(number)))
