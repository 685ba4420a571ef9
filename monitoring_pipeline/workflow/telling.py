"""What people are told of incidents and do with them, on the state database of a deployment; no orchestrator needed.

Add here what a command, a webhook and a job have in common. Keep the rules of telling out: they belong in notify.
"""

import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from monitoring_pipeline.evaluate.service_health import DEPLOYMENT
from monitoring_pipeline.notify.actions import Action, ActionKind, IncidentNotFoundError, silence_asked
from monitoring_pipeline.notify.alerts import Status, Step
from monitoring_pipeline.notify.delivery import Channel, DigestChannel
from monitoring_pipeline.notify.escalation import EscalationStep, IncidentFacts, Ladder, Reason, due_step
from monitoring_pipeline.notify.incidents import Incident
from monitoring_pipeline.notify.on_call import Person
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
        if step is None:
            return 0, ()
        usual = channel_names(asked, incident.severity.value)
        # A level with channels that do not hear of it now is left to the next tick, which tells those.
        level = step.level if {targets.get(name, name) for name in step.channels} <= set(usual) else step.level - 1
        # Where a higher level is due at once, whoever is on call has to hear too, unless a pager tells them.
        on_call = [] if ladder.handed_to or ladder.levels[0].after else ladder.levels[0].responders(now)
        return level, _contacts(dict.fromkeys([*on_call, *step.to]))

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


def _contacts(people: Iterable[Person]) -> tuple[str, ...]:
    return tuple(contact for person in people for contact in person.contacts())


def due_now(
    database: StateDatabase, monitor: Monitor, *, now: datetime
) -> tuple[list[tuple[Incident, EscalationStep]], bool]:
    """Return the levels that are to be told, and whether there is an incident nobody has heard of that may be told."""
    ladder, asked = monitor.ladder(), monitor.notifications
    found, waiting = [], False
    silences = database.silences(now=now)
    for incident in database.incidents(monitor.registry_name, Status.OPEN):
        if silencing(silences, incident.labels(), now) is not None:
            continue
        if incident.announced_at is None:
            recent = now - incident.last_hour <= asked.late_after
            waiting |= recent and bool(channel_names(asked, incident.severity.value))
            continue
        since = _asked_since(database, incident, incident.announced_at)
        facts = facts_of(incident, since, breaching=database.is_breaching(incident.id))
        step = due_step(facts, ladder, now, already=incident.escalation_level)
        if step is not None and (told := _with_somebody(ladder, step, now)) is not None:
            found.append((incident, told))
    return found, waiting


def _asked_since(database: StateDatabase, incident: Incident, announced: datetime) -> datetime:
    """Return when people were asked about an incident as grave as it is now; a warning of yesterday asked for less."""
    graver = (Step.WORSENED, Step.TRIAGED)
    return max([announced, *(event.at for event in database.incident_events(incident.id) if event.step in graver)])


def _with_somebody(ladder: Ladder, step: EscalationStep, now: datetime) -> EscalationStep | None:
    """Return the step at the highest of its levels with somebody: one without would only tell the same people again."""
    if step.why is Reason.HANDED_OVER:
        return step
    for number in (step.level, *reversed(step.passed)):
        level = ladder.levels[number - 1]
        if (people := level.responders(now)) or level.channels:
            passed = tuple(each for each in step.passed if each < number)
            return replace(step, level=number, role=level.role, to=people, channels=level.channels, passed=passed)
    return None


def keep_up_with(database: StateDatabase, monitor: Monitor, *, now: datetime) -> list[str]:
    """Tell what is due; returns what was told, in words."""
    rules = delivery_rules(monitor)
    steps, waiting = due_now(database, monitor, now=now)
    told, targets = [], monitor.notifications.targets()
    for incident, step in steps:
        passed = f"; levels passed: {', '.join(map(str, step.passed))}" if step.passed else ""
        why = f"level {step.level}, {step.role}: {step.text}{passed}"
        own = [targets.get(name, name) for name in step.channels]
        channels, to = own or channel_names(monitor.notifications, incident.severity.value), _contacts(step.to)
        if database.escalate(incident.id, step.level, why, channels=channels, to=to, now=now, rules=rules):
            told.append(f"{incident.id}: {why}")
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


def carry_out(
    database: StateDatabase, monitors: Iterable[Monitor], action: Action, *, services: Notifications | None = None
) -> dict[str, object]:
    """Do what a person asks, on record; returns how things stand after it. Raises ActionError.

    `services` is who hears of the health checks.
    """
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
    rules = CONSOLE_ONLY
    if found is not None:
        rules = delivery_rules(found)
    elif model == DEPLOYMENT and services is not None:
        rules = rules_of(services, Ladder())
    if opening:
        if found is None:
            known = ", ".join(sorted(monitor.model for monitor in monitors)) or "none"
            raise IncidentNotFoundError(f"no monitor watches {model!r}: those that exist watch {known}")
        action = replace(action, fields={**action.fields, "model": found.registry_name})
    incident = database.act(action, rules=rules)
    return {
        "incident": incident.id,
        "status": incident.status.value,
        "sev": incident.sev,
        "severity": incident.severity.value,
    }
