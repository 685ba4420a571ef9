"""The daily report on what the model leans on, and on features that give the outcome away.

Add what the asset says of attributions here. Keep measuring out: it belongs in serve and evaluate.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import dagster as dg
import pyarrow as pa

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.attributions import WAYS, Measured, attribution_signals
from monitoring_pipeline.evaluate.predictive_power import predictive_power_signals
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.publish.charts import MARKS, NO_BREAK
from monitoring_pipeline.serve.importance import measure_importance
from monitoring_pipeline.settings.monitor import ACTUAL, Monitor
from monitoring_pipeline.workflow.daily_samples import SEED, DaySample, judge_days, labelled_rows
from monitoring_pipeline.workflow.monitor_assets import checked
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.tables import SHOWN, Cell, rounded, table, with_threshold


def report_attributions(
    context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor
) -> dg.MaterializeResult:
    """Measure and judge what each day's rows say of the features."""
    importances = _importances_are(monitor) or f"measured by {', '.join(monitor.attributions.methods)}"
    facts = partial(_facts, importances=importances)
    last, missing = judge_days(context, monitoring, monitor, attribution_verdicts, facts, kind="attribution_verdicts")
    beyond = [verdict for verdict in last if verdict.level.rank > 0]
    judged = [verdict for verdict in with_threshold(last) if verdict.level is not Level.UNKNOWN]
    named = list(dict.fromkeys(map(_said, beyond)))[:5]
    said = "; ".join(named) or f"{len(judged)} known, none is beyond its limit"
    if not judged:
        said = "nothing is known: " + "; ".join(dict.fromkeys(verdict.reason for verdict in last[:SHOWN]))
    passed, name = bool(judged) and not beyond, "features_matter_as_they_did"
    return checked(name, missing or said, passed=passed, known=len(judged), beyond=len(beyond))


def attribution_verdicts(monitoring: Monitoring, monitor: Monitor, sample: DaySample) -> list[Verdict]:
    """Return what the labelled rows of a day say of each feature, and the model's importances where asked for."""
    rows = labelled_rows(monitoring, monitor, sample)
    signals = predictive_power_signals(
        sample.reference,
        sample.before,
        rows,
        start=sample.start,
        end=sample.end,
        reference_label=ACTUAL,
        regression=monitor.task is Task.REGRESSION,
        time=monitor.columns.predicted_at,
        seed=SEED,
    )
    found = [*signals, *([] if _importances_are(monitor) else _importances(monitoring, monitor, sample, rows))]
    return judge_signals(found, {sample.reference.version: sample.reference}, monitor.judging_policy())


def _importances_are(monitor: Monitor) -> str:
    """Return why no importances are measured; nothing where they are."""
    if not monitor.attributions.enabled:
        return "not measured: attributions.enabled is false"
    if "trusted_types" not in monitor.attributions.model_fields_set:
        return "not measured: no trust list. Set attributions.trusted_types, to [] if skops' own safe types will do"
    return ""


def _importances(monitoring: Monitoring, monitor: Monitor, sample: DaySample, rows: pa.Table) -> list[Signal]:
    asked, reference = monitor.attributions, sample.reference

    def measure(table: pa.Table) -> Measured:
        uri = monitoring.deployment.tracking_uri
        request = asked.request(uri, monitor.registry_name, reference.version, task=monitor.task, label=ACTUAL)
        return measure_importance(table, request, timeout=asked.timeout, like=sample.before.schema)

    how = f"importances of {reference.version}: {asked.methods} {asked.repeats} {asked.max_rows}"
    before = monitoring.references.importances(reference, how, lambda: measure(sample.before))
    # A model that cannot be measured on one side is not loaded for the other.
    now = before if isinstance(before, str) else measure(rows)
    signals = attribution_signals(
        reference.model,
        reference.version,
        before,
        now,
        start=sample.start,
        end=sample.end,
        ways=asked.ways(),
        top=asked.top,
        seed=SEED,
    )
    return list(signals)


def _facts(verdicts: Sequence[Verdict], *, importances: str) -> dict[str, Any]:
    alone = {verdict.signal.metric: verdict.signal.value for verdict in verdicts if not verdict.signal.column}
    power = [verdict for verdict in verdicts if verdict.signal.metric == "attribution.predictive_power"]
    numbers = {name.replace(".", "_"): rounded(value) for name, value in alone.items() if value is not None}
    known = [verdict.signal.value for verdict in power if verdict.signal.value is not None]
    facts: dict[str, Any] = {"what_stands_out": _worst(verdicts), "predictive_power": _by_feature(power)}
    facts["importances"] = importances
    for way in WAYS.values():
        metric = f"{way}importance"
        shares = [verdict for verdict in verdicts if verdict.signal.metric == metric]
        facts |= {metric.replace(".", "_"): _by_feature(shares)} if shares else {}
    return facts | numbers | ({"strongest_feature_alone": rounded(max(known))} if known else {})


def _worst(verdicts: Sequence[Verdict]) -> dg.TableMetadataValue:
    """Return what is held against a limit, the worst first."""
    ranked = sorted(with_threshold(verdicts), key=lambda each: (-each.level.rank, each.signal.metric))[:SHOWN]
    rows = [
        {
            "level": f"{MARKS[verdict.level]}{NO_BREAK}{verdict.level}",
            "signal": f"{verdict.signal.metric.removeprefix('attribution.')} {verdict.signal.column}".rstrip(),
            "value": "" if verdict.signal.value is None else f"{verdict.signal.value:.4g}",
            "why": verdict.reason,
        }
        for verdict in ranked
    ]
    return table(["level", "signal", "value", "why"], rows)


def _said(verdict: Verdict) -> str:
    return verdict.signal.reason or f"{verdict.signal.metric}: {verdict.reason}"


def _by_feature(verdicts: Sequence[Verdict]) -> dg.TableMetadataValue:
    """Return one metric of every feature, those first that are furthest from the reference."""
    ranked = sorted(verdicts, key=lambda each: (-abs(_change(each.signal)), each.signal.column))[:SHOWN]
    rows: list[dict[str, Cell]] = [
        {
            "feature": signal.column,
            "now": str(signal.absence) if signal.value is None else f"{signal.value:.3f}",
            "95 %": "" if signal.low is None or signal.high is None else f"{signal.low:.3f} to {signal.high:.3f}",
            "reference": "" if signal.baseline_value is None else f"{signal.baseline_value:.3f}",
            "rows": signal.rows,
        }
        for signal in (verdict.signal for verdict in ranked)
    ]
    return table(["feature", "now", "95 %", "reference", "rows:int"], rows)


def _change(signal: Signal) -> float:
    return (signal.value or 0.0) - (signal.baseline_value or 0.0)
