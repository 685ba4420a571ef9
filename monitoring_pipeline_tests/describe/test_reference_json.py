import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.reference_building import ReferencePlan, specs_of
from monitoring_pipeline.describe.reference_json import document_digest, reference_from_json, reference_to_json
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import ReferenceError
from monitoring_pipeline_tests.traffic import SPECS, log_rows, reference

ROWS = log_rows(2400, seed=1, hours=72)


def labelled(rows: pa.Table) -> pa.Table:
    actual = (np.random.default_rng(7).random(rows.num_rows) < rows["score"].to_numpy()).astype(float)
    return rows.append_column("late", pa.array(actual))


def plan_segments(**more: Any) -> Reference:
    plan = ReferencePlan((HOUR, 24 * HOUR), segments=["plan"], most=2)
    return reference(labelled(ROWS), label="late", time="predicted_at", plan=plan, **more)


def document() -> dict[str, Any]:
    of = reference(labelled(ROWS), label="late", time="predicted_at", windows=(HOUR, 24 * HOUR))
    found: dict[str, Any] = json.loads(json.dumps(reference_to_json(of)))
    return found


def test_a_reference_comes_back_from_json_with_the_same_digest() -> None:
    stored = document()
    found = reference_from_json(stored)
    assert reference_to_json(found) == stored
    content = {name: value for name, value in stored.items() if name != "digest"}
    assert found.digest == stored["digest"] == document_digest(content)
    assert found.columns["tenure"].calibrated("psi", "24h") is not None


def tampered(change: str) -> dict[str, Any]:
    stored = document()
    if change == "count":
        stored["columns"]["tenure"]["profile"]["counts"][7] += 1
    elif change == "calibration":
        stored["columns"]["tenure"]["calibration"]["psi"]["24h"][1] += 1.0
    elif change == "column":
        del stored["columns"]["plan"]
    elif change == "version":
        stored["version"] = "9"
    elif change == "digest":
        stored["digest"] = "0" * 64
    else:
        del stored["digest"]
    return stored


@pytest.mark.parametrize("change", ["count", "calibration", "column", "version", "digest", "no digest"])
def test_a_changed_document_is_refused(change: str) -> None:
    with pytest.raises(ReferenceError, match=r"reference of churn v\d: its content has digest .* Rebuild"):
        reference_from_json(tampered(change))


def test_a_document_of_another_format_is_refused() -> None:
    with pytest.raises(ReferenceError, match="format 1, needed 3"):
        reference_from_json(document() | {"format": 1})
    with pytest.raises(ReferenceError, match="format None"):
        reference_from_json({})


def test_a_reference_with_segments_comes_back_from_json_whole() -> None:
    found = plan_segments(importances={"tenure": 2.5})
    again = reference_from_json(json.loads(json.dumps(reference_to_json(found))))
    assert reference_to_json(again) == reference_to_json(found)
    assert (again.segmentations, again.importances) == (found.segmentations, {"tenure": 2.5})
    assert again.error_dispersion == found.error_dispersion
    assert found.error_dispersion is not None
    for name, segment in found.segments.items():
        assert again.segments[name].rows == segment.rows
        tenure, expected = again.segments[name].columns["tenure"], segment.columns["tenure"]
        assert tenure.profile.counts.tolist() == expected.profile.counts.tolist()
        assert tenure.calibrated("psi", "24h") == expected.calibrated("psi", "24h") is not None
        assert tenure.column is again.columns["tenure"].column


def test_what_a_segment_holds_is_part_of_the_digest() -> None:
    stored = json.loads(json.dumps(reference_to_json(plan_segments())))
    stored["segments"]["plan=basic"]["rows"] += 1
    with pytest.raises(ReferenceError, match="its content has digest"):
        reference_from_json(stored)


def test_a_date_and_time_comes_back_from_json() -> None:
    joined = specs_of("joined", ColumnRole.FEATURE, ColumnKind.DATETIME, groups=10, aged=True)
    rows = ROWS.append_column("joined", ROWS["predicted_at"])
    found = reference(rows, [*SPECS, *joined], time="predicted_at")
    again = reference_from_json(json.loads(json.dumps(reference_to_json(found))))
    assert {name: (each.source, each.part) for name, each in again.specs.items()} == {
        name: (each.source, each.part) for name, each in found.specs.items()
    }
