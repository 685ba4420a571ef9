"""A deployment under random work and random faults, drawn from a seed: the same seed is the same story.

Add a piece of work or a fault as a method named in `WORK` or `FAULTS`. Keep what must hold out: it belongs in
invariants.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.crash_points import POINTS
from monitoring_pipeline.settings.load import load_monitors
from monitoring_pipeline.stores.files import publish
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline.workflow.alerting import apply_rule_outcomes, deliver_waiting
from monitoring_pipeline.workflow.partitions import ranges
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.retraining_sensor import record_decisions
from monitoring_pipeline.workflow.sensors import hours_to_process, newly_labelled
from monitoring_pipeline_tests.deployments import ASKED, MODEL, Deployment, champion, customers, scored
from monitoring_pipeline_tests.faults.invariants import (
    Arrival,
    Retrainings,
    computed_alike,
    everybody_was_told,
    no_hour_is_missing,
    nobody_was_told_twice,
    prove,
    retrained_once,
    stored_hours,
    telling,
)
from monitoring_pipeline_tests.sinks import Answer, Cut, HttpSink
from monitoring_pipeline_tests.traffic import START
from monitoring_pipeline_tests.workers import NEVER, full_disk, start

WEBHOOK = "MONITORING_WEBHOOK_SECRET"
UNLABELLED = ("samples", "quarantine", "intake", "profiles", "operations", "drift", "quality", "service")
FAILURES = (Answer(500, "oops"), Answer(503, "away"), Answer(429, "slow down", {"Retry-After": "30"}), Cut())
REACHED = (
    *("file.before_rename", "outbox.after_claim", "outbox.after_send", "outbox.after_mark"),
    *("outcomes.after_apply", "retraining.after_decision"),
)
"""Crash points on the way of `catch_up`."""

assert set(REACHED) <= set(POINTS)


def catch_up() -> None:
    """Do all that the sensors would have done by now: hours, late labels, incidents, decisions, messages."""
    monitoring = Monitoring()
    monitors = load_monitors(monitoring.deployment.monitors_directory)
    (monitor,) = monitors
    stages, now = monitoring.stages(monitor), monitoring.now()
    for first, last in ranges(hours_to_process(monitoring, monitor, now)):
        hours = [first + step * HOUR for step in range(round((last - first) / HOUR) + 1)]
        stages.describe(hours)
        _evaluate(stages, hours, now)
    cursor = monitoring.data / "late_labels.cursor"
    after, labelled = newly_labelled(monitoring, monitor, cursor.read_text() if cursor.exists() else "0")
    for first, last in ranges(labelled & set(monitoring.hourly.hours("outcomes", MODEL))):
        _evaluate(stages, [first + step * HOUR for step in range(round((last - first) / HOUR) + 1)], now)
    publish(cursor, after.encode())
    apply_rule_outcomes(monitoring, monitor, START, hour_of(now))
    record_decisions(monitoring, monitor)
    deliver_waiting(monitoring, {monitor.model: monitor}, worker="worker")
    monitoring.database.close()


def _evaluate(stages: Any, hours: Sequence[datetime], now: datetime) -> None:
    stages.join(hours, as_of=now)
    for name in ("drift", "performance", "quality", "operations"):
        getattr(stages, f"measure_{name}")(hours)
    stages.judge(hours)
    stages.diagnose(hours)


@dataclass
class World:
    """A deployment with one webhook, its clock, and what really happened in it."""

    deployment: Deployment
    sink: HttpSink
    seed: int
    served: dict[datetime, set[str]] = field(default_factory=lambda: defaultdict(set))
    rows: list[pd.DataFrame] = field(default_factory=list)
    number: int = 0
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Watch the model with everything on whose way something can break."""
        self.chance = random.Random(self.seed)
        self.deployment.watch(
            {
                "windows": ["1h"],
                "notifications": {
                    "webhook": {"url": f"{self.sink.url}/in"},
                    "routes": {level: ["webhook"] for level in ("info", "warning", "critical")},
                },
                "rules": [
                    {
                        "name": "feature_drift",
                        "condition": {"metric": "drift.psi", "window": "1h", "level": "warning"},
                        "resolve_after": 1,
                        "cooldown": "1h",
                    }
                ],
                "retraining": ASKED["retraining"]
                | {"triggers": [{"name": "age", "condition": {"metric": "model.age_days", "above": 1}}]},
            }
        )
        self.now = START
        self.set_clock(START)

    def set_clock(self, moment: datetime) -> None:
        self.now = moment
        self.deployment.set_clock(moment)

    # Work

    def serve(self) -> None:
        """Serve an hour: shifted or not, in any order, some rows twice, some ids with another payload; or nothing."""
        at = START + self.number * HOUR
        self.number += 1
        self.served[at] = set()
        if self.chance.random() < 0.2:
            return
        shift = self.chance.choice([0.0, 0.0, 25.0])
        rows = customers([at], seed=self.seed, shift=shift)
        self.rows.append(rows)
        self.served[at] = set(rows["prediction_id"])
        table = pa.Table.from_pandas(
            scored(rows, champion()).drop(columns="actual").assign(model_version="1"), preserve_index=False
        )
        order = np.random.default_rng(self.chance.randrange(2**32)).permutation(len(rows))
        self.deployment.log_table(table.take(order))
        again = table.take(order[: self.chance.randrange(10)])
        if again.num_rows:
            other = pa.array([value + 1 for value in again["usage"].to_pylist()])
            self.deployment.log_table(again)
            self.deployment.log_table(again.set_column(again.column_names.index("usage"), "usage", other))

    def label(self) -> None:
        """Label some rows of some hour, late or early, and some of them twice with another value."""
        if not self.rows:
            return
        rows = self.chance.choice(self.rows).sample(frac=0.7, random_state=self.chance.randrange(2**32))
        known = max(self.now, rows["predicted_at"].max().to_pydatetime()) + timedelta(minutes=1)
        self.deployment.label(rows, known_at=known)
        if self.chance.random() < 0.3:
            wrong = rows.head(5)
            self.deployment.label(wrong.assign(actual=1 - wrong["actual"]), known_at=known + timedelta(minutes=1))

    def wait(self) -> None:
        """Let time pass until what was served is over."""
        self.set_clock(max(self.now, START + self.number * HOUR) + timedelta(minutes=self.chance.randrange(16, 50)))

    # Faults

    def kill(self) -> None:
        """Kill a worker at a point."""
        point = self.chance.choice(REACHED)
        times = self.chance.randrange(1, 40) if point.startswith("file") else self.chance.randrange(1, 3)
        self._work(start(catch_up, f"{point}:{times}"))

    def two_at_once(self) -> None:
        """Let two workers do the same."""
        self._work(*(start(catch_up, NEVER) for _ in range(2)))

    def fill_the_disk(self) -> None:
        """Let no file grow beyond a few kilobytes."""
        self._work(start(full_disk, NEVER, catch_up, self.chance.choice([500, 3_000, 12_000])))

    def break_the_sink(self) -> None:
        """Have the webhook fail in some way, some times."""
        self.sink.script(*(self.chance.choice(FAILURES) for _ in range(self.chance.randrange(1, 4))))
        self._work(start(catch_up, NEVER))

    def damage_the_reference(self) -> None:
        """Cut the copy of the reference in half, or remove it."""
        copy = self.deployment.monitoring.data / "references" / f"model={MODEL}" / "1.json"
        if copy.exists():
            copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
        self._work(start(catch_up, NEVER))

    def step_the_clock(self) -> None:
        """Set the clock back and on again."""
        right = self.now
        self.set_clock(max(START, right + self.chance.choice([-3, -1]) * HOUR))
        self._work(start(catch_up, NEVER))
        self.set_clock(right)

    def _work(self, *processes: BaseProcess) -> None:
        for process in processes:
            process.join(120)
            assert process.exitcode is not None, "a worker hangs"

    # The story

    def happen(self, steps: int, more: Sequence[Callable[[], None]] = ()) -> None:
        """Let so many things happen: work, then a fault."""
        work: list[Callable[[], None]] = [self.serve, self.serve, self.label]
        faults = [
            *(self.kill, self.kill, self.two_at_once, self.fill_the_disk),
            *(self.break_the_sink, self.damage_the_reference, self.step_the_clock, *more),
        ]
        for _ in range(steps):
            for act in (self.serve, self.chance.choice(work), self.wait, self.chance.choice(faults)):
                self.told.append(getattr(act, "__name__", str(act)))
                act()

    def come_to_rest(self) -> None:
        """Work without faults until nothing is due."""
        self.sink.let_go()
        for _ in range(60):
            self.set_clock(self.now + timedelta(minutes=20))
            catch_up()
            if not self.deployment.monitoring.database.notifications(Posted.PENDING):
                return
        raise AssertionError("messages are still waiting")

    def arrivals(self) -> list[Arrival]:
        """Return what the webhook took, by the id that all attempts at one message share."""
        (channel,) = self._channels()
        keys = [(note.incident_id, note.step_key) for note in self.deployment.monitoring.database.notifications()]
        by_id = {f"msg_{sha256('/'.join(key).encode()).hexdigest()[:32]}": key for key in keys}
        taken = [(posted.headers["Webhook-Id"], json.loads(posted.body)["data"]) for posted in self.sink.taken]
        return [(channel, *by_id.get(name, (data["incident_id"], name))) for name, data in taken]

    def _channels(self) -> Sequence[str]:
        return [self.deployment.monitor.notifications.targets()["webhook"]]

    def prove(self) -> Mapping[str, int]:
        """Prove every invariant; returns how much there was to prove it of."""
        database, registry = self.deployment.monitoring.database, self.deployment.monitoring.registry
        said = telling(database, self.arrivals(), now=self.now, channels=lambda _incident: self._channels())
        last = hour_of(self.now)
        logged = {at: len(ids) for at, ids in self.served.items()}
        logged |= {START + n * HOUR: 0 for n in range(self.number, round((last - START) / HOUR) - 1)}
        retrainings = Retrainings(database.decisions(MODEL), database.episodes(MODEL), registry.versions(MODEL))
        hours = stored_hours(self.deployment.store, MODEL, logged)
        # What looks at labels of earlier hours says what was known when its own hour was computed. So what looks at
        # no label is compared with what the faults left, and all of it with itself, computed in other portions.
        unlabelled, count = self.deployment.files(*UNLABELLED), len(logged)
        self.deployment.compute(0, count - 1)
        settled, again = self.deployment.files(), self.deployment.files(*UNLABELLED)
        for first in range(0, count, 3):
            self.deployment.compute(first, min(first + 2, count - 1))
        try:
            prove(
                everybody_was_told(said),
                nobody_was_told_twice(said),
                retrained_once(retrainings),
                computed_alike(unlabelled, again),
                computed_alike(settled, self.deployment.files()),
                no_hour_is_missing(hours),
            )
        except AssertionError as error:
            error.add_note(f"seed {self.seed}: {', '.join(self.told)}")
            raise
        return {
            "incidents": len(said.incidents),
            "arrivals": len(said.arrivals),
            "decisions": len(retrainings.decisions),
            "hours": len(hours),
            "files": len(settled),
        }
