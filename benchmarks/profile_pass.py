"""Claim: profiling every column of a Parquet file costs at most 1.7 times the CPU of merely reading it.

Reading and profiling take turns in one process; the ratio of their medians is what counts. Reading is what pyarrow does
with row groups shared by two threads, text as dictionaries. `--large` adds ten million rows and their peak memory, in a
process of its own; `--folder` keeps the files for the next run.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from workload import REFERENCE_ROWS, write_workload

from monitoring_pipeline.describe.columns import Column, ColumnRole, categorical_bins, numeric_bins
from monitoring_pipeline.describe.kernel import category_counts, numeric_values
from monitoring_pipeline.describe.kinds import kind_of_type
from monitoring_pipeline.describe.parquet_pass import profile_parquet

THREADS, ROUNDS = 2, 7
SIZES, LARGE = (100_000, 1_000_000), 10_000_000


def reference_columns(path: Path) -> dict[str, Column]:
    """Return the columns of a file with bins of its rows."""
    columns = {}
    for field in (rows := pq.read_table(path)).schema:
        kind = kind_of_type(field.type)
        if kind is not None:
            values, groups = rows[field.name], 10
            bins = (
                numeric_bins(numeric_values(values, kind).finite, groups=groups)
                if kind.is_binned
                else categorical_bins(category_counts(values, kind), groups=groups)
            )
            columns[field.name] = Column(field.name, ColumnRole.FEATURE, kind, bins)
    return columns


def read(path: Path) -> None:
    """Read all columns, and do nothing with them."""
    texts = [field.name for field in pq.read_schema(path) if pa.types.is_string(field.type)]

    def share(first: int) -> None:
        with pq.ParquetFile(path, memory_map=False, read_dictionary=texts) as file:
            for group in range(first, file.num_row_groups, THREADS):
                file.read_row_group(group, use_threads=False)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(share, range(THREADS)))


def cpu_seconds() -> float:
    """Return the CPU time of this process and all of its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def in_turn(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return median CPU and wall seconds of every task."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            cpu, wall = cpu_seconds(), time.perf_counter()
            task()
            taken[name].append((cpu_seconds() - cpu, time.perf_counter() - wall))
    return {
        name: (statistics.median(cpu for cpu, _ in pairs), statistics.median(wall for _, wall in pairs))
        for name, pairs in taken.items()
    }


def peak_memory(path: Path, columns: dict[str, Column]) -> float:
    """Return the megabytes a fresh process needs for one pass, beyond what its imports and bins take."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([column.to_json() for column in columns.values()], file)
        file.flush()
        command = [sys.executable, __file__, "--alone", str(path), "--columns", file.name]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - itself


def alone(path: Path, columns: Path) -> None:
    """Print the megabytes of one pass in this process."""
    specs = [Column.from_json(document) for document in json.loads(columns.read_text())]
    before = resident("VmRSS")
    profile_parquet(path, {spec.name: spec for spec in specs}, "1", threads=THREADS)
    print(resident("VmHWM") - before)


def resident(entry: str) -> float:
    """Return megabytes of memory, VmRSS or VmHWM, the most so far; getrusage would count what the parent had, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(entry)) / 1000


def table(folder: Path, sizes: tuple[int, ...]) -> None:
    """Print the table."""
    columns = reference_columns(write_workload(folder, REFERENCE_ROWS, 0))
    print(
        f"{platform.machine()}, Python {platform.python_version()}, pyarrow {pa.__version__}, numpy {np.__version__}; "
        f"{len(columns)} columns, medians of {ROUNDS} (of 3 for the largest), {THREADS} threads"
    )
    print(f"{'rows':>12}{'reading, CPU s':>16}{'pass, CPU s':>14}{'ratio':>8}{'pass, wall s':>14}{'peak MB':>10}")
    for rows in sizes:
        path = write_workload(folder, rows, 1, shifted=True)

        tasks: dict[str, Callable[[], object]] = {
            "read": partial(read, path),
            "pass": partial(profile_parquet, path, columns, "1", threads=THREADS),
        }
        found = in_turn(tasks, 3 if rows == LARGE else ROUNDS)
        reading, (cpu, wall) = found["read"][0], found["pass"]
        peak = peak_memory(path, columns)
        print(f"{rows:12,}{reading:16.3f}{cpu:14.3f}{cpu / reading:8.2f}{wall:14.2f}{peak:10.0f}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help=f"also {LARGE:,} rows, 2 GB")
    parser.add_argument("--folder", type=Path, help="where the files are kept")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--columns", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options.alone, options.columns)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        table(folder, (*SIZES, LARGE) if options.large else SIZES)


if __name__ == "__main__":
    main()
