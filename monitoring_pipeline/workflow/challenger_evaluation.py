"""Champion and challenger on the same held-out rows.

Add here what is shown of the comparison. Keep what decides out: it belongs in retrain.
"""

import json

import dagster as dg
import numpy as np
import pandas as pd

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.retrain.gate import Evaluation, evaluate_challenger, evaluate_regressor
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.episodes import episode_folder
from monitoring_pipeline.workflow.resources import Monitoring


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
