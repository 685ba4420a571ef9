"""A disk that is full: nothing is half there, what was there stays, and with room again all of it is done."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import Window, hour_of
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.serve.recorder import Recorder
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.parquet import ParquetPredictionLog
from monitoring_pipeline_tests.outcomes import firing
from monitoring_pipeline_tests.processes import wait_until
from monitoring_pipeline_tests.scoring import CONTRACT, MODEL, NOW
from monitoring_pipeline_tests.traffic import hour

ROWS = pa.table({"value": list(range(2000))})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KB with nothing on it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mount: this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, *, but: int = 0) -> Path:
    """Leave so many bytes free."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    ballast.write_bytes(b"x" * max(0, free.f_bavail * free.f_frsize - but))
    return ballast


def test_a_file_that_does_not_fit_leaves_the_old_one_and_no_other(disk: Path) -> None:
    store = HourlyStore(disk)
    store.write("samples", MODEL, hour(0), ROWS.slice(0, 10))
    before = {path.name: path.read_bytes() for path in disk.rglob("*.parquet")}
    ballast = fill(disk)
    for at in (hour(0), hour(1)):
        with pytest.raises(OSError, match="No space left"):
            store.write("samples", MODEL, at, ROWS)
    assert {path.name: path.read_bytes() for path in disk.rglob("*") if path.is_file() and path != ballast} == before
    ballast.unlink()
    store.write("samples", MODEL, hour(1), ROWS)
    assert store.hours("samples", MODEL) == [hour(0), hour(1)]


def test_a_state_database_that_cannot_grow_says_so_and_goes_on_with_room(disk: Path) -> None:
    state = StateDatabase(f"sqlite:///{disk / 'state.db'}")
    state.migrate()
    rules, policies = DeliveryRules(lambda _severity: ["slack"], per_hour=1000), {"feature_drift": AlertPolicy()}
    ballast = fill(disk)
    done = 0
    with pytest.raises(StoreError, match="disk"):  # noqa: PT012 - which one does not fit is up to the disk
        while done < 200:
            state.apply_outcomes([firing(0, model=f"m{done}")], now=hour(1), policies=policies, rules=rules)
            done += 1
    found = [each.model for each in state.incidents()]
    assert found == [f"m{number}" for number in range(done)], "whole transactions, and those before are kept"
    assert len(state.notifications()) == done
    ballast.unlink()
    state.apply_outcomes([firing(0, model=f"m{done}")], now=hour(1), policies=policies, rules=rules)
    assert len(state.incidents()) == len(state.notifications()) == done + 1
    state.close()


def test_the_scoring_service_keeps_what_does_not_fit_until_there_is_room(disk: Path) -> None:
    log = ParquetPredictionLog(disk, LogColumns())
    ballast = fill(disk)
    recorder = Recorder(log, MODEL, CONTRACT.schema, disk / "spool", flush_s=0.02)
    for number in range(100):
        recorder.record([str(number)], [{"prediction_id": str(number), "predicted_at": NOW, "score": 0.5}])
    wait_until("the log has refused it", lambda: recorder.pending == 100, seconds=5)
    assert not recorder.flush(timeout=0.3)
    ballast.unlink()
    assert recorder.flush(timeout=15)
    assert recorder.counts()["lost"] == 0
    assert log.read(Window.of_hour(MODEL, hour_of(NOW))).num_rows == 100
    assert recorder.close()
