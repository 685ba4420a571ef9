from datetime import timedelta

import pytest
from pydantic import ValidationError

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.evaluate.operations import OperationsPolicy
from monitoring_pipeline.judge.limits import LIMITS, Limit
from monitoring_pipeline.settings.operations import Operations

WINDOWS = (timedelta(hours=1),)


def test_an_empty_section_measures_everything_against_the_published_limits() -> None:
    assert Operations().policy(WINDOWS, LogColumns()) == OperationsPolicy(WINDOWS, LogColumns())
    assert Operations().limits() == {}


def test_a_low_latency_service_has_tighter_limits_of_the_same_metrics() -> None:
    own = Operations(profile="low_latency").limits()
    assert own.keys() <= LIMITS.keys()
    assert own["operations.latency_p95"] == (Limit(0.075, None),)
    assert own["operations.latency_p99"] == (Limit(None, 0.1),)
    assert own["operations.error_rate"] == (Limit(0.001, 0.005),)


def test_throughput_is_limited_on_the_sides_that_are_given() -> None:
    both = Operations.model_validate({"throughput": {"min": 0.5, "max": 200.0}}).limits()
    assert both == {"operations.throughput": (Limit(0.5, None, "below"), Limit(200.0, None))}
    assert Operations.model_validate({"throughput": {"max": 9.0}}).limits() == {
        "operations.throughput": (Limit(9.0, None),)
    }
    with pytest.raises(ValidationError, match="swap the two"):
        Operations.model_validate({"throughput": {"min": 2.0, "max": 1.0}})
