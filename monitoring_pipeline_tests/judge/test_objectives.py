"""Promises hour by hour: what counts as kept, what is left of a budget, and when it goes too fast."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.freshness import FreshnessProfile, SourceAges
from monitoring_pipeline.describe.log_histogram import LogHistogram
from monitoring_pipeline.describe.objectives import Count, ObjectiveCounts
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.judge.objectives import (
    BUDGET,
    BURN_RATE,
    COMPLIANCE,
    JudgedHour,
    Objective,
    ObjectivesPolicy,
    answered,
    by_model,
    count_objectives,
    fast,
    free_of,
    fresh,
    judge_objectives,
    young,
)
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.traffic import hour
from monitoring_pipeline_tests.verdicts import signal, verdict

PERIOD = 28 * 24
THREE_NINES = ObjectivesPolicy((Objective("availability", 0.999, answered),))
DRIFT = ObjectivesPolicy((Objective("drift", 0.99, answered),))


def judged(
    counts: Sequence[Count] | Mapping[int, Count], at: Sequence[int], policy: ObjectivesPolicy = THREE_NINES
) -> list[dict[tuple[str, str], Verdict]]:
    """Return verdicts by metric and window at the end of some hours, from (good, known) by the hour's number."""
    numbered = counts if isinstance(counts, Mapping) else dict(enumerate(counts))
    (objective,) = policy.objectives
    hourly = {hour(n): {"1": ObjectiveCounts({objective.name: count})} for n, count in numbered.items()}
    hours = [hour(number) for number in at]
    found = judge_objectives("churn", hourly, dict.fromkeys(hours, "7"), hours, policy)
    return [{(each.signal.metric, each.signal.window): each for each in found[at]} for at in hours]


def levels(found: Mapping[tuple[str, str], Verdict]) -> dict[str, Level]:
    return {window: each.level for (metric, window), each in found.items() if metric == BURN_RATE}


def test_requests_that_failed_are_counted_over_all_versions() -> None:
    parts = (OperationsProfile(rows=90, errors=2), OperationsProfile(rows=10, errors=1))
    assert answered(JudgedHour(operations=parts)) == (97, 100)
    assert answered(JudgedHour()) == (0, 0)


def test_requests_are_fast_up_to_the_limit_and_those_without_a_latency_are_not_counted() -> None:
    histogram = LogHistogram.of(np.array([0.010, 0.050, 0.060, 2.0]))
    part = OperationsProfile(rows=9, latency={"total": histogram})
    assert fast(JudgedHour(operations=(part, OperationsProfile(rows=5))), stage="total", limit_s=0.05) == (2, 4)
    assert fast(JudgedHour(operations=(part,)), stage="model", limit_s=0.05) == (0, 0)


def test_who_answered_is_counted_where_the_log_says_it() -> None:
    part = OperationsProfile(rows=9, answered=7, served_by={"champion": 4, "primary": 1, "popular": 2})
    assert by_model(JudgedHour(operations=(part,)), primary=("champion", "primary")) == (5, 7)


def test_an_hour_in_which_a_source_was_not_read_is_not_known_to_be_fresh() -> None:
    users = FreshnessProfile(10, 9, {"users": SourceAges(rows=10)})
    both = FreshnessProfile(20, 15, {"users": SourceAges(rows=20), "items": SourceAges(rows=1)})
    hour_ = JudgedHour(freshness=(users, both))
    assert fresh(hour_, sources=("users", "items")) == (15, 20)
    assert fresh(hour_, sources=("users",)) == (24, 30)
    assert fresh(JudgedHour(freshness=(users,)), sources=("users", "items")) == (0, 0)


@pytest.mark.parametrize(("age", "count"), [(30.0, (1, 1)), (30.1, (0, 1)), (None, (0, 0))])
def test_a_model_is_young_up_to_its_longest_age(age: float | None, count: Count) -> None:
    found = Verdict(signal("model.age_days", age, window="1h"), Level.OK, None, "none", "informational")
    assert young(JudgedHour([found]), days=30) == count


