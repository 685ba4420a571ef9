import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.signals import Absence, Signal, warming_up
from monitoring_pipeline_tests.traffic import hour


def signal(**more: object) -> Signal:
    usual = {"metric": "drift.psi", "model": "m", "version": "1", "window_start": hour(1), "window_end": hour(24)}
    return Signal(**{**usual, **more})  # type: ignore[arg-type]


def test_a_signal_has_a_value_or_a_reason_why_not_and_never_both() -> None:
    assert signal(value=0.0).absence is None
    assert signal(absence=Absence.EMPTY_HOUR).value is None
    for wrong in ({}, {"value": 0.1, "absence": Absence.FAILED}):
        with pytest.raises(ValueError, match=r"drift\.psi of m: .* exactly one of them"):
            signal(**wrong)


def test_the_identity_of_a_signal_is_everything_but_what_was_measured() -> None:
    first = signal(value=0.1, rows=5, p_value=0.3, column="a")
    assert first.key == signal(absence=Absence.FAILED, column="a").key
    others: list[dict[str, object]] = [
        {"column": "b"},
        {"segment": "s"},
        {"baseline": "last_week"},
        {"version": "2"},
        {"window_start": hour(23)},
        {"span": "last_10000"},
    ]
    for other in others:
        assert signal(**{"value": 0.1, "column": "a", **other}).key != first.key


def test_a_window_is_called_by_its_length() -> None:
    assert [signal(value=1.0, window_start=hour(24 - length)).window for length in (1, 24, 168)] == ["1h", "24h", "7d"]
    assert signal(value=1.0).length == 23 * HOUR
    assert signal(value=1.0, span="last_10000").window == "last_10000"


def test_a_day_must_be_whole_and_a_week_may_lack_three_hours() -> None:
    day, week = ({hour(number): 1 for number in range(length)} for length in (24, 168))
    assert warming_up(day, {}, start=hour(0), length=24) is None
    del day[hour(3)]
    assert warming_up(day, {}, start=hour(0), length=24) == (Absence.WARMING_UP, "23 of 24 hours described")
    for number in (1, 50, 167):
        del week[hour(number)]
    assert warming_up(week, {}, start=hour(0), length=168) is None
    del week[hour(99)]
    assert warming_up(week, {}, start=hour(0), length=168) is not None


def test_a_window_in_which_another_version_served_first_is_still_warming_up() -> None:
    traffic = {hour(number): 9 for number in range(24)}
    rows = {hour(number): 0 if number < 5 else 9 for number in range(24)}
    why = warming_up(rows, traffic, start=hour(0), length=24)
    assert why is not None
    assert why[0] is Absence.WARMING_UP
    assert "after 5 hours" in why[1]
    assert warming_up(rows, {}, start=hour(0), length=24) is None
