import re
import subprocess

import pytest
from ruamel.yaml import YAML

from monitoring_pipeline.settings.defaults import BUDGETS
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.pages import ROOT

CONFIG = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(require("amtool", "/usr/bin/amtool")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_alertmanager_takes_the_configuration() -> None:
    checked = amtool("check-config", str(CONFIG))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("receiver", "labels"),
    [
        ("dead-man", "alertname=Watchdog severity=info"),
        ("page", "alertname=ScoringServiceDown severity=critical model=churn"),
        ("page", "alertname=performance_decline severity=critical model=churn incident=I1"),
        ("ticket", "alertname=HostDiskFull severity=warning instance=here"),
        ("shown-only", "alertname=ModelDrifts severity=info model=churn"),
        ("ticket", "alertname=of_somebody_else"),
    ],
)
def test_an_alert_goes_where_its_severity_says(receiver: str, labels: str) -> None:
    routed = amtool(
        "config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={receiver}", *labels.split()
    )
    assert routed.returncode == 0, routed.stdout + routed.stderr


def test_a_secret_is_in_a_file_and_nowhere_else() -> None:
    said = CONFIG.read_text()
    files = [line.split(": ")[1] for line in said.splitlines() if "_file:" in line]
    assert len(files) == 3
    assert all(file.startswith("/run/secrets/") for file in files)
    assert not any(word in said for word in ("routing_key:", "api_url:", "credentials:", "password"))


def test_the_rules_of_the_monitor_that_are_held_back_are_those_on_serving() -> None:
    (held,) = (
        matcher.partition("=~")[2].strip('"')
        for rule in YAML(typ="safe").load(CONFIG)["inhibit_rules"]
        for matcher in rule["target_matchers"]
        if "serving_" in matcher
    )
    # Alertmanager anchors its patterns at both ends.
    ours = ["serving_errors", "serving_slow", *(f"{name}_budget_burns" for name in BUDGETS)]
    assert [name for name in ours if not re.fullmatch(held, name)] == ["freshness_budget_burns"]
    assert not re.fullmatch(held, "performance_decline")
