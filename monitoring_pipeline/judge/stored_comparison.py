"""A Parquet file held against a stored reference, in one pass over rows that need not fit into memory.

The entries and verdicts are those of two tables. Add what only a stored reference can say here. Keep formulas and
layout out.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.capture.windows import EPOCH, HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.distances import METRICS
from monitoring_pipeline.describe.kinds import kind_of_type
from monitoring_pipeline.describe.parquet_pass import profile_parquet
from monitoring_pipeline.describe.profiles import ColumnProfile, Profile
from monitoring_pipeline.describe.reference_building import ReferencePlan, describe_rows, specs_of
from monitoring_pipeline.describe.reference_json import reference_to_json
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import MonitoringError, TableError
from monitoring_pipeline.evaluate.drift import table_drift
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.judge.comparison import Comparison, ComparisonPolicy, Part, judged, placed, unknown_entry


def describe_table(
    rows: pa.Table,
    *,
    computed_at: datetime,
    kinds: Mapping[str, ColumnKind] | None = None,
    time: str | None = None,
    plan: ReferencePlan | None = None,
    bins: int = 10,
) -> tuple[Reference, dict[str, str]]:
    """Return the reference of all columns that can be described, and why each of the others cannot."""
    if rows.num_rows == 0:
        raise TableError("reference table: no rows. Give the rows that others are to be compared with.")
    if time is not None:
        rows, _ = placed(rows, time, "reference table")

    def described(name: str) -> Reference | str:
        kind = (kinds or {}).get(name) or kind_of_type(rows[name].type)
        if kind is None:
            return f"values of type {rows[name].type} have no distribution to compare"
        own_time = time if time != name else None
        try:
            return describe_rows(
                rows.select([name] if time in (None, name) else [name, str(time)]),
                specs_of(name, ColumnRole.FEATURE, kind, groups=bins, aged=own_time is not None),
                computed_at=computed_at,
                time=time,
                plan=plan or ReferencePlan(),
            )
        except (MonitoringError, pa.ArrowException, ValueError, TypeError, ArithmeticError) as error:
            return " ".join(str(error).split())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(rows.column_names, pool.map(described, rows.column_names), strict=True))
    left_out = {name: why for name, why in found.items() if isinstance(why, str)}
    parts = [part for part in found.values() if isinstance(part, Reference)]
    if not parts:
        raise TableError(f"reference table: none of its {len(left_out)} columns can be described. Give other columns.")
    columns = {name: entry for part in parts for name, entry in part.columns.items()}
    whole = replace(parts[0], columns=columns)
    return replace(whole, digest=reference_to_json(whole)["digest"]), left_out


def compare_file(
    reference: Reference,
    path: Path,
    policy: ComparisonPolicy,
    *,
    columns: Sequence[str] | None = None,
    time: str | None = None,
) -> Comparison:
    """Return the drift of every column of a Parquet file from a stored reference, or only of `columns`."""
    with pq.ParquetFile(path) as file:
        present = file.schema_arrow.names
    sources = {name: entry.column.read_from for name, entry in reference.columns.items()}
    everything = list(dict.fromkeys([*sources.values(), *present]))
    if missing := [name for name in columns or () if name not in everything]:
        found, there = (", ".join(map(repr, names)) for names in (missing, everything))
        raise TableError(f"comparison: neither side has {found}; there are {there}. Correct the names.")
    start, end = EPOCH, EPOCH + HOUR
    if time is not None:
        _, span = placed(pq.read_table(path, columns=[time] if time in present else []), time, "current table")
        start, end = span or (start, end)
    asked = set(columns or everything)
    specs = {name: spec for name, spec in reference.specs.items() if spec.read_from in asked & set(present)}
    profile = profile_parquet(path, specs, reference.version, time=time)
    chosen = replace(reference, columns={name: reference.columns[name] for name in specs})
    signals = table_drift(chosen, profile, start=start, end=end, metrics=tuple(METRICS))
    parts = [
        Part(
            place := _place(reference, profile, name),
            chosen.columns[name],
            [signal for signal in signals if signal.column == name],
            _too_few(place, policy.min_rows),
        )
        for name in specs
    ]
    absent = list(_absent(reference, profile, asked, present, sources))
    return Comparison(tuple(judged([*parts, *absent], policy.judging())))


def _place(reference: Reference, profile: Profile, name: str) -> dict[str, Any]:
    entry = reference.columns[name]
    return {
        "column": name,
        "kind": entry.column.kind.value,
        "n_reference": reference.rows,
        "n_current": profile.rows,
        "null_rate_reference": _null_rate(entry.profile),
        "null_rate_current": _null_rate(profile.columns[name]),
    }


def _null_rate(profile: ColumnProfile) -> float | None:
    return profile.nulls / profile.rows if profile.rows else None


def _too_few(place: Mapping[str, Any], min_rows: int) -> Any:
    for side in ("reference", "current"):
        if (rows := place[f"n_{side}"]) < min_rows:
            reason = f"the {side} has {rows} rows, {min_rows} are needed. Compare more rows, or lower the minimum."
            return unknown_entry(place, Absence.TOO_FEW_ROWS, reason)
    return None


def _absent(
    reference: Reference, profile: Profile, asked: set[str], present: Sequence[str], sources: Mapping[str, str]
) -> Iterator[Part]:
    """Yield the columns that only one side has."""
    for name in dict.fromkeys([*sources.values(), *present]):
        sides = {"reference": name in sources.values(), "file": name in present}
        if name in asked and not all(sides.values()):
            place = {"column": name, "kind": None, "n_reference": reference.rows, "n_current": profile.rows}
            lacking = next(side for side, there in sides.items() if not there)
            reason = f"the {lacking} does not have it. Add it there, or leave it out."
            yield Part(place, unknown=unknown_entry(place, Absence.MISSING_COLUMN, reason))
