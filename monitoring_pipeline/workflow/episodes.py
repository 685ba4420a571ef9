"""What the steps of one retraining share: the tags of its run, and the folder where they hand over their files.

Add here what more than one step needs, and ways to open an episode. Keep what a step does out.
"""

from pathlib import Path

import dagster as dg

from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.decision_store import Episode, EpisodeStatus, asked_by_hand
from monitoring_pipeline.workflow.resources import Monitoring

EPISODE_TAG = "monitoring/episode"
REASON_TAG = "monitoring/reason"


def episode_folder(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> Path:
    """Return the folder where the steps of one retraining hand over their files."""
    folder = monitoring.data / "retraining" / monitor.model / first_run_id(context)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def first_run_id(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> str:
    """Return the id of the run, or of the one it was started again from: the retry goes on with its files."""
    return context.run.root_run_id or context.run.run_id


def open_by_hand(monitoring: Monitoring, monitor: Monitor, *, by: str, why: str) -> Episode:
    """Open an episode because a person says so, for the sensor to start; raises MonitoringError while one is open.

    Nothing holds it back that holds back a decision: cooldown, cap, and challengers turned down before.
    """
    model, now = monitor.registry_name, monitoring.now()
    version = monitoring.registry.version(model, CHAMPION).version
    identity = f"{model}:{now:%Y-%m-%dT%H:%M:%SZ}:by_hand"
    episode = asked_by_hand(identity, model, version, EpisodeStatus.REQUESTED, now=now, by=by, why=why)
    if not monitoring.database.open_episode(episode):
        for known in monitoring.database.open_episodes(model):
            run = f", run {known.run_id}" if known.run_id else ""
            raise MonitoringError(
                f"{model}: {known.id} is {known.status.value} since {known.opened_at:%Y-%m-%d %H:%M}Z{run}, and only "
                "one retraining of a model goes on at a time. Wait for its end, or terminate its run."
            )
        raise MonitoringError(f"{model}: another retraining has just ended. Ask again.")
    return episode
