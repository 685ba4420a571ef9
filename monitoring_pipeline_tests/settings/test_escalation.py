import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from monitoring_pipeline.notify.escalation import FOUR_LEVELS, RESPONSE_TARGETS, Ladder
from monitoring_pipeline.settings.documents import read_document
from monitoring_pipeline.settings.escalation import Escalation, OnCall, responder_warnings
from monitoring_pipeline.settings.section_checks import people_are_known
from monitoring_pipeline_tests.pages import ROOT, blocks

ANA = {"name": "Ana Costa", "email": "ana@example.org"}


def example() -> dict[str, Any]:
    """What the guide shows."""
    page = ROOT / "docs" / "incidents.md"
    (text,) = [block.code for block in blocks(page) if block.language == "yaml" and "on_call:" in block.code]
    document = read_document(text, "incidents.md")
    assert document.problems == ()
    return document.data


def on_call(data: Any) -> OnCall:
    return OnCall.model_validate_json(json.dumps(data))


def escalation(data: Any) -> Escalation:
    return Escalation.model_validate_json(json.dumps(data))


def test_without_a_word_there_are_four_levels_that_name_nobody() -> None:
    assert Escalation().policy(OnCall()) == Ladder(FOUR_LEVELS, targets=RESPONSE_TARGETS)


def test_the_example_of_the_guide_becomes_a_ladder() -> None:
    data = example()
    ladder = escalation(data["escalation"]).policy(on_call(data["on_call"]))
    assert [level.after for level in ladder.levels] == [timedelta(minutes=minutes) for minutes in (0, 15, 30, 60)]
    now = datetime(2026, 3, 9, 10, tzinfo=UTC)
    told = [[person.name for person in level.responders(now)] for level in ladder.levels]
    assert told == [["Ana Costa"], ["Ben Okafor"], ["Cho Min-ji"], ["Dita Novak"]]
    christmas = datetime(2026, 12, 25, 12, tzinfo=UTC)
    assert [person.name for person in ladder.levels[0].responders(christmas)] == ["Cho Min-ji"]
    assert list(people_are_known(data)) == []
    assert responder_warnings(on_call(data["on_call"]), escalation(data["escalation"])) == []


def test_the_first_two_schedules_are_the_first_two_levels_where_no_levels_are_written() -> None:
    data = example()
    ladder = Escalation().policy(on_call(data["on_call"]))
    assert [level.schedule.name if level.schedule else None for level in ladder.levels] == [
        "first",
        "second",
        None,
        None,
    ]


def test_a_pager_takes_over_unless_it_is_told_not_to() -> None:
    assert Escalation().policy(OnCall(), pager="pagerduty").handed_to == "pagerduty"
    assert escalation({"hand_over": False}).policy(OnCall(), pager="pagerduty").handed_to == ""


@pytest.mark.parametrize(
    ("people", "words"),
    [
        (0, "escalation reaches 0 responders (nobody), 3 are needed"),
        (2, "escalation reaches 2 responders (P0, P1), 3 are needed"),
    ],
)
def test_fewer_than_three_responders_are_warned_of(people: int, words: str) -> None:
    named = {f"p{i}": {"name": f"P{i}", "email": f"p{i}@example.org"} for i in range(people)}
    rota = {"first": {"people": list(named)}} if named else {}
    warnings = responder_warnings(on_call({"people": named, "schedules": rota}), Escalation())
    assert warnings[0].startswith(words)


def test_people_nobody_asks_do_not_count_and_levels_without_people_are_named() -> None:
    named = {f"p{i}": {"name": f"P{i}", "email": f"p{i}@example.org"} for i in range(4)}
    calls = on_call({"people": named, "schedules": {"first": {"people": ["p0", "p1", "p2"]}}})
    assert responder_warnings(calls, Escalation()) == [
        "escalation: nobody is named for second on call, team lead, head of engineering: only the channels hear of it"
    ]


def test_names_that_stand_nowhere_are_found_with_their_place() -> None:
    data = {
        "on_call": {
            "people": {"ana": ANA},
            "schedules": {"first": {"people": ["ana", "bne"], "overrides": [{"person": "cho"}]}},
        },
        "escalation": {"levels": [{"schedule": "frist", "people": ["ana", "dita"]}, {"people": "ana"}, 3]},
    }
    assert [(found.path, found.message, found.fix) for found in people_are_known(data)] == [
        (("on_call", "schedules", "first", "people", 1), "'bne' is not under on_call.people.", "Known here: ana."),
        (
            ("on_call", "schedules", "first", "overrides", 0, "person"),
            "'cho' is not under on_call.people.",
            "Known here: ana.",
        ),
        (("escalation", "levels", 0, "people", 1), "'dita' is not under on_call.people.", "Known here: ana."),
        (
            ("escalation", "levels", 0, "schedule"),
            "'frist' is not under on_call.schedules.",
            "Did you mean 'first'? Known here: first.",
        ),
    ]
    assert list(people_are_known({"on_call": [], "escalation": None})) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"people": {"ana": {"name": "Ana"}}}, "Nobody can reach them"),
        ({"people": {"ana": ANA | {"email": "ana@example.org\nBcc: x@example.org"}}}, "Write an address"),
        ({"people": {"ana": ANA | {"slack": "@ana"}}}, "Write a member's id"),
        ({"people": {"ana": ANA | {"phone": "912345678"}}}, "Write a number with its country"),
        ({"schedules": {"first": {"people": []}}}, "at least 1 item"),
        ({"schedules": {"first": {"people": ["ana"], "time_zone": "Lisbon"}}}, "write one such as Europe/Lisbon"),
        ({"schedules": {"first": {"people": ["ana"], "handover": "9"}}}, "Write a time of day"),
        ({"schedules": {"first": {"people": ["ana"], "shift": "30m"}}}, "A shift takes an hour at least"),
    ],
)
def test_what_nobody_could_be_reached_by_is_refused(data: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        on_call(data)


def test_levels_out_of_order_and_none_at_all_are_refused() -> None:
    with pytest.raises(ValidationError, match="put them in order"):
        escalation({"levels": [{"after": "15m", "role": "b"}, {"after": "0m", "role": "a"}]})
    with pytest.raises(ValidationError, match="at least 1 item"):
        escalation({"levels": []})
    with pytest.raises(ValidationError, match="whole number of minutes"):
        escalation({"levels": [{"after": "soon", "role": "a"}]})
