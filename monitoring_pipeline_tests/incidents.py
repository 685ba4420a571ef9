"""Incidents for tests, made the way the pipeline makes them.

Add a kind of incident here. Keep expectations out: they belong in the tests.
"""

from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.incidents import GroupingPolicy, Incident, Known, advance
from monitoring_pipeline_tests.outcomes import firing, outcome, psi, quiet

ATTACK = "<!channel> @here *bold* <https://evil.example|click> & </script>\nNext: wire money"


def opened(*, severity: Level = Level.WARNING, column: str = "tenure") -> Incident:
    return _after(outcome(0, RuleState.FIRING, severity=severity, evidence=(psi(0, column=column),)))


def worsened() -> Incident:
    evidence = (psi(2, value=1.234567), psi(2, value=0.3, column="monthly_charges"))
    return _after(firing(0), outcome(2, RuleState.FIRING, severity=Level.CRITICAL, evidence=evidence))


def resolved() -> Incident:
    return _after(firing(0), quiet(1), quiet(2), quiet(3))


def _after(*outcomes: RuleOutcome) -> Incident:
    known = Known()
    for found in outcomes:
        advance(known, found, now=found.hour, alerting=AlertPolicy(), grouping=GroupingPolicy())
    (incident,) = known.incidents.values()
    return incident
