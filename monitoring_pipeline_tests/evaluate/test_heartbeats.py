from datetime import UTC, datetime, timedelta

import pytest

from monitoring_pipeline.evaluate.heartbeats import Heartbeat, in_words, silences

NOW = datetime(2026, 11, 20, 13, 5, tzinfo=UTC)
TWO_HOURS = timedelta(hours=2)


def silence(name: str, ago: timedelta | None) -> list[str]:
    at = None if ago is None else NOW - ago
    return silences([Heartbeat(name, at)], now=NOW, max_age=TWO_HOURS)


@pytest.mark.parametrize("ago", [timedelta(0), TWO_HOURS, -timedelta(minutes=4)])
def test_a_recent_heartbeat_is_no_silence(ago: timedelta) -> None:
    assert silence("daemon", ago) == []


def test_an_old_heartbeat_says_who_since_when_and_what_to_do() -> None:
    assert silence("daemon", timedelta(hours=3)) == [
        "heartbeat daemon: last heard from 3 h ago, at 2026-11-20 10:05Z; 2 h is allowed. "
        "Look whether dagster-daemon runs, and at the newest runs."
    ]
    assert "whether its schedule is on" in silence("hourly_churn", timedelta(hours=3))[0]


def test_what_was_never_heard_from_and_what_is_yet_to_come_is_silence_too() -> None:
    assert silence("daemon", None)[0].startswith("heartbeat daemon: never heard from")
    assert "yet to come" in silence("daemon", -timedelta(hours=1))[0]


def test_lengths_are_said_as_people_say_them() -> None:
    lengths = [timedelta(seconds=90), timedelta(minutes=90), timedelta(hours=47), timedelta(days=9), timedelta(0)]
    assert [in_words(length) for length in lengths] == ["90 s", "90 min", "47 h", "9 d", "0 s"]
