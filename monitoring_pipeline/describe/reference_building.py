"""Building the Reference of a model version from the rows logged with it.

Add what is learnt from reference rows here. Keep counting out, it belongs in `kernel` and `profiles`, and what a
Reference holds, it belongs in `references`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from monitoring_pipeline.capture.predictions import TIME_TYPE, as_utc, require_columns
from monitoring_pipeline.describe.blocks import calibrate
from monitoring_pipeline.describe.columns import (
    Bins,
    Column,
    ColumnKind,
    ColumnRole,
    DatetimePart,
    categorical_bins,
    datetime_parts,
    numeric_bins,
)
from monitoring_pipeline.describe.distances import as_windows
from monitoring_pipeline.describe.error_dispersion import ErrorDispersion
from monitoring_pipeline.describe.kernel import category_counts, column_values, numeric_values, tally
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.describe.profiles import ColumnProfile, HourlyProfiles, Profile, rows_by_hour
from monitoring_pipeline.describe.reference_json import reference_to_json
from monitoring_pipeline.describe.references import ColumnReference, Reference
from monitoring_pipeline.describe.segments import Segmentation, split_all
from monitoring_pipeline.errors import ReferenceError

QUANTILES = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """What a monitor says of a column before its bins are known; `source` and `part` as in `Column`."""

    name: str
    role: ColumnRole
    kind: ColumnKind
    groups: int = 10
    source: str = ""
    part: DatetimePart | None = None

    @property
    def read_from(self) -> str:
        """The column of the log it is read from."""
        return self.source or self.name


def specs_of(name: str, role: ColumnRole, kind: ColumnKind, *, groups: int, aged: bool) -> list[ColumnSpec]:
    """Return the specs of a column of the log: one, or one per part of a date and time.

    `aged` says that every row has a time of its own, so that a date can be described by its age.
    """
    if kind is not ColumnKind.DATETIME:
        return [ColumnSpec(name, role, kind, groups)]
    return [ColumnSpec(each, role, kind, groups, name, part) for each, part in datetime_parts(name, aged=aged)]


@dataclass(frozen=True, slots=True)
class ReferencePlan:
    """What is learnt from reference rows beyond their distribution.

    windows: lengths of the blocks that calibrate thresholds. recurring: whether blocks are also held against the same
    hours of other weeks. segments: columns that cut the rows into segments, `most` values each. outcomes: how outcomes
    are counted.
    """

    windows: Sequence[timedelta] = ()
    recurring: bool = False
    segments: Sequence[str] = ()
    most: int = 20
    outcomes: OutcomePlan = field(default_factory=OutcomePlan)


def build_reference(
    rows: pa.Table,
    specs: Sequence[ColumnSpec],
    *,
    model: str,
    version: str,
    computed_at: datetime,
    time: str | None = None,
    label: str | None = None,
    plan: ReferencePlan = ReferencePlan(),
    trained_until: datetime | None = None,
    importances: Mapping[str, float] | None = None,
) -> Reference:
    """Describe the reference rows of a model version, trained on data up to `trained_until`.

    `time` names the column that orders the rows; with it, blocks of the rows calibrate the thresholds. `label` names
    the outcome (0 or 1); with it, the target is described too and the version's own performance becomes the baseline.
    """
    table = f"reference rows of {model} v{version}"
    # Without a time there is no age: served rows, which have one, would all be unlike the reference.
    specs = [spec for spec in specs if time is not None or spec.part is not DatetimePart.AGE_DAYS]
    needed = list(dict.fromkeys(spec.read_from for spec in specs)) + [
        name for name in (time, label) if name is not None
    ]
    require_columns(rows, needed, table=table)
    if rows.num_rows == 0:
        raise ReferenceError(f"{table}: no rows. Log the rows the model was validated on with log_reference.")
    if label is not None:
        specs = [*specs, ColumnSpec(label, ColumnRole.LABEL, ColumnKind.CATEGORICAL)]
    if time is not None:
        rows = rows.set_column(rows.column_names.index(time), time, as_utc(rows[time], name=time, table=table))
    columns = {
        spec.name: Column(spec.name, spec.role, spec.kind, _bins(rows, spec, time), spec.source, spec.part)
        for spec in specs
    }
    kinds = {spec.name: spec.kind for spec in specs}
    segmentations = tuple(
        Segmentation.of(rows[name], name, kinds.get(name, ColumnKind.CATEGORICAL), most=plan.most)
        for name in plan.segments
    )
    reference = replace(
        _described(rows, columns, time, plan, _Version(model, version, computed_at)),
        outcomes=_outcomes(rows, plan, label, segmentations) if label is not None else None,
        trained_until=trained_until,
        segmentations=segmentations,
        segments={
            name: _described(part, columns, time, plan, _Version(model, version, computed_at))
            for name, part in _segments(rows, segmentations).items()
        },
        importances=dict(importances or {}),
        error_dispersion=_error_dispersion(rows, plan, time, label),
    )
    return replace(reference, digest=reference_to_json(reference)["digest"])


def _segments(rows: pa.Table, segmentations: Sequence[Segmentation]) -> dict[str, pa.Table]:
    """Return the rows of every segment, none for one that only new values will fall into."""
    found = dict(split_all(rows, segmentations))
    names = [name for segmentation in segmentations for name in segmentation.names()]
    return {name: found.get(name, rows.slice(0, 0)) for name in names}


class _Version(NamedTuple):
    model: str
    version: str
    computed_at: datetime


def _described(
    rows: pa.Table, columns: Mapping[str, Column], time: str | None, plan: ReferencePlan, version: _Version
) -> Reference:
    """Return the reference of some rows, without what only the whole has."""
    profile = Profile.of(rows, version.version, columns, time=time)
    hourly: HourlyProfiles = {}
    if time is not None and plan.windows:
        placed = rows.filter(rows[time].is_valid())
        hourly = {
            hour: Profile.of(part, version.version, columns, time=time)
            for hour, part in rows_by_hour(placed, time=time).items()
        }
    described = {
        name: ColumnReference(
            column,
            profile.columns[name],
            _summary(rows, column, profile.columns[name], time),
            calibrate(column, hourly, plan.windows, recurring=plan.recurring),
        )
        for name, column in columns.items()
    }
    return Reference(version.model, version.version, version.computed_at, rows.num_rows, described, None)


def _bins(rows: pa.Table, spec: ColumnSpec, time: str | None) -> Bins:
    values = column_values(rows, spec.read_from, spec.part, time)
    if spec.kind.is_binned:
        return numeric_bins(numeric_values(values, spec.kind).finite, groups=spec.groups)
    return categorical_bins(category_counts(values, spec.kind), groups=spec.groups)


def _outcomes(
    rows: pa.Table, plan: ReferencePlan, label: str, segmentations: Sequence[Segmentation] = ()
) -> OutcomeProfile:
    own = [name for name in ("actual", "labelled_at") if name in rows.column_names]
    joined = rows.drop_columns(own).append_column("actual", rows[label])
    return plan.outcomes.of(joined.append_column("labelled_at", pa.nulls(rows.num_rows, TIME_TYPE)), segmentations)


def _error_dispersion(
    rows: pa.Table, plan: ReferencePlan, time: str | None, label: str | None
) -> ErrorDispersion | None:
    if time is None or label is None:
        return None
    parts = rows_by_hour(rows.filter(rows[time].is_valid()), time=time)
    return ErrorDispersion.of({hour: _outcomes(part, plan, label) for hour, part in parts.items()})


def _summary(rows: pa.Table, column: Column, profile: ColumnProfile, time: str | None) -> dict[str, Any]:
    values = column_values(rows, column.read_from, column.part, time)
    count = len(values)
    if count == 0:
        return {"n": 0}
    summary: dict[str, Any] = {"n": count, "null_rate": profile.nulls / count, "invalid": profile.invalid}
    grouped = as_windows(profile).grouped(column.bins)[0]
    summary["proportions"] = (grouped / grouped.sum()).tolist()
    if not column.kind.is_binned:
        counts = sorted(category_counts(values, column.kind).items(), key=lambda item: (-item[1], item[0]))
        return summary | {"categories": dict(counts[:100]), "distinct": len(tally(values, column.kind).names)}
    finite = numeric_values(values, column.kind).finite
    if len(finite) == 0:
        return summary
    numbers = {"mean": finite.mean(), "std": finite.std(), "min": finite[0], "max": finite[-1]}
    summary |= {name: float(value) for name, value in numbers.items()}
    quantiles = np.quantile(finite, QUANTILES)
    return summary | {"quantiles": {f"{q:.2f}": float(v) for q, v in zip(QUANTILES, quantiles, strict=True)}}
