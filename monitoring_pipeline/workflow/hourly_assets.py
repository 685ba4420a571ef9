"""The hourly assets of one monitor: sample and profile, outcomes, drift, performance, verdicts.

Add an hourly asset here when it is a stage of its own; breadth (another metric, another column) goes inside an asset,
because every materialisation costs the event log a dozen rows. Keep computation out: it belongs in stages.
Every body takes the hours of one partition or of a whole range, and a check never raises.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState, never_known
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.publish.charts import sparkline
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.heartbeats import beat_for_hours
from monitoring_pipeline.workflow.partitions import hourly_partitions, hours_of, partition_key
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.tables import (
    diagnosis_table,
    distance_table,
    rounded,
    rule_table,
    verdict_table,
    with_threshold,
)

BACKFILL = dg.BackfillPolicy.single_run()
OF_MODEL = ("drift.", "performance.", "concept.")
"""Signals without which nothing is known of the model itself."""

DRAWN = 72
"""Hours of a picture of traffic."""


def hourly_assets(monitor: Monitor) -> list[dg.AssetsDefinition]:
    """Return the hourly assets of one monitor, keyed [model, name]."""
    model = monitor.model
    shared: dict[str, Any] = {
        "partitions_def": hourly_partitions(monitor.start, monitor.end),
        "backfill_policy": BACKFILL,
        "owners": list(monitor.owners) or None,
        "key_prefix": [model],
    }
    group = f"{model}_hourly"

    def key(name: str) -> dg.AssetKey:
        return dg.AssetKey([model, name])

    @dg.multi_asset(
        name=f"{model}__serving",
        specs=[
            dg.AssetSpec(
                key("serving_sample"),
                description="A bounded, uniform, deterministic sample of the hour's predictions, for exact tests.",
                deps=[key("prediction_log")],
                kinds={"parquet"},
                group_name=group,
                owners=shared["owners"],
            ),
            dg.AssetSpec(
                key("serving_profile"),
                description="Mergeable profile of every feature, the score and the prediction, per model version.",
                deps=[key("prediction_log"), key("reference_distributions")],
                kinds={"parquet"},
                group_name=group,
                owners=shared["owners"],
            ),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "every_version_has_a_reference",
                asset=key("serving_profile"),
                description="Every version that served has reference distributions; without them it has no drift.",
            )
        ],
        partitions_def=shared["partitions_def"],
        backfill_policy=BACKFILL,
    )
    def serving(context: dg.AssetExecutionContext, monitoring: Monitoring) -> Iterator[dg.MaterializeResult]:
        yield from describe_serving(context, monitoring, monitor)

    @dg.asset(
        name="outcomes",
        description="Labels joined to the predictions they belong to, in mergeable counters, as of a moment.",
        deps=[key("label_log"), key("prediction_log")],
        kinds={"parquet"},
        group_name=group,
        **shared,
    )
    def outcomes(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return join_outcomes(context, monitoring, monitor)

    @dg.asset(
        name="drift_report",
        description="Distance of features, score and predictions from the training reference, in every window.",
        deps=[key("serving_profile"), key("reference_distributions")],
        check_specs=[
            dg.AssetCheckSpec(
                "drift_is_known",
                asset=key("drift_report"),
                description="At least one column could be compared with the reference in the last hour of the run.",
            )
        ],
        kinds={"parquet"},
        group_name=group,
        **shared,
    )
    def drift_report(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_drift(context, monitoring, monitor)

    @dg.asset(
        name="performance_report",
        description="Accuracy, AUC, log loss and more with intervals, from the labels known so far, in every window.",
        deps=[key("outcomes"), key("reference_distributions")],
        check_specs=[
            dg.AssetCheckSpec(
                "labels_arrive",
                asset=key("performance_report"),
                description=f"At least {monitor.performance.min_coverage:.0%} of the predictions of the longest window "
                "have labels by now.",
            )
        ],
        kinds={"parquet"},
        group_name=group,
        **shared,
    )
    def performance_report(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_performance(context, monitoring, monitor)

    @dg.asset(
        name="quality_report",
        description="Missing, unusable, unseen and shifted values, types, volume, and features that mean something "
        "else than in training.",
        deps=[key("serving_profile"), key("serving_sample"), key("reference_distributions")],
        check_specs=[
            dg.AssetCheckSpec(
                "features_mean_what_they_meant",
                asset=key("quality_report"),
                description="No feature is missing, changed its type or its unit in the last hour of the run.",
            )
        ],
        kinds={"parquet"},
        group_name=group,
        **shared,
    )
    def quality_report(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_quality(context, monitoring, monitor)

    @dg.asset(
        name="operations_report",
        description="Latency by stage, errors, throughput and fallbacks, and how fresh the sources of features were.",
        deps=[key("serving_profile")],
        kinds={"parquet"},
        group_name=group,
        **shared,
    )
    def operations_report(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_operations(context, monitoring, monitor)

    @dg.asset(
        name="verdicts",
        description="What the signals mean: a level and threshold for each, and the state of every alert rule.",
        deps=[key(name) for name in ("drift_report", "performance_report", "quality_report", "operations_report")],
        check_specs=[
            dg.AssetCheckSpec(
                "no_rule_fires",
                asset=key("verdicts"),
                description="No alert rule fires in the last hour of the run; an error when a critical one does.",
            ),
            dg.AssetCheckSpec(
                "model_is_known_to_be_well",
                asset=key("verdicts"),
                description="No rule fires, and something is known: silence without data does not pass.",
            ),
        ],
        kinds={"parquet"},
        group_name=group,
        **shared,
    )
    def verdicts(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return judge_hours(context, monitoring, monitor)

    return [serving, outcomes, drift_report, performance_report, quality_report, operations_report, verdicts]


def describe_serving(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> Iterator[dg.MaterializeResult]:
    """Sample and describe each hour."""
    hours = hours_of(context)
    read = monitoring.readings(monitor) if hour_of(monitoring.now()) - HOUR in hours else {}
    described = {
        hour: [profile for profile in profiles if not profile.segment]
        for hour, profiles in monitoring.stages(monitor).describe(hours, readings=read).items()
    }
    sample, profile = (dg.AssetKey([monitor.model, name]) for name in ("serving_sample", "serving_profile"))
    limit = monitor.sampling.rows_per_hour
    for hour, profiles in described.items():
        rows = sum(entry.rows for entry in profiles)
        add(context, sample, hour, {"dagster/row_count": min(rows, limit), "rows_logged": rows})
        add(context, profile, hour, _profile_numbers(profiles, rows))
    versions = {entry.version: bool(entry.columns) for entries in described.values() for entry in entries}
    unknown = sorted(version for version, known in versions.items() if not known)
    yield dg.MaterializeResult(asset_key=sample)
    yield dg.MaterializeResult(
        asset_key=profile,
        metadata=_hour_line(described),
        check_results=[
            dg.AssetCheckResult(
                asset_key=profile,
                check_name="every_version_has_a_reference",
                passed=not unknown,
                severity=dg.AssetCheckSeverity.WARN,
                description=(
                    f"no reference for version(s) {', '.join(unknown)}: materialise reference_distributions"
                    if unknown
                    else "every version that served has its reference"
                ),
            )
        ],
    )


def join_outcomes(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Join labels known by now to each hour."""
    as_of = monitoring.now()
    joined = monitoring.stages(monitor).join(hours_of(context), as_of=as_of)
    for hour, parts in joined.items():
        rows, labelled = (sum(getattr(part, name) for part in parts.values()) for name in ("rows", "labelled"))
        add(context, context.asset_key, hour, {"rows": rows, "labelled_rows": labelled})
    return dg.MaterializeResult(metadata={"labels_as_of": dg.MetadataValue.text(as_of.isoformat())})


