"""What is on record about an incident and its time, gathered from the stores for a post-mortem.

Add a source of facts here. Keep out how they are written up: that belongs in notify.postmortem.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from math import isfinite

from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.evaluate.performance import measures_of
from monitoring_pipeline.judge.thresholds import HIGHER_IS_BETTER, LOWER_IS_BETTER
from monitoring_pipeline.notify.incidents import Incident
from monitoring_pipeline.notify.postmortem import Facts, Line, Score
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.reference_store import ReferenceStore


def facts_on_record(database: StateDatabase, deployment: Deployment, incident: Incident) -> Facts:
    """Return what is known of an incident, of the hours it lasted, and of what was decided meanwhile."""
    data = deployment.state_directory / "data"
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
    diagnosed = store.read_diagnoses(model, start, end)
    kinds = Counter(f"{each.type.value} drift ({each.pattern.value})" for found in diagnosed.values() for each in found)
    return Facts(
        incident=incident,
        timeline=[
            Line(event.at, event.hour, event.step.value, event.author, event.why)
            for event in database.incident_events(incident.id)
        ],
        end=end,
        alerts=alerts,
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
        diagnoses=[f"{kind} in {count} of {len(diagnosed)} hours" for kind, count in kinds.most_common()],
    )


def _end(incident: Incident, *, evaluated: bool) -> datetime:
    """Return the end of the last hour that was harmed, as far as is known: a rule may see it for a day longer."""
    known = [
        incident.mitigated_at,
        incident.last_hour + HOUR if evaluated else incident.resolved_at or incident.updated_at,
    ]
    last = min(moment for moment in known if moment is not None)
    return max(hour_of(incident.first_hour), hour_of(last - HOUR / 3600)) + HOUR


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
