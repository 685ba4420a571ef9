"""Champion and challenger on the same held-out rows, and what a better challenger must not be worse at.

Add here what is measured for the gate or shown of it. Keep what decides out: it belongs in retrain.
"""

import json
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa

from monitoring_pipeline.evaluate.gains import FloatArray, units_of
from monitoring_pipeline.publish.gate_report import gate_report
from monitoring_pipeline.retrain.back_test import BackTest, BackTestPolicy, back_test
from monitoring_pipeline.retrain.gate import (
    Evaluation,
    GatePolicy,
    evaluate_challenger,
    respect_guard_rails,
    version_tags,
)
from monitoring_pipeline.retrain.guard_rails import Finding, HoldOut, latency, sampled_rails, size
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.episodes import episode_folder
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.tables import Cell, rounded, table
from monitoring_pipeline.workflow.training import train_rows

if TYPE_CHECKING:
    from monitoring_pipeline.serve.scoring import Scorer

REPORT = "evaluation"
"""Name of the verdict's documents, kept with the challenger's run."""


def compare_with_champion(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Score the hold-out with both versions, compare them, and keep the verdict with the challenger."""
    folder, policy = episode_folder(context, monitoring, monitor), monitor.gate_policy()
    challenger = _scorer(monitoring, monitor, json.loads((folder / "challenger.json").read_text())["version"])
    champion = _scorer(monitoring, monitor, monitoring.registry.version(monitor.registry_name, CHAMPION).version)
    rows, time = pd.read_parquet(folder / "holdout.parquet"), monitor.columns.predicted_at
    shown = monitor.privacy.protection(monitoring.secret, model=monitor.model)
    held = HoldOut(
        rows["actual"].to_numpy(dtype=np.float64),
        champion.score(rows),
        challenger.score(rows),
        units_of(rows[time]),
        shown.redact(pa.Table.from_pandas(rows, preserve_index=False)),
        monitor.task,
        monitor.threshold,
    )
    evaluation = evaluate_challenger(held.truth, held.champion, held.challenger, held.units, policy, task=monitor.task)
    findings = [*sampled_rails(held, policy.rails), *_of_the_models(monitoring, policy, champion, challenger, rows)]
    tested = _back_test(monitoring, monitor, policy, champion, folder)
    findings += [tested.finding] if tested else []
    evaluation = respect_guard_rails(evaluation, findings, required=policy.rails.required, back_test=tested)
    document = evaluation.to_json() | {
        "model": monitor.registry_name,
        "champion": champion.version,
        "challenger": challenger.version,
        "metric": policy.metric,
        "confidence": policy.confidence,
        "holdout": [each.isoformat() for each in (rows[time].min(), rows[time].max())] if len(rows) else [],
    }
    report = gate_report(document)
    (folder / f"{REPORT}.json").write_text(json.dumps(document, allow_nan=False))
    judged = monitoring.registry.version(monitor.registry_name, challenger.version)
    monitoring.registry.write_json(judged, f"{REPORT}.json", document)
    monitoring.registry.write_text(judged, f"{REPORT}.md", report)
    tags = version_tags(evaluation, policy, against=champion.version)
    monitoring.registry.set_tags(monitor.registry_name, challenger.version, tags)
    return dg.MaterializeResult(metadata=_metadata(evaluation, policy) | {"report": dg.MetadataValue.md(report)})


def _scorer(monitoring: Monitoring, monitor: Monitor, version: str) -> "Scorer":
    from monitoring_pipeline.serve.scoring import load_scorer

    uri, trusted = monitoring.deployment.tracking_uri, monitor.retraining.trusted_types
    return load_scorer(uri, monitor.registry_name, version, trusted, task=monitor.task)


def _of_the_models(
    monitoring: Monitoring, policy: GatePolicy, champion: "Scorer", challenger: "Scorer", rows: pd.DataFrame
) -> list[Finding]:
    """Return what the guard-rails find that look at the models themselves."""
    found, rails = [], policy.rails
    if rails.latency is not None:
        found.append(latency(champion.score, challenger.score, rows, clock=perf_counter, limit=rails.latency))
    if rails.size is not None or rails.size_bytes is not None:
        first, second = (
            monitoring.registry.model_bytes(monitoring.registry.version(each.model, each.version))
            for each in (champion, challenger)
        )
        found.append(size(first, second, rails))
    return found


def _back_test(
    monitoring: Monitoring, monitor: Monitor, policy: GatePolicy, champion: "Scorer", folder: Path
) -> BackTest | None:
    """Train as the challenger was trained on the rows before each fold, and judge it on the fold."""
    from monitoring_pipeline.serve.scoring import Scorer

    if (asked := monitor.retraining.guard_rails.back_test) is None:
        return None

    def fit(rows: pd.DataFrame) -> "Any":
        estimator = train_rows(monitoring, monitor, rows).estimator
        return Scorer(champion.model, "back-test", tuple(monitor.features.kinds()), estimator, monitor.task).score

    def scored(rows: pd.DataFrame) -> FloatArray:
        return champion.score(rows)

    reference = monitoring.references.load(champion.model, champion.version)
    return back_test(
        pd.read_parquet(folder / "training.parquet"),
        fit,
        scored,
        time=monitor.columns.predicted_at,
        since=reference.trained_until if reference else None,
        policy=BackTestPolicy(
            asked.folds,
            policy.metric,
            policy.largest_loss,
            policy.rails.tail,
            monitor.retraining.minimum_labelled_rows,
            policy.confidence,
            monitor.task,
        ),
    )


def _metadata(evaluation: Evaluation, policy: GatePolicy) -> dict[str, Any]:
    compared: list[dict[str, Cell]] = [
        {
            "metric": item.metric,
            "champion": rounded(item.champion),
            "challenger": rounded(item.challenger),
            "gain": f"{item.gain:+.4f}",
            "interval": f"{item.low:+.4f} to {item.high:+.4f}",
        }
        for item in evaluation.comparisons
    ]
    rails: list[dict[str, Cell]] = [
        {"guard-rail": each.rail, "status": each.status.value, "why": each.reason} for each in evaluation.guard_rails
    ]
    gains = {item.metric: item for item in evaluation.comparisons if np.isfinite(item.gain)}
    facts: dict[str, Any] = {
        "comparison": table(["metric", "champion:float", "challenger:float", "gain", "interval"], compared),
        "guard_rails": table(["guard-rail", "status", "why"], rails),
        "outcome": evaluation.outcome.value,
        "reasons": "; ".join(evaluation.reasons),
        "holdout_rows": evaluation.rows,
        "evaluation": dg.MetadataValue.json(evaluation.to_json()),
    }
    if policy.metric in gains:
        item = gains[policy.metric]
        facts |= {"gain": item.gain, "gain_low": item.low, "gain_high": item.high}
    return facts
