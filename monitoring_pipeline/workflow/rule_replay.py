"""Rules of a monitor replayed over the signals a deployment has stored; no orchestrator needed.

Keep out what a replay counts: that belongs in notify.replay.
"""

from datetime import UTC, datetime

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.replay import Replay, replay
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.stages import stages_at

FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def replay_stored(
    monitor: Monitor, deployment: Deployment, *, start: datetime | None = None, end: datetime | None = None
) -> Replay:
    """Return what the rules of `monitor` would have led to in the stored hours of [start, end)."""
    stages = stages_at(monitor, deployment)
    outcomes = list(stages.rejudge(start or FIRST, end or LAST))
    if not outcomes:
        raise StoreError(
            f"{deployment.state_directory}: no judged hours of {monitor.registry_name} between {start or 'the first'} "
            f"and {end or 'the last'}: run the hourly job or a backfill first, or check MONITORING_HOME"
        )
    policies = {
        rule.name: AlertPolicy(rule.resolve_after, rule.cooldown, rule.critical_cooldown)
        for rule in monitor.alert_rules()
    }
    return replay(outcomes, policies, monitor.incidents.policy())
