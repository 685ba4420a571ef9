"""From a decision to a registered challenger: its training set and its training.

Add a step of training here. Keep which rows and which estimator out: they belong in retrain.
"""

import json
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from monitoring_pipeline.capture.windows import hour_of
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import ReferenceError
from monitoring_pipeline.retrain.promotion import CHALLENGER, CHAMPION
from monitoring_pipeline.retrain.training import (
    TrainingPlan,
    cross_fitted_scores,
    load_trainer,
    split_training_set,
)
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.episodes import EPISODE_TAG, REASON_TAG, episode_folder, first_run_id
from monitoring_pipeline.workflow.model_references import build_version_reference, read_reference_rows
from monitoring_pipeline.workflow.resources import Monitoring

REFERENCE_SPAN = pd.Timedelta(days=30)
"""Rows of a challenger's reference: a month, so that a week has four blocks to calibrate on."""


def collect_training_set(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Split recent labelled predictions, with the champion's reference rows before them where that is asked for."""
    asked, now = monitor.retraining, monitoring.now()
    if (episode := context.run.tags.get(EPISODE_TAG)) and not monitoring.database.start_episode(
        episode, first_run_id(context)
    ):
        raise dg.Failure(f"{episode} belongs to another run or is over.", allow_retries=False)
    plan = TrainingPlan(asked.training_window, asked.holdout, asked.minimum_labelled_rows)
    start = max(hour_of(now - plan.window - plan.holdout), monitor.start)
    rows = monitoring.stages(monitor).labelled_rows(start, hour_of(now), as_of=now).to_pandas()
    older = _reference_rows(monitoring, monitor, share=asked.mix_reference) if asked.mix_reference else None
    features = list(monitor.features.kinds())
    chosen = split_training_set(
        rows,
        features=features,
        time=monitor.columns.predicted_at,
        as_of=hour_of(now),
        plan=plan,
        older=older,
        task=monitor.task,
    )
    folder = episode_folder(context, monitoring, monitor)
    chosen.training.to_parquet(folder / "training.parquet", index=False)
    chosen.holdout.to_parquet(folder / "holdout.parquet", index=False)
    facts: dict[str, Any] = {
        "episode": episode or "by hand",
        "training_rows": len(chosen.training),
        "holdout_rows": len(chosen.holdout),
        "mean_outcome": float(chosen.training["actual"].mean()),
        "digest": chosen.digest,
        "as_of": now.isoformat(),
    }
    (folder / "training_set.json").write_text(json.dumps(facts))
    return dg.MaterializeResult(metadata=facts)


def train_challenger(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Fit the challenger, register it with its reference rows, and build its reference before anything is judged."""
    from monitoring_pipeline.stores.mlflow_training import register_challenger

    folder = episode_folder(context, monitoring, monitor)
    facts = json.loads((folder / "training_set.json").read_text())
    training = pd.read_parquet(folder / "training.parquet")
    if monitor.retraining.trainer is None:
        raise dg.Failure(
            f"{monitor.model}: no trainer. Name one as retraining.trainer in the monitor's YAML.", allow_retries=False
        )
    trainer = load_trainer(monitor.retraining.trainer)
    features = list(monitor.features.kinds())
    estimator = trainer(training)
    scores = cross_fitted_scores(training, trainer, features=features, task=monitor.task)
    time = monitor.columns.predicted_at
    prediction = monitor.columns.prediction or "prediction"
    if monitor.task is Task.REGRESSION:
        score, served = None, {prediction: scores}
    else:
        score = monitor.columns.score or "score"
        served = {score: scores, prediction: (scores >= monitor.threshold).astype(np.int64)}
    scored = training.assign(**served)
    version = register_challenger(
        monitoring.deployment.tracking_uri,
        model_name=monitor.registry_name,
        estimator=estimator,
        trusted_types=monitor.retraining.trusted_types,
        features=features,
        reference_rows=scored[scored[time] >= scored[time].max() - REFERENCE_SPAN],
        time=time,
        score=score,
        prediction=prediction,
        label="actual",
        parameters={"training_rows": len(training), "trainer": monitor.retraining.trainer},
        tags={
            "trained_until": pd.Timestamp(training[time].max()).isoformat(),
            "retrain_reason": context.run.tags.get(REASON_TAG, "by hand"),
            "retrain_episode": facts["episode"],
            "dagster_run_id": context.run.run_id,
            "training_set_digest": facts["digest"],
        },
    )
    registry = monitoring.registry
    earlier = [entry.version for entry in registry.versions(monitor.registry_name) if CHALLENGER in entry.aliases]
    registry.set_alias(monitor.registry_name, CHALLENGER, version, expected=next(iter(earlier), None))
    reference = build_version_reference(monitoring, monitor, registry.version(monitor.registry_name, version))
    monitoring.references.save(reference)
    (folder / "challenger.json").write_text(json.dumps({"version": version}))
    return dg.MaterializeResult(
        metadata={"version": version, "training_rows": len(training), "reference_digest": reference.digest},
        data_version=dg.DataVersion(version),
    )


def _reference_rows(monitoring: Monitoring, monitor: Monitor, *, share: float) -> pd.DataFrame:
    version = monitoring.registry.version(monitor.registry_name, CHAMPION)
    rows, roles = read_reference_rows(monitoring.registry, version)
    if roles.label is None:
        raise ReferenceError(
            f"{version.name} v{version.version}: its reference rows were logged without a label, and "
            "retraining.mix_reference trains on them. Log them with log_reference(label=...), or set it to 0."
        )
    names = {roles.time: monitor.columns.predicted_at, roles.label: "actual"}
    frame: pd.DataFrame = rows.to_pandas().rename(columns=names)
    return frame if share == 1 else frame.sample(frac=share, random_state=0)
