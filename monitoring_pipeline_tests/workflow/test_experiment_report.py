"""An experiment from the split to what follows from it, on a real deployment."""

import json
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.serve.assignment import TREATMENT
from monitoring_pipeline.workflow.experiment_report import count_arms, read_experiments
from monitoring_pipeline_tests.deployments import MODEL, Deployment, customers
from monitoring_pipeline_tests.traffic import START, hour

ASKED = {
    "start": START.isoformat(),
    "baseline": 0.45,
    "relative_mde": 0.2,
    "guard_rails": {"latency_p99_ms": None, "error_rate": None},
}


def serve_day(deployment: Deployment, day: int, *, gain: float) -> None:
    """Serve a day of customers; `gain` of those of the treatment who would have said no say yes."""
    rows = customers([hour(24 * day + number) for number in range(24)], rows=120)
    arms = deployment.monitor.experiments["offer"].assignment("offer").arms(rows["prediction_id"])
    won = (pd.Series(arms) == TREATMENT) & (np.random.default_rng(day).random(len(rows)) < gain)
    rows.loc[won, "actual"] = 1
    deployment.log(rows)
    deployment.label(rows)


@pytest.mark.parametrize(
    ("gain", "smallest", "expected"), [(0.4, 0.2, "ship"), (0.0, 0.2, "stop"), (0.0, 0.02, "continue")]
)
def test_an_experiment_is_decided_by_what_its_arms_showed(
    deployment: Deployment, gain: float, smallest: float, expected: str
) -> None:
    asked = {"offer": ASKED | {"relative_mde": smallest}}
    deployment.watch({"experiments": asked, "labels": {"maturity": "1h"}, "slices": {"enabled": False}})
    serve_day(deployment, 0, gain=gain)
    deployment.set_clock(START + timedelta(days=1, hours=3))
    deployment.compute(0, 1)
    result = deployment.run(f"{MODEL}__daily", partition_key=f"{START:%Y-%m-%d}", raise_on_error=False)
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks["experiments_go_on"].passed is (expected == "continue")
    assert f"offer: {expected}" in str(checks["experiments_go_on"].description)
    stored = deployment.store.read_signals("experiments", MODEL, START + 23 * HOUR, START + 24 * HOUR)
    found = {signal.metric: signal for entries in stored.values() for signal in entries}
    assert found["experiment.split_p_value"].value is not None
    assert found["experiment.split_p_value"].value > 0.001
    if expected == "ship":
        low = found["experiment.difference"].low
        assert low is not None
        assert low > 0


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
