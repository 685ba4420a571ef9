"""Laws of every store of a log: what was acknowledged is there, once, in whatever order and however often it came."""

import itertools
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from monitoring_pipeline.capture.labels import LabelArrival, LabelColumns
from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.stores.objects import ObjectPath, Place, sizes
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline_tests.traffic import LOG, MODEL, START, hour, log_rows

DAY = Window(MODEL, START, START + 24 * HOUR)


def labels(ids: list[str], *, at: float, actual: int = 1) -> pa.Table:
    moment = START + timedelta(hours=at)
    return pa.table(
        {
            "prediction_id": pa.array(ids, pa.string()),
            "actual": pa.array([actual] * len(ids), pa.int64()),
            "labelled_at": pa.array([moment] * len(ids), pa.timestamp("us", tz="UTC")),
        }
    )


class PredictionStore:
    """A prediction log and batches for it."""

    batches = tuple(log_rows(40, seed=seed, at=at, hours=3) for seed, at in ((1, 0), (2, 1), (3, 8)))

    def __init__(self, root: Place) -> None:
        self.log = ParquetPredictionLog(root, LOG)

    def append(self, batch: pa.Table) -> None:
        assert self.log.append(MODEL, batch) == batch.num_rows

    def read(self) -> pa.Table | None:
        return self.log.read(DAY) if self.log.hours(MODEL, since=START) else None


class LabelStore:
    """A label log and batches for it."""

    batches = tuple(labels([f"{at}-{number}" for number in range(9)], at=at) for at in (0.5, 3.25, 3.75))

    def __init__(self, root: Place) -> None:
        self.log = ParquetLabelLog(root, LabelColumns())

    def append(self, batch: pa.Table) -> None:
        assert self.log.append(MODEL, batch, hours=[START]).rows == batch.num_rows

    def read(self) -> pa.Table | None:
        return self.log.read(MODEL, start=DAY.start, end=DAY.end)


every_store = pytest.mark.parametrize("store_type", [PredictionStore, LabelStore])
Store = PredictionStore | LabelStore


@every_store
def test_an_empty_store_reads_as_nothing(store_type: type[Store], place: Place) -> None:
    assert store_type(place).read() is None


@every_store
def test_every_row_that_was_appended_is_read(store_type: type[Store], place: Place) -> None:
    store = store_type(place)
    for batch in store.batches:
        store.append(batch)
    found = store.read()
    assert found is not None
    wanted = pa.concat_tables(store.batches).sort_by("prediction_id")
    assert found.sort_by("prediction_id").cast(wanted.schema).equals(wanted)


@every_store
def test_appending_twice_changes_nothing_that_is_read(store_type: type[Store], place: Place) -> None:
    store = store_type(place)
    for batch in store.batches:
        store.append(batch)
    once = store.read()
    for batch in store.batches[::-1]:
        store.append(batch)
    again = store.read()
    assert once is not None
    assert again is not None
    assert again.equals(once)


@every_store
def test_the_order_of_appending_changes_nothing_that_is_read(store_type: type[Store], place: Place) -> None:
    found = []
    for number, order in enumerate(itertools.permutations(store_type.batches)):
        store = store_type(place / str(number))
        for batch in order:
            store.append(batch)
        found.append(store.read())
    assert all(table is not None and table.equals(found[0]) for table in found)


@every_store
def test_models_do_not_see_each_other_whatever_they_are_called(store_type: type[Store], place: Place) -> None:
    called = ["a", "A/../a", "..", "mødel ∶ 1", "model=a", "100%"]
    store = store_type(place)
    batch = store.batches[0]
    for name in called:
        if isinstance(store, PredictionStore):
            assert store.log.read(Window(name, DAY.start, DAY.end)).num_rows == 0
            store.log.append(name, batch)
            assert store.log.read(Window(name, DAY.start, DAY.end)).num_rows == batch.num_rows
        else:
            assert store.log.read(name, start=DAY.start, end=DAY.end) is None
            store.log.append(name, batch, hours=[])
            assert [arrival.sequence for arrival in store.log.arrivals(name, after=0, limit=9)] == [1]
    folders = {name.split("/")[1] for name in sizes(place)}
    assert len(folders) == len(called)


def followed(log: ParquetLabelLog, writers: list[threading.Thread]) -> Iterator[LabelArrival]:
    """Follow the journal with a cursor, as a sensor does, until nobody writes and nothing is left."""
    cursor, writing = 0, True
    while writing:
        writing = any(writer.is_alive() for writer in writers)  # asked before reading: the last look is after them all
        while page := log.arrivals(MODEL, after=cursor, limit=3):
            assert [arrival.sequence for arrival in page] == list(range(cursor + 1, cursor + 1 + len(page)))
            cursor = page[-1].sequence
            yield from page


