"""What retraining brought over nine months of flights: served by the champion of the day, and by the first model.

    nice python benchmarks/closed_loop.py [--folder benchmark_data] [--write]

Serves April to December, measures what the triggers of the demonstration look at, a day at a time, asks the real sensor
for retrainings and runs its real job, and scores what was served a second time with the version that was served first.
Prints Markdown; --write puts it into docs/closed-loop.md.
"""

import argparse
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))  # the flights are described in examples/

from sklearn.metrics import log_loss, roc_auc_score
from worlds.tables import table

from examples.demonstration import Service, prepare
from examples.flight_delays.demo import SPRING
from examples.flight_delays.model import FEATURES, NAME
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.gains import compare, units_of
from monitoring_pipeline.serve.scoring import load_scorer
from monitoring_pipeline.settings.load import load_monitor
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.workflow.build import build_definitions
from monitoring_pipeline.workflow.model_assets import materialise_references
from monitoring_pipeline.workflow.resources import Monitoring

REPOSITORY = Path(__file__).resolve().parents[1]
FIRST, END = datetime(2013, 4, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DOCUMENT = REPOSITORY / "docs" / "closed-loop.md"
BEGIN, END_MARK = "<!-- begin figures -->", "<!-- end figures -->"


def run(home: Path) -> None:
    """Serve, watch and retrain up to the end of the year."""
    asked = yaml.safe_load((REPOSITORY / "monitors" / f"{NAME}.yaml").read_text())
    asked |= {"start": FIRST.isoformat(), "end": END.isoformat(), "rules": [], "business": {}}
    asked["drift"] |= {"metrics": ["psi"]}
    os.chdir(REPOSITORY)
    monitors = prepare(home / "deployment", NAME)
    (monitors / f"{NAME}.yaml").write_text(yaml.safe_dump(asked, sort_keys=False, default_flow_style=False))
    monitor, monitoring = load_monitor(monitors / f"{NAME}.yaml"), Monitoring()
    SPRING.train(monitoring.deployment.tracking_uri, artifacts=home / "deployment" / "artifacts")
    definitions = build_definitions([monitor], root=str(REPOSITORY), sensor_seconds=1)
    service, stages = Service(replace(SPRING, watched_until=END), monitoring, monitor), monitoring.stages(monitor)
    logging.disable(logging.WARNING)
    with dg.instance_for_test() as instance:
        materialise_references(monitoring, monitor)
        for day in (FIRST + step * DAY for step in range((END - FIRST).days)):
            service.serve(day, day + DAY)
            (home / "deployment" / "clock").write_text((day + DAY + timedelta(minutes=15)).isoformat())
            hours = [day + step * HOUR for step in range(24)]
            stages.describe(hours)
            stages.join([*(hour - DAY for hour in hours if day > FIRST), *hours], as_of=monitoring.now())
            if day >= SPRING.watched_from - timedelta(days=7):
                stages.measure_drift(hours)
                stages.measure_performance(hours)
                stages.judge(hours)
            if day >= SPRING.watched_from:
                _retrain(definitions, instance, monitoring, monitor)


def _retrain(definitions: dg.Definitions, instance: dg.DagsterInstance, monitoring: Monitoring, monitor: Any) -> None:
    """Ask the sensor what is to be retrained, and do it."""
    name = f"{NAME}__retraining"
    context = dg.build_sensor_context(
        instance=instance, definitions=definitions, resources={"monitoring": Monitoring()}
    )
    with context:
        requests = definitions.resolve_sensor_def(name).evaluate_tick(context).run_requests or []
    for request in requests:
        print(f"{monitoring.now():%d %B}: {request.run_key}", file=sys.stderr, flush=True)
        job = definitions.resolve_job_def(name)
        job.execute_in_process(instance=instance, raise_on_error=False, tags=dict(request.tags))
        materialise_references(monitoring, monitor)


def served_rows(monitoring: Monitoring, home: Path) -> pd.DataFrame:
    """Return what was served and became known, with the score of the first version beside the served one."""
    monitor = load_monitor(home / "deployment" / "monitors" / f"{NAME}.yaml")
    rows = monitoring.stages(monitor).labelled_rows(FIRST, END, as_of=END + timedelta(days=7)).to_pandas()
    rows = rows[rows["actual"].isin([0, 1])]
    uri = monitoring.deployment.tracking_uri
    first = load_scorer(uri, NAME, "1", monitor.retraining.trusted_types, task=monitor.task)
    return rows.assign(first=first.score(rows[[*FEATURES]]), month=rows["predicted_at"].dt.month)


def figures(home: Path) -> Iterator[str]:
    """Yield the tables."""
    os.environ.update(MONITORING_HOME=str(home / "deployment"), MONITORING_CLOCK=str(home / "deployment" / "clock"))
    monitoring = Monitoring()
    rows = served_rows(monitoring, home)
    yield "The same flights, scored by the champion of the day and by the first version:"
    months = [*((f"{FIRST.replace(month=month):%B}", part) for month, part in rows.groupby("month")), ("in all", rows)]
    heads = ["", "flights", "champion", "AUC", "AUC, never retrained", "gain, 95 %", "log loss", "never retrained"]
    lines = []
    for name, part in months:
        truth = part["actual"].to_numpy(dtype=np.float64)
        scores = [part[column].to_numpy(dtype=np.float64) for column in ("score", "first")]
        gain = compare("roc_auc", truth, scores[1], scores[0], units_of(part["predicted_at"]), confidence=0.95)
        versions = ", ".join(f"v{version}" for version in sorted(part["model_version"].unique(), key=int))
        aucs, losses = ([f"{metric(truth, each):.3f}" for each in scores] for metric in (roc_auc_score, log_loss))
        interval = "" if versions == "v1" else f"{gain.gain:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        lines.append([name, f"{len(part):,}", versions, *aucs, interval, *losses])
    yield table(heads, lines)
    episodes = monitoring.database.episodes(NAME)
    ends = Counter(episode.status for episode in episodes)
    yield (
        f"{len(episodes)} retrainings: {ends[EpisodeStatus.PROMOTED]} promoted, {ends[EpisodeStatus.REJECTED]} "
        f"rejected, {ends[EpisodeStatus.FAILED]} failed."
    )
    heads = ["decided for", "champion", "challenger", "AUC of both on the hold-out", "became of it"]
    yield table(
        heads,
        [
            [
                f"{each.hour:%-d %b %H:%M}",
                f"v{each.outcome.get('champion', each.version)}",
                f"v{each.outcome.get('challenger', '?')}",
                _holdout(each.outcome.get("comparisons")),
                f"{each.status}: {'; '.join(str(reason) for reason in _listed(each.outcome.get('reasons')))}",
            ]
            for each in episodes
        ],
    )
    yield f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}."


def _holdout(comparisons: object) -> str:
    found = comparisons.get("roc_auc") if isinstance(comparisons, dict) else None
    return f"{found['champion']:.3f}, {found['challenger']:.3f}" if found else ""


def _listed(reasons: object) -> list[object]:
    return reasons if isinstance(reasons, list) else []


def main() -> None:
    """Run what has not been run yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the deployment is kept for the next run")
    parser.add_argument("--write", action="store_true", help="replace the figures in docs/closed-loop.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = (asked.folder or Path(scratch)).resolve() / "closed_loop"
        if not (home / "finished").exists():
            shutil.rmtree(home, ignore_errors=True)
            run(home)
            (home / "finished").touch()
        text = "\n\n".join(figures(home))
    print(text)
    if asked.write:
        before, rest = DOCUMENT.read_text().split(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END_MARK}{rest.split(END_MARK)[1]}")


if __name__ == "__main__":
    main()
