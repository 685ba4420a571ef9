"""The assets around model versions: references, and the way from a decision to a promoted challenger.

Add an asset here when it happens per version or per retraining rather than per hour. Keep training, comparing and
promoting out: they belong in retrain.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import ReferenceError, RegistryError
from monitoring_pipeline.judge.objectives import BUDGET
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.retrain.gate import (
    Evaluation,
    Outcome,
    Override,
    evaluate_challenger,
    evaluate_regressor,
    respect_budgets,
)
from monitoring_pipeline.retrain.promotion import CHALLENGER, CHAMPION, promote
from monitoring_pipeline.retrain.training import (
    TrainingPlan,
    cross_fitted_scores,
    load_trainer,
    split_training_set,
)
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.workflow.model_references import build_version_reference, read_reference_rows
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.tables import Cell, rounded, table

EPISODE_TAG = "monitoring/episode"
REASON_TAG = "monitoring/reason"
OVERRIDE_TAG, OVERRIDE_BY_TAG = "monitoring/override_gate", "monitoring/override_by"


def model_assets(monitor: Monitor) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return references and retraining of one monitor, and the outside data its lineage starts from."""
    model = monitor.model
    owners = list(monitor.owners) or None

    def key(name: str) -> dg.AssetKey:
        return dg.AssetKey([model, name])

    def retraining(name: str, description: str, deps: list[str], kinds: set[str]) -> dict[str, Any]:
        return {
            "name": name,
            "key_prefix": [model],
            "description": description,
            "deps": [key(dep) for dep in deps],
            "kinds": kinds,
            "group_name": f"{model}_retraining",
            "owners": owners,
        }

    @dg.asset(
        name="reference_distributions",
        key_prefix=[model],
        description="What the reference rows of each served model version look like, kept with it in MLflow.",
        deps=[key("registered_model")],
        kinds={"mlflow", "json"},
        group_name=f"{model}_model",
        owners=owners,
    )
    def reference_distributions(monitoring: Monitoring) -> dg.MaterializeResult:
        return materialise_references(monitoring, monitor)

    @dg.asset(
        **retraining(
            "training_set",
            "Recent labelled predictions, split in time into rows to train on and a hold-out to judge on.",
            ["verdicts", "outcomes", "prediction_log", "label_log"],
            {"parquet"},
        )
    )
    def training_set(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return collect_training_set(context, monitoring, monitor)

    @dg.asset(
        **retraining(
            "challenger",
            "A new model version, trained by the monitor's trainer on the training set and registered as challenger.",
            ["training_set"],
            {"mlflow", "scikitlearn"},
        )
    )
    def challenger(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return train_challenger(context, monitoring, monitor)

    @dg.asset(
        **retraining(
            "challenger_evaluation",
            "Champion and challenger on the same recent hold-out rows, paired.",
            ["challenger"],
            {"json"},
        )
    )
    def challenger_evaluation(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return compare_with_champion(context, monitoring, monitor)

    @dg.asset(
        **retraining(
            "promotion",
            "The champion alias moved to the challenger, or the reason why not; on record either way.",
            ["challenger_evaluation"],
            {"mlflow"},
        )
    )
    def promotion(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return decide_promotion(context, monitoring, monitor)

    outside = [
        dg.AssetSpec(
            key("prediction_log"),
            description="What the model served: one row per prediction, written by the serving process.",
            kinds={"parquet"},
            group_name=f"{model}_sources",
            owners=owners,
        ),
        dg.AssetSpec(
            key("label_log"),
            description="What came true, as it becomes known.",
            kinds={"parquet"},
            group_name=f"{model}_sources",
            owners=owners,
        ),
        dg.AssetSpec(
            key("registered_model"),
            description=f"Versions and aliases of {monitor.registry_name} in the MLflow registry.",
            kinds={"mlflow"},
            group_name=f"{model}_model",
            owners=owners,
        ),
    ]
    return [*outside, reference_distributions, training_set, challenger, challenger_evaluation, promotion]


def materialise_references(monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Build the reference of every version with a monitored alias; versions keep what they have if nothing changed."""
    served = [v for v in monitoring.registry.versions(monitor.registry_name) if set(v.aliases) & set(monitor.aliases)]
    if not served:
        raise RegistryError(
            f"{monitor.registry_name}: no version carries one of the aliases {', '.join(monitor.aliases)}. Register a "
            "model version, log its reference rows with log_reference and set the alias champion."
        )
    built = []
    for version in served:
        reference = build_version_reference(monitoring, monitor, version)
        monitoring.references.save(reference)
        built.append((version, reference))
    champion = next((reference for version, reference in built if CHAMPION in version.aliases), built[-1][1])
    lines = ["| version | aliases | rows | columns | digest |", "|---|---|---:|---:|---|"]
    lines += [
        f"| {ref.version} | {', '.join(ver.aliases)} | {ref.rows} | {len(ref.columns)} | {ref.digest[:12]} |"
        for ver, ref in built
    ]
    return dg.MaterializeResult(
        metadata={
            "versions": dg.MetadataValue.md("\n".join(lines)),
            "champion": champion.version,
            "rows": champion.rows,
            "columns": _column_table(champion),
        },
        data_version=dg.DataVersion("+".join(reference.digest[:12] for _, reference in built)),
    )


def episode_folder(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> Path:
    """Return the folder where the steps of one retraining hand over their files."""
    folder = monitoring.data / "retraining" / monitor.model / first_run_id(context)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def first_run_id(context: dg.AssetExecutionContext) -> str:
    """Return the id of the run, or of the one it was started again from: the retry goes on with its files."""
    return context.run.root_run_id or context.run.run_id


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


REFERENCE_SPAN = pd.Timedelta(days=30)
"""Rows of a challenger's reference: a month, so that a week has four blocks to calibrate on."""


def compare_with_champion(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Score the hold-out with both versions and compare them."""
    from monitoring_pipeline.serve.scoring import load_scorer

    folder = episode_folder(context, monitoring, monitor)
    challenger = json.loads((folder / "challenger.json").read_text())["version"]
    champion = monitoring.registry.version(monitor.registry_name, CHAMPION).version
    holdout = pd.read_parquet(folder / "holdout.parquet")
    features = holdout[list(monitor.features.kinds())]
    scores = [
        load_scorer(
            monitoring.deployment.tracking_uri,
            monitor.registry_name,
            version,
            monitor.retraining.trusted_types,
            task=monitor.task,
        ).score(features)
        for version in (champion, challenger)
    ]
    truth, policy = holdout["actual"].to_numpy(dtype=np.float64), monitor.gate_policy()
    if monitor.task is Task.REGRESSION:
        days = holdout[monitor.columns.predicted_at].dt.floor("D")
        evaluation = evaluate_regressor(truth, scores[0], scores[1], days, policy)
    else:
        evaluation = evaluate_challenger(truth, scores[0], scores[1], policy)
    document = evaluation.to_json() | {"champion": champion, "challenger": challenger}
    (folder / "evaluation.json").write_text(json.dumps(document))
    return dg.MaterializeResult(
        metadata={
            "comparison": dg.MetadataValue.md(_comparison_table(evaluation, champion, challenger)),
            "outcome": evaluation.outcome.value,
            "holdout_rows": evaluation.rows,
            "evaluation": dg.MetadataValue.json(document),
        }
    )


def decide_promotion(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Promote or keep the champion, also because a budget is spent, and close the episode."""
    folder = episode_folder(context, monitoring, monitor)
    document = json.loads((folder / "evaluation.json").read_text())
    budgets, override = latest_budgets(monitoring, monitor), override_of(context.run.tags)
    outcome, reasons = respect_budgets(Outcome(document["outcome"]), document["reasons"], budgets, override)
    if outcome is Outcome.BUDGET_SPENT:
        reasons = (
            *reasons,
            f"run {monitor.model}__retraining with the tags {OVERRIDE_TAG} (why) and "
            f"{OVERRIDE_BY_TAG} (who) to promote all the same",
        )
    document |= {"outcome": outcome.value, "reasons": list(reasons)}
    document["budgets"] = {verdict.signal.column: verdict.signal.value for verdict in budgets}
    result = promote(
        monitoring.registry,
        model=monitor.registry_name,
        challenger=document["challenger"],
        champion=document["champion"],
        outcome=outcome,
        reason="; ".join(reasons),
        now=monitoring.now(),
    )
    if episode := context.run.tags.get(EPISODE_TAG):
        status = EpisodeStatus.PROMOTED if result.promoted else EpisodeStatus.REJECTED
        monitoring.database.finish_episode(episode, status, _episode_outcome(document), monitoring.now())
    return dg.MaterializeResult(
        metadata={
            "promoted": result.promoted,
            "reason": result.reason,
            "champion": result.challenger if result.promoted else result.previous_champion,
            "challenger": result.challenger,
            "budgets": dg.MetadataValue.json(document["budgets"]),
        }
    )


def latest_budgets(monitoring: Monitoring, monitor: Monitor) -> list[Verdict]:
    """Return what was left of the error budgets in the newest hour of the last day that was judged."""
    end = hour_of(monitoring.now())
    judged = monitoring.hourly.read_verdicts(monitor.registry_name, end - timedelta(days=1), end, {BUDGET})
    return next((judged[hour] for hour in sorted(judged, reverse=True) if judged[hour]), [])


def override_of(tags: Mapping[str, str]) -> Override | None:
    """Return who overrides the gate and why, if the tags of the run say both."""
    by, why = (tags.get(name, "").strip() for name in (OVERRIDE_BY_TAG, OVERRIDE_TAG))
    return Override(by, why) if by and why else None


def _episode_outcome(document: Mapping[str, Any]) -> dict[str, object]:
    names = ("champion", "challenger", "outcome", "reasons", "comparisons", "rows", "budgets")
    return {name: document[name] for name in names}


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


def _column_table(reference: Reference) -> dg.TableMetadataValue:
    rows: list[dict[str, Cell]] = [
        {
            "column": name,
            "kind": entry.column.kind.value,
            "null_rate": rounded(float(entry.summary["null_rate"])),
            "bins": entry.column.bins.group_count,
            # As text: categories have no mean, and every row of a table has every column.
            "mean": "" if entry.summary.get("mean") is None else f"{entry.summary['mean']:.4g}",
        }
        for name, entry in reference.columns.items()
    ]
    return table(["column", "kind", "null_rate:float", "bins:int", "mean"], rows)


def _comparison_table(evaluation: Evaluation, champion: str, challenger: str) -> str:
    lines = [
        f"| metric | champion v{champion} | challenger v{challenger} | gain | 95 % interval |",
        "|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {item.metric} | {item.champion:.4f} | {item.challenger:.4f} | {item.gain:+.4f} "
        f"| {item.low:+.4f} to {item.high:+.4f} |"
        for item in evaluation.comparisons
    ]
    return "\n".join([*lines, "", f"**{evaluation.outcome}**: {'; '.join(evaluation.reasons)}"])


def last_complete_hour(now: datetime) -> datetime:
    """Return the start of the last hour that is over."""
    return hour_of(now) - HOUR
