"""A year of hours evaluated anew from stored profiles: what every part costs, with not one raw row left to read.

    nice python benchmarks/year.py [--hours 8760] [--write]

Two weeks of 41 columns are described once, and their files stand for a year. Then drift and performance are measured,
judged and diagnosed again, a month at a time, and at last judged and diagnosed once more under other thresholds.
What Dagster writes of as many hours is measured apart: on SQLite as a clone has it, and on PostgreSQL.
"""

import argparse
import importlib
import logging
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the server of the tests

import dagster as dg
from capacity_page import machine, show
from hourly_evaluation import HOUR, LATEST, LAZY, MODEL, MONITOR, START, VERSION, log, served, stages_on
from workload import write_workload
from worlds.tables import table

from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.stores.hours import HourFiles
from monitoring_pipeline.workflow.hourly_assets import hourly_assets
from monitoring_pipeline.workflow.offline import table_reference
from monitoring_pipeline.workflow.partitions import range_tags
from monitoring_pipeline.workflow.rehearsal import STORAGE
from monitoring_pipeline.workflow.sensors import CATCH_UP_HOURS
from monitoring_pipeline.workflow.stages import REPORTS, Stages

YEAR, DESCRIBED, ROWS = 8_760, 336, 1_500
KEPT = ("profiles", "outcomes", "label_arrivals", "operations")
LOGGED_HOURS = 48


def prepare(folder: Path, hours: int) -> Path:
    """Describe two weeks, remove their logs, and repeat their files over the hours of a year."""
    described, stores = folder / "described", folder / "stores"
    stages = stages_on(described)
    reference = served(write_workload(folder, 100_000, 0), START - 28 * 24 * HOUR, 28 * 24, name="reference")
    stages.references.save(table_reference(stages.monitor, reference, version=VERSION, computed_at=START))
    log(stages, served(write_workload(folder, DESCRIBED * ROWS, 2), START, DESCRIBED, name="earlier"))
    known = [START + step * HOUR for step in range(DESCRIBED)]
    stages.describe(known)
    stages.join(known, as_of=LATEST + YEAR * HOUR)
    shutil.copytree(described / "references", stores / "references")
    for kind in KEPT:
        of_kind, model = stores / kind, f"model={MODEL}"
        (of_kind / model).mkdir(parents=True)
        files = sorted((described / kind / model).glob("*.parquet"))
        for step in range(hours):
            name = f"{START + step * HOUR:%Y-%m-%dT%H}Z.parquet"
            shutil.copyfile(files[step % DESCRIBED], of_kind / model / name)
        HourFiles(stores).compact(kind, MODEL, before=START + hours * HOUR)  # as the nightly job has done it
    shutil.rmtree(described)
    return stores


def months(hours: int) -> Iterator[list[datetime]]:
    """Yield the hours of each run of a backfill."""
    for first in range(0, hours, CATCH_UP_HOURS):
        yield [START + step * HOUR for step in range(first, min(first + CATCH_UP_HOURS, hours))]


def seconds(work: Callable[[list[datetime]], object], hours: int) -> float:
    """Return the CPU seconds, of all threads, of some work on every month."""
    before = time.process_time()
    for month in months(hours):
        work(month)
    return time.process_time() - before


def distances_only(stages: Stages) -> Callable[[list[datetime]], object]:
    """Return the arithmetic of drift alone: every distance and p-value as arrays, no record made of them."""
    from monitoring_pipeline.describe.distances import Pair, expected_windows, measured
    from monitoring_pipeline.describe.spans import SpanSeries

    policy, reference = stages.monitor.drift_policy(), stages.references.load(MODEL, VERSION)
    assert reference is not None

    def work(hours: list[datetime]) -> None:
        known = stages.hourly.read_profiles(MODEL, min(hours) + HOUR - policy.reach, max(hours) + HOUR)
        profiles = {hour: entries[0] for hour, entries in known.items() if entries}
        spans = ([(hour + HOUR - window, hour + HOUR) for hour in hours] for window in policy.windows)
        series = [SpanSeries(profiles, each) for each in spans]
        for entry in reference.columns.values():
            expected = expected_windows(entry.column, entry.profile)
            for each in series:
                measured(Pair(entry.column, expected, each.column(entry.column)), policy.metrics)

    return work


def judging(stages: Stages) -> Callable[[list[datetime]], object]:
    """Return what the asset of verdicts does."""

    def work(hours: list[datetime]) -> None:
        stages.diagnose(hours, {hour: verdicts for hour, (verdicts, _) in stages.judge(hours).items()})

    return work


