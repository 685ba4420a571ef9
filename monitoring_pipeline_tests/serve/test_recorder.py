import json
import shutil
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
import pytest

from monitoring_pipeline.capture.predictions import TIME_TYPE, LogColumns
from monitoring_pipeline.capture.privacy import PiiKey, Privacy, PrivatePredictionLog
from monitoring_pipeline.capture.sampling import sample_rows
from monitoring_pipeline.capture.windows import HOUR, Window, hour_of
from monitoring_pipeline.serve.recorder import Recorded, Recorder, is_sampled
from monitoring_pipeline.stores.parquet import ParquetPredictionLog
from monitoring_pipeline_tests.processes import wait_until
from monitoring_pipeline_tests.scoring import MODEL, NOW

SCHEMA = pa.schema(
    [("prediction_id", pa.string()), ("predicted_at", TIME_TYPE), ("score", pa.float64()), ("note", pa.null())]
)

KILLED = """
import os, signal, sys
from pathlib import Path
from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.serve.recorder import Recorder
from monitoring_pipeline.stores.parquet import ParquetPredictionLog
from monitoring_pipeline_tests.serve.test_recorder import SCHEMA, put
folder = Path(sys.argv[1])
recorder = Recorder(ParquetPredictionLog(folder, LogColumns()), "churn", SCHEMA, folder / "spool", flush_s=3600)
for number in range(100):
    put(recorder, number)
assert recorder.flush()
for number in range(100, 117):
    put(recorder, number)
os.kill(os.getpid(), signal.SIGKILL)
"""


def record(number: int, **more: Any) -> dict[str, Any]:
    return {"prediction_id": str(number), "predicted_at": NOW, "score": number / 1000, **more}


def put(recorder: Recorder, number: int, **more: Any) -> Recorded:
    return recorder.record([str(number)], [record(number, **more)])


class SlowLog:
    """A log that takes nothing until it is let, fails as often as it is told to, and never takes some rows."""

    down = False

    def __init__(self, *, failures: int = 0, open_: bool = True, never: str = "") -> None:
        self.tables: list[pa.Table] = []
        self.failures, self.never = failures, never
        self.gate = Event()
        if open_:
            self.gate.set()

    def append(self, model: str, rows: pa.Table) -> int:
        self.gate.wait(20)
        if self.down or self.failures or self.never in rows["prediction_id"].to_pylist():
            self.failures -= bool(self.failures)
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
def recording(log: Any, folder: Path, **how: Any) -> Iterator[Recorder]:
    recorder = Recorder(log, MODEL, SCHEMA, folder / "spool", **{"flush_s": 0.02, **how})
    try:
        yield recorder
    finally:
        recorder.close(timeout=5)


