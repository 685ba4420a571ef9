"""The one resource of the pipeline: the stores of a deployment, and its clock.

Add a store or a client here when an asset, job or sensor needs one. Keep work out: it belongs in stages. Secrets are
read from the environment when they are used and are in no run config.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.describe.freshness import Reading
from monitoring_pipeline.evaluate.freshness import read_sources
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.objects import Place, place_at
from monitoring_pipeline.stores.reference_store import ReferenceStore
from monitoring_pipeline.stores.source_clocks import SourceClocks
from monitoring_pipeline.workflow.stages import Stages, stages_at


def wall_clock() -> datetime:
    """Return the moment it is, also where a replay has another one: of what other machines measure."""
    return datetime.now(UTC)  # noqa: TID251 - the one clock of the pipeline


class Monitoring(dg.ConfigurableResource[Any]):
    """Stores, registry, state database and clock of one deployment, found through environment variables.

    `root` is the folder that relative paths start from.
    """

    root: str = "."
    _database: StateDatabase | None = PrivateAttr(default=None)

    @property
    def deployment(self) -> Deployment:
        return Deployment.from_environment(os.environ, root=Path(self.root))  # noqa: TID251 - this is where it is read

    @property
    def registry(self) -> MlflowRegistry:
        return MlflowRegistry(self.deployment.tracking_uri)

    @property
    def references(self) -> ReferenceStore:
        return ReferenceStore(self.kept, self.registry)

    @property
    def data(self) -> Path:
        """Folder of this machine for pages and for what a retraining works on; with all data where that is here."""
        kept = self.kept
        return kept if isinstance(kept, Path) else self.deployment.state_directory / "data"

    @property
    def kept(self) -> Place:
        """Where logs, samples, profiles, signals and verdicts are: a folder, or a prefix in a bucket."""
        return place_at(self.deployment.data_address)

    @property
    def hourly(self) -> HourlyStore:
        return HourlyStore(self.kept)

    @property
    def database(self) -> StateDatabase:
        """The migrated state database; one connection pool per resource."""
        if self._database is None:
            self.deployment.state_directory.mkdir(parents=True, exist_ok=True)
            self._database = StateDatabase(self.deployment.database_url)
            self._database.migrate()
        return self._database

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Give the connections back: every tick and every run has a resource of its own."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def now(self) -> datetime:
        """Return the present, or the moment a replay has reached."""
        clock = self.deployment.clock_file
        if clock is None or not clock.exists():
            return wall_clock()
        return datetime.fromisoformat(clock.read_text().strip()).astimezone(UTC)

    def readings(self, monitor: Monitor) -> dict[datetime, dict[str, Reading]]:
        """Return how old the tables and feature views are, for the hour that ended last: of others nothing is known."""
        now = self.now()
        urls = {name: value for name in monitor.freshness.variables() if (value := self.secret(name)) is not None}
        found = read_sources(monitor.freshness.policy(monitor.lengths).sources, SourceClocks(urls), at=now)
        return {hour_of(now) - HOUR: found} if found else {}

    def stages(self, monitor: Monitor) -> Stages:
        """Return the stages of one monitor on this deployment's stores."""
        return stages_at(monitor, self.deployment, self.secret)

    def secret(self, variable: str) -> str | None:
        """Return the value of an environment variable that holds a secret; None when it is not set."""
        return os.environ.get(variable) or None  # noqa: TID251 - read when it is used, kept nowhere
