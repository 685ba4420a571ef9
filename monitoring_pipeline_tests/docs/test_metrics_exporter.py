import re
import subprocess
from pathlib import Path

import pytest

from monitoring_pipeline.publish.metrics import (
    NewestHour,
    RecordedCounts,
    families_of_hour,
    families_of_records,
    source_family,
)
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.pages import ROOT, blocks
from monitoring_pipeline_tests.verdicts import MORNING

PAGE = ROOT / "docs" / "metrics-exporter.md"
TESTS = """\
rule_files: [model-rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: monitor_last_evaluated_timestamp_seconds{model="churn"}
        values: 0x300
      - series: drift_psi{model="churn", version="1", window="24h", feature="tenure"}
        values: 0.1x300
      - series: drift_psi{model="churn", version="1", window="24h", feature="plan"}
        values: 0.3x300
      - series: drift_psi{model="churn", version="1", window="1h", feature="plan"}
        values: 0.9x300
    promql_expr_test:
      - expr: model:drift_psi:max24h
        eval_time: 1h
        exp_samples:
          - labels: model:drift_psi:max24h{model="churn", version="1"}
            value: 0.3
    alert_rule_test:
      - {eval_time: 3h, alertname: ModelNotEvaluated, exp_alerts: []}
      - eval_time: 3h11m
        alertname: ModelNotEvaluated
        exp_alerts:
          - exp_labels: {severity: critical, model: churn}
            exp_annotations:
              summary: "churn: no hour has been judged for 3h 11m 0s"
              runbook: docs/runbooks/stale-data.md
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for block in blocks(PAGE):
        if block.file:
            (tmp_path / block.file).write_text(block.code)
    (tmp_path / "tests.yml").write_text(TESTS)
    return tmp_path


@pytest.mark.parametrize("asked", [["check", "config", "prometheus.yml"], ["test", "rules", "tests.yml"]])
def test_the_examples_are_right(folder: Path, asked: list[str]) -> None:
    command = [str(require("promtool", "/usr/bin/promtool")), *asked]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_family_of_the_exporter_is_on_the_page() -> None:
    families = families_of_hour(NewestHour("churn", MORNING, []))
    families |= families_of_records(RecordedCounts(), models=[], severities=[], statuses=[]) | source_family({})
    assert families.keys() <= set(re.findall(r"`(\w+)`", PAGE.read_text()))
