import math
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.judge.condition_outcomes import Truth, count_true, evaluate
from monitoring_pipeline.judge.conditions import All, AtLeast, Condition, Not, SignalCondition, WhyNot, holding
from monitoring_pipeline.judge.conditions import Any as AnyOf
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.verdicts import signal, verdict

T, F, U = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN
LEVELS = {T: Level.WARNING, F: Level.OK, U: Level.UNKNOWN}


def drift(**more: Any) -> SignalCondition:
    return SignalCondition("drift.psi", "24h", **({"level": Level.WARNING} | more))


def hour_with(**truths: Truth) -> list[Verdict]:
    """Return verdicts on columns that meet `level: warning` as told."""
    return [verdict(LEVELS[truth], column=name) for name, truth in truths.items()]


def named(name: str) -> Condition:
    return drift(column=name)


@pytest.mark.parametrize(
    ("left", "right", "both", "either"),
    [
        (T, T, T, T),
        (T, F, F, T),
        (T, U, U, T),
        (F, T, F, T),
        (F, F, F, F),
        (F, U, F, U),
        (U, T, U, T),
        (U, F, F, U),
        (U, U, U, U),
    ],
)
def test_all_and_any_follow_kleenes_tables(left: Truth, right: Truth, both: Truth, either: Truth) -> None:
    verdicts, parts = hour_with(a=left, b=right), (named("a"), named("b"))

    assert evaluate(All(parts), verdicts).state is both
    assert evaluate(AnyOf(parts), verdicts).state is either


@pytest.mark.parametrize(("inner", "outer"), [(T, F), (F, T), (U, U)])
def test_not_keeps_the_unknown_unknown(inner: Truth, outer: Truth) -> None:
    assert evaluate(Not(named("a")), hour_with(a=inner)).state is outer
    excused = evaluate(Not(named("a"), or_unknown=True), hour_with(a=inner)).state
    assert excused is (Truth.TRUE if outer is Truth.UNKNOWN else outer), "what is not known is no excuse"
    once, twice = (evaluate(each, hour_with(a=inner)).reason for each in (named("a"), Not(Not(named("a")))))
    assert twice == once, "nobody wants to read that something is not not so"


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("truths", list(product((T, F, U), repeat=3)))
def test_at_least_k_is_known_exactly_when_the_unknown_parts_cannot_change_it(
    truths: tuple[Truth, Truth, Truth], k: int
) -> None:
    possible = product(*([T, F] if truth is U else [truth] for truth in truths))
    answers = {sum(truth is T for truth in case) >= k for case in possible}
    expected = U if len(answers) == 2 else T if answers == {True} else F

    found = evaluate(AtLeast(k, (named("a"), named("b"), named("c"))), hour_with(a=truths[0], b=truths[1], c=truths[2]))

    assert found.state is expected


@given(st.lists(st.sampled_from([T, F, U])), st.integers(1, 6))
def test_counting_is_true_for_all_and_any_at_the_two_ends(truths: list[Truth], k: int) -> None:
    assert (count_true(truths, at_least=k) is T) == (truths.count(T) >= k)
    assert (count_true(truths, at_least=k) is F) == (len(truths) - truths.count(F) < k)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"columns_at_least": 2}, T),
        ({"columns_at_least": 3}, U),
        ({"columns_at_least": 4}, F),
        ({"columns_share_at_least": 0.5}, T),
        ({"columns_share_at_least": 0.75}, U),
        ({"columns_share_at_least": 0.76}, F),
        ({"columns_share_at_least": 0.25, "columns_at_least": 3}, U),
    ],
)
def test_columns_are_counted_and_an_unknown_one_may_still_decide(more: dict[str, Any], found: Truth) -> None:
    verdicts = hour_with(a=T, b=T, c=F, d=U)

    assert evaluate(drift(**more), verdicts).state is found


def test_a_share_of_columns_is_not_pushed_over_by_rounding() -> None:
    verdicts = hour_with(**{f"c{n}": T if n < 3 else F for n in range(15)})

    assert evaluate(drift(columns_share_at_least=0.2), verdicts).state is T


