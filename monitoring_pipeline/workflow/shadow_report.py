"""The daily report on a shadow: what it said of the rows another version served, and which of the two was right.

Add what the asset says of a shadow here. Keep measuring and deciding out: they belong in evaluate.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from monitoring_pipeline.capture.predictions import UNVERSIONED, as_text, prepare_predictions
from monitoring_pipeline.capture.sampling import sample_rows
from monitoring_pipeline.capture.windows import EPOCH, HOUR, Window
from monitoring_pipeline.describe.outcomes import Task, numbers_of
from monitoring_pipeline.evaluate.shadow import (
    Recommendation,
    ShadowMetric,
    ShadowPolicy,
    ShadowRows,
    recommend,
    shadow_coverage,
    shadow_drift,
    shadow_signals,
)
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.serve.routing import SHADOW, SHADOW_SCORE, SHADOW_VERSION
from monitoring_pipeline.settings.monitor import ACTUAL, Monitor
from monitoring_pipeline.workflow.monitor_assets import checked
from monitoring_pipeline.workflow.partitions import DAY, day_key, days_awaiting_labels, days_of
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.stages import Stages
from monitoring_pipeline.workflow.tables import Cell, rounded, table

KIND, ROWS = "shadow", "shadow_rows"

MOST_A_DAY, MOST = 100_000, 1_000_000
"""Rows kept of a day, chosen by the hash of their ids, and compared at once, the newest days first."""

DEFAULT_MARGIN = 0.005
"""What is worth having where a monitor's gate asks for no margin: of nothing one is never certain."""

Pair = tuple[str, str]
"""The version that served, and that of the shadow."""


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What is known at the end of a day. days: signals of each day, oldest first; so_far: of all of them together."""

    pair: Pair
    recommendation: Recommendation
    reason: str
    days: Mapping[datetime, Sequence[Signal]]
    so_far: Sequence[Signal]


def is_watched(monitor: Monitor) -> bool:
    """Return whether a shadow of this monitor could be compared: the service scores these tasks."""
    return SHADOW in monitor.aliases and _score(monitor) is not None


def report_shadow(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Keep what both versions said in each day, with the labels known by now, and compare."""
    days = days_of(context)
    scored = keep_rows(monitoring, monitor, days)
    last: ShadowReport | None = None
    for day in days:
        last = compare_day(monitoring, monitor, day, scored=scored[day])
        found = [*last.days.get(day, ()), *last.so_far] if last else []
        monitoring.hourly.write_signals(KIND, monitor.registry_name, {day + DAY - HOUR: found})
        if last:
            context.add_asset_metadata(_facts(last), asset_key=context.asset_key, partition_key=day_key(day))
    good = last is None or last.recommendation not in (Recommendation.WORSE, Recommendation.UNKNOWN)
    said = f"{last.recommendation}: {last.reason}" if last else "there is no shadow"
    return checked("shadow_is_no_worse", said, passed=good)


def keep_rows(monitoring: Monitoring, monitor: Monitor, days: Sequence[datetime]) -> dict[datetime, int]:
    """Keep the rows both versions scored in these days; labels are looked up anew as long as they may come.

    Returns how many there were in each day that was read, whether or not all of them were kept.
    """
    stages, now, store, model = monitoring.stages(monitor), monitoring.now(), monitoring.hourly, monitor.registry_name
    scored = dict.fromkeys(days, 0)
    for day in days_awaiting_labels(days, monitor.labels.max_delay):
        last = day + DAY - HOUR
        kept = store.read(ROWS, model, last, day + DAY).get(last)
        if kept is None or day in scored:
            kept, scored[day] = _scored_twice(stages, monitor, day)
        if kept.num_rows:
            names = [name for name in kept.column_names if name != ACTUAL]
            kept = stages.labelled(kept.select(names), [day, last], as_of=now).select([*names, ACTUAL])
        store.write(ROWS, model, last, kept)
    return scored


