"""The hourly stages of one monitor on tables in memory: one reference for all versions, no store and no schedule.

The same functions the hourly assets call, in the same order. Add a stage here when `stages` gets it. Keep reading of
files out, and Dagster too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.labels import join_labels, prepare_labels, timely_labels
from monitoring_pipeline.capture.predictions import (
    UNVERSIONED,
    LogColumns,
    as_utc,
    prepare_predictions,
    require_columns,
)
from monitoring_pipeline.capture.sampling import sample_rows
from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.describe.business import BusinessProfile
from monitoring_pipeline.describe.freshness import FreshnessProfile
from monitoring_pipeline.describe.hours import outcome_hours, profile_hours, records_by_hour
from monitoring_pipeline.describe.intake import intake_of_hour
from monitoring_pipeline.describe.label_arrivals import LabelArrivals
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.describe.profiles import Profile, rows_by_hour
from monitoring_pipeline.describe.reference_building import build_reference
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import TableError
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.rules import RuleOutcome, evaluate_rules
from monitoring_pipeline.judge.served import served_verdicts
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.reports import (
    Labelled,
    Requests,
    Served,
    drift_report,
    operations_report,
    performance_report,
    quality_report,
)

MOST_HOURS = 5 * 366 * 24
"""Hours one evaluation covers at most: rows of 1970 would otherwise ask for 400,000 empty ones."""

FEW_STRAYS = 0.1
"""Share of rows that may lie further than that from the others; of more, somebody has to decide which are meant."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything said of every hour, and how many of the rows had labels (None: no labels were given)."""

    hours: Sequence[datetime]
    versions: Sequence[str]
    rows: int
    labelled: int | None
    signals: Sequence[Signal]
    verdicts: Sequence[Verdict]
    rules: Sequence[RuleOutcome]
    profiles: Mapping[datetime, Sequence[Profile]]
    references: Mapping[str, Reference]


def evaluate_tables(
    monitor: Monitor, reference_rows: pa.Table, predictions: pa.Table, labels: pa.Table | None, *, computed_at: datetime
) -> Evaluation:
    """Evaluate predictions against reference rows: see `evaluate_against`."""
    reference = table_reference(monitor, reference_rows, version=UNVERSIONED, computed_at=computed_at)
    return evaluate_against(monitor, reference, predictions, labels)


def evaluate_against(
    monitor: Monitor, reference: Reference, predictions: pa.Table, labels: pa.Table | None
) -> Evaluation:
    """Evaluate every hour from the first prediction to the last one, whatever `monitor` says of start and end."""
    predictions = _without_strays(predictions, monitor.columns.predicted_at)
    rows, columns = _prepared(monitor, predictions)
    monitor = monitor.model_copy(update={"columns": columns})
    hours = _hours(rows[columns.predicted_at])
    versions = sorted(pc.unique(rows[columns.version]).to_pylist()) if columns.version else [UNVERSIONED]
    references = {version: reference.for_version(version) for version in versions}
    profiles = profile_hours(rows, references, hours, columns)
    signals = drift_report(monitor, profiles, references, hours)
    joined = None if labels is None else _joined(monitor, rows, columns, labels)
    known = joined if joined is not None else join_labels(rows, None, id_column=columns.prediction_id, as_of=hours[-1])
    outcomes = outcome_hours(known, hours, monitor.outcome_plan(), references)
    arrivals = (
        {}
        if joined is None
        else records_by_hour(
            joined, hours, columns, lambda part: LabelArrivals.of(part, predicted_at=columns.predicted_at)
        )
    )
    of = partial(BusinessProfile.of, formulas=monitor.business_policy().formulas, log=columns)
    business = records_by_hour(known, hours, columns, of)
    signals += performance_report(monitor, Labelled(outcomes, arrivals, business), references, hours)
    sources = monitor.freshness.policy(monitor.lengths).sources
    requests = Requests(
        records_by_hour(rows, hours, columns, lambda part: OperationsProfile.of(part, columns)),
        records_by_hour(
            rows, hours, columns, lambda part: FreshnessProfile.of(part, sources, predicted_at=columns.predicted_at)
        ),
    )
    plan = monitor.intake_plan()
    logged = _logged_by_hour(predictions, columns.predicted_at, hours)
    intake = {hour: intake_of_hour(logged[hour], plan)[0] if hour in logged else {} for hour in hours}
    counts = {hour: {entry.version: entry.rows for entry in profiles[hour] if not entry.segment} for hour in hours}
    limit = monitor.sampling.rows_per_hour
    samples = {
        hour: sample_rows(part, id_column=columns.prediction_id, limit=limit)
        for hour, part in rows_by_hour(rows, time=columns.predicted_at).items()
    }
    signals += quality_report(monitor, Served(profiles, intake, counts, samples), references, hours)
    signals += operations_report(monitor, requests, references, hours)

    verdicts = judge_signals(signals, references, monitor.judging_policy())
    by_hour: dict[datetime, list[Verdict]] = {hour: [] for hour in hours}
    for verdict in verdicts:
        by_hour[verdict.signal.window_end - HOUR].append(verdict)
    rules = evaluate_rules(monitor.alert_rules(), served_verdicts(by_hour, counts), hours, model=monitor.registry_name)
    labelled = None if joined is None else len(joined) - joined["actual"].null_count
    return Evaluation(hours, versions, rows.num_rows, labelled, signals, verdicts, rules, profiles, references)


