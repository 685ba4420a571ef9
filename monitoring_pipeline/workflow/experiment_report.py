"""The daily report on experiments: what each arm showed up to a day, and what follows.

Add what the asset says of an experiment here. Keep counting and deciding out: they belong in describe and evaluate.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import pyarrow as pa

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.experiment_arms import ExperimentArm, experiment_arms
from monitoring_pipeline.evaluate.experiments import ExperimentReport, Recommendation, experiment_report
from monitoring_pipeline.publish.gate_report import plain
from monitoring_pipeline.serve.assignment import CONTROL, TREATMENT
from monitoring_pipeline.settings.experiments import Experiment
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.monitor_assets import checked
from monitoring_pipeline.workflow.partitions import DAY, day_key, days_awaiting_labels, days_of
from monitoring_pipeline.workflow.resources import Monitoring

KIND, ARMS = "experiments", "experiment_arms"


def report_experiments(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Count the arms of each day, and of the days before it whose labels may have come since, and read the tests."""
    days = days_of(context)
    count_arms(monitoring, monitor, days)
    last: list[ExperimentReport] = []
    for day in days:
        last = read_experiments(monitoring, monitor, day)
        facts: dict[str, Any] = {report.name: dg.MetadataValue.md(_in_markdown(report)) for report in last}
        facts |= {f"{report.name}_figures": dg.MetadataValue.json(report.to_json()) for report in last}
        context.add_asset_metadata(facts, asset_key=context.asset_key, partition_key=day_key(day))
    said = [f"{report.name}: {report.recommendation}: {'; '.join(report.reasons)}" for report in last]
    waiting = all(report.recommendation is Recommendation.CONTINUE for report in last)
    return checked("experiments_go_on", "; ".join(said) or "no experiment runs", passed=waiting)


def count_arms(monitoring: Monitoring, monitor: Monitor, days: Sequence[datetime]) -> None:
    """Count what each arm of every experiment showed in these days, and in those before whose labels may still come."""
    stages, now = monitoring.stages(monitor), monitoring.now()
    for day in days_awaiting_labels(days, monitor.labels.max_delay):
        running = {name: asked for name, asked in monitor.experiments.items() if runs(asked, day)}
        if not running or day < monitor.start - DAY:
            continue
        rows = stages.labelled_rows(day, day + DAY, as_of=now)
        found: dict[str, ExperimentArm] = {}
        for name, asked in running.items():
            policy = asked.policy(name, monitor.columns)
            if rows.num_rows == 0 or policy.what.unit not in rows.column_names:
                continue
            arms = asked.assignment(name).arms(rows[policy.what.unit].cast(pa.string()).to_pylist())
            counted = experiment_arms(rows, arms, policy.what, monitor.columns)
            found |= {f"{name}/{arm}": counters for arm, counters in counted.items()}
        monitoring.hourly.write_records(ARMS, monitor.registry_name, day + DAY - HOUR, found)


def read_experiments(monitoring: Monitoring, monitor: Monitor, day: datetime) -> list[ExperimentReport]:
    """Return how the experiments that ran on a day stand at its end, and keep it as signals."""
    reports, signals = [], []
    for name, asked in monitor.experiments.items():
        if not runs(asked, day):
            continue
        policy, start = asked.policy(name, monitor.columns), asked.start.replace(hour=0)
        known = monitoring.hourly.read_records(ARMS, monitor.registry_name, start, day + DAY, ExperimentArm.from_json)
        settled = monitoring.now() - (monitor.labels.maturity if policy.what.outcome == "actual" else timedelta(0))
        by_day = [
            (
                at + HOUR,
                {arm: found for arm in (CONTROL, TREATMENT) if (found := arms.get(f"{name}/{arm}")) is not None},
            )
            for at, arms in sorted(known.items())
            if at + HOUR <= settled  # what came first is not what came true: quick labels are other labels
        ]
        report = experiment_report(by_day, policy)
        reports.append(report)
        versions = served_by(monitoring, monitor, start, day + DAY)
        signals += report.signals(monitor.registry_name, version=versions[0], baseline=versions[1])
    monitoring.hourly.write_signals(KIND, monitor.registry_name, {day + DAY - HOUR: signals})
    return reports


def runs(asked: Experiment, day: datetime) -> bool:
    """Whether an experiment has begun by the end of a day, and is not over before it."""
    return asked.start < day + DAY and day < asked.start + asked.max_days * DAY


def served_by(monitoring: Monitoring, monitor: Monitor, start: datetime, end: datetime) -> tuple[str, str]:
    """Return the versions of treatment and control: the two that served most, the older one is the control."""
    counts: Counter[str] = Counter()
    for served in monitoring.hourly.read_served(monitor.registry_name, start, end).values():
        counts.update(served)
    most = sorted((version for version, _ in counts.most_common(2)), key=lambda text: (len(text), text))
    return (most[-1], most[0]) if most else ("", "")


def _in_markdown(report: ExperimentReport) -> str:
    lines = [
        f"**{report.recommendation}**: {plain('; '.join(report.reasons))}",
        "",
        "| arm | rows | with an outcome |",
        "|---|---:|---:|",
    ]
    lines += [f"| {plain(arm)} | {rows:,} | {report.known.get(arm, 0):,} |" for arm, rows in report.rows.items()]
    if report.looks:
        lines += [
            "",
            "| look | information | statistic | limit | difference | interval |",
            "|---|---:|---:|---:|---:|---|",
        ]
        lines += [
            f"| {look.at:%Y-%m-%d} | {look.fraction:.0%} | {look.statistic:+.2f} | {look.limit:.2f} "
            f"| {look.effect.difference:+.4g} | {look.interval[0]:+.4g} to {look.interval[1]:+.4g} |"
            for look in report.looks
        ]
    lines += ["", *(f"- {plain(rail.in_words())}" for rail in report.guard_rails)]
    return "\n".join(lines)
