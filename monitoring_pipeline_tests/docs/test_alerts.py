import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from monitoring_pipeline.notify.actions import FORMS
from monitoring_pipeline.notify.incidents import GroupingPolicy, Tie
from monitoring_pipeline.notify.routing import DEFAULT_ROUTES
from monitoring_pipeline.notify.stages import STAGES, DeliveryRules
from monitoring_pipeline.settings.channels import CHANNEL_NAMES
from monitoring_pipeline.settings.load import load_monitor, parse_monitor
from monitoring_pipeline_tests.pages import README, ROOT, Block, blocks

ALERTS, INCIDENTS, OBJECTIVES = (ROOT / "docs" / f"{name}.md" for name in ("alerts", "incidents", "objectives"))
SECTIONS = [
    each
    for page in (README, ALERTS, INCIDENTS, OBJECTIVES)
    for each in blocks(page)
    if each.language == "yaml" and not each.file
]
PLAIN: dict[str, Any] = {"model": "churn", "start": "2026-03-02T00:00Z", "features": {"numeric": ["tenure_months"]}}

MEASURED = PLAIN | {
    "columns": {"status": "status", "latency_ms": {"total": "latency_ms"}, "served_by": "served_by"},
    "freshness": {"sources": [{"name": "users", "max_age": "1h", "column": "users_at"}]},
    "fairness": {"attributes": ["region"]},
}
"""A monitor that knows all that can be promised."""


def first_cells(page: Path, heading: str) -> list[str]:
    """Return the first cell of each row of the table under a heading of its first row."""
    table = re.search(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(), flags=re.M)
    assert table is not None
    return [row.strip("| ").split(" | ")[0].strip("`") for row in table[1].splitlines()]


@pytest.mark.parametrize("block", SECTIONS, ids=str)
def test_an_example_is_a_section_that_a_monitor_may_have(block: Block, tmp_path: Path) -> None:
    rest = "".join(f"{key}: {json.dumps(value)}\n" for key, value in MEASURED.items())
    (tmp_path / "churn.yaml").write_text(rest + block.code)
    assert load_monitor(tmp_path / "churn.yaml").model == "churn"


def test_every_channel_has_an_example_that_names_its_variables() -> None:
    shown: set[str] = set()
    for block in (each for each in SECTIONS if each.page == ALERTS):
        found = parse_monitor(PLAIN | YAML(typ="safe").load(block.code)).notifications
        shown |= found.forms().keys()
        if len(found.forms()) == 1 and "routes" not in block.code:
            for variable in (each for form in found.forms().values() for each in form.variables()):
                assert variable in block.code
    assert shown == set(CHANNEL_NAMES) - {"console"}


def test_the_ties_are_those_of_the_code_strongest_first() -> None:
    assert first_cells(ALERTS, "tie") == [tie.value for tie in Tie]


def test_the_stages_are_those_of_the_code_in_their_order() -> None:
    names = [stage.__name__.strip("_").replace("_", " ") for stage in STAGES]
    assert first_cells(ALERTS, "stage") == names


def test_the_routes_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (info|warning|critical) \| (.+) \|$", ALERTS.read_text(), flags=re.M)
    assert {name: tuple(re.sub(r" \(\w+\)", "", told).split(", ")) for name, told in rows} == dict(DEFAULT_ROUTES)


def test_the_numbers_in_the_examples_are_the_defaults() -> None:
    told = parse_monitor(PLAIN).notifications
    asked = [YAML(typ="safe").load(block.code) for block in SECTIONS if block.page == ALERTS]
    (grouping,) = [parse_monitor(PLAIN | each).incidents for each in asked if "incidents" in each]
    (limits,) = [
        parse_monitor(PLAIN | each).notifications for each in asked if "per_hour" in each.get("notifications", {})
    ]
    assert (limits.late_after, limits.per_hour, limits.digest_hour) == (
        told.late_after,
        told.per_hour,
        told.digest_hour,
    )
    rules, policy = DeliveryRules(lambda _severity: []), GroupingPolicy()
    assert (rules.late_after, rules.per_hour, rules.digest_hour) == (told.late_after, told.per_hour, told.digest_hour)
    assert (grouping.same_onset, grouping.reopen_within) == (policy.same_onset, policy.reopen_within)


def test_every_thing_a_person_can_do_is_on_the_page_with_what_it_needs() -> None:
    rows = [row.strip("| ").split(" | ") for row in INCIDENTS.read_text().splitlines() if row.startswith("| `")]
    shown = {row[0].strip("`"): row[1:3] for row in rows if row[0].strip("`") in FORMS}
    assert set(shown) == {kind.value for kind in FORMS}
    for kind, form in FORMS.items():
        needs, may = (set(re.findall(r"`(\w+)`", cell)) for cell in shown[kind.value])
        either = {"sev", "kind"} if kind == "triage" else set()
        assert (needs, may) == ({*form.needs} | either, {*form.may} - either), kind