def test_no_matching_signal_is_unknown_however_healthy_the_others_are() -> None:
    verdicts = [*hour_with(a=F), verdict(Level.OK, column="b", window="7d"), verdict(Level.OK, "drift.ks", column="b")]

    found = evaluate(named("b"), verdicts)

    assert found.state is U
    assert found.reason == "drift.psi over 24h warning or worse: no such signal in this hour"


def test_columns_are_chosen_by_one_pattern_or_several() -> None:
    verdicts = hour_with(temp=T, dewp=F, temperature=T)

    assert [v.signal.column for v in evaluate(drift(column="temp*"), verdicts).evidence] == ["temp", "temperature"]
    assert [v.signal.column for v in evaluate(drift(column=("temp", "dewp")), verdicts).evidence] == ["temp"]


def test_segments_do_not_stand_in_for_the_whole() -> None:
    assert evaluate(drift(), [verdict(Level.CRITICAL, segment="JFK")]).state is U


def test_segments_are_chosen_by_a_pattern_and_named_with_their_column() -> None:
    verdicts = [
        verdict(Level.OK, column="tenure"),
        verdict(Level.OK, column="tenure", segment="plan=basic"),
        verdict(Level.WARNING, column="tenure", segment="plan=pro"),
        verdict(Level.UNKNOWN, column="tenure", segment="plan=(other)"),
        verdict(Level.CRITICAL, column="tenure", segment="region=EU"),
    ]

    found = evaluate(drift(segment="plan=*"), verdicts)

    assert (found.state, found.evidence) == (T, (verdicts[2],))
    assert found.reason.endswith("1 of 3 columns, 1 unknown, 1 needed; tenure in plan=pro: 0.2")
    assert evaluate(drift(segment="plan=basic"), verdicts).state is F
    assert evaluate(drift(segment="plan=(other)"), verdicts).state is U
    assert evaluate(drift(segment="*"), verdicts).evidence == (verdicts[2], verdicts[4])
    assert evaluate(drift(), verdicts).state is F


def test_a_condition_looks_at_the_baseline_it_names_and_at_training_without_one() -> None:
    verdicts = [verdict(Level.CRITICAL), verdict(Level.OK, baseline="same_hours_4w")]

    assert evaluate(drift(), verdicts).state is T
    found = evaluate(drift(baseline="same_hours_4w"), verdicts)
    assert found.state is F
    assert found.reason == "drift.psi over 24h against same_hours_4w warning or worse: 0.05"
    assert evaluate(drift(baseline="trailing_4w"), verdicts).state is U


def test_the_last_predictions_are_a_window_of_their_own() -> None:
    verdicts = [verdict(Level.CRITICAL, span="last_10000"), verdict(Level.OK)]

    assert evaluate(drift(), verdicts).state is F
    assert evaluate(SignalCondition("drift.psi", "last_10000", level=Level.WARNING), verdicts).state is T


def test_a_condition_looks_at_its_role_and_an_unnamed_version_has_served() -> None:
    verdicts = [verdict(Level.OK, version="1"), verdict(Level.CRITICAL, version="2")]
    roles = {"2": "challenger"}

    assert evaluate(drift(), verdicts, roles=roles).state is F
    assert evaluate(drift(role="challenger"), verdicts, roles=roles).state is T
    assert evaluate(drift(role="shadow"), verdicts, roles=roles).state is U


