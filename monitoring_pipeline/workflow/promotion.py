"""The promotion of a challenger, or the reason against one, on record either way.

Add here what a promotion looks at or leaves behind. Keep the registry's moves out: they belong in retrain.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from monitoring_pipeline.capture.windows import hour_of
from monitoring_pipeline.judge.objectives import BUDGET
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.retrain.gate import Outcome, Override, respect_budgets
from monitoring_pipeline.retrain.promotion import promote
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.workflow.episodes import EPISODE_TAG, episode_folder
from monitoring_pipeline.workflow.resources import Monitoring

OVERRIDE_TAG, OVERRIDE_BY_TAG = "monitoring/override_gate", "monitoring/override_by"


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
