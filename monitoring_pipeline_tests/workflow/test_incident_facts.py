from datetime import timedelta

import pandas as pd
import pytest

from monitoring_pipeline.notify.actions import Action, ActionKind
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.workflow.alerting import apply_rule_outcomes
from monitoring_pipeline.workflow.incident_facts import facts_on_record
from monitoring_pipeline_tests.deployments import MODEL, ROWS, VERSION, Deployment, champion, customers, scored
from monitoring_pipeline_tests.traffic import hour

RULES = DeliveryRules(lambda _severity: ["console"])
BEGAN, MENDED = 4, 8


@pytest.fixture
def served(deployment: Deployment) -> pd.DataFrame:
    """Rows whose usage arrived ten times too large from hour 4 to 8, of which all but every third got a label."""
    rows = customers([hour(number) for number in range(11)])
    broken = (rows["predicted_at"] >= hour(BEGAN)) & (rows["predicted_at"] < hour(MENDED))
    rows.loc[broken, "usage"] *= 10
    deployment.log(rows)
    deployment.label(rows[rows.index % 3 > 0])
    deployment.set_clock(hour(11) + timedelta(minutes=20))
    deployment.compute(0, 10)
    apply_rule_outcomes(deployment.monitoring, deployment.monitor, hour(0), hour(11))
    return scored(rows, champion())


def test_the_facts_of_an_incident_are_those_of_the_rows_that_were_served(
    deployment: Deployment, served: pd.DataFrame
) -> None:
    monitoring = deployment.monitoring
    (incident,) = monitoring.database.incidents(MODEL)
    assert (incident.rule, incident.first_hour) == ("feature_drift", hour(BEGAN))
    facts = facts_on_record(monitoring.database, monitoring.deployment, incident)
    assert facts.end == incident.last_hour + timedelta(hours=1)
    assert facts.rows_served == {VERSION: ROWS * round((facts.end - hour(BEGAN)) / timedelta(hours=1))}

    act = Action(ActionKind.MITIGATE, incident.id, "ana", hour(MENDED) - timedelta(minutes=10), "rolled back")
    facts = facts_on_record(monitoring.database, monitoring.deployment, monitoring.database.act(act, rules=RULES))
    assert facts.end == hour(MENDED), "what is served after the mitigation is not harmed"
    harmed = served[(served["predicted_at"] >= hour(BEGAN)) & (served["predicted_at"] < hour(MENDED))]
    known = harmed[harmed.index % 3 > 0]
    assert facts.rows_served == {VERSION: len(harmed)}
    assert facts.labelled == len(known)
    accuracy = next(score for score in facts.scores if score.metric == "accuracy")
    assert (accuracy.version, accuracy.rows) == (VERSION, len(known))
    assert accuracy.value == pytest.approx((known["prediction"] == known["actual"]).mean())
    assert accuracy.expected is not None
    assert accuracy.expected > accuracy.value
    assert [(alert.rule, alert.incident_id) for alert in facts.alerts] == [("feature_drift", incident.id)]
    assert [line.what for line in facts.timeline if line.what != "updated"] == ["opened", "mitigated"]
    assert set(facts.reasons) == {"feature_drift"}
    assert facts.reasons["feature_drift"].startswith("drift.psi over 4h warning or worse"), (
        "why it began, not why it ended"
    )
    assert (facts.evidence[0]["column"], facts.evidence[0]["hour"]) == ("usage", f"{hour(MENDED - 1):%Y-%m-%d %H:%M}")
    assert facts.evidence[0]["bins"], "of that hour, although an event keeps none"
    assert "covariate drift in 4 of 4 hours" in facts.diagnoses
    assert facts.messages == {("console", "pending"): 1}
    assert facts.retrainings == []


def test_a_report_by_a_person_has_no_alerts_and_the_hours_until_it_was_over(
    deployment: Deployment, served: pd.DataFrame
) -> None:
    database, deployed = deployment.monitoring.database, deployment.monitoring.deployment
    asked = {"model": MODEL, "severity": "warning"}
    opened = database.act(Action(ActionKind.OPEN, "", "ben", hour(1), "scores look wrong", asked), rules=RULES)
    ended = Action(ActionKind.RESOLVE, opened.id, "ben", hour(2) + timedelta(minutes=5), "they do not")
    facts = facts_on_record(database, deployed, database.act(ended, rules=RULES))
    assert facts.alerts == []
    assert facts.end == hour(3)
    assert facts.rows_served == {VERSION: 2 * ROWS}


def test_an_incident_of_services_has_no_rows(deployment: Deployment) -> None:
    asked = {"model": "deployment", "severity": "critical"}
    database = deployment.monitoring.database
    opened = database.act(Action(ActionKind.OPEN, "", "ben", hour(1), "no answer", asked), rules=RULES)
    facts = facts_on_record(database, deployment.monitoring.deployment, opened)
    assert (facts.rows_served, facts.labelled, facts.scores) == ({}, 0, [])
