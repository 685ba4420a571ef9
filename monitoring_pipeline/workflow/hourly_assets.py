"""The hourly assets of one monitor: sample and profile, outcomes, drift, performance, verdicts.

Add an hourly asset here when it is a stage of its own; breadth (another metric, another column) goes inside an asset,
because every materialisation costs the event log a dozen rows. Keep computation out: it belongs in stages.
Every body takes the hours of one partition or of a whole range, and a check never raises.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import dagster as dg

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.drift_types import DriftDiagnosis
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState, never_known
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.publish.charts import line_image
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.engines import describe_hours
from monitoring_pipeline.workflow.heartbeats import beat_for_hours
from monitoring_pipeline.workflow.monitor_assets import Group, asset_spec, check_result, checked, computed
from monitoring_pipeline.workflow.partitions import hourly_partitions, hours_of, partition_key, portions
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

Found = TypeVar("Found")

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
    told = describe_hours(context, monitoring, monitor)
    sample, profile = (dg.AssetKey([monitor.model, name]) for name in ("serving_sample", "serving_profile"))
    limit = monitor.sampling.rows_per_hour
    versions: dict[str, bool] = {}
    rows: dict[datetime, int] = {}

    def read(hours: list[datetime]) -> dict[datetime, list[Profile]]:
        return monitoring.hourly.read_profiles(monitor.registry_name, hours[0], hours[-1] + HOUR)

    for hour, found in by_hour(context, read):
        profiles = [each for each in found if not each.segment]
        rows[hour] = sum(entry.rows for entry in profiles)
        add(context, sample, hour, {"dagster/row_count": min(rows[hour], limit), "rows_logged": rows[hour]})
        add(context, profile, hour, _profile_numbers(profiles, rows[hour]))
        versions |= {entry.version: bool(entry.columns) for entry in profiles}
    unknown = sorted(version for version, known in versions.items() if not known)
    draw(context, profile, "rows_by_hour", rows)
    said = f"no reference for version(s) {', '.join(unknown)}: run {monitor.model}__reference"
    if not unknown:
        said = f"{', '.join(sorted(versions)) or 'no'} version(s) served, each with its reference"
    check = check_result("every_version_has_a_reference", said, passed=not unknown, without_reference=len(unknown))
    yield dg.MaterializeResult(asset_key=sample)
    yield dg.MaterializeResult(asset_key=profile, metadata=told, check_results=[check._replace(asset_key=profile)])


def join_outcomes(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Join labels known by now to each hour."""
    as_of = monitoring.now()
    for hour, parts in by_hour(context, partial(monitoring.stages(monitor).join, as_of=as_of)):
        rows, labelled = (sum(getattr(part, name) for part in parts.values()) for name in ("rows", "labelled"))
        known = {"labelled_share": rounded(labelled / rows)} if rows else {}
        add(context, context.asset_key, hour, known | {"rows": rows, "labelled_rows": labelled})
    return dg.MaterializeResult(metadata={"labels_as_of": dg.MetadataValue.text(as_of.isoformat())})


