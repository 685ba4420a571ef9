"""What the hourly assets produce, by model, kind and hour: samples, profiles, signals and the like.

An hour that was processed has a table, even when it is empty: a missing one means "not done yet", or expired. Add a
kind of hourly record here, with its columns. Keep what the records mean out: they belong to the stages.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.describe.outcome_plan import outcome_from_json
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.describe.profiles import ColumnProfile, Profile
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.conditions import WhyNot
from monitoring_pipeline.judge.drift_types import DriftDiagnosis, DriftType, SeriesKey
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.stats.cardinality import DistinctCount
from monitoring_pipeline.stats.change_points import DriftPattern
from monitoring_pipeline.stores.hours import HourFiles
from monitoring_pipeline.stores.signal_tables import (
    TIME,
    signals_of,
    signals_table,
    verdict_of,
    verdict_row,
    verdicts_of,
    verdicts_table,
)

PROFILE_SCHEMA = pa.schema(
    [
        ("version", pa.string()),
        ("segment", pa.string()),
        ("bins", pa.string()),
        ("rows", pa.int64()),
        ("column", pa.string()),
        ("counts", pa.list_(pa.int64())),
        ("sums", pa.list_(pa.float64())),
        ("squares", pa.float64()),
        ("nulls", pa.int64()),
        ("invalid", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("unseen", pa.list_(pa.struct([("name", pa.string()), ("count", pa.int64())]))),
        ("unseen_rows", pa.int64()),
        ("distinct", pa.binary()),
    ]
)

RECORD_SCHEMA = pa.schema([("version", pa.string()), ("labelled", pa.int64()), ("record", pa.string())])
"""Of records that merge: JSON text, and beside it what is asked for over long stretches of time."""

DIAGNOSIS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("type", "pattern")),
        ("confidence", pa.float64()),
        ("started_at", TIME),
        ("evidence", pa.list_(pa.string())),
    ]
)

RULE_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("rule", "model")),
        ("hour", TIME),
        *((name, pa.string()) for name in ("state", "severity", "reason", "runbook", "evidence", "owner", "why")),
        ("since", TIME),
    ]
)


DAILY_PROFILES, DAILY_OUTCOMES = "daily_profiles", "daily_outcomes"
"""Kinds of records of whole days, kept with their first hour: what is left when the hours have expired."""


class Record(Protocol):
    """What merges and is kept as JSON."""

    def to_json(self) -> dict[str, Any]: ...


AnyRecord = TypeVar("AnyRecord")


class HourlyStore(HourFiles):
    """Hourly results of all models below one place."""

    def write_profiles(
        self, model: str, hour: datetime, profiles: Sequence[Profile], *, kind: str = "profiles"
    ) -> None:
        rows = [row for profile in profiles for row in _profile_rows(profile)]
        self.write(kind, model, hour, pa.Table.from_pylist(rows, schema=PROFILE_SCHEMA))

    def read_profiles(
        self, model: str, start: datetime, end: datetime, *, kind: str = "profiles"
    ) -> dict[datetime, list[Profile]]:
        """Return the profiles of every described hour; an hour without rows has an empty list."""
        return {hour: _profiles(table) for hour, table in self.read(kind, model, start, end).items()}

    def read_served(self, model: str, start: datetime, end: datetime) -> dict[datetime, dict[str, int]]:
        """Return how many rows each version served in every described hour."""
        tables = self.read("profiles", model, start, end, ["version", "segment", "rows"])
        whole = {hour: table.filter(pc.equal(table["segment"], "")) for hour, table in tables.items()}
        return {
            hour: dict(zip(table["version"].to_pylist(), table["rows"].to_pylist(), strict=True))
            for hour, table in whole.items()
        }

    def read_labelled(self, model: str, start: datetime, end: datetime) -> dict[datetime, int]:
        """Return how many labelled predictions every joined hour has, of all versions together.

        Where hours have expired, those of their day are with its first.
        """
        tables = self.read("outcomes", model, start, end, ["labelled"])
        if (before := self.expired("outcomes", model)) and start < before:
            tables = self.read(DAILY_OUTCOMES, model, start, before, ["labelled"]) | tables
        return {hour: sum(table["labelled"].to_pylist()) for hour, table in tables.items()}

    def write_records(self, kind: str, model: str, hour: datetime, records: Mapping[str, Record]) -> None:
        """Replace one hour of a kind of mergeable record, by version."""
        rows = [
            {
                "version": version,
                "labelled": getattr(record, "labelled", None),
                "record": json.dumps(record.to_json(), separators=(",", ":"), allow_nan=False),
            }
            for version, record in records.items()
        ]
        self.write(kind, model, hour, pa.Table.from_pylist(rows, schema=RECORD_SCHEMA))

    def read_records(
        self, kind: str, model: str, start: datetime, end: datetime, read: Callable[[dict[str, Any]], AnyRecord]
    ) -> dict[datetime, dict[str, AnyRecord]]:
        """Return the records of every hour in [start, end) that has been processed, by version."""
        tables = self.read(kind, model, start, end, ["version", "record"])
        return {
            hour: {row["version"]: read(json.loads(row["record"])) for row in table.to_pylist()}
            for hour, table in tables.items()
        }

    def write_outcomes(self, model: str, hour: datetime, outcomes: Mapping[str, OutcomeProfile]) -> None:
        self.write_records("outcomes", model, hour, outcomes)

    def read_outcomes(self, model: str, start: datetime, end: datetime) -> dict[datetime, dict[str, OutcomeProfile]]:
        return self.read_records("outcomes", model, start, end, outcome_from_json)

    def write_signals(self, report: str, model: str, found: Mapping[datetime, Iterable[Signal]]) -> None:
        self.write_all(report, model, {hour: signals_table(signals) for hour, signals in found.items()})

    def read_signals(
        self, report: str, model: str, start: datetime, end: datetime, metrics: Iterable[str] | None = None
    ) -> dict[datetime, list[Signal]]:
        """Return the signals of [start, end), or only those of some metrics."""
        tables = _of_metrics(self.read(report, model, start, end), metrics)
        return {hour: signals_of(table) for hour, table in tables.items()}

    def write_verdicts(
        self, model: str, found: Mapping[datetime, Iterable[Verdict]], *, kind: str = "verdicts"
    ) -> None:
        self.write_all(kind, model, {hour: verdicts_table(verdicts) for hour, verdicts in found.items()})

    def read_verdicts(
        self,
        model: str,
        start: datetime,
        end: datetime,
        metrics: Iterable[str] | None = None,
        *,
        kind: str = "verdicts",
    ) -> dict[datetime, list[Verdict]]:
        """Return the verdicts of [start, end), or only those on some metrics: a rule looks at few of many."""
        tables = _of_metrics(self.read(kind, model, start, end), metrics)
        return {hour: verdicts_of(table) for hour, table in tables.items()}

    def read_series(
        self, model: str, start: datetime, end: datetime, metrics: Iterable[str]
    ) -> dict[str, dict[SeriesKey, dict[datetime, float]]]:
        """Return the known values of some metrics by version, by metric, column, baseline and window, and by hour.

        Of segments, and of windows that are no length of time, there are none.
        """
        place = ["version", "metric", "column", "baseline", "window"]
        tables = self.read("verdicts", model, start, end, [*place, "segment", "span", "value"])
        wanted = pa.array(sorted(metrics), pa.string())
        series: dict[str, dict[SeriesKey, dict[datetime, float]]] = {}
        for hour, table in tables.items():
            whole = pc.and_(pc.equal(table["segment"], ""), pc.equal(table["span"], ""))
            known = pc.and_(table["value"].is_valid(), pc.is_in(table["metric"], wanted))
            rows = table.filter(pc.and_(whole, known))
            columns = [rows[name].to_pylist() for name in (*place, "value")]
            for version, metric, column, baseline, window, value in zip(*columns, strict=True):
                of_version = series.setdefault(version, {})
                of_version.setdefault((metric, column, baseline, window), {})[hour] = value
        return series

    def write_diagnoses(self, model: str, found: Mapping[datetime, Iterable[DriftDiagnosis]]) -> None:
        rows = {hour: [asdict(diagnosis) for diagnosis in diagnoses] for hour, diagnoses in found.items()}
        tables = {hour: pa.Table.from_pylist(of_hour, schema=DIAGNOSIS_SCHEMA) for hour, of_hour in rows.items()}
        self.write_all("diagnoses", model, tables)

    def read_diagnoses(self, model: str, start: datetime, end: datetime) -> dict[datetime, list[DriftDiagnosis]]:
        """Return what kind of drift the serving version showed in every judged hour."""
        tables = self.read("diagnoses", model, start, end)
        return {hour: [_diagnosis(row) for row in table.to_pylist()] for hour, table in tables.items()}

    def write_rules(self, model: str, found: Mapping[datetime, Iterable[RuleOutcome]]) -> None:
        rows = {hour: [_rule_row(outcome) for outcome in outcomes] for hour, outcomes in found.items()}
        tables = {hour: pa.Table.from_pylist(of_hour, schema=RULE_SCHEMA) for hour, of_hour in rows.items()}
        self.write_all("rules", model, tables)

    def read_rules(self, model: str, start: datetime, end: datetime) -> dict[datetime, list[RuleOutcome]]:
        tables = self.read("rules", model, start, end)
        return {hour: [_rule_of(row) for row in table.to_pylist()] for hour, table in tables.items()}


def _profile_rows(profile: Profile) -> list[dict[str, Any]]:
    shared = {"version": profile.version, "segment": profile.segment, "bins": profile.bins, "rows": profile.rows}
    if not profile.columns:  # a version without a reference: its rows are known, its columns are not
        return [shared]
    return [
        shared
        | {
            "column": name,
            "counts": column.counts,
            "sums": column.sums,
            "squares": column.squares,
            "nulls": column.nulls,
            "invalid": column.invalid,
            "low": column.low,
            "high": column.high,
            "unseen": [{"name": category, "count": count} for category, count in column.unseen],
            "unseen_rows": column.unseen_rows,
            "distinct": column.distinct.sketch if column.distinct else None,
        }
        for name, column in profile.columns.items()
    ]


def _profiles(table: pa.Table) -> list[Profile]:
    counts, sums = _arrays(table["counts"], np.int64), _arrays(table["sums"], np.float64)
    columns: dict[tuple[str, str, str, int], dict[str, ColumnProfile]] = {}
    for place, row in enumerate(table.drop_columns(["counts", "sums"]).to_pylist()):
        entry = columns.setdefault((row["version"], row["segment"], row["bins"], row["rows"]), {})
        if row["column"] is None:
            continue
        entry[row["column"]] = ColumnProfile(
            counts=counts[place],
            sums=sums[place],
            squares=row["squares"],
            nulls=row["nulls"],
            invalid=row["invalid"],
            low=row["low"],
            high=row["high"],
            unseen=tuple((item["name"], item["count"]) for item in row["unseen"]),
            unseen_rows=row["unseen_rows"],
            distinct=DistinctCount(row["distinct"]) if row["distinct"] is not None else None,
        )
    return [Profile(version, rows, parts, segment, bins) for (version, segment, bins, rows), parts in columns.items()]


def _arrays(column: pa.ChunkedArray, dtype: type) -> list[Any]:
    # Lists of numbers as views of one array: `to_pylist` would make a Python object of every number.
    lists = column.combine_chunks()
    values = lists.values.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    return [values[start:end] for start, end in pairwise(lists.offsets.to_pylist())]


def _rule_row(outcome: RuleOutcome) -> dict[str, Any]:
    return {
        "rule": outcome.rule,
        "model": outcome.model,
        "hour": outcome.hour,
        "state": outcome.state.value,
        "severity": outcome.severity.value,
        "reason": outcome.reason,
        "runbook": outcome.runbook,
        "evidence": json.dumps([json_row(verdict_row(verdict)) for verdict in outcome.evidence]),
        "owner": outcome.owner,
        "why": outcome.why,
        "since": outcome.since,
    }


def _rule_of(row: dict[str, Any]) -> RuleOutcome:
    evidence = [verdict_of(_times_of(item)) for item in json.loads(row["evidence"])]
    return RuleOutcome(
        row["rule"],
        row["model"],
        row["hour"],
        RuleState(row["state"]),
        Level(row["severity"]),
        row["reason"],
        tuple(evidence),
        row["runbook"],
        row.get("owner", ""),  # an older file has none of the last three
        row.get("since", row["hour"]),
        WhyNot(row["why"]) if row.get("why") else None,
    )


def json_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its times as ISO 8601 text."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _times_of(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: datetime.fromisoformat(row[name]) for name in ("window_start", "window_end")}
    return row | times


def _of_metrics(tables: dict[datetime, pa.Table], metrics: Iterable[str] | None) -> dict[datetime, pa.Table]:
    if metrics is None:
        return tables
    wanted = pa.array(sorted(metrics), pa.string())
    return {hour: table.filter(pc.is_in(table["metric"], wanted)) for hour, table in tables.items()}


def _diagnosis(row: dict[str, Any]) -> DriftDiagnosis:
    kinds = {"type": DriftType(row["type"]), "pattern": DriftPattern(row["pattern"])}
    return DriftDiagnosis(**{**row, **kinds, "evidence": tuple(row["evidence"])})
