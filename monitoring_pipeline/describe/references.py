"""The Reference of one model version: what its columns and its performance looked like when it was trained.

Built from the rows logged with the version, stored as JSON with that version. The monitor never loads the model.
Add what a comparison needs to know of the training data here. Keep comparisons out: they belong in evaluate.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring_pipeline.capture.predictions import TIME_TYPE, as_utc, require_columns
from monitoring_pipeline.capture.windows import HOUR, window_name
from monitoring_pipeline.describe.columns import (
    Bins,
    Column,
    ColumnKind,
    ColumnRole,
    FloatArray,
    categorical_bins,
    numeric_bins,
)
from monitoring_pipeline.describe.distances import as_windows, column_distances
from monitoring_pipeline.describe.kernel import category_counts, numeric_values
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.describe.profiles import (
    ColumnProfile,
    ColumnWindows,
    HourlyProfiles,
    Profile,
    ProfileSeries,
    rows_by_hour,
)
from monitoring_pipeline.errors import ReferenceError
from monitoring_pipeline.stats.null_distributions import log_moments, prediction_limit_from_moments

QUANTILES = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
FORMAT = 1
CALIBRATED = ("psi", "js", "ks", "wasserstein")


@dataclass(frozen=True, slots=True)
class BlockDistances:
    """How far contiguous blocks of the reference lie from the rest of it: the scale of ordinary change.

    `independent` is how many blocks fit side by side; `log_mean` and `log_variance` describe the distances' logarithms.
    """

    independent: float
    log_mean: float
    log_variance: float
    largest: float

    def limit(self, probability: float) -> float:
        """Return the distance that a new block without change stays below with `probability`.

        Infinite where so few and so different blocks put no bound on it.
        """
        with np.errstate(over="ignore"):
            limit = prediction_limit_from_moments(
                self.log_mean, self.log_variance, independent=self.independent, probability=probability
            )
        return float(limit)


@dataclass(frozen=True, slots=True, eq=False)
class ColumnReference:
    """One column in the reference: its bins, its profile, a summary for people, and its calibration.

    `calibration` maps a metric (psi, js, ks, wasserstein) and a window name (24h) to block distances.
    """

    column: Column
    profile: ColumnProfile
    summary: Mapping[str, Any]
    calibration: Mapping[str, Mapping[str, BlockDistances]]

    def calibrated(self, metric: str, window: str) -> BlockDistances | None:
        return self.calibration.get(metric, {}).get(window)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Profile, performance and calibration of one model version, with the digest of its content."""

    model: str
    version: str
    computed_at: datetime
    rows: int
    columns: Mapping[str, ColumnReference]
    outcomes: OutcomeProfile | None
    trained_until: datetime | None = None
    digest: str = ""

    @property
    def specs(self) -> dict[str, Column]:
        """Columns of the serving log by name, as `Profile.of` takes them; the label is not one of them."""
        served = (entry.column for entry in self.columns.values() if entry.column.role is not ColumnRole.LABEL)
        return {column.name: column for column in served}

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
        return cls(
            model=document["model"],
            version=document["version"],
            computed_at=datetime.fromisoformat(document["computed_at"]),
            rows=document["rows"],
            columns={name: _column_from_json(entry) for name, entry in document["columns"].items()},
            outcomes=OutcomeProfile.from_json(document["outcomes"]) if document["outcomes"] else None,
            trained_until=datetime.fromisoformat(document["trained_until"]) if document["trained_until"] else None,
            digest=document["digest"],
        )


def document_digest(document: Mapping[str, Any]) -> str:
    """Return the sha256 of a JSON document in its canonical form.

    The time of computation is left out: the same rows give the same digest whenever they are described.
    """
    content = {name: value for name, value in document.items() if name != "computed_at"}
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """What a monitor says of a column before its bins are known."""

    name: str
    role: ColumnRole
    kind: ColumnKind
    groups: int = 10


def build_reference(
    rows: pa.Table,
    specs: Sequence[ColumnSpec],
    *,
    model: str,
    version: str,
    computed_at: datetime,
    time: str | None = None,
    label: str | None = None,
    windows: Sequence[timedelta] = (),
    trained_until: datetime | None = None,
) -> Reference:
    """Describe the reference rows of a model version, trained on data up to `trained_until`.

    `time` names the column that orders the rows; with it, blocks of each of the `windows` calibrate the thresholds.
    `label` names the outcome (0 or 1); with it, the target is described too and the version's own performance becomes
    the baseline.
    """
    table = f"reference rows of {model} v{version}"
    needed = [spec.name for spec in specs] + [name for name in (time, label) if name is not None]
    require_columns(rows, needed, table=table)
    if rows.num_rows == 0:
        raise ReferenceError(f"{table}: no rows. Log the rows the model was validated on with log_reference.")
    if label is not None:
        specs = [*specs, ColumnSpec(label, ColumnRole.LABEL, ColumnKind.CATEGORICAL)]
    columns = {spec.name: Column(spec.name, spec.role, spec.kind, _bins(rows, spec)) for spec in specs}
    profile = Profile.of(rows, version, columns)
    hourly: HourlyProfiles = {}
    if time is not None and windows:
        placed = rows.set_column(rows.column_names.index(time), time, as_utc(rows[time], name=time, table=table))
        placed = placed.filter(placed[time].is_valid())
        hourly = {hour: Profile.of(part, version, columns) for hour, part in rows_by_hour(placed, time=time).items()}
    described = {
        name: ColumnReference(
            column,
            profile.columns[name],
            _summary(rows[name], column, profile.columns[name]),
            calibrate(column, hourly, windows),
        )
        for name, column in columns.items()
    }
    outcomes = _outcomes(rows, specs, label)
    reference = Reference(model, version, computed_at, rows.num_rows, described, outcomes, trained_until)
    return replace(reference, digest=reference.to_json()["digest"])


