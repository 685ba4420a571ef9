"""What a challenger learns from and by what: broken data block a retraining, and the champion is its own trainer."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression

from monitoring_pipeline.notify.actions import Action, ActionKind
from monitoring_pipeline.notify.incidents import Incident
from monitoring_pipeline.serve.scoring import load_scorer
from monitoring_pipeline.serve.trusted import CALIBRATION
from monitoring_pipeline.stores.decision_store import Episode, EpisodeStatus
from monitoring_pipeline.stores.mlflow_training import TRAINING_SET
from monitoring_pipeline.workflow.telling import delivery_rules
from monitoring_pipeline_tests.deployments import (
    ASKED,
    MODEL,
    ROWS,
    Deployment,
    champion,
    customers,
    scored,
)
from monitoring_pipeline_tests.traffic import hour

pytestmark = pytest.mark.slow

SERVED_HOURS = 24
HELD_OUT = 12
AGED = {"triggers": [{"name": "age", "condition": {"metric": "model.age_days", "above": 1}}]}


def day(*, turned: bool = False) -> pd.DataFrame:
    return customers([hour(number) for number in range(SERVED_HOURS)], turned=turned)


def due(deployment: Deployment, rows: pd.DataFrame, *, logged: dict[str, Any] | None = None, **retraining: Any) -> None:
    """Serve and label a day, with a retraining due at its last hour; the champion's own estimator is the trainer.

    `logged` is what the log says instead of what was served.
    """
    asked = {name: value for name, value in ASKED["retraining"].items() if name != "trainer"}
    deployment.watch({"retraining": asked | AGED | {"minimum_labelled_rows": ROWS} | retraining})
    served = scored(rows, champion()).drop(columns="actual").assign(model_version="1", **(logged or {}))
    deployment.log_table(pa.Table.from_pandas(served, preserve_index=False))
    deployment.label(rows)
    deployment.set_clock(hour(SERVED_HOURS) + timedelta(minutes=45))
    deployment.compute(SERVED_HOURS - 1, SERVED_HOURS - 1)


def retrain(deployment: Deployment, *steps: str) -> tuple[dg.ExecuteInProcessResult, Episode]:
    """Execute the run the sensor asks for, or some steps of it, and return it with its episode."""
    (request,) = deployment.tick(f"{MODEL}__retraining").run_requests
    selection = [dg.AssetKey([MODEL, step]) for step in steps] or None
    result = deployment.run(f"{MODEL}__retraining", raise_on_error=False, tags=request.tags, asset_selection=selection)
    (episode,) = deployment.monitoring.database.episodes(MODEL)
    return result, episode


def training_set(deployment: Deployment) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    (folder,) = (Path(deployment.monitoring.data) / "retraining" / MODEL).iterdir()
    training, holdout = (pd.read_parquet(folder / f"{name}.parquet") for name in ("training", "holdout"))
    return json.loads((folder / "training_set.json").read_text()), training, holdout


def report(deployment: Deployment, *, kind: str, opened: int, resolved: int | None = None) -> Incident:
    """Let somebody report an incident in one hour and resolve it in another."""
    act, rules = deployment.monitoring.database.act, delivery_rules(deployment.monitor)
    fields = {"model": MODEL, "kind": kind}
    incident = act(Action(ActionKind.OPEN, "", "anna", hour(opened), "usage comes in cents", fields), rules=rules)
    if resolved is None:
        return incident
    return act(Action(ActionKind.RESOLVE, incident.id, "anna", hour(resolved)), rules=rules)


def test_the_champion_is_fitted_again_where_nobody_names_a_trainer_and_mlflow_knows_on_what(
    deployment: Deployment,
) -> None:
    due(deployment, day(turned=True), class_weight="balanced", max_rows=400)
    retrain(deployment, "training_set", "challenger")
    facts, training, _ = training_set(deployment)
    version = deployment.monitoring.registry.version(MODEL, "challenger")
    uri = deployment.monitoring.deployment.tracking_uri
    old, new = (load_scorer(uri, MODEL, number, ()).estimator for number in ("1", version.version))
    assert new["columns"].get_params()["numbers__with_mean"] == old["columns"].get_params()["numbers__with_mean"]
    assert (np.sign(new["model"].coef_[0, -2:]) == -np.sign(old["model"].coef_[0, -2:])).all(), "it has learnt"

    assert (len(training), facts["available_rows"]) == (400, HELD_OUT * ROWS)
    assert facts["served_by"] == {"1": 400}
    assert hour(0) <= pd.Timestamp(facts["trained_on"][0]) < pd.Timestamp(facts["trained_on"][1]) < hour(HELD_OUT)
    run = MlflowClient(uri, uri).get_run(version.run_id)
    (entered,) = run.inputs.dataset_inputs if run.inputs else []
    assert facts["digest"].startswith(entered.dataset.digest)
    assert {each["name"] for each in json.loads(str(entered.dataset.schema))["columns"]} == {*training}
    assert {name: run.data.params[name] for name in ("trainer", "training_rows", "class_weight", "model.model__C")} == {
        "trainer": "refit",
        "training_rows": "400",
        "class_weight": "balanced",
        "model.model__C": "1.0",
    }
    assert run.data.tags["retrain_reason"] == version.tags["retrain_reason"] != "by hand"
    assert deployment.monitoring.registry.read_json(version, TRAINING_SET) == facts


def test_while_the_data_are_known_to_be_wrong_nothing_is_trained(deployment: Deployment) -> None:
    due(deployment, day())
    incident = report(deployment, kind="data", opened=20)
    result, episode = retrain(deployment)
    assert not result.success
    assert episode.status is EpisodeStatus.BLOCKED
    reason = str(episode.outcome["reasons"])
    assert "its data are wrong as of 2026-" in reason
    assert f"{incident.id} since {hour(20):%Y-%m-%d %H:%M}Z (usage comes in cents). Resolve the incident" in reason
    assert [each.version for each in deployment.monitoring.registry.versions(MODEL)] == ["1"]
    assert not (deployment.monitoring.data / "retraining").exists()


def test_trouble_of_the_model_is_what_retraining_is_for(deployment: Deployment) -> None:
    due(deployment, day())
    report(deployment, kind="model", opened=20)
    result, _ = retrain(deployment, "training_set")
    assert result.success


def test_hours_of_an_incident_and_values_in_quarantine_are_left_out_and_counted(deployment: Deployment) -> None:
    rows = day()
    bad = (rows["predicted_at"] < hour(2)) & (rows["usage"] > 50)
    due(deployment, rows, logged={"usage": rows["usage"].mask(bad, np.inf)})
    incident = report(deployment, kind="data", opened=4, resolved=6)
    result, _ = retrain(deployment, "training_set")
    assert result.success
    facts, training, holdout = training_set(deployment)
    assert facts["left_out"] == {f"hours of incident {incident.id}": 2 * ROWS, "quarantined: infinite": bad.sum()}
    assert len(training) == HELD_OUT * ROWS - sum(facts["left_out"].values())
    assert not ((training["predicted_at"] >= hour(4)) & (training["predicted_at"] < hour(6))).any()
    assert np.isfinite(training["usage"]).all()
    assert (len(holdout), facts["label_coverage"]) == (HELD_OUT * ROWS, 1.0)
    assert {"prediction_id", "model_version", "score", "prediction"} < set(holdout)


def test_a_trainer_that_fails_ends_the_episode_with_what_it_said(deployment: Deployment) -> None:
    due(deployment, day(), trainer="monitoring_pipeline_tests.trainers:raising")
    result, episode = retrain(deployment)
    assert not result.success
    assert episode.status is EpisodeStatus.FAILED
    assert "raising on 720 rows: it raised ZeroDivisionError: division by zero" in str(episode.outcome["reasons"])
    assert "about to divide" in str(episode.outcome["reasons"])


def test_a_champion_that_cannot_be_loaded_ends_the_episode_with_what_to_do(deployment: Deployment) -> None:
    due(deployment, day())
    deployment.add_version(customers([hour(0)]), trained_until=hour(0), alias="champion")
    result, episode = retrain(deployment)
    assert not result.success
    assert episode.status is EpisodeStatus.FAILED
    assert "starts from the champion's estimator" in str(episode.outcome["reasons"])
    assert "name a trainer of your own" in str(episode.outcome["reasons"])


def test_where_only_the_probabilities_went_wrong_a_recalibrated_champion_takes_over(deployment: Deployment) -> None:
    rows = day()
    fewer = np.random.default_rng(5).random(len(rows)) < 0.8
    due(
        deployment,
        rows.assign(actual=rows["actual"].mask(fewer, 0)),
        trainer="recalibrate",
        metric="log_loss",
    )
    result, episode = retrain(deployment)
    assert result.success
    assert episode.status is EpisodeStatus.PROMOTED
    found: Any = episode.outcome["comparisons"]
    assert found["roc_auc"]["gain"] == 0
    assert found["log_loss"]["low"] > 0.1
    uri = deployment.monitoring.deployment.tracking_uri
    inner = load_scorer(uri, MODEL, "2", CALIBRATION).estimator.estimator.estimator["model"]
    assert isinstance(inner, LogisticRegression)
