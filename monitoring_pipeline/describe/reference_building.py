"""Building the Reference of a model version from the rows logged with it.

Add what is learnt from reference rows here. Keep counting out, it belongs in `kernel` and `profiles`, and what a
Reference holds, it belongs in `references`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa

from monitoring_pipeline.capture.predictions import TIME_TYPE, as_utc, require_columns
from monitoring_pipeline.describe.blocks import calibrate
from monitoring_pipeline.describe.business import BusinessProfile
from monitoring_pipeline.describe.columns import (
    COUNTED_CATEGORIES,
    KNOWN_CATEGORIES,
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
from monitoring_pipeline.describe.formulas import Formula
from monitoring_pipeline.describe.freshness import FreshnessProfile, LoggedSource, Source
from monitoring_pipeline.describe.intake import IntakeProfile
from monitoring_pipeline.describe.kernel import NumericValues, Tally, column_values, counted
from monitoring_pipeline.describe.layouts import Layout
from monitoring_pipeline.describe.loss_model import LossModel
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task, numbers_of
from monitoring_pipeline.describe.profiles import ColumnProfile, Profile, rows_by_hour
from monitoring_pipeline.describe.quarantine import IntakePlan
from monitoring_pipeline.describe.reference_json import reference_to_json
from monitoring_pipeline.describe.references import ColumnReference, Reference, UsualRanges
from monitoring_pipeline.describe.segments import Segmentation, split_all
from monitoring_pipeline.describe.usual_ranges import usual_ranges
from monitoring_pipeline.errors import ReferenceError
from monitoring_pipeline.stats.histograms import sorted_quantiles

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
    are counted. sources: where features come from, whose ages are described where the rows have them.
    intake: what the columns of a log should hold. formulas: of the business.
    """

    windows: Sequence[timedelta] = ()
    recurring: bool = False
    segments: Sequence[str] = ()
    most: int = 20
    outcomes: OutcomePlan = field(default_factory=OutcomePlan)
    sources: Sequence[Source] = ()
    intake: IntakePlan | None = None
    formulas: Mapping[str, Formula] = field(default_factory=dict)


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
    signature: Mapping[str, str] | None = None,
) -> Reference:
    """Describe the reference rows of a model version, trained on data up to `trained_until`.

    `time` names the column that orders the rows; with it, blocks of the rows calibrate the thresholds. `label` names
    the outcome (0 or 1); with it, the target is described too and the version's own performance becomes the baseline.
    """
    if label is not None:
        kind = ColumnKind.NUMERIC if plan.outcomes.task is Task.REGRESSION else ColumnKind.CATEGORICAL
        specs = [*specs, ColumnSpec(label, ColumnRole.LABEL, kind)]
    rows, entries = _entries(rows, specs, time, table=f"reference rows of {model} v{version}")
    kinds = {spec.name: spec.kind for spec in specs}
    segmentations = tuple(
        Segmentation.of(rows[name], name, kinds.get(name, ColumnKind.CATEGORICAL), most=plan.most)
        for name in plan.segments
    )
    reference = replace(
        _described(rows, entries, time, plan, _Version(model, version, computed_at), whole=True),
        outcomes=_outcomes(rows, plan, label, segmentations) if label is not None else None,
        trained_until=trained_until,
        segmentations=segmentations,
        segments={
            name: _described(part, _parts(part, entries, time), time, plan, _Version(model, version, computed_at))
            for name, part in _segments(rows, segmentations).items()
        },
        importances=dict(importances or {}),
        error_dispersion=_error_dispersion(rows, plan, time, label),
        freshness=_freshness(rows, plan, time),
        intake=IntakeProfile.of(rows, plan.intake) if plan.intake is not None else None,
        signature=dict(signature or {}),
        business=_business(rows, plan, label),
        layout=Layout.of(rows, [entry.column for entry in entries.values()]),
    )
    reference = replace(reference, loss_model=_loss_model(rows, reference, plan, time, label))
    return replace(reference, digest=reference_to_json(reference)["digest"])


def describe_rows(
    rows: pa.Table,
    specs: Sequence[ColumnSpec],
    *,
    computed_at: datetime,
    time: str | None = None,
    plan: ReferencePlan = ReferencePlan(),
) -> Reference:
    """Describe how the columns of rows without a model are distributed, which is all that comparing tables needs."""
    rows, entries = _entries(rows, specs, time, table="reference rows")
    return _described(rows, entries, time, plan, _Version("comparison", "reference", computed_at))


def _entries(
    rows: pa.Table, specs: Sequence[ColumnSpec], time: str | None, *, table: str
) -> tuple[pa.Table, dict[str, ColumnReference]]:
    """Return the rows with times that are times, and every column of them."""
    # Without a time there is no age: served rows, which have one, would all be unlike the reference.
    specs = [spec for spec in specs if time is not None or spec.part is not DatetimePart.AGE_DAYS]
    needed = dict.fromkeys([*(spec.read_from for spec in specs), *([] if time is None else [time])])
    require_columns(rows, needed, table=table)
    if rows.num_rows == 0:
        raise ReferenceError(f"{table}: no rows. Log the rows the model was validated on with log_reference.")
    if time is not None:
        rows = rows.set_column(rows.column_names.index(time), time, as_utc(rows[time], name=time, table=table))
    return rows, {spec.name: _whole(rows, spec, time) for spec in specs}