def test_drift_that_is_critical_breaks_the_hour_and_drift_nobody_knows_is_neither_good_nor_bad() -> None:
    def count(*verdicts: Verdict) -> Count:
        return free_of(JudgedHour(verdicts), metrics="drift", window="24h", level=Level.CRITICAL)

    fine, worse = verdict(Level.WARNING, column="usage"), verdict(Level.CRITICAL, column="plan")
    unknown = verdict(Level.UNKNOWN, column="usage")
    assert count(fine) == (1, 1)
    assert count(fine, worse, unknown) == (0, 1)
    assert count(unknown) == count() == (0, 0)
    elsewhere: list[dict[str, Any]] = [{"segment": "plan=a"}, {"window": "1h"}, {"baseline": "trailing_4w"}]
    for place in elsewhere:
        assert count(fine, verdict(Level.CRITICAL, column="plan", **place)) == (1, 1)
    assert count(Verdict(signal("drift.kl"), Level.OK, None, "none", "informational")) == (0, 0)


def test_a_metric_is_not_taken_for_another_whose_name_begins_alike() -> None:
    weighted = verdict(Level.CRITICAL, "performance.f1_weighted")
    found = free_of(JudgedHour([weighted]), metrics="performance.f1", window="24h", level=Level.CRITICAL)
    assert found == (0, 0)


def test_every_promise_of_the_policy_is_counted_known_or_not() -> None:
    policy = ObjectivesPolicy((*THREE_NINES.objectives, Objective("model_age", 0.99, lambda each: young(each, days=3))))
    found = count_objectives(JudgedHour(operations=(OperationsProfile(rows=3, errors=1),)), policy)
    assert found == ObjectiveCounts({"availability": (2, 3), "model_age": (0, 0)})


def test_a_budget_is_what_a_whole_period_allows() -> None:
    # 28 days of 1000 requests allow 672 bad ones; 168 of them came in one hour.
    counts = [(1000, 1000)] * PERIOD
    counts[100] = (832, 1000)
    (found,) = judged(counts, [PERIOD - 1])
    budget, compliance = found[BUDGET, "28d"], found[COMPLIANCE, "28d"]
    assert budget.signal.value == pytest.approx(0.75)
    assert compliance.signal.value == pytest.approx(1 - 0.00025)
    assert (budget.level, budget.signal.column, budget.signal.version) == (Level.OK, "availability", "7")
    assert "75% of the budget of availability is left: 168 bad requests, 672 are allowed" in budget.reason


def test_a_budget_that_is_overspent_is_negative_and_warns() -> None:
    counts = [(1000, 1000)] * PERIOD
    counts[100] = (0, 1000)
    (found,) = judged(counts, [PERIOD - 1])
    assert found[BUDGET, "28d"].signal.value == pytest.approx(1 - 1000 / 672)
    assert found[BUDGET, "28d"].level is Level.WARNING


def test_the_first_failure_of_the_first_hour_is_not_the_whole_budget() -> None:
    (found,) = judged([(998, 1000)], [0])
    assert found[BUDGET, "28d"].signal.value == pytest.approx(1 - 2 / 672)


def test_what_is_older_than_the_period_is_forgotten() -> None:
    counts = [(0, 1000), *[(1000, 1000)] * PERIOD]
    last, next_ = judged(counts, [PERIOD - 1, PERIOD])
    assert last[BUDGET, "28d"].level is Level.WARNING
    assert next_[BUDGET, "28d"].signal.value == 1.0


def test_unknown_hours_are_shown_and_are_neither_good_nor_bad() -> None:
    known = dict.fromkeys(range(20, 30), (1, 1)) | {25: (0, 1), 40: (1, 1)}
    (found,) = judged(known, [43], DRIFT)
    budget = found[BUDGET, "28d"].signal
    assert budget.detail == {"bad": 1, "known_hours": 11, "unknown_hours": 13, "target": 0.99}
    assert found[COMPLIANCE, "28d"].signal.value == pytest.approx(10 / 11)
    assert budget.value == pytest.approx(1 - 1 / (0.01 * 11 * PERIOD / 24))


def test_nothing_known_is_unknown_and_not_a_full_budget() -> None:
    (found,) = judged({}, [5])
    assert {each.level for each in found.values()} == {Level.UNKNOWN}
    assert {each.signal.value for each in found.values()} == {None}
    assert set(levels(found)) == {"1h", "6h", "24h", "3d"}