def report_drift(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Measure drift of each hour's windows."""
    largest: dict[datetime, dict[str, float]] = {}
    last: list[Signal] = []
    for hour, signals in by_hour(context, monitoring.stages(monitor).measure_drift):
        largest[hour], last = _largest_psi(signals), signals
        worst = distance_table([signal for signal in signals if _is_psi(signal)])
        facts = {"top_drifting_features": worst, "signals": len(signals)}
        add(context, context.asset_key, hour, facts | largest[hour])
    for window in monitor.windows:
        name = f"largest_psi_{window}"
        draw(context, context.asset_key, f"{name}_by_hour", {hour: each.get(name) for hour, each in largest.items()})
    known = [signal for signal in last if _is_psi(signal)]
    columns = len({signal.column for signal in known})
    said = f"nothing is known: {', '.join(sorted({str(signal.absence) for signal in last if signal.absence}))}"
    if known:
        furthest = max(known, key=lambda signal: signal.value or 0.0)
        said = f"{columns} columns compared; furthest: {furthest.column}, PSI {furthest.value:.2g} in {furthest.window}"
    at = partition_key(max(largest))
    return checked("drift_is_known", said, passed=bool(known), hour=at, known=len(known), columns=columns)


def report_performance(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Measure performance of each hour's windows."""
    longest, last = monitor.windows[-1], hours_of(context)[-1]
    coverage, needed = None, monitor.performance.min_coverage
    for hour, signals in by_hour(context, monitoring.stages(monitor).measure_performance):
        first_seen = monitoring.hourly.read_signals("first_seen", monitor.registry_name, hour, hour + HOUR)
        revised = revised_table(first_seen.get(hour, []), signals)
        coverage = _coverage(signals, longest)
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
    said = f"no prediction in the last {longest}"
    if coverage is not None:
        said = f"{coverage:.1%} of the predictions of the last {longest} have labels, {needed:.0%} are needed"
    passed = coverage is not None and coverage >= needed
    return checked("labels_arrive", said, passed=passed, hour=partition_key(last), coverage=coverage or 0.0)


def report_quality(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Measure the quality of each hour's rows and columns."""
    last: list[Signal] = []
    for hour, signals in by_hour(context, monitoring.stages(monitor).measure_quality):
        last, changed = signals, [signal.reason for signal in signals if _changed(signal)]
        facts: dict[str, Any] = {"signals": len(signals), "changed_features": len(changed)}
        add(context, context.asset_key, hour, facts | _hourly_values(signals, ("quality.", "schema.")))
    changed = list(dict.fromkeys(signal.reason for signal in last if _changed(signal)))
    known = [signal for signal in last if signal.metric.startswith("skew.") and signal.value is not None]
    said = "; ".join(changed[:5]) or (f"{len(known)} comparisons with training" if known else "nothing to compare yet")
    return checked(
        "features_mean_what_they_meant",
        said,
        passed=bool(known) and not changed,
        severity=dg.AssetCheckSeverity.ERROR if changed else dg.AssetCheckSeverity.WARN,
        hour=partition_key(hours_of(context)[-1]),
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
    for hour, signals in by_hour(context, monitoring.stages(monitor).measure_operations):
        facts = _hourly_values(signals, ("operations.", "freshness."))
        add(context, context.asset_key, hour, facts | {"signals": len(signals)})
    return dg.MaterializeResult()


def judge_hours(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Judge each hour and evaluate its rules."""
    stages = monitoring.stages(monitor)

    def judge(hours: list[datetime]) -> dict[datetime, tuple[list[Verdict], list[RuleOutcome], list[DriftDiagnosis]]]:
        judged = stages.judge(hours)
        diagnosed = stages.diagnose(hours, {hour: verdicts for hour, (verdicts, _) in judged.items()})
        return {hour: (*found, diagnosed[hour]) for hour, found in judged.items()}

    newest = hours_of(context)[-1]
    verdicts, rules = list[Verdict](), list[RuleOutcome]()
    for hour, (verdicts, rules, diagnosed) in by_hour(context, judge):
        counts = {level.value: sum(verdict.level is level for verdict in verdicts) for level in Level}
        counts["rules_firing"] = sum(outcome.state is RuleState.FIRING for outcome in rules)
        tables = {
            "rules": rule_table(rules),
            "what_stands_out": verdict_table(verdicts),
            "kind_of_drift": diagnosis_table(diagnosed),
        }
        add(context, context.asset_key, hour, tables | counts)
    last: dict[str, Any] = {"hour": partition_key(newest)}
    firing = [outcome for outcome in rules if outcome.state is RuleState.FIRING]
    # That requests were answered in time, or that nobody sent any, says nothing of the model.
    of_model = [verdict for verdict in with_threshold(verdicts) if verdict.signal.metric.startswith(OF_MODEL)]
    known = [verdict for verdict in of_model if verdict.level is not Level.UNKNOWN]
    fires = f"fires: {', '.join(outcome.rule for outcome in firing)}; " if firing else ""
    day = monitoring.hourly.read_rules(monitor.registry_name, newest - 23 * HOUR, newest + HOUR)
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


def by_hour(
    context: dg.AssetExecutionContext, work: Callable[[list[datetime]], Mapping[datetime, Found]]
) -> Iterator[tuple[datetime, Found]]:
    """Yield what some work on the hours of a run found of each of them, oldest first, and hold little of it."""
    for hours in portions(hours_of(context)):
        yield from sorted(work(hours).items(), key=lambda each: each[0])


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
