"""The jobs that act on verdicts: incidents are opened and resolved, and what waits in the outbox is delivered.

Add a job here when it changes incidents or sends something. Keep the rules of incidents and of delivery out: they
belong in notify. Nothing is ever sent from a sensor.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import dagster as dg

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.crash_points import reached
from monitoring_pipeline.evaluate.service_health import SLOT
from monitoring_pipeline.judge.root_causes import Cause
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.notify.alerts import Alert, AlertPolicy, Status
from monitoring_pipeline.notify.delivery import DeliveryPolicy, Outcome, deliver_pending
from monitoring_pipeline.notify.escalation import Ladder
from monitoring_pipeline.notify.incidents import GroupingPolicy
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.settings.sections import Notifications
from monitoring_pipeline.settings.services import Services
from monitoring_pipeline.workflow.health import deployment_services
from monitoring_pipeline.workflow.jobs import op_job
from monitoring_pipeline.workflow.recorded_changes import upstream_in
from monitoring_pipeline.workflow.resources import Monitoring, wall_clock
from monitoring_pipeline.workflow.root_causes import find_root_causes
from monitoring_pipeline.workflow.tables import SHOWN, table
from monitoring_pipeline.workflow.telling import (
    delivery_rules,
    deployment_channels,
    keep_up_with,
    rules_of,
    waiting_for,
)

_log = logging.getLogger(__name__)

EXPLAINED_AT_ONCE = 5
"""Hours whose causes are looked for at a time, the newest: a backfill opens old incidents by the dozen."""


class Evaluated(dg.Config):
    """The hours whose rules are applied, as ISO 8601 moments, [start, end)."""

    start: str
    end: str


def alerting_job(monitor: Monitor) -> dg.JobDefinition:
    """Return the job that turns the rule outcomes of some hours into incidents and outbox entries."""

    @dg.op(name=f"{monitor.model}__apply_rules")
    def apply_rules(context: dg.OpExecutionContext, config: Evaluated, monitoring: Monitoring) -> None:
        hours = map(datetime.fromisoformat, (config.start, config.end))
        upstream = upstream_in(context, monitor)
        changed = apply_rule_outcomes(monitoring, monitor, *hours, instance=context.instance, upstream=upstream)
        commands = [{**each, "shown by": f"monitoring-pipeline incident {each['incident']}"} for each in changed]
        steps = table(["incident", "hour", "step", "shown by"], commands[:SHOWN])
        context.add_output_metadata({"steps": steps, "changed": len(changed)})

    return op_job(
        f"{monitor.model}__alerting",
        "Open, update and resolve incidents from the rules of some hours, and queue what people must hear. "
        "The sensor verdict_alerts starts it.",
        apply_rules,
        model=monitor.model,
    )


def apply_rule_outcomes(
    monitoring: Monitoring,
    monitor: Monitor,
    start: datetime,
    end: datetime,
    *,
    instance: dg.DagsterInstance | None = None,
    upstream: Collection[dg.AssetKey] | None = None,
) -> list[dict[str, str]]:
    """Apply the outcomes of [start, end) in order, with the causes of what begins in them; returns what changed.

    `instance` is where changes upstream are on record, `upstream` the assets whose changes count.
    """
    by_hour = monitoring.hourly.read_rules(monitor.registry_name, start, end)
    outcomes = [outcome for hour in sorted(by_hour) for outcome in by_hour[hour]]
    standing = monitoring.database.alerts(monitor.registry_name, Status.OPEN)
    applied = monitoring.database.apply_outcomes(
        outcomes,
        now=monitoring.now(),
        policies={
            rule.name: AlertPolicy(rule.resolve_after, rule.cooldown, rule.critical_cooldown)
            for rule in monitor.alert_rules()
        },
        rules=delivery_rules(monitor),
        grouping=monitor.grouping(),
        causes={
            hour: [cause.as_record() for cause in _causes(monitoring, monitor, hour, instance, upstream, alarmed)]
            for hour, alarmed in news_in(outcomes, standing).items()
        },
    )
    reached("outcomes.after_apply")
    return [
        {"incident": move.incident.id, "hour": move.incident.last_hour.isoformat(), "step": move.step.value}
        for move in applied.moves
    ]


def news_in(outcomes: Sequence[RuleOutcome], alerts: Sequence[Alert]) -> dict[datetime, set[str]]:
    """Return the hours in which something may begin or grow worse, the newest few, and the metrics that raised it."""
    open_now = {alert.fingerprint: alert.severity.rank for alert in alerts}
    hours: dict[datetime, set[str]] = {}
    for outcome in outcomes:
        if outcome.state is RuleState.FIRING and outcome.severity.rank > open_now.get(outcome.fingerprint, -1):
            open_now[outcome.fingerprint] = outcome.severity.rank
            hours.setdefault(outcome.hour, set()).update(verdict.signal.metric for verdict in outcome.evidence)
        elif outcome.state is RuleState.QUIET:
            open_now.pop(outcome.fingerprint, None)
    return dict(sorted(hours.items())[-EXPLAINED_AT_ONCE:])


def _causes(
    monitoring: Monitoring,
    monitor: Monitor,
    hour: datetime,
    instance: dg.DagsterInstance | None,
    upstream: Collection[dg.AssetKey] | None,
    alarmed: Collection[str],
) -> list[Cause]:
    try:
        return find_root_causes(monitoring, monitor, hour, instance=instance, upstream=upstream, alarmed=alarmed)
    except Exception:  # noqa: BLE001 - an alarm without causes is worth more than none
        _log.exception("the causes of what happened to %s at %s could not be found", monitor.model, hour)
        return []


def keep_up_job(monitors: Mapping[str, Monitor]) -> dg.JobDefinition:
    """Return the job that does what time alone makes due: levels to be told, and silences that have ended."""

    @dg.op
    def keep_up(context: dg.OpExecutionContext, monitoring: Monitoring) -> None:
        context.add_output_metadata({"done": dg.MetadataValue.json(keep_up_with_all(monitoring, monitors))})

    return op_job(
        "keep_up_with_incidents",
        "Tell the next level of incidents nobody has taken on, and of those whose silence has ended. "
        "The sensor incidents_waiting starts it.",
        keep_up,
    )


def dispatch_job(monitors: Mapping[str, Monitor]) -> dg.JobDefinition:
    """Return the job that delivers what waits in the outbox of the deployment."""

    @dg.op
    def deliver(context: dg.OpExecutionContext, monitoring: Monitoring) -> None:
        counts, warnings = deliver_waiting(monitoring, monitors, worker=context.run_id)
        context.add_output_metadata(counts)
        for warning in warnings:
            context.log.warning(warning)

    said = "Send what waits in the outbox, at least once, each channel on its own. The sensor outbox starts it."
    return op_job("deliver_notifications", said, deliver)


def keep_up_with_all(monitoring: Monitoring, monitors: Mapping[str, Monitor]) -> list[str]:
    """Do what time alone makes due of the incidents of every monitor; returns what was done, in words."""
    now = monitoring.now()
    told = (keep_up_with(monitoring.database, monitor, now=now) for monitor in monitors.values())
    return [text for texts in told for text in texts]


def deliver_waiting(
    monitoring: Monitoring, monitors: Mapping[str, Monitor], *, worker: str
) -> tuple[dict[str, int], list[str]]:
    """Send what is due in the outbox; returns how many messages ended in which way, and what somebody should know."""
    channels, wanting = deployment_channels(notifications_of(monitoring, monitors), monitoring.secret, clock=wall_clock)
    policy = DeliveryPolicy(digests=tuple(name for name in channels if name.startswith("digest:")))
    report = deliver_pending(monitoring.database, channels, worker=worker, clock=monitoring.now, policy=policy)
    warnings = []
    if report.left_behind:
        warnings.append(f"still without an answer, and left behind: {', '.join(report.left_behind)}")
    if report.not_configured:
        warnings.append(waiting_for(report.not_configured, wanting))
    return {outcome.value: report.count(outcome) for outcome in Outcome}, warnings


def notifications_of(monitoring: Monitoring, monitors: Mapping[str, Monitor]) -> list[Notifications]:
    """Return whom the monitors and the health checks of a deployment tell."""
    # The operators' channels first: they are the ones that hear of dead letters.
    return [deployment_services(monitoring).notifications, *(monitor.notifications for monitor in monitors.values())]


def apply_health(monitoring: Monitoring, services: Services, outcomes: Sequence[RuleOutcome]) -> None:
    """Open and resolve the incidents of the deployment's own services.

    Without a cooldown: a second outage soon after the first is news. Only services that fall ill together are one
    incident: who is looking after one that has been down since the morning has not heard of another.
    """
    monitoring.database.apply_outcomes(
        outcomes,
        now=monitoring.now(),
        policies={outcome.rule: AlertPolicy(resolve_after=3, cooldown=timedelta(0)) for outcome in outcomes},
        rules=rules_of(services.notifications, Ladder()),
        grouping=GroupingPolicy(same_onset=2 * SLOT),
    )


def evaluated(first: datetime, last: datetime) -> Evaluated:
    """Return the config for the hours from `first` to `last`, both included."""
    return Evaluated(start=first.isoformat(), end=(last + HOUR).isoformat())
