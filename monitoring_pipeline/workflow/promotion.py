"""The promotion of a challenger, or the reason against one, on record either way.

Add here what a promotion looks at or leaves behind. Keep the registry's moves out: they belong in retrain. The verdict
is on record before the alias moves, so that a promotion whose process was killed can be finished.
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
from monitoring_pipeline.retrain.promotion import CHAMPION, Promotion, promote
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.decision_store import Episode, EpisodeStatus, asked_by_hand
from monitoring_pipeline.workflow.episodes import EPISODE_TAG, episode_folder
from monitoring_pipeline.workflow.model_news import note_on_incidents
from monitoring_pipeline.workflow.monitor_assets import model_link
from monitoring_pipeline.workflow.resources import Monitoring

OVERRIDE_TAG, OVERRIDE_BY_TAG = "monitoring/override_gate", "monitoring/override_by"

MOVED = "champion_moved"
"""The outcome of an episode whose challenger was better than a version that is champion no more."""


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
    challenger = document["challenger"]
    if outcome is Outcome.PROMOTE and monitoring.references.fetch(monitor.registry_name, challenger) is None:
        outcome = Outcome.KEEP_CHAMPION
        reasons = (
            *reasons,
            f"version {challenger} has no reference, so nothing it serves could be judged: log its "
            f"reference rows, and run {monitor.model}__reference",
        )
    document |= {"outcome": outcome.value, "reasons": list(reasons)}
    document["budgets"] = {verdict.signal.column: verdict.signal.value for verdict in budgets}
    said, episode = _episode_outcome(document), context.run.tags.get(EPISODE_TAG)
    if episode is not None:
        monitoring.database.add_outcome(episode, said)
    result = _conclude(monitoring, monitor, said, episode=episode, run_id=context.run.run_id)
    return dg.MaterializeResult(
        metadata={
            "promoted": result.promoted,
            "reason": result.reason,
            "champion": result.champion,
            "challenger": result.challenger,
            "challenger_in_mlflow": model_link(monitoring.deployment, monitor.registry_name, result.challenger),
            "budgets": dg.MetadataValue.json(document["budgets"]),
        }
    )


def finish_promotion(monitoring: Monitoring, monitor: Monitor, episode: Episode) -> bool:
    """Do what is left of a promotion whose process was killed after the alias had moved; False where it had not."""
    said = episode.outcome
    if said.get("outcome") != Outcome.PROMOTE.value:
        return False
    if monitoring.registry.version(monitor.registry_name, CHAMPION).version != said["challenger"]:
        return False
    return _conclude(monitoring, monitor, said, episode=episode.id, run_id="").promoted


def _conclude(
    monitoring: Monitoring, monitor: Monitor, said: dict[str, Any], *, episode: str | None, run_id: str
) -> Promotion:
    """Move the alias or say why not, tell open incidents, and close the episode; again, it changes nothing more."""
    model, now = monitor.registry_name, monitoring.now()
    result = promote(
        monitoring.registry,
        model=model,
        challenger=said["challenger"],
        champion=said["champion"],
        outcome=Outcome(said["outcome"]),
        reason="; ".join(said["reasons"]),
        now=now,
    )
    if result.promoted:
        text = f"version {result.challenger} promoted, because {result.reason}"
        note_on_incidents(monitoring, monitor, text, author="retraining")
    elif said["outcome"] == Outcome.PROMOTE.value:
        said = said | {"outcome": MOVED, "reasons": [result.reason]}
    status = EpisodeStatus.PROMOTED if result.promoted else EpisodeStatus.REJECTED
    if episode is not None:
        monitoring.database.finish_episode(episode, status, said, now)
    else:
        # Charts that mark deployments read episodes: one that a person launched is on record like any other.
        identity, by = f"{model}:run:{run_id}", f"whoever launched run {run_id}"
        monitoring.database.record_episode(
            asked_by_hand(identity, model, said["champion"], status, now=now, by=by, **said)
        )
    return result


def latest_budgets(monitoring: Monitoring, monitor: Monitor) -> list[Verdict]:
    """Return what was left of the error budgets in the newest hour of the last day that was judged."""
    end = hour_of(monitoring.now())
    judged = monitoring.hourly.read_verdicts(monitor.registry_name, end - timedelta(days=1), end, {BUDGET})
    return next((judged[hour] for hour in sorted(judged, reverse=True) if judged[hour]), [])


def override_of(tags: Mapping[str, str]) -> Override | None:
    """Return who overrides the gate and why, if the tags of the run say both."""
    by, why = (tags.get(name, "").strip() for name in (OVERRIDE_BY_TAG, OVERRIDE_TAG))
    return Override(by, why) if by and why else None


def _episode_outcome(document: Mapping[str, Any]) -> dict[str, Any]:
    names = ("champion", "challenger", "outcome", "reasons", "comparisons", "rows", "budgets")
    return {name: document[name] for name in (*names, "guard_rails", "back_test")}
