"""References of versions, and the way from labelled predictions to a challenger that is promoted or not."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from mlflow import MlflowClient

from monitoring_pipeline.definitions import deployment_definitions
from monitoring_pipeline.errors import ReferenceError, RegistryError
from monitoring_pipeline.stores.mlflow_reference import log_reference
from monitoring_pipeline.workflow.model_assets import materialise_references
from monitoring_pipeline.workflow.model_references import build_version_reference
from monitoring_pipeline_tests.deployments import ASKED, FEATURES, MODEL, TRAINED_UNTIL, Deployment, customers
from monitoring_pipeline_tests.traffic import START, hour

SERVED_HOURS = 24


def client(deployment: Deployment) -> MlflowClient:
    uri = deployment.monitoring.deployment.tracking_uri
    return MlflowClient(uri, uri)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (found,) = (
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.is_step_materialization and event.asset_key == dg.AssetKey([MODEL, asset])
    )
    return {name: value.value for name, value in found.metadata.items()}


def served(deployment: Deployment) -> pd.DataFrame:
    rows = deployment.serve(0, SERVED_HOURS - 1)
    deployment.set_clock(hour(SERVED_HOURS) + timedelta(minutes=45))  # when the last of them has its label
    return rows


def retraining_job() -> dg.JobDefinition:
    return deployment_definitions().resolve_job_def("churn__retraining")


def test_a_reference_is_kept_with_its_version_and_says_until_when_it_was_trained(deployment: Deployment) -> None:
    result = deployment.run("churn__reference")
    reference = deployment.monitoring.references.load(MODEL, "1")
    assert reference is not None
    assert (reference.rows, reference.trained_until) == (5 * 24 * 60, TRAINED_UNTIL)
    assert set(reference.columns) == {*FEATURES, "score", "prediction", "actual"}
    assert metadata(result, "reference_distributions")["champion"] == "1"
    assert client(deployment).get_model_version(MODEL, "1").tags["reference_digest"] == reference.digest


def test_building_a_reference_again_later_gives_the_same_digest(deployment: Deployment) -> None:
    first = deployment.monitoring.references.load(MODEL, "1")
    deployment.set_clock(START + timedelta(days=9))
    deployment.run("churn__reference")
    again = deployment.monitoring.references.load(MODEL, "1")
    assert first is not None
    assert again is not None
    assert first.digest == again.digest
    assert first.computed_at != again.computed_at


def test_a_reference_lost_from_the_folder_is_fetched_from_the_registry(deployment: Deployment) -> None:
    (copy,) = (deployment.monitoring.data / "references" / "model=churn").glob("*.json")
    copy.unlink()
    assert deployment.monitoring.references.load(MODEL, "1") is not None
    assert copy.exists()


def test_a_model_without_a_monitored_alias_says_what_to_do(deployment: Deployment) -> None:
    client(deployment).delete_registered_model_alias(MODEL, "champion")
    with pytest.raises(RegistryError, match="set the alias champion"):
        materialise_references(deployment.monitoring, deployment.monitor)


def test_reference_rows_that_lack_a_watched_column_are_refused_with_what_they_have(deployment: Deployment) -> None:
    deployment.watch({"features": {"numeric": ["usage", "age"]}})
    version = deployment.monitoring.registry.version(MODEL, "1")
    with pytest.raises(ReferenceError, match=r"lack age, .* they have usage, tenure, plan"):
        build_version_reference(deployment.monitoring, deployment.monitor, version)


def test_scores_logged_under_another_name_are_the_score_of_the_monitor(deployment: Deployment) -> None:
    rows = customers([START - timedelta(hours=1)]).assign(p=0.5, label=1)
    uri = deployment.monitoring.deployment.tracking_uri
    log_reference(
        rows, model_name=MODEL, version="1", features=FEATURES, time="predicted_at", score="p", prediction="label",
        tracking_uri=uri,
    )  # fmt: skip
    version = deployment.monitoring.registry.version(MODEL, "1")
    reference = build_version_reference(deployment.monitoring, deployment.monitor, version)
    assert {"score", "prediction"} < set(reference.columns)
    assert reference.outcomes is None, "no label was logged"


def test_a_challenger_comes_with_its_reference_and_with_where_it_comes_from(deployment: Deployment) -> None:
    served(deployment)
    result = deployment.run("churn__retraining", tags={"monitoring/reason": "a test"})
    version = metadata(result, "challenger")["version"]
    registered = deployment.monitoring.registry.version(MODEL, "challenger")
    assert (registered.version, version) == ("2", "2")
    assert registered.tags["retrain_reason"] == "a test"
    assert registered.tags["dagster_run_id"] == result.run_id
    assert registered.tags["training_set_digest"] == metadata(result, "training_set")["digest"]
    reference = deployment.monitoring.references.load(MODEL, "2")
    assert reference is not None
    assert reference.trained_until is not None
    assert hour(SERVED_HOURS - 13) < reference.trained_until < hour(SERVED_HOURS - 12), "the hold-out is kept back"
    assert reference.outcomes is not None


def test_a_run_started_again_goes_on_with_the_files_of_the_first(deployment: Deployment) -> None:
    served(deployment)
    client(deployment).delete_registered_model_alias(MODEL, "champion")
    job = dg.reconstructable(retraining_job)
    with dg.execute_job(job, deployment.instance, raise_on_error=False) as first:
        assert not first.success
        failed = [event.step_key for event in first.all_events if event.is_step_failure]
    assert failed == ["churn__challenger_evaluation"]
    client(deployment).set_registered_model_alias(MODEL, "champion", "1")
    options = dg.ReexecutionOptions.from_failure(first.run_id, deployment.instance)
    with dg.execute_job(job, deployment.instance, reexecution_options=options) as second:
        assert second.success
        steps = {event.step_key for event in second.all_events if event.is_step_success}
    assert steps == {"churn__challenger_evaluation", "churn__promotion"}
    (folder,) = (deployment.monitoring.data / "retraining" / MODEL).iterdir()
    assert folder.name == first.run_id
    assert {path.name for path in folder.iterdir()} > {"holdout.parquet", "evaluation.json"}


def test_an_episode_belongs_to_the_run_that_started_it(deployment: Deployment) -> None:
    served(deployment)
    result = deployment.run("churn__retraining", tags={"monitoring/episode": "nobody asked"}, raise_on_error=False)
    assert not result.success
    assert "nobody asked belongs to another run or is over" in str(
        [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    )


@pytest.mark.parametrize(("share", "more"), [(0.0, 0), (0.5, 3600), (1.0, 7200)])
def test_reference_rows_of_the_champion_are_mixed_in_where_asked(
    deployment: Deployment, share: float, more: int
) -> None:
    deployment.watch({"retraining": ASKED["retraining"] | {"mix_reference": share}})
    served(deployment)
    result = deployment.run("churn__retraining", asset_selection=[dg.AssetKey([MODEL, "training_set"])])
    found = metadata(result, "training_set")
    assert found["training_rows"] == 12 * 60 + more
    assert found["holdout_rows"] == 12 * 60
    (folder,) = (deployment.monitoring.data / "retraining" / MODEL).iterdir()
    training, holdout = (pd.read_parquet(Path(folder) / f"{name}.parquet") for name in ("training", "holdout"))
    assert training["predicted_at"].max() < holdout["predicted_at"].min()
