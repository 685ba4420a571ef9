import json
from dataclasses import replace

import pytest

from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import Step
from monitoring_pipeline.notify.messages import LONGEST_TEXT, Message, message_of, number, one_line
from monitoring_pipeline_tests.golden_files import assert_golden
from monitoring_pipeline_tests.incidents import ATTACK, opened, resolved, worsened

STEPS = {
    "opened": (opened(), Step.OPENED),
    "worsened": (worsened(), Step.WORSENED),
    "resolved": (resolved(), Step.RESOLVED),
    "hostile": (opened(column=ATTACK), Step.OPENED),
}


@pytest.mark.parametrize("name", STEPS)
def test_the_text_is_the_one_that_was_read_and_found_good(name: str) -> None:
    assert_golden(f"{name}.txt", message_of(*STEPS[name]).text())


@pytest.mark.parametrize("name", STEPS)
def test_a_message_survives_the_trip_through_json(name: str) -> None:
    message = message_of(*STEPS[name])
    assert Message.from_record(json.loads(json.dumps(message.as_record()))) == message


def test_data_can_neither_forge_a_line_nor_steer_a_terminal() -> None:
    text = message_of(opened(column="a\nRunbook: https://evil.example\r\x1b[2J\u202eb"), Step.OPENED).text()
    assert "a Runbook: https://evil.example [2J b" in text
    assert not any(line.strip().startswith("Runbook: https://evil") for line in text.splitlines())


def test_a_long_text_is_cut_where_it_shows() -> None:
    line = one_line("x" * 2000)
    assert len(line) == LONGEST_TEXT
    assert line.endswith("x…")


def test_an_incident_without_evidence_still_says_what_and_when() -> None:
    message = message_of(replace(opened(), evidence_summary=()), Step.OPENED)
    assert [name for name, _ in message.facts] == ["Model", "Since", "Hour", "Kind"]
    assert message.next_step


def test_many_columns_are_counted_rather_than_listed() -> None:
    (record,) = opened().evidence_summary
    crowd = tuple({**record, "column": f"column_{place}"} for place in range(40))
    facts = dict(message_of(replace(opened(), evidence_summary=crowd), Step.OPENED).facts)
    assert "column_4" in facts["Also"]
    assert facts["Also"].endswith("; and 35 more")


def test_the_severity_leads_the_title() -> None:
    assert message_of(opened(severity=Level.CRITICAL), Step.OPENED).title == "Critical: churn: feature_drift"
    assert message_of(resolved(), Step.RESOLVED).title == "Resolved: churn: feature_drift"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.123456, "0.1235"), (None, "–"), (1_234_567.0, "1,234,567"), (0.0, "0"), (12, "12"), ("n/a", "n/a")],
)
def test_a_number_is_short_and_a_missing_one_is_a_dash(value: object, shown: str) -> None:
    assert number(value) == shown