def _scored_twice(stages: Stages, monitor: Monitor, day: datetime) -> tuple[pa.Table, int]:
    """Return the rows of a day that a shadow scored too, hour by hour: a day may not fit into memory."""
    columns, score = monitor.columns, _score(monitor)
    names = [name for name in (columns.prediction_id, columns.predicted_at, columns.version, score) if name]
    kept, count = [pa.table({})], 0
    for hour, sample in stages.hourly.read("samples", stages.model, day, day + DAY).items():
        # A look at the sample first: most models have no shadow, and need not have their log read once more.
        if SHADOW_SCORE not in sample.column_names or sample[SHADOW_SCORE].null_count == sample.num_rows:
            continue
        logged = stages.predictions.read(Window(stages.model, hour, hour + HOUR))
        rows = prepare_predictions(logged, columns, table=f"prediction log of {stages.model}")
        said_by = as_text(rows[SHADOW_VERSION]).fill_null(UNVERSIONED)
        rows = rows.select([*dict.fromkeys(names), SHADOW_SCORE]).append_column(SHADOW_VERSION, said_by)
        rows = rows.filter(np.isfinite(numbers_of(rows[score])) & np.isfinite(numbers_of(rows[SHADOW_SCORE])))
        count += rows.num_rows
        kept.append(rows)
        if sum(each.num_rows for each in kept) > MOST_A_DAY:
            whole = pa.concat_tables(kept, promote_options="permissive")
            kept = [sample_rows(whole, id_column=columns.prediction_id, limit=MOST_A_DAY)]
    return pa.concat_tables(kept, promote_options="permissive"), count


def compare_day(monitoring: Monitoring, monitor: Monitor, day: datetime, *, scored: int) -> ShadowReport | None:
    """Return how the shadow compares at the end of a day; None where there is none to compare."""
    store, model, end = monitoring.hourly, monitor.registry_name, day + DAY
    stored = [at for at in store.hours(ROWS, model) if at < end]
    today = store.read(ROWS, model, end - HOUR, end)[end - HOUR]
    pair = _pair(today, monitor) or _without_rows(monitoring, monitor)
    if pair is None:
        return None
    policy, settled = _policy(monitor), (monitoring.now() - monitor.labels.maturity - EPOCH) // HOUR
    by_day = {day: ShadowRows.concat([])}
    for at in reversed(stored):
        rows = _rows_of(store.read(ROWS, model, at, at + HOUR)[at], pair, monitor, settled)
        if len(rows.served):
            by_day[at + HOUR - DAY] = rows
        if sum(len(each.served) for each in by_day.values()) >= MOST:
            break
    by_day = dict(sorted(by_day.items()))
    together = ShadowRows.concat(list(by_day.values()))
    place = {"model": model, "version": pair[1], "baseline": pair[0], "window_end": end}
    signals = {
        start: shadow_signals(rows, policy, place | {"window_start": start, "window_end": start + DAY})
        for start, rows in by_day.items()
    }
    served = sum(sum(counts.values()) for counts in store.read_served(model, day, end).values())
    own = place | {"window_start": day}
    reference = monitoring.references.load(model, pair[1])
    signals[day].append(shadow_coverage(scored, served, own))
    signals[day].append(shadow_drift(by_day[day].shadow, reference, str(_score(monitor)), policy, own))
    place["window_start"] = min(by_day)
    so_far = shadow_signals(together, policy, place, so_far=True)
    return ShadowReport(pair, *recommend(together, policy), signals, so_far)


def _pair(rows: pa.Table, monitor: Monitor) -> Pair | None:
    """Return the two versions that scored most rows together."""
    if not rows.num_rows:
        return None
    counts = Counter(zip(_versions(rows, monitor), rows[SHADOW_VERSION].to_pylist(), strict=True))
    return max(counts, key=lambda pair: (counts[pair], pair))


def _versions(rows: pa.Table, monitor: Monitor) -> list[str]:
    version = monitor.columns.version
    return rows[version].to_pylist() if version else [UNVERSIONED] * rows.num_rows


