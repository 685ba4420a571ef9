"""What people are told of a model's versions: a line on every open incident, and incidents of its own.

Add a way of telling here. Keep the rules of telling out: they belong in notify. All of it may be done again: what has
been told is not told twice.
"""

from datetime import datetime, timedelta

from monitoring_pipeline.crash_points import reached
from monitoring_pipeline.notify.actions import LONGEST, Action, ActionKind, IncidentNotFoundError
from monitoring_pipeline.notify.alerts import Status, Step
from monitoring_pipeline.notify.incidents import INFORMATIVE, reported
from monitoring_pipeline.notify.messages import one_line
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.telling import delivery_rules

RUNBOOK = "docs/runbooks/rollback.md"


def note_on_incidents(monitoring: Monitoring, monitor: Monitor, text: str, *, author: str) -> None:
    """Put a line on the timeline of every open incident of the model; nobody is paged for it."""
    said, database = _bounded(text), monitoring.database
    for incident in database.incidents(monitor.registry_name, Status.OPEN):
        if any((event.step, event.why) == (Step.NOTED, said) for event in database.incident_events(incident.id)):
            continue
        action = Action(ActionKind.NOTE, incident.id, author, monitoring.now(), said)
        database.act(action, rules=delivery_rules(monitor))
        reached("incident.after_act")


def open_incident_once(
    monitoring: Monitoring, monitor: Monitor, text: str, *, author: str, at: datetime, severity: str
) -> None:
    """Open an incident about a moment and tell of it as its severity says: `info` is no reason to call anybody."""
    said, database = _bounded(text), monitoring.database
    fields = {"model": monitor.registry_name, "runbook": RUNBOOK, "owner": next(iter(monitor.owners), "")}
    fields |= {"sev": str(INFORMATIVE)} if severity == "info" else {"severity": severity}
    while True:
        action = Action(ActionKind.OPEN, "", author, at, said, fields)
        try:
            known = database.incident(reported(action).incident.id)
        except IncidentNotFoundError:
            database.act(action, rules=delivery_rules(monitor))
            reached("incident.after_act")
            return
        if known.reason == said:
            return
        at += timedelta(seconds=1)  # something else is on record in the very second that names it


def _bounded(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= LONGEST["text"] else line[: LONGEST["text"] - 1] + "…"
