"""The health checks: every five minutes all services are asked side by side, and what that means becomes rule outcomes.

Add a service that only Dagster can ask here, as a probe. Keep incidents and messages out: `apply` is given.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.capture.windows import EPOCH, HOUR
from monitoring_pipeline.evaluate.heartbeats import HEALTH
from monitoring_pipeline.evaluate.service_health import (
    SLOT,
    CanaryCheck,
    CanaryRecord,
    Probe,
    Service,
    check_canary,
    health_signals,
)
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.service_health import Checked, ServiceLimits, judge_service
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.settings.services import KINDS, Services, load_services, services_file
from monitoring_pipeline.stores.health_history import HISTORY, HealthHistory, read_health, write_health
from monitoring_pipeline.stores.service_probes import probe_database, probe_service, probe_together
from monitoring_pipeline.workflow.heartbeats import beat
from monitoring_pipeline.workflow.jobs import op_job
from monitoring_pipeline.workflow.partitions import last_complete_hour
from monitoring_pipeline.workflow.resources import Monitoring

Apply = Callable[[Monitoring, Services, Sequence[RuleOutcome]], None]
"""What is done with outcomes: incidents and notifications."""


class CheckedAt(dg.Config):
    """The five minutes a check counts for, as an ISO 8601 moment; the present ones where none is given."""

    slot: str = ""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What one round of health checks found."""

    probes: tuple[Probe, ...]
    signals: tuple[Signal, ...]
    outcomes: tuple[RuleOutcome, ...]
    learnt: tuple[str, ...]  # canaries whose output was learnt anew from a new version


def health_job(monitors: Mapping[str, Monitor], apply: Apply) -> dg.JobDefinition:
    """Return the job that asks every service once and hands over what its rules say."""

    @dg.op
    def ask_services(context: dg.OpExecutionContext, config: CheckedAt, monitoring: Monitoring) -> None:
        moment = datetime.fromisoformat(config.slot) if config.slot else monitoring.now()
        services = deployment_services(monitoring)
        report = check_health(monitoring, services, monitors, context.instance, slot_of(moment))
        context.add_output_metadata(_facts(report))
        for sentence in report.learnt:
            context.log.warning(sentence)
        for outcome in report.outcomes:
            if outcome.state is not RuleState.QUIET:
                context.log.warning(f"{outcome.rule}: {outcome.reason}")
        apply(monitoring, services, report.outcomes)
        # Not before: without a database nobody hears of anything, and then this silence is what is heard.
        beat(monitoring, HEALTH, context.log)

    said = "Ask every service of the deployment how it is, and send the canaries. "
    return op_job("check_services", f"{said}The schedule every_five_minutes starts it.", ask_services)


