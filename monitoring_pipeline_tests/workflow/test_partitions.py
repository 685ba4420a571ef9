from datetime import UTC, datetime, timedelta, timezone

import pytest

from monitoring_pipeline.workflow.partitions import (
    hour_of_key,
    hourly_partitions,
    partition_key,
    portions,
    range_tags,
    ranges,
)
from monitoring_pipeline_tests.traffic import hour


def test_unbroken_hours_are_one_stretch_whatever_their_order() -> None:
    assert ranges([hour(3), hour(1), hour(2), hour(2)]) == [(hour(1), hour(3))]


def test_a_gap_ends_a_stretch() -> None:
    assert ranges(map(hour, [0, 1, 3, 7, 8])) == [(hour(0), hour(1)), (hour(3), hour(3)), (hour(7), hour(8))]


def test_a_year_is_worked_on_in_portions_of_whole_days() -> None:
    year = [hour(number) for number in range(5, 24 * 365)]
    parts = list(portions(year))
    assert [at for part in parts for at in part] == year
    assert max(map(len, parts)) == 14 * 24
    assert all(part[0].hour == 0 for part in parts[1:])


def test_no_hours_are_no_stretch() -> None:
    assert ranges([]) == []


@pytest.mark.parametrize("offset", [0, 2, -5])
def test_the_key_of_an_hour_is_in_utc_and_leads_back_to_it(offset: int) -> None:
    moment = hour(5).astimezone(timezone(timedelta(hours=offset)))
    assert partition_key(moment) == "2026-11-20-05:00"
    assert hour_of_key(partition_key(moment)) == hour(5)


def test_partitions_are_the_hours_from_start_to_end() -> None:
    found = hourly_partitions(hour(0), hour(3))
    assert found.get_partition_keys() == [partition_key(hour(number)) for number in range(3)]
    assert str(found.timezone) == "UTC"


def test_every_hour_exists_once_on_the_days_when_local_clocks_change() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    keys = hourly_partitions(start, start + timedelta(days=1)).get_partition_keys()
    assert len(keys) == len(set(keys)) == 24


def test_the_tags_of_a_range_name_its_first_and_its_last_hour() -> None:
    assert sorted(range_tags(hour(1), hour(4)).values()) == ["2026-11-20-01:00", "2026-11-20-04:00"]
