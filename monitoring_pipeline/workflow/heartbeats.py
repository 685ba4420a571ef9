"""Signs of life of whatever runs: the daemon's ticks, the hours as they are judged, the health checks.

Add a call of `beat` where something new must not stop unnoticed. A heartbeat never makes what runs fail.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.evaluate.heartbeats import hourly_name
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.heartbeats import FOLDER, ping, write_heartbeat
from monitoring_pipeline.workflow.partitions import last_complete_hour
from monitoring_pipeline.workflow.resources import Monitoring

PING_URL = "MONITORING_HEARTBEAT_URL"
SLOW_RUN = timedelta(minutes=30)
"""How long after the next hour is over a run may still count as one of the newest hour."""


def beat(monitoring: Monitoring, name: str, log: logging.Logger) -> None:
    """Put down that `name` is alive, by the wall clock: a replay's clock stands still when the replay does."""
    try:
        folder = monitoring.deployment.state_directory / FOLDER
        write_heartbeat(folder, name, datetime.now(UTC))  # noqa: TID251 - read by programs outside, on the same clock
    except OSError as error:
        log.warning(f"heartbeat {name} could not be written: {error}. Look at the folder {FOLDER} and its disk.")


def beat_for_hours(monitoring: Monitoring, monitor: Monitor, hours: Sequence[datetime], log: logging.Logger) -> None:
    """Put down, and tell the service outside, that the newest hour of a monitor has been judged.

    Older hours are no sign of life: late labels and backfills go on while new hours are missed.
    """
    if max(hours) < last_complete_hour(monitoring.now() - SLOW_RUN):
        return
    name = hourly_name(monitor.model)
    beat(monitoring, name, log)
    if (url := monitoring.secret(PING_URL)) is not None:
        try:
            ping(url, name)
        except StoreError as error:
            log.warning(str(error))
