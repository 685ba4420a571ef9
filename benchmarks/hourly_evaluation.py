"""Claim: the whole hourly evaluation of a monitor, 100,000 rows and 41 columns, costs less than 10 s of CPU.

    python benchmarks/hourly_evaluation.py [--folder benchmark_data] [--profile measure_drift]

The stages run on real stores that hold the week before, in smaller hours; the hour itself is evaluated in processes of
their own, whose imports come before the clock starts. Then the hourly job does the same hour, in process, on a Dagster
instance of its own: the difference is what Dagster costs.
"""

import argparse
import cProfile
import importlib
import json
import logging
import os
import platform
import pstats
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from workload import CARDINALITIES, NUMERIC, REFERENCE_ROWS, write_workload

from monitoring_pipeline.capture.labels import hours_in
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.retrain.registry import ModelRegistry
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline.stores.reference_store import ReferenceStore
from monitoring_pipeline.workflow.offline import table_reference
from monitoring_pipeline.workflow.stages import Stages

MODEL, VERSION = "bench", "1"
HOUR_ROWS, EARLIER_ROWS, EARLIER = 100_000, 1_000, 168
START = datetime(2026, 10, 5, tzinfo=UTC)
LATEST = START + EARLIER * HOUR
RUNS = 3
STAGES = (
    *("describe", "join", "measure_drift", "measure_quality", "measure_operations", "measure_performance"),
    *("judge", "diagnose"),
)
LAZY = ("pandas", "scipy.stats", "sklearn.isotonic", "datasketches")
"""What stages import when they first need it."""

MONITOR: dict[str, Any] = {
    "model": MODEL,
    "start": START.isoformat(),
    "features": {"numeric": [*NUMERIC], "categorical": [f"category_{number}" for number in range(len(CARDINALITIES))]},
    "columns": {"latency_ms": {"total": "total_ms"}, "status": "status"},
}


class Nowhere:
    """A registry that keeps nothing: references are read from their folder."""

    def version(self, *_: str) -> None:
        """There is one version."""

    def write_text(self, *_: object) -> None:
        """The folder has its copy."""

    def set_tags(self, *_: object) -> None:
        """Nobody reads tags."""


def stages_on(folder: Path) -> Stages:
    """Return the stages of the monitor on the stores in a folder."""
    monitor = parse_monitor(MONITOR)
    return Stages(
        monitor,
        ParquetPredictionLog(folder, monitor.columns),
        ParquetLabelLog(folder, monitor.labels.columns()),
        HourlyStore(folder),
        ReferenceStore(folder, cast("ModelRegistry", Nowhere())),
    )


def served(path: Path, first: datetime, hours: int, *, name: str) -> pa.Table:
    """Return the rows of a file as a service logs them, evenly over some hours, and what came true."""
    rows = pq.read_table(path)
    rng, count = np.random.default_rng(0), rows.num_rows
    micros = np.arange(count) * (hours * 3_600_000_000) // count
    start = pa.scalar(first, pa.timestamp("us", tz="UTC")).cast(pa.int64()).as_py()
    score = rows["score"].to_numpy()
    added = {
        "prediction_id": [f"{name}-{number}" for number in range(count)],
        "predicted_at": pa.array(start + micros).cast(pa.timestamp("us", tz="UTC")),
        "model_version": pa.array([VERSION] * count),
        "prediction": (score > 0.5).astype(np.int64),
        "actual": (rng.random(count) < score).astype(np.int64),
        "total_ms": rng.lognormal(3.0, 0.5, count),
        "status": np.where(rng.random(count) < 0.002, "timeout", "ok"),
    }
    for column, values in added.items():
        rows = rows.append_column(column, values if isinstance(values, pa.Array) else pa.array(values))
    return rows


def log(stages: Stages, rows: pa.Table, model: str = MODEL) -> None:
    """Store predictions, and the labels of all of them as known a minute later."""
    stages.predictions.append(model, rows.drop_columns(["actual"]))
    known = pc.add(rows["predicted_at"], pa.scalar(timedelta(minutes=1), pa.duration("us")))
    labels = rows.select(["prediction_id", "actual"]).append_column("labelled_at", known)
    stages.labels.append(model, labels, hours=hours_in(rows["predicted_at"]))


def prepare(folder: Path, stores: Path) -> None:
    """Make the reference, the week before and the log of the hour."""
    stages = stages_on(stores)
    reference = served(write_workload(folder, REFERENCE_ROWS, 0), START - 28 * 24 * HOUR, 28 * 24, name="reference")
    stages.references.save(table_reference(stages.monitor, reference, version=VERSION, computed_at=START))
    log(stages, served(write_workload(folder, EARLIER * EARLIER_ROWS, 2), START, EARLIER, name="earlier"))
    log(stages, served(write_workload(folder, HOUR_ROWS, 1, shifted=True), LATEST, 1, name="latest"))
    evaluate(stages, [START + step * HOUR for step in range(EARLIER)])


