from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from monitoring_pipeline.judge.rules import RuleOutcome
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import (
    Alert,
    AlertPolicy,
    Status,
    Step,
    Transition,
    Why,
    json_ready,
    next_alert,
    summarise,
)
from monitoring_pipeline_tests.outcomes import firing, hour, pending, psi, quiet, unknown

POLICY = AlertPolicy(resolve_after=3, cooldown=timedelta(hours=4))


def moved_through(outcomes: Sequence[RuleOutcome], policy: AlertPolicy = POLICY) -> list[Transition]:
    current: Alert | None = None
    transitions = []
    for outcome in outcomes:
        transition = next_alert(current, outcome, now=outcome.hour + timedelta(minutes=70), policy=policy)
        current = transition.alert
        transitions.append(transition)
    return transitions


QUIETENED = [firing(0), quiet(1), quiet(2), quiet(3)]

TABLE: list[tuple[str, list[RuleOutcome], Step, Why]] = [
    ("nothing is open and nothing fires", [quiet(0)], Step.NONE, Why.NOT_FIRING),
    ("a breach that has not lasted opens nothing", [pending(0)], Step.NONE, Why.PENDING_OPENS_NOTHING),
    ("an unknown hour opens nothing", [unknown(0)], Step.NONE, Why.UNKNOWN_KEEPS_STATE),
    ("a firing rule opens", [firing(0)], Step.OPENED, Why.STARTED_FIRING),
    ("the next firing hour is the same incident", [firing(0), firing(1)], Step.UPDATED, Why.STILL_BREACHED),
    ("the same hour again is nothing new", [firing(0), firing(0)], Step.NONE, Why.HOUR_ALREADY_SEEN),
    (
        "a corrected value of the latest hour is taken",
        [firing(0), firing(0, value=0.5)],
        Step.UPDATED,
        Why.STILL_BREACHED,
    ),
    ("an older hour is ignored", [firing(2), firing(1, value=0.9)], Step.NONE, Why.HOUR_ALREADY_SEEN),
    ("an older quiet hour is ignored", [firing(2), quiet(1)], Step.NONE, Why.HOUR_ALREADY_SEEN),
    (
        "warning becomes critical",
        [firing(0), firing(1, severity=Level.CRITICAL)],
        Step.WORSENED,
        Why.SEVERITY_ROSE,
    ),
    (
        "critical stays critical in a milder hour",
        [firing(0, severity=Level.CRITICAL), firing(1)],
        Step.UPDATED,
        Why.STILL_BREACHED,
    ),
    ("two quiet hours are not enough", [firing(0), quiet(1), quiet(2)], Step.NONE, Why.QUIET_NOT_LONG_ENOUGH),
    ("three quiet hours resolve", QUIETENED, Step.RESOLVED, Why.QUIET_LONG_ENOUGH),
    (
        "a quiet hour seen twice counts once",
        [firing(0), quiet(1), quiet(2), quiet(2)],
        Step.NONE,
        Why.HOUR_ALREADY_SEEN,
    ),
    (
        "a firing hour in between starts the count again",
        [firing(0), quiet(1), quiet(2), firing(3), quiet(4)],
        Step.NONE,
        Why.QUIET_NOT_LONG_ENOUGH,
    ),
    (
        "a breach that is only pending in between does so too",
        [firing(0), quiet(1), quiet(2), pending(3), quiet(4)],
        Step.NONE,
        Why.QUIET_NOT_LONG_ENOUGH,
    ),
    (
        "an unknown hour in between neither helps nor harms",
        [firing(0), quiet(1), quiet(2), unknown(3), quiet(4)],
        Step.RESOLVED,
        Why.QUIET_LONG_ENOUGH,
    ),
    (
        "unknown hours alone never resolve",
        [firing(0), *map(unknown, range(1, 50))],
        Step.NONE,
        Why.UNKNOWN_KEEPS_STATE,
    ),
    (
        "an hour that was unknown counts once it is known",
        [firing(0), quiet(1), unknown(2), quiet(2)],
        Step.NONE,
        Why.QUIET_NOT_LONG_ENOUGH,
    ),
    (
        "a firing hour that late labels make quiet counts as quiet",
        [firing(0), quiet(0)],
        Step.NONE,
        Why.QUIET_NOT_LONG_ENOUGH,
    ),
    (
        "a quiet hour that late labels make firing breaks the run",
        [firing(0), quiet(1), firing(1)],
        Step.UPDATED,
        Why.STILL_BREACHED,
    ),
    ("firing inside the cooldown opens nothing", [*QUIETENED, firing(6)], Step.NONE, Why.IN_COOLDOWN),
    ("firing when the cooldown is over opens again", [*QUIETENED, firing(7)], Step.OPENED, Why.STARTED_FIRING),
    (
        "still firing when the cooldown ends opens then",
        [*QUIETENED, *map(firing, range(4, 8))],
        Step.OPENED,
        Why.STARTED_FIRING,
    ),
    ("quiet after the end is quiet", [*QUIETENED, quiet(9)], Step.NONE, Why.NOT_FIRING),
    ("an hour of a resolved incident is not opened again", [*QUIETENED, firing(0)], Step.NONE, Why.HOUR_ALREADY_SEEN),
]


