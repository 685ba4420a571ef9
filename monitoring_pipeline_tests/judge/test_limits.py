import pytest

from monitoring_pipeline.judge.limits import LIMITS, Limit, judge_by_limits
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.verdicts import signal


@pytest.mark.parametrize(
    ("value", "level"), [(0.44, Level.OK), (0.45, Level.OK), (0.46, Level.WARNING), (0.71, Level.CRITICAL)]
)
def test_a_limit_counts_from_the_baseline_where_it_says_so(value: float, level: Level) -> None:
    found = judge_by_limits(signal("quality.null_rate", value, baseline_value=0.40), LIMITS["quality.null_rate"])
    assert found.level is level
    assert found.threshold == pytest.approx(0.70 if level is Level.CRITICAL else 0.45)


def test_without_a_baseline_a_limit_counts_from_zero() -> None:
    limits = (Limit(0.05, None, from_baseline=True),)
    assert judge_by_limits(signal("quality.null_rate", 0.06), limits).level is Level.WARNING
    assert judge_by_limits(signal("quality.null_rate", 0.04), limits).level is Level.OK


def test_a_value_whose_interval_reaches_across_the_limit_is_no_alarm() -> None:
    limits = (Limit(2.0, None), Limit(0.5, 0.1, "below"))
    assert judge_by_limits(signal("quality.volume_ratio", 0.05, low=0.05, high=1.0), limits).level is Level.OK
    assert judge_by_limits(signal("quality.volume_ratio", 0.05), limits).level is Level.CRITICAL
    assert judge_by_limits(signal("quality.volume_ratio", 2.5, low=1.5), limits).level is Level.OK


def test_a_fine_value_is_shown_with_the_first_limit_it_could_cross() -> None:
    assert judge_by_limits(signal("quality.required_null_rate", 0.0), (Limit(None, 0.0),)).threshold == 0.0
