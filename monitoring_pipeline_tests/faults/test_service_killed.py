"""The scoring service is killed under traffic: every label is in the log, and the next one puts in every prediction."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.windows import HOUR, Window, hour_of
from monitoring_pipeline.serve.recorder import Recorder
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline_tests.faults.invariants import Acknowledged, nothing_acknowledged_is_lost, prove
from monitoring_pipeline_tests.processes import free_port, listens, wait_until
from monitoring_pipeline_tests.scoring import COLUMNS, CONTRACT, MODEL, NOW, ROW, Port
from monitoring_pipeline_tests.workers import NEVER, serve, start

LONGEST_S = 20


def ask(port: Port, name: str, predicted: list[str], labelled: list[str]) -> None:
    """Ask for predictions and label each, until nobody answers; what was acknowledged is put in the lists."""
    end, number = time.monotonic() + LONGEST_S, 0
    with suppress(OSError, HTTPException):
        while time.monotonic() < end:
            number += 1
            made = f"{name}-{number}"
            status, _, _ = port.ask("POST", "/predict", {"features": ROW, "prediction_id": made})
            predicted += [made] if status == 200 else []
            if number % 5 == 0:
                label = {"prediction_id": made, "actual": 1, "predicted_at": NOW.isoformat()}
                status, _, _ = port.ask("POST", "/feedback", {"labels": [label]})
                labelled += [made] if status == 200 else []


def in_the_logs(folder: Path) -> tuple[list[str], list[str]]:
    rows = ParquetPredictionLog(folder, COLUMNS).read(Window.of_hour(MODEL, hour_of(NOW)))
    labels = ParquetLabelLog(folder, LabelColumns()).read(MODEL, start=hour_of(NOW), end=hour_of(NOW) + HOUR)
    return (
        rows["prediction_id"].to_pylist() if rows.num_rows else [],
        labels["prediction_id"].to_pylist() if labels is not None else [],
    )


@pytest.mark.parametrize(
    "point", ["recorder.before_append", "recorder.after_append:3", "file.before_rename:4", "from outside"]
)
def test_a_service_killed_at_this_point_has_lost_nothing_that_it_acknowledged(tmp_path: Path, point: str) -> None:
    number = free_port()
    process = start(serve, NEVER if point == "from outside" else point, tmp_path, number)
    predicted: list[str] = []
    labelled: list[str] = []
    try:
        wait_until("it listens", lambda: listens(number), seconds=30)
        with ThreadPoolExecutor(4) as callers:
            for caller in range(4):
                callers.submit(ask, Port(number), str(caller), predicted, labelled)
            if point == "from outside":
                time.sleep(1.5)
                process.kill()
            process.join(LONGEST_S)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    assert predicted
    next_one = Recorder(ParquetPredictionLog(tmp_path, COLUMNS), MODEL, CONTRACT.schema, tmp_path / "spool")
    assert next_one.close()
    logged, known = in_the_logs(tmp_path)
    prove(nothing_acknowledged_is_lost(Acknowledged(predicted, logged, labelled, known)))
    assert len(logged) == len(set(logged)), "and none is there twice"
    assert not list(tmp_path.rglob("*.rows"))
