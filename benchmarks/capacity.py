"""The cost model of `monitoring-pipeline capacity` against what real hours cost, at three sizes.

    nice python benchmarks/capacity.py [--earlier 168] [--write]

Each size has a process of its own: it describes, evaluates and judges a stretch of hours in one go, then single hours
as the schedule does it. Bytes are those of the files of the last hours, CPU is that of single hours with a week before
them, memory the most that the process ever held. Nothing here is fitted: constants are in evaluate/capacity.py.
"""

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from capacity_page import machine, show
from hourly_evaluation import HOUR, LAZY, MONITOR, STAGES, START, VERSION, Nowhere, log, served
from workload import CARDINALITIES, NUMERIC, write_workload
from worlds.tables import table

from monitoring_pipeline.evaluate.capacity import Load, capacity
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline.stores.reference_store import ReferenceStore
from monitoring_pipeline.workflow.offline import table_reference
from monitoring_pipeline.workflow.stages import Stages

SIZES = ((100, 10), (1_000, 20), (10_000, 40))
"""Rows an hour and features; a quarter of them are categorical."""

SINGLE, REFERENCE_ROWS = 4, 20_000


def stages_of(folder: Path, numeric: list[str], categorical: list[str]) -> Stages:
    """Return the stages of a monitor of some features."""
    monitor = parse_monitor(MONITOR | {"features": {"numeric": numeric, "categorical": categorical}})
    hourly, references = HourlyStore(folder), ReferenceStore(folder, cast("Any", Nowhere()))
    logs = ParquetPredictionLog(folder, monitor.columns), ParquetLabelLog(folder, monitor.labels.columns())
    return Stages(monitor, *logs, hourly, references)


def cost(folder: Path, rows: int, features: int, earlier: int) -> dict[str, Any]:
    """Return bytes of an hour by kind of file, CPU seconds of a single hour, and the most memory held."""
    for name in LAZY:
        importlib.import_module(name)
    categorical = [f"category_{number}" for number in range(len(CARDINALITIES))][: features // 4]
    numeric = [*NUMERIC][: features - len(categorical)]
    stages = stages_of(folder / "stores", numeric, categorical)
    kept = [*numeric, *categorical, "score"]

    def made(count: int, seed: int, first: Any, hours: int) -> pa.Table:
        path = write_workload(folder, count, seed)
        pq.write_table(pq.read_table(path, columns=kept), path)
        return served(path, first, hours, name=f"{seed}")

    reference = made(REFERENCE_ROWS, 0, START - 28 * 24 * HOUR, 28 * 24)
    stages.references.save(table_reference(stages.monitor, reference, version=VERSION, computed_at=START))
    hours = [START + step * HOUR for step in range(earlier + SINGLE)]
    log(stages, with_random_ids(made(rows * len(hours), 2, START, len(hours))))
    as_of = {"as_of": hours[-1] + 48 * HOUR}
    run(stages, hours[:earlier], as_of)
    taken = []
    for hour in hours[earlier:]:
        before = time.process_time()
        run(stages, [hour], as_of)
        taken.append(time.process_time() - before)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"bytes": dict(sizes(folder / "stores", len(hours))), "cpu_s": float(np.median(taken)), "memory_mb": most}


def with_random_ids(rows: pa.Table) -> pa.Table:
    """Return rows with ids as services make them: counted ones would be stored in next to nothing."""
    content = np.random.default_rng(3).bytes(16 * rows.num_rows)
    ids = [str(uuid.UUID(bytes=content[place : place + 16])) for place in range(0, len(content), 16)]
    return rows.set_column(rows.schema.get_field_index("prediction_id"), "prediction_id", pa.array(ids))


def run(stages: Stages, hours: list[Any], as_of: dict[str, Any]) -> None:
    """Run every stage on some hours."""
    for name in STAGES:
        getattr(stages, name)(hours, **(as_of if name == "join" else {}))


def sizes(stores: Path, hours: int) -> list[tuple[str, float]]:
    """Return the bytes of an hour by kind: a mean over logs, of everything else that of the last hours."""
    found = []
    for kind in sorted(path for path in stores.iterdir() if path.name not in ("references", "calibrations")):
        files = sorted((path for path in kind.rglob("*") if path.is_file()), key=str)
        logged = kind.name in ("predictions", "labels")
        last = files if logged else files[-SINGLE:]
        found.append((kind.name, sum(path.stat().st_size for path in last) / (hours if logged else SINGLE)))
    return found


def measure(earlier: int) -> list[tuple[int, int, dict[str, Any]]]:
    """Measure every size in a process of its own."""
    found = []
    for rows, features in SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            command = [
                sys.executable,
                __file__,
                "--alone",
                scratch,
                str(rows),
                str(features),
                "--earlier",
                str(earlier),
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - itself
            found.append((rows, features, json.loads(done.stdout.splitlines()[-1])))
    return found


def main() -> None:
    """Read the command line and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--earlier", type=int, default=168, help="hours before those that are measured")
    parser.add_argument("--write", action="store_true", help="write the table into docs/capacity.md")
    parser.add_argument("--alone", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        folder, rows, features = asked.alone
        print(json.dumps(cost(Path(folder), int(rows), int(features), asked.earlier)))
        return
    lines = []
    for rows, features, found in measure(asked.earlier):
        model = capacity(Load(predictions_per_day=rows * 24, features=features, models=1))
        by_part: dict[str, float] = dict.fromkeys(model.hour_bytes, 0.0)
        for kind, size in found["bytes"].items():
            by_part[kind if kind in by_part else "reports"] += size
        size = f"{rows:,} rows, {features} features"
        pairs = [(f"{part}, kB an hour", model.hour_bytes[part] / 1e3, by_part[part] / 1e3) for part in by_part]
        pairs += [
            ("evaluation, CPU s an hour", model.evaluation_s, found["cpu_s"]),
            ("memory, MB", model.process_mb, found["memory_mb"]),
        ]
        lines += [(size, what, f"{said:.3g}", f"{real:.3g}", f"{said / real:.2f}") for what, said, real in pairs]
    head = ("size", "what", "predicted", "measured", "ratio")
    show("capacity", f"{machine()}.\n\n{table(head, lines)}", write=asked.write)


if __name__ == "__main__":
    main()