def _bins(rows: pa.Table, spec: ColumnSpec) -> Bins:
    if spec.kind.is_binned:
        return numeric_bins(numeric_values(rows[spec.name], spec.kind).finite, groups=spec.groups)
    return categorical_bins(category_counts(rows[spec.name], spec.kind), groups=spec.groups)


def _outcomes(rows: pa.Table, specs: Sequence[ColumnSpec], label: str | None) -> OutcomeProfile | None:
    if label is None:
        return None
    served = (ColumnRole.SCORE, ColumnRole.PREDICTION)
    columns = {spec.role.value: rows[spec.name] for spec in specs if spec.role in served}
    joined = pa.table(columns | {"actual": rows[label], "labelled_at": pa.nulls(rows.num_rows, TIME_TYPE)})
    return OutcomeProfile.of(joined, **{role.value: role.value if role.value in columns else None for role in served})


def calibrate(
    column: Column, hourly: HourlyProfiles, windows: Sequence[timedelta]
) -> dict[str, dict[str, BlockDistances]]:
    """Return the distances of the reference's own blocks from the rest of it, by metric and window.

    Every block of consecutive hours is held against all other hours (leave one block out). Real columns are
    autocorrelated, so a week of one spring lies far from the month it is part of: the block distances say how far
    without any change. A window needs two independent blocks, or it is not calibrated; stretches without rows, such as
    a gap between two months, make no block.
    """
    calibration: dict[str, dict[str, BlockDistances]] = {metric: {} for metric in CALIBRATED}
    if not hourly:
        return {}
    first, last = min(hourly), max(hourly)
    hours = [first + step * HOUR for step in range(round((last - first) / HOUR) + 1)]
    for window in windows:
        length = round(window / HOUR)
        if len(hours) < 2 * length:
            continue
        series = ProfileSeries(hourly, hours[length - 1 :], reach=length)
        blocks = series.column(column, length)
        whole = ProfileSeries(hourly, hours[-1:], reach=len(hours)).column(column, len(hours))
        kept = blocks.rows >= max(1.0, np.median(blocks.rows[blocks.rows > 0]) / 4)
        blocks = _select(blocks, kept)
        distances = column_distances(column, _rest(whole, blocks), blocks)
        independent = (int(kept.sum()) + length - 1) / length
        if independent < 2:
            continue
        for metric in CALIBRATED:
            values = getattr(distances, metric)
            if values is not None and (entry := _block_distances(values, independent)) is not None:
                calibration[metric][window_name(window)] = entry
    return calibration


def _select(windows: ColumnWindows, kept: Any) -> ColumnWindows:
    return ColumnWindows(*(getattr(windows, name)[kept] for name in ("counts", "sums", "nulls", "invalid", "unseen")))


def _rest(whole: ColumnWindows, blocks: ColumnWindows) -> ColumnWindows:
    names = ("counts", "sums", "nulls", "invalid", "unseen")
    return ColumnWindows(*(getattr(whole, name) - getattr(blocks, name) for name in names))


def _block_distances(values: FloatArray, independent: float) -> BlockDistances | None:
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return None
    mean, variance = log_moments(finite)
    return BlockDistances(independent, float(mean), float(variance), float(finite.max()))


def _summary(values: pa.ChunkedArray, column: Column, profile: ColumnProfile) -> dict[str, Any]:
    rows = len(values)
    summary: dict[str, Any] = {"n": rows, "null_rate": profile.nulls / rows, "invalid": profile.invalid}
    grouped = as_windows(profile).grouped(column.bins)[0]
    summary["proportions"] = (grouped / grouped.sum()).tolist()
    if not column.kind.is_binned:
        counts = sorted(category_counts(values, column.kind).items(), key=lambda item: (-item[1], item[0]))
        return summary | {"categories": dict(counts[:100]), "distinct": len(counts)}
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
        "calibration": {
            metric: {
                window: [blocks.independent, blocks.log_mean, blocks.log_variance, blocks.largest]
                for window, blocks in by_window.items()
            }
            for metric, by_window in entry.calibration.items()
        },
    }


def _column_from_json(document: Mapping[str, Any]) -> ColumnReference:
    return ColumnReference(
        Column.from_json(document["column"]),
        profile_from_json(document["profile"]),
        document["summary"],
        {
            metric: {window: BlockDistances(*values) for window, values in by_window.items()}
            for metric, by_window in document["calibration"].items()
        },
    )


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
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
