"""Many monitors in one deployment: what a code location, its sensors, an hour of all of them and its traces cost.

    nice python benchmarks/many_monitors.py [--monitors 1 10 100] [--rows 1000] [--write]

Every size has a process of its own, a real MLflow store and a Dagster instance on SQLite. One day of one monitor is
evaluated and its files are given to all others; then all of them do the next hour, one after the other, as their
schedules would have them do it, each in this process (a run of its own process costs as much as the code location on
top).
"""

import argparse
import json
import logging
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the MLflow store of the tests

import dagster as dg
from capacity_page import machine, show
from hourly_evaluation import HOUR, MONITOR, START, VERSION, Nowhere, evaluate, log, served
from workload import write_workload
from worlds.tables import table

from monitoring_pipeline.settings.load import load_monitors
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.reference_store import ReferenceStore
from monitoring_pipeline.workflow.build import build_definitions
from monitoring_pipeline.workflow.offline import table_reference
from monitoring_pipeline.workflow.partitions import partition_key
from monitoring_pipeline.workflow.rehearsal import STORAGE
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store

EARLIER, TICKS = 24, 3
LATEST = START + EARLIER * HOUR
A_MONTH = 730
SHARED = ("outbox", "incidents_waiting")


@contextmanager
def timed(found: dict[str, Any], name: str) -> Iterator[None]:
    """Note how many seconds of CPU, and of waiting, something takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    found[name], found[f"{name}, wall"] = time.process_time() - cpu, time.perf_counter() - wall


def settle(home: Path, names: list[str]) -> None:
    """Make a deployment whose registry knows a champion of every model."""
    from mlflow import MlflowClient

    (home / "monitors").mkdir()
    uri = new_mlflow_store(home)
    client = MlflowClient(uri, uri)
    for name in names:
        (home / "monitors" / f"{name}.yaml").write_text(json.dumps(MONITOR | {"model": name}))
        client.create_registered_model(name)
        client.create_model_version(name, source=home.as_uri())
        client.set_registered_model_alias(name, "champion", VERSION)
    os.environ |= {"MONITORING_HOME": str(home), "MONITORING_MONITORS": str(home / "monitors")}
    (home / "clock").write_text((LATEST + HOUR + HOUR / 6).isoformat())
    os.environ["MONITORING_CLOCK"] = str(home / "clock")


def fill(folder: Path, monitors: list[Monitor], rows: int) -> None:
    """Evaluate a day of the first monitor, and give its files, and the next hour's rows, to all of them."""
    monitoring = Monitoring()
    first, *others = monitors
    stages = monitoring.stages(first)
    table_of = served(write_workload(folder, 20_000, 0), START - 28 * 24 * HOUR, 28 * 24, name="reference")
    reference = table_reference(first, table_of, version=VERSION, computed_at=START)
    references = ReferenceStore(monitoring.kept, Nowhere())  # type: ignore[arg-type]
    for monitor in monitors:
        references.save(replace(reference, model=monitor.registry_name))
    log(stages, served(write_workload(folder, EARLIER * rows, 2), START, EARLIER, name="earlier"), first.registry_name)
    evaluate(stages, [START + step * HOUR for step in range(EARLIER)])
    log(stages, served(write_workload(folder, rows, 1), LATEST, 1, name="latest"), first.registry_name)
    data = monitoring.data
    for kind in (path for path in data.iterdir() if path.name not in ("references", "calibrations")):
        for monitor in others:
            shutil.copytree(kind / f"model={first.registry_name}", kind / f"model={monitor.registry_name}")