def health_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Return the schedule of the health checks."""

    @dg.schedule(
        name="every_five_minutes",
        job=job,
        cron_schedule="*/5 * * * *",
        execution_timezone="UTC",
        description="Has every service of the deployment asked how it is, and incidents opened of those that "
        "are not well.",
    )
    def every_five_minutes(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        slot = context.scheduled_execution_time.astimezone(UTC).isoformat()
        return dg.RunRequest(run_key=slot, run_config=dg.RunConfig(ops={"ask_services": CheckedAt(slot=slot)}))

    return every_five_minutes


def deployment_services(monitoring: Monitoring) -> Services:
    """Return the services of the deployment; its file is read at every check, so that a change counts at once."""
    return load_services(services_file(os.environ, root=Path(monitoring.root)))  # noqa: TID251 - where it is read


def slot_of(moment: datetime) -> datetime:
    """Return the start of the five minutes that hold `moment`."""
    return EPOCH + (moment - EPOCH) // SLOT * SLOT


def check_health(
    monitoring: Monitoring,
    services: Services,
    monitors: Mapping[str, Monitor],
    instance: dg.DagsterInstance,
    slot: datetime,
) -> HealthReport:
    """Ask all services side by side, judge what they answer, and remember it for the next time."""
    asked = {service.name: service for service in _http_services(monitoring, services)}
    deployment, timeout_s = monitoring.deployment, services.timeout_s
    probes: dict[str, Callable[[], Probe]] = {
        name: partial(
            probe_service,
            service,
            timeout_s=timeout_s,
            token=Credential(monitoring.secret(service.token_env) or "") if service.token_env else None,
        )
        for name, service in asked.items()
    }
    probes["database"] = partial(probe_database, deployment.database_url, timeout_s=timeout_s)
    probes["pipeline"] = partial(probe_pipeline, monitoring, monitors, instance)
    # One after the other a service answers for its health, its version and its canaries.
    requests = 2 + max((len(service.canaries) for service in asked.values()), default=0)
    found = probe_together(probes, deadline_s=min(requests * timeout_s, 60.0))

    path = deployment.state_directory / HISTORY
    history, limits = read_health(path), services.limits()
    canaries, checks = dict(history.canaries), {}
    signals: list[Signal] = []
    outcomes: list[RuleOutcome] = []
    learnt: list[str] = []
    for probe in found:
        compared = _compare_canaries(asked.get(probe.service), probe, canaries, slot)
        learnt += [f"{probe.service}: {check.reason}" for check in compared.values() if check.learnt]
        canaries |= {f"{probe.service}/{name}": check.record for name, check in compared.items()}
        own = health_signals(probe, compared, slot=slot)
        signals += own
        earlier = history.checks.get(probe.service, ())
        outcome = judge_service(probe.service, own, limits[probe.service], earlier, slot=slot)
        level = Level.OK if outcome.state is RuleState.QUIET else outcome.severity
        checks[probe.service] = history.with_check(probe.service, Checked(slot, level, outcome.reason))
        outcomes.append(outcome)
    for name in sorted(history.checks.keys() - checks.keys()):
        # Its incident would stay open for ever; it is quiet until what went wrong is forgotten.
        outcome = judge_service(name, [], ServiceLimits(), (), slot=slot)
        left = history.with_check(name, Checked(slot, Level.OK, outcome.reason))
        if any(check.level is not Level.OK for check in left):
            checks[name] = left
            outcomes.append(outcome)
    write_health(path, HealthHistory(checks, canaries))
    return HealthReport(tuple(found), tuple(signals), tuple(outcomes), tuple(learnt))


def _http_services(monitoring: Monitoring, services: Services) -> list[Service]:
    """Return the services with an address; MLflow's server is one even where the file does not name it."""
    named = [service.service() for service in services.services]
    # Without the user: its health may be asked by anybody, and the address is shown.
    uri = re.sub(r"//[^/@]*@", "//", monitoring.deployment.tracking_uri)
    if uri.startswith(("http://", "https://")) and not any(service.kind == "mlflow" for service in services.services):
        named.append(Service("mlflow", uri, version_path=KINDS["mlflow"].version_path))
    return named


def _compare_canaries(
    service: Service | None, probe: Probe, records: Mapping[str, CanaryRecord], at: datetime
) -> dict[str, CanaryCheck]:
    if service is None:
        return {}
    by_name = {canary.name: canary for canary in service.canaries}
    return {
        answer.name: check_canary(by_name[answer.name], answer, records.get(f"{probe.service}/{answer.name}"), at=at)
        for answer in probe.canaries
    }


def probe_pipeline(monitoring: Monitoring, monitors: Mapping[str, Monitor], instance: dg.DagsterInstance) -> Probe:
    """Return how Dagster's daemons are, and how far behind each monitor's newest judged hour is."""
    required = instance.get_daemon_statuses().values()
    dead = sorted(status.daemon_type for status in required if status.required and not status.healthy)
    problem = ""
    if dead:
        what = f"no fresh heartbeat from the daemon(s) {', '.join(dead)}"
        problem = f"pipeline: {what}. Look whether dagster-daemon runs, and at its log."
    behind = {monitor.model: _hours_behind(monitoring, monitor) for monitor in monitors.values()}
    return Probe("pipeline", version=f"dagster {dg.__version__}", problem=problem, behind=behind)


def _hours_behind(monitoring: Monitoring, monitor: Monitor) -> float | None:
    judged = monitoring.hourly.hours("verdicts", monitor.registry_name)
    due = last_complete_hour(monitoring.now())
    if monitor.end is not None:
        due = min(due, monitor.end - HOUR)
    return max(0.0, (due - max(judged)) / HOUR) if judged else None


def _facts(report: HealthReport) -> dict[str, Any]:
    services = [
        {
            "service": probe.service,
            "version": probe.version,
            "latency_ms": probe.latency_ms,
            "rule": outcome.state.value,
            "reason": outcome.reason,
        }
        # Outcomes of services that are no longer checked come last, and have no probe.
        for probe, outcome in zip(report.probes, report.outcomes, strict=False)
    ]
    return {
        "services": dg.MetadataValue.json(services),
        "unwell": sum(outcome.state is not RuleState.QUIET for outcome in report.outcomes),
        "canaries_learnt": dg.MetadataValue.json(list(report.learnt)),
    }
