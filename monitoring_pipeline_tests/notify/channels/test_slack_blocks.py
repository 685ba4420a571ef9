import json
from dataclasses import replace

import pytest

from monitoring_pipeline.notify.channels.slack_blocks import blocks_of, escaped, fallback_of
from monitoring_pipeline_tests.golden_files import assert_golden
from monitoring_pipeline_tests.told import ESCALATED, HOSTILE, MESSAGES, OPENED


@pytest.mark.parametrize("name", MESSAGES)
def test_the_blocks_are_the_ones_that_were_read_and_found_good(name: str) -> None:
    blocks = blocks_of(MESSAGES[name])
    assert_golden(f"{name}_slack.json", json.dumps(blocks, indent=2, ensure_ascii=False) + "\n")


def test_nothing_in_the_data_mentions_links_or_ends_a_markup() -> None:
    sent = json.dumps(blocks_of(HOSTILE), ensure_ascii=False) + fallback_of(HOSTILE)
    assert "&lt;!channel&gt;" in sent
    assert "@\u200bhere" in sent
    for dangerous in ("<!", "<https://evil", "<javascript", "<@", "@here", "@channel"):
        assert dangerous not in sent


def test_whoever_is_on_call_is_mentioned() -> None:
    for_whom = blocks_of(ESCALATED)[-1]["elements"][0]["text"]
    assert for_whom == "For email:ana@example.com, <@U02ABCDEF>, phone:+49 30 901820"


@pytest.mark.parametrize("runbook", ["javascript:alert(1)", "https://a.example/x|label", "see the wiki"])
def test_only_an_address_becomes_a_link(runbook: str) -> None:
    elements = blocks_of(replace(OPENED, runbook=runbook))[-1]["elements"]
    assert runbook in [element["text"] for element in elements]


def test_a_message_of_the_greatest_size_keeps_within_the_limits_of_block_kit() -> None:
    long = "&<>@here" * 500
    blocks = blocks_of(
        replace(
            OPENED,
            title=long,
            facts=tuple((long, long) for _ in range(20)),
            causes=(long,) * 9,
            top_bins=(long,) * 5,
            reason=long,
            next_step=long,
            incident_id=long,
            runbook=long,
            owner=long,
            to=(long,) * 20,
            links=((long, "https://a.example/" + "a" * 5000),) * 20,
        )
    )
    assert len(blocks[0]["text"]["text"]) <= 150
    assert len(blocks[1]["fields"]) <= 10
    assert all(len(field["text"]) <= 2000 for field in blocks[1]["fields"])
    assert all(len(block["text"]["text"]) <= 3000 for block in blocks[2:] if block["type"] == "section")
    assert len(blocks[-1]["elements"]) <= 10
    assert all(len(element["text"]) <= 2000 for element in blocks[-1]["elements"])
    assert "&l…" not in json.dumps(blocks, ensure_ascii=False), "an entity is kept whole or left out"


@pytest.mark.parametrize("limit", range(3, 16))
def test_cutting_never_leaves_half_an_entity(limit: int) -> None:
    cut = escaped("a<b>c&d", limit)
    assert len(cut) <= limit
    assert cut.count("&") == cut.count(";")
