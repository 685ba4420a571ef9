"""The hourly stages of one monitor on tables in memory: one reference for all versions, no store and no schedule.

The same functions the hourly assets call, in the same order. Add a stage here when `stages` gets it. Keep reading of
files out, and Dagster too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.labels import join_labels, prepare_labels, timely_labels
from monitoring_pipeline.capture.predictions import UNVERSIONED, LogColumns, prepare_predictions, require_columns
from monitoring_pipeline.capture.windows import HOUR, hour_of
from monitoring_pipeline.describe.hours import outcome_hours, profile_hours
from monitoring_pipeline.describe.reference_building import build_reference
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import TableError
from monitoring_pipeline.evaluate.concept import concept_by_version
from monitoring_pipeline.evaluate.drift import drift_by_version
from monitoring_pipeline.evaluate.performance import performance_by_version
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.rules import RuleOutcome, evaluate_rules
from monitoring_pipeline.judge.served import served_verdicts
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.settings.monitor import Monitor

MOST_HOURS = 5 * 366 * 24
"""Hours one evaluation covers at most: a single row dated 1970 would otherwise ask for 400,000 empty ones."""


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


def evaluate_tables(
    monitor: Monitor, reference_rows: pa.Table, predictions: pa.Table, labels: pa.Table | None, *, computed_at: datetime
) -> Evaluation:
    """Evaluate every hour from the first prediction to the last one, whatever `monitor` says of start and end."""
    rows, columns = _prepared(monitor, predictions)
    hours = _hours(rows[columns.predicted_at])
    versions = sorted(pc.unique(rows[columns.version]).to_pylist()) if columns.version else [UNVERSIONED]
    reference = table_reference(monitor, reference_rows, version=versions[0], computed_at=computed_at)
    references = {version: reference.for_version(version) for version in versions}
    profiles = profile_hours(rows, references, hours, columns)
    signals = drift_by_version(monitor.registry_name, profiles, references, hours, monitor.drift_policy())
    joined = None if labels is None else _joined(monitor, rows, columns, labels)
    if joined is not None:
        outcomes = outcome_hours(joined, hours, replace(monitor.outcome_plan(), columns=columns), references)
        asked = monitor.performance_policy()
        signals += performance_by_version(monitor.registry_name, outcomes, references, hours, asked)
        charts = monitor.concept_policy()
        signals += concept_by_version(monitor.registry_name, outcomes, references, hours, charts)

    verdicts = judge_signals(signals, references, monitor.judging_policy())
    by_hour: dict[datetime, list[Verdict]] = {hour: [] for hour in hours}
    for verdict in verdicts:
        by_hour[verdict.signal.window_end - HOUR].append(verdict)
    served = {
        hour: {profile.version: profile.rows for profile in entries if not profile.segment}
        for hour, entries in profiles.items()
    }
    rules = evaluate_rules(monitor.alert_rules(), served_verdicts(by_hour, served), hours, model=monitor.registry_name)
    labelled = None if joined is None else len(joined) - joined["actual"].null_count
    return Evaluation(hours, versions, rows.num_rows, labelled, signals, verdicts, rules)


def table_reference(monitor: Monitor, rows: pa.Table, *, version: str, computed_at: datetime) -> Reference:
    """Return the reference of rows whose columns are named as in the monitor.

    The time of prediction calibrates the thresholds, and the label makes the baseline, where the rows have them.
    """
    specs, time, label = monitor.column_specs(), monitor.columns.predicted_at, monitor.labels.actual
    needed = list(dict.fromkeys(spec.read_from for spec in specs))
    require_columns(rows, needed, table="reference")
    known = [name for name in dict.fromkeys([*needed, time, label]) if name in rows.column_names]
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


def _prepared(monitor: Monitor, predictions: pa.Table) -> tuple[pa.Table, LogColumns]:
    """Return the canonical rows with nothing but the columns that are watched, and the columns that are there."""
    columns = monitor.columns
    if columns.version not in predictions.column_names:
        columns = replace(columns, version=None)
    wanted = dict.fromkeys([*columns.names(), *(spec.read_from for spec in monitor.column_specs())])
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
