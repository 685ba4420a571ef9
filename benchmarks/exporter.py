"""Claim: Prometheus gets the metrics of 50 models with 40 features each in less than 200 ms when few have a new hour.

    python benchmarks/exporter.py [--models 50] [--runs 20]

One model's week is evaluated for real, and its newest hour is copied for every other model, beside 90 days of names of
earlier hours and their decisions about retraining. Pages are taken by the code behind /metrics: the first one after a
start, those where nothing changed, where one model has a new hour, and where all of them have.
"""

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from hourly_evaluation import MODEL, START, VERSION, evaluate, log, served, stages_on
from workload import write_workload

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.parquet import hour_name, model_folder
from monitoring_pipeline.stores.tables import retrain_decisions
from monitoring_pipeline.workflow.exporter import Exporter
from monitoring_pipeline.workflow.offline import table_reference

WEEK, LISTED = 168, 2_160
LATEST = START + WEEK * HOUR
PROMETHEUS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
"""What Prometheus says that it accepts."""


def prepare(home: Path, models: list[str]) -> Deployment:
    """Make the stores of all models: one hour that is read, and the names of those before."""
    data = home / "data"
    stages = stages_on(data)
    reference = served(write_workload(home, 20_000, 0), START - 28 * 24 * HOUR, 28 * 24, name="reference")
    stages.references.save(table_reference(stages.monitor, reference, version=VERSION, computed_at=START))
    log(stages, served(write_workload(home, WEEK * 50, 2), START, WEEK, name="earlier"))
    log(stages, served(write_workload(home, 5_000, 1, shifted=True), LATEST, 1, name="latest"))
    earlier = [START + step * HOUR for step in range(WEEK)]
    stages.describe(earlier)
    stages.join(earlier, as_of=LATEST + 2 * HOUR)
    evaluate(stages, [LATEST])
    for model in models:
        for kind in ("verdicts", "profiles", "references"):
            shutil.copytree(model_folder(data, kind, MODEL), model_folder(data, kind, model))
        folder = model_folder(data, "verdicts", model)
        for step in range(1, LISTED):
            os.link(folder / f"{hour_name(LATEST)}.parquet", folder / f"{hour_name(LATEST - step * HOUR)}.parquet")
    deployment = Deployment.from_environment({"MONITORING_HOME": str(home)}, root=home)
    database = StateDatabase(deployment.database_url)
    database.migrate()
    row = {"version": VERSION, "fired": False, "reason": "cooldown", "explanation": "", "clauses": [], "episode_id": ""}
    with database.writing() as connection:
        for model in models:
            hours = (LATEST - step * HOUR for step in range(LISTED))
            rows = [row | {"model": model, "hour": hour, "decided_at": hour} for hour in hours]
            connection.execute(sa.insert(retrain_decisions), rows)
    database.close()
    return deployment


def touch(deployment: Deployment, models: list[str]) -> None:
    """Write the newest hour of some models again."""
    for model in models:
        path = model_folder(deployment.state_directory / "data", "verdicts", model) / f"{hour_name(LATEST)}.parquet"
        copy = path.with_suffix(".part")
        shutil.copy(path, copy)
        copy.replace(path)


def timed(exporter: Exporter, runs: int, before: Callable[[], None] = lambda: None) -> list[tuple[float, float]]:
    """Return how long pages took and their CPU, in milliseconds."""
    taken = []
    for _ in range(runs):
        before()
        start, cpu = time.perf_counter(), time.process_time()
        exporter.page(PROMETHEUS)
        taken.append(((time.perf_counter() - start) * 1e3, (time.process_time() - cpu) * 1e3))
    return taken


def main() -> None:
    """Read the command line, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--runs", type=int, default=20)
    asked = parser.parse_args()
    models = [f"model_{number:02d}" for number in range(asked.models)]
    with tempfile.TemporaryDirectory() as scratch:
        deployment = prepare(Path(scratch), models)
        exporter = Exporter(deployment, dict.fromkeys(models, Path(__file__)), clock=lambda: datetime.now(UTC))
        rows = {"first after a start": timed(exporter, 1)}
        time.sleep(2.5)  # as long as a folder may have changed again
        rows["nothing changed"] = timed(exporter, asked.runs)
        rows["one model changed"] = timed(exporter, asked.runs, lambda: touch(deployment, models[:1]))
        rows["all changed"] = timed(exporter, 3, lambda: touch(deployment, models))
        page, _ = exporter.page()
    series = sum(not line.startswith(b"#") for line in page.splitlines())
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python "
        f"{platform.python_version()}; {len(models)} models, {series:,} series, {len(page) / 1e6:.1f} MB"
    )
    print("\n| page | median, ms | slowest, ms | CPU, ms |\n|:--|--:|--:|--:|")
    for name, taken in rows.items():
        wall, cpu = zip(*taken, strict=True)
        print(f"| {name} | {statistics.median(wall):.0f} | {max(wall):.0f} | {statistics.median(cpu):.0f} |")


if __name__ == "__main__":
    main()
