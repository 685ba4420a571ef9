from datetime import timedelta

from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.replay import KNOWN_AFTER, replay
from monitoring_pipeline_tests.outcomes import hour, outcome, psi, quiet

POLICIES = {
    "feature_drift": AlertPolicy(resolve_after=2, cooldown=timedelta(hours=1)),
    "accuracy": AlertPolicy(resolve_after=2, cooldown=timedelta(hours=1)),
}


def fires(number: int, rule: str = "feature_drift", severity: Level = Level.WARNING) -> RuleOutcome:
    return outcome(number, RuleState.FIRING, rule=rule, severity=severity, evidence=(psi(number, column=rule),))


def test_a_night_of_drift_is_told_twice_and_the_rest_is_counted_as_spared() -> None:
    found = replay([*map(fires, range(2, 10)), quiet(10), quiet(11)], POLICIES)
    assert [(at, step) for at, step, _, _ in found.told] == [
        (hour(2) + KNOWN_AFTER, "opened"),
        (hour(11) + KNOWN_AFTER, "resolved"),
    ]
    drift, accuracy = found.rules
    assert (drift.hours_firing, drift.alerts, drift.messages, drift.pages) == (8, 1, 1, 0)
    assert (drift.first_at, accuracy.first_at) == (hour(2) + KNOWN_AFTER, None)
    assert found.duplicates_avoided == 7
    assert drift.by_week == {"2026-W47": 1}


def test_a_page_is_counted_for_the_rule_that_made_it_grave() -> None:
    found = replay([fires(0), fires(3, "accuracy", Level.CRITICAL), fires(4, "accuracy", Level.CRITICAL)], POLICIES)
    assert [(step, severity) for _, step, severity, _ in found.told] == [
        ("opened", "warning"),
        ("worsened", "critical"),
    ]
    assert {rule.rule: rule.pages for rule in found.rules} == {"feature_drift": 0, "accuracy": 1}
    assert (found.pages, len(found.incidents)) == (1, 1)


def test_a_replay_can_be_read_by_a_program() -> None:
    record = replay([fires(0), quiet(1), quiet(2)], POLICIES).as_record()
    assert (record["from"], record["to"]) == (hour(0).isoformat(), hour(3).isoformat())
    assert record["incidents"] == [
        {
            "id": "churn/feature_drift@2026-11-20T06Z",
            "severity": "warning",
            "rules": ["feature_drift"],
            "since": hour(0).isoformat(),
            "detected": (hour(0) + KNOWN_AFTER).isoformat(),
            "resolved": (hour(2) + KNOWN_AFTER).isoformat(),
            "reopened": 0,
            "worst": "drift.psi feature_drift 0.41 over 24h",
        }
    ]
