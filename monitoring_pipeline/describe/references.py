"""The Reference of one model version: what its columns and its performance looked like when it was trained.

Built from the rows logged with the version, stored as JSON with that version. The monitor never loads the model.
Add what a comparison needs to know of the training data here. Keep comparisons out: they belong in evaluate.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from monitoring_pipeline.capture.predictions import TIME_TYPE, as_utc, require_columns
from monitoring_pipeline.describe.blocks import (
    BlockDistances,
    Calibration,
    calibrate,
    calibration_from_json,
    calibration_to_json,
)
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
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.describe.profiles import ColumnProfile, HourlyProfiles, Profile, rows_by_hour
from monitoring_pipeline.describe.segments import Segmentation, split_all
from monitoring_pipeline.errors import ReferenceError
from monitoring_pipeline.stats.cardinality import DistinctCount

QUANTILES = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
FORMAT = 2


@dataclass(frozen=True, slots=True, eq=False)
class ColumnReference:
    """One column in the reference: its bins, its profile, a summary for people, and its calibration."""

    column: Column
    profile: ColumnProfile
    summary: Mapping[str, Any]
    calibration: Calibration

    def calibrated(self, metric: str, window: str) -> BlockDistances | None:
        return self.calibration.get(metric, {}).get(window)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Profile, performance and calibration of one model version, with the digest of its content.

    segments: the same columns in the same bins for parts of the rows, by name. importances: how much each feature
    matters to the model, where its training script said so. error_dispersion: how restless its hourly errors are.
    """

    model: str
    version: str
    computed_at: datetime
    rows: int
    columns: Mapping[str, ColumnReference]
    outcomes: OutcomeProfile | None
    trained_until: datetime | None = None
    segmentations: tuple[Segmentation, ...] = ()
    segments: Mapping[str, "Reference"] = field(default_factory=dict)
    importances: Mapping[str, float] = field(default_factory=dict)
    error_dispersion: ErrorDispersion | None = None
    digest: str = ""

    @property
    def specs(self) -> dict[str, Column]:
        """Columns of the serving log by name, as `Profile.of` takes them; the label is not one of them."""
        served = (entry.column for entry in self.columns.values() if entry.column.role is not ColumnRole.LABEL)
        return {column.name: column for column in served}

    def for_version(self, version: str) -> "Reference":
        """Return the same reference for another version, as when one table stands for all of them."""
        segments = {name: replace(segment, version=version) for name, segment in self.segments.items()}
        return replace(self, version=version, segments=segments)

    def to_json(self) -> dict[str, Any]:
        """Return the document stored with the model version, its digest included."""
        document = {
            "format": FORMAT,
            "model": self.model,
            "version": self.version,
            "computed_at": self.computed_at.isoformat(),
            "rows": self.rows,
            "columns": {name: _column_to_json(entry) for name, entry in self.columns.items()},
            "outcomes": self.outcomes.to_json() if self.outcomes else None,
            "trained_until": self.trained_until.isoformat() if self.trained_until else None,
            "segmentations": [segmentation.to_json() for segmentation in self.segmentations],
            "segments": {name: _segment_to_json(segment) for name, segment in self.segments.items()},
            "importances": dict(self.importances),
            "error_dispersion": self.error_dispersion.to_json() if self.error_dispersion else None,
        }
        return document | {"digest": document_digest(document)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Reference":
        """Read a stored document; raises ReferenceError when it is not intact."""
        where = f"reference of {document.get('model')} v{document.get('version')}"
        if document.get("format") != FORMAT:
            raise ReferenceError(f"{where}: format {document.get('format')!r}, needed {FORMAT}. Rebuild the reference.")
        content = {name: value for name, value in document.items() if name != "digest"}
        if (found := document_digest(content)) != document.get("digest"):
            raise ReferenceError(
                f"{where}: its content has digest {found[:12]}, it claims {str(document.get('digest'))[:12]}: the file "
                "was changed after it was written. Rebuild the reference by materialising reference_distributions."
            )
        dispersion = document["error_dispersion"]
        whole = cls(
            model=document["model"],
            version=document["version"],
            computed_at=datetime.fromisoformat(document["computed_at"]),
            rows=document["rows"],
            columns={name: _column_from_json(entry) for name, entry in document["columns"].items()},
            outcomes=OutcomeProfile.from_json(document["outcomes"]) if document["outcomes"] else None,
            trained_until=datetime.fromisoformat(document["trained_until"]) if document["trained_until"] else None,
            segmentations=tuple(Segmentation.from_json(entry) for entry in document["segmentations"]),
            importances=document["importances"],
            error_dispersion=ErrorDispersion.from_json(dispersion) if dispersion else None,
            digest=document["digest"],
        )
        segments = {name: _segment_from_json(whole, entry) for name, entry in document["segments"].items()}
        return replace(whole, segments=segments)


def document_digest(document: Mapping[str, Any]) -> str:
    """Return the sha256 of a JSON document in its canonical form.

    The time of computation is left out: the same rows give the same digest whenever they are described.
    """
    content = {name: value for name, value in document.items() if name != "computed_at"}
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


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
    hours of other weeks. segments: columns that cut the rows into segments, `most` values each.
    """

    windows: Sequence[timedelta] = ()
    recurring: bool = False
    segments: Sequence[str] = ()
    most: int = 20


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
        outcomes=_outcomes(rows, specs, label),
        trained_until=trained_until,
        segmentations=segmentations,
        segments={
            name: _described(part, columns, time, plan, _Version(model, version, computed_at))
            for name, part in _segments(rows, segmentations).items()
        },
        importances=dict(importances or {}),
        error_dispersion=_error_dispersion(rows, specs, time, label),
    )
    return replace(reference, digest=reference.to_json()["digest"])


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


def _outcomes(rows: pa.Table, specs: Sequence[ColumnSpec], label: str | None) -> OutcomeProfile | None:
    if label is None:
        return None
    served = (ColumnRole.SCORE, ColumnRole.PREDICTION)
    columns = {spec.role.value: rows[spec.name] for spec in specs if spec.role in served}
    joined = pa.table(columns | {"actual": rows[label], "labelled_at": pa.nulls(rows.num_rows, TIME_TYPE)})
    return OutcomeProfile.of(joined, **{role.value: role.value if role.value in columns else None for role in served})


def _error_dispersion(
    rows: pa.Table, specs: Sequence[ColumnSpec], time: str | None, label: str | None
) -> ErrorDispersion | None:
    if time is None or label is None:
        return None
    parts = rows_by_hour(rows.filter(rows[time].is_valid()), time=time)
    hourly = {hour: _outcomes(part, specs, label) for hour, part in parts.items()}
    return ErrorDispersion.of({hour: outcome for hour, outcome in hourly.items() if outcome is not None})


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


def _column_to_json(entry: ColumnReference) -> dict[str, Any]:
    return {
        "column": entry.column.to_json(),
        "profile": profile_to_json(entry.profile),
        "summary": dict(entry.summary),
        "calibration": calibration_to_json(entry.calibration),
    }


def _column_from_json(document: Mapping[str, Any]) -> ColumnReference:
    return ColumnReference(
        Column.from_json(document["column"]),
        profile_from_json(document["profile"]),
        document["summary"],
        calibration_from_json(document["calibration"]),
    )


def _segment_to_json(segment: Reference) -> dict[str, Any]:
    """Return what a segment has of its own; its bins are those of the whole."""
    columns = {name: _column_to_json(entry) for name, entry in segment.columns.items()}
    own = ("profile", "summary", "calibration")
    return {
        "rows": segment.rows,
        "columns": {name: {key: entry[key] for key in own} for name, entry in columns.items()},
    }


def _segment_from_json(whole: Reference, document: Mapping[str, Any]) -> Reference:
    columns = {
        name: ColumnReference(
            whole.columns[name].column,
            profile_from_json(entry["profile"]),
            entry["summary"],
            calibration_from_json(entry["calibration"]),
        )
        for name, entry in document["columns"].items()
    }
    return Reference(whole.model, whole.version, whole.computed_at, document["rows"], columns, None)


def profile_to_json(profile: ColumnProfile) -> dict[str, Any]:
    """Return a column profile as plain numbers and lists; infinities (no finite value) become null."""
    return {
        "counts": profile.counts.tolist(),
        "sums": [_finite(value) for value in profile.sums.tolist()],
        "squares": _finite(profile.squares),
        "nulls": profile.nulls,
        "invalid": profile.invalid,
        "low": _finite(profile.low),
        "high": _finite(profile.high),
        "unseen": [list(item) for item in profile.unseen],
        "unseen_rows": profile.unseen_rows,
        "distinct": b64encode(profile.distinct.sketch).decode() if profile.distinct else None,
    }


def profile_from_json(document: Mapping[str, Any]) -> ColumnProfile:
    """Read what `profile_to_json` wrote."""

    def number(value: float | None, missing: float) -> float:
        return missing if value is None else float(value)

    return ColumnProfile(
        counts=np.asarray(document["counts"], dtype=np.int64),
        sums=np.array([number(value, np.nan) for value in document["sums"]], dtype=np.float64),
        squares=number(document["squares"], np.nan),
        nulls=int(document["nulls"]),
        invalid=int(document["invalid"]),
        low=number(document["low"], np.inf),
        high=number(document["high"], -np.inf),
        unseen=tuple((str(name), int(count)) for name, count in document["unseen"]),
        unseen_rows=int(document["unseen_rows"]),
        distinct=DistinctCount(b64decode(document["distinct"])) if document["distinct"] else None,
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
