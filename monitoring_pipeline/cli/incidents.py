"""Commands that look at incidents: those that are open, one of them, silences, and messages on their way.

Add a command here when a person on call wants to see something. Keep what they do out: that is in incident_actions.
"""

import logging
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from monitoring_pipeline.cli.base import (
    Answer,
    Format,
    command,
    database_here,
    deployment_here,
    monitor_named,
    now_here,
    print_json,
    print_records,
    print_table,
)
from monitoring_pipeline.errors import MonitoringError

if TYPE_CHECKING:
    from monitoring_pipeline.notify.incidents import Incident
    from monitoring_pipeline.stores.database import StateDatabase

Identity = Annotated[str, typer.Argument(help="The incident, as `incidents` shows it; its beginning is enough.")]


@command
def incidents(
    model: Annotated[str | None, typer.Option(help="Only those of one model.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """List the incidents that are open, the gravest first."""
    from monitoring_pipeline.evaluate.service_health import DEPLOYMENT
    from monitoring_pipeline.notify.alerts import Status
    from monitoring_pipeline.notify.replay import worst_of

    with database_here() as database:
        status = None if every else Status.OPEN
        found = database.incidents(model, status)
        if model is not None and not found and model != DEPLOYMENT:
            found = database.incidents(monitor_named(model).registry_name, status)
    found.sort(key=lambda each: (each.status is Status.RESOLVED, each.sev, each.first_hour))
    if format_ is Format.JSON:
        print_json([_record(each) for each in found])
    elif not found:
        typer.echo("no incidents" if every else "no open incidents")
    else:
        print_table(
            ("incident", "sev", "kind", "since", "status", "taken on by", "rules", "worst at last"),
            [
                (
                    *(each.id, f"SEV-{each.sev}", each.kind.value, f"{each.first_hour:%m-%d %H:%M}Z"),
                    *(
                        each.status.value,
                        each.acknowledged_by or "nobody",
                        ", ".join(each.rules),
                        worst_of(each) or each.reason,
                    ),
                )
                for each in found
            ],
        )
        for sev, count in sorted(_late(found).items()):
            typer.echo(f"SEV-{sev}: {count} not taken on in time", err=True)


def _late(found: "Sequence[Incident]") -> Mapping[int, int]:
    """Return how many of those that people were told of were not taken on in time, by SEV."""
    from monitoring_pipeline.notify.escalation import RESPONSE_TARGETS, late_responses
    from monitoring_pipeline.workflow.telling import facts_of

    told = (facts_of(each, each.announced_at) for each in found if each.announced_at is not None)
    return late_responses(told, RESPONSE_TARGETS, now_here())


@command
def incident(identity: Identity, format_: Answer = Format.TABLE) -> None:
    """Show one incident: what is bad, the likely causes, and all that happened since."""
    from monitoring_pipeline.notify.alerts import Step
    from monitoring_pipeline.notify.messages import message_of

    with database_here() as database:
        found = incident_named(database, identity)
        events = database.incident_events(found.id)
    if format_ is Format.JSON:
        print_json(_record(found) | {"timeline": list(map(asdict, events))})
        return
    typer.echo(message_of(found, Step.RESOLVED if found.resolved_at else Step.OPENED).text())
    spans = {
        "seen": found.time_to_detect,
        "taken on": found.time_to_acknowledge,
        "mitigated": found.time_to_mitigate if found.mitigated_at else None,
        "resolved": found.time_to_resolve,
    }
    told = (f"{name} after {str(span).partition('.')[0]}" for name, span in spans.items() if span is not None)
    typer.echo(f"{', '.join(told)}\n")
    lines = [
        (f"{event.at:%Y-%m-%d %H:%M}Z", f"{event.hour:%m-%d %H:%M}Z", event.step.value, event.author, event.why)
        for event in events
        if event.step is not Step.UPDATED
    ]
    print_table(("on record", "hour", "what", "by", "why"), lines)


@command
def silences(format_: Answer = Format.TABLE) -> None:
    """List the silences that hold."""
    with database_here() as database:
        found = database.silences(now=now_here())
    rows = [
        (each.id, ", ".join(each.as_texts()), f"{each.ends_at:%Y-%m-%d %H:%M}Z", each.author, each.comment)
        for each in found
    ]
    print_records(format_, ("silence", "matches", "until", "by", "why"), rows, "no silences")


@command
def outbox(
    revive: Annotated[bool, typer.Option("--revive", help="Send what was given up on its way again.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Those that were sent, too.")] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """List the messages that wait or were given up."""
    from monitoring_pipeline.stores.outbox_store import Posted

    with database_here() as database:
        revived = database.revive_dead(now=now_here()) if revive else None
        found = [
            each for each in database.notifications() if every or each.status not in (Posted.SENT, Posted.OVERTAKEN)
        ]
    if revived is not None:
        typer.echo(f"{revived} message(s) are on their way again", err=format_ is Format.JSON)
    heads = ("channel", "status", "attempts", "sent or next", "message", "last error")
    rows = [
        (
            *(each.channel, each.status.value, str(each.attempts)),
            f"{each.sent_at or each.next_attempt_at:%Y-%m-%d %H:%M}Z",
            *(each.message.title, each.last_error or ""),
        )
        for each in found
    ]
    nothing = "nobody was told of anything" if every else "nothing waits, nothing was given up"
    print_records(format_, heads, rows, nothing)


@command
def deliver(
    every: Annotated[float | None, typer.Option(min=1, help="Look again after so many seconds, until stopped.")] = None,
) -> None:
    """Send what waits in the outbox, and tell the next level of incidents that nobody has taken on.

    As many of these may run at once as you like, beside Dagster's own job: each message belongs to one of them.
    """
    from monitoring_pipeline.evaluate.heartbeats import DISPATCHER
    from monitoring_pipeline.publish.comparison_table import printable
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.workflow.alerting import deliver_waiting, keep_up_with_all
    from monitoring_pipeline.workflow.heartbeats import beat
    from monitoring_pipeline.workflow.resources import Monitoring

    stop, said = threading.Event(), list[str]()
    if every is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
    monitors = {each.model: each for each in load_monitors(deployment_here().monitors_directory)}
    monitoring, worker = Monitoring(), f"deliver {uuid4()}"
    while not stop.is_set():
        for text in keep_up_with_all(monitoring, monitors):
            typer.echo(printable(text))
        counts, warnings = deliver_waiting(monitoring, monitors, worker=worker)
        if every is None or any(counts.values()):
            typer.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
        for warning in set(warnings).difference(said):  # once, not at every look
            typer.echo(printable(warning), err=True)
        said = warnings
        if every is None:
            return
        beat(monitoring, DISPATCHER, logging.getLogger(__name__))
        stop.wait(every)


def incident_named(database: "StateDatabase", beginning: str) -> "Incident":
    """Return the incident whose id begins so, as it is or is shown; of several one that is open, or an error."""
    from monitoring_pipeline.notify.actions import IncidentNotFoundError
    from monitoring_pipeline.notify.alerts import Status
    from monitoring_pipeline.notify.messages import one_line
    from monitoring_pipeline.publish.comparison_table import printable

    if not beginning:
        raise MonitoringError("the incident has no name: `monitoring-pipeline incidents` lists them")
    known = [(each, (each.id, one_line(each.id), printable(each.id))) for each in database.incidents()]
    found = [each for each, names in known if any(name.startswith(beginning) for name in names)]
    exact = [each for each, names in known if beginning in names]
    standing = [each for each in found if each.status is Status.OPEN]
    for choice in (exact, found, standing):
        if len(choice) == 1:
            return choice[0]
    if not found:
        raise IncidentNotFoundError(
            f"there is no incident {beginning!r}: `monitoring-pipeline incidents --all` lists them"
        )
    several = ", ".join(each.id for each in (standing or found)[:5])
    raise MonitoringError(f"{beginning!r} could be any of {several}: write more of it")


def _record(found: "Incident") -> dict[str, Any]:
    spans = ("time_to_detect", "time_to_acknowledge", "time_to_mitigate", "time_to_resolve")
    lengths = {name: span.total_seconds() if (span := getattr(found, name)) is not None else None for name in spans}
    return asdict(found) | {f"{name}_s": value for name, value in lengths.items()}
