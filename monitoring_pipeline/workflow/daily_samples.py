"""The sampled rows of a day, beside the reference rows of the version that served most of it.

Add what the daily reports need to know of a day here. Keep what is measured on the rows out: it belongs in evaluate.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.settings.monitor import ACTUAL, Monitor
from monitoring_pipeline.workflow.model_references import reference_rows
from monitoring_pipeline.workflow.partitions import DAY, day_key, days_of
from monitoring_pipeline.workflow.resources import Monitoring

SEED = 20_130_101
"""Of everything drawn: a day that is computed again gives the same numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class DaySample:
    """Rows of the version that served most of a day, and those it was validated on, columns named alike.

    The outcomes of the latter are in `actual`, null where they are not known; the rows of the day have none yet.
    """

    start: datetime
    end: datetime
    reference: Reference
    before: pa.Table
    rows: pa.Table


def day_samples(
    monitoring: Monitoring, monitor: Monitor, days: Iterable[datetime]
) -> Iterator[tuple[datetime, DaySample | str]]:
    """Yield the sample of each day, or in words why there is none."""
    model, columns = monitor.registry_name, monitor.columns
    logged: dict[str, pa.Table] = {}
    for day in days:
        read = monitoring.hourly.read("samples", model, day, day + DAY)
        parts = [part for part in read.values() if part.num_rows]
        version = _serving(monitoring, model, day)
        if not parts or version is None:
            yield day, "no row was served"
            continue
        reference = monitoring.references.load(model, version)
        if reference is None:
            yield day, f"version {version} has no reference"
            continue
        if version not in logged:
            # One at a time: a range of days is mostly served by one version, and its rows may fill the memory.
            logged = {version: _reference_rows(monitoring, monitor, version)}
        rows = pa.concat_tables(parts, promote_options="permissive")
        if columns.version is not None:
            rows = rows.filter(pc.equal(rows[columns.version], version))
        yield day, DaySample(day, day + DAY, reference, logged[version], rows)


def judge_days(
    context: dg.AssetExecutionContext,
    monitoring: Monitoring,
    monitor: Monitor,
    judge: Callable[[Monitoring, Monitor, DaySample], list[Verdict]],
    facts: Callable[[list[Verdict]], Mapping[str, Any]],
    *,
    kind: str,
) -> tuple[list[Verdict], str]:
    """Judge the sample of each day of a run, and keep and show it; returns the last day's, or why it has none."""
    last, missing = list[Verdict](), ""
    for day, sample in day_samples(monitoring, monitor, days_of(context)):
        last, missing = ([], sample) if isinstance(sample, str) else (judge(monitoring, monitor, sample), "")
        monitoring.hourly.write_verdicts(monitor.registry_name, {day + DAY - HOUR: last}, kind=kind)
        context.add_asset_metadata(facts(last), asset_key=context.asset_key, partition_key=day_key(day))
    return last, missing


def labelled_rows(monitoring: Monitoring, monitor: Monitor, sample: DaySample) -> pa.Table:
    """Return the rows of the day with what is known by now to have come true."""
    hours = [sample.start, sample.end - HOUR]
    return monitoring.stages(monitor).labelled(sample.rows, hours, as_of=monitoring.now())


def _serving(monitoring: Monitoring, model: str, day: datetime) -> str | None:
    """Return the version with the most rows of a day."""
    counts: Counter[str] = Counter()
    for served in monitoring.hourly.read_served(model, day, day + DAY).values():
        counts.update(served)
    return max(counts, key=lambda name: (counts[name], name), default=None)


def _reference_rows(monitoring: Monitoring, monitor: Monitor, version: str) -> pa.Table:
    registered = monitoring.registry.version(monitor.registry_name, version)
    rows, roles = reference_rows(monitoring, monitor, registered)
    actual = rows[roles.label] if roles.label is not None else pa.nulls(rows.num_rows, pa.float64())
    rows = rows.drop_columns([name for name in rows.column_names if name in (roles.label, ACTUAL)])
    time = {roles.time: monitor.columns.predicted_at}
    rows = rows.rename_columns([time.get(name, name) for name in rows.column_names])
    return rows.append_column(ACTUAL, actual)
