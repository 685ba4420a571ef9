from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.conditions import All, SignalCondition, WhyNot
from monitoring_pipeline.judge.conditions import Any as AnyOf
from monitoring_pipeline.judge.rules import (
    Rule,
    RuleOutcome,
    RuleState,
    evaluate_rule,
    evaluate_rules,
    lookback_hours,
    never_known,
)
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.verdicts import MORNING, verdict

LEVELS = {"!": Level.WARNING, "X": Level.CRITICAL, ".": Level.OK, "?": Level.UNKNOWN}
VALUES = {"!": 0.3, "-": 0.17, ".": 0.05, "?": None}
DRIFT = SignalCondition("drift.psi", "24h", level=Level.WARNING)
WORSE = SignalCondition("drift.psi", "24h", level=Level.CRITICAL)
STICKY = SignalCondition("drift.psi", "24h", above=0.2, clear=0.8)
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


def measured(hours: str) -> list[tuple[datetime, list[Verdict]]]:
    """Return one hour per letter: ! beyond 0.2, - back but not by much, . far from it, ? unknown."""
    moments = [MORNING + step * HOUR for step in range(len(hours))]
    levels = [Level.UNKNOWN if letter == "?" else Level.OK for letter in hours]
    return [
        (hour, [verdict(level, value=VALUES[letter], hour=hour)])
        for hour, level, letter in zip(moments, levels, hours, strict=True)
    ]


def outcome(hours: str, **more: Any) -> RuleOutcome:
    """Return what a rule of two bands says of the last hour, where X is critical."""
    return evaluate_rule(Rule("drift", DRIFT, critical=WORSE, **more), history(hours), model="churn")


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


@pytest.mark.parametrize(
    ("hours", "for_", "since"),
    [("!", 1, 0), (".!!", 3, 1), (".!!!!!", 3, 1), (".!?!", 2, 1), ("!!.!", 3, 3), ("!!!.", 1, 3), ("!!?", 2, 2)],
)
def test_since_is_the_first_hour_of_the_run_of_breaches(hours: str, for_: int, since: int) -> None:
    found = evaluate_rule(rule(for_), history(hours), model="churn")

    assert found.since == MORNING + since * HOUR


def test_a_run_longer_than_the_lookback_began_as_far_back_as_can_be_seen() -> None:
    found = evaluate_rule(rule(1), history("!" * 40), model="churn")

    assert found.since == found.hour - 23 * HOUR


@pytest.mark.parametrize(
    ("hours", "expected", "since"),
    [
        ("!.!.!", "firing", 0),
        ("!.!..", "quiet", 4),
        ("!!..!", "firing", 0),
        (".!.!", "pending", 1),
        ("!!!.", "firing", 0),
        ("!!!..", "firing", 0),
        ("!!!...", "quiet", 5),
        ("!...!", "pending", 4),
        ("!?!??!", "firing", 0),
        ("!!!?", "unknown", 3),
    ],
)
def test_a_rule_may_ask_for_some_of_the_last_known_evaluations(hours: str, expected: str, since: int) -> None:
    found = evaluate_rule(Rule("drift", DRIFT, for_=3, of=5), history(hours), model="churn")

    assert (found.state, found.since) == (expected, MORNING + since * HOUR)
    assert bool(found.evidence) is (expected in ("firing", "pending"))


@given(HISTORIES, st.integers(1, 4), st.integers(0, 3))
def test_some_of_the_last_known_evaluations_are_counted_within_the_lookback(hours: str, for_: int, more: int) -> None:
    of = for_ + more
    known = [letter for letter in hours[-lookback_hours(for_, of) :] if letter != "?"][-of:]
    found = evaluate_rule(Rule("drift", DRIFT, for_=for_, of=of), history(hours), model="churn")

    assert (found.state is RuleState.FIRING) == (hours[-1] != "?" and known.count("!") >= for_)


def test_a_count_that_never_adds_up_is_refused() -> None:
    with pytest.raises(ValueError, match="3 breaches of 2 evaluations never add up"):
        Rule("drift", DRIFT, for_=3, of=2)


@pytest.mark.parametrize(
    ("hours", "for_", "expected", "why"),
    [
        ("!-", 1, "firing", None),
        ("-", 1, "quiet", "condition_false"),
        ("!.-", 1, "quiet", "condition_false"),
        ("!.", 1, "quiet", "cleared"),
        ("!-----!-", 1, "firing", None),
        ("!-", 2, "quiet", "condition_false"),
        ("!!-", 2, "firing", None),
        ("!!-?", 2, "unknown", "value_unknown"),
        ("!!?-", 2, "firing", None),
        ("!!-.!", 2, "pending", "not_long_enough"),
        ("!" + "-" * 23, 1, "firing", None),
        ("!" + "-" * 24, 1, "quiet", "condition_false"),
    ],
)
def test_what_fired_clears_only_beyond_its_second_limit(hours: str, for_: int, expected: str, why: str | None) -> None:
    found = evaluate_rule(Rule("drift", STICKY, for_=for_), measured(hours), model="churn")

    assert (found.state, found.why) == (expected, why)


