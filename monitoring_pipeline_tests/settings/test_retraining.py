from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitoring_pipeline.errors import SettingsError
from monitoring_pipeline.retrain.rollback import Probation
from monitoring_pipeline.settings.load import load_monitor, parse_monitor
from monitoring_pipeline.settings.retraining import Retraining

MONITOR: dict[str, Any] = {"model": "churn", "start": "2026-04-01T00:00Z", "features": {"numeric": ["tenure"]}}


def asked(**retraining: Any) -> Retraining:
    return parse_monitor({**MONITOR, "retraining": retraining}).retraining


def test_the_champions_estimator_is_refitted_unless_something_else_is_said() -> None:
    assert asked().trainer == "refit"
    assert asked(trainer="churn.model:fit").trainer == "churn.model:fit"
    assert asked(trainer="none").trainer is None
    assert asked(trainer=None).trainer is None
    assert (asked().limits.minutes, asked().limits.memory_gb) == (60, 8)


def test_all_history_is_a_window_without_an_end() -> None:
    assert asked(training_window="all").training_window is None
    assert asked(training_window="2w").training_window == timedelta(days=14)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"trainer": "fit"}, "A trainer is refit, recalibrate, none, or <module>:<function>"),
        ({"training_window": "always"}, "15m, 24h, 7d, 2w. Or all, for as far back as the log goes"),
        ({"trainer": "recalibrate"}, "set metric to log_loss"),
        ({"trainer": "recalibrate", "metric": "log_loss", "class_weight": "balanced"}, "leave class_weight out"),
        ({"limits": {"memory_gb": 0}}, "greater than 0"),
        ({"max_rows": 0}, "greater than or equal to 1"),
    ],
)
def test_what_could_not_work_is_told_before_anything_is_trained(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        asked(**wrong)


def test_a_new_champion_is_asked_what_the_file_says_by_the_metric_it_was_promoted_by() -> None:
    asked = load_monitor(Path(__file__).with_name("complete.yaml")).retraining
    assert asked.rollback.automatic
    assert asked.rollback.probation(asked.metric) == Probation("log_loss", 2000, 0.01)


def test_a_rollback_is_only_proposed_unless_somebody_says_otherwise() -> None:
    asked = parse_monitor(MONITOR).retraining.rollback
    assert (asked.automatic, asked.after_rows, asked.false_proposals) == (False, 1000, 0.05)


def test_a_share_that_is_none_is_refused_with_its_place() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_monitor(MONITOR | {"retraining": {"rollback": {"false_proposals": 1.0}}})
    assert [problem.where for problem in caught.value.problems] == ["retraining.rollback.false_proposals"]
