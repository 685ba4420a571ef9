from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring_pipeline.errors import ActionError
from monitoring_pipeline.notify.actions import CHOICES, FORMS, ActionKind, parse_action, silence_asked
from monitoring_pipeline.notify.incidents import Kind

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
VALUES = {
    "incident_id": "churn/feature_drift@2026-03-09T11Z",
    "text": "rolled back to version 3",
    "at": "2026-03-09T12:30+01:00",
    "sev": 2,
    "kind": "data",
    "matchers": "model=churn",
    "until": "4h",
    "silence": "s1",
    "model": "churn",
    "severity": "critical",
    "owner": "team:risk",
    "runbook": "docs/runbooks/low-accuracy.md",
}
BESIDE = ("incident_id", "text", "at")


def said(kind: ActionKind, *names: str, **more: object) -> dict[str, object]:
    fields = {name: VALUES[name] for name in names if name not in BESIDE}
    return {
        "kind": kind.value,
        "author": "ana",
        **{n: VALUES[n] for n in names if n in BESIDE},
        "fields": fields,
        **more,
    }


@pytest.mark.parametrize("kind", ActionKind)
def test_an_action_takes_everything_its_form_names(kind: ActionKind) -> None:
    form = FORMS[kind]
    action = parse_action(said(kind, *form.needs, *form.may), now=NOW)
    assert (action.kind, action.author) == (kind, "ana")
    assert set(action.fields) == {*form.needs, *form.may} - set(BESIDE)
    assert action.at == (NOW - timedelta(minutes=30) if "at" in form.may else NOW)


@pytest.mark.parametrize("kind", ActionKind)
def test_an_action_does_without_what_it_does_not_need_and_names_all_that_it_lacks(kind: ActionKind) -> None:
    form = FORMS[kind]
    extra = ("sev",) if kind is ActionKind.TRIAGE else ()
    assert parse_action(said(kind, *form.needs, *extra), now=NOW).kind is kind
    with pytest.raises(ActionError) as refused:
        parse_action({"kind": kind.value}, now=NOW)
    assert all(f"{name}: found nothing, needed" in str(refused.value) for name in ("author", *form.needs))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "acknowlege"}, "kind: found 'acknowlege', needed one of acknowledge, triage"),
        ({"kind": None}, "kind: found nothing"),
        ({"kind": ["triage"]}, "kind: found"),
        ({"author": 7}, "author: found 7, needed text"),
        ({"author": " \u200b\n"}, "author: found only blanks"),
        ({"author": "a" * 201}, "author: found 201 characters, needed at most 200"),
        ({"text": "a" * 501}, "text: found 501 characters, needed at most 500"),
        ({"fields": {"sev": 5}}, "sev: found 5, needed one of 1, 2, 3, 4"),
        ({"fields": {"sev": True}}, "sev: found True"),
        ({"fields": {"kind": "people"}}, "kind: found 'people', needed one of system, data, model, integration"),
        ({"fields": {}}, "found neither sev nor kind"),
        ({"fields": [1]}, "fields: found"),
        ({"fields": {"sev": 1, "model": "churn"}}, "model: found 'churn', needed nothing: triage takes author,"),
        ({"fields": {"sev": 1, "text": "x"}}, "text: found under fields, needed beside them"),
        ({"sev": 1}, "sev: found beside fields, needed under them"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_was_found_and_needed(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ActionError) as refused:
        parse_action(said(ActionKind.TRIAGE, "incident_id", "sev") | changes, now=NOW)
    assert words in str(refused.value)


@pytest.mark.parametrize("moment", ["2026-03-09T12:01Z", "2026-02-01T00:00Z", "2026-03-09T11:00", "yesterday"])
def test_only_the_recent_past_can_be_put_on_record(moment: str) -> None:
    with pytest.raises(ActionError, match="not in the future and within 30 days"):
        parse_action(said(ActionKind.NOTE, "incident_id", "text", at=moment), now=NOW)


def test_nobody_can_acknowledge_at_an_earlier_time_than_they_do() -> None:
    with pytest.raises(ActionError, match="at: found"):
        parse_action(said(ActionKind.ACKNOWLEDGE, "incident_id", "at"), now=NOW)


def test_a_note_is_one_line_whatever_was_typed() -> None:
    action = parse_action(said(ActionKind.NOTE, "incident_id", text="a\r\nResolved:\x1b[2J b\u202e"), now=NOW)
    assert action.text == "a Resolved: [2J b"


def test_what_is_sought_stays_as_it_was_said_for_names_hold_any_character() -> None:
    odd = "chu\u200brn  x"
    assert parse_action(said(ActionKind.ACKNOWLEDGE, incident_id=f"{odd}/drift"), now=NOW).incident_id == f"{odd}/drift"
    asked = said(ActionKind.SILENCE, text="known", fields={"matchers": f'model="{odd}"', "until": "4h"})
    assert silence_asked(parse_action(asked, now=NOW), id="s1").matchers[0].holds({"model": odd})


def test_a_silence_comes_with_its_words_in_full() -> None:
    action = parse_action(said(ActionKind.SILENCE, "matchers", "until", "text"), now=NOW)
    assert action.fields == {"matchers": 'model="churn"', "until": "2026-03-09T16:00:00+00:00"}
    silence = silence_asked(action, id="s1")
    assert (silence.id, silence.author, silence.comment) == ("s1", "ana", "rolled back to version 3")
    assert (silence.starts_at, silence.ends_at) == (NOW, NOW + timedelta(hours=4))


@pytest.mark.parametrize(
    ("field", "value"), [("until", "60d"), ("until", "2026-03-01T00:00Z"), ("matchers", "model=~.*")]
)
def test_a_silence_that_cannot_be_is_refused_before_anything_is_done(field: str, value: str) -> None:
    asked = said(ActionKind.SILENCE, "text", fields={"matchers": "model=churn", "until": "4h", field: value})
    with pytest.raises(ActionError, match="silence: "):
        parse_action(asked, now=NOW)


def test_the_kinds_of_trouble_are_those_incidents_have() -> None:
    assert CHOICES["kind"] == tuple(Kind)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["author", "incident_id", "text", "at", "fields", "until", "matchers", "sev", "x"])


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first input may wait for a busy machine
@given(st.sampled_from(ActionKind), st.dictionaries(NAMES, JSON), st.dictionaries(NAMES, JSON))
def test_any_json_is_an_action_or_refused(
    kind: ActionKind, beside: dict[str, object], fields: dict[str, object]
) -> None:
    try:
        action = parse_action({"fields": fields, **beside, "kind": kind.value}, now=NOW)
    except ActionError:
        return
    assert action.author
