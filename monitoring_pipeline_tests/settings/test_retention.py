from datetime import timedelta
from pathlib import Path

import pytest

from monitoring_pipeline.errors import SettingsError
from monitoring_pipeline.settings.load import load_monitor, parse_monitor
from monitoring_pipeline.settings.retention import Retention

SHORTEST = {"model": "churn", "start": "2026-03-02T00:00Z", "features": {"numeric": ["tenure"]}}


def test_the_ages_are_those_of_the_file() -> None:
    asked = load_monitor(Path(__file__).with_name("complete.yaml")).retention
    assert asked == Retention(hot=timedelta(days=3), warm=timedelta(days=60), cold=timedelta(days=730))


def test_nothing_is_removed_unless_the_file_asks_for_it_and_then_after_a_week_a_quarter_and_a_year() -> None:
    assert parse_monitor(SHORTEST).retention is None
    asked = parse_monitor(SHORTEST | {"retention": {}}).retention
    assert asked is not None
    assert [age.days for age in (asked.hot, asked.warm, asked.cold)] == [7, 90, 365]


@pytest.mark.parametrize("ages", [{"hot": "100d"}, {"cold": "30d"}, {"hot": "6h"}])
def test_tiers_that_are_out_of_order_are_refused_with_their_place(ages: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="warm no shorter than hot") as caught:
        parse_monitor(SHORTEST | {"retention": ages})
    assert [problem.where for problem in caught.value.problems] == ["retention"]