def table_reference(monitor: Monitor, rows: pa.Table, *, version: str, computed_at: datetime) -> Reference:
    """Return the reference of rows whose columns are named as in the monitor.

    The time of prediction calibrates the thresholds, and the label makes the baseline, where the rows have them.
    """
    specs, time, label = monitor.column_specs(), monitor.columns.predicted_at, monitor.labels.actual
    needed = list(dict.fromkeys(spec.read_from for spec in specs))
    require_columns(rows, needed, table="reference")
    known = [name for name in dict.fromkeys([*monitor.watched_columns(), time, label]) if name in rows.column_names]
    return build_reference(
        rows.select(known),
        specs,
        model=monitor.registry_name,
        version=version,
        computed_at=computed_at,
        time=time if time in known else None,
        label=label if label in known else None,
        plan=monitor.reference_plan(),
    )


def _without_strays(predictions: pa.Table, time: str) -> pa.Table:
    """Return the rows without the times of the few that lie years from all others, such as 1970: nothing was meant."""
    require_columns(predictions, [time], table="predictions")
    micros = as_utc(predictions[time], name=time, table="predictions", each_alone=True).cast(pa.int64())
    if micros.null_count == len(micros):
        return predictions
    distance = pc.abs(pc.subtract(micros, pc.quantile(micros, interpolation="nearest")[0]))
    strays = pc.fill_null(pc.greater(distance, MOST_HOURS * (HOUR // timedelta(microseconds=1)) // 2), False)
    if not 0 < pc.sum(strays).as_py() <= FEW_STRAYS * len(strays):
        return predictions
    column = predictions[time]
    column = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    return predictions.set_column(predictions.column_names.index(time), time, pc.if_else(strays, None, column))


def _logged_by_hour(rows: pa.Table, time: str, hours: Sequence[datetime]) -> dict[datetime, pa.Table]:
    """Return the rows of every hour as they were logged; those without a time are with the last hour's."""
    times = as_utc(rows[time], name=time, table="predictions", each_alone=True)
    placed = pc.fill_null(times, pa.scalar(hours[-1], times.type))
    index = pa.table({"row": np.arange(rows.num_rows), "at": placed})
    return {hour: rows.take(part["row"]) for hour, part in rows_by_hour(index, time="at").items()}


def _prepared(monitor: Monitor, predictions: pa.Table) -> tuple[pa.Table, LogColumns]:
    """Return the canonical rows with nothing but the columns that are watched, and the columns that are there."""
    columns = monitor.columns
    if columns.version not in predictions.column_names:
        columns = replace(columns, version=None)
    wanted = dict.fromkeys([*columns.names(), *monitor.watched_columns()])
    rows = predictions.select([name for name in wanted if name in predictions.column_names])
    rows = prepare_predictions(rows, columns, table="predictions")
    if rows.num_rows == 0:
        found = f"none of {predictions.num_rows} rows has an id and a time" if predictions.num_rows else "no rows"
        needed = f"{columns.prediction_id!r} and {columns.predicted_at!r}"
        raise TableError(f"predictions: {found}. Give at least one prediction with {needed}.")
    return rows, columns


def _joined(monitor: Monitor, rows: pa.Table, columns: LogColumns, labels: pa.Table) -> pa.Table:
    """Return the rows with everything the labels say of them, as of the end of the last label."""
    names, max_delay = monitor.labels.columns(), monitor.labels.max_delay
    require_columns(labels, names.names(), table="labels")
    timely = timely_labels(labels, rows, columns=names, log=columns, max_delay=max_delay)
    known = prepare_labels(timely, names, table="labels")
    last = pc.max(known["labelled_at"]).as_py()
    as_of = hour_of(last or pc.max(rows[columns.predicted_at]).as_py()) + HOUR
    return join_labels(rows, known, id_column=columns.prediction_id, as_of=as_of)


def _hours(times: pa.ChunkedArray) -> list[datetime]:
    bounds = pc.min_max(times).as_py()
    first, last = hour_of(bounds["min"]), hour_of(bounds["max"])
    count = round((last - first) / HOUR) + 1
    if count > MOST_HOURS:
        raise TableError(
            f"predictions: they span {count} hours, from {first.isoformat()} to {last.isoformat()}; at most "
            f"{MOST_HOURS} can be evaluated at once. Correct the times, or split the table."
        )
    return [first + step * HOUR for step in range(count)]
