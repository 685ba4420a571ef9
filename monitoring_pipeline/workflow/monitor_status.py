"""How the monitors of a deployment are, read from its stores; no orchestrator needed.

Add here what is shown of every monitor at once. Keep out what the status is: that is in judge.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.status import Status, status_of
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import Status as IncidentStatus
from monitoring_pipeline.notify.incidents import Incident
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.mlflow_alias import version_of_alias
from monitoring_pipeline.stores.objects import place_at

LOOKBACK = timedelta(days=7)
"""How far back a rule's last word counts; what fires for longer has an incident, which knows when it began."""


COLUMNS = ("rule", "state", "severity", "reason", "since")


@dataclass(frozen=True, slots=True)
class MonitorStatus:
    """One monitor: how it is, its open incidents, and the version its champion is; None where nobody could say."""

    model: str
    status: Status
    incidents: tuple[Incident, ...]
    champion: str | None


def monitor_status(monitor: Monitor, hourly: HourlyStore, incidents: Sequence[Incident], *, now: datetime) -> Status:
    """Return how one monitor is at `now`; `incidents` are those of its model that were open by then."""
    model = monitor.registry_name
    judged = [hour for hour in hourly.hours("rules", model) if hour + HOUR <= now]
    outcomes = _said(hourly, model, judged[-1]) if judged else {}
    informative = monitor.grouping().informative
    status = status_of(outcomes, now=now, incidents=incidents, informative=informative, end=monitor.end)
    if status.last_hour is None and (before := hourly.expired("rules", model)) is not None:
        return replace(status, because=f"what was judged before {before:%Y-%m-%d} has expired, by its `retention`")
    return status


def _said(hourly: HourlyStore, model: str, last: datetime) -> dict[datetime, list[RuleOutcome]]:
    """Return what the rules said up to an hour, without their evidence, which is most of what is stored of them."""
    tables = hourly.read("rules", model, last + HOUR - LOOKBACK, last + HOUR, COLUMNS)
    return {
        hour: [
            RuleOutcome(
                row["rule"],
                model,
                hour,
                RuleState(row["state"]),
                Level(row["severity"]),
                row["reason"],
                since=row.get("since", hour),  # an older file has none
            )
            for row in table.to_pylist()
        ]
        for hour, table in tables.items()
    }


def statuses(monitors: Sequence[Monitor], deployment: Deployment, *, now: datetime) -> Iterator[MonitorStatus]:
    """Yield how every monitor is. A registry that does not answer is asked once."""
    hourly, database = HourlyStore(place_at(deployment.data_address)), StateDatabase(deployment.database_url)
    asking = True
    try:
        for monitor in monitors:
            model, champion = monitor.registry_name, None
            incidents = database.incidents(model, IncidentStatus.OPEN)
            try:
                champion = version_of_alias(deployment.tracking_uri, model, CHAMPION) if asking else None
            except StoreError:
                asking = False
            status = monitor_status(monitor, hourly, incidents, now=now)
            yield MonitorStatus(monitor.model, status, tuple(incidents), champion)
    finally:
        database.close()