def evaluate(stages: Stages, hours: list[datetime], profiled: str = "") -> dict[str, float]:
    """Run every stage; return the CPU seconds of each, all threads together."""
    taken = {}
    for name in STAGES:
        stage, more = getattr(stages, name), {"as_of": LATEST + 2 * HOUR} if name == "join" else {}
        before = time.process_time()
        if name == profiled:
            profile = cProfile.Profile()
            profile.runcall(stage, hours, **more)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
        else:
            stage(hours, **more)
        taken[name] = time.process_time() - before
    return taken


def alone(stores: Path, profiled: str) -> None:
    """Evaluate the hour in this process and print what it cost."""
    for name in LAZY:
        importlib.import_module(name)
    imported = time.process_time()
    print(json.dumps({"imports": imported, **evaluate(stages_on(stores), [LATEST], profiled)}))


def job(home: Path) -> None:
    """Have the hourly job process the hour in this process and print what that cost."""
    import dagster as dg

    from monitoring_pipeline.workflow.build import build_definitions
    from monitoring_pipeline.workflow.partitions import partition_key
    from monitoring_pipeline.workflow.rehearsal import STORAGE

    for name in LAZY:
        importlib.import_module(name)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # printing events would be measured too
    os.environ |= {"MONITORING_HOME": str(home), "MONITORING_MONITORS": str(home / "monitors")}
    (home / "dagster").mkdir()
    (home / "dagster" / "dagster.yaml").write_text(STORAGE.format(home=home / "dagster"))
    found: dict[str, float] = {}
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        before = time.process_time()
        resolved = build_definitions([parse_monitor(MONITOR)]).resolve_job_def(f"{MODEL}__hourly")
        found["definitions"] = time.process_time() - before
        before = time.process_time()
        result = resolved.execute_in_process(instance=instance, partition_key=partition_key(LATEST))
        found["job"] = time.process_time() - before
        found["events"] = len(instance.all_logs(result.run_id))
    print(json.dumps(found))


def measure(stores: Path) -> None:
    """Print the table."""
    runs = []
    for number in range(RUNS):
        copy, home = stores.parent / f"run_{number}", stores.parent / f"home_{number}"
        shutil.copytree(stores, copy)
        shutil.copytree(stores, home / "data")
        both: dict[str, float] = {}
        for option, folder in (("--alone", copy), ("--job", home)):
            command = [sys.executable, __file__, option, str(folder)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - itself
            both |= json.loads(done.stdout.splitlines()[-1])
        runs.append(both)
    hour = HourlyStore(stores.parent / "run_0")
    signals = len(hour.read_verdicts(MODEL, LATEST, LATEST + HOUR)[LATEST])
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}, "
        f"pyarrow {pa.__version__}; {HOUR_ROWS:,} rows x {len(NUMERIC) + len(CARDINALITIES) + 1} columns with labels, "
        f"windows 1h, 24h, 7d, {signals} verdicts; medians of {RUNS}"
    )
    total = statistics.median(sum(run[name] for name in STAGES) for run in runs)
    print(f"\n| stage | CPU, s | share |\n|:--|--:|--:|\n| imports, not counted | {_median(runs, 'imports'):.2f} | |")
    for name in STAGES:
        taken = _median(runs, name)
        print(f"| {name} | {taken:.2f} | {taken / total:.0%} |")
    print(f"| all stages | {total:.2f} | 100% |")
    through = statistics.median(run["job"] for run in runs)
    added = statistics.median(run["job"] - sum(run[name] for name in STAGES) for run in runs)
    print(f"| the hourly job, through Dagster | {through:.2f} | {through / total:.0%} |")
    print(f"| what Dagster adds, with {_median(runs, 'events'):.0f} events | {added:.2f} | {added / total:.0%} |")
    print(f"| making the definitions, once a process | {_median(runs, 'definitions'):.2f} | |")


def _median(runs: list[dict[str, float]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where rows and stores are kept for the next run")
    parser.add_argument("--profile", choices=STAGES, default="", help="show where one stage spends its time")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        job(asked.job)
        return
    if asked.alone:
        alone(asked.alone, asked.profile)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        stores = folder / "hourly_stores"
        if not stores.exists():
            prepare(folder, unfinished := folder / "hourly_stores.part")
            unfinished.rename(stores)
        if asked.profile:
            shutil.copytree(stores, copy := Path(scratch) / "profiled")
            alone(copy, asked.profile)
        else:
            measure_in = Path(scratch) / "stores"
            shutil.copytree(stores, measure_in)
            measure(measure_in)


if __name__ == "__main__":
    main()
