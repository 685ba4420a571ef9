import copy
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # published without types
import pytest
from ruamel.yaml import YAML

from monitoring_pipeline.judge.limits import LIMITS
from monitoring_pipeline.settings.checks import METRICS
from monitoring_pipeline.settings.documents import read_document
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline_tests.pages import GUIDES, README, ROOT, Block, blocks, rows_of_metrics

REFERENCE = ROOT / "docs" / "reference"
SCHEMA = json.loads((REFERENCE / "monitor.schema.json").read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
COMPLETE = ROOT / "monitoring_pipeline_tests" / "settings" / "complete.yaml"
MONITORS = [COMPLETE, *sorted((ROOT / "monitors").glob("*.y*ml")), *sorted((ROOT / "examples").rglob("*.y*ml"))]
KEYS = set(Monitor.model_fields)
EXAMPLES = [
    block
    for page in (README, *GUIDES)
    for block in blocks(page)
    if block.language == "yaml" and set(YAML(typ="safe").load(block.code) if "\n---" not in block.code else ()) <= KEYS
]
PLAIN = {"model": "churn", "start": "2026-03-02T00:00Z", "features": {"numeric": ["tenure"]}}

Change = Callable[[dict[str, Any]], Any]


def problems(data: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message:.200}" for error in VALIDATOR.iter_errors(data)]


def test_the_reference_of_settings_says_what_the_classes_say_now() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "build_reference.py"))["files"]()
    kept = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.iterdir()}
    differing = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))
    assert differing == [], "A settings class changed since its reference was made: run `make docs`."


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", MONITORS, ids=lambda path: path.name)
def test_a_monitor_of_the_repository_follows_the_schema(path: Path) -> None:
    data = read_document(path.read_text(encoding="utf-8"), path.name).data
    if "model" not in data:  # the sections of a demonstration that replace those of its monitor
        data = read_document((ROOT / "monitors" / f"{path.parent.name}.yaml").read_text(), path.parent.name).data | data
    assert problems(data) == []


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_an_example_of_the_guides_follows_the_schema(block: Block) -> None:
    assert problems(PLAIN | read_document(block.code, str(block)).data) == []


@pytest.mark.parametrize(
    ("typo", "where"),
    [
        (lambda data: data.update(drfit={}), "$"),
        (lambda data: data.pop("model"), "$"),
        (lambda data: data.update(model="churn model"), "$.model"),
        (lambda data: data.update(start="2026-04-01T00:00"), "$.start"),
        (lambda data: data.update(windows=["1 day"]), "$.windows[0]"),
        (lambda data: data.update(threshold="0.5"), "$.threshold"),
        (lambda data: data.update(drift={"metrics": ["pis"]}), "$.drift.metrics[0]"),
        (lambda data: data.update(limits={"quality.nul_rate": {"above": {"warning": 0.1}}}), "$.limits"),
        (lambda data: data["columns"].update(latency="latency_ms"), "$.columns"),
        (lambda data: data["rules"][0]["condition"].update(metric="drift.pis"), "$.rules"),
        (lambda data: data["rules"][0]["condition"].update(windw="24h"), "$.rules"),
        (lambda data: data["rules"][0].update(severity="hgih"), "$.rules"),
        (lambda data: data["rules"][0].update(cooldown="half a day"), "$.rules"),
        (lambda data: data["retraining"].update(training_window="everything"), "$.retraining.training_window"),
        (lambda data: data["notifications"]["slack"].update(token="xoxb"), "$.notifications"),
    ],
)
def test_a_typo_does_not_follow_the_schema(typo: Change, where: str) -> None:
    data = copy.deepcopy(read_document(COMPLETE.read_text(), COMPLETE.name).data)
    typo(data)
    assert [problem for problem in problems(data) if problem.startswith(where)] != []


def test_every_key_has_a_row_and_most_are_explained_in_an_editor() -> None:
    page = (REFERENCE / "monitor.md").read_text()
    assert {key for key in KEYS if f"| `{key}` |" not in page} == set()
    assert "false alarms" not in SCHEMA["properties"]["threshold"]["description"]
    told = SCHEMA["$defs"]["Drift"]["properties"]["false_alarms_per_month"]["description"]
    assert told.startswith("`false_alarms_per_month` is the alarm budget")


@pytest.mark.parametrize("metric", sorted(LIMITS))
def test_the_limits_on_the_page_of_metrics_are_those_of_the_code(metric: str) -> None:
    shown = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", rows_of_metrics()[metric][-1])}
    wanted = {abs(level) for limit in LIMITS[metric] for level in (limit.warning, limit.critical) if level is not None}
    assert wanted <= shown


def test_every_row_of_metrics_says_how_it_is_measured() -> None:
    assert {metric for metric in METRICS if len(rows_of_metrics()[metric]) < 3} == set()
