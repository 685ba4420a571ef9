from datetime import UTC, datetime, timedelta, timezone

import pytest

from monitoring_pipeline.capture.windows import HOUR, Window, hour_of, window_length, window_name

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
INDIA = timezone(timedelta(hours=5, minutes=30))


def test_an_hour_is_an_hour_of_utc_wherever_the_clock_stands() -> None:
    assert hour_of(datetime(2026, 3, 29, 17, 45, tzinfo=INDIA)) == NOON


@pytest.mark.parametrize(("name", "hours"), [("1h", 1), ("24h", 24), ("36h", 36), ("7d", 168), ("30d", 720)])
def test_a_window_length_and_its_name_are_each_other(name: str, hours: int) -> None:
    assert window_length(name) == hours * HOUR
    assert window_name(hours * HOUR) == name


def test_a_week_may_be_written_as_one() -> None:
    assert window_length("1w") == window_length("7d")


@pytest.mark.parametrize("name", ["", "h", "0h", "-1h", "1.5h", "24", "24 h", "1m", "day"])
def test_what_is_no_window_length_says_how_to_write_one(name: str) -> None:
    with pytest.raises(ValueError, match="such as 24h or 7d"):
        window_length(name)


def test_a_window_is_half_open_and_made_of_its_hours() -> None:
    window = Window("m", NOON, NOON + 3 * HOUR)
    assert [part.start for part in window.hours()] == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    assert NOON in window
    assert window.end not in window
    assert (window.length, window.name) == (3 * HOUR, "3h")
    assert Window.of_hour("m", NOON + timedelta(minutes=59)) == Window("m", NOON, NOON + HOUR)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (NOON, NOON),
        (NOON, NOON - HOUR),
        (NOON + timedelta(minutes=1), NOON + HOUR),
        (NOON.astimezone(INDIA), NOON + HOUR),
    ],
)
def test_a_window_that_is_not_whole_hours_in_utc_does_not_exist(start: datetime, end: datetime) -> None:
    with pytest.raises(ValueError, match="m: "):
        Window("m", start, end)
