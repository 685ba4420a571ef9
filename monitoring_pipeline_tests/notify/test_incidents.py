from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from monitoring_pipeline.errors import ActionError
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.notify.actions import Action, ActionKind
from monitoring_pipeline.notify.alerts import AlertPolicy, Status, Step
from monitoring_pipeline.notify.incidents import (
    GroupingPolicy,
    Incident,
    Kind,
    Known,
    Move,
    Tie,
    act_on,
    advance,
    reported,
    with_causes,
)
from monitoring_pipeline.notify.stages import step_key
from monitoring_pipeline_tests.incidents import opened, resolved
from monitoring_pipeline_tests.outcomes import firing, hour, outcome, psi, quiet

ALERTING = AlertPolicy(resolve_after=2, cooldown=timedelta(hours=2))


def verdict(number: int, metric: str, *, column: str = "", segment: str = "", level: Level = Level.WARNING) -> Verdict:
    drift = psi(number)
    return replace(drift, signal=replace(drift.signal, metric=metric, column=column, segment=segment), level=level)


def fires(number: int, rule: str, *evidence: Verdict, severity: Level = Level.WARNING) -> RuleOutcome:
    return outcome(number, RuleState.FIRING, rule=rule, evidence=evidence, severity=severity)


def rests(number: int, rule: str) -> RuleOutcome:
    return outcome(number, RuleState.QUIET, rule=rule)


def moves(outcomes: Sequence[RuleOutcome], grouping: GroupingPolicy | None = None) -> list[Move]:
    known, found = Known(), []
    for each in outcomes:
        _, move = advance(
            known, each, now=each.hour + timedelta(hours=1), alerting=ALERTING, grouping=grouping or GroupingPolicy()
        )
        if move is not None:
            found.append(move)
    return found


ACCURACY = verdict(0, "performance.accuracy")
NULLS = verdict(0, "quality.null_rate", column="tenure", level=Level.CRITICAL)
SEGMENT = verdict(0, "performance.accuracy", segment="plan=pro")

TIES = [
    ("a missing column and its drift", fires(0, "data_missing", NULLS), fires(60, "drift", psi(60)), Tie.SAME_COLUMNS),
    (
        "two columns of one source",
        fires(0, "data_missing", NULLS),
        fires(60, "drift", psi(60, column="usage")),
        Tie.SAME_SOURCE,
    ),
    (
        "the model and one of its segments",
        fires(0, "performance", ACCURACY),
        fires(60, "segments", SEGMENT),
        Tie.WHOLE_EXPLAINS_PART,
    ),
    (
        "two metrics of the whole model",
        fires(0, "performance", ACCURACY),
        fires(60, "ranking", verdict(60, "performance.roc_auc")),
        Tie.SAME_REPORT,
    ),
    (
        "two things that began on one day",
        fires(0, "performance", ACCURACY),
        fires(20, "drift", psi(20)),
        Tie.SAME_ONSET,
    ),
]


@pytest.mark.parametrize(("first", "second", "tie"), [case[1:] for case in TIES], ids=[case[0] for case in TIES])
def test_what_has_a_common_cause_is_one_incident(first: RuleOutcome, second: RuleOutcome, tie: Tie) -> None:
    opening, joining = moves([first, second], GroupingPolicy(sources={"tenure": "users", "usage": "users"}))
    assert (opening.step, joining.step, joining.why) == (Step.OPENED, Step.JOINED, tie)
    assert joining.incident.id == opening.incident.id
    assert joining.incident.rules == (first.rule, second.rule)


def test_what_began_days_later_elsewhere_is_another_incident() -> None:
    first, second = moves([fires(0, "performance", ACCURACY), fires(60, "drift", psi(60))])
    assert (first.step, second.step) == (Step.OPENED, Step.OPENED)
    assert first.incident.id != second.incident.id


def test_what_is_merely_informative_is_grouped_among_itself() -> None:
    policy = GroupingPolicy(informative={"drift"})
    alarm, word = moves([fires(0, "performance", ACCURACY), fires(1, "drift", psi(1))], policy)
    assert (alarm.step, alarm.incident.sev, word.step, word.incident.sev) == (Step.OPENED, 3, Step.OPENED, 4)
    later = moves([fires(0, "drift", psi(0)), fires(1, "performance", ACCURACY)], policy)
    assert [move.step for move in later] == [Step.OPENED, Step.OPENED], "it hides nothing"


def test_an_incident_ends_when_the_last_of_its_rules_is_quiet() -> None:
    course = moves(
        [
            fires(0, "performance", ACCURACY),
            fires(1, "drift", psi(1)),
            *(rests(number, "performance") for number in (1, 2)),
            *(rests(number, "drift") for number in (2, 3)),
        ]
    )
    assert [move.step for move in course] == [Step.OPENED, Step.JOINED, Step.UPDATED, Step.RESOLVED]
    assert course[2].incident.firing == ("drift",)
    assert course[3].incident.status is Status.RESOLVED


def test_a_graver_rule_that_joins_is_news_and_a_milder_one_is_not() -> None:
    graver = moves([fires(0, "drift", psi(0)), fires(1, "performance", ACCURACY, severity=Level.CRITICAL)])
    milder = moves([fires(0, "performance", ACCURACY, severity=Level.CRITICAL), fires(1, "drift", psi(1))])
    assert [move.step for move in graver] == [Step.OPENED, Step.WORSENED]
    assert [move.step for move in milder] == [Step.OPENED, Step.JOINED]
    assert not milder[1].step.notifies


