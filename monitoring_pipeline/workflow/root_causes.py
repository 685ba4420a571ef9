"""The root causes of what one model shows in an hour: the record is read, and judged.

Add a part of the record here when a candidate cause asks for it. Keep the causes out: they belong in judge.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.hours import serving_version
from monitoring_pipeline.judge.cause_findings import PERFORMANCE
from monitoring_pipeline.judge.drift_types import SeriesKey
from monitoring_pipeline.judge.recorded_facts import RECENT
from monitoring_pipeline.judge.root_causes import Cause, newest_diagnosis, rank_causes
from monitoring_pipeline.judge.served import served_verdicts
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.signal_tables import verdicts_of
from monitoring_pipeline.workflow.recorded_changes import changes_before
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.stages import DAILY_REPORTS, SERVING_LOOKBACK

REACH = timedelta(days=7)
"""How far back the record is read: what began earlier is said to be older than that."""


def find_root_causes(
    monitoring: Monitoring,
    monitor: Monitor,
    hour: datetime,
    *,
    instance: dg.DagsterInstance | None = None,
    upstream: Collection[dg.AssetKey] | None = None,
    alarmed: Collection[str] = (),
) -> list[Cause]:
    """Return the ranked causes of what the version that serves shows in `hour`, by what is on record until then."""
    store, model, start, end = monitoring.hourly, monitor.registry_name, hour + HOUR - REACH, hour + HOUR
    diagnoses = store.read_diagnoses(model, end - RECENT, end)
    tables = store.read("verdicts", model, start, end)
    whole = {hour, newest_diagnosis(diagnoses, hour)}
    verdicts = {at: verdicts_of(table if at in whole else _telling(table)) for at, table in tables.items()}
    for kind in DAILY_REPORTS:  # kept with the last hour of a day that is over
        for at, table in store.read(kind, model, end - RECENT, end).items():
            verdicts.setdefault(at, []).extend(verdicts_of(_telling(table)))
    counts = store.read_served(model, start - SERVING_LOOKBACK, end)
    version = serving_version(counts, hour)
    columns = monitor.columns
    return rank_causes(
        served_verdicts(verdicts, counts),
        diagnoses,
        changes_before(instance, monitoring, monitor, start, end, upstream=upstream),
        hour=hour,
        outputs={name for name in (columns.score, columns.prediction) if name is not None},
        history=_history(tables, version, {v.signal.metric for v in verdicts.get(hour, ()) if v.level.rank > 0}),
        alarmed=alarmed,
    )


def _telling(table: pa.Table) -> pa.Table:
    """Return what was breached, and all that is known of performance: what it was before is compared with."""
    breached = pc.is_in(table["level"], pa.array(["warning", "critical"]))
    return table.filter(pc.or_(breached, pc.is_in(table["metric"], pa.array(sorted(PERFORMANCE)))))


def _history(
    tables: Mapping[datetime, pa.Table], version: str | None, metrics: Collection[str]
) -> dict[SeriesKey, dict[datetime, float]]:
    """Return past values of some metrics of one version; of segments there are none."""
    series: dict[SeriesKey, dict[datetime, float]] = {}
    for hour, table in tables.items():
        whole = pc.and_(pc.equal(table["segment"], ""), pc.equal(table["version"], version or ""))
        known = pc.and_(table["value"].is_valid(), pc.is_in(table["metric"], pa.array(sorted(metrics), pa.string())))
        rows = table.filter(pc.and_(whole, known))
        places = zip(*(rows[name].to_pylist() for name in ("metric", "column", "baseline", "window")), strict=True)
        for place, value in zip(places, rows["value"].to_pylist(), strict=True):
            series.setdefault(place, {})[hour] = value
    return series