@pytest.mark.parametrize(
    ("criteria", "value", "found"),
    [
        ({"above": 0.2}, 0.3, T),
        ({"above": 0.2}, 0.2, F),
        ({"below": 0.2}, 0.1, T),
        ({"below": 0.2}, 0.2, F),
        ({"below_baseline": 0.05}, 0.75, T),
        ({"below_baseline": 0.05}, 0.77, F),
        ({"above": 0.2}, math.nan, U),
        ({"below": 0.2}, math.nan, U),
        ({"below_baseline": 0.05}, None, U),
        ({"above": 0.2, "below": 0.4}, 0.3, T),
        ({"above": 0.2, "below": 0.4}, 0.5, F),
        ({"above_baseline": 0.1}, 0.89, T),
        ({"above_baseline": 0.1}, 0.87, F),
        ({"above_baseline": 0.1}, None, U),
    ],
)
def test_limits_are_absolute_or_relative_to_the_baseline(
    criteria: dict[str, float], value: float | None, found: Truth
) -> None:
    condition = SignalCondition("performance.f1", "24h", **criteria)  # type: ignore[arg-type]
    judged = Verdict(signal("performance.f1", value, baseline_value=0.8), Level.UNKNOWN, None, "none", "")

    assert evaluate(condition, [judged]).state is found


def test_a_missing_baseline_is_unknown() -> None:
    judged = Verdict(signal("performance.f1", 0.1), Level.OK, None, "none", "")

    assert evaluate(SignalCondition("performance.f1", "24h", below_baseline=0.05), [judged]).state is U


def test_a_level_and_a_floor_must_hold_of_the_same_signal() -> None:
    calm_but_large = verdict(Level.OK, value=0.9, column="a")
    restless_but_small = verdict(Level.WARNING, value=0.15, column="b")
    condition = drift(above=0.2)

    assert evaluate(condition, [calm_but_large, restless_but_small]).state is F
    assert evaluate(condition, [verdict(Level.WARNING, value=0.3)]).state is T


def test_critical_meets_a_condition_that_asks_for_a_warning_but_not_the_other_way_round() -> None:
    assert evaluate(drift(), [verdict(Level.CRITICAL)]).state is T
    assert evaluate(drift(level=Level.CRITICAL), [verdict(Level.WARNING)]).state is F


def test_the_outcome_carries_the_worst_value_and_the_number_it_was_held_against() -> None:
    verdicts = [
        verdict(Level.WARNING, value=0.9, threshold=0.8, column="restless"),
        verdict(Level.WARNING, value=0.6, threshold=0.1, column="steady"),
    ]

    found = evaluate(drift(), verdicts)

    assert (found.value, found.threshold) == (0.6, 0.1)
    assert found.reason == "drift.psi over 24h warning or worse: 2 of 2 columns, 1 needed; steady: 0.6"


def test_a_condition_that_is_false_still_says_how_near_it_was() -> None:
    found = evaluate(SignalCondition("drift.psi", "24h", above=0.2), [verdict(Level.OK, value=0.15)])

    assert (found.state, found.value, found.threshold) == (F, 0.15, 0.2)


def test_a_combination_keeps_the_breaching_verdicts_of_its_parts_once() -> None:
    verdicts = hour_with(a=T, b=F)

    found = evaluate(AnyOf((named("a"), named("b"), drift())), verdicts)

    assert found.evidence == (verdicts[0],)


@pytest.mark.parametrize(("share", "value", "found"), [(0.1, -1.2, T), (0.1, -1.05, F)])
def test_a_value_below_a_negative_baseline_is_further_from_zero(share: float, value: float, found: Truth) -> None:
    judged = Verdict(signal("performance.r2", value, baseline_value=-1.0), Level.OK, None, "none", "")

    assert evaluate(SignalCondition("performance.r2", "24h", below_baseline=share), [judged]).state is found


@pytest.mark.parametrize(
    ("p_value", "q_value", "found"),
    [(0.001, None, T), (0.02, None, F), (0.001, 0.03, F), (0.001, 0.004, T), (None, None, U), (math.nan, None, U)],
)
def test_a_p_value_counts_as_corrected_where_it_was(p_value: float | None, q_value: float | None, found: Truth) -> None:
    judged = Verdict(signal(value=0.3, p_value=p_value), Level.OK, None, "none", "", q_value)

    assert evaluate(SignalCondition("drift.psi", "24h", p_below=0.01), [judged]).state is found


