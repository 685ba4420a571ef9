"""Claim: hours of 41 columns that became days take half the space or less, and are read no slower.

    python benchmarks/compaction.py [--days 4]

Whole days of one model are evaluated for real. Every kind of result is then read as hours and, once they are one file a
day, as days, which has to give the same tables.
"""

import argparse
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from hourly_evaluation import MODEL, START, VERSION, evaluate, log, served, stages_on
from workload import write_workload

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.objects import sizes
from monitoring_pipeline.stores.retention import HOURLY, compact
from monitoring_pipeline.workflow.offline import table_reference


def prepare(home: Path, days: int) -> Path:
    """Evaluate whole days; returns the folder of what was made."""
    data = home / "data"
    stages, hours = stages_on(data), 24 * days
    reference = served(write_workload(home, 20_000, 0), START - 28 * 24 * HOUR, 28 * 24, name="reference")
    stages.references.save(table_reference(stages.monitor, reference, version=VERSION, computed_at=START))
    log(stages, served(write_workload(home, hours * 50, 2), START, hours, name="rows"))
    evaluate(stages, [START + step * HOUR for step in range(hours)])
    return data


def measured(data: Path, days: int) -> tuple[int, int, float, dict[str, object]]:
    """Return files, bytes, the fastest of three reads in seconds, and what was read."""
    store, found = HourlyStore(data), dict[str, object]()
    of_hours = [size for name, size in sizes(data).items() if name.partition("/")[0] in HOURLY]
    taken = []
    for _ in range(3):
        before = time.perf_counter()
        for kind in sorted(HOURLY):
            found[kind] = store.read(kind, MODEL, START, START + timedelta(days=days))
        taken.append(time.perf_counter() - before)
    return len(of_hours), sum(of_hours), min(taken), found


def same(one: object, other: object) -> bool:
    """Return whether two reads of a kind gave the same tables."""
    assert isinstance(one, dict)
    assert isinstance(other, dict)
    tables: list[tuple[pa.Table, pa.Table]] = list(zip(one.values(), other.values(), strict=True))
    return list(one) == list(other) and all(a.equals(b, check_metadata=True) for a, b in tables)


def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=4)
    days = parser.parse_args().days
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(Path(folder), days)
        files, size, seconds, hours = measured(data, days)
        before = time.perf_counter()
        compact(HourlyStore(data), data, MODEL, before=START + timedelta(days=days))
        compacting = time.perf_counter() - before
        fewer, smaller, faster, found = measured(data, days)
    assert all(same(hours[kind], found[kind]) for kind in hours)
    print("| | hours | days | ratio |\n|---|---|---|---|")
    print(f"| files | {files:,} | {fewer:,} | {files / fewer:.1f} |")
    print(f"| bytes | {size:,} | {smaller:,} | {size / smaller:.1f} |")
    print(f"| reading all, s | {seconds:.2f} | {faster:.2f} | {seconds / faster:.1f} |")
    print(f"\ncompacting: {compacting / days:.2f} s a day of one model")


if __name__ == "__main__":
    main()
