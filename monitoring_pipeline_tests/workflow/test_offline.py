"""Tables in memory give what the assets write: the same stages, without a store."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import TableError
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.stores.mlflow_reference import REFERENCE_ROWS
from monitoring_pipeline.workflow.offline import evaluate_against, evaluate_tables
from monitoring_pipeline.workflow.stages import REPORTS
from monitoring_pipeline_tests.deployments import MODEL, Deployment, champion, customers, scored
from monitoring_pipeline_tests.poison import labels, logged, monitor, put, reference
from monitoring_pipeline_tests.traffic import hour


def by_key(signals: list[Signal]) -> dict[Any, Any]:
    # A table has no signature and no age.
    told = [signal for signal in signals if not signal.metric.startswith(("model.", "schema."))]
    return {signal.key: (signal.value, signal.absence, signal.low, signal.high, signal.rows) for signal in told}


def test_tables_give_the_signals_of_the_hourly_assets(deployment: Deployment) -> None:
    rows = deployment.serve(0, 5)
    deployment.set_clock(hour(8))
    deployment.compute(0, 5)
    stages = deployment.monitoring.stages(deployment.monitor)
    for measure in (stages.measure_quality, stages.measure_operations):
        measure([hour(number) for number in range(6)])
    stored = [
        signal
        for kind in REPORTS
        for signals in deployment.store.read_signals(kind, MODEL, hour(0), hour(6)).values()
        for signal in signals
    ]
    registry = deployment.monitoring.registry
    reference = registry.read_parquet(registry.version(MODEL, "1"), REFERENCE_ROWS)
    served = pa.Table.from_pandas(scored(rows, champion()).drop(columns="actual").assign(model_version="1"))
    labels = pa.Table.from_pandas(
        rows[["prediction_id", "actual"]].assign(labelled_at=rows["predicted_at"] + timedelta(minutes=30)),
        preserve_index=False,
    )
    found = evaluate_tables(deployment.monitor, reference, served, labels, computed_at=hour(8))
    assert (found.rows, found.labelled, len(found.hours)) == (360, 360, 6)
    assert by_key(list(found.signals)) == by_key(stored)


def test_without_labels_nothing_is_said_of_performance(deployment: Deployment) -> None:
    rows = scored(customers([hour(0)]), champion()).drop(columns="actual").assign(model_version="1")
    served = pa.Table.from_pandas(rows)
    found = evaluate_tables(deployment.monitor, served, served, None, computed_at=hour(8))
    assert found.labelled is None
    performance = [signal for signal in found.signals if signal.metric.startswith(("performance.", "concept."))]
    assert performance
    known = {signal.metric for signal in performance if signal.value is not None}
    assert known == {"performance.label_coverage"}, "it is zero, and everything else unknown"
    assert any(signal.metric == "drift.psi" and signal.value is not None for signal in found.signals)


def test_a_few_rows_of_another_decade_count_as_rows_without_a_time() -> None:
    rows, known = logged(Task.BINARY), labels(Task.BINARY)
    times = put(rows["predicted_at"], [3, 90], datetime(1970, 1, 1, tzinfo=UTC))
    found = evaluate_against(
        monitor(Task.BINARY), reference(Task.BINARY), rows.set_column(1, "predicted_at", times), known
    )
    assert (len(found.hours), found.rows) == (2, 118)
    missing = [signal for signal in found.signals if signal.metric == "quality.missing_time_rate"]
    assert sum((signal.value or 0) * signal.rows for signal in missing) == pytest.approx(2)


def test_rows_of_two_decades_are_refused() -> None:
    rows = logged(Task.BINARY)
    times = put(rows["predicted_at"], range(60), datetime(1970, 1, 1, tzinfo=UTC))
    with pytest.raises(TableError, match="Correct the times, or split the table"):
        evaluate_against(
            monitor(Task.BINARY), reference(Task.BINARY), rows.set_column(1, "predicted_at", times), labels(Task.BINARY)
        )
