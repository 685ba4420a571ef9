from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from monitoring_pipeline.judge.conditions import SignalCondition, describe
from monitoring_pipeline.judge.thresholds import TEXTBOOK
from monitoring_pipeline.judge.triggers import Trigger
from monitoring_pipeline.settings.checks import METRICS
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline_tests.pages import (
    PAGES,
    README,
    ROOT,
    anchors,
    blocks,
    lines_missing,
    links,
    prose,
    rows_of_metrics,
)


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_every_link_leads_to_a_file_or_a_heading_that_exists(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, heading = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (heading and heading not in anchors(found)):
            broken.append(target)
    assert broken == []


def test_every_guide_and_decision_can_be_reached_from_the_readme() -> None:
    linked = {(README.parent / target).resolve() for target in links(README)}
    guides = set((ROOT / "docs").rglob("*.md"))
    assert {page for page in guides if page not in linked and page.parent not in linked} == set()


def test_a_folder_of_decisions_is_numbered_without_a_gap() -> None:
    numbers = [int(page.name[:4]) for page in sorted((ROOT / "docs" / "adr").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_metric_is_explained_once_and_no_other() -> None:
    assert set(rows_of_metrics()) == METRICS


@pytest.mark.parametrize("metric", sorted(TEXTBOOK))
def test_the_bands_on_the_page_of_metrics_are_those_of_the_code(metric: str) -> None:
    band = TEXTBOOK[metric]
    critical = "never" if band.critical is None else f"{band.critical:g}"
    assert rows_of_metrics()[metric][-1] == f"{band.warning:g} / {critical}"


def test_a_page_is_read_without_its_code(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A [title](a.md)\n\n<!-- not run: why -->\n```bash\nmake [x](b.md)\n```\n\n"
        "```python\n# c.py\nprint(1)\n```\n\n```text\n1\n```\n\n"
        "See `[y](d.md)`, [z](https://example.org) and [there](#a-title).\n"
    )
    skipped, run, shown = blocks(page)
    assert (skipped.not_run, skipped.is_run, skipped.line) == ("why", False, 4)
    assert (run.file, run.is_run, run.output, shown.is_run) == ("c.py", True, "1\n", False)
    assert links(page) == ["a.md", "#a-title"]
    assert "print" not in prose(page)


def test_output_must_have_the_lines_shown_in_their_order() -> None:
    assert lines_missing("b\nd\n", "a\nb  \nc\nd\n") == []
    assert lines_missing("d\nb\n", "a\nb\nc\nd\n") == ["b"]


def test_the_triggers_shown_on_the_page_of_retraining_are_the_default_ones() -> None:
    shown = next(block.code for block in blocks(ROOT / "docs" / "retraining.md") if block.language == "yaml")
    plain = {"model": "churn", "start": "2026-03-02T00:00Z", "features": {"numeric": ["tenure_months"]}}
    said, meant = (parse_monitor(data).trigger_policy() for data in (plain | YAML(typ="safe").load(shown), plain))
    assert replace(said, triggers=meant.triggers) == meant
    assert list(map(in_words, said.triggers)) == list(map(in_words, meant.triggers))


def in_words(trigger: Trigger) -> tuple[str, int, str]:
    assert isinstance(trigger.condition, SignalCondition)
    return trigger.name, trigger.for_, describe(trigger.condition)
