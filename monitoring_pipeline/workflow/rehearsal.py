"""A rehearsal: the sensors of the code location, driven over past hours on a real Dagster instance.

A clock in a file says what time it is. Each step evaluates the sensors as the sensor daemon does, so ticks, cursors
and run keys are recorded as they always are, and the runs they request execute in this process: a day of hours takes
seconds where a process per run would take minutes. Add ways of driving an instance here. Keep what is being rehearsed
out.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.sensor import _process_tick_generator

LOOP = ("model_registry", "late_labels", "missed_hours", "retraining", "verdict_alerts", "outbox")
"""Sensors in the order in which one causes work for the next, by the ends of their names."""

SHORTEST_INTERVAL_S = 1
"""Sensors of the code location must have this interval; the daemon passes over one that ticked more recently."""

MODULE = "monitoring_pipeline.definitions"
LOCATION = "monitoring_pipeline"

STORAGE = """\
telemetry:
  enabled: false
nux:
  enabled: false
event_log_storage:
  module: monitoring_pipeline.workflow.embedded
  class: BatchedSqliteEventLog
  config:
    base_dir: {home}/events
run_storage:
  module: monitoring_pipeline.workflow.embedded
  class: SqliteRuns
  config:
    base_dir: {home}/runs
schedule_storage:
  module: monitoring_pipeline.workflow.embedded
  class: SqliteTicks
  config:
    base_dir: {home}/schedules
"""
"""The instance that is left behind for the UI."""

IN_PROCESS = """\
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
run_launcher:
  module: dagster._core.launcher.sync_in_memory_run_launcher
  class: SyncInMemoryRunLauncher
"""
"""What a rehearsal adds: runs execute where they are requested, and what they print goes to the terminal."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A loaded code location on an open instance, and the clock its runs read."""

    workspace: WorkspaceProcessContext
    clock_file: Path
    logger: logging.Logger

    @property
    def instance(self) -> dg.DagsterInstance:
        return self.workspace.instance

    def set_clock(self, moment: datetime) -> None:
        """Make it `moment` for everything that asks the monitoring resource."""
        self.clock_file.write_text(moment.isoformat())

    def start_sensors(self) -> list[str]:
        """Switch on every sensor, as a person does in the UI; returns their names."""
        sensors = self._repository().get_sensors()
        for sensor in sensors:
            self.instance.start_sensor(sensor)
        return sorted(sensor.name for sensor in sensors)

    def tick(self, times: int = 1) -> None:
        """Evaluate every running sensor, and execute what it requests before returning.

        Sensors are evaluated in the order of the loop, where the daemon shuffles them, so that a rehearsal always goes
        the same way. What one of them causes for an earlier one needs another of `times`.
        """
        retention = self.instance.get_tick_retention_settings(InstigatorType.SENSOR)
        for _ in range(times):
            time.sleep(SHORTEST_INTERVAL_S)
            for sensor in sorted(self._repository().get_sensors(), key=_place_in_the_loop):
                state = self.instance.get_instigator_state(sensor.get_remote_origin_id(), sensor.selector_id)
                if state is None:
                    continue
                tick = _process_tick_generator(self.workspace, self.logger, sensor, state, None, retention, None)
                for error in tick:
                    if error is not None:
                        raise RuntimeError(f"sensor {sensor.name} failed: {error}")

    def run_counts(self) -> dict[str, int]:
        """Return how many runs the instance has seen, by job and status."""
        runs = self.instance.get_runs()
        return dict(sorted(Counter(f"{run.job_name} {run.status.value.lower()}" for run in runs).items()))

    def tick_count(self) -> int:
        """Return how many sensor ticks the instance has recorded."""
        states = self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        return sum(len(self.instance.get_ticks(state.instigator_origin_id, state.selector_id)) for state in states)

    def _repository(self) -> Any:  # an internal type of Dagster
        location = self.workspace.create_request_context().get_code_location(LOCATION)
        return next(iter(location.get_repositories().values()))


def _place_in_the_loop(sensor: Any) -> tuple[int, str]:
    name = str(sensor.name)
    return next((place for place, part in enumerate(LOOP) if name.endswith(part)), len(LOOP)), name


@contextmanager
def rehearsing(dagster_home: Path, clock_file: Path) -> Iterator[Rehearsal]:
    """Open an instance below `dagster_home` for the length of a rehearsal."""
    dagster_home.mkdir(parents=True, exist_ok=True)
    settings = dagster_home / "dagster.yaml"
    storage = STORAGE.format(home=dagster_home.resolve())
    settings.write_text(storage + IN_PROCESS)
    origin = InProcessCodeLocationOrigin(
        loadable_target_origin=LoadableTargetOrigin(module_name=MODULE), location_name=LOCATION
    )
    logging.disable(logging.WARNING)  # each event would be printed as well as stored
    try:
        with (
            dg.DagsterInstance.from_config(str(dagster_home)) as instance,
            WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget([origin])) as workspace,
        ):
            yield Rehearsal(workspace, clock_file, logging.getLogger("monitoring_pipeline.rehearsal"))
    finally:
        logging.disable(logging.NOTSET)
        settings.write_text(storage)
