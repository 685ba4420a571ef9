"""The cost model against hours that were really stored."""

import uuid

import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.capacity import Load, capacity
from monitoring_pipeline_tests.deployments import MODEL, Deployment, customers
from monitoring_pipeline_tests.traffic import hour

HOURS = 4
ROWS_AND_REPORTS = {"predictions", "labels", "samples", "profiles"}


@pytest.mark.parametrize("rows", [60, 600])
def test_a_stored_hour_is_of_the_size_the_model_says(deployment: Deployment, rows: int) -> None:
    deployment.watch({"windows": ["1h", "24h", "7d"], "rules": []})
    served = customers([hour(number) for number in range(HOURS)], rows=rows)
    served["prediction_id"] = [str(uuid.uuid4()) for _ in range(len(served))]
    deployment.log(served)
    deployment.label(served)
    deployment.set_clock(hour(HOURS))
    deployment.compute(0, HOURS - 1)
    found = dict.fromkeys([*ROWS_AND_REPORTS, "reports"], 0.0)
    for folder in deployment.monitoring.data.iterdir():
        if folder.name not in ("references", "calibrations", "importances"):
            kind = folder.name if folder.name in ROWS_AND_REPORTS else "reports"
            files = (path for path in (folder / f"model={MODEL}").rglob("*") if path.is_file())
            found[kind] += sum(path.stat().st_size for path in files) / HOURS
    said = capacity(Load(predictions_per_day=rows * (24 * HOUR / HOUR), features=3)).hour_bytes
    ratios = {kind: said[kind] / size for kind, size in found.items()}
    assert all(1 / 2 < ratio < 2 for ratio in ratios.values()), ratios
