"""Laws of hours that become days: every read is the same before, meanwhile, after a crash, and after."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.crash_points import VARIABLE
from monitoring_pipeline.describe.hours import profile_hours
from monitoring_pipeline.stores.files import parquet_bytes
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.hours import HourFiles
from monitoring_pipeline.stores.objects import Place, sizes
from monitoring_pipeline_tests.traffic import LOG, MODEL, VERSION, hour, log_rows, reference

DAYS = 3
NEVER = {5, 30}
"""Hours that nobody processed."""

Tables = dict[datetime, pa.Table]


def table_of(number: int, seed: int = 0) -> pa.Table:
    """Return rows as awkward as hours have them: none, no columns, another type, metadata, nulls, nested values."""
    if number % 7 == 3:
        return pa.table({})
    generator = np.random.default_rng([number, seed])
    rows = 0 if number % 11 == 4 else int(generator.integers(1, 9))
    values = generator.normal(size=rows)
    found = pa.table(
        {
            "value": pa.array(values, mask=values > 1),
            "name": pa.array([f"{number}-{place}" for place in range(rows)], pa.string()),
            "counts": pa.array([list(range(place)) for place in range(rows)], pa.list_(pa.int64())),
            "mixed": pa.array([str(place) for place in range(rows)] if number % 5 == 2 else list(range(rows)), None),
        }
    )
    return found.replace_schema_metadata({"of": "a producer"}) if number % 13 == 1 else found


def as_read(table: pa.Table) -> pa.Table:
    """Return a table as a file of its own gives it back: Parquet has its own names inside lists."""
    return pq.ParquetFile(pa.BufferReader(parquet_bytes(table))).read()


def filled(place: Place, kind: str = "samples") -> tuple[HourFiles, Tables]:
    store = HourFiles(place)
    for number in range(24 * DAYS):
        if number not in NEVER:
            store.write(kind, MODEL, hour(number), table_of(number))
    return store, store.read(kind, MODEL, hour(0), hour(24 * DAYS))


def same(found: Tables, wanted: Tables) -> bool:
    return list(found) == list(wanted) and all(found[at].equals(wanted[at], check_metadata=True) for at in wanted)


def read_everything(store: HourFiles, kind: str = "samples") -> Tables:
    return store.read(kind, MODEL, hour(0), hour(24 * DAYS))


def test_hours_that_are_written_together_are_read_as_if_each_had_been_written(place: Place) -> None:
    _, wanted = filled(place / "alone")
    store, tables = HourFiles(place / "together"), {at: wanted[at] for at in wanted}
    store.write_all("samples", MODEL, tables)
    assert same(read_everything(store), wanted)
    files = store.files("samples", MODEL)
    assert {at.date() for at in files.hours} == {hour(number).date() for number in NEVER}  # days with an hour missing
    assert files.days, "whole days have files of their own"
    again = {at: table_of(number, seed=1) for number, at in enumerate(sorted(wanted))}
    store.write_all("samples", MODEL, again)
    assert same(read_everything(store), {at: as_read(table) for at, table in again.items()})


def test_an_hour_with_a_file_of_its_own_is_replaced_when_its_whole_day_is_written(place: Place) -> None:
    store, day = HourFiles(place), [hour(number) for number in range(24)]
    store.write("samples", MODEL, day[7], table_of(100))
    store.write_all("samples", MODEL, {at: table_of(number) for number, at in enumerate(day)})
    found = store.read("samples", MODEL, day[0], day[-1] + HOUR)
    assert same(found, {at: as_read(table_of(number)) for number, at in enumerate(day)})


def test_every_read_is_the_same_before_and_after(place: Place) -> None:
    store, wanted = filled(place)
    named = [at for at, table in wanted.items() if table.num_columns]
    before = store.hours("samples", MODEL), store.newest("samples", MODEL)
    assert store.compact("samples", MODEL, before=hour(24 * DAYS)) > 0
    assert (store.hours("samples", MODEL), store.newest("samples", MODEL)) == before
    assert same(read_everything(store), wanted)
    for start, end in ((0, 1), (5, 6), (3, 30), (23, 25), (47, 72), (70, 100)):
        part = {at: table for at, table in wanted.items() if hour(start) <= at < hour(end)}
        assert same(store.read("samples", MODEL, hour(start), hour(end)), part)
    for at in named[:9]:
        few = store.read("samples", MODEL, at, at + HOUR, ["name"])
        assert same(few, {at: wanted[at].select(["name"])})


def test_profiles_come_back_from_a_day_as_they_went_into_its_hours(tmp_path: Path) -> None:
    store, known = HourlyStore(tmp_path), {VERSION: reference(log_rows(300, seed=1))}
    for number in range(24):
        rows = prepare_predictions(log_rows(20 * (number % 3), seed=number, at=number), LOG, table="rows")
        profiles = profile_hours(rows, known, [hour(number)], LOG)[hour(number)]
        store.write_profiles(MODEL, hour(number), profiles)
    before = store.read_profiles(MODEL, hour(0), hour(24)), store.read_served(MODEL, hour(0), hour(24))
    assert store.compact("profiles", MODEL, before=hour(24)) == 23
    after = store.read_profiles(MODEL, hour(0), hour(24)), store.read_served(MODEL, hour(0), hour(24))
    assert str(after) == str(before)
    assert sum(len(profiles) for profiles in after[0].values()) == 16


def test_a_year_of_hours_is_a_file_a_day(tmp_path: Path) -> None:
    store = HourFiles(tmp_path)
    for number in range(24 * 20):
        store.write("rules", MODEL, hour(number), pa.table({"rule": ["drift"], "state": ["quiet"]}))
    before = sum(sizes(tmp_path).values())
    assert store.compact("rules", MODEL, before=hour(24 * 20)) == 20 * 23
    assert len(sizes(tmp_path)) == 20
    assert sum(sizes(tmp_path).values()) < before / 10


def test_only_whole_days_before_the_moment_are_made_and_making_them_again_changes_nothing(place: Place) -> None:
    store, wanted = filled(place)
    saved = store.compact("samples", MODEL, before=hour(49) + timedelta(minutes=17))
    assert saved > 0
    assert {name for name in sizes(place) if "T" in name.rpartition("/")[2]} == {
        f"samples/model={MODEL}/{at:%Y-%m-%dT%H}Z.parquet" for at in wanted if at >= hour(48)
    }
    files = sizes(place)
    assert store.compact("samples", MODEL, before=hour(49)) == 0
    assert sizes(place) == files
    assert same(read_everything(store), wanted)


def test_an_hour_that_is_written_again_counts_more_than_its_day_and_becomes_part_of_it(place: Place) -> None:
    store, wanted = filled(place)
    store.compact("samples", MODEL, before=hour(24 * DAYS))
    for number in (7, 5, 40):  # one of them was never processed before
        table, stamp = table_of(number, seed=1), store.stamp("samples", MODEL, hour(number))
        store.write("samples", MODEL, hour(number), table)
        wanted[hour(number)] = as_read(table)
        assert store.stamp("samples", MODEL, hour(number)) != stamp
    wanted = dict(sorted(wanted.items()))
    assert same(read_everything(store), wanted)
    assert store.compact("samples", MODEL, before=hour(24 * DAYS)) > 0
    assert not [name for name in sizes(place) if "T" in name.rpartition("/")[2]]
    assert same(read_everything(store), wanted)


def test_an_hour_can_be_forgotten_of_a_day(place: Place) -> None:
    store, wanted = filled(place)
    store.compact("samples", MODEL, before=hour(24 * DAYS))
    store.write("samples", MODEL, hour(9), table_of(9))
    for number in (9, 30, 31):
        store.remove("samples", MODEL, hour(number))
        wanted.pop(hour(number), None)
    assert same(read_everything(store), wanted)
    assert hour(9) not in store.hours("samples", MODEL)


def test_days_beside_hours_that_were_not_removed_any_more_read_the_same(tmp_path: Path) -> None:
    store, wanted = filled(tmp_path / "data")
    shutil.copytree(tmp_path / "data", tmp_path / "hours")
    store.compact("samples", MODEL, before=hour(24 * DAYS))
    # Killed when the day was written and some of its hours were gone.
    for name in list(sizes(tmp_path / "hours"))[::2]:
        shutil.copyfile(tmp_path / "hours" / name, tmp_path / "data" / name)
    assert same(read_everything(store), wanted)
    assert store.hours("samples", MODEL) == list(wanted)
    store.compact("samples", MODEL, before=hour(24 * DAYS))
    assert same(read_everything(store), wanted)
    assert not [name for name in sizes(tmp_path / "data") if "T" in name.rpartition("/")[2]]


COMPACT = """
import sys
from pathlib import Path
from monitoring_pipeline.stores.hours import HourFiles
from monitoring_pipeline_tests.laws.test_compaction import DAYS
from monitoring_pipeline_tests.traffic import MODEL, hour
print("ready", flush=True)
HourFiles(Path(sys.argv[1])).compact("samples", MODEL, before=hour(24 * DAYS))
"""


@pytest.mark.parametrize("write", [1, 2, 4])
def test_a_process_that_is_killed_writing_a_day_changes_nothing_that_is_read(write: int, tmp_path: Path) -> None:
    store, wanted = filled(tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", COMPACT, str(tmp_path)],
        env={**os.environ, VARIABLE: f"file.before_rename:{write}"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert same(read_everything(store), wanted)
    assert store.compact("samples", MODEL, before=hour(24 * DAYS)) > 0
    assert same(read_everything(store), wanted)


def test_who_reads_while_hours_become_days_sees_all_of_them(tmp_path: Path) -> None:
    store, wanted = filled(tmp_path)
    compacting = threading.Thread(target=store.compact, args=("samples", MODEL), kwargs={"before": hour(24 * DAYS)})
    reads = 0
    compacting.start()
    while compacting.is_alive() or not reads:
        assert same(read_everything(HourFiles(tmp_path)), wanted)
        reads += 1
    compacting.join()
    assert same(read_everything(store), wanted)


def test_an_hour_that_is_written_while_its_day_is_made_is_not_lost(tmp_path: Path) -> None:
    store, wanted = filled(tmp_path)
    writing = threading.Event()

    def rewrite() -> None:
        while not writing.is_set():
            for number in (1, 25, 49):
                store.write("samples", MODEL, hour(number), table_of(number, seed=2))

    writer = threading.Thread(target=rewrite)
    writer.start()
    for _ in range(4):
        store.compact("samples", MODEL, before=hour(24 * DAYS))
    writing.set()
    writer.join()
    wanted |= {hour(number): as_read(table_of(number, seed=2)) for number in (1, 25, 49)}
    assert same(read_everything(store), dict(sorted(wanted.items())))
