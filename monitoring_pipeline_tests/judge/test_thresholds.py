import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.thresholds import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    MONTH,
    TEXTBOOK,
    JudgingPolicy,
    Thresholds,
    chances,
    judge_alone,
    worst_level,
)
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.verdicts import signal, verdict

POLICY = JudgingPolicy()
DAY = timedelta(days=1)


def alone(metric: str, value: float | None, policy: JudgingPolicy = POLICY, **more: Any) -> Verdict:
    found = judge_alone(signal(metric, value, **more), policy)
    assert found is not None
    return found


def level_of(metric: str, value: float | None, **more: Any) -> Level:
    return alone(metric, value, **more).level


@pytest.mark.parametrize("metric", sorted(TEXTBOOK))
def test_what_has_a_band_is_judged_with_the_rest_of_its_report(metric: str) -> None:
    assert judge_alone(signal(metric, 0.5), POLICY) is None


@pytest.mark.parametrize("metric", ["drift.wasserstein", "drift.kl", "model.age_days", "performance.mean_score"])
def test_what_has_no_band_is_informational(metric: str) -> None:
    found = alone(metric, 400.0)
    assert (found.level, found.threshold, found.q_value) == (Level.OK, None, None)
    assert found.reason.startswith("informational")


@pytest.mark.parametrize("budget", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("length", [HOUR, DAY, 7 * DAY])
@pytest.mark.parametrize("calibrated", [False, True])
def test_a_month_of_windows_at_the_rate_spends_the_budget(budget: float, length: timedelta, calibrated: bool) -> None:
    """Side by side a month has MONTH / length windows; measured every hour, each is several chances to be wrong."""
    policy = JudgingPolicy(false_alarms_per_month=budget)
    rate = policy.alarm_rate(length, calibrated=calibrated)
    assert rate * (MONTH / length) * chances(length, calibrated=calibrated) == pytest.approx(budget)
    assert policy.single_rate(length) * (MONTH / length) == pytest.approx(budget)


@given(st.floats(0.001, 1000), st.integers(1, 24 * 90), st.integers(1, 24 * 90), st.booleans())
def test_longer_windows_may_be_wrong_more_often_each_and_none_more_often_than_a_coin(
    budget: float, first: int, second: int, calibrated: bool
) -> None:
    policy = JudgingPolicy(false_alarms_per_month=budget)
    shorter, longer = (policy.alarm_rate(hours * HOUR, calibrated=calibrated) for hours in sorted((first, second)))
    assert 0 < shorter <= longer <= 0.5


def test_a_window_of_an_hour_is_one_chance_to_be_wrong_and_longer_ones_are_more() -> None:
    assert chances(HOUR, calibrated=False) == 1.0
    assert 1 < chances(DAY, calibrated=False) < chances(7 * DAY, calibrated=False) < 168


def test_without_a_budget_every_window_has_the_rate_of_a_single_report() -> None:
    assert [JudgingPolicy(alpha=0.03).alarm_rate(length) for length in (HOUR, 7 * DAY)] == [0.03, 0.03]


@pytest.mark.parametrize("metric", [*TEXTBOOK, "drift.wasserstein", "performance.f1", "performance.log_loss", "x.y"])
def test_an_absent_value_is_unknown_and_says_why(metric: str) -> None:
    judged = alone(metric, None)

    assert (judged.level, judged.reason) == (Level.UNKNOWN, "14 rows, drift needs 1000")


@pytest.mark.parametrize(
    ("metric", "value", "level"),
    [
        ("performance.f1", 0.77, "ok"),
        ("performance.f1", 0.75, "warning"),
        ("performance.f1", 0.67, "critical"),
        ("performance.f1", 0.95, "ok"),
        ("performance.log_loss", 0.83, "ok"),
        ("performance.log_loss", 0.85, "warning"),
        ("performance.log_loss", 0.93, "critical"),
        ("performance.log_loss", 0.10, "ok"),
    ],
)
def test_performance_is_held_against_its_baseline_on_the_bad_side_of_the_metric(
    metric: str, value: float, level: str
) -> None:
    judged = alone(metric, value, baseline_value=0.8)

    assert (judged.level, judged.threshold_origin) == (level, "baseline")


@pytest.mark.parametrize(("value", "level"), [(0.1, "ok"), (-0.103, "ok"), (-0.11, "warning"), (-0.12, "critical")])
def test_a_baseline_below_zero_is_left_downwards(value: float, level: str) -> None:
    assert alone("performance.r2", value, baseline_value=-0.1).level == level


@pytest.mark.parametrize(
    ("low", "high", "level"),
    [(0.55, 0.65, "critical"), (0.55, 0.70, "warning"), (0.55, 0.80, "ok"), (None, None, "critical")],
)
def test_a_limit_counts_as_crossed_when_the_whole_interval_lies_beyond_it(
    low: float | None, high: float | None, level: str
) -> None:
    judged = alone("performance.f1", 0.6, low=low, high=high, baseline_value=0.8)

    assert judged.level == level
    assert (judged.reason == "the interval includes the threshold") == (level == "ok")


def test_without_significant_only_the_value_alone_decides() -> None:
    policy = JudgingPolicy(significant_only=False)
    judged = alone("performance.f1", 0.6, policy, low=0.1, high=0.9, baseline_value=0.8)

    assert judged.level is Level.CRITICAL


def test_an_absolute_floor_makes_it_worse_than_the_baseline_alone() -> None:
    policy = JudgingPolicy(floors={"accuracy": Thresholds(0.85, 0.75, "absolute", "below")})

    judged = alone("performance.accuracy", 0.74, policy, baseline_value=0.75)

    assert (judged.level, judged.threshold, judged.threshold_origin) == (Level.CRITICAL, 0.75, "absolute")


PERFORMANCE = st.sampled_from(sorted(f"performance.{name}" for name in HIGHER_IS_BETTER | LOWER_IS_BETTER))
NUMBERS = st.floats(allow_nan=False)


@given(PERFORMANCE, NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["value", "low", "high", "baseline_value"]))
def test_performance_that_is_not_a_number_is_never_ok(
    metric: str, value: float, low: float, high: float, spoilt: str
) -> None:
    numbers = {"value": value, "low": low, "high": high, "baseline_value": 0.8} | {spoilt: math.nan}

    assert level_of(metric, **numbers) is Level.UNKNOWN


def test_performance_with_nothing_to_compare_it_with_is_unknown() -> None:
    assert level_of("performance.accuracy", 0.9) is Level.UNKNOWN


def test_the_worst_level_counts_the_unknown_only_when_there_is_nothing_else() -> None:
    assert worst_level([verdict(Level.UNKNOWN), verdict(Level.OK)]) is Level.OK
    assert worst_level([verdict(Level.OK), verdict(Level.CRITICAL), verdict(Level.WARNING)]) is Level.CRITICAL
    assert worst_level([verdict(Level.UNKNOWN)]) is Level.UNKNOWN
    assert worst_level([]) is Level.UNKNOWN
