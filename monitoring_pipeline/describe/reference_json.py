"""The stored form of a Reference: a JSON document that carries the digest of its content, never a pickle.

Add a field of the records here, both ways, and raise FORMAT when older documents cannot be read any more. Keep files
and registries out: they belong in stores.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import numpy as np

from monitoring_pipeline.describe.blocks import calibration_from_json, calibration_to_json
from monitoring_pipeline.describe.business import BusinessProfile
from monitoring_pipeline.describe.columns import Column
from monitoring_pipeline.describe.error_dispersion import ErrorDispersion
from monitoring_pipeline.describe.freshness import FreshnessProfile
from monitoring_pipeline.describe.intake import IntakeProfile
from monitoring_pipeline.describe.layouts import Layout
from monitoring_pipeline.describe.loss_model import LossModel
from monitoring_pipeline.describe.outcome_plan import outcome_from_json
from monitoring_pipeline.describe.profiles import ColumnProfile
from monitoring_pipeline.describe.references import ColumnReference, Reference, UsualRanges
from monitoring_pipeline.describe.segments import Segmentation
from monitoring_pipeline.errors import ReferenceError
from monitoring_pipeline.stats.cardinality import DistinctCount

FORMAT = 3


def reference_to_json(reference: Reference) -> dict[str, Any]:
    """Return the document stored with the model version, its digest included."""
    document = {
        "format": FORMAT,
        "model": reference.model,
        "version": reference.version,
        "computed_at": reference.computed_at.isoformat(),
        "rows": reference.rows,
        "columns": {name: _column_to_json(entry) for name, entry in reference.columns.items()},
        "outcomes": reference.outcomes.to_json() if reference.outcomes else None,
        "trained_until": reference.trained_until.isoformat() if reference.trained_until else None,
        "segmentations": [segmentation.to_json() for segmentation in reference.segmentations],
        "segments": {name: _segment_to_json(segment) for name, segment in reference.segments.items()},
        "importances": dict(reference.importances),
        "error_dispersion": reference.error_dispersion.to_json() if reference.error_dispersion else None,
        "freshness": reference.freshness.to_json() if reference.freshness else None,
        "usual": ranges_to_json(reference.usual),
        "intake": reference.intake.to_json() if reference.intake else None,
        "signature": dict(reference.signature),
        "loss_model": reference.loss_model.to_json() if reference.loss_model else None,
        "layout": reference.layout.to_json(),
        "business": reference.business.to_json(),
    }
    return document | {"digest": document_digest(document)}


def reference_from_json(document: Mapping[str, Any]) -> Reference:
    """Read a stored document; raises ReferenceError when it is not intact, or is none."""
    if not isinstance(document, Mapping):
        raise ReferenceError(f"a reference is a JSON mapping, found {type(document).__name__}. Rebuild it.")
    where = f"reference of {document.get('model')} v{document.get('version')}"
    if document.get("format") != FORMAT:
        raise ReferenceError(f"{where}: format {document.get('format')!r}, needed {FORMAT}. Rebuild the reference.")
    content = {name: value for name, value in document.items() if name != "digest"}
    try:
        found = document_digest(content)
        return _read(document, where, found)
    except ReferenceError:
        raise
    except Exception as error:  # noqa: BLE001 - whoever writes to the registry can make one that fails anywhere
        raise ReferenceError(
            f"{where}: it is not as references are ({type(error).__name__}: {error!s:.200}). Rebuild the reference by "
            "materialising reference_distributions."
        ) from None


def _read(document: Mapping[str, Any], where: str, found: str) -> Reference:
    if found != document.get("digest"):
        raise ReferenceError(
            f"{where}: its content has digest {found[:12]}, it claims {str(document.get('digest'))[:12]}: the file "
            "was changed after it was written. Rebuild the reference by materialising reference_distributions."
        )
    dispersion = document["error_dispersion"]
    whole = Reference(
        model=document["model"],
        version=document["version"],
        computed_at=datetime.fromisoformat(document["computed_at"]),
        rows=document["rows"],
        columns={
            name: _column_from_json(entry, Column.from_json(entry["column"]))
            for name, entry in document["columns"].items()
        },
        outcomes=outcome_from_json(document["outcomes"]) if document["outcomes"] else None,
        trained_until=datetime.fromisoformat(document["trained_until"]) if document["trained_until"] else None,
        segmentations=tuple(Segmentation.from_json(entry) for entry in document["segmentations"]),
        importances=document["importances"],
        error_dispersion=ErrorDispersion.from_json(dispersion) if dispersion else None,
        freshness=FreshnessProfile.from_json(document["freshness"]) if document["freshness"] else None,
        usual=ranges_from_json(document["usual"]),
        intake=IntakeProfile.from_json(document["intake"]) if document["intake"] else None,
        signature=document["signature"],
        layout=Layout.from_json(document["layout"]),
        business=BusinessProfile.from_json(document["business"]),
        digest=document["digest"],
    )
    segments = {name: _segment_from_json(whole, entry) for name, entry in document["segments"].items()}
    losses = document["loss_model"]
    return replace(whole, segments=segments, loss_model=LossModel.from_json(losses, whole.specs) if losses else None)


def ranges_to_json(usual: UsualRanges) -> dict[str, Any]:
    """Return ranges as plain mappings of [low, high]; an open end becomes null."""
    return {
        column: {
            window: {name: [_finite(end) for end in ends] for name, ends in ranges.items()}
            for window, ranges in windows.items()
        }
        for column, windows in usual.items()
    }


def ranges_from_json(document: Mapping[str, Any]) -> UsualRanges:
    """Read what `ranges_to_json` wrote."""

    def ends(pair: Sequence[float | None]) -> tuple[float, float]:
        low, high = pair
        return -np.inf if low is None else low, np.inf if high is None else high

    return {
        column: {window: {name: ends(pair) for name, pair in ranges.items()} for window, ranges in windows.items()}
        for column, windows in document.items()
    }


def document_digest(document: Mapping[str, Any]) -> str:
    """Return the sha256 of a JSON document in its canonical form.

    The time of computation is left out: the same rows give the same digest whenever they are described.
    """
    content = {name: value for name, value in document.items() if name != "computed_at"}
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def _column_to_json(entry: ColumnReference) -> dict[str, Any]:
    return {"column": entry.column.to_json(), **_own_to_json(entry)}


def _own_to_json(entry: ColumnReference) -> dict[str, Any]:
    """Return what a column has of its own in every segment; its bins are those of the whole."""
    return {
        "profile": profile_to_json(entry.profile),
        "summary": dict(entry.summary),
        "calibration": calibration_to_json(entry.calibration),
    }


def _column_from_json(document: Mapping[str, Any], column: Column) -> ColumnReference:
    calibration = calibration_from_json(document["calibration"])
    return ColumnReference(column, profile_from_json(document["profile"]), document["summary"], calibration)


def _segment_to_json(segment: Reference) -> dict[str, Any]:
    columns = {name: _own_to_json(entry) for name, entry in segment.columns.items()}
    return {"rows": segment.rows, "columns": columns}


def _segment_from_json(whole: Reference, document: Mapping[str, Any]) -> Reference:
    columns = {
        name: _column_from_json(entry, whole.columns[name].column) for name, entry in document["columns"].items()
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
