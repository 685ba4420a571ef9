"""Claim: a log in PostgreSQL is read and written fast enough that the evaluation of its hours is what takes the time.

    python benchmarks/logs.py [--rows 100000] [--runs 5]

The same hours of rows in Parquet files, in our tables of a real PostgreSQL, and read from a table of somebody else's in
the same server and in SQLite. Every store is written and read in turn, in one process; the ratios are the claim.
"""

import argparse
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from workload import write_workload

from monitoring_pipeline.capture.predictions import LogColumns, PredictionLog, prepare_predictions
from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.stores.parquet import ParquetPredictionLog
from monitoring_pipeline.stores.postgres_log import PostgresPredictionLog
from monitoring_pipeline.stores.sql_log import SqlPredictionLog, SqlTable
from monitoring_pipeline_tests.postgres import running_postgres

MODEL, START, BATCH = "bench", datetime(2026, 11, 20, tzinfo=UTC), 1_000
COLUMNS = LogColumns()
Stores = dict[str, tuple[PredictionLog, bool]]


def rows_of(path: Path, count: int) -> pa.Table:
    """Return an hour of rows as a service logs them."""
    rows = pq.read_table(path).slice(0, count)
    micros = int(START.timestamp() * 1e6) + np.arange(count) * 3_600_000_000 // count
    added = {
        "prediction_id": pa.array([f"{number:032x}" for number in range(count)]),
        "predicted_at": pa.array(micros).cast(pa.timestamp("us", tz="UTC")),
        "model_version": pa.array(["1"] * count),
        "prediction": pa.array((rows["score"].to_numpy() > 0.5).astype(np.int64)),
    }
    for name, values in added.items():
        rows = rows.append_column(name, values)
    kinds = {pa.types.is_integer: pa.int64(), pa.types.is_floating: pa.float64(), pa.types.is_dictionary: pa.string()}
    types = (next((type_ for is_one, type_ in kinds.items() if is_one(each.type)), each.type) for each in rows.schema)
    return rows.cast(pa.schema(list(zip(rows.column_names, types, strict=True))))


def table_in_postgres(url: str) -> SqlPredictionLog:
    """Return a log that is a table of somebody else's, with an index by time, filled from our own."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs AS SELECT * FROM monitoring.predictions_bench")
        connection.exec_driver_sql("ALTER TABLE theirs DROP COLUMN row_type")
        connection.exec_driver_sql("CREATE INDEX ON theirs (predicted_at)")
    engine.dispose()
    return SqlPredictionLog(url, SqlTable("theirs"), COLUMNS)


def table_in_sqlite(path: Path, rows: pa.Table) -> SqlPredictionLog:
    """Return a log that is a table of somebody else's, with an index by time."""
    types = {pa.float64(): "DOUBLE", pa.int64(): "INTEGER"}
    columns = ", ".join(f'"{each.name}" {types.get(each.type, "TEXT")}' for each in rows.schema)
    texts = pa.array([moment.isoformat() for moment in rows["predicted_at"].to_pylist()])
    rows = rows.set_column(rows.column_names.index("predicted_at"), "predicted_at", texts)
    insert = f"INSERT INTO theirs VALUES ({', '.join('?' * rows.num_columns)})"  # noqa: S608 - question marks
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE theirs ({columns})")
        connection.execute("CREATE INDEX theirs_time ON theirs (predicted_at)")
        connection.executemany(insert, zip(*(column.to_pylist() for column in rows.itercolumns()), strict=True))
    return SqlPredictionLog(f"sqlite:///{path}", SqlTable("theirs"), COLUMNS)


def seconds(work: Callable[..., object], *asked: object) -> float:
    """Return the seconds some work takes."""
    before = time.perf_counter()
    work(*asked)
    return time.perf_counter() - before


def in_batches(log: PredictionLog, model: str, rows: pa.Table) -> None:
    """Store rows as a service does, a thousand at a time."""
    for first in range(0, rows.num_rows, BATCH):
        log.append(model, rows.slice(first, BATCH))


def measure(stores: Stores, rows: pa.Table, runs: int) -> None:
    """Print rows per second of every store and how many times longer than files it takes."""
    window = Window(MODEL, START, START + HOUR)
    taken: dict[str, dict[str, list[float]]] = {name: {"at once": [], "batches": [], "read": []} for name in stores}
    few = rows.slice(0, 20 * BATCH)
    for run in range(runs):
        for name, (log, is_ours) in stores.items():
            if is_ours:
                taken[name]["at once"].append(seconds(log.append, f"whole {run}", rows) / rows.num_rows)
                taken[name]["batches"].append(seconds(in_batches, log, f"batches {run}", few) / few.num_rows)
            taken[name]["read"].append(seconds(log.read, window) / rows.num_rows)
    found = {name: prepare_predictions(log.read(window), COLUMNS) for name, (log, _) in stores.items()}
    same = all(
        table.select(rows.column_names).equals(found["Parquet"].select(rows.column_names)) for table in found.values()
    )
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, pyarrow {pa.__version__}; "
        f"{rows.num_rows:,} rows x {rows.num_columns} columns, medians of {runs}; the same rows from all: {same}\n"
    )
    print(f"| rows/s (times Parquet) | written at once | in batches of {BATCH:,} | read |\n|:--|--:|--:|--:|")
    for name, each in taken.items():
        cells = [_cell(each[kind], taken["Parquet"][kind]) for kind in each]
        print(f"| {name} | {' | '.join(cells)} |")


def _cell(taken: list[float], least: list[float]) -> str:
    if not taken:
        return ""
    here, there = statistics.median(taken), statistics.median(least)
    return f"{1 / here:,.0f} ({here / there:.1f})"


def main() -> None:
    """Read the command line, start a server and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="logs-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # the server runs as another user
        rows = rows_of(write_workload(folder, asked.rows, 1), asked.rows)
        with running_postgres(folder / "server") as url:
            files, ours = ParquetPredictionLog(folder / "files", COLUMNS), PostgresPredictionLog(url, COLUMNS)
            for log in (files, ours):
                log.append(MODEL, rows)
            stores: Stores = {
                "Parquet": (files, True),
                "PostgreSQL": (ours, True),
                "table in PostgreSQL": (table_in_postgres(url), False),
                "table in SQLite": (table_in_sqlite(folder / "theirs.db", rows), False),
            }
            measure(stores, rows, asked.runs)


if __name__ == "__main__":
    main()
