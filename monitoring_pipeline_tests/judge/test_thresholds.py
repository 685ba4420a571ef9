import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.judge.thresholds import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    TEXTBOOK,
    JudgingPolicy,
    Thresholds,
    judge_signal,
    judge_signals,
    worst_level,
)
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.verdicts import signal, verdict

POLICY = JudgingPolicy()


def level_of(metric: str, value: float | None, *, calibrated: Thresholds | None = None, **more: Any) -> Level:
    return judge_signal(signal(metric, value, **more), calibrated=calibrated, policy=POLICY).level


@pytest.mark.parametrize(
    ("metric", "value", "level"),
    [
        ("drift.psi", 0.10, "ok"),
        ("drift.psi", 0.11, "warning"),
        ("drift.psi", 0.25, "warning"),
        ("drift.psi", 0.26, "critical"),
        ("drift.psi", math.inf, "critical"),
        ("drift.js", 0.05, "ok"),
        ("drift.js", 0.06, "warning"),
        ("drift.js", 0.16, "critical"),
        ("drift.ks", 0.09, "ok"),
        ("drift.ks", 0.11, "warning"),
        ("drift.ks", 1.0, "warning"),
        ("drift.wasserstein_normalised", 99.0, "ok"),
        ("model.age_days", 400.0, "ok"),
    ],
)
def test_textbook_bands_begin_above_their_limit_and_ks_never_becomes_critical(
    metric: str, value: float, level: str
) -> None:
    assert level_of(metric, value) == level


@pytest.mark.parametrize("metric", [*TEXTBOOK, "drift.wasserstein", "performance.f1", "performance.log_loss", "x.y"])
def test_an_absent_value_is_unknown_and_says_why(metric: str) -> None:
    judged = judge_signal(signal(metric, None), calibrated=None, policy=POLICY)

    assert (judged.level, judged.reason) == (Level.UNKNOWN, "14 rows, drift needs 1000")


METRICS = st.sampled_from([*TEXTBOOK, *(f"performance.{name}" for name in HIGHER_IS_BETTER | LOWER_IS_BETTER), "x.y"])
NUMBERS = st.floats(allow_nan=False)


@given(METRICS, NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["value", "low", "high", "baseline_value"]))
def test_nan_anywhere_is_never_ok(metric: str, value: float, low: float, high: float, spoilt: str) -> None:
    numbers = {"value": value, "low": low, "high": high, "baseline_value": 0.8} | {spoilt: math.nan}
    judged = judge_signal(signal(metric, **numbers), calibrated=None, policy=POLICY)  # type: ignore[arg-type]

    reads_it = spoilt != "baseline_value" or metric.startswith("performance.")
    assert judged.level is Level.UNKNOWN or not reads_it


@given(st.sampled_from(sorted(TEXTBOOK)), NUMBERS, st.sampled_from(["warning", "critical"]))
def test_a_calibration_that_is_not_a_number_is_never_ok(metric: str, value: float, spoilt: str) -> None:
    calibrated = Thresholds(**{"warning": 0.5, "critical": 0.9, "origin": "calibrated"} | {spoilt: math.nan})  # type: ignore[arg-type]

    level = level_of(metric, value, calibrated=calibrated)

    assert level is Level.UNKNOWN or (spoilt == "critical" and TEXTBOOK[metric].critical is None)


def test_a_p_value_that_is_not_a_number_is_never_ok() -> None:
    assert level_of("drift.psi", 0.01, p_value=math.nan) is Level.UNKNOWN


@given(
    st.sampled_from(sorted(TEXTBOOK)),
    st.floats(0, 10),
    st.floats(0, 10, exclude_min=True),
    st.none() | st.floats(1, 3),
)
def test_calibration_never_makes_a_drift_worse_than_the_textbook_says(
    metric: str, value: float, quantile: float, step: float | None
) -> None:
    calibrated = Thresholds(quantile, None if step is None else quantile * step, "calibrated")

    assert level_of(metric, value, calibrated=calibrated).rank <= level_of(metric, value).rank