def _segments(rows: pa.Table, segmentations: Sequence[Segmentation]) -> dict[str, pa.Table]:
    """Return the rows of every segment, none for one that only new values will fall into."""
    found = dict(split_all(rows, segmentations))
    names = [name for segmentation in segmentations for name in segmentation.names()]
    return {name: found.get(name, rows.slice(0, 0)) for name in names}


def _business(rows: pa.Table, plan: ReferencePlan, label: str | None) -> BusinessProfile:
    joined = rows if label is None or "actual" in rows.column_names else rows.append_column("actual", rows[label])
    return BusinessProfile.of(joined, plan.formulas, plan.outcomes.columns)


def _freshness(rows: pa.Table, plan: ReferencePlan, time: str | None) -> FreshnessProfile | None:
    logged = [source for source in plan.sources if isinstance(source, LoggedSource)]
    known = [source for source in logged if source.column in rows.column_names]
    return FreshnessProfile.of(rows, known, predicted_at=time) if known and time is not None else None


def _loss_model(
    rows: pa.Table, reference: Reference, plan: ReferencePlan, time: str | None, label: str | None
) -> LossModel | None:
    served = plan.outcomes.columns.prediction
    if plan.outcomes.task is not Task.REGRESSION or label is None or served not in rows.column_names:
        return None
    residuals = numbers_of(rows[label]) - numbers_of(rows[served])
    return LossModel.of(rows, reference.specs, residuals, time=time)


class _Version(NamedTuple):
    model: str
    version: str
    computed_at: datetime


def _whole(rows: pa.Table, spec: ColumnSpec, time: str | None) -> ColumnReference:
    """Return a column of all rows; they are put in order once, for its bins, its profile and its summary."""
    found = _found(rows, spec, time)
    bins: Bins
    if isinstance(found, Tally):
        bins = categorical_bins(found.heaviest(KNOWN_CATEGORIES + 1), groups=spec.groups)
    else:
        bins = numeric_bins(found.finite, groups=spec.groups)
    return _entry(Column(spec.name, spec.role, spec.kind, bins, spec.source, spec.part), found)


def _parts(rows: pa.Table, whole: Mapping[str, ColumnReference], time: str | None) -> dict[str, ColumnReference]:
    """Return the columns of some of the rows, in the bins of the whole."""
    return {name: _entry(entry.column, _found(rows, entry.column, time)) for name, entry in whole.items()}


def _found(rows: pa.Table, column: Column | ColumnSpec, time: str | None) -> NumericValues | Tally:
    return counted(column_values(rows, column.read_from, column.part, time), column.kind)


def _entry(column: Column, found: NumericValues | Tally) -> ColumnReference:
    """Return a column that is not calibrated yet."""
    profile = ColumnProfile.of_counted(found, column.bins)
    return ColumnReference(column, profile, _summary(column, profile, found), {})


def _described(
    rows: pa.Table,
    entries: Mapping[str, ColumnReference],
    time: str | None,
    plan: ReferencePlan,
    version: _Version,
    *,
    whole: bool = False,
) -> Reference:
    """Return the reference of some rows, without what only the whole has."""
    usual: UsualRanges = {}
    if time is not None and plan.windows:
        columns = {name: entry.column for name, entry in entries.items()}
        parts = rows_by_hour(rows.filter(rows[time].is_valid()), time=time)
        hourly = {hour: Profile.of(part, version.version, columns, time=time) for hour, part in parts.items()}
        entries = {
            name: replace(entry, calibration=calibrate(entry.column, hourly, plan.windows, recurring=plan.recurring))
            for name, entry in entries.items()
        }
        usual = usual_ranges(entries, hourly, plan.windows) if whole else {}
    return Reference(version.model, version.version, version.computed_at, rows.num_rows, entries, None, usual=usual)


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


def _summary(column: Column, profile: ColumnProfile, found: NumericValues | Tally) -> dict[str, Any]:
    if found.rows == 0:
        return {"n": 0}
    summary: dict[str, Any] = {"n": found.rows, "null_rate": profile.nulls / found.rows, "invalid": profile.invalid}
    grouped = as_windows(profile).grouped(column.bins)[0]
    summary["proportions"] = (grouped / grouped.sum()).tolist()
    if isinstance(found, Tally):
        return summary | {"categories": found.heaviest(COUNTED_CATEGORIES), "distinct": len(found.names)}
    finite = found.finite
    if len(finite) == 0:
        return summary
    numbers = {"mean": finite.mean(), "std": finite.std(), "min": finite[0], "max": finite[-1]}
    summary |= {name: float(value) for name, value in numbers.items()}
    quantiles = sorted_quantiles(finite, QUANTILES)
    return summary | {"quantiles": {f"{q:.2f}": float(v) for q, v in zip(QUANTILES, quantiles, strict=True)}}
