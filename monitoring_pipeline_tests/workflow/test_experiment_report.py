"""An experiment from the split to what follows from it, on a real deployment."""

import json
from datetime import timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.serve.assignment import TREATMENT
from monitoring_pipeline.workflow.experiment_report import count_arms, read_experiments
from monitoring_pipeline.workflow.partitions import RANGE_END, RANGE_START
from monitoring_pipeline_tests.deployments import MODEL, Deployment, customers
from monitoring_pipeline_tests.traffic import START, hour

ASKED = {
    "start": START.isoformat(),
    "baseline": 0.45,
    "relative_mde": 0.2,
    "guard_rails": {"latency_p99_ms": None, "error_rate": None},
}


def test_an_experiment_is_decided_by_what_its_arms_showed(deployment: Deployment) -> None:
    # Splits of different names are independent: what one treatment gains, both arms of the others share.
    asked = {"gains": ASKED, "same": ASKED, "young": ASKED | {"relative_mde": 0.02}}
    deployment.watch({"experiments": asked, "labels": {"maturity": "1h"}})
    rows = customers([hour(number) for number in range(24)], rows=120)
    arms = deployment.monitor.experiments["gains"].assignment("gains").arms(rows["prediction_id"])
    won = (pd.Series(arms) == TREATMENT) & (np.random.default_rng(0).random(len(rows)) < 0.4)
    rows.loc[won, "actual"] = 1
    deployment.log(rows)
    deployment.label(rows)
    deployment.set_clock(START + timedelta(days=1, hours=3))
    check = run_report(deployment)
    assert not check.passed
    said = dict(each.partition(": ")[::2] for each in str(check.description).split("; ") if ": " in each)
    assert {name: said[name].partition(":")[0] for name in asked} == {
        "gains": "ship",
        "same": "stop",
        "young": "continue",
    }
    stored = deployment.store.read_signals("experiments", MODEL, START + 23 * HOUR, START + 24 * HOUR)
    found = {(signal.metric, signal.column): signal for entries in stored.values() for signal in entries}
    for name in asked:
        assert (found["experiment.split_p_value", name].value or 0) > 0.001
    assert (found["experiment.difference", "gains"].low or 0) > 0
    deployment.watch({"experiments": {"young": asked["young"]}, "labels": {"maturity": "1h"}})
    assert run_report(deployment).passed, "one that goes on wants nobody to act"


def run_report(deployment: Deployment, **partitions: Any) -> dg.AssetCheckEvaluation:
    """Run the asset alone, for the first day unless asked for others; returns its check."""
    chosen, days = [dg.AssetKey([MODEL, "experiment_report"])], partitions or {"partition_key": f"{START:%Y-%m-%d}"}
    result = deployment.run(f"{MODEL}__daily", asset_selection=chosen, **days)
    (check,) = result.get_asset_check_evaluations()
    return check


def test_days_read_again_say_the_same(deployment: Deployment) -> None:
    deployment.watch({"experiments": {"offer": ASKED}, "labels": {"maturity": "1h"}})
    rows = customers([hour(number) for number in range(48)], rows=60)
    deployment.log(rows)
    deployment.label(rows)
    deployment.set_clock(START + timedelta(days=2, hours=3))
    both = {RANGE_START: f"{START:%Y-%m-%d}", RANGE_END: f"{hour(24):%Y-%m-%d}"}
    found = []
    for _ in range(2):
        run_report(deployment, tags=both)
        found.append(deployment.store.read_signals("experiments", MODEL, START, START + 48 * HOUR))
    assert len(found[0]) == 2
    assert found[0] == found[1]
    known = [
        signal.rows for _, said in sorted(found[0].items()) for signal in said if signal.metric.endswith("difference")
    ]
    assert known == [24 * 60, 48 * 60]


def test_labels_that_came_late_count_in_the_days_they_belong_to(deployment: Deployment) -> None:
    deployment.watch({"experiments": {"offer": ASKED}, "labels": {"maturity": "1h"}})
    rows = customers([hour(number) for number in range(24)], rows=120)
    deployment.log(rows)
    deployment.set_clock(START + timedelta(days=1, hours=3))
    count_arms(deployment.monitoring, deployment.monitor, [START])
    (before,) = read_experiments(deployment.monitoring, deployment.monitor, START)
    deployment.label(rows, known_at=START + timedelta(days=1, hours=4))
    deployment.set_clock(START + timedelta(days=2, hours=3))
    count_arms(deployment.monitoring, deployment.monitor, [START + timedelta(days=1)])
    (after,) = read_experiments(deployment.monitoring, deployment.monitor, START + timedelta(days=1))
    assert (sum(before.known.values()), sum(after.known.values())) == (0, len(rows))
    assert json.dumps(after.to_json())
