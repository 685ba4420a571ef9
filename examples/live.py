"""A live demonstration: a service answers requests over HTTP while a Dagster daemon watches over it, as in production.

Every part is a process of its own: the scoring service, the code location with its runs, the daemon with every sensor
on, PostgreSQL with the log. Only the clock is ours: requests are sent at the moments they belong to, and
the service and the pipeline read the time from a file. Nothing is scripted but what a person would do on the way: a
candidate becomes the shadow, and then the challenger of an experiment.

Add a part of the stage or a step of the play here. Keep the account out (live_account.py), and what one model differs
in from another: that is its `World`.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Any

from examples.live_account import account_of, in_words
from examples.servers import free_port, listens, postgres, running, wait_until
from examples.traffic import Ask, Traffic
from monitoring_pipeline.errors import MonitoringError

if TYPE_CHECKING:
    import dagster as dg

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AFTER_THE_HOUR = timedelta(minutes=20)
LOG_URL = "LIVE_LOG_URL"
HEALTH_CHECKS = "every_five_minutes"

STALLED_S = 600
"""How long anything may take before something is taken to be wrong."""

QUIET_TICKS = 3
"""For as many ticks no sensor has asked for a run: nothing is left to do."""

PROBE_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class World:
    """A model, its monitor, and the traffic it meets from `start` to `end`.

    `champion` registers the first version at a tracking URI, its files in a folder; `candidate` another one, and
    returns its number: the shadow from `shadow_from` on, until the monitor's experiment begins. `labels` says what
    becomes known in an hour. The clock waits while the pipeline is more than `behind` behind it.
    """

    monitor: Mapping[str, Any]
    start: datetime
    end: datetime
    shadow_from: datetime
    champion: Callable[[str, Path], object]
    candidate: Callable[[str], str]
    asks: Callable[[datetime, datetime], Sequence[Ask]]
    labels: Callable[[datetime, datetime], Sequence[Mapping[str, Any]]]
    behind: timedelta = DAY


class Stage:
    """Where it happens: a folder, the environment of every process in it, and the processes."""

    def __init__(self, world: World, home: Path, log_url: str | None, *, tick_s: int) -> None:
        from monitoring_pipeline.settings.deployment import Deployment
        from monitoring_pipeline.settings.load import load_monitor

        shutil.rmtree(home, ignore_errors=True)
        self.home, self.name = home.resolve(), str(world.monitor["model"])
        self.clock, self.data = self.home / "clock", self.home / "data"
        for folder in ("monitors", "dagster", "logs"):
            (self.home / folder).mkdir(parents=True)
        log = {"kind": "postgres", "url_env": LOG_URL, "schema": f"live_{time():.0f}"}  # its own, in whatever database
        asked = {**world.monitor, "log": {"kind": "parquet"} if log_url is None else log}
        self.file = self.home / "monitors" / f"{self.name}.yaml"
        self.file.write_text(json.dumps(asked, indent=2, default=str))
        theirs = ("MONITORING_", "MLFLOW_", "DAGSTER_")  # of a deployment that this one must not touch
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(theirs)} | {
            "MONITORING_HOME": str(self.home),
            "MONITORING_MONITORS": str(self.home / "monitors"),
            "MONITORING_CLOCK": str(self.clock),
            "MONITORING_SENSOR_SECONDS": str(tick_s),
            "DAGSTER_HOME": str(self.home / "dagster"),
            "DAGSTER_EVENT_BATCH_SIZE": "1000",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "DO_NOT_TRACK": "true",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path.cwd()),
            "PYTHONWARNINGS": "ignore",
            LOG_URL: log_url or "",
        }
        self.deployment = Deployment.from_environment(self.env, root=self.home)
        self.monitor = load_monitor(self.file)
        self.programs: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, ends: ExitStack, name: str, program: str, *arguments: str | Path) -> None:
        """Start a program that has to run until the end."""
        log = self.home / "logs" / f"{name}.log"
        self.programs[log] = ends.enter_context(running([_installed(program), *arguments], env=self.env, log=log))

    def run(self, *arguments: str | Path) -> None:
        """Run a command of Dagster to its end."""
        log = self.home / "logs" / f"{'-'.join(map(str, arguments[:2]))}.log"
        with running([_installed("dagster"), *arguments], env=self.env, log=log) as process:
            if process.wait(STALLED_S):
                raise MonitoringError(f"dagster {arguments[0]} {arguments[1]}: {log.read_text(errors='replace')}")

    def wait_until(self, what: str, find: Callable[[], Any], *, seconds: float = STALLED_S) -> Any:
        """Return what `find` returns once that is true."""
        return wait_until(what, find, seconds=seconds, programs=self.programs)


def _installed(program: str) -> Path:
    return Path(sysconfig.get_path("scripts")) / program


class Play:
    """What happens on a stage, from the first version to the last run."""

    def __init__(self, world: World, stage: Stage, ends: ExitStack, *, pace_s: float, tick_s: int) -> None:
        from monitoring_pipeline.stores.database import StateDatabase
        from monitoring_pipeline.stores.hourly import HourlyStore
        from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry

        self.world, self.stage, self.ends, self.pace_s, self.tick_s = world, stage, ends, pace_s, tick_s
        self.traffic = Traffic(free_port(), stage.clock)
        self.registry = MlflowRegistry(stage.deployment.tracking_uri)
        self.hourly = HourlyStore(stage.data)
        self.database = StateDatabase(stage.deployment.database_url)
        ends.callback(self.database.close)
        self.workspace = stage.home / "dagster" / "workspace.yaml"
        self.seconds: dict[str, float] = {}
        self.runs: dict[str, int] = {}
        self.candidate = ""

    def run(self) -> None:
        """Play it to its end."""
        span = f"{self.world.start:%d %B} to {self.world.end:%d %B}, {self.pace_s:g} s an hour"
        for act, words, play in (
            ("models", "the first version and a candidate are trained and registered", self._register),
            ("programs", "daemon, sensors and schedules, then the service", self._start),
            ("traffic", f"{span}: requests and labels over HTTP", self._replay),
            ("rest", "what is left to do for the pipeline, and the reports by day", self._settle),
        ):
            print(f"… {words}", file=sys.stderr, flush=True)
            began = monotonic()
            play()
            self.seconds[act] = round(monotonic() - began, 1)

    def _register(self) -> None:
        """Register the models while the code location starts: an instance like production's, its storage in files."""
        from ruamel.yaml import YAML

        from monitoring_pipeline.workflow.rehearsal import LOCATION, MODULE, STORAGE

        self.traffic.set_clock(self.world.start)
        yaml, port = YAML(typ="safe"), free_port()
        settings = yaml.load(Path("dagster.yaml")) | yaml.load(STORAGE.format(home=self.workspace.parent))
        settings.pop("storage")
        (self.workspace.parent / "dagster.yaml").write_text(json.dumps(settings))
        with self._instance():
            pass  # makes the instance's files, which two processes must not make at once
        location = {"host": "127.0.0.1", "port": port, "location_name": LOCATION}
        self.workspace.write_text(json.dumps({"load_from": [{"grpc_server": location}]}))
        serve = ("api", "grpc", "--host", "127.0.0.1", "--port", str(port))
        module = ("--module-name", MODULE, "--location-name", LOCATION)
        self.stage.start(self.ends, "code-location", "dagster", *serve, *module)
        self.world.champion(self.registry.tracking_uri, self.stage.home / "artifacts")
        self.candidate = self.world.candidate(self.registry.tracking_uri)
        # It listens once its definitions are loaded, which may take longer than a small model does.
        self.stage.wait_until("the code location", lambda: listens(port))

    def _start(self) -> None:
        """Switch everything on; the service starts with a reference, of which it takes usual values and ranges."""
        from monitoring_pipeline.stores.reference_store import ReferenceStore

        self._switch_on()
        self.stage.start(self.ends, "daemon", "dagster-daemon", "run", "-w", self.workspace)
        references = ReferenceStore(self.stage.data, self.registry)
        self.stage.wait_until("a reference", lambda: references.any_of(self.stage.name))
        serve = ("serve", "--monitor", self.stage.file, "--port", str(self.traffic.port), "--poll", str(self.tick_s))
        self.stage.start(self.ends, "service", "monitoring-pipeline", *serve)
        self.stage.wait_until("the service", lambda: self.traffic.get("/ready"))

    def _switch_on(self) -> None:
        """Switch on every sensor, as a person does in the UI, and the schedule of the health checks.

        Schedules follow the clock on the wall, by which all hours here are over: that of the hours would have the last
        of them judged before it began. The sensor for missed hours asks for each by the clock it belongs to.
        """
        from dagster._core.workspace.context import WorkspaceProcessContext
        from dagster._core.workspace.load_target import WorkspaceFileTarget

        from monitoring_pipeline.workflow.rehearsal import LOCATION

        target = WorkspaceFileTarget([str(self.workspace)])
        with self._instance() as instance, WorkspaceProcessContext(instance, target) as context:
            location = context.create_request_context().get_code_location(LOCATION)
            (repository,) = location.get_repositories().values()
            for sensor in repository.get_sensors():
                instance.start_sensor(sensor)
            for schedule in repository.get_schedules():
                if schedule.name == HEALTH_CHECKS:
                    instance.start_schedule(schedule)

    def _instance(self) -> "dg.DagsterInstance":
        import dagster as dg

        return dg.DagsterInstance.from_config(str(self.workspace.parent))

    def _replay(self) -> None:
        """Send the requests and labels of every hour, no faster than the pace."""
        hours = round((self.world.end - self.world.start) / HOUR)
        for at in [self.world.start + number * HOUR for number in range(hours)]:
            began = monotonic()
            self._hour(at)
            if at.hour == 23:
                print(f"  {at:%d %B}: {self.traffic.in_words()}", file=sys.stderr, flush=True)
            sleep(max(0.0, self.pace_s - (monotonic() - began)))

    def _hour(self, at: datetime) -> None:
        (experiment,) = self.stage.monitor.experiments.values()
        self.stage.wait_until(f"the pipeline, before {at:%d %B %H:%M}", lambda: self._may_go_on(at))
        if at == self.world.shadow_from:
            self._point("shadow")
        if at == experiment.start:
            self._point("challenger", instead_of="shadow")
        self.traffic.send(self.world.asks(at, at + HOUR))
        self.traffic.set_clock(at + HOUR)
        self.traffic.give_labels(at + HOUR, self.world.labels(at, at + HOUR))

    def _may_go_on(self, at: datetime) -> bool:
        """Return whether the clock may: a retraining takes no hours, and nobody falls days behind by working.

        Callers go on while it stands still, as probes that are answered and not recorded.
        """
        decided = self.database.last_decision(self.stage.name)
        done = decided.hour + HOUR if decided else self.world.start
        if self.database.open_episodes(self.stage.name) or at - done > self.world.behind:
            self.traffic.probe()
            sleep(PROBE_EVERY_S)
            return False
        return True

    def _judged(self) -> datetime:
        """Return the end of the last hour that has been judged."""
        hours = self.hourly.hours("verdicts", self.stage.name)
        return hours[-1] + HOUR if hours else self.world.start

    def _point(self, alias: str, *, instead_of: str = "") -> None:
        """Give an alias to the candidate, as a person does in the registry, and see that the service follows."""
        from mlflow import MlflowClient

        client = MlflowClient(self.registry.tracking_uri, self.registry.tracking_uri)
        if instead_of:
            client.delete_registered_model_alias(self.stage.name, instead_of)
        client.set_registered_model_alias(self.stage.name, alias, self.candidate)
        self.stage.wait_until(f"the {alias}", lambda: alias in self.traffic.get("/model")["aliases"])

    def _settle(self) -> None:
        """Wait for the last runs, have the days of shadow and experiment reported, and switch everything off."""
        from dagster._core.scheduler.instigation import InstigatorStatus

        from monitoring_pipeline.workflow.partitions import RANGE_END, RANGE_START, day_key

        self.traffic.set_clock(self.world.end + AFTER_THE_HOUR)
        self.stage.wait_until("the last hour", lambda: self._judged() == self.world.end)
        with self._instance() as instance:
            self._wait_for_quiet(instance)
            (experiment,) = self.stage.monitor.experiments.values()
            first = self.world.shadow_from.replace(hour=0)
            last = min(experiment.start + experiment.max_days * DAY, self.world.end).replace(hour=0) - DAY
            if first <= last:
                tags = json.dumps({RANGE_START: day_key(first), RANGE_END: day_key(last)})
                job = ("--job", f"{self.stage.name}__daily", "--tags", tags)
                self.stage.run("job", "launch", "-w", self.workspace, *job)
                self._wait_for_quiet(instance)
            for state in instance.all_instigator_state():
                instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))
            self.runs = dict(Counter(f"{run.job_name} {run.status.value.lower()}" for run in instance.get_runs()))

    def _wait_for_quiet(self, instance: Any) -> None:
        """Wait until sensors have not asked for a run for a while."""
        from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES, RunsFilter

        busy = [monotonic()]

        def quiet() -> bool:
            if instance.get_runs_count(RunsFilter(statuses=NOT_FINISHED_STATUSES)):
                busy[0] = monotonic()
            return monotonic() - busy[0] > QUIET_TICKS * self.tick_s

        self.stage.wait_until("the end of the last run", quiet)


