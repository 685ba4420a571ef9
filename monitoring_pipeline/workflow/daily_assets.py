"""The daily assets of one monitor: what needs rows rather than profiles, on the samples of a day.

Add an asset here when it is too heavy for every hour. Keep computation out: it belongs in evaluate and judge.
"""

from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.windows import HOUR, window_name
from monitoring_pipeline.describe.blocks import Calibration
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.exact import exact_signals
from monitoring_pipeline.evaluate.multivariate import calibrate_multivariate, multivariate_signals
from monitoring_pipeline.judge.families import judge_by_p_value
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.model_references import reference_rows
from monitoring_pipeline.workflow.partitions import daily_partitions, day_key, days_of
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.tables import Cell, rounded, table

DAY = timedelta(days=1)
SEED = 20_130_101
"""Of the permutations: a day that is computed again gives the same numbers."""


def daily_assets(monitor: Monitor) -> list[dg.AssetsDefinition]:
    """Return the daily assets of one monitor, keyed [model, name]."""
    partitions = daily_partitions(monitor.start, monitor.end)
    if partitions is None:
        return []

    @dg.asset(
        name="sample_report",
        key_prefix=[monitor.model],
        description="Drift of all features together, and exact tests of each, on the day's sample of rows.",
        deps=[dg.AssetKey([monitor.model, name]) for name in ("serving_sample", "reference_distributions")],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            dg.AssetCheckSpec(
                "features_move_together_as_they_did",
                asset=dg.AssetKey([monitor.model, "sample_report"]),
                description="No test of all features together tells the last day of the run from the reference.",
            )
        ],
        kinds={"parquet"},
        group_name=f"{monitor.model}_daily",
        owners=list(monitor.owners) or None,
    )
    def sample_report(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return report_samples(context, monitoring, monitor)

    return [sample_report]


def report_samples(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Test each day's sample against the reference rows of the version that served most of it."""
    last: list[Verdict] = []
    for day in days_of(context):
        last = sample_verdicts(monitoring, monitor, day)
        monitoring.hourly.write_verdicts(monitor.registry_name, day + DAY - HOUR, last, kind="sample_verdicts")
        facts: dict[str, Any] = {"together": _together(last)} | _numbers(last)
        context.add_asset_metadata(facts, asset_key=context.asset_key, partition_key=day_key(day))
    moved = [verdict.signal.metric for verdict in last if verdict.level.rank > 0]
    known = [verdict for verdict in last if verdict.level is not Level.UNKNOWN]
    said = f"drifted by {', '.join(moved)}" if moved else f"{len(known)} of {len(last)} tests are known, none is beyond"
    return dg.MaterializeResult(
        check_results=[
            dg.AssetCheckResult(
                check_name="features_move_together_as_they_did",
                passed=bool(known) and not moved,
                severity=dg.AssetCheckSeverity.WARN,
                description=said,
            )
        ]
    )


def sample_verdicts(monitoring: Monitoring, monitor: Monitor, day: datetime) -> list[Verdict]:
    """Return the tests of one day, judged as one family; none where nothing was served or there is no reference."""
    model, version_column = monitor.registry_name, monitor.columns.version
    samples = [part for part in monitoring.hourly.read("samples", model, day, day + DAY).values() if part.num_rows]
    if not samples:
        return []
    rows = pa.concat_tables(samples, promote_options="permissive")
    served = monitoring.hourly.read_served(model, day, day + DAY)
    counts: dict[str, int] = {}
    for entries in served.values():
        for version, count in entries.items():
            counts[version] = counts.get(version, 0) + count
    version = max(counts, key=lambda name: (counts[name], name))
    reference = monitoring.references.load(model, version)
    if reference is None:
        return []
    if version_column is not None:
        rows = rows.filter(pc.equal(rows[version_column], version))
    before, roles = reference_rows(monitoring, monitor, monitoring.registry.version(model, version))
    time = {roles.time: monitor.columns.predicted_at}
    before = before.rename_columns([time.get(name, name) for name in before.column_names])
    return _judged(monitoring, monitor, reference, before, rows, day)


def _judged(
    monitoring: Monitoring, monitor: Monitor, reference: Reference, before: pa.Table, rows: pa.Table, day: datetime
) -> list[Verdict]:
    policy, time = monitor.multivariate_policy(), monitor.columns.predicted_at

    def learn() -> Calibration:
        rng = np.random.default_rng(SEED)
        found = calibrate_multivariate(reference, before, time=time, length=DAY, policy=policy, rng=rng)
        return {metric: {window_name(DAY): blocks} for metric, blocks in found.items()}

    learnt = monitoring.references.calibration(reference, f"multivariate {policy}", learn)
    signals = multivariate_signals(
        reference,
        before,
        rows,
        start=day,
        end=day + DAY,
        policy=policy,
        rng=np.random.default_rng(SEED),
        reference_time=time,
        current_time=time,
        calibration={metric: by_window[window_name(DAY)] for metric, by_window in learnt.items()},
    )
    together = judge_by_p_value(signals, rate=monitor.judging_policy().single_rate(DAY))
    exact = exact_signals(reference, before, rows, start=day, end=day + DAY, time=time)
    return together + judge_by_p_value(list(exact), rate=None)


def _together(verdicts: list[Verdict]) -> dg.TableMetadataValue:
    rows: list[dict[str, Cell]] = [
        {
            "test": verdict.signal.metric,
            "level": str(verdict.level),
            "value": "" if verdict.signal.value is None else rounded(verdict.signal.value),
            "p": "" if verdict.signal.p_value is None else rounded(verdict.signal.p_value),
            "columns": ", ".join(_given_away_by(verdict)),
            "why": verdict.reason,
        }
        for verdict in verdicts
        if verdict.signal.metric.startswith("multivariate.")
    ]
    return table(["test", "level", "value", "p", "columns", "why"], rows)


def _given_away_by(verdict: Verdict) -> list[str]:
    columns = verdict.signal.detail.get("columns")
    return [str(each["column"]) for each in columns] if isinstance(columns, list) else []


def _numbers(verdicts: list[Verdict]) -> dict[str, float]:
    return {
        verdict.signal.metric.replace(".", "_"): rounded(verdict.signal.value)
        for verdict in verdicts
        if verdict.signal.value is not None and not verdict.signal.column
    }