def test_what_is_held_says_so_and_shows_what_holds_it() -> None:
    found = evaluate_rule(Rule("drift", STICKY), measured(".!--"), model="churn")

    assert found.reason == "drift.psi over 24h above 0.16: 0.17 (it fired, and clears only beyond this limit)"
    assert [v.signal.value for v in found.evidence] == [0.17]
    assert found.since == MORNING + HOUR


@given(st.text("!-.?", min_size=1, max_size=60), st.integers(1, 3), st.integers(0, 2))
@example("!" + "-" * 30, 1, 0)
@example("!!-?-?--!--------------------------", 2, 1)
def test_an_hour_that_is_held_is_the_same_alone_and_in_a_range(hours: str, for_: int, more: int) -> None:
    past: Mapping[datetime, Sequence[Verdict]] = dict(measured(hours))
    sticky = Rule("drift", AnyOf((STICKY,)), for_=for_, of=for_ + more)

    together = evaluate_rules([sticky], past, list(past), model="churn")

    alone = []
    for hour in past:
        seen = {at: entries for at, entries in past.items() if 0 <= (hour - at) / HOUR < sticky.lookback}
        alone += evaluate_rules([sticky], seen, [hour], model="churn")
    assert together == alone


@given(st.text("!-.?", min_size=1, max_size=24), st.integers(1, 3))
def test_holding_is_what_a_remembered_state_would_do(hours: str, for_: int) -> None:
    firing, run = False, 0
    for letter in hours:
        if letter != "?":
            run = run + 1 if letter == "!" else 0
            firing = run >= for_ or (firing and letter != ".")

    found = evaluate_rule(Rule("drift", STICKY, for_=for_), measured(hours), model="churn")

    assert (found.state is RuleState.FIRING) == (firing and hours[-1] != "?")


@pytest.mark.parametrize(
    ("hours", "expected", "severity", "since"),
    [
        (".!!", "firing", "warning", 1),
        (".XX", "firing", "critical", 1),
        (".!X", "firing", "warning", 1),
        (".!XX", "firing", "critical", 1),
        (".XX!", "firing", "warning", 1),
        (".X", "pending", "critical", 1),
        (".!", "pending", "warning", 1),
        ("XX.", "quiet", "warning", 2),
        ("XX?", "unknown", "warning", 2),
    ],
)
def test_an_outcome_is_as_severe_as_the_band_that_has_held_long_enough(
    hours: str, expected: str, severity: str, since: int
) -> None:
    found = outcome(hours, for_=2)

    assert (found.state, found.severity, found.since) == (expected, severity, MORNING + since * HOUR)


def test_a_critical_band_that_is_not_known_leaves_the_warning_standing() -> None:
    with_performance = All((DRIFT, SignalCondition("performance.f1", "24h", level=Level.WARNING)))
    pages = Rule("drift", DRIFT, critical=with_performance)
    unlabelled = [verdict(Level.WARNING), verdict(Level.UNKNOWN, "performance.f1")]
    declined = [verdict(Level.WARNING), verdict(Level.WARNING, "performance.f1")]

    found = [evaluate_rule(pages, [(MORNING, entries)], model="churn") for entries in (unlabelled, declined)]

    assert [(each.state, each.severity) for each in found] == [("firing", "warning"), ("firing", "critical")]
    assert pages.metrics == {"drift.psi", "performance.f1"}


def test_a_critical_incident_may_follow_sooner_than_a_warning() -> None:
    plain = Rule("drift", DRIFT, cooldown=timedelta(hours=12))
    sooner = Rule("drift", DRIFT, cooldown=timedelta(hours=12), critical_cooldown=timedelta(0))

    assert [each.cooldown_of(Level.CRITICAL) / HOUR for each in (plain, sooner)] == [12, 0]
    assert [each.cooldown_of(Level.WARNING) / HOUR for each in (plain, sooner)] == [12, 12]


@pytest.mark.parametrize(
    ("hours", "why"),
    [
        ("!!", None),
        (".!", WhyNot.NOT_LONG_ENOUGH),
        ("!.", WhyNot.CONDITION_FALSE),
        ("!?", WhyNot.VALUE_UNKNOWN),
        ("!_", WhyNot.NO_SUCH_SIGNAL),
    ],
)
def test_every_hour_that_does_not_fire_says_why(hours: str, why: WhyNot | None) -> None:
    assert outcome(hours, for_=2).why is why


def test_a_rule_that_is_never_known_is_found_and_one_that_once_was_is_not() -> None:
    blind = Rule("blind", SignalCondition("drift.js", "24h", level=Level.WARNING))
    past = dict(history(".???"))
    outcomes = evaluate_rules([rule(1), blind], past, list(past), model="churn")

    assert [(each.rule, each.hour, each.why) for each in never_known(outcomes)] == [
        ("blind", max(past), WhyNot.NO_SUCH_SIGNAL)
    ]
    assert [each.rule for each in never_known(outcomes[2:])] == ["feature_drift", "blind"]


def test_the_owner_and_the_page_of_a_rule_are_those_of_its_outcome() -> None:
    owned = Rule("drift", DRIFT, owner="team:growth", runbook="page.md")

    found = evaluate_rule(owned, history("!"), model="churn")

    assert (found.owner, found.runbook) == ("team:growth", "page.md")
