"""The limits of the guard-rails, as the complete example writes them and as they are where nobody does."""

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from monitoring_pipeline.describe.groups import Grouping
from monitoring_pipeline.retrain.guard_rails import RAILS, RailPolicy
from monitoring_pipeline.settings.guard_rails import GuardRails, RailName
from monitoring_pipeline.settings.load import load_monitor, parse_monitor


def test_limits_become_the_policy_of_the_gate_with_what_the_monitor_is_cut_into() -> None:
    policy = load_monitor(Path(__file__).with_name("complete.yaml")).gate_policy()
    assert policy.metric == "log_loss"
    assert policy.rails == RailPolicy(
        segments=0.2,
        fairness=0.75,
        calibration=0.01,
        latency=2.0,
        size=None,
        size_bytes=200_000_000,
        required=("fairness", "back_test"),
        parts=Grouping((), intersections=False),
        groups=Grouping(("plan",)),
    )


def test_without_a_word_the_limits_are_those_of_the_policy() -> None:
    assert GuardRails().policy(segments=Grouping(), groups=Grouping(), min_rows=100) == RailPolicy()
    assert GuardRails().back_test is None
    assert get_args(RailName) == RAILS


@pytest.mark.parametrize(
    "wrong",
    [
        {"segments": 0},
        {"fairness": 1.2},
        {"latency": 0.5},
        {"size": 0.9},
        {"back_test": {"folds": 0}},
        {"required": ["age"]},
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GuardRails.model_validate(wrong)


@pytest.mark.parametrize(("task", "metric"), [("binary_classification", "roc_auc"), ("regression", "mae")])
def test_models_are_compared_by_what_their_task_has_unless_the_file_says_by_what(task: str, metric: str) -> None:
    asked = {"model": "churn", "start": "2026-04-01T00:00Z", "task": task, "features": {"numeric": ["age"]}}
    asked["columns"] = {"score": None} if task == "regression" else {}
    assert parse_monitor(asked).gate_policy().metric == metric