@pytest.mark.parametrize(("outcomes", "step", "why"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_last_outcome_does_what_the_table_says(outcomes: list[RuleOutcome], step: Step, why: Why) -> None:
    last = moved_through(outcomes)[-1]
    assert (last.step, last.why) == (step, why)


def test_a_pending_breach_raises_no_severity() -> None:
    worse = replace(pending(1), severity=Level.CRITICAL)
    last = moved_through([firing(0), worse])[-1]
    assert last.step is Step.UPDATED
    assert last.alert is not None
    assert last.alert.severity is Level.WARNING


def test_a_day_of_firing_tells_people_once_and_its_end_once() -> None:
    steps = [moved.step for moved in moved_through([*map(firing, range(24)), *map(quiet, range(24, 30))])]
    assert [step for step in steps if step.notifies] == [Step.OPENED, Step.RESOLVED]


def test_a_whole_series_repeated_changes_nothing() -> None:
    series = [firing(0), firing(1), quiet(2), unknown(3), quiet(4), quiet(5), firing(6)]
    once = moved_through(series, AlertPolicy(resolve_after=3, cooldown=timedelta(0)))
    end = once[-1].alert
    assert end is not None
    for outcome in series:
        again = next_alert(end, outcome, now=hour(99), policy=POLICY)
        assert (again.step, again.alert) == (Step.NONE, end)


def test_an_incident_remembers_when_it_began_and_how_long_it_took_to_see() -> None:
    resolved = moved_through(QUIETENED)[-1].alert
    assert resolved is not None
    assert resolved.id == "churn/feature_drift@2026-11-20T06Z"
    assert (resolved.first_hour, resolved.last_hour) == (hour(0), hour(3))
    assert resolved.resolved_at == hour(3) + timedelta(minutes=70)
    assert resolved.status is Status.RESOLVED
    assert resolved.evidence_summary == summarise(firing(0).evidence), "the evidence of the last breach stays readable"


def test_evidence_is_ready_for_json_whatever_numbers_it_is_made_of() -> None:
    bins: list[dict[str, object]] = [{"bin": np.str_("a"), "reference": np.float64("nan"), "rows": np.int64(3)}]
    (record,) = summarise([psi(0, bins=bins)])
    assert record["bins"] == [{"bin": "a", "reference": None, "rows": 3}]
    assert record["window"] == "24h"
    assert json_ready((np.arange(2), True, hour(0))) == [[0, 1], True, "2026-11-20 06:00:00+00:00"]


def test_a_policy_that_could_never_resolve_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 quiet evaluation"):
        AlertPolicy(resolve_after=0)