def event_logs(folder: Path) -> Iterator[tuple[str, float, float]]:
    """Yield by kind of event log the CPU seconds and the seconds that an hour of all hourly assets takes to record."""
    monitor = parse_monitor(MONITOR)
    made = hourly_assets(monitor)

    def nothing(definition: dg.AssetsDefinition) -> dg.AssetsDefinition:
        @dg.multi_asset(
            name=f"nothing_{definition.node_def.name}",
            specs=[replace_partitions(spec, definition) for spec in definition.specs],
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def execute() -> Iterator[dg.MaterializeResult]:
            yield from (dg.MaterializeResult(asset_key=key) for key in sorted(definition.keys))

        return execute

    job = dg.define_asset_job("all_of_them", executor_def=dg.in_process_executor)
    resolved = dg.Definitions(assets=[nothing(each) for each in made], jobs=[job]).resolve_job_def("all_of_them")
    for name, batch, instance in _instances(folder):
        os.environ["DAGSTER_EVENT_BATCH_SIZE"] = batch
        with instance() as opened:
            wall, cpu = time.perf_counter(), time.process_time()
            tags = range_tags(START, START + (LOGGED_HOURS - 1) * HOUR)
            resolved.execute_in_process(instance=opened, tags=tags)
            yield name, (time.process_time() - cpu) / LOGGED_HOURS, (time.perf_counter() - wall) / LOGGED_HOURS


def replace_partitions(spec: dg.AssetSpec, definition: dg.AssetsDefinition) -> dg.AssetSpec:
    """Return a spec with the partitions of its asset and nothing before it."""
    return dg.AssetSpec(spec.key, partitions_def=definition.partitions_def)


def _instances(folder: Path) -> Iterator[tuple[str, str, Callable[[], object]]]:
    @contextmanager
    def on(settings: str, home: Path) -> Iterator[dg.DagsterInstance]:
        home.mkdir()
        (home / "dagster.yaml").write_text(settings)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance

    home = folder / "sqlite"
    yield "SQLite, ours, 1,000 events a batch", "1000", lambda: on(STORAGE.format(home=home), home)
    from monitoring_pipeline_tests.postgres import _binaries, postgres_server

    if _binaries() is None:
        print("no PostgreSQL here", file=sys.stderr)
        return
    server = folder / "server"
    server.mkdir()
    with postgres_server(server) as running:
        port = running.url.split(":")[-1].split("/")[0]
        settings = "telemetry: {enabled: false}\nstorage: {postgres: {postgres_db: {hostname: 127.0.0.1, "
        settings += f"port: {port}, username: postgres, password: '', db_name: postgres}}}}}}\n"
        for batch in ("0", "1000"):
            said = "one event at a time" if batch == "0" else "1,000 events a batch"
            yield f"PostgreSQL, {said}", batch, lambda batch=batch: on(settings, folder / f"postgres_{batch}")


def measure(stores: Path, hours: int) -> list[tuple[str, float, int]]:
    """Return what was done, its CPU seconds, and how many values came of it."""
    for name in LAZY:
        importlib.import_module(name)
    stages = stages_on(stores)
    found = [("distances and p-values of drift, as arrays", seconds(distances_only(stages), hours), 0)]
    for name, work in (
        ("measure drift", stages.measure_drift),
        ("measure performance", stages.measure_performance),
        ("judge and diagnose", judging(stages)),
    ):
        found.append((name, seconds(work, hours), _written(stores, name)))
    stricter = replace(stages, monitor=parse_monitor(MONITOR | {"drift": {"false_alarms_per_month": 3}}))
    found.append(("judge and diagnose by other thresholds", seconds(judging(stricter), hours), 0))
    assert not (stores / "predictions").exists()
    assert not (stores / "samples").exists()
    return found


def _written(stores: Path, stage: str) -> int:
    import pyarrow.parquet as pq

    kind = stage.removeprefix("measure ") if stage.startswith("measure ") else "verdicts"
    return sum(pq.read_metadata(file).num_rows for file in (stores / kind / f"model={MODEL}").rglob("*.parquet"))


def main() -> None:
    """Read the command line and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=YEAR)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/capacity.md")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)  # a server of another user is below it
        found = measure(prepare(Path(scratch), asked.hours), asked.hours)
        logging.disable(logging.CRITICAL)  # printing events would be measured too
        logs = list(event_logs(Path(scratch)))
    scale = YEAR / asked.hours
    rows = [
        (
            name,
            f"{taken:.1f}",
            f"{taken * scale:.0f}",
            f"{taken / asked.hours * 1e3:.1f}",
            f"{values:,}" if values else "",
        )
        for name, taken, values in found
    ]
    text = f"{asked.hours:,} hours x 41 columns, windows 1h, 24h, 7d; reports on record: {', '.join(REPORTS[:2])}. "
    text += f"{machine()}.\n\n"
    text += table(("part", "CPU, s", "a year, s", "an hour, ms", "values"), rows)
    text += "\n\nWriting down in Dagster that these hours were computed, apart from computing them:\n\n"
    text += table(
        ("event log", "CPU of an hour, ms", "an hour, ms", "a year, s"),
        [(name, f"{cpu * 1e3:.0f}", f"{wall * 1e3:.0f}", f"{wall * YEAR:.0f}") for name, cpu, wall in logs],
    )
    show("year", text, write=asked.write)


if __name__ == "__main__":
    main()
