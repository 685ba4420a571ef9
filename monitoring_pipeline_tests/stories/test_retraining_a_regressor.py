"""A regressor that says too little in autumn is retrained, compared day by day, and replaced."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from examples.bike_demand.demo import AUTUMN
from examples.bike_demand.model import NAME
from examples.demonstration import Service
from monitoring_pipeline.describe.regression_outcomes import RegressionOutcomes
from monitoring_pipeline.settings.load import load_monitor
from monitoring_pipeline.workflow.build import build_definitions
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline_tests.deployments import open_instance
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store

NOVEMBER = datetime(2011, 11, 1, tzinfo=UTC)


@pytest.mark.slow
def test_a_regressor_that_learnt_from_spring_loses_autumn_to_one_that_has_seen_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITORING_HOME", str(tmp_path))
    monkeypatch.setenv("MONITORING_CLOCK", str(tmp_path / "clock"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_mlflow_store(tmp_path))
    (tmp_path / "clock").write_text(NOVEMBER.isoformat())
    monitor, monitoring = load_monitor(Path("monitors") / f"{NAME}.yaml"), Monitoring()
    AUTUMN.train(monitoring.deployment.tracking_uri, artifacts=tmp_path / "artifacts")
    Service(AUTUMN, monitoring, monitor).serve(AUTUMN.served_from, NOVEMBER)

    job = build_definitions([monitor]).resolve_job_def(f"{NAME}__retraining")
    with open_instance(tmp_path / "dagster") as instance:
        result = job.execute_in_process(instance=instance)
        (event,) = result.asset_materializations_for_node(f"{NAME}__challenger_evaluation")
    found: Any = event.metadata["evaluation"].value
    assert set(found["comparisons"]) == {"mae", "rmse"}
    mae = found["comparisons"]["mae"]
    assert mae["low"] > 5, "bikers an hour, and the champion is off by more than 40"
    assert (found["outcome"], found["positives"]) == ("promote", None)
    assert found["rows"] == 335, "fourteen days, and one hour of them in which nothing was rented"
    assert monitoring.registry.version(NAME, "champion").version == "2"

    spring, autumn = (monitoring.references.load(NAME, version) for version in ("1", "2"))
    assert spring is None, "only what is served is described"
    assert autumn is not None
    assert isinstance(autumn.outcomes, RegressionOutcomes)
    assert autumn.outcomes.residual.rows == autumn.rows
    assert "score" not in autumn.columns
