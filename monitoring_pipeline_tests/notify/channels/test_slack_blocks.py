import json

import pytest

from monitoring_pipeline.notify.channels.slack_blocks import blocks_of, escaped, fallback_of
from monitoring_pipeline.notify.incidents import Step
from monitoring_pipeline.notify.messages import Message, message_of
from monitoring_pipeline_tests.golden_files import assert_golden
from monitoring_pipeline_tests.incidents import ATTACK, opened, resolved, worsened

STEPS = {
    "opened": (opened(), Step.OPENED),
    "worsened": (worsened(), Step.WORSENED),
    "resolved": (resolved(), Step.RESOLVED),
    "hostile": (opened(column=ATTACK), Step.OPENED),
}


@pytest.mark.parametrize("name", STEPS)
def test_the_blocks_are_the_ones_that_were_read_and_found_good(name: str) -> None:
    blocks = blocks_of(message_of(*STEPS[name]))
    assert_golden(f"{name}_slack.json", json.dumps(blocks, indent=2, ensure_ascii=False) + "\n")


def test_nothing_in_the_data_mentions_links_or_ends_a_markup() -> None:
    message = message_of(opened(column=ATTACK), Step.OPENED)
    sent = json.dumps(blocks_of(message), ensure_ascii=False) + fallback_of(message)
    assert "&lt;!channel&gt;" in sent
    assert "@\u200bhere" in sent
    for dangerous in ("<!", "<https://evil", "@here", "@channel"):
        assert dangerous not in sent


@pytest.mark.parametrize("runbook", ["javascript:alert(1)", "https://a.example/x|label", "see the wiki"])
def test_only_an_address_becomes_a_link(runbook: str) -> None:
    small_print = blocks_of(_message(runbook=runbook))[-1]["elements"][0]["text"]
    assert small_print == runbook


def test_a_message_of_the_greatest_size_keeps_within_the_limits_of_block_kit() -> None:
    long = "&<>@here" * 500
    message = _message(
        title=long,
        facts=tuple((long, long) for _ in range(20)),
        top_bins=(long,) * 5,
        reason=long,
        next_step=long,
        incident_id=long,
        runbook=long,
    )
    header, fields, *rest = blocks_of(message)
    assert len(header["text"]["text"]) <= 150
    assert len(fields["fields"]) <= 10
    assert all(len(field["text"]) <= 2000 for field in fields["fields"])
    assert all(len(block["text"]["text"]) <= 3000 for block in rest if block["type"] == "section")
    assert all(len(element["text"]) <= 2000 for element in rest[-1]["elements"])
    assert "&l…" not in json.dumps(blocks_of(message), ensure_ascii=False), "an entity is kept whole or left out"


@pytest.mark.parametrize("limit", range(3, 16))
def test_cutting_never_leaves_half_an_entity(limit: int) -> None:
    cut = escaped("a<b>c&d", limit)
    assert len(cut) <= limit
    assert cut.count("&") == cut.count(";")


def _message(**changes: object) -> Message:
    record = {**message_of(opened(), Step.OPENED).as_record(), **changes}
    return Message.from_record(record)