@pytest.fixture
def threads_that_switch_at_every_chance() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_cursor_sees_every_arrival_once_while_threads_append(
    tmp_path: Path, threads_that_switch_at_every_chance: None
) -> None:
    threads, each = 4, 30
    sequences: list[int] = []
    together = threading.Barrier(threads, timeout=30)

    def append(thread: int) -> None:
        log = ParquetLabelLog(tmp_path, LabelColumns())
        for number in range(each):
            together.wait()
            arrival = log.append(MODEL, labels([f"{thread}-{number}"], at=1), hours=[hour(thread), hour(number)])
            sequences.append(arrival.sequence)

    workers = [threading.Thread(target=append, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    seen = list(followed(ParquetLabelLog(tmp_path, LabelColumns()), workers))
    assert sorted(sequences) == list(range(1, threads * each + 1))
    wanted = sorted((hour(thread), hour(number)) for thread in range(threads) for number in range(each))
    assert sorted(arrival.hours for arrival in seen) == wanted


@pytest.mark.slow
def test_in_a_bucket_a_cursor_misses_no_arrival_while_threads_append(bucket: ObjectPath) -> None:
    threads, each = 3, 6
    together = threading.Barrier(threads, timeout=30)

    def append(thread: int) -> None:
        log = ParquetLabelLog(bucket, LabelColumns())
        for number in range(each):
            together.wait()
            log.append(MODEL, labels([f"{thread}-{number}"], at=1), hours=[hour(thread), hour(number)])

    workers = [threading.Thread(target=append, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    log, cursor, seen, writing = ParquetLabelLog(bucket, LabelColumns()), 0, [], True
    while writing:
        writing = any(worker.is_alive() for worker in workers)
        while page := log.arrivals(MODEL, after=cursor, limit=3):
            numbers = [arrival.sequence for arrival in page]
            assert numbers == sorted(numbers)
            assert numbers[0] > cursor
            cursor = numbers[-1]
            seen += [arrival.hours for arrival in page]
    wanted = {(hour(thread), hour(number)) for thread in range(threads) for number in range(each)}
    assert set(seen) == wanted, "one that came twice is computed twice; one that is missed is wrong for ever"


APPEND_FOR_EVER = """
import sys, itertools
from pathlib import Path
from monitoring_pipeline_tests.laws.test_log_stores import MODEL, labels
from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.stores.parquet import ParquetLabelLog
log = ParquetLabelLog(Path(sys.argv[1]), LabelColumns())
for number in itertools.count():
    arrival = log.append(MODEL, labels([f"{sys.argv[2]}-{number}"], at=1), hours=[])
    print(arrival.sequence, f"{sys.argv[2]}-{number}", flush=True)
"""


def test_processes_that_are_killed_leave_no_gap_and_lose_nothing_they_acknowledged(tmp_path: Path) -> None:
    command = [sys.executable, "-c", APPEND_FOR_EVER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("a", "b")]
    acknowledged = {}
    for writer in writers:
        assert writer.stdout is not None
        for line in itertools.islice(writer.stdout, 30):
            sequence, identity = line.split()
            acknowledged[int(sequence)] = identity
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    log = ParquetLabelLog(tmp_path, LabelColumns())
    arrivals = log.arrivals(MODEL, after=0, limit=10_000)
    assert [arrival.sequence for arrival in arrivals] == list(range(1, len(arrivals) + 1))
    assert len(acknowledged) == 60
    assert set(acknowledged) <= {arrival.sequence for arrival in arrivals}
    found = log.read(MODEL, start=START, end=START + 2 * HOUR)
    assert found is not None
    assert set(acknowledged.values()) <= set(found["prediction_id"].to_pylist())


def test_a_crash_between_the_labels_and_the_journal_is_mended_by_appending_again(tmp_path: Path) -> None:
    log, batch = ParquetLabelLog(tmp_path, LabelColumns()), labels(["1", "2"], at=1)
    folder = tmp_path / "labels" / f"model={MODEL}"
    folder.mkdir(parents=True)
    (folder / "arrivals").write_text("a file where the journal's folder should be")
    with pytest.raises(OSError, match="arrivals"):
        log.append(MODEL, batch, hours=[hour(0)])
    (folder / "arrivals").unlink()
    assert log.arrivals(MODEL, after=0, limit=9) == []
    assert log.append(MODEL, batch, hours=[hour(0)]) == LabelArrival(1, 2, (hour(0),))
    assert log.arrivals(MODEL, after=0, limit=9) == [LabelArrival(1, 2, (hour(0),))]
    found = log.read(MODEL, start=START, end=DAY.end)
    assert found is not None
    assert found.num_rows == 2


def test_half_written_files_are_not_read_and_an_hour_without_a_file_is_none(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LogColumns())
    log.append(MODEL, log_rows(5, seed=1))
    folder = tmp_path / "predictions" / f"model={MODEL}"
    (folder / "hour=2026-11-20T00Z" / ".0123.tmp").write_bytes(b"PAR1 half a file")
    (folder / "hour=2026-11-20T07Z").mkdir()
    assert log.read(DAY).num_rows == 5
    assert log.hours(MODEL, since=START) == [START]


def test_hours_are_those_from_the_given_moment_on_oldest_first(tmp_path: Path) -> None:
    log = ParquetPredictionLog(tmp_path, LOG)
    for number in (9, 2, 5):
        log.append(MODEL, log_rows(2, seed=number, at=number))
    assert log.hours(MODEL, since=hour(2) + timedelta(minutes=30)) == [hour(2), hour(5), hour(9)]
    assert log.hours(MODEL, since=hour(3)) == [hour(5), hour(9)]
    assert log.hours("another", since=datetime(2000, 1, 1, tzinfo=UTC)) == []
