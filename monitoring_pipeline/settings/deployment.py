"""Where one deployment keeps things, taken from environment variables.

Add a place or an interval here, with its variable and default. Keep what belongs to one model out: that is its YAML.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from monitoring_pipeline.errors import Problem, SettingsError, without_password


@dataclass(frozen=True, slots=True, repr=False)
class Deployment:
    """The places of one deployment.

    `clock_file`, if any, holds the time a replay has reached, in ISO format. `data` is where logs and what is made of
    them are, a folder or `s3://bucket/prefix`; empty, they are with the rest of the state.
    """

    state_directory: Path
    monitors_directory: Path
    tracking_uri: str
    database_url: str
    clock_file: Path | None = None
    sensor_seconds: int = 30
    data: str = ""

    @classmethod
    def from_environment(cls, env: Mapping[str, str], *, root: Path) -> "Deployment":
        """Return the deployment that `env` describes; relative paths start at `root`, an empty variable is unset.

        MONITORING_HOME (.monitoring), MONITORING_MONITORS (monitors), MONITORING_DATABASE_URL and MLFLOW_TRACKING_URI
        (SQLite files in the home), MONITORING_CLOCK (none), MONITORING_SENSOR_SECONDS (30), MONITORING_DATA (`data` in
        the home).
        """
        data = env.get("MONITORING_DATA") or ""
        home = root / (env.get("MONITORING_HOME") or ".monitoring")
        clock = env.get("MONITORING_CLOCK")
        return cls(
            state_directory=home,
            monitors_directory=root / (env.get("MONITORING_MONITORS") or "monitors"),
            tracking_uri=env.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}",
            database_url=env.get("MONITORING_DATABASE_URL") or f"sqlite:///{home / 'monitoring.db'}",
            clock_file=root / clock if clock else None,
            sensor_seconds=_seconds(env.get("MONITORING_SENSOR_SECONDS") or "30"),
            data=str(root / data) if data and "://" not in data else data,
        )

    @property
    def data_address(self) -> str:
        return self.data or str(self.state_directory / "data")

    @property
    def spools(self) -> Path:
        """Where scoring services keep rows until their log has taken them."""
        return self.state_directory / "serving" / "spool"

    def __repr__(self) -> str:
        shown = (f"{entry.name}={without_password(str(getattr(self, entry.name)))!r}" for entry in fields(self))
        return f"Deployment({', '.join(shown)})"


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        fix = "Write a whole number of seconds, such as 30."
        where = "MONITORING_SENSOR_SECONDS"
        raise SettingsError([Problem("environment", None, where, f"{text!r} cannot be used.", fix)])
    return int(text)
