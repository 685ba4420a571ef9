from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.notify.on_call import Person, Schedule, Shift, on_call_at

INSTANT = timedelta(microseconds=1)
ANA, BEN, CHO = (Person(name, email=f"{name.lower()}@example.org") for name in ("Ana", "Ben", "Cho"))
ZONES = ["UTC", "Europe/Lisbon", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_people_take_turns_week_by_week() -> None:
    weekly = Schedule("first", (ANA, BEN, CHO))
    mondays = [at("2026-01-05T09:00") + timedelta(weeks=week) for week in range(4)]
    assert [on_call_at(weekly, monday) for monday in mondays] == [ANA, BEN, CHO, ANA]
    assert on_call_at(weekly, mondays[1] - timedelta(microseconds=1)) is ANA


def test_there_is_somebody_before_the_first_day_too() -> None:
    assert on_call_at(Schedule("first", (ANA, BEN, CHO)), at("2026-01-05T08:59")) is CHO


def test_the_handover_stays_at_nine_on_the_wall_when_the_clocks_change() -> None:
    daily = Schedule("first", (ANA, BEN), timedelta(days=1), date(2026, 3, 27), time(9), "Europe/Lisbon")
    # Summer time begins on 29 March: nine in Lisbon is 09:00Z before it and 08:00Z from then on.
    handovers = [at(f"2026-03-{clock}") for clock in ("27T09:00", "28T09:00", "29T08:00", "30T08:00")]
    assert [on_call_at(daily, moment) for moment in handovers] == [ANA, BEN, ANA, BEN]
    assert [on_call_at(daily, moment - INSTANT) for moment in handovers] == [BEN, ANA, BEN, ANA]


def test_in_the_hour_that_comes_twice_the_first_time_hands_over() -> None:
    # On 25 October, 01:30 in Lisbon is 00:30Z and then 01:30Z again.
    nightly = Schedule("first", (ANA, BEN), timedelta(days=1), date(2026, 10, 24), time(1, 30), "Europe/Lisbon")
    people = [on_call_at(nightly, at(f"2026-10-25T{clock}")) for clock in ("00:29", "00:30", "01:00", "01:29", "01:45")]
    assert people == [ANA, BEN, BEN, BEN, BEN]


def test_a_handover_in_the_hour_that_never_comes_still_happens() -> None:
    # On 29 March the clocks of Lisbon go from 01:00 to 02:00, so 01:30 is left out.
    nightly = Schedule("first", (ANA, BEN), timedelta(days=1), date(2026, 3, 28), time(1, 30), "Europe/Lisbon")
    moments = [at(f"2026-03-{clock}") for clock in ("28T01:30", "29T01:29", "29T01:30", "30T00:29", "30T00:30")]
    assert [on_call_at(nightly, moment) for moment in moments] == [ANA, ANA, BEN, BEN, ANA]


def test_an_override_takes_over_and_gives_back() -> None:
    holiday = Shift(CHO, at("2026-01-07T00:00"), at("2026-01-08T00:00"))
    covered = Schedule("first", (ANA, BEN), overrides=(holiday,))
    moments = (holiday.start - INSTANT, holiday.start, holiday.end - INSTANT, holiday.end, at("2026-01-12T09:00"))
    assert [on_call_at(covered, moment) for moment in moments] == [ANA, CHO, CHO, ANA, BEN]


def test_of_two_overrides_the_later_in_the_list_counts() -> None:
    days = [Shift(person, at("2026-01-07T00:00"), at("2026-01-08T00:00")) for person in (BEN, CHO)]
    assert on_call_at(Schedule("first", (ANA,), overrides=tuple(days)), at("2026-01-07T12:00")) is CHO


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from([1, 8, 12, 24, 24 * 7, 24 * 14]),
    st.times(),
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 100)), max_size=3),
    st.integers(0, 400 * 24 * 60).map(lambda minutes: at("2025-10-01T00:00") + timedelta(minutes=minutes)),
)
def test_every_instant_has_exactly_one_person(
    zone: str, hours: int, handover: time, covered: list[tuple[int, int]], begin: datetime
) -> None:
    overrides = tuple(
        Shift(CHO, begin + timedelta(hours=after), begin + timedelta(hours=after + length)) for after, length in covered
    )
    schedule = Schedule(
        "any", (ANA, BEN), timedelta(hours=hours), handover=handover, time_zone=zone, overrides=overrides
    )
    first = datetime.combine(schedule.start, handover)
    nearby = (begin.replace(tzinfo=None) - first) // schedule.shift
    turns = range(nearby - 50, nearby + 300)
    begins = [(first + turn * schedule.shift).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for turn in turns]
    for moment in (begin + timedelta(hours=17 * step) for step in range(14)):
        turn = turns[max(place for place, start in enumerate(begins) if start <= moment)]
        covering = any(shift.start <= moment < shift.end for shift in overrides)
        assert on_call_at(schedule, moment) is (CHO if covering else (ANA, BEN)[turn % 2])


@pytest.mark.parametrize("zone", ["Lisbon", "Europe", "../secrets", ""])
def test_a_time_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="Europe/Lisbon"):
        Schedule("first", (ANA,), time_zone=zone)


def test_a_schedule_without_people_or_with_an_impossible_shift_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one person"):
        Schedule("first", ())
    with pytest.raises(ValueError, match="at least an hour"):
        Schedule("first", (ANA,), timedelta(minutes=59))
    with pytest.raises(ValueError, match="ends before it starts"):
        Schedule("first", (ANA,), overrides=(Shift(BEN, at("2026-01-08T00:00"), at("2026-01-07T00:00")),))


def test_contacts_say_what_they_are_for() -> None:
    person = Person("Ana", "ana@example.org", slack="U02AB", pagerduty="PABC")
    assert person.contacts() == ("email:ana@example.org", "slack:U02AB", "pagerduty:PABC")
