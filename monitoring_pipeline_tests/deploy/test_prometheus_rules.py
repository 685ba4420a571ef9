import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from monitoring_pipeline.publish.heartbeats import METRIC
from monitoring_pipeline_tests.binaries import require

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules" / "heartbeat.yml"
EXPECTED = Path(__file__).with_name("heartbeat_rules.yml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The rules and what is expected of them side by side, as promtool wants them."""
    shutil.copy(RULES, tmp_path)
    shutil.copy(EXPECTED, tmp_path)
    return tmp_path


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(require("promtool", "/usr/bin/promtool")), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_heartbeat_rules_fire_on_silence_and_on_nothing_else(folder: Path) -> None:
    checked = promtool(folder, "test", "rules", EXPECTED.name)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_rule_with_another_limit_fails_that_test(folder: Path) -> None:
    path = folder / RULES.name
    path.write_text(path.read_text().replace("> 900", "> 9000"))
    assert promtool(folder, "test", "rules", EXPECTED.name).returncode == 1


def test_the_heartbeat_rules_ask_for_the_metric_that_is_exported_and_name_pages_that_exist() -> None:
    (group,) = YAML(typ="safe").load(RULES)["groups"]
    for rule in group["rules"]:
        assert METRIC in rule["expr"]
        assert (ROOT / rule["annotations"]["runbook"]).is_file()
