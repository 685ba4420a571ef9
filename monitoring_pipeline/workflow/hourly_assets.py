"""The hourly assets of one monitor: sample and profile, outcomes, drift, performance, verdicts.

Add an hourly asset here when it is a stage of its own; breadth (another metric, another column) goes inside an asset,
because every materialisation costs the event log a dozen rows. Keep computation out: it belongs in stages.
Every body takes the hours of one partition or of a whole range, and a check never raises.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import dagster as dg

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState, never_known
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.publish.charts import line_image
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.engines import describe_hours
from monitoring_pipeline.workflow.heartbeats import beat_for_hours
from monitoring_pipeline.workflow.monitor_assets import Group, asset_spec, check_result, checked, computed
from monitoring_pipeline.workflow.partitions import hourly_partitions, hours_of, partition_key
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.tables import (
    diagnosis_table,
    distance_table,
    revised_table,
    rounded,
    rule_table,
    verdict_table,
    with_threshold,
)

OF_MODEL = ("drift.", "performance.", "concept.")
"""Signals without which nothing is known of the model itself."""

DRAWN = 72
"""Hours of a picture, the last ones of a run: the UI folds away what has more than a thousand characters."""


def hourly_assets(monitor: Monitor) -> list[dg.AssetsDefinition]:
    """Return the hourly assets of one monitor, keyed [model, name]."""
    spec = partial(asset_spec, monitor)
    hourly = partial(computed, monitor, partitions=hourly_partitions(monitor.start, monitor.end))
    return [
        hourly(
            describe_serving,
            spec(
                "serving_sample",
                Group.DESCRIBE,
                "A sample of the hour's predictions, for exact tests: uniform, of at most "
                f"{monitor.sampling.rows_per_hour} rows, and the same whenever it is drawn.",
                page="architecture.md",
                deps=("prediction_log",),
            ),
            spec(
                "serving_profile",
                Group.DESCRIBE,
                "What the hour's predictions look like: counts, bins, moments and missing values of every feature, the "
                "score and the prediction, by model version. Profiles of hours add up to those of days and weeks.",
                page="architecture.md",
                deps=("prediction_log", "reference_distributions"),
            ),
            name="serving",
            checks={
                "every_version_has_a_reference": "Every version that served has reference distributions; without them "
                "it has no drift."
            },
        ),
        hourly(
            join_outcomes,
            spec(
                "outcomes",
                Group.DESCRIBE,
                "The hour's predictions and the labels known of them by now, in counters that add up. Labels that come "
                "later have the hour joined again.",
                page="late-labels.md",
                deps=("label_log", "prediction_log"),
            ),
        ),
        hourly(
            report_drift,
            spec(
                "drift_report",
                Group.EVALUATE,
                "How far features, score and predictions are from the reference rows, in every window.\n\n"
                "`PSI = Σ (qᵢ − pᵢ) · ln(qᵢ / pᵢ)` over the bins of a column, p being their shares in the reference "
                "and q those in the window. 0 is no change; by rule of thumb 0.1 is some and 0.25 much.",
                page="metrics.md",
                deps=("serving_profile", "reference_distributions"),
            ),
            checks={"drift_is_known": "At least one column could be compared with the reference in the last hour."},
        ),
        hourly(
            report_performance,
            spec(
                "performance_report",
                Group.EVALUATE,
                "How good the model is by the labels known so far, with 95 % intervals, in every window.\n\n"
                "Accuracy, ROC AUC, `log loss = mean of −ln(probability given to what came true)` and more, or their "
                "likes for numbers and lists.",
                page="metrics.md",
                deps=("outcomes", "reference_distributions"),
            ),
            checks={
                "labels_arrive": f"At least {monitor.performance.min_coverage:.0%} of the predictions of the longest "
                "window have labels by now."
            },
        ),
        hourly(
            report_quality,
            spec(
                "quality_report",
                Group.EVALUATE,
                "Whether the data are what they should be: missing, unusable, unseen and shifted values, types, "
                "volume, and features that mean something else than in training.",
                page="metrics.md",
                deps=("serving_profile", "serving_sample", "reference_distributions"),
            ),
            checks={
                "features_mean_what_they_meant": "No feature is missing, changed its type or its unit in the last hour."
            },
        ),
        hourly(
            report_operations,
            spec(
                "operations_report",
                Group.EVALUATE,
                "How requests were served: latency by stage, errors, throughput and fallbacks, and how fresh the "
                "sources of features were.",
                page="metrics.md",
                deps=("serving_profile",),
            ),
        ),
        hourly(
            judge_hours,
            spec(
                "verdicts",
                Group.JUDGE,
                "What the signals mean: a level and the threshold behind it for each, and the state of every alert "
                f"rule. Look here first; then at the page of `{monitor.model}/health_page`, and at what is open: "
                f"`monitoring-pipeline incidents --model {monitor.model}`.",
                page="reading-verdicts.md",
                deps=("drift_report", "performance_report", "quality_report", "operations_report"),
            ),
            checks={
                "no_rule_fires": "No alert rule fires in the last hour; an error when a critical one does.",
                "model_is_known_to_be_well": "No rule fires, and something is known: silence without data does not "
                "pass.",
            },
        ),
    ]


def describe_serving(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> Iterator[dg.MaterializeResult]:
    """Sample and describe each hour."""
    found, told = describe_hours(context, monitoring, monitor)
    described = {hour: [each for each in profiles if not each.segment] for hour, profiles in found.items()}
    sample, profile = (dg.AssetKey([monitor.model, name]) for name in ("serving_sample", "serving_profile"))
    limit = monitor.sampling.rows_per_hour
    for hour, profiles in described.items():
        rows = sum(entry.rows for entry in profiles)
        add(context, sample, hour, {"dagster/row_count": min(rows, limit), "rows_logged": rows})
        add(context, profile, hour, _profile_numbers(profiles, rows))
    versions = {entry.version: bool(entry.columns) for entries in described.values() for entry in entries}
    unknown = sorted(version for version, known in versions.items() if not known)
    draw(context, profile, "rows_by_hour", {h: sum(entry.rows for entry in each) for h, each in described.items()})
    said = f"no reference for version(s) {', '.join(unknown)}: run {monitor.model}__reference"
    if not unknown:
        said = f"{', '.join(sorted(versions)) or 'no'} version(s) served, each with its reference"
    check = check_result("every_version_has_a_reference", said, passed=not unknown, without_reference=len(unknown))
    yield dg.MaterializeResult(asset_key=sample)
    yield dg.MaterializeResult(asset_key=profile, metadata=told, check_results=[check._replace(asset_key=profile)])


def join_outcomes(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Join labels known by now to each hour."""
    as_of = monitoring.now()
    joined = monitoring.stages(monitor).join(hours_of(context), as_of=as_of)
    for hour, parts in joined.items():
        rows, labelled = (sum(getattr(part, name) for part in parts.values()) for name in ("rows", "labelled"))
        known = {"labelled_share": rounded(labelled / rows)} if rows else {}
        add(context, context.asset_key, hour, known | {"rows": rows, "labelled_rows": labelled})
    return dg.MaterializeResult(metadata={"labels_as_of": dg.MetadataValue.text(as_of.isoformat())})


