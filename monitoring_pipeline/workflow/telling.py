"""What people are told of incidents and do with them, on the state database of a deployment; no orchestrator needed.

Add here what a command, a webhook and a job have in common. Keep the rules of telling out: they belong in notify.
"""

import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from monitoring_pipeline.notify.actions import Action, ActionKind, IncidentNotFoundError, silence_asked
from monitoring_pipeline.notify.alerts import Status
from monitoring_pipeline.notify.delivery import Channel, DigestChannel
from monitoring_pipeline.notify.escalation import EscalationStep, IncidentFacts, Ladder, due_step
from monitoring_pipeline.notify.incidents import Incident
from monitoring_pipeline.notify.silences import silencing
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.settings.channels import Clock, make_channels
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.settings.sections import Notifications
from monitoring_pipeline.stores.database import StateDatabase

CONSOLE_ONLY = DeliveryRules(lambda _severity: ["console"])
"""What holds for incidents of a model whose monitor is gone."""


def delivery_rules(monitor: Monitor) -> DeliveryRules:
    """Return what holds for all that is told of a monitor."""
    return rules_of(monitor.notifications, monitor.ladder())


def rules_of(asked: Notifications, ladder: Ladder) -> DeliveryRules:
    """Return what holds for all that is told by these channels."""
    targets = asked.targets()

    def first(incident: Incident, now: datetime) -> tuple[int, tuple[str, ...]]:
        step = due_step(facts_of(incident, now), ladder, now, already=0)
        return (0, ()) if step is None else (step.level, _contacts(step))

    return DeliveryRules(
        lambda severity: channel_names(asked, severity),
        late_after=asked.late_after,
        per_hour=asked.per_hour,
        digests=tuple(f"digest:{targets[name]}" for name in targets if name == "email"),
        digest_hour=asked.digest_hour,
        first=first,
    )


def facts_of(incident: Incident, since: datetime, *, breaching: bool = True) -> IncidentFacts:
    """Return what escalation knows of an incident, `since` people were asked."""
    return IncidentFacts(
        incident.sev,
        since,
        incident.last_hour,
        breaching,
        incident.acknowledged_at,
        incident.mitigated_at,
        incident.resolved_at,
        incident.evidence_summary,
    )


def _contacts(step: EscalationStep) -> tuple[str, ...]:
    return tuple(contact for person in step.to for contact in person.contacts())


def due_now(
    database: StateDatabase, monitor: Monitor, *, now: datetime
) -> tuple[list[tuple[Incident, EscalationStep]], bool]:
    """Return the levels that are to be told, and whether there is an incident nobody has heard of that may be told."""
    ladder = monitor.ladder()
    found, waiting = [], False
    silences = database.silences(now=now)
    for incident in database.incidents(monitor.registry_name, Status.OPEN):
        if silencing(silences, incident.labels(), now) is not None:
            continue
        if incident.announced_at is None:
            waiting |= now - incident.last_hour <= monitor.notifications.late_after
            continue
        facts = facts_of(incident, incident.announced_at, breaching=database.is_breaching(incident.id))
        step = due_step(facts, ladder, now, already=incident.escalation_level)
        # A level without people and channels of its own would only tell the same ones again.
        if step is not None and (step.to or step.channels):
            found.append((incident, step))
    return found, waiting


def keep_up_with(database: StateDatabase, monitor: Monitor, *, now: datetime) -> list[str]:
    """Tell what is due; returns what was told, in words."""
    rules = delivery_rules(monitor)
    steps, waiting = due_now(database, monitor, now=now)
    told = []
    targets = monitor.notifications.targets()
    for incident, step in steps:
        names = [targets.get(name, name) for name in step.channels] or channel_names(
            monitor.notifications, incident.severity.value
        )
        if database.escalate(
            incident.id, step.level, step.text, channels=names, to=_contacts(step), now=now, rules=rules
        ):
            told.append(f"{incident.id}: level {step.level}, {step.role}: {step.text}")
    if waiting and (count := database.announce_waiting(monitor.registry_name, now=now, rules=rules)):
        told.append(f"{monitor.model}: {count} incident(s) that had been held back")
    return told


def channel_names(asked: Notifications, severity: str) -> list[str]:
    """Return what the outbox calls the channels that hear of a severity; mail that is not urgent is a digest."""
    targets, routed = asked.targets(), asked.routing().channels_for(severity)
    return [f"digest:{targets[name]}" if (name, severity) == ("email", "info") else targets[name] for name in routed]


def deployment_channels(
    asked: Iterable[Notifications], secret: Callable[[str], str | None], *, clock: Clock
) -> tuple[dict[str, Channel], dict[str, str]]:
    """Return the channels by the names the outbox uses, and what is missing for each that is not there."""
    channels, wanting = make_channels(asked, secret, clock=clock, stream=sys.stdout)
    digests = {f"digest:{name}": channel for name, channel in channels.items() if isinstance(channel, DigestChannel)}
    return channels | digests, wanting


def waiting_for(channels: Iterable[str], wanting: Mapping[str, str]) -> str:
    """Return what is said of mail for channels that are not there."""
    said = (
        f"{name}: {wanting.get(name.removeprefix('digest:'), 'no monitor describes it any more')}" for name in channels
    )
    return f"mail is waiting for {'; '.join(said)}"


def carry_out(database: StateDatabase, monitors: Iterable[Monitor], action: Action) -> dict[str, object]:
    """Do what a person asks, on record; returns how things stand after it. Raises ActionError."""
    if action.kind is ActionKind.SILENCE:
        silence = silence_asked(action, id=uuid.uuid4().hex[:12])
        database.silence(silence)
        return {"silence": silence.id, "matchers": list(silence.as_texts()), "until": silence.ends_at.isoformat()}
    if action.kind is ActionKind.UNSILENCE:
        if not database.end_silence(action.fields["silence"], now=action.at):
            raise IncidentNotFoundError(f"there is no silence {action.fields['silence']!r} that holds")
        return {"silence": action.fields["silence"], "until": action.at.isoformat()}
    opening = action.kind is ActionKind.OPEN
    model = action.fields["model"] if opening else database.incident(action.incident_id).model
    found = next((monitor for monitor in monitors if model in (monitor.registry_name, monitor.model)), None)
    if opening and found is None:
        known = ", ".join(sorted(monitor.model for monitor in monitors)) or "none"
        raise IncidentNotFoundError(f"no monitor watches {model!r}: those that exist watch {known}")
    incident = database.act(action, rules=CONSOLE_ONLY if found is None else delivery_rules(found))
    return {
        "incident": incident.id,
        "status": incident.status.value,
        "sev": incident.sev,
        "severity": incident.severity.value,
    }
