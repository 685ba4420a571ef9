"""From a decision to a registered challenger: its training set and its training.

Add a step of training here. Keep which rows and which estimator out: they belong in retrain.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.crash_points import reached
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import ReferenceError, RegistryError, TableError
from monitoring_pipeline.retrain.promotion import CHALLENGER, CHAMPION
from monitoring_pipeline.retrain.refit import RECALIBRATE, REFIT, TrainerError
from monitoring_pipeline.retrain.training import (
    BrokenDataError,
    TrainingError,
    TrainingPlan,
    TrainingSet,
    split_training_set,
)
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.workflow.episodes import EPISODE_TAG, REASON_TAG, episode_folder, first_run_id
from monitoring_pipeline.workflow.experiment_report import runs
from monitoring_pipeline.workflow.model_references import build_version_reference, read_reference_rows
from monitoring_pipeline.workflow.monitor_assets import model_link
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.trainer_process import Trained, Training, train_apart
from monitoring_pipeline.workflow.training_rows import broken_stretches, rows_to_learn_from

RUN_TAG = "dagster_run_id"
"""The tag of a version that says which run trained it."""

REFERENCE_SPAN = pd.Timedelta(days=30)
"""Rows of a challenger's reference: a month, so that a week has four blocks to calibrate on."""


def collect_training_set(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Split recent labelled predictions, with the champion's reference rows before them where that is asked for."""
    if (episode := context.run.tags.get(EPISODE_TAG)) and not monitoring.database.start_episode(
        episode, first_run_id(context)
    ):
        raise dg.Failure(f"{episode} belongs to another run or is over.", allow_retries=False)
    with _end_on_record(context, monitoring):
        chosen = _choose_rows(monitoring, monitor)
    columns, time = monitor.columns, monitor.columns.predicted_at
    folder = episode_folder(context, monitoring, monitor)
    kept = [*monitor.features.kinds(), time, "actual"]
    chosen.training[kept].to_parquet(folder / "training.parquet", index=False)
    chosen.holdout.to_parquet(folder / "holdout.parquet", index=False)
    served = chosen.training[columns.version].dropna() if columns.version in chosen.training else pd.Series(dtype=str)
    facts: dict[str, Any] = {
        "episode": episode or "by hand",
        "training_rows": len(chosen.training),
        "holdout_rows": len(chosen.holdout),
        "available_rows": chosen.available,
        "trained_on": _span(chosen.training[time]),
        "judged_on": _span(chosen.holdout[time]),
        "mean_outcome": float(chosen.training["actual"].mean()),
        "label_coverage": round(chosen.coverage, 4),
        "left_out": dict(chosen.left_out),
        "served_by": {str(version): int(rows) for version, rows in served.value_counts().sort_index().items()},
        "log": monitor.log.kind,
        "digest": chosen.digest,
        "as_of": monitoring.now().isoformat(),
    }
    (folder / "training_set.json").write_text(json.dumps(facts))
    return dg.MaterializeResult(metadata=facts)


@contextmanager
def _end_on_record(context: dg.AssetExecutionContext, monitoring: Monitoring) -> Iterator[None]:
    """Close the episode with the reason when nothing can be trained, which another attempt would not change."""
    try:
        yield
    except (TrainingError, TableError, ReferenceError) as error:
        if episode := context.run.tags.get(EPISODE_TAG):
            status = EpisodeStatus.BLOCKED if isinstance(error, BrokenDataError) else EpisodeStatus.FAILED
            outcome = {"outcome": status.value, "runs": [context.run.run_id], "reasons": [str(error)]}
            monitoring.database.finish_episode(episode, status, outcome, monitoring.now())
        raise dg.Failure(str(error), allow_retries=False) from error


def _choose_rows(monitoring: Monitoring, monitor: Monitor) -> TrainingSet:
    asked, now = monitor.retraining, monitoring.now()
    broken = broken_stretches(monitoring.database.incidents(monitor.registry_name), now=now)
    if still := [each for each in broken if each.is_open]:
        words = "; ".join(f"{each.incident} since {each.start:%Y-%m-%d %H:%M}Z ({each.reason})" for each in still)
        raise BrokenDataError(
            f"{monitor.model}: its data are wrong as of {now:%Y-%m-%d %H:%M}Z, and a model trained on them would be: "
            f"{words}. Resolve the incident once the data are right, or triage it as of kind model if they were."
        )
    coverage = asked.min_label_coverage
    plan = TrainingPlan(
        asked.training_window,
        asked.holdout,
        asked.minimum_labelled_rows,
        maturity=monitor.labels.maturity,
        min_coverage=monitor.performance.min_coverage if coverage is None else coverage,
        max_rows=asked.max_rows,
        since=_champion_trained_until(monitoring, monitor) if asked.trainer == RECALIBRATE else None,
    )
    start = monitor.start
    if plan.window is not None:
        start = max(start, hour_of(now - plan.window - plan.holdout - plan.maturity - HOUR))
    rows, excluded = rows_to_learn_from(monitoring, monitor, start, hour_of(now), broken=broken)
    return split_training_set(
        rows,
        features=list(monitor.features.kinds()),
        time=monitor.columns.predicted_at,
        as_of=now,
        plan=plan,
        excluded=excluded,
        carried=[str(name) for name in rows if name != "labelled_at"],
        older=_reference_rows(monitoring, monitor, share=asked.mix_reference) if asked.mix_reference else None,
        task=monitor.task,
    )


def _champion_trained_until(monitoring: Monitoring, monitor: Monitor) -> datetime | None:
    """Return from when on rows are new to the champion: on others it is surer than it will ever be in service."""
    version = monitoring.registry.version(monitor.registry_name, CHAMPION).version
    reference = monitoring.references.load(monitor.registry_name, version)
    return reference.trained_until if reference else None


def _span(times: pd.Series) -> list[str]:
    return [times.min().isoformat(), times.max().isoformat()]


def train_challenger(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Fit the challenger, register it with its reference rows, and build its reference before anything is judged."""
    registry, folder = monitoring.registry, episode_folder(context, monitoring, monitor)
    versions = registry.versions(monitor.registry_name)
    training = pd.read_parquet(folder / "training.parquet")
    # A run that was killed after it had registered its challenger goes on with that one: its last tag is this.
    own = [entry.version for entry in versions if entry.tags.get(RUN_TAG) == first_run_id(context)]
    version = own[-1] if own else _register(context, monitoring, monitor, training)
    reached("retraining.after_register")
    if not any(runs(each, monitoring.now()) for each in monitor.experiments.values()):
        # While one runs, the alias is its treatment's: nobody may be served by what was not judged.
        earlier = [entry.version for entry in versions if CHALLENGER in entry.aliases]
        registry.set_alias(monitor.registry_name, CHALLENGER, version, expected=next(iter(earlier), None))
    reference = build_version_reference(monitoring, monitor, registry.version(monitor.registry_name, version))
    monitoring.references.save(reference)
    (folder / "challenger.json").write_text(json.dumps({"version": version}))
    return dg.MaterializeResult(
        metadata={
            "version": version,
            "in_mlflow": model_link(monitoring.deployment, monitor.registry_name, version),
            "training_rows": len(training),
            "reference_digest": reference.digest,
        },
        data_version=dg.DataVersion(version),
    )


def _register(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor, training: pd.DataFrame
) -> str:
    from monitoring_pipeline.stores.mlflow_training import TrainingRecord, register_challenger

    folder, asked = episode_folder(context, monitoring, monitor), monitor.retraining
    facts = json.loads((folder / "training_set.json").read_text())
    with _end_on_record(context, monitoring):
        trained = train_rows(monitoring, monitor, training)
    if trained.printed:
        context.log.info(f"{asked.trainer} printed last:\n{trained.printed}")
    time, prediction = monitor.columns.predicted_at, monitor.columns.prediction or "prediction"
    if monitor.task is Task.REGRESSION:
        score, served = None, {prediction: trained.scores}
    else:
        score = monitor.columns.score or "score"
        served = {score: trained.scores, prediction: (trained.scores >= monitor.threshold).astype(np.int64)}
    scored = training.assign(**served)
    types = {str(name): str(kind) for name, kind in training.dtypes.items()}
    return register_challenger(
        monitoring.deployment.tracking_uri,
        model_name=monitor.registry_name,
        estimator=trained.estimator,
        trusted_types=asked.trusted_types,
        features=list(monitor.features.kinds()),
        reference_rows=scored[scored[time] >= scored[time].max() - REFERENCE_SPAN],
        time=time,
        score=score,
        prediction=prediction,
        label="actual",
        record=TrainingRecord(facts, folder / "training.parquet", types),
        parameters={
            "trainer": asked.trainer,
            "training_rows": len(training),
            "training_window": "all" if asked.training_window is None else str(asked.training_window),
            "class_weight": asked.class_weight,
            "mix_reference": asked.mix_reference,
        },
        tags={
            "trained_until": pd.Timestamp(training[time].max()).isoformat(),
            "retrain_reason": context.run.tags.get(REASON_TAG, "by hand"),
            "retrain_episode": facts["episode"],
            "training_set_digest": facts["digest"],
            RUN_TAG: first_run_id(context),
        },
    )


def train_rows(monitoring: Monitoring, monitor: Monitor, training: pd.DataFrame) -> Trained:
    """Return what the monitor's trainer makes of some rows, in a process of its own."""
    asked, champion = monitor.retraining, None
    if asked.trainer is None:
        raise TrainerError(f"{monitor.model}: no trainer. Name one as retraining.trainer in the monitor's YAML.")
    if asked.trainer in (REFIT, RECALIBRATE):
        champion = _champion(monitoring, monitor)
    request = Training(
        asked.trainer,
        list(monitor.features.kinds()),
        monitor.task,
        asked.trusted_types,
        balanced=asked.class_weight is not None,
        seconds=round(timedelta(minutes=asked.limits.minutes).total_seconds()),
        memory_gb=asked.limits.memory_gb,
    )
    return train_apart(training, request, champion=champion)


def _champion(monitoring: Monitoring, monitor: Monitor) -> Any:
    from monitoring_pipeline.serve.scoring import load_scorer

    name, uri = monitor.registry_name, monitoring.deployment.tracking_uri
    try:
        version = monitoring.registry.version(name, CHAMPION).version
        scorer = load_scorer(uri, name, version, monitor.retraining.trusted_types, task=monitor.task)
    except RegistryError as error:
        raise TrainerError(
            f"retraining.trainer {monitor.retraining.trainer} starts from the champion's estimator: {error} Or name a "
            "trainer of your own as package.module:function."
        ) from error
    if unknown := sorted(set(scorer.features) ^ set(monitor.features.kinds())):
        raise TrainerError(
            f"{name} v{version} is served with {', '.join(scorer.features)}; the monitor's features differ in "
            f"{', '.join(unknown)}, so a refit would be another model. Correct features, or name a trainer of your own."
        )
    return scorer.estimator


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
