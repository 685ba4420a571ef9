"""The intake of an hour: what came in before anything was left out, in counters that add up.

Add a counter of rows as they were logged here. Keep counters of usable rows out: they belong in profiles and outcomes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.predictions import UNVERSIONED, as_text
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.counters import Counters
from monitoring_pipeline.describe.kernel import category_names, floats_with_nan
from monitoring_pipeline.describe.quarantine import UNPLACED, IntakePlan, Problem, problems_of, quarantined, times_of

Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True, eq=False)
class IntakeProfile(Counters):
    """Counters of rows as they were logged; all of them add.

    placed: rows with an id and a time. duplicate_ids: placed rows beyond the first of their id in their hour.
    duplicate_rows: those beyond the first with the same features in their hour, of different ids. bad_rows: rows with
    any value that cannot be used. rows_by_reason: rows by why. values: bad values by reason and column. types: rows by
    column and the type it came in. Duplicates are counted within an hour: profiles that merge do not share one.
    """

    rows: int = 0
    placed: int = 0
    duplicate_ids: int = 0
    duplicate_rows: int = 0
    bad_rows: int = 0
    rows_by_reason: Mapping[str, int] = field(default_factory=dict)
    values: Counts = field(default_factory=dict)
    types: Counts = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pa.Table, plan: IntakePlan, problems: Iterable[Problem] | None = None) -> "IntakeProfile":
        """Return the profile of rows as logged; `problems` are theirs, where they are known already."""
        found = problems_of(rows, plan) if problems is None else list(problems)
        lost, bad = np.zeros(rows.num_rows, np.bool_), np.zeros(rows.num_rows, np.bool_)
        by_reason: dict[str, npt.NDArray[np.bool_]] = {}
        values: dict[str, dict[str, int]] = {}
        for problem in found:
            mine = by_reason.setdefault(problem.reason.value, np.zeros(rows.num_rows, np.bool_))
            mine[problem.rows] = bad[problem.rows] = True
            lost[problem.rows] |= problem.reason in UNPLACED
            values.setdefault(problem.reason.value, {})[problem.column] = len(problem.rows)
        types = {entry.name: {type_name(entry.type): rows.num_rows} for entry in rows.schema} if rows.num_rows else {}
        return cls(
            rows.num_rows,
            int((~lost).sum()),
            *_duplicates(rows, plan, ~lost),
            bad_rows=int(bad.sum()),
            rows_by_reason={reason: int(mask.sum()) for reason, mask in by_reason.items()},
            values=values,
            types=types,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and mappings; what is 0 or empty is left out."""
        names = IntakeProfile.__dataclass_fields__
        return {name: value for name in names if (value := getattr(self, name))}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "IntakeProfile":
        return cls(**document)


def intake_of_hour(rows: pa.Table, plan: IntakePlan) -> tuple[dict[str, IntakeProfile], pa.Table]:
    """Return the intake of one hour by version and its bad values (`describe.quarantine`).

    `rows` are those of the hour alone, as they were logged: beside another hour a column may come in another type.
    """
    if rows.num_rows == 0:
        return {}, quarantined(rows, [], plan)
    found = problems_of(rows, plan)
    name = plan.columns.version
    if name is None or name not in rows.column_names:
        return {UNVERSIONED: IntakeProfile.of(rows, plan, found)}, quarantined(rows, found, plan)
    versions = pc.fill_null(as_text(rows[name]), UNVERSIONED)
    known = sorted(pc.unique(versions).to_pylist())
    parts = {version: rows.filter(pc.equal(versions, version)) if len(known) > 1 else rows for version in known}
    profiles = {
        version: IntakeProfile.of(part, plan, None if len(known) > 1 else found) for version, part in parts.items()
    }
    return profiles, quarantined(rows, found, plan)


def type_name(type_: pa.DataType) -> str:
    """Return the type of the values, however they are encoded."""
    if isinstance(type_, pa.BaseExtensionType):
        return type_name(type_.storage_type)
    return type_name(type_.value_type) if pa.types.is_dictionary(type_) else str(type_)


def _duplicates(rows: pa.Table, plan: IntakePlan, placed: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many placed rows repeat the id, or all features, of another one of their hour."""
    columns, count = plan.columns, int(placed.sum())
    if count == 0:
        return 0, 0
    hours = np.zeros(rows.num_rows, np.int64)
    if columns.predicted_at in rows.column_names:
        moments = times_of(rows[columns.predicted_at], columns.predicted_at).cast(pa.int64())
        hours = np.asarray(pc.fill_null(moments, 0).to_numpy()) // 3_600_000_000
    start = _mixed(np.zeros(rows.num_rows, np.uint64), hours.view(np.uint64))
    features = start
    for name in plan.features:
        if name in rows.column_names:
            features = _mixed(features, _codes(rows[name]))
    by_features = _distinct(features[placed])
    repeated = 0
    whole = np.arange(rows.num_rows, dtype=np.uint64)
    if columns.prediction_id in rows.column_names:
        whole = _codes(as_text(rows[columns.prediction_id]))
        repeated = count - _distinct(_mixed(start, whole)[placed])
    return repeated, _distinct(_mixed(features, whole)[placed]) - by_features if plan.features else 0


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Return a number per row, equal where the values are; only within this column."""
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        values = floats_with_nan(column, ColumnKind.NUMERIC) + 0.0  # 0 and -0 are equal
        values[np.isnan(values)] = np.nan  # whatever kind of NaN
        return values.view(np.uint64)
    encoded = category_names(column).combine_chunks().dictionary_encode()
    return np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)).astype(np.int64).view(np.uint64)


def _mixed(state: npt.NDArray[np.uint64], values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of what was mixed before and of these values.

    Two of a million different rows share one by accident once in 40 million times.
    """
    mixed = (state ^ values) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    return mixed * np.uint64(0xD6E8FEB86659FD93)


def _distinct(values: npt.NDArray[np.uint64]) -> int:
    ordered = np.sort(values)
    return int(len(ordered) > 0) + int((ordered[1:] != ordered[:-1]).sum())
