"""What is on record about an incident and its time, gathered from the stores for a post-mortem.

Add a source of facts here. Keep out how they are written up: that belongs in notify.postmortem.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from math import isfinite

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.evaluate.performance import measures_of
from monitoring_pipeline.judge.drift_types import DriftDiagnosis, DriftType
from monitoring_pipeline.judge.thresholds import HIGHER_IS_BETTER, LOWER_IS_BETTER
from monitoring_pipeline.notify.alerts import Step, summarise
from monitoring_pipeline.notify.incidents import Incident
from monitoring_pipeline.notify.postmortem import Facts, Line, Score
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.stats.change_points import DriftPattern
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.incident_store import IncidentEvent
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.objects import place_at
from monitoring_pipeline.stores.reference_store import ReferenceStore

PLACE = ("metric", "column", "segment", "window")
"""What a verdict is of."""


def facts_on_record(database: StateDatabase, deployment: Deployment, incident: Incident) -> Facts:
    """Return what is known of an incident, of the hours it lasted, and of what was decided meanwhile."""
    data = place_at(deployment.data_address)
    references = ReferenceStore(data, MlflowRegistry(deployment.tracking_uri))
    store, model, start = HourlyStore(data), incident.model, hour_of(incident.first_hour)
    alerts = [each for each in database.alerts(model) if each.incident_id == incident.id]
    end = _end(incident, evaluated=bool(alerts))
    served: Counter[str] = Counter()
    for counts in store.read_served(model, start, end).values():
        served.update(counts)
    outcomes: dict[str, OutcomeProfile] = {}
    for by_version in store.read_outcomes(model, start, end).values():
        for version, found in by_version.items():
            outcomes[version] = outcomes[version].merge(found) if version in outcomes else found
    events = database.incident_events(incident.id)
    return Facts(
        incident=incident,
        timeline=[Line(event.at, event.hour, event.step.value, event.author, event.why) for event in events],
        end=end,
        alerts=alerts,
        reasons={event.author: event.reason for event in reversed(events) if event.step in (Step.OPENED, Step.JOINED)},
        evidence=_evidence(store, incident, events),
        messages=Counter(
            (each.channel, each.status.value) for each in database.notifications() if each.incident_id == incident.id
        ),
        rows_served=served,
        labelled=sum(total.labelled for total in outcomes.values()),
        scores=list(_scores(model, outcomes, references)),
        retrainings=[
            f"decided on at {each.hour:%Y-%m-%d %H:%M}, of version {each.version}: {each.status.value}"
            for each in database.episodes(model)
            if start <= each.hour < incident.last_hour + HOUR
        ],
        diagnoses=list(_diagnoses(store.read_diagnoses(model, start, end))),
    )


def _end(incident: Incident, *, evaluated: bool) -> datetime:
    """Return the end of the last hour that was harmed, as far as is known: a rule may see it for a day longer."""
    known = [
        incident.mitigated_at,
        incident.last_hour + HOUR if evaluated else incident.resolved_at or incident.updated_at,
    ]
    last = min(moment for moment in known if moment is not None) - timedelta(microseconds=1)
    return max(hour_of(incident.first_hour), hour_of(last)) + HOUR


def _evidence(store: HourlyStore, incident: Incident, events: Sequence[IncidentEvent]) -> list[dict[str, object]]:
    """Return each verdict of the timeline in the hour in which it lay furthest beyond its threshold, that one first."""
    shown = [*((event.hour, event.evidence) for event in events), (incident.last_hour, incident.evidence_summary)]
    named = {_place(each): (hour, each) for hour, evidence in reversed(shown) for each in evidence}
    start, end = hour_of(incident.first_hour), hour_of(incident.last_hour) + HOUR
    worst: dict[tuple[object, ...], tuple[float, datetime]] = {}
    for at, table in store.read(
        "verdicts", incident.model, start, end, [*PLACE, "value", "threshold", "level"]
    ).items():
        for row in table.filter(pc.is_in(table["level"], pa.array(["warning", "critical"]))).to_pylist():
            beyond = _beyond(row["value"], row["threshold"])
            if _place(row) in named and beyond > worst.get(_place(row), (0.0, at))[0]:
                worst[_place(row)] = beyond, at
    found = []
    for place, (hour, each) in named.items():
        beyond, hour = worst.get(place, (_beyond(each["value"], each["threshold"]), hour))
        stored = store.read_verdicts(incident.model, hour, hour + HOUR, {str(each["metric"])}).get(hour, [])
        there = [entry for verdict in stored for entry in summarise([verdict]) if _place(entry) == place]
        taken = max(there, key=lambda entry: _beyond(entry["value"], entry["threshold"]), default=each)
        found.append((beyond, taken | {"hour": f"{hour:%Y-%m-%d %H:%M}"}))
    return [entry for _, entry in sorted(found, key=lambda pair: -pair[0])]


def _place(entry: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(entry[name] or "" for name in PLACE)


def _beyond(value: object, threshold: object) -> float:
    if not isinstance(value, int | float) or not isinstance(threshold, int | float):
        return 0.0
    return abs(value - threshold) / (abs(threshold) or 1.0)


def _diagnoses(by_hour: Mapping[datetime, Sequence[DriftDiagnosis]]) -> Iterator[str]:
    """Yield each type of drift that was found, how often, and in which manner most often."""
    manners: dict[DriftType, Counter[DriftPattern]] = defaultdict(Counter)
    for each in (each for found in by_hour.values() for each in found):
        if each.type not in (DriftType.NONE, DriftType.UNKNOWN):
            manners[each.type][each.pattern] += 1
    for kind, counts in manners.items():
        known = [(pattern.value, count) for pattern, count in counts.most_common() if pattern is not DriftPattern.NONE]
        manner = f", {known[0][0]} in {known[0][1]}" if known else ""
        yield f"{kind.value} drift in {counts.total()} of {len(by_hour)} hours{manner}"


def _scores(model: str, outcomes: Mapping[str, OutcomeProfile], references: ReferenceStore) -> Iterator[Score]:
    """Yield the metrics that tell good from bad, of each version that has labels."""
    for version, total in sorted(outcomes.items()):
        reference = references.load(model, version)
        baseline = reference.outcomes if reference is not None else None
        expected = (
            {} if baseline is None else {each.name: each.value for each in measures_of(baseline, {}) if not each.part}
        )
        for each in measures_of(total, {}):
            if each.part or each.name not in HIGHER_IS_BETTER | LOWER_IS_BETTER or not isfinite(each.value):
                continue
            yield Score(
                *(version, each.name, each.value, _known(each.low), _known(each.high)),
                _known(expected.get(each.name)),
                each.rows,
            )


def _known(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
