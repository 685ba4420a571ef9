from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.conditions import SignalCondition
from monitoring_pipeline.judge.rules import Rule, RuleState, evaluate_rule, evaluate_rules, lookback_hours
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.verdicts import MORNING, verdict

LEVELS = {"!": Level.WARNING, ".": Level.OK, "?": Level.UNKNOWN}
DRIFT = SignalCondition("drift.psi", "24h", level=Level.WARNING)
HISTORIES = st.text("!.?", min_size=1, max_size=60)


def rule(for_: int, name: str = "feature_drift") -> Rule:
    return Rule(name, DRIFT, for_=for_, severity=Level.WARNING, runbook="docs/runbooks/feature-drift.md")


def history(hours: str) -> list[tuple[datetime, list[Verdict]]]:
    """Return one hour per letter: ! breached, . fine, ? unknown, _ not evaluated at all."""
    moments = [MORNING + step * HOUR for step in range(len(hours))]
    return [
        (hour, [] if letter == "_" else [verdict(LEVELS[letter], hour=hour)])
        for hour, letter in zip(moments, hours, strict=True)
    ]


def state(hours: str, for_: int) -> RuleState:
    return evaluate_rule(rule(for_), history(hours), model="churn").state


@pytest.mark.parametrize(
    ("hours", "for_", "expected"),
    [
        ("!", 1, "firing"),
        ("!", 2, "pending"),
        (".!!!", 3, "firing"),
        (".!!", 3, "pending"),
        ("!!.!", 3, "pending"),
        ("!!!.", 3, "quiet"),
        ("!!!?", 3, "unknown"),
        ("!!!_", 3, "unknown"),
        ("!?!?!", 3, "firing"),
        ("!_____!", 2, "firing"),
        (".?!", 2, "pending"),
        ("!.?!", 2, "pending"),
    ],
)
def test_a_rule_fires_after_n_known_breaches_in_a_row(hours: str, for_: int, expected: str) -> None:
    assert state(hours, for_) == expected


@given(HISTORIES, st.integers(1, 8))
@example("!" + "?" * 22 + "!", 2)
@example("!" + "?" * 23 + "!", 2)
def test_the_state_is_that_of_the_known_hours_within_the_lookback(hours: str, for_: int) -> None:
    known = [letter for letter in hours[-lookback_hours(for_) :] if letter != "?"]

    if hours[-1] == "?":
        expected = RuleState.UNKNOWN
    elif hours[-1] == ".":
        expected = RuleState.QUIET
    elif known[-for_:] == ["!"] * for_:
        expected = RuleState.FIRING
    else:
        expected = RuleState.PENDING
    assert state(hours, for_) is expected


@given(HISTORIES, st.integers(1, 5), st.integers(0, 10))
def test_an_unknown_gap_inside_the_lookback_changes_nothing(hours: str, for_: int, gap: int) -> None:
    hours = hours[: 14 - gap] + "!"

    assert state(hours[:-1] + "?" * gap + "!", for_) is state(hours, for_)


@given(HISTORIES, st.integers(1, 5))
def test_a_rule_fires_no_more_easily_when_it_asks_for_longer(hours: str, for_: int) -> None:
    if state(hours, for_ + 1) is RuleState.FIRING and lookback_hours(for_ + 1) == lookback_hours(for_):
        assert state(hours, for_) is RuleState.FIRING


@given(HISTORIES)
def test_evaluating_a_range_gives_what_evaluating_each_hour_does(hours: str) -> None:
    past: Mapping[datetime, Sequence[Verdict]] = dict(history(hours))
    rules = [rule(1, "at_once"), rule(3, "in_time")]

    together = evaluate_rules(rules, past, list(past), model="churn")

    one_by_one = [
        evaluate_rule(each, [entry for entry in past.items() if entry[0] <= hour], model="churn")
        for hour in past
        for each in rules
    ]
    assert together == one_by_one


def test_an_empty_hour_neither_raises_nor_clears() -> None:
    assert state("_", 1) is RuleState.UNKNOWN


def test_the_outcome_names_what_made_it_worst_first() -> None:
    verdicts = [
        verdict(Level.WARNING, column="a", value=0.12),
        verdict(Level.CRITICAL, column="b", value=0.3),
        verdict(Level.OK, column="c"),
        verdict(Level.CRITICAL, column="d", value=0.9),
    ]

    outcome = evaluate_rule(rule(2), [(MORNING, verdicts)], model="churn")

    assert [v.signal.column for v in outcome.evidence] == ["d", "b", "a"]
    assert outcome.fingerprint == "churn/feature_drift"
    assert (outcome.hour, outcome.severity) == (MORNING, Level.WARNING)
    assert outcome.runbook == "docs/runbooks/feature-drift.md"
    assert outcome.reason == (
        "drift.psi over 24h warning or worse: 3 of 4 columns, 1 needed; d: 0.9 "
        "(1 of the 2 evaluations in a row it takes)"
    )


def test_a_metric_that_fell_is_worse_the_further_it_fell() -> None:
    condition = SignalCondition("performance.*", "24h", level=Level.WARNING)
    fallen = [
        verdict(Level.WARNING, "performance.*", column=name, value=value, threshold=0.7)
        for name, value in (("slightly", 0.69), ("far", 0.3))
    ]

    outcome = evaluate_rule(Rule("drop", condition), [(MORNING, fallen)], model="churn")

    assert [v.signal.column for v in outcome.evidence] == ["far", "slightly"]