@pytest.mark.parametrize(
    ("value", "calibrated", "level", "threshold", "origin"),
    [
        (0.30, Thresholds(0.4, 0.9, "calibrated"), "ok", 0.4, "calibrated"),
        (0.50, Thresholds(0.4, 0.9, "calibrated"), "warning", 0.4, "calibrated"),
        (0.95, Thresholds(0.4, 0.9, "calibrated"), "critical", 0.9, "calibrated"),
        (0.30, Thresholds(0.05, 0.2, "calibrated"), "critical", 0.25, "textbook"),
        (0.12, Thresholds(0.05, 0.5, "calibrated"), "warning", 0.10, "textbook"),
        (0.40, Thresholds(0.05, 0.5, "calibrated"), "warning", 0.10, "textbook"),
        (0.90, Thresholds(0.4, None, "calibrated"), "warning", 0.4, "calibrated"),
        (1.10, Thresholds(0.4, None, "calibrated"), "critical", 1.0, "calibrated"),
    ],
)
def test_each_level_uses_the_larger_of_floor_and_calibrated_threshold_and_names_it(
    value: float, calibrated: Thresholds, level: str, threshold: float, origin: str
) -> None:
    judged = judge_signal(signal("drift.psi", value), calibrated=calibrated, policy=POLICY)

    assert (judged.level, judged.threshold_origin) == (level, origin)
    assert judged.threshold == pytest.approx(threshold)


def test_ks_stays_a_warning_whatever_the_calibration_calls_critical() -> None:
    assert level_of("drift.ks", 0.9, calibrated=Thresholds(0.2, 0.3, "calibrated")) is Level.WARNING


def test_a_drift_that_chance_explains_is_ok_and_one_that_it_does_not_is_not() -> None:
    chance = judge_signal(signal("drift.psi", 0.4, p_value=0.2, rows=40), calibrated=None, policy=POLICY)

    assert (chance.level, chance.threshold_origin) == (Level.OK, "null_distribution")
    assert chance.reason == "within sampling noise: p = 0.2 with 40 rows"
    assert level_of("drift.psi", 0.4, p_value=0.001) is Level.CRITICAL


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
    judged = judge_signal(signal(metric, value, baseline_value=0.8), calibrated=None, policy=POLICY)

    assert (judged.level, judged.threshold_origin) == (level, "baseline")


@pytest.mark.parametrize(
    ("low", "high", "level"),
    [(0.55, 0.65, "critical"), (0.55, 0.70, "warning"), (0.55, 0.80, "ok"), (None, None, "critical")],
)
def test_a_limit_counts_as_crossed_when_the_whole_interval_lies_beyond_it(
    low: float | None, high: float | None, level: str
) -> None:
    judged = judge_signal(
        signal("performance.f1", 0.6, low=low, high=high, baseline_value=0.8), calibrated=None, policy=POLICY
    )

    assert judged.level == level
    assert (judged.reason == "the interval includes the threshold") == (level == "ok")


def test_without_significant_only_the_value_alone_decides() -> None:
    judged = judge_signal(
        signal("performance.f1", 0.6, low=0.1, high=0.9, baseline_value=0.8),
        calibrated=None,
        policy=JudgingPolicy(significant_only=False),
    )

    assert judged.level is Level.CRITICAL


def test_an_absolute_floor_makes_it_worse_than_the_baseline_alone() -> None:
    policy = JudgingPolicy(floors={"accuracy": Thresholds(0.85, 0.75, "absolute", "below")})

    judged = judge_signal(signal("performance.accuracy", 0.74, baseline_value=0.75), calibrated=None, policy=policy)

    assert (judged.level, judged.threshold, judged.threshold_origin) == (Level.CRITICAL, 0.75, "absolute")


def test_performance_with_nothing_to_compare_it_with_is_unknown() -> None:
    assert level_of("performance.accuracy", 0.9) is Level.UNKNOWN


def test_verdicts_come_in_the_order_of_their_signals_each_with_its_own_calibration() -> None:
    restless = Thresholds(1.0, 2.0, "calibrated")
    signals = [signal("drift.psi", 0.5, column=name) for name in ("temp", "carrier")]

    judged = judge_signals(signals, lambda s: restless if s.column == "temp" else None, POLICY)

    assert [(v.signal.column, v.level) for v in judged] == [("temp", Level.OK), ("carrier", Level.CRITICAL)]


def test_the_worst_level_counts_the_unknown_only_when_there_is_nothing_else() -> None:
    assert worst_level([verdict(Level.UNKNOWN), verdict(Level.OK)]) is Level.OK
    assert worst_level([verdict(Level.OK), verdict(Level.CRITICAL), verdict(Level.WARNING)]) is Level.CRITICAL
    assert worst_level([verdict(Level.UNKNOWN)]) is Level.UNKNOWN
    assert worst_level([]) is Level.UNKNOWN
