"""The jobs that act on verdicts: incidents are opened and resolved, and what waits in the outbox is delivered.

Add a job here when it changes incidents or sends something. Keep the rules of incidents and of delivery out: they
belong in notify. Nothing is ever sent from a sensor.
"""

import sys
from collections.abc import Iterable, Mapping
from datetime import datetime

import dagster as dg

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.notify.channels.console import ConsoleChannel
from monitoring_pipeline.notify.channels.slack import SlackChannel
from monitoring_pipeline.notify.delivery import Channel, Outcome, deliver_pending
from monitoring_pipeline.notify.incidents import IncidentPolicy, Step
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.resources import Monitoring


class Evaluated(dg.Config):
    """The hours whose rules are applied, as ISO 8601 moments, [start, end)."""

    start: str
    end: str


def alerting_job(monitor: Monitor) -> dg.JobDefinition:
    """Return the job that turns the rule outcomes of some hours into incidents and outbox entries."""

    @dg.op(name=f"{monitor.model}__apply_rules")
    def apply_rules(context: dg.OpExecutionContext, config: Evaluated, monitoring: Monitoring) -> None:
        changed = apply_rule_outcomes(monitoring, monitor, *map(datetime.fromisoformat, (config.start, config.end)))
        context.add_output_metadata({"steps": dg.MetadataValue.json(changed), "changed": len(changed)})

    @dg.job(
        name=f"{monitor.model}__alerting",
        description="Open, update and resolve incidents from the rules of some hours, and queue what people must hear.",
        executor_def=dg.in_process_executor,
        tags={"monitoring/model": monitor.model},
    )
    def alerting() -> None:
        apply_rules()

    return alerting


def apply_rule_outcomes(
    monitoring: Monitoring, monitor: Monitor, start: datetime, end: datetime
) -> list[dict[str, str]]:
    """Apply the outcomes of [start, end) in order; returns what changed."""
    by_hour = monitoring.hourly.read_rules(monitor.registry_name, start, end)
    outcomes = [outcome for hour in sorted(by_hour) for outcome in by_hour[hour]]
    policies = {rule.name: IncidentPolicy(rule.resolve_after, rule.cooldown) for rule in monitor.alert_rules()}
    transitions = monitoring.database.apply_outcomes(
        outcomes, now=monitoring.now(), policies=policies, channels_for=lambda level: channel_names(monitor, level)
    )
    return [
        {"rule": entry.outcome.rule, "hour": entry.outcome.hour.isoformat(), "step": entry.step.value}
        for entry in transitions
        if entry.step.notifies or entry.step is Step.UPDATED
    ]


def dispatch_job(monitors: Mapping[str, Monitor]) -> dg.JobDefinition:
    """Return the job that delivers what waits in the outbox of the deployment."""

    @dg.op
    def deliver(context: dg.OpExecutionContext, monitoring: Monitoring) -> None:
        channels = deployment_channels(monitoring, monitors)
        report = deliver_pending(monitoring.database, channels, worker=context.run_id, clock=monitoring.now)
        context.add_output_metadata({outcome.value: report.count(outcome) for outcome in Outcome})
        if report.not_configured:
            context.log.warning(waiting_for(report.not_configured))

    @dg.job(
        name="deliver_notifications",
        description="Send what waits in the outbox, at least once, each channel on its own.",
        executor_def=dg.in_process_executor,
    )
    def deliver_notifications() -> None:
        deliver()

    return deliver_notifications


def channel_names(monitor: Monitor, severity: str) -> list[str]:
    """Return the channels that hear of a severity; a Slack channel is named with its target, as monitors may differ."""
    slack = monitor.notifications.slack
    target = f"slack:{slack.channel}" if slack else "slack"
    return [target if name == "slack" else name for name in monitor.routing().channels_for(severity)]


def deployment_channels(monitoring: Monitoring, monitors: Mapping[str, Monitor]) -> dict[str, Channel]:
    """Return the console and every Slack channel whose token is set, by the names the outbox uses.

    One that is not set keeps its own mail waiting, and nobody else's.
    """
    channels: dict[str, Channel] = {"console": ConsoleChannel(sys.stdout)}
    for monitor in monitors.values():
        slack = monitor.notifications.slack
        if slack is not None and (token := monitoring.secret(slack.token_env)):
            channels[f"slack:{slack.channel}"] = SlackChannel(token, slack.channel, base_url=slack.base_url)
    return channels


def waiting_for(channels: Iterable[str]) -> str:
    """Return what is said of mail for channels that are not there."""
    names = ", ".join(channels)
    return f"mail is waiting for {names}: set the environment variable that notifications.slack.token_env names"


def evaluated(first: datetime, last: datetime) -> Evaluated:
    """Return the config for the hours from `first` to `last`, both included."""
    return Evaluated(start=first.isoformat(), end=(last + HOUR).isoformat())
