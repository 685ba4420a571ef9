from pathlib import Path

import pytest

from monitoring_pipeline.errors import SettingsError
from monitoring_pipeline.retrain.rollback import Probation
from monitoring_pipeline.settings.load import load_monitor, parse_monitor

SHORTEST = {"model": "churn", "start": "2026-03-02T00:00Z", "features": {"numeric": ["tenure"]}}


def test_a_new_champion_is_asked_what_the_file_says_by_the_metric_it_was_promoted_by() -> None:
    asked = load_monitor(Path(__file__).with_name("complete.yaml")).retraining
    assert asked.rollback.automatic
    assert asked.rollback.probation(asked.metric) == Probation("log_loss", 2000, 0.01)


def test_a_rollback_is_only_proposed_unless_somebody_says_otherwise() -> None:
    asked = parse_monitor(SHORTEST).retraining.rollback
    assert (asked.automatic, asked.after_rows, asked.false_proposals) == (False, 1000, 0.05)


def test_a_share_that_is_none_is_refused_with_its_place() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_monitor(SHORTEST | {"retraining": {"rollback": {"false_proposals": 1.0}}})
    assert [problem.where for problem in caught.value.problems] == ["retraining.rollback.false_proposals"]
