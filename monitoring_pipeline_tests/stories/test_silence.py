"""An hour without traffic, or with next to none, is never called well: by no verdict, no rule and no check."""

from collections.abc import Mapping
from datetime import datetime

import pytest

from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.judge.thresholds import HIGHER_IS_BETTER, LOWER_IS_BETTER, TEXTBOOK
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour

JUDGED = {*TEXTBOOK, *(f"performance.{name}" for name in HIGHER_IS_BETTER | LOWER_IS_BETTER)}
RULES = [
    {"name": "drifted", "condition": {"metric": "drift.psi", "window": "1h", "level": "warning"}},
    {"name": "wrong", "condition": {"metric": "performance.accuracy", "window": "1h", "level": "warning"}},
]


def levels(verdicts: Mapping[datetime, list[Verdict]], number: int, window: str) -> set[Level]:
    found = [each for each in verdicts[hour(number)] if each.signal.metric in JUDGED and each.signal.window == window]
    assert found, "an hour without verdicts would be silence of another kind"
    return {each.level for each in found}


@pytest.mark.parametrize("rows", [0, 5])
def test_an_empty_hour_and_a_thin_hour_are_never_ok(deployment: Deployment, rows: int) -> None:
    deployment.watch({"rules": RULES})
    deployment.serve(0, 0)
    if rows:
        deployment.serve(1, 1, rows=rows)
    deployment.set_clock(hour(3))
    result = deployment.process(0, 1)
    assert result.success
    verdicts = deployment.store.read_verdicts(MODEL, hour(0), hour(2))
    assert levels(verdicts, 1, "1h") == {Level.UNKNOWN}
    assert Level.OK in levels(verdicts, 0, "1h"), "the full hour before it is known"
    rules = deployment.store.read_rules(MODEL, hour(0), hour(2))
    assert {(each.rule, each.state) for each in rules[hour(1)]} == {
        ("drifted", RuleState.UNKNOWN),
        ("wrong", RuleState.UNKNOWN),
    }
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert not checks["drift_is_known"]
    assert not checks["model_is_known_to_be_well"]


def test_a_model_nobody_ever_used_is_never_ok(deployment: Deployment) -> None:
    deployment.set_clock(hour(3))
    deployment.process(0, 1)
    for verdicts in deployment.store.read_verdicts(MODEL, hour(0), hour(2)).values():
        assert {each.level for each in verdicts} == {Level.UNKNOWN}
    for outcomes in deployment.store.read_rules(MODEL, hour(0), hour(2)).values():
        assert {each.state for each in outcomes} == {RuleState.UNKNOWN}


def test_silence_neither_opens_nor_resolves_an_incident(deployment: Deployment) -> None:
    deployment.serve(0, 4, shift=15.0)
    deployment.set_clock(hour(12))
    deployment.process(0, 10)
    assert all(run.success for run in deployment.pass_on("churn__verdict_alerts"))
    (incident,) = deployment.monitoring.database.incidents(MODEL)
    assert incident.resolved_at is None
