import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pyarrow as pa

from monitoring_pipeline.capture.predictions import TIME_TYPE, LogColumns
from monitoring_pipeline.capture.sampling import sample_rows
from monitoring_pipeline.capture.windows import HOUR, Window, hour_of
from monitoring_pipeline.serve.ledger import unaccounted
from monitoring_pipeline.serve.recorder import Recorded, Recorder, is_sampled
from monitoring_pipeline.stores.parquet import ParquetPredictionLog
from monitoring_pipeline_tests.scoring import MODEL, NOW

SCHEMA = pa.schema(
    [("prediction_id", pa.string()), ("predicted_at", TIME_TYPE), ("score", pa.float64()), ("note", pa.null())]
)

KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.serve.recorder import Recorder
from monitoring_pipeline.stores.parquet import ParquetPredictionLog
from monitoring_pipeline_tests.serve.test_recorder import SCHEMA, record
folder = Path(sys.argv[1])
log = ParquetPredictionLog(folder, LogColumns())
recorder = Recorder(log, "churn", SCHEMA, flush_s=3600, ledgers=folder / "ledgers")
for number in range(100):
    recorder.record(str(number), record(number))
assert recorder.flush()
for number in range(100, 117):
    recorder.record(str(number), record(number))
os.kill(os.getpid(), signal.SIGKILL)
"""


def record(number: int, **more: Any) -> dict[str, Any]:
    return {"prediction_id": str(number), "predicted_at": NOW, "score": number / 1000, **more}


class SlowLog:
    """A log that takes nothing until it is let, and fails as often as it is told to."""

    def __init__(self, *, failures: int = 0, open_: bool = True) -> None:
        self.tables: list[pa.Table] = []
        self.failures = failures
        self.gate = Event()
        if open_:
            self.gate.set()

    def append(self, model: str, rows: pa.Table) -> int:
        self.gate.wait(20)
        if self.failures:
            self.failures -= 1
            raise OSError("disk full")
        self.tables.append(rows)
        return int(rows.num_rows)

    def read(self, window: Window) -> pa.Table:
        return pa.concat_tables(self.tables) if self.tables else pa.table({})

    def hours(self, model: str, *, since: datetime) -> Sequence[datetime]:
        return []

    @property
    def ids(self) -> list[str]:
        return [value for table in self.tables for value in table["prediction_id"].to_pylist()]


@contextmanager
def recording(log: Any, **how: Any) -> Iterator[Recorder]:
    recorder = Recorder(log, MODEL, SCHEMA, **{"flush_s": 0.02, **how})
    try:
        yield recorder
    finally:
        recorder.close(timeout=5)


def test_every_record_is_stored_once_in_order_whatever_the_number_of_threads(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LogColumns())

    def put(part: int) -> None:
        for number in range(part, 2000, 4):
            assert recorder.record(str(number), record(number)) is Recorded.ACCEPTED

    with recording(log, batch_rows=100) as recorder:
        threads = [Thread(target=put, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert recorder.flush()
        assert recorder.counts() == {
            "accepted": 2000, "stored": 2000, "lost": 0, "dropped": 0, "sampled_out": 0, "lost_before": 0
        }  # fmt: skip
    rows = log.read(Window(MODEL, hour_of(NOW), hour_of(NOW) + HOUR))
    assert sorted(map(int, rows["prediction_id"].to_pylist())) == list(range(2000))


def test_a_full_queue_refuses_and_counts_and_never_waits() -> None:
    log = SlowLog(open_=False)
    with recording(log, capacity=50) as recorder:
        began = time.monotonic()
        outcomes = [recorder.record(str(number), record(number)) for number in range(80)]
        assert time.monotonic() - began < 1
        assert (outcomes.count(Recorded.ACCEPTED), outcomes.count(Recorded.DROPPED)) == (50, 30)
        log.gate.set()
        assert recorder.flush()
        assert recorder.counts() | {"lost_before": 0} == {
            "accepted": 50, "stored": 50, "lost": 0, "dropped": 30, "sampled_out": 0, "lost_before": 0
        }  # fmt: skip
    assert log.ids == [str(number) for number in range(50)]


def test_a_log_that_fails_for_a_while_costs_nothing() -> None:
    log = SlowLog(failures=2)
    with recording(log) as recorder:
        recorder.record("1", record(1))
        assert recorder.flush(timeout=10)
        assert (recorder.counts()["stored"], recorder.counts()["lost"]) == (1, 0)
    assert log.ids == ["1"]


def test_a_log_that_goes_on_failing_loses_records_and_says_how_many() -> None:
    log = SlowLog(failures=1000)
    with recording(log, retry_s=0.3) as recorder:
        for number in range(7):
            recorder.record(str(number), record(number))
        assert recorder.flush(timeout=10)
        assert (recorder.counts()["stored"], recorder.counts()["lost"]) == (0, 7)
        log.failures = 0
        recorder.record("8", record(8))
        assert recorder.flush()
        assert recorder.counts()["stored"] == 1, "the thread that stores is still there"


def test_records_that_make_no_table_are_lost_and_do_not_stop_the_others() -> None:
    log = SlowLog()
    with recording(log) as recorder:
        recorder.record("1", record(1) | {"score": "not a number"})
        assert recorder.flush()
        recorder.record("2", record(2))
        assert recorder.flush()
        assert (recorder.counts()["stored"], recorder.counts()["lost"]) == (1, 1)
    assert log.ids == ["2"]


def test_a_column_of_unknown_type_takes_whatever_comes() -> None:
    log = SlowLog()
    with recording(log) as recorder:
        for number, note in enumerate([1.5, None, "text", True]):
            recorder.record(str(number), record(number, note=note))
        assert recorder.flush()
    assert log.read(Window.of_hour(MODEL, NOW))["note"].to_pylist() == ["1.5", None, "text", "True"]


def test_what_completes_a_batch_may_fail_and_the_batch_is_stored_without() -> None:
    def broken(rows: pa.Table) -> pa.Table:
        raise RuntimeError("shadow")

    log = SlowLog()
    with recording(log, complete=broken) as recorder:
        recorder.record("1", record(1))
        assert recorder.flush()
    assert log.ids == ["1"]


def test_what_waits_is_stored_at_the_end_and_nothing_is_taken_on_after_it() -> None:
    log = SlowLog()
    recorder = Recorder(log, MODEL, SCHEMA, flush_s=3600)
    for number in range(10):
        recorder.record(str(number), record(number))
    assert recorder.close()
    assert log.ids == [str(number) for number in range(10)]
    assert recorder.record("11", record(11)) is Recorded.DROPPED
    assert (recorder.is_alive, recorder.close()) == (False, True)


def test_the_end_does_not_wait_for_ever_for_a_log_that_hangs(tmp_path: Path) -> None:
    log = SlowLog(open_=False)
    recorder = Recorder(log, MODEL, SCHEMA, flush_s=0.01, ledgers=tmp_path)
    for number in range(3):
        recorder.record(str(number), record(number))
    assert not recorder.close(timeout=0.2)
    assert recorder.pending == 3
    log.gate.set()
    assert recorder.close(), "the thread goes on, for as long as the process lives"
    assert log.ids == ["0", "1", "2"]


def test_the_end_of_the_program_stores_what_waits(tmp_path: Path) -> None:
    script = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[2])
    assert done.returncode == 0
    rows = ParquetPredictionLog(tmp_path, LogColumns()).read(Window.of_hour(MODEL, NOW))
    assert (rows.num_rows, unaccounted(tmp_path / "ledgers")) == (117, 0)


def test_a_kill_loses_what_waited_and_the_next_process_counts_it(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    log = ParquetPredictionLog(tmp_path, LogColumns())
    assert log.read(Window.of_hour(MODEL, NOW)).num_rows == 100
    with recording(log, ledgers=tmp_path / "ledgers") as recorder:
        assert recorder.counts()["lost_before"] == 17


def test_the_sample_is_the_share_of_ids_that_hash_lowest_as_everywhere_else() -> None:
    ids = [f"id-{number}" for number in range(4000)]
    kept = [name for name in ids if is_sampled(name, 0.25)]
    assert 0.22 < len(kept) / len(ids) < 0.28
    lowest = sample_rows(pa.table({"id": ids}), id_column="id", limit=len(kept))
    assert set(lowest["id"].to_pylist()) == set(kept)
    log = SlowLog()
    with recording(log, rate=0.25) as recorder:
        for name in ids:
            recorder.record(name, {"prediction_id": name, "predicted_at": NOW})
        assert recorder.flush()
        assert recorder.counts()["sampled_out"] == len(ids) - len(kept)
    assert log.ids == kept
