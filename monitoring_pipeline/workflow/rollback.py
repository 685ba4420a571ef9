"""Rolling back a champion, by a command or by a job: the alias, what is put on record, and who is told.

Add here what a rollback leaves behind. Keep the registry's moves out: they belong in retrain.
"""

import dagster as dg

from monitoring_pipeline.crash_points import reached
from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.retrain.rollback import Plan, carry_out_rollback, plan_rollback
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.decision_store import Episode, EpisodeStatus, asked_by_hand
from monitoring_pipeline.workflow.episodes import first_run_id
from monitoring_pipeline.workflow.jobs import op_job
from monitoring_pipeline.workflow.model_news import note_on_incidents, open_incident_once
from monitoring_pipeline.workflow.resources import Monitoring


def roll_back(
    monitoring: Monitoring, monitor: Monitor, *, key: str, by: str, why: str, to: str | None = None
) -> Episode:
    """Point the champion's alias back, on record and told once; the same `key` again goes on where it was cut short.

    A rollback of the model that was cut short is finished first, whoever asked for it.
    """
    model, database, registry = monitor.registry_name, monitoring.database, monitoring.registry
    identity = f"{model}:rollback:{key}"
    episode = database.episode(identity) or database.unfinished_rollback(model)
    if episode is None:
        plan = plan_rollback(registry.versions(model), to=to, by=by, why=why)
        said = {"champion": plan.champion, "to": plan.target, "by": by, "why": why}
        episode = database.begin_rollback(
            asked_by_hand(identity, model, plan.champion, EpisodeStatus.ROLLING_BACK, now=monitoring.now(), **said)
        )
    reached("rollback.after_intent")
    if episode.status is EpisodeStatus.FAILED:
        raise RegistryError("; ".join(map(str, episode.outcome["reasons"])))  # type: ignore[call-overload]
    if episode.status is EpisodeStatus.ROLLED_BACK:
        return episode
    plan = Plan(*(str(episode.outcome[name]) for name in ("champion", "to", "by", "why")))
    try:
        carry_out_rollback(registry, model, plan, now=episode.opened_at)
    except RegistryError as error:
        if registry.version(model, CHAMPION).version not in (plan.champion, plan.target):
            database.end_rollback(episode.id, EpisodeStatus.FAILED, str(error), monitoring.now())
        raise
    text = f"version {plan.champion} was rolled back to version {plan.target} by {plan.by}: {plan.why}"
    note_on_incidents(monitoring, monitor, text, author=plan.by)
    open_incident_once(monitoring, monitor, text, author=plan.by, at=episode.opened_at, severity="info")
    database.end_rollback(episode.id, EpisodeStatus.ROLLED_BACK, text, monitoring.now())
    return database.episode(episode.id) or episode


class RollbackAsked(dg.Config):
    """Why a champion is rolled back, by whom, and to which version if not to the one before."""

    reason: str
    by: str = "whoever launched the run"
    version: str = ""


def rollback_job(monitor: Monitor) -> dg.JobDefinition:
    """Return the job that rolls back the champion of one monitor."""

    @dg.op(name=f"{monitor.model}__roll_back")
    def move_alias_back(context: dg.OpExecutionContext, config: RollbackAsked, monitoring: Monitoring) -> None:
        key, to = first_run_id(context), config.version or None
        episode = roll_back(monitoring, monitor, key=key, by=config.by, why=config.reason, to=to)
        facts = {"champion": str(episode.outcome["to"]), "reason": str(episode.outcome["why"])}
        context.log_event(dg.AssetMaterialization([monitor.model, "promotion"], metadata=facts))

    return op_job(
        f"{monitor.model}__rollback",
        "Point the alias champion back to the version before, and tell why. Launched by hand, or by the sensor "
        "probation where rollbacks are automatic.",
        move_alias_back,
        model=monitor.model,
    )
