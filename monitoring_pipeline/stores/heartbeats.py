"""Heartbeats as one small file each, and the ping to a service outside that notices when none comes.

Add a place that hears heartbeats here. No database: somebody must still hear when there is none.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.evaluate.heartbeats import DAEMON, Heartbeat, hourly_name
from monitoring_pipeline.stores.files import publish, read_json
from monitoring_pipeline.stores.http import ask

PING_TIMEOUT_S = 5.0

FOLDER = "heartbeats"
"""Where they are below the deployment's state."""


def write_heartbeat(folder: Path, name: str, at: datetime) -> None:
    """Put down that `name` is alive."""
    publish(folder / f"{name}.json", json.dumps({"name": name, "at": at.astimezone(UTC).isoformat()}).encode())


def read_heartbeats(folder: Path, models: Iterable[str]) -> list[Heartbeat]:
    """Return the heartbeats that are due, of the daemon and of `models`, heard or not, and others that are there.

    What a model that is no longer monitored left behind is not among them.
    """
    due = [DAEMON, *map(hourly_name, models)]
    there = [path.stem for path in folder.glob("[!.]*.json") if not path.stem.startswith(hourly_name(""))]
    return [Heartbeat(name, _moment(folder / f"{name}.json")) for name in dict.fromkeys([*due, *sorted(there)])]


def ping(url: str, name: str) -> None:
    """GET the address of a dead man's switch, with {name} replaced; raises StoreError, which does not quote it."""
    try:
        answer = ask(url.replace("{name}", name), timeout_s=PING_TIMEOUT_S)
    except StoreError as error:
        raise StoreError(f"ping of heartbeat {name}: {error}. Look at MONITORING_HEARTBEAT_URL.") from None
    if not answer.ok:
        problem = f"ping of heartbeat {name} was answered {answer.said}, 200 is needed"
        raise StoreError(f"{problem}. Look at MONITORING_HEARTBEAT_URL.")


def _moment(path: Path) -> datetime | None:
    # A file that cannot be read is no sign of life; saying more would only hide that.
    try:
        moment = datetime.fromisoformat(str(read_json(path).get("at")))
    except (StoreError, ValueError):
        return None
    return moment if moment.tzinfo else None