def run_live(
    world: World,
    home: Path,
    *,
    log: str = "postgres",
    database: str | None = None,
    pace_s: float = 1.0,
    tick_s: int = 4,
) -> dict[str, Any]:
    """Run it in `home`, which is emptied first, and return the account that `live.json` holds.

    An hour takes `pace_s` seconds at least; sensors tick every `tick_s`.
    """
    began = monotonic()
    with ExitStack() as ends:
        if log == "postgres" and database is None:
            database = ends.enter_context(postgres())
        stage = Stage(world, home, database if log == "postgres" else None, tick_s=tick_s)
        play = Play(world, stage, ends, pace_s=pace_s, tick_s=tick_s)
        play.run()
        account = account_of(play) | {"seconds": {**play.seconds, "all": round(monotonic() - began, 1)}}
    (home / "live.json").write_text(json.dumps(account, indent=2))
    print(in_words(account, home))
    return account


def main(world: World) -> None:
    """Run from the command line; Ctrl-C ends everything that was started."""
    command = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    command.add_argument("--home", type=Path, default=Path(".monitoring/live"), help="folder for everything it makes")
    command.add_argument("--log", choices=("postgres", "parquet"), default="postgres", help="where the log is")
    command.add_argument("--database", help="URL of a PostgreSQL for the log; without it one is started")
    command.add_argument("--pace", type=float, default=1.0, help="seconds an hour takes, at least")
    asked = command.parse_args()

    def end(*_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # what is running is being ended already
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        run_live(world, asked.home, log=asked.log, database=asked.database, pace_s=asked.pace)
    except KeyboardInterrupt:
        sys.exit("ended, with everything that was started")
    except MonitoringError as error:
        sys.exit(str(error))
