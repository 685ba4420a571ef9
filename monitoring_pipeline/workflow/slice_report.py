"""The daily report on slices: the parts of a day's traffic that the model serves worst, found rather than configured.

Add what the asset says of slices here. Keep the search out: it belongs in evaluate.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dagster as dg

from monitoring_pipeline.evaluate.slices import slice_signals
from monitoring_pipeline.judge.families import judge_by_p_value
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.publish.charts import MARKS, NO_BREAK
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.daily_samples import DaySample, judge_days, labelled_rows
from monitoring_pipeline.workflow.monitor_assets import checked
from monitoring_pipeline.workflow.partitions import DAY
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.tables import Cell, table

WORST, WORSENED, FOUND = (f"performance.{name}" for name in ("worst_slice", "slice_worsened", "slices_found"))


def report_slices(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Search the labelled rows of each day's sample."""
    last, missing = judge_days(context, monitoring, monitor, slice_verdicts, _facts, kind="slice_verdicts")
    searched = next((verdict for verdict in last if verdict.signal.metric == FOUND), None)
    worse = [verdict.signal.reason for verdict in last if verdict.level.rank > 0]
    said = missing or "; ".join(worse) or (searched.signal.reason if searched else "nothing was searched")
    passed = searched is not None and searched.level is not Level.UNKNOWN and not worse
    return checked("no_slice_got_worse", said, passed=passed, worse=len(worse))


def slice_verdicts(monitoring: Monitoring, monitor: Monitor, sample: DaySample) -> list[Verdict]:
    """Return the slices of one day; how much they got worse is judged as one family, how bad they are is shown."""
    asked, least = monitor.performance.min_coverage, monitor.privacy.min_group
    policy = monitor.slices.policy(monitor.outcome_plan(), min_coverage=asked, min_group=least)
    rows = labelled_rows(monitoring, monitor, sample)
    signals = slice_signals(sample.reference, sample.before, rows, start=sample.start, end=sample.end, policy=policy)
    worsened = [signal for signal in signals if signal.metric == WORSENED]
    shown = [signal for signal in signals if signal.metric != WORSENED]
    if [signal.value for signal in signals] == [0.0]:
        # Said of the day as a whole: without a word rules would know nothing, and an incident would stay open.
        worsened = [replace(shown[0], metric=WORSENED, p_value=1.0, reason="no slice stands out from the rest")]
    rate = monitor.judging_policy().single_rate(DAY)
    return judge_by_p_value(shown, rate=None) + judge_by_p_value(worsened, rate=rate)


def _facts(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    worsened = {verdict.signal.segment: verdict for verdict in verdicts if verdict.signal.metric == WORSENED}
    rows: list[dict[str, Cell]] = []
    for signal in (verdict.signal for verdict in verdicts if verdict.signal.metric == WORST):
        change = worsened[signal.segment]
        rows.append(
            {
                "slice": signal.segment,
                "rows": signal.rows,
                "mean loss": f"{signal.value:.3g}",
                "in all others": f"{signal.detail['rest']:.3g}",
                "in the reference": "" if signal.baseline_value is None else f"{signal.baseline_value:.3g}",
                "got worse": f"{MARKS[change.level]}{NO_BREAK}{change.level}",
            }
        )
    columns = ["slice", "rows:int", "mean loss", "in all others", "in the reference", "got worse"]
    counts = [verdict.signal.value for verdict in verdicts if verdict.signal.metric == FOUND]
    return {"slices": table(columns, rows)} | {FOUND.replace(".", "_"): count for count in counts if count is not None}