def test_an_outage_is_critical_at_the_end_of_its_first_hour() -> None:
    before, first = judged([*[(1000, 1000)] * 100, (0, 1000)], [99, 100])
    assert set(levels(before).values()) == {Level.OK}
    assert levels(first)["1h"] is levels(first)["6h"] is Level.CRITICAL
    assert first[BURN_RATE, "1h"].signal.value == pytest.approx(1000)
    assert first[BURN_RATE, "1h"].threshold == 14.4


def test_a_rate_of_ten_times_the_budget_is_critical_after_six_hours() -> None:
    found = judged([*[(1000, 1000)] * 100, *[(990, 1000)] * 8], range(100, 108))
    critical = [Level.CRITICAL in levels(each).values() for each in found]
    assert critical.index(True) == 5
    assert all(critical[5:])
    assert found[-1][BURN_RATE, "1h"].level is Level.OK, "ten times is not fourteen times"


def test_a_burn_that_is_over_no_longer_alarms_although_the_long_window_remembers_it() -> None:
    (found,) = judged([*[(1000, 1000)] * 100, (0, 1000), *[(1000, 1000)] * 6], [106])
    assert found[BURN_RATE, "24h"].signal.value == pytest.approx(1000 / 24)
    assert set(levels(found).values()) == {Level.OK}


def test_a_failure_among_few_requests_is_no_fast_burn() -> None:
    (found,) = judged([*[(10, 10)] * 100, (9, 10)], [100])
    assert found[BURN_RATE, "1h"].signal.value == pytest.approx(100)
    assert set(levels(found).values()) == {Level.OK}


def test_a_burn_is_unknown_where_its_short_window_is() -> None:
    (found,) = judged([*[(0, 1000)] * 100, (0, 0)], [100])
    assert levels(found) == {"1h": Level.UNKNOWN, "6h": Level.UNKNOWN, "24h": Level.WARNING, "3d": Level.WARNING}


def test_promises_of_the_model_warn_and_never_page_by_themselves() -> None:
    found = judged([*[(1, 1)] * 100, *[(0, 1)] * 6], [100, 102, 105], DRIFT)
    assert set(levels(found[0]).values()) == {Level.OK}, "one hour is no trend"
    assert Level.CRITICAL not in {level for each in found for level in levels(each).values()}
    assert levels(found[2])["6h"] is Level.WARNING


def test_hour_by_hour_gives_what_a_range_gives() -> None:
    rng = np.random.default_rng(5)
    known = rng.integers(0, 50, PERIOD + 120) * (rng.random(PERIOD + 120) < 0.8)
    bad = rng.binomial(known, 0.05)
    counts = [(int(all_ - wrong), int(all_)) for all_, wrong in zip(known, bad, strict=True)]
    asked = [3, 200, *range(PERIOD, PERIOD + 120)]
    at_once = judged(counts, asked)
    alone = [judged(counts[: number + 1], [number])[0] for number in asked]
    assert at_once == alone
    assert [{key: each.signal.detail for key, each in one.items()} for one in at_once] == [
        {key: each.signal.detail for key, each in one.items()} for one in alone
    ]


@pytest.mark.parametrize(("rows", "target"), [(1, 0.999), (20, 0.999), (1000, 0.999), (1, 0.99), (1000, 0.99)])
def test_a_service_exactly_at_its_promise_pages_nobody(rows: int, target: float) -> None:
    rng = np.random.default_rng(11)
    bad = rng.binomial(rows, 1 - target, 5 * PERIOD)
    policy = ObjectivesPolicy((Objective("availability", target, answered),))
    found = judged([(rows - int(each), rows) for each in bad], range(72, len(bad)), policy)
    alarms = [level for each in found for level in levels(each).values()]
    assert alarms.count(Level.CRITICAL) == 0
    assert alarms.count(Level.WARNING) <= 0.002 * len(found), "0.15 slow alarms a period are what was simulated"


def test_the_period_is_that_of_the_policy() -> None:
    week = ObjectivesPolicy(THREE_NINES.objectives, timedelta(days=7))
    (found,) = judged([(1000, 1000)] * 200, [199], week)
    assert found[BUDGET, "7d"].signal.window_end - 168 * HOUR == found[BUDGET, "7d"].signal.window_start
