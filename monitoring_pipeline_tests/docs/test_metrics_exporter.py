import re
import subprocess
from pathlib import Path

import pytest

from monitoring_pipeline.publish.host import Host
from monitoring_pipeline.publish.metrics import (
    FEATURE_METRICS,
    HELP,
    Families,
    Measured,
    NewestHour,
    RecordedCounts,
    families_of_hour,
    families_of_records,
    metric_name,
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


def tables() -> list[dict[str, set[str]]]:
    """Return the labels that each table names, by metric."""
    found: list[dict[str, set[str]]] = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|---"):
            found.append({})
        elif line.startswith("| `"):
            labels = set(cells[1].split(", ")) if cells[1] else set()
            found[-1] |= dict.fromkeys(re.findall(r"`([\w.]+)`", cells[0]), labels)
    return found


def exported(folder: Path) -> Families:
    """Return one of everything."""
    signals = [
        Measured(metric, "1", "24h", "tenure", "nat" if metric == "drift.js" else "1", 0.1, None, "ok")
        for metric in (*FEATURE_METRICS, "slo.burn_rate")
    ]
    signals.append(signals[0]._replace(metric="performance.accuracy", column=""))
    signals.append(signals[0]._replace(value=None, absence="too_few_rows"))
    hour = NewestHour("churn", MORNING, signals, {"1": 9}, {("1", "tenure"): 2.0}, {("1", "drift", "ok"): 3})
    pair, three = {("churn", "x"): 1}, {("churn", "x", "y"): MORNING}
    counts = RecordedCounts(three, pair, {"churn": MORNING}, pair, {("churn", "x"): MORNING}, three)
    records = families_of_records(counts, models=["churn"], severities=["warning"], statuses=["promoted"])
    return Families(families_of_hour(hour) | records | Host(folder).read())


def test_the_page_lists_every_metric_with_its_labels(tmp_path: Path) -> None:
    signals, metrics, *_ = tables()
    assert metrics.keys() == HELP.keys()
    assert {metric_name(metric, "nat" if metric == "drift.js" else "1") for metric in FEATURE_METRICS} <= signals.keys()
    found = exported(tmp_path)
    known = signals | metrics
    assert len(found) > 25
    for name, family in found.items():
        for labels in family.samples:
            assert {label for label, _ in labels} <= known[name], name
        assert {label for label, _ in max(family.samples, key=len)} == known[name], name