def test_the_smallest_p_value_is_the_one_that_is_shown() -> None:
    verdicts = [
        Verdict(signal(value=value, p_value=p, column=name), Level.OK, None, "none", "")
        for name, value, p in (("a", 0.9, 0.2), ("b", 0.1, 0.0001))
    ]

    found = evaluate(SignalCondition("drift.psi", "24h", p_below=0.01), verdicts)

    assert found.reason == "drift.psi over 24h p below 0.01: 1 of 2 columns, 1 needed; b: 0.1 (p = 0.0001)"


@pytest.mark.parametrize(
    ("criteria", "clears_at", "holds_at"),
    [
        ({"above": 0.2, "clear": 0.8}, 0.159, 0.161),
        ({"above": -0.2, "clear": 0.8}, -0.241, -0.239),
        ({"above": 0.2, "clear_below": 0.1}, 0.099, 0.101),
        ({"below": 0.8, "clear": 0.9}, 0.881, 0.879),
        ({"below": 0.8, "clear_above": 0.85}, 0.851, 0.849),
        ({"below_baseline": 0.1, "clear": 0.5}, 0.761, 0.759),
        ({"above_baseline": 0.1, "clear": 0.5}, 0.839, 0.841),
        ({"level": Level.WARNING, "clear": 0.8}, 0.559, 0.561),
    ],
)
def test_a_second_limit_lies_on_the_good_side_of_the_first(
    criteria: dict[str, Any], clears_at: float, holds_at: float
) -> None:
    condition = holding(SignalCondition("performance.f1", "24h", **criteria))
    judged = [
        Verdict(signal("performance.f1", value, baseline_value=0.8), Level.OK, 0.7, "baseline", "")
        for value in (clears_at, holds_at)
    ]

    assert [evaluate(condition, [each]).state for each in judged] == [F, T]


def without_reference(**more: Any) -> Verdict:
    place = {"value": None, "absence": Absence.NO_REFERENCE, "reason": "not in the reference"} | more
    return Verdict(signal("drift.psi", **place), Level.UNKNOWN, None, "none", "")


def test_a_column_without_a_reference_does_not_keep_the_others_unknown() -> None:
    fine, new = verdict(Level.OK, column="tenure"), without_reference(column="new")

    found = evaluate(drift(), [fine, new])

    assert (found.state, found.why) == (F, WhyNot.CONDITION_FALSE)
    assert found.reason.endswith("0 of 1 columns, 1 without a reference, 1 needed; tenure: 0.05")
    assert evaluate(drift(columns_share_at_least=0.6), [fine, new]).state is F
    assert evaluate(drift(columns_at_least=2), [fine, new]).state is F


def test_where_nothing_has_a_reference_nothing_is_known_and_the_reason_is_named() -> None:
    found = evaluate(drift(), [without_reference()])
    unmeasured = Verdict(signal(value=0.5), Level.UNKNOWN, None, "none", "no baseline")

    assert (found.state, found.why) == (U, WhyNot.NOTHING_TO_COMPARE_WITH)
    assert evaluate(drift(), [unmeasured]).why is WhyNot.NOTHING_TO_COMPARE_WITH
    assert evaluate(drift(), [verdict(Level.UNKNOWN)]).why is WhyNot.VALUE_UNKNOWN
    assert evaluate(drift(), []).why is WhyNot.NO_SUCH_SIGNAL
    assert evaluate(SignalCondition("drift.psi", "24h", above=0.2), [unmeasured]).state is T


def test_a_part_without_a_reference_is_left_out_of_a_choice_and_not_of_what_must_all_hold() -> None:
    blind = SignalCondition("drift.psi", "24h", column="new", level=Level.WARNING)
    verdicts = [*hour_with(a=T, b=F), without_reference(column="new")]

    assert evaluate(AnyOf((named("b"), blind)), verdicts).state is F
    assert evaluate(AtLeast(2, (named("a"), named("a"), blind)), verdicts).state is T
    both = evaluate(All((named("a"), blind)), verdicts)
    assert (both.state, both.why) == (U, WhyNot.NOTHING_TO_COMPARE_WITH)
    assert evaluate(All((named("b"), blind)), verdicts).state is F
    assert evaluate(Not(blind), verdicts).why is WhyNot.NOTHING_TO_COMPARE_WITH
