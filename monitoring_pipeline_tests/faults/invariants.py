"""What no fault may break, proved over what the stores and the logs of the sinks say when it is over.

    I1 every open incident older than its limit was taken by each of its channels, or is a dead letter people see
    I2 a channel takes each step of an incident at most once, but for what is on record as possibly sent
    I3 one decision is at most one retraining, and one retraining at most one promotion
    I4 computing an hour again gives the same bytes
    I5 no hour is missing, or says less than was logged: each is ok, alerting, empty or unknown
    I6 no label and no prediction that the scoring service has acknowledged is lost

A function for each returns what contradicts it, in words. Add a contradiction here when a fault finds a way around
these. Keep faults out: they belong in the tests.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.triggers import RetrainDecision
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.notify.alerts import Status, Step
from monitoring_pipeline.notify.incidents import Incident
from monitoring_pipeline.retrain.registry import ModelVersion
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.decision_store import Episode, EpisodeStatus
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.outbox_store import Notification, Posted

KINDS = ("samples", "profiles", "outcomes", "drift", "performance", "quality", "service", "verdicts", "rules")
"""Files that every processed hour has."""

Arrival = tuple[str, str, str]
"""What a channel took, as its own log has it: channel, incident, step."""


@dataclass(frozen=True, slots=True)
class Telling:
    """Incidents, what was to be told of them, and what arrived. `withheld` are those that a person or a rule kept."""

    incidents: Sequence[Incident]
    notifications: Sequence[Notification]
    arrivals: Sequence[Arrival]
    now: datetime
    channels: Callable[[Incident], Sequence[str]]
    withheld: Collection[str] = ()
    limit: timedelta = timedelta(hours=1)


def telling(
    state: StateDatabase, arrivals: Sequence[Arrival], *, now: datetime, channels: Callable[[Incident], Sequence[str]]
) -> Telling:
    """Read what is needed for I1 and I2."""
    incidents = state.incidents()
    withheld = {
        each.id
        for each in incidents
        if any(event.step is Step.WITHHELD for event in state.incident_events(each.id)) and each.announced_at is None
    }
    return Telling(incidents, state.notifications(), arrivals, now, channels, withheld)


def everybody_was_told(found: Telling) -> list[str]:
    """I1."""
    arrived = set(found.arrivals)
    told = {
        (note.channel, note.incident_id)
        for note in found.notifications
        if note.status is Posted.DEAD
        or (note.status is Posted.SENT and (note.channel, note.incident_id, note.step_key) in arrived)
    }
    untold = [
        f"I1: {incident.id} is open since {incident.opened_at:%Y-%m-%d %H:%M}Z, and {channel} does not know"
        for incident in found.incidents
        if incident.status is Status.OPEN
        and found.now - incident.opened_at > found.limit
        and incident.id not in found.withheld
        for channel in found.channels(incident)
        if (channel, incident.id) not in told
    ]
    unsent = [
        f"I1: {note.incident_id} {note.step_key} is said to be sent, and {note.channel} has no such thing"
        for note in found.notifications
        if note.status is Posted.SENT and (note.channel, note.incident_id, note.step_key) not in arrived
    ]
    return untold + unsent


def nobody_was_told_twice(found: Telling) -> list[str]:
    """I2."""
    known = {(note.channel, note.incident_id, note.step_key): note for note in found.notifications}
    wrong = []
    for arrival, times in Counter(found.arrivals).items():
        note, (channel, incident, step) = known.get(arrival), arrival
        if note is None:
            wrong.append(f"I2: {channel} has {incident} {step}, which nobody was to send")
        elif times > 1 and not note.outcome_unknown:
            wrong.append(f"I2: {channel} has {incident} {step} {times} times, and no record says that it may")
    return wrong


@dataclass(frozen=True, slots=True)
class Retrainings:
    """What was decided about a model, what was begun, and what the registry has of it."""

    decisions: Sequence[RetrainDecision]
    episodes: Sequence[Episode]
    versions: Sequence[ModelVersion]


def retrained_once(found: Retrainings) -> list[str]:
    """I3."""
    episodes = {episode.id: episode for episode in found.episodes}
    wrong = [
        f"I3: {decision.episode_id} was decided, and no episode has it"
        for decision in found.decisions
        if decision.fired and decision.episode_id not in episodes
    ]
    unfinished = Counter(episode.model for episode in found.episodes if episode.finished_at is None)
    wrong += [f"I3: {count} retrainings of {model} are open" for model, count in unfinished.items() if count > 1]
    trained = Counter(version.tags.get("retrain_episode", "") for version in found.versions)
    wrong += [f"I3: {count} versions were trained for {name}" for name, count in trained.items() if name and count > 1]
    deployed = {version.version for version in found.versions if "deployed_at" in version.tags}
    promoted = [each for each in found.episodes if each.status is EpisodeStatus.PROMOTED]
    wrong += [
        f"I3: {each.id} promoted version {each.outcome.get('challenger')}, which was never deployed"
        for each in promoted
        if each.outcome.get("challenger") not in deployed
    ]
    by_version = Counter(str(each.outcome.get("challenger")) for each in promoted)
    return wrong + [f"I3: version {name} was promoted {count} times" for name, count in by_version.items() if count > 1]


def computed_alike(before: Mapping[str, bytes], again: Mapping[str, bytes]) -> list[str]:
    """I4, of files by name as they were and as they are after computing them again."""
    names = sorted({*before, *again})
    return [f"I4: {name} is another file when computed again" for name in names if before.get(name) != again.get(name)]


@dataclass(frozen=True, slots=True)
class Hour:
    """What is stored of an hour, and how many predictions the log has of it."""

    logged: int
    described: int
    kinds: Collection[str]
    verdicts: Sequence[Verdict] = ()
    rules: Sequence[RuleOutcome] = ()


def stored_hours(store: HourlyStore, model: str, logged: Mapping[datetime, int]) -> dict[datetime, Hour]:
    """Read what is needed for I5 of the hours that should be there; `logged` counts their distinct predictions."""
    start, end = min(logged), max(logged) + timedelta(hours=1)
    kinds = {kind: set(store.hours(kind, model)) for kind in KINDS}
    served, verdicts = store.read_served(model, start, end), store.read_verdicts(model, start, end)
    rules = store.read_rules(model, start, end)
    return {
        hour: Hour(
            rows,
            sum(served.get(hour, {}).values()),
            [kind for kind in KINDS if hour in kinds[kind]],
            verdicts.get(hour, ()),
            rules.get(hour, ()),
        )
        for hour, rows in logged.items()
    }


def state_of(hour: Hour) -> str:
    """Return what an hour is called."""
    if any(outcome.state is RuleState.FIRING for outcome in hour.rules):
        return "alerting"
    own = [verdict.level for verdict in hour.verdicts if verdict.signal.window == "1h"]
    if any(level.rank > 0 for level in own):
        return "alerting"
    if not hour.described:
        return "empty"
    return "ok" if Level.OK in own else "unknown"


def no_hour_is_missing(hours: Mapping[datetime, Hour]) -> list[str]:
    """I5."""
    wrong = []
    for at, hour in hours.items():
        if missing := set(KINDS) - set(hour.kinds):
            wrong.append(f"I5: {at:%Y-%m-%d %H}h has no {', '.join(sorted(missing))}")
        elif hour.described != hour.logged:
            wrong.append(f"I5: {at:%Y-%m-%d %H}h is {state_of(hour)} with {hour.described} rows, logged: {hour.logged}")
        elif not hour.verdicts and hour.logged:
            wrong.append(f"I5: {at:%Y-%m-%d %H}h was served and never judged")
        elif not hour.logged and any(v.level is Level.OK and v.signal.window == "1h" for v in hour.verdicts):
            wrong.append(f"I5: {at:%Y-%m-%d %H}h has no row, and is called ok")
    return wrong


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the service said it had taken, and what the logs have."""

    predictions: Collection[str]
    logged: Collection[str]
    labels: Collection[str] = ()
    labelled: Collection[str] = field(default_factory=tuple)


def nothing_acknowledged_is_lost(found: Acknowledged) -> list[str]:
    """I6."""
    missing = sorted(set(found.predictions) - set(found.logged))
    unlabelled = sorted(set(found.labels) - set(found.labelled))
    return [
        f"I6: the {what} of {name} was acknowledged and is not in the log"
        for what, names in (("prediction", missing), ("label", unlabelled))
        for name in names
    ]


def prove(*contradictions: Iterable[str]) -> None:
    """Fail with everything that contradicts an invariant."""
    found = [said for each in contradictions for said in each]
    assert not found, "\n".join(found)
