"""Every distance of 41 columns in 720 hours and four trailing windows, from hourly profiles alone.

    python benchmarks/windows.py [--folder benchmark_data] [--rows-per-hour 1400]

The claim: under one second, no raw row read again. Profiles are made before the clock starts.
"""

import argparse
import os
import platform
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from workload import REFERENCE_ROWS, write_workload

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnRole
from monitoring_pipeline.describe.distances import METRICS, Pair, expected_windows, measured
from monitoring_pipeline.describe.kinds import kind_of_type
from monitoring_pipeline.describe.profiles import HourlyTotals, Profile
from monitoring_pipeline.describe.reference_building import ColumnSpec, build_reference
from monitoring_pipeline.describe.references import ColumnReference
from monitoring_pipeline.describe.spans import SpanSeries

HOURS, LENGTHS, REPEATS = 720, (1, 24, 168, 720), 5
START = datetime(2026, 10, 1, tzinfo=UTC)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("benchmark_data"))
    parser.add_argument("--rows-per-hour", type=int, default=1400)
    asked = parser.parse_args()
    rows = pq.read_table(write_workload(asked.folder, REFERENCE_ROWS, 0))
    specs = [
        ColumnSpec(field.name, ColumnRole.FEATURE, kind)
        for field in rows.schema
        if (kind := kind_of_type(field.type)) is not None
    ]
    reference = build_reference(rows, specs, model="bench", version="1", computed_at=START)
    rng = np.random.default_rng(1)
    reach = max(LENGTHS)
    hours = [START + step * HOUR for step in range(-reach, HOURS)]
    profiles = {}
    for hour in hours:
        first = int(rng.integers(0, rows.num_rows - asked.rows_per_hour))
        profiles[hour] = Profile.of(rows.slice(first, asked.rows_per_hour), "1", reference.specs)
    ends = [START + (step + 1) * HOUR for step in range(HOURS)]

    def distances(columns: list[ColumnReference], tested: bool) -> int:
        totals, found = HourlyTotals(profiles, hours[1], hours[-1]), 0
        series = [SpanSeries(totals, [(end - length * HOUR, end) for end in ends]) for length in LENGTHS]
        for column in columns:
            expected = expected_windows(column.column, column.profile)
            pairs = (Pair(column.column, expected, each.column(column.column)) for each in series)
            found += sum(len(measured(pair, METRICS, tested=tested)) for pair in pairs)
        return found

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{len(reference.columns)} columns x {HOURS} hours x windows {LENGTHS} h; medians of {REPEATS}")
    for title, tested in (("distances", False), ("distances and p-values", True)):
        walls, used = [], []
        for _ in range(REPEATS):
            wall, cpu = time.perf_counter(), time.process_time()
            entries = list(reference.columns.values())
            with ThreadPoolExecutor(2) as pool:
                found = sum(pool.map(partial(distances, tested=tested), (entries[::2], entries[1::2])))
            walls.append(time.perf_counter() - wall)
            used.append(time.process_time() - cpu)
        values = found * HOURS
        wall, cpu = statistics.median(walls), statistics.median(used)
        print(f"{title:24} {values:>9,} values  {wall:.2f} s wall  {cpu:.2f} s CPU")


if __name__ == "__main__":
    main()
