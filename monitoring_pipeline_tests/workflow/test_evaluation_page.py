from datetime import timedelta
from pathlib import Path

import numpy as np

from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.workflow.evaluation_page import write_evaluation_page
from monitoring_pipeline.workflow.offline import evaluate_tables
from monitoring_pipeline_tests.traffic import MODEL, START, hour, log_rows

MONITOR = parse_monitor(
    {
        "model": MODEL,
        "start": START.isoformat(),
        "end": hour(30).isoformat(),
        "features": {"numeric": ["tenure"], "categorical": ["plan"]},
        "windows": ["1h", "4h"],
        "drift": {"min_rows": 30},
    }
)


def test_files_give_the_page_that_a_deployment_would_show(tmp_path: Path) -> None:
    reference = log_rows(2000, seed=1, at=-24 * 14, hours=24 * 14)
    moved = np.where(np.arange(1800) < 1200, 0.0, 80.0) + np.random.default_rng(3).gamma(2.0, 12.0, 1800)
    rows = log_rows(1800, seed=2, hours=30, tenure=moved)
    evaluation = evaluate_tables(MONITOR, reference, rows, None, computed_at=START - timedelta(days=1))
    assert {each.state for each in evaluation.rules if each.rule == "feature_drift"} >= {RuleState.FIRING}
    path = tmp_path / "page.html"
    write_evaluation_page(MONITOR, evaluation, path)
    text = path.read_text()
    assert f"{MODEL} is degraded since" in text or f"{MODEL} is critical since" in text
    assert "tenure" in text
    assert "All models" not in text, "there is no list to go back to"