def test_what_is_critical_again_in_an_incident_that_had_calmed_down_is_news() -> None:
    critical = fires(0, "performance", ACCURACY, severity=Level.CRITICAL)
    course = moves(
        [
            critical,
            fires(1, "drift", psi(1)),
            *(rests(number, "performance") for number in (2, 3)),
            *(fires(number, "drift", psi(number)) for number in range(4, 9)),
            replace(critical, hour=hour(9), since=hour(9)),
            fires(10, "latency", verdict(10, "performance.f1"), severity=Level.CRITICAL),
        ]
    )
    assert course[-2].step is Step.WORSENED, "drift kept the incident open, nobody was at it any more"
    assert course[-1].step is Step.JOINED, "performance is critical beside it"
    assert step_key(course[-2]) == "worsened:critical@2026-11-20T15"


@pytest.mark.parametrize(("hours_later", "step"), [(6, Step.REOPENED), (60, Step.OPENED)])
def test_an_incident_that_comes_back_soon_is_the_same_one(hours_later: int, step: Step) -> None:
    again = moves([firing(0), quiet(1), quiet(2), firing(hours_later)])[-1]
    assert again.step is step
    assert again.incident.status is Status.OPEN
    assert again.incident.times_reopened == (1 if step is Step.REOPENED else 0)


def test_the_same_outcomes_again_move_nothing() -> None:
    outcomes = [fires(0, "performance", ACCURACY), fires(1, "drift", psi(1))]
    assert len(moves([*outcomes, *outcomes])) == 2


SEVERITIES = [
    (fires(0, "drift", psi(0), severity=Level.WARNING), 3, Kind.DATA),
    (fires(0, "data_missing", NULLS, severity=Level.CRITICAL), 2, Kind.DATA),
    (
        fires(0, "errors", verdict(0, "operations.error_rate", level=Level.CRITICAL), severity=Level.CRITICAL),
        1,
        Kind.SYSTEM,
    ),
    (
        fires(0, "accuracy", verdict(0, "performance.accuracy", level=Level.CRITICAL), severity=Level.CRITICAL),
        1,
        Kind.MODEL,
    ),
    (fires(0, "schema", verdict(0, "schema.missing_columns"), severity=Level.CRITICAL), 2, Kind.INTEGRATION),
]


@pytest.mark.parametrize(("found", "sev", "kind"), SEVERITIES, ids=[case[0].rule for case in SEVERITIES])
def test_triage_begins_with_what_the_evidence_is_about(found: RuleOutcome, sev: int, kind: Kind) -> None:
    (move,) = moves([found])
    assert (move.incident.sev, move.incident.kind) == (sev, kind)


@pytest.mark.parametrize(("confidence", "kind"), [(0.9, Kind.SYSTEM), (0.3, Kind.DATA)])
def test_a_likely_cause_says_whose_trouble_it_is(confidence: float, kind: Kind) -> None:
    found = with_causes(opened(), [{"name": "a slow host", "kind": "system", "confidence": confidence}])
    assert found.kind is kind
    assert found.causes[0]["name"] == "a slow host"


def act(done: ActionKind, **fields: str) -> Action:
    return Action(done, opened().id, "ada", hour(5), "looked into it", fields)


def test_people_take_an_incident_on_mitigate_and_end_it() -> None:
    incident: Incident = opened()
    for kind in (ActionKind.ACKNOWLEDGE, ActionKind.MITIGATE, ActionKind.RESOLVE):
        incident = act_on(incident, act(kind)).incident
    assert (incident.acknowledged_by, incident.acknowledged_at, incident.mitigated_at) == ("ada", hour(5), hour(5))
    assert (incident.status, incident.firing, incident.time_to_resolve) == (Status.RESOLVED, (), timedelta(hours=5))
    assert (incident.time_to_detect, incident.time_to_acknowledge) == (timedelta(0), timedelta(hours=5))


def test_what_people_find_out_replaces_what_the_evidence_suggested() -> None:
    move = act_on(opened(), act(ActionKind.TRIAGE, sev="1", kind="integration"))
    assert (move.step, move.incident.sev, move.incident.kind) == (Step.TRIAGED, 1, Kind.INTEGRATION)


@pytest.mark.parametrize("kind", [ActionKind.ACKNOWLEDGE, ActionKind.MITIGATE, ActionKind.RESOLVE])
def test_what_is_over_cannot_be_taken_on(kind: ActionKind) -> None:
    with pytest.raises(ActionError, match=r"feature_drift.* is resolved: .* does not apply"):
        act_on(resolved(), act(kind))


def test_two_people_do_not_both_take_an_incident_on() -> None:
    taken = act_on(opened(), act(ActionKind.ACKNOWLEDGE)).incident
    with pytest.raises(ActionError, match="acknowledged by ada at 2026-11-20 11:00Z"):
        act_on(taken, act(ActionKind.ACKNOWLEDGE))


def test_what_people_report_is_an_incident_like_any_other() -> None:
    said = Action(ActionKind.OPEN, "", "ada", hour(5), "customers complain", {"model": "churn", "severity": "critical"})
    move = reported(said)
    assert (move.step, move.incident.model, move.incident.reason) == (Step.OPENED, "churn", "customers complain")
    assert move.incident.sev == 1
