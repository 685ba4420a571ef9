"""Claim: an engine costs what counting costs: a profile of many files stays near the cost of reading them.

    nice python benchmarks/engines.py [--rows 10000000] [--folder benchmark_data] [--write]

41 columns in Parquet files of 100,000 rows. Reading alone, threads of one process, file tasks on Spark (two slots, once
warm) and SQL in DuckDB take turns in one process; then processes of their own profile more and more of the files. Every
engine has to find the same counts. Prints Markdown; --write puts it into docs/scaling.md.
"""

import argparse
import json
import math
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from profile_pass import THREADS, cpu_seconds, in_turn, reference_columns, resident
from workload import write_workload

from monitoring_pipeline.describe.engines.engine import ProfilePlan
from monitoring_pipeline.describe.engines.local import LocalEngine
from monitoring_pipeline.describe.engines.spark import SparkEngine, spark_session
from monitoring_pipeline.describe.profiles import Profile

DOCUMENT = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- begin figures -->", "<!-- end figures -->"
FILE_ROWS, ROUNDS = 100_000, 3

Count = Callable[[], Profile]


def in_duckdb(files: Sequence[Path], plan: ProfilePlan) -> Count:
    """Return what has DuckDB read the files and count them."""
    import duckdb

    from monitoring_pipeline.describe.engines.sql import SqlEngine
    from monitoring_pipeline.describe.engines.sql_tables import LoggedTable
    from monitoring_pipeline.describe.engines.sql_values import Stored

    def stored(type_: pa.DataType) -> Stored:
        if pa.types.is_string(type_):
            return Stored.TEXT
        return Stored.FLOAT if pa.types.is_floating(type_) else Stored.INTEGER

    connection = duckdb.connect(config={"threads": THREADS})
    connection.read_parquet([str(file) for file in files]).create_view("logged")
    fields = {field.name: (field.name, stored(field.type)) for field in pq.read_schema(files[0])}
    engine = SqlEngine(lambda statement: connection.execute(statement).fetchall())
    return lambda: engine.profile(LoggedTable("duckdb", "logged", fields), plan)


def read(file: Path) -> None:
    """Read all columns of a file, text as dictionaries, and do nothing with them."""
    texts = [field.name for field in pq.read_schema(file) if pa.types.is_string(field.type)]
    with pq.ParquetFile(file, memory_map=False, read_dictionary=texts) as opened:
        opened.read(use_threads=False)


def same_counts(found: Profile, expected: Profile) -> bool:
    """Return whether two profiles counted the same rows, to the last one."""
    return all(
        np.array_equal(own.counts, found.columns[name].counts)
        and (own.nulls, own.invalid, own.unseen_rows)
        == (found.columns[name].nulls, found.columns[name].invalid, found.columns[name].unseen_rows)
        for name, own in expected.columns.items()
    )


def engines(files: Sequence[Path], plan: ProfilePlan) -> Iterator[str]:
    """Yield what the engines take for the same files, in turn."""

    def all_read() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(read, files))

    with ExitStack() as stack:
        began = time.perf_counter()
        session = stack.enter_context(spark_session(f"local[{THREADS}]", {}))
        started = time.perf_counter() - began
        spark = SparkEngine(session)
        counts: dict[str, Count] = {
            "local": lambda: LocalEngine(THREADS).profile(files, plan),
            "Spark": lambda: spark.profile(files, plan),
            "DuckDB": in_duckdb(files, plan),
        }
        first: dict[str, float] = {}
        profiles: dict[str, Profile] = {}
        for name, count in counts.items():
            began = time.perf_counter()
            profiles[name] = count()
            first[name] = time.perf_counter() - began
        for name, found in profiles.items():
            assert same_counts(found, profiles["local"]), name
        taken = in_turn({"reading": all_read, **counts}, ROUNDS)
    reading, local = taken["reading"], taken["local"]
    yield "| | first time, s | then, s | times local | CPU s | times reading |"
    yield "|:--|--:|--:|--:|--:|--:|"
    yield f"| reading alone | | {reading[1]:.2f} | {reading[1] / local[1]:.2f} | {reading[0]:.2f} | 1 |"
    for name in counts:
        cpu, wall = taken[name]
        own = "| | |" if name == "Spark" else f"| {cpu:.2f} | {cpu / reading[0]:.2f} |"
        yield f"| {name} | {first[name]:.2f} | {wall:.2f} | {wall / local[1]:.2f} {own}"
    yield ""
    yield f"Starting Spark took {started:.1f} s more; what its workers take of the CPU is not in this process."


def growth(files: Sequence[Path], plan: ProfilePlan) -> Iterator[str]:
    """Yield what more and more of the files take, in a process each."""
    sizes = [10**power for power in range(5, 9) if 10**power < len(files) * FILE_ROWS] + [len(files) * FILE_ROWS]
    yield "| rows | wall, s | µs of CPU a row | peak memory, MB |"
    yield "|--:|--:|--:|--:|"
    with tempfile.NamedTemporaryFile("w", suffix=".json") as kept:
        kept.write(plan.to_json())
        kept.flush()
        for rows in sizes:
            command = [sys.executable, __file__, "--alone", kept.name, *map(str, files[: rows // FILE_ROWS])]
            cpu, wall, peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - itself
            yield f"| {rows:,} | {wall:.2f} | {1e6 * cpu / rows:.2f} | {peak:.0f} |"


def alone(plan: Path, files: Sequence[Path]) -> None:
    """Print CPU and wall seconds and megabytes of one pass over files in this process, beyond its imports."""
    asked = ProfilePlan.from_json(plan.read_text())
    memory, cpu, wall = resident("VmRSS"), cpu_seconds(), time.perf_counter()
    LocalEngine(THREADS).profile(files, asked)
    taken = cpu_seconds() - cpu, time.perf_counter() - wall
    print(json.dumps([*taken, resident("VmHWM") - memory]))


def report(folder: Path, rows: int) -> Iterator[str]:
    """Yield the lines of the report."""
    before = write_workload(folder, 200_000, 0)
    files = [
        write_workload(folder, FILE_ROWS, 1 + number, shifted=True) for number in range(math.ceil(rows / FILE_ROWS))
    ]
    plan = ProfilePlan("1", reference_columns(before))
    yield (
        f"{len(files) * FILE_ROWS:,} rows x {len(plan.columns)} columns in {len(files)} files, {THREADS} threads or "
        f"slots, medians of {ROUNDS}. {datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python "
        f"{platform.python_version()}, pyarrow {pa.__version__}."
    )
    yield ""
    yield from engines(files, plan)
    yield ""
    yield "Local, in a process each, beyond what imports take:"
    yield ""
    yield from growth(files, plan)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where the files are kept for the next run")
    parser.add_argument("--write", action="store_true", help="replace the figures in docs/scaling.md")
    parser.add_argument("--alone", nargs="+", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        alone(asked.alone[0], asked.alone[1:])
        return
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        text = "\n".join(report(folder, asked.rows))
    print(text)
    if asked.write:
        before, rest = DOCUMENT.read_text().split(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
