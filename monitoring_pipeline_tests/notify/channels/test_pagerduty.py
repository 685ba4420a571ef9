import json
from dataclasses import replace

import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels.pagerduty import PagerDutyChannel, event_of
from monitoring_pipeline_tests.golden_files import assert_golden
from monitoring_pipeline_tests.sinks import Answer, http_sink, like_pagerduty
from monitoring_pipeline_tests.told import ACKNOWLEDGED, ESCALATED, MESSAGES, OPENED, RESOLVED, WORSENED

KEY = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("name", MESSAGES)
def test_the_event_is_the_one_that_was_read_and_found_good(name: str) -> None:
    event = event_of(MESSAGES[name])
    assert_golden(f"{name}_pagerduty.json", json.dumps(event, indent=2, ensure_ascii=False) + "\n")


def test_all_steps_of_an_incident_are_one_incident_of_pagerduty() -> None:
    with http_sink(like_pagerduty) as sink:
        channel = PagerDutyChannel(Credential(KEY), url=f"{sink.url}/v2/enqueue")
        for message in (OPENED, WORSENED, ESCALATED, ACKNOWLEDGED, RESOLVED):
            channel.send(message, dedup_key=message.step)
        events = [posted.json for posted in sink.received]
    assert [event["event_action"] for event in events] == ["trigger", "trigger", "trigger", "acknowledge", "resolve"]
    assert {(event["routing_key"], event["dedup_key"]) for event in events} == {(KEY, OPENED.incident_id)}


def test_a_late_end_of_one_incident_does_not_end_the_next() -> None:
    later = replace(OPENED, incident_id="churn/feature_drift@2026-11-21T06Z")
    first, second = event_of(RESOLVED), event_of(later)
    assert first
    assert second
    assert first["dedup_key"] != second["dedup_key"]


@pytest.mark.parametrize("step", ["noted", "triaged", "mitigated", "none"])
def test_a_note_pages_nobody(step: str) -> None:
    with http_sink(like_pagerduty) as sink:
        PagerDutyChannel(Credential(KEY), url=sink.url).send(replace(OPENED, step=step), dedup_key="k")
        assert sink.received == []


@pytest.mark.parametrize(
    ("severity", "known"), [("critical", "critical"), ("warning", "warning"), ("info", "info"), ("ok", "info")]
)
def test_severities_are_those_pagerduty_knows(severity: str, known: str) -> None:
    event = event_of(replace(OPENED, severity=severity))
    assert event
    assert event["payload"]["severity"] == known


def test_an_event_keeps_within_the_limits_of_pagerduty() -> None:
    links = tuple((f"{n}", f"https://a.example/{n}") for n in range(50))
    event = event_of(replace(OPENED, title="x" * 5000, incident_id="i" * 500, links=links))
    assert event
    assert len(event["payload"]["summary"]) == 1024
    assert len(event["dedup_key"]) <= 255
    assert len(event["links"]) <= 20


def test_the_routing_key_is_never_written_down() -> None:
    with http_sink() as sink:
        sink.script(Answer(400, f'{{"errors": ["routing_key {KEY} is unknown"]}}'))
        with pytest.raises(DeliveryError, match=r"routing_key \*\*\* is unknown") as caught:
            PagerDutyChannel(Credential(KEY), url=sink.url).send(OPENED, dedup_key="k")
    assert KEY not in str(caught.value)
    assert not caught.value.retryable


def test_an_address_that_is_not_pagerdutys_is_not_believed() -> None:
    with http_sink() as portal, pytest.raises(DeliveryError) as caught:
        PagerDutyChannel(Credential(KEY), url=portal.url).send(OPENED, dedup_key="k")
    assert (caught.value.retryable, caught.value.outcome_unknown) == (True, True)
