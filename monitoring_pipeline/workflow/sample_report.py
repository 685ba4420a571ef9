"""The daily report on drift: all features together, and exact tests of each.

Add a test of rows against rows here. Keep the tests themselves out: they belong in evaluate.
"""

from typing import Any

import dagster as dg
import numpy as np

from monitoring_pipeline.capture.windows import window_name
from monitoring_pipeline.describe.blocks import Calibration
from monitoring_pipeline.evaluate.exact import exact_signals
from monitoring_pipeline.evaluate.multivariate import calibrate_multivariate, multivariate_signals
from monitoring_pipeline.judge.families import judge_by_p_value
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.daily_samples import SEED, DaySample, judge_days
from monitoring_pipeline.workflow.monitor_assets import checked
from monitoring_pipeline.workflow.partitions import DAY
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.tables import Cell, rounded, table


def report_samples(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Test each day's sample against the reference rows of the version that served most of it."""
    last, missing = judge_days(context, monitoring, monitor, sample_verdicts, _facts, kind="sample_verdicts")
    moved = [verdict.signal.metric for verdict in last if verdict.level.rank > 0]
    known = [verdict for verdict in last if verdict.level is not Level.UNKNOWN]
    said = f"drifted by {', '.join(moved)}" if moved else f"{len(known)} of {len(last)} tests are known, none is beyond"
    return checked("features_move_together_as_they_did", missing or said, passed=bool(known) and not moved)


def sample_verdicts(monitoring: Monitoring, monitor: Monitor, sample: DaySample) -> list[Verdict]:
    """Return the tests of one day; those of all features together are judged as one family."""
    policy, time, reference = monitor.multivariate_policy(), monitor.columns.predicted_at, sample.reference

    def learn() -> Calibration:
        rng = np.random.default_rng(SEED)
        found = calibrate_multivariate(reference, sample.before, time=time, length=DAY, policy=policy, rng=rng)
        return {metric: {window_name(DAY): blocks} for metric, blocks in found.items()}

    learnt = monitoring.references.calibration(reference, f"multivariate {policy}", learn)
    signals = multivariate_signals(
        reference,
        sample.before,
        sample.rows,
        start=sample.start,
        end=sample.end,
        policy=policy,
        rng=np.random.default_rng(SEED),
        reference_time=time,
        current_time=time,
        calibration={metric: by_window[window_name(DAY)] for metric, by_window in learnt.items()},
    )
    together = judge_by_p_value(signals, rate=monitor.judging_policy().single_rate(DAY))
    exact = exact_signals(reference, sample.before, sample.rows, start=sample.start, end=sample.end, time=time)
    return together + judge_by_p_value(list(exact), rate=None)


def _facts(verdicts: list[Verdict]) -> dict[str, Any]:
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
    numbers = {
        verdict.signal.metric.replace(".", "_"): rounded(verdict.signal.value)
        for verdict in verdicts
        if verdict.signal.value is not None and not verdict.signal.column
    }
    return {"together": table(["test", "level", "value", "p", "columns", "why"], rows)} | numbers


def _given_away_by(verdict: Verdict) -> list[str]:
    columns = verdict.signal.detail.get("columns")
    return [str(each["column"]) for each in columns] if isinstance(columns, list) else []