def measure(home: Path, count: int, rows: int) -> dict[str, Any]:
    """Return what a deployment of so many monitors costs."""
    names, found = [f"model_{number:03}" for number in range(count)], dict[str, Any]()
    settle(home, names)
    with timed(found, "run"):  # what the process of a run does before it knows its own job
        monitors = load_monitors(home / "monitors")
        defs = build_definitions(monitors)
        defs.get_repository_def().get_job(f"{names[-1]}__hourly")
    with timed(found, "load"):
        defs.get_repository_def().load_all_definitions()
    found["load"] += found["run"]
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    fill(home, monitors, rows)
    instance_home = home / "dagster"
    instance_home.mkdir()
    (instance_home / "dagster.yaml").write_text(STORAGE.format(home=instance_home))
    with dg.DagsterInstance.from_config(str(instance_home)) as instance:
        hourly = [defs.resolve_job_def(f"{name}__hourly") for name in names]
        before = {part: size_of(home / part) for part in ("data", "dagster")}
        with timed(found, "hour"):
            for job in hourly:
                job.execute_in_process(instance=instance, partition_key=partition_key(LATEST))
        for part, size in before.items():
            found[part] = size_of(home / part) - size
        found["files"] = sum(1 for path in (home / "data").rglob(f"*{LATEST:%Y-%m-%dT%H}Z*"))
        sensors = [sensor.name for sensor in defs.sensors or () if sensor.name.startswith(names[-1])]
        found["ticks"] = {
            name.removeprefix(f"{names[-1]}__"): tick(defs, instance, name) for name in [*sensors, *SHARED]
        }
    return found


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, name: str) -> float:
    """Return how many seconds of CPU a later tick of a sensor takes, what a tick opens being closed again."""
    sensor = defs.resolve_sensor_def(name)
    cursor, taken = None, 0.0
    for _ in range(TICKS):
        before = time.process_time()
        resources = {"monitoring": Monitoring()}
        with dg.build_sensor_context(instance, cursor=cursor, definitions=defs, resources=resources) as context:
            cursor = sensor.evaluate_tick(context).cursor
        taken = time.process_time() - before
    return taken


def size_of(folder: Path) -> int:
    """Return the bytes below a folder, once what SQLite has put aside has found its place."""
    for database in folder.rglob("*.db"):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Read the command line and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--monitors", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--rows", type=int, default=1_000, help="predictions of a model in the hour")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/capacity.md")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(measure(Path(scratch), asked.alone, asked.rows)))
        return
    found = {}
    for count in asked.monitors:
        command = [sys.executable, __file__, "--alone", str(count), "--rows", str(asked.rows)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - itself
        found[count] = json.loads(done.stdout.splitlines()[-1])
    lines = [
        ("loading the code location, CPU s", *(f"{each['load']:.2f}" for each in found.values())),
        ("the process of a run, until it has its job, CPU s", *(f"{each['run']:.2f}" for each in found.values())),
        ("memory of the loaded code location, MB", *(f"{each['memory']:.0f}" for each in found.values())),
        ("the hour of all, CPU s", *(f"{each['hour']:.1f}" for each in found.values())),
    ]
    parts = (
        ("loading, CPU s", "load", 1.0, ".3f"),
        ("the hour, CPU s", "hour", 1.0, ".2f"),
        ("the hour, seconds", "hour, wall", 1.0, ".2f"),
        ("files an hour", "files", 1.0, ".0f"),
        ("stored a month before retention, MB", "data", A_MONTH / 1e6, ".0f"),
        ("Dagster's database a month, MB", "dagster", A_MONTH / 1e6, ".0f"),
    )
    for what, key, scale, digits in parts:
        each = (format(values[key] * scale / count, digits) for count, values in found.items())
        lines.append((f"per monitor: {what}", *each))
    ticks = {name: [each["ticks"][name] for each in found.values()] for name in next(iter(found.values()))["ticks"]}
    lines += [(f"a tick of {name}, CPU ms", *(f"{each * 1e3:.0f}" for each in taken)) for name, taken in ticks.items()]
    head = ("monitors", *(str(count) for count in found))
    text = (
        f"{asked.rows:,} rows an hour and 40 features each, windows 1h, 24h, 7d. {machine()}.\n\n{table(head, lines)}"
    )
    show("many monitors", text, write=asked.write)


if __name__ == "__main__":
    main()
