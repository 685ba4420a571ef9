import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from monitoring_pipeline.publish.heartbeats import METRIC
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.metric_names import exported_names, names_in
from monitoring_pipeline_tests.pages import ROOT

DEPLOY = ROOT / "deploy" / "prometheus"
PAGE = ROOT / "docs" / "dashboards.md"
FILES = sorted((DEPLOY / "rules").glob("*.yml"))
SCENARIOS = ("heartbeat_rules.yml", "alert_rules.yml")
"""What promtool is told to expect."""


def rules_of(path: Path) -> list[dict[str, Any]]:
    return [rule for group in YAML(typ="safe").load(path)["groups"] for rule in group["rules"]]


RULES = [(path.name, rule) for path in FILES for rule in rules_of(path)]
ALERTS = [(name, rule) for name, rule in RULES if "alert" in rule]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The rules and what is expected of them side by side, as promtool wants them."""
    for path in (*FILES, *(Path(__file__).with_name(name) for name in SCENARIOS)):
        shutil.copy(path, tmp_path)
    return tmp_path


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(require("promtool", "/usr/bin/promtool")), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("scenarios", SCENARIOS)
def test_an_alert_fires_when_it_must_and_is_quiet_otherwise(folder: Path, scenarios: str) -> None:
    checked = promtool(folder, "test", "rules", scenarios)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("rate", ["14.4", "6", "1"])
def test_another_burn_rate_fails_that_test(folder: Path, rate: str) -> None:
    told = YAML(typ="safe").load(folder / "alert_rules.yml")
    (scenario,) = (each for each in told["tests"] if each["name"].endswith("of a calm day"))
    (folder / "one.yml").write_text(json.dumps(told | {"tests": [scenario]}))
    rules = folder / "serving.yml"
    rules.write_text(rules.read_text().replace(f") {rate} *", f") 10 * {rate} *"))
    checked = promtool(folder, "test", "rules", "one.yml")
    assert (checked.returncode, "FAILED" in checked.stdout + checked.stderr) == (1, True)


def test_every_alert_is_made_to_fire_in_a_scenario(folder: Path) -> None:
    told = "".join((folder / name).read_text() for name in SCENARIOS)
    assert {rule["alert"] for _, rule in ALERTS if rule["alert"] not in told} == set()


def test_prometheus_takes_the_configuration_as_it_is(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "prometheus")
    path = tmp_path / "prometheus" / "prometheus.yml"
    path.write_text(path.read_text().replace("/run/secrets", str(tmp_path)))
    (tmp_path / "scoring_api_key").write_text("key")
    checked = promtool(tmp_path / "prometheus", "check", "config", path.name)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(("file", "rule"), ALERTS, ids=lambda each: each if isinstance(each, str) else each["alert"])
def test_an_alert_says_what_it_is_how_grave_and_what_to_do(file: str, rule: dict[str, Any]) -> None:
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert (ROOT / rule["annotations"]["runbook_url"]).is_file()


def test_nobody_is_called_for_what_the_monitor_judges() -> None:
    judged = {rule["alert"] for name, rule in ALERTS if name == "models.yml"}
    told = {rule["alert"] for _, rule in ALERTS if rule["labels"]["severity"] != "info"}
    assert {"ModelDrifts", "ModelPerformanceLow", "ModelFeaturesStale"} <= judged
    assert judged & told == set()
    measured = {name for _, rule in ALERTS if rule["alert"] in told for name in names_in(rule["expr"])}
    assert not any(name.startswith(("drift_", "performance_", "quality_", "freshness_", "slo_")) for name in measured)


def test_every_metric_the_rules_name_is_exported_or_recorded() -> None:
    recorded = {rule["record"] for _, rule in RULES if "record" in rule}
    asked = {name for _, rule in RULES for name in names_in(rule["expr"])}
    assert asked - recorded - exported_names() - {METRIC} == set()
    assert {name for name in recorded if name not in asked} <= {"model:serving_latency_seconds:p50"}


def test_the_page_on_alerts_lists_them_all_with_their_severities() -> None:
    said: dict[str, set[str]] = {}
    for names, severities in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([a-z, ]+) \|", PAGE.read_text(), flags=re.M):
        said |= {name: set(severities.split(", ")) for name in re.findall(r"\w+", names)}
    meant: dict[str, set[str]] = {}
    for file, rule in ALERTS:
        if file != "heartbeat.yml":
            meant.setdefault(rule["alert"], set()).add(rule["labels"]["severity"])
    assert {name: each for name, each in said.items() if name in meant} == meant