def waiting(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "spool").rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    return folder


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    """A process was killed when a hundred rows were stored, and seventeen waited."""
    shutil.copytree(killed_once, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_every_record_is_stored_once_in_order_whatever_the_number_of_threads(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LogColumns())

    def put_every_fourth(part: int) -> None:
        for number in range(part, 2000, 4):
            assert put(recorder, number) is Recorded.ACCEPTED

    with recording(log, tmp_path) as recorder:
        threads = [Thread(target=put_every_fourth, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert recorder.flush()
        assert recorder.counts() == {outcome.value: 0 for outcome in Recorded} | {"accepted": 2000, "stored": 2000}
    rows = log.read(Window(MODEL, hour_of(NOW), hour_of(NOW) + HOUR))
    assert sorted(map(int, rows["prediction_id"].to_pylist())) == list(range(2000))
    assert list((tmp_path / "spool" / f"model={MODEL}").iterdir()) == [], "nothing is left of it"


def test_what_was_accepted_is_on_disk_before_anybody_is_told(tmp_path: Path) -> None:
    log = SlowLog(open_=False)
    with recording(log, tmp_path, flush_s=3600) as recorder:
        put(recorder, 1, note="a")
        recorder.record(["2", "3"], [record(2), record(3)])
        (part,) = waiting(tmp_path)
        written = [json.loads(line) for line in part.read_text().splitlines()]
        assert written[0] == SCHEMA.names
        assert [row[0] for row in written[1:]] == ["1", "2", "3"]
        log.gate.set()
        assert recorder.flush()
    assert log.read(Window.of_hour(MODEL, NOW)).to_pylist() == [
        record(1, note="a"),
        record(2, note=None),
        record(3, note=None),
    ]


def test_what_the_log_would_not_keep_is_not_on_disk_either(tmp_path: Path) -> None:
    privacy = Privacy(PiiKey(b"k" * 32), hashed=("prediction_id", "note"), dropped=("score",))
    inner = SlowLog(open_=False)
    with recording(PrivatePredictionLog(inner, privacy), tmp_path, flush_s=3600) as recorder:
        recorder.record(["anna"], [{"prediction_id": "anna", "predicted_at": NOW, "score": 0.765, "note": 12345.0}])
        (part,) = waiting(tmp_path)
        assert not [word for word in ("anna", "0.765", "12345") if word in part.read_text()]
        inner.gate.set()
        assert recorder.flush()
    (row,) = inner.read(Window.of_hour(MODEL, NOW)).to_pylist()
    assert row == {
        "prediction_id": privacy.key.digest("anna") if privacy.key else "",
        "predicted_at": NOW,
        "note": privacy.key.digest("12345") if privacy.key else "",
    }


def test_a_full_spool_refuses_and_counts_and_never_waits(tmp_path: Path) -> None:
    log = SlowLog(open_=False)
    with recording(log, tmp_path, most_bytes=2000) as recorder:
        began = time.monotonic()
        outcomes = [put(recorder, number) for number in range(80)]
        assert time.monotonic() - began < 1
        accepted = outcomes.count(Recorded.ACCEPTED)
        assert 30 < accepted < 80
        assert outcomes == [Recorded.ACCEPTED] * accepted + [Recorded.DROPPED] * (80 - accepted)
        assert sum(path.stat().st_size for path in waiting(tmp_path)) <= 2000
        log.gate.set()
        assert recorder.flush()
        assert (recorder.counts()["stored"], recorder.counts()["dropped"]) == (accepted, 80 - accepted)
        assert put(recorder, 80) is Recorded.ACCEPTED, "there is room again"
    assert log.ids == [*map(str, range(accepted)), "80"]


def test_a_log_that_fails_for_a_while_costs_nothing(tmp_path: Path) -> None:
    log = SlowLog(failures=2)
    with recording(log, tmp_path) as recorder:
        put(recorder, 1)
        assert recorder.flush(timeout=10)
        assert (recorder.counts()["stored"], recorder.counts()["lost"]) == (1, 0)
    assert log.ids == ["1"]


def test_a_log_that_goes_on_failing_loses_nothing(tmp_path: Path) -> None:
    log = SlowLog()
    log.down = True
    with recording(log, tmp_path, retry_s=0.05) as recorder:
        for number in range(7):
            put(recorder, number)
            time.sleep(0.05)
        assert not recorder.flush(timeout=0.3)
        assert (recorder.counts()["stored"], recorder.counts()["lost"], recorder.pending) == (0, 0, 7)
        log.down = False
        assert recorder.flush()
    assert sorted(log.ids) == list("0123456")


def test_rows_the_log_refuses_while_it_takes_others_are_set_aside_and_counted(tmp_path: Path) -> None:
    log = SlowLog(never="1")
    with recording(log, tmp_path, retry_s=0.05) as recorder:
        put(recorder, 1)
        wait_until("it is tried", lambda: not recorder.flush(timeout=0.05), seconds=5)
        put(recorder, 2)
        wait_until("it is given up", lambda: recorder.pending == 0, seconds=10)
        assert (recorder.counts()["stored"], recorder.counts()["lost"]) == (1, 1)
    assert log.ids == ["2"]
    (aside,) = waiting(tmp_path)
    assert (aside.suffix, '"1"' in aside.read_text()) == (".refused", True)


def test_a_value_of_another_type_than_its_column_costs_no_row(tmp_path: Path) -> None:
    log = SlowLog()
    with recording(log, tmp_path) as recorder:
        put(recorder, 1, score="not a number", note="\ud800")
        assert recorder.flush()
    assert log.read(Window.of_hour(MODEL, NOW)).to_pylist() == [record(1, score="not a number", note="\\ud800")]


def test_a_column_of_unknown_type_takes_whatever_comes(tmp_path: Path) -> None:
    log = SlowLog()
    with recording(log, tmp_path, flush_s=3600) as recorder:
        for number, note in enumerate([1.5, None, "text", True]):
            put(recorder, number, note=note)
        assert recorder.flush()
    assert log.read(Window.of_hour(MODEL, NOW))["note"].to_pylist() == ["1.5", None, "text", "True"]


def test_what_completes_rows_may_fail_and_they_are_stored_without(tmp_path: Path) -> None:
    def broken(rows: pa.Table) -> pa.Table:
        raise RuntimeError("shadow")

    log = SlowLog()
    with recording(log, tmp_path, complete=broken) as recorder:
        put(recorder, 1)
        assert recorder.flush()
    assert log.ids == ["1"]


def test_what_waits_is_stored_at_the_end_and_nothing_is_taken_on_after_it(tmp_path: Path) -> None:
    log = SlowLog()
    recorder = Recorder(log, MODEL, SCHEMA, tmp_path, flush_s=3600)
    for number in range(10):
        put(recorder, number)
    assert recorder.close()
    assert log.ids == [str(number) for number in range(10)]
    assert put(recorder, 11) is Recorded.DROPPED
    assert (recorder.is_alive, recorder.close()) == (False, True)


def test_the_end_does_not_wait_for_ever_for_a_log_that_hangs(tmp_path: Path) -> None:
    log = SlowLog(open_=False)
    recorder = Recorder(log, MODEL, SCHEMA, tmp_path, flush_s=0.01)
    for number in range(3):
        put(recorder, number)
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
    assert (rows.num_rows, waiting(tmp_path)) == (117, [])


def test_what_waited_when_a_process_was_killed_is_stored_by_the_next_one(killed: Path) -> None:
    log = ParquetPredictionLog(killed, LogColumns())
    assert log.read(Window.of_hour(MODEL, NOW)).num_rows == 100
    (part,) = waiting(killed)
    with part.open("ab") as file:
        file.write(b'["117",17636')  # a line whose writing a kill has cut: nobody was told
    with recording(log, killed) as recorder, recording(log, killed) as beside:
        assert recorder.flush()
        assert (recorder.counts()["recovered"], recorder.counts()["lost"], beside.counts()["recovered"]) == (17, 0, 0)
    rows = log.read(Window.of_hour(MODEL, NOW)).to_pylist()
    assert sorted(rows, key=lambda row: int(row["prediction_id"])) == [record(n, note=None) for n in range(117)]
    assert list((killed / "spool" / f"model={MODEL}").iterdir()) == []


def test_a_line_that_is_damaged_on_disk_is_counted_and_costs_no_other(killed: Path) -> None:
    (part,) = waiting(killed)
    part.write_bytes(part.read_bytes().replace(b'["105",', b'["105'))
    log = ParquetPredictionLog(killed, LogColumns())
    with recording(log, killed) as recorder:
        assert recorder.flush()
        assert (recorder.counts()["stored"], recorder.counts()["lost"]) == (16, 1)


@pytest.mark.parametrize("kept_before", ["nothing", "the rows"])
def test_rows_that_were_stored_and_not_forgotten_before_a_kill_are_in_the_log_once(
    killed: Path, kept_before: str
) -> None:
    (part,) = waiting(killed)
    left = part.read_bytes()
    log = ParquetPredictionLog(killed, LogColumns())
    for _ in range(1 if kept_before == "nothing" else 2):
        place = killed / "spool" / f"model={MODEL}" / "dead"
        place.mkdir(parents=True, exist_ok=True)
        (place / "000002.rows").write_bytes(left)
        part.unlink(missing_ok=True)
        with recording(log, killed) as recorder:
            assert recorder.flush()
    assert log.read(Window.of_hour(MODEL, NOW)).num_rows == 117


def test_rows_a_process_with_other_columns_left_are_stored_as_they_are(killed: Path) -> None:
    log = SlowLog()
    other = pa.schema([("prediction_id", pa.string()), ("predicted_at", TIME_TYPE), ("added", pa.string())])
    recorder = Recorder(log, MODEL, other, killed / "spool", flush_s=0.02)
    assert recorder.flush()
    recorder.close()
    assert log.read(Window.of_hour(MODEL, NOW)).to_pylist()[0] == record(100, note=None)


def test_the_sample_is_the_share_of_ids_that_hash_lowest_as_everywhere_else(tmp_path: Path) -> None:
    ids = [f"id-{number}" for number in range(4000)]
    kept = [name for name in ids if is_sampled(name, 0.25)]
    assert 0.22 < len(kept) / len(ids) < 0.28
    lowest = sample_rows(pa.table({"id": ids}), id_column="id", limit=len(kept))
    assert set(lowest["id"].to_pylist()) == set(kept)
    log = SlowLog()
    with recording(log, tmp_path, rate=0.25) as recorder:
        assert recorder.record(ids, [{"prediction_id": name, "predicted_at": NOW} for name in ids]) is Recorded.ACCEPTED
        assert recorder.flush()
        assert recorder.counts()["sampled_out"] == len(ids) - len(kept)
    assert log.ids == kept