def _without_rows(monitoring: Monitoring, monitor: Monitor) -> Pair | None:
    """Return the version that should have scored the rows, if there is one: its silence is not nothing."""
    versions = monitoring.registry.versions(monitor.registry_name)
    return next((("", each.version) for each in versions if SHADOW in each.aliases), None)


def _rows_of(kept: pa.Table, pair: Pair, monitor: Monitor, settled: int) -> ShadowRows:
    """Return the rows of two versions; what is younger than labels take has none: quick labels are other labels."""
    if not kept.num_rows:
        return ShadowRows.concat([])
    micros = kept[monitor.columns.predicted_at].cast(pa.int64()).to_numpy()
    hours = micros // (HOUR // timedelta(microseconds=1))
    served, said, actual = (numbers_of(kept[name]) for name in (str(_score(monitor)), SHADOW_SCORE, ACTUAL))
    own = np.array(_versions(kept, monitor)) == pair[0]
    own &= np.array(kept[SHADOW_VERSION].to_pylist()) == pair[1]
    return ShadowRows(served, said, np.where(hours < settled, actual, np.nan), hours).where(own)


def _score(monitor: Monitor) -> str | None:
    columns = monitor.columns
    return {Task.BINARY: columns.score, Task.REGRESSION: columns.prediction}.get(monitor.task)


def _policy(monitor: Monitor) -> ShadowPolicy:
    asked = monitor.retraining
    metric: ShadowMetric = "log_loss" if asked.metric == "log_loss" else "roc_auc"
    return ShadowPolicy(
        monitor.task,
        "mae" if monitor.task is Task.REGRESSION else metric,
        asked.margin or DEFAULT_MARGIN,
        monitor.threshold,
        monitor.drift.min_rows,
        monitor.performance.min_rows,
    )


def _facts(report: ShadowReport) -> dict[str, Any]:
    served, shadow = report.pair
    rows = [_row(f"{day:%Y-%m-%d}", signals) for day, signals in report.days.items()]
    columns = ["day", "rows:int", "agreement", "score shift", "PSI", "labelled:int", "served", "shadow", "gain"]
    versions = f"v{shadow} beside v{served}" if served else f"v{shadow}"
    return {
        "recommendation": f"{versions}: {report.recommendation}: {report.reason}",
        "comparison": table(columns, [*rows, _row("so far", report.so_far)]),
        "figures": dg.MetadataValue.json({_name(each): _figure(each) for each in (*report.so_far, *_last(report))}),
    }


def _last(report: ShadowReport) -> Sequence[Signal]:
    return list(report.days.values())[-1] if report.days else ()


def _name(signal: Signal) -> str:
    return f"{signal.metric.partition('.')[2]} ({signal.span or signal.window})"


def _figure(signal: Signal) -> dict[str, Any]:
    if signal.value is None:
        return {"unknown": signal.reason}
    return {"value": signal.value, "low": signal.low, "high": signal.high, "rows": signal.rows, **signal.detail}


def _row(day: str, signals: Sequence[Signal]) -> dict[str, Cell]:
    by_name = {signal.metric.partition(".")[2]: signal for signal in signals}
    first, gain = by_name["psi"], next(each for name, each in by_name.items() if name.endswith("_gain"))
    told: dict[str, Cell] = {"day": day, "rows": first.rows, "labelled": gain.rows, "gain": _cell(gain)}
    told |= {"agreement": _cell(by_name.get("agreement")), "PSI": _cell(first)}
    told["score shift"] = _cell(by_name["score_shift"])
    return told | {side: rounded(float(str(value))) for side, value in gain.detail.items()}


def _cell(signal: Signal | None) -> str:
    if signal is None:
        return ""
    if signal.value is None:
        return str(signal.absence)
    between = "" if signal.low is None or signal.high is None else f" ({signal.low:+.3g} to {signal.high:+.3g})"
    return f"{signal.value:.4g}{between}"
