from dataclasses import replace
from datetime import timedelta

import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.candidate_causes import CANDIDATES
from monitoring_pipeline.notify.alerts import Status
from monitoring_pipeline.notify.incidents import Incident, Kind
from monitoring_pipeline.workflow.training_rows import WRONG_CAUSES, broken_stretches
from monitoring_pipeline_tests.incidents import opened, resolved
from monitoring_pipeline_tests.outcomes import hour

NOW = hour(48)


def evidence(metric: str) -> tuple[dict[str, object], ...]:
    return ({"metric": metric, "level": "critical", "column": "tenure"},)


def cause(name: str, *, confidence: float = 0.9, since: str | None = None) -> tuple[dict[str, object], ...]:
    return ({"name": name, "kind": "data", "confidence": confidence, "since": since},)


def test_drift_is_no_broken_data_for_it_is_what_retraining_is_for() -> None:
    assert opened().kind is Kind.DATA
    assert broken_stretches([opened(), resolved()], now=NOW) == []


@pytest.mark.parametrize("metric", ["quality.null_rate", "quality.quarantined_rate", "skew.changed_meaning"])
def test_wrong_values_are_broken_data_until_the_incident_is_over(metric: str) -> None:
    (still,) = broken_stretches([replace(opened(), evidence_summary=evidence(metric))], now=NOW)
    assert (still.is_open, still.start, still.end) == (True, hour(0), NOW)
    past = replace(resolved(), evidence_summary=evidence(metric))
    (over,) = broken_stretches([past], now=NOW)
    assert (over.is_open, over.end) == (False, past.last_hour + HOUR)


@pytest.mark.parametrize(
    ("incident", "broken"),
    [
        (replace(opened(), causes=cause("meaning changed, tenure")), True),
        (replace(opened(), causes=cause("covariate drift, tenure"), evidence_summary=evidence("skew.missing")), False),
        (replace(opened(), causes=cause("bad rows: tenure", confidence=0.3)), False),
        (replace(opened(), kind=Kind.MODEL, evidence_summary=evidence("quality.null_rate")), False),
        (replace(opened(), kind=Kind.INTEGRATION, evidence_summary=evidence("schema.missing_columns")), True),
    ],
)
def test_a_likely_cause_weighs_more_than_evidence_and_what_people_say_more_than_both(
    incident: Incident, broken: bool
) -> None:
    assert bool(broken_stretches([incident], now=NOW)) is broken


def test_data_are_broken_from_when_the_cause_began_on_not_from_the_alarm() -> None:
    since = hour(0) - timedelta(hours=20)
    incident = replace(opened(), causes=cause("bad rows, tenure", since=since.isoformat()))
    (stretch,) = broken_stretches([incident], now=NOW)
    assert stretch.start == since


def test_what_a_person_reported_is_over_when_they_resolve_it() -> None:
    said = replace(opened(), rule="reported", evidence_summary=())
    (stretch,) = broken_stretches([replace(said, status=Status.RESOLVED, resolved_at=hour(9))], now=NOW)
    assert (stretch.start, stretch.end) == (hour(0), hour(9))


def test_every_cause_named_here_is_one_that_is_looked_for() -> None:
    assert set(WRONG_CAUSES) <= {each.name for each in CANDIDATES}