def report_drift(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Measure drift of each hour's windows."""
    measured = monitoring.stages(monitor).measure_drift(hours_of(context))
    for hour, signals in measured.items():
        worst = distance_table([signal for signal in signals if _is_psi(signal)])
        add(context, context.asset_key, hour, {"largest_psi": worst, "signals": len(signals)} | _largest_psi(signals))
    last = measured[max(measured)]
    known = [signal for signal in last if _is_psi(signal)]
    absences = sorted({str(signal.absence) for signal in last if signal.absence})
    return dg.MaterializeResult(
        check_results=[
            dg.AssetCheckResult(
                check_name="drift_is_known",
                passed=bool(known),
                severity=dg.AssetCheckSeverity.WARN,
                description=(
                    f"{len(known)} columns and windows measured" if known else f"nothing known: {', '.join(absences)}"
                ),
                metadata={"hour": partition_key(max(measured)), "known": len(known)},
            )
        ],
    )


def report_performance(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Measure performance of each hour's windows."""
    measured = monitoring.stages(monitor).measure_performance(hours_of(context))
    longest = monitor.windows[-1]
    for hour, signals in measured.items():
        values = {
            f"{signal.metric.removeprefix('performance.')}_{longest}": rounded(signal.value)
            for signal in signals
            if signal.window == longest
            and signal.metric.startswith("performance.")
            and signal.value is not None
            and not signal.segment
        }
        add(context, context.asset_key, hour, values | {"signals": len(signals)})
    coverage = _coverage(measured[max(measured)], longest)
    return dg.MaterializeResult(
        check_results=[
            dg.AssetCheckResult(
                check_name="labels_arrive",
                passed=coverage is not None and coverage >= monitor.performance.min_coverage,
                severity=dg.AssetCheckSeverity.WARN,
                description=(
                    "no prediction in the window" if coverage is None else f"{coverage:.1%} of {longest} have labels"
                ),
                metadata={"hour": partition_key(max(measured)), "coverage": coverage or 0.0},
            )
        ],
    )


def report_quality(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Measure the quality of each hour's rows and columns."""
    measured = monitoring.stages(monitor).measure_quality(hours_of(context))
    for hour, signals in measured.items():
        changed = [signal.reason for signal in signals if _changed(signal)]
        facts: dict[str, Any] = {"signals": len(signals), "changed_features": len(changed)}
        add(context, context.asset_key, hour, facts | _hourly_values(signals, ("quality.", "schema.")))
    last = measured[max(measured)]
    changed = list(dict.fromkeys(signal.reason for signal in last if _changed(signal)))
    known = [signal for signal in last if signal.metric.startswith("skew.") and signal.value is not None]
    said = "; ".join(changed[:5]) or (f"{len(known)} comparisons with training" if known else "nothing to compare yet")
    return dg.MaterializeResult(
        check_results=[
            dg.AssetCheckResult(
                check_name="features_mean_what_they_meant",
                passed=bool(known) and not changed,
                severity=dg.AssetCheckSeverity.ERROR if changed else dg.AssetCheckSeverity.WARN,
                description=said,
                metadata={"hour": partition_key(max(measured)), "known": len(known)},
            )
        ],
    )


def _changed(signal: Signal) -> bool:
    return signal.metric in ("skew.changed_meaning", "skew.missing", "skew.retyped") and bool(signal.value)


def _hourly_values(signals: Sequence[Signal], reports: tuple[str, ...]) -> dict[str, float]:
    """Return what is known of the hour as a whole, of no column or part of it."""
    return {
        signal.metric.replace(".", "_"): rounded(signal.value)
        for signal in signals
        if signal.metric.startswith(reports)
        and signal.value is not None
        and not (signal.column or signal.segment)
        and signal.window == "1h"
    }


def report_operations(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Measure how each hour's requests were served."""
    measured = monitoring.stages(monitor).measure_operations(hours_of(context))
    for hour, signals in measured.items():
        facts = _hourly_values(signals, ("operations.", "freshness."))
        add(context, context.asset_key, hour, facts | {"signals": len(signals)})
    return dg.MaterializeResult()


def judge_hours(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Judge each hour and evaluate its rules."""
    stages = monitoring.stages(monitor)
    judged = stages.judge(hours_of(context))
    diagnosed = stages.diagnose(hours_of(context))
    for hour, (verdicts, rules) in judged.items():
        counts = {level.value: sum(verdict.level is level for verdict in verdicts) for level in Level}
        tables = {
            "what_stands_out": verdict_table(verdicts),
            "kind_of_drift": diagnosis_table(diagnosed[hour]),
            "rules": rule_table(rules),
        }
        add(context, context.asset_key, hour, tables | counts)
    verdicts, rules = judged[max(judged)]
    last = {"hour": partition_key(max(judged))}
    firing = [outcome for outcome in rules if outcome.state is RuleState.FIRING]
    # That requests were answered in time, or that nobody sent any, says nothing of the model.
    of_model = [verdict for verdict in with_threshold(verdicts) if verdict.signal.metric.startswith(OF_MODEL)]
    known = [verdict for verdict in of_model if verdict.level is not Level.UNKNOWN]
    fires = f"fires: {', '.join(outcome.rule for outcome in firing)}; " if firing else ""
    day = monitoring.hourly.read_rules(monitor.registry_name, max(judged) - 23 * HOUR, max(judged) + HOUR)
    blind = never_known(outcome for entries in day.values() for outcome in entries)
    beat_for_hours(monitoring, monitor, hours_of(context), context.log)
    return dg.MaterializeResult(
        check_results=[
            dg.AssetCheckResult(
                check_name="no_rule_fires",
                passed=not firing,
                severity=_severity(firing),
                description="; ".join(f"{outcome.rule}: {outcome.reason}" for outcome in firing) or "all quiet",
                metadata=last | {"firing": len(firing)},
            ),
            dg.AssetCheckResult(
                check_name="model_is_known_to_be_well",
                passed=bool(known) and not firing,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"{fires}{len(known)} signals held against a threshold",
                metadata=last
                | {"known": len(known), "never_known_today": ", ".join(f"{each.rule}: {each.why}" for each in blind)},
            ),
        ],
    )


def add(context: dg.AssetExecutionContext, key: dg.AssetKey, hour: datetime, facts: Mapping[str, Any]) -> None:
    """Attach what is known of one hour to its materialisation; the UI charts the numbers over time.

    What a result carries instead is repeated at every hour of the range.
    """
    context.add_asset_metadata(dict(facts), asset_key=key, partition_key=partition_key(hour))


def _profile_numbers(profiles: Sequence[Profile], rows: int) -> dict[str, Any]:
    cells = sum(entry.rows * len(entry.columns) for entry in profiles)
    nulls = sum(column.nulls for entry in profiles for column in entry.columns.values())
    return {
        "dagster/row_count": rows,
        "null_share": rounded(nulls / cells if cells else 0.0),
        "versions": ", ".join(sorted(entry.version for entry in profiles)) or "none",
    }


def _hour_line(described: Mapping[datetime, Sequence[Profile]]) -> dict[str, dg.MarkdownMetadataValue]:
    """Return a picture of the last hours of a range; one hour is no picture."""
    hours = sorted(described)[-DRAWN:]
    if len(hours) == 1:
        return {}
    line = sparkline([float(sum(entry.rows for entry in described[hour])) for hour in hours])
    text = f"`{line}` rows per hour, {hours[0]:%d %b %H:%M} to {hours[-1]:%d %b %H:%M} UTC"
    return {"rows_by_hour": dg.MetadataValue.md(text)}


def _is_psi(signal: Signal) -> bool:
    return signal.metric == "drift.psi" and signal.value is not None


def _largest_psi(signals: Sequence[Signal]) -> dict[str, float]:
    largest: dict[str, float] = {}
    for signal in signals:
        if signal.metric == "drift.psi" and signal.value is not None:
            name = f"largest_psi_{signal.window}"
            largest[name] = max(largest.get(name, 0.0), rounded(signal.value))
    return largest


def _coverage(signals: Sequence[Signal], window: str) -> float | None:
    found = [s.value for s in signals if s.metric == "performance.label_coverage" and s.window == window]
    return max((value for value in found if value is not None), default=None)


def _severity(firing: Sequence[RuleOutcome]) -> dg.AssetCheckSeverity:
    critical = any(outcome.severity is Level.CRITICAL for outcome in firing)
    return dg.AssetCheckSeverity.ERROR if critical else dg.AssetCheckSeverity.WARN