def report_drift(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Measure drift of each hour's windows."""
    measured = monitoring.stages(monitor).measure_drift(hours_of(context))
    largest = {hour: _largest_psi(signals) for hour, signals in measured.items()}
    for hour, signals in measured.items():
        worst = distance_table([signal for signal in signals if _is_psi(signal)])
        facts = {"top_drifting_features": worst, "signals": len(signals)}
        add(context, context.asset_key, hour, facts | largest[hour])
    for window in monitor.windows:
        name = f"largest_psi_{window}"
        draw(context, context.asset_key, f"{name}_by_hour", {hour: each.get(name) for hour, each in largest.items()})
    last = measured[max(measured)]
    known = [signal for signal in last if _is_psi(signal)]
    columns = len({signal.column for signal in known})
    said = f"nothing is known: {', '.join(sorted({str(signal.absence) for signal in last if signal.absence}))}"
    if known:
        furthest = max(known, key=lambda signal: signal.value or 0.0)
        said = f"{columns} columns compared; furthest: {furthest.column}, PSI {furthest.value:.2g} in {furthest.window}"
    at = partition_key(max(measured))
    return checked("drift_is_known", said, passed=bool(known), hour=at, known=len(known), columns=columns)


def report_performance(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Measure performance of each hour's windows."""
    measured = monitoring.stages(monitor).measure_performance(hours_of(context))
    first, end = min(measured), max(measured) + HOUR
    first_seen = monitoring.hourly.read_signals("first_seen", monitor.registry_name, first, end)
    longest = monitor.windows[-1]
    for hour, signals in measured.items():
        revised = revised_table(first_seen.get(hour, []), signals)
        values = {
            f"{signal.metric.removeprefix('performance.')}_{longest}": rounded(signal.value)
            for signal in signals
            if signal.window == longest
            and signal.metric.startswith("performance.")
            and signal.value is not None
            and not signal.segment
        }
        changed = {"changed_by_late_labels": revised} if revised else {}
        add(context, context.asset_key, hour, values | changed | {"signals": len(signals)})
    coverage, needed = _coverage(measured[max(measured)], longest), monitor.performance.min_coverage
    said = f"no prediction in the last {longest}"
    if coverage is not None:
        said = f"{coverage:.1%} of the predictions of the last {longest} have labels, {needed:.0%} are needed"
    passed, at = coverage is not None and coverage >= needed, partition_key(max(measured))
    return checked("labels_arrive", said, passed=passed, hour=at, coverage=coverage or 0.0)


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
    return checked(
        "features_mean_what_they_meant",
        said,
        passed=bool(known) and not changed,
        severity=dg.AssetCheckSeverity.ERROR if changed else dg.AssetCheckSeverity.WARN,
        hour=partition_key(max(measured)),
        known=len(known),
        changed=len(changed),
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
    diagnosed = stages.diagnose(hours_of(context), {hour: verdicts for hour, (verdicts, _) in judged.items()})
    for hour, (verdicts, rules) in judged.items():
        counts = {level.value: sum(verdict.level is level for verdict in verdicts) for level in Level}
        counts["rules_firing"] = sum(outcome.state is RuleState.FIRING for outcome in rules)
        tables = {
            "rules": rule_table(rules),
            "what_stands_out": verdict_table(verdicts),
            "kind_of_drift": diagnosis_table(diagnosed[hour]),
        }
        add(context, context.asset_key, hour, tables | counts)
    verdicts, rules = judged[max(judged)]
    last: dict[str, Any] = {"hour": partition_key(max(judged))}
    firing = [outcome for outcome in rules if outcome.state is RuleState.FIRING]
    # That requests were answered in time, or that nobody sent any, says nothing of the model.
    of_model = [verdict for verdict in with_threshold(verdicts) if verdict.signal.metric.startswith(OF_MODEL)]
    known = [verdict for verdict in of_model if verdict.level is not Level.UNKNOWN]
    fires = f"fires: {', '.join(outcome.rule for outcome in firing)}; " if firing else ""
    day = monitoring.hourly.read_rules(monitor.registry_name, max(judged) - 23 * HOUR, max(judged) + HOUR)
    blind = never_known(outcome for entries in day.values() for outcome in entries)
    beat_for_hours(monitoring, monitor, hours_of(context), context.log)
    quiet = f"none of {len(rules)} rules fires" if rules else "there are no rules"
    looked_at = f"{fires}{len(known)} of {len(of_model)} signals with a threshold are known"
    found: dict[str, Any] = {}
    if firing:
        found["incidents"] = f"monitoring-pipeline incidents --model {monitor.model}"
        found["runbooks"] = ", ".join(sorted({outcome.runbook for outcome in firing} - {""}))
    if blind:
        last["never_known_today"] = ", ".join(f"{each.rule}: {each.why}" for each in blind)
    return dg.MaterializeResult(
        check_results=[
            check_result(
                "no_rule_fires",
                "; ".join(f"{outcome.rule}: {outcome.reason}" for outcome in firing) or quiet,
                passed=not firing,
                severity=_severity(firing),
                firing=len(firing),
                **last,
                **found,
            ),
            check_result(
                "model_is_known_to_be_well", looked_at, passed=bool(known) and not firing, known=len(known), **last
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


def draw(
    context: dg.AssetExecutionContext, key: dg.AssetKey, name: str, values: Mapping[datetime, float | None]
) -> None:
    """Attach a picture of the last hours of a run to the last one; one hour is no picture."""
    hours = sorted(values)[-DRAWN:]
    if sum(values[hour] is not None for hour in hours) > 1:
        text = f"{line_image([values[hour] for hour in hours])}, {hours[0]:%d %b %H:%M} to {hours[-1]:%d %b %H:%M} UTC"
        add(context, key, hours[-1], {name: dg.MetadataValue.md(text)})


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
