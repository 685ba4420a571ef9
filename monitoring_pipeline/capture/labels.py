"""Labels: what came true, when that became known, and which hours a batch of labels touches.

Add rules of joining labels here. Keep metrics of the joined rows out: they belong in describe and evaluate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.predictions import (
    TIME_TYPE,
    LogColumns,
    PredictionLog,
    as_text,
    as_utc,
    first_of_each,
    require_columns,
    sortable,
)
from monitoring_pipeline.capture.windows import EPOCH, HOUR, Window, hour_of

LABELLED = {
    "actual": pa.float64(),
    "labelled_at": TIME_TYPE,
    "label: first_actual": pa.float64(),
    "label: first_labelled_at": TIME_TYPE,
    "label: reports": pa.int64(),
}
"""What labels add to a prediction, with the types of columns that no label has filled.

The last three say what was reported first, when, and how often; no feature has such a name.
"""


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """Names of the columns of a label log."""

    prediction_id: str = "prediction_id"
    actual: str = "actual"
    labelled_at: str = "labelled_at"

    def names(self) -> tuple[str, ...]:
        return (self.prediction_id, self.actual, self.labelled_at)


@dataclass(frozen=True, slots=True)
class LabelArrival:
    """One batch of labels that was stored: its place in the order of arrival and the hours it touches."""

    sequence: int
    rows: int
    hours: tuple[datetime, ...]  # hours of the predictions labelled; labels without a known prediction have none


class LabelLog(Protocol):
    """Where labels are kept, by the hour they became known in."""

    def append(self, model: str, labels: pa.Table, *, hours: Sequence[datetime]) -> LabelArrival:
        """Store labels together with the hours they touch, or neither."""
        ...

    def read(self, model: str, *, start: datetime, end: datetime) -> pa.Table | None:
        """Return the labels that became known in [start, end), or None when there are none."""
        ...

    def arrivals(self, model: str, *, after: int, limit: int) -> Sequence[LabelArrival]:
        """Return at most `limit` batches that were stored after batch number `after`, in order."""
        ...


def prepare_labels(labels: pa.Table, columns: LabelColumns, *, table: str = "label log") -> pa.Table:
    """Return the labels in canonical form: one row per prediction id, the one that became known last.

    Rows without an id, a value (NaN is none) or a time are left out. A correction replaces what was known before,
    whatever the order in which the rows were stored; of two values known at the same moment the larger one stays.
    What was said first, when, and how often anything was, stands beside it: see `LABELLED`.
    """
    require_columns(labels, columns.names(), table=table)
    prepared = pa.table(
        {
            "prediction_id": as_text(labels[columns.prediction_id]),
            "actual": sortable(labels[columns.actual]),
            "labelled_at": _times(labels, columns.labelled_at),
        }
    )
    given = pc.invert(pc.is_null(prepared["actual"], nan_is_null=True))
    placed = pc.and_(pc.is_valid(prepared["prediction_id"]), pc.is_valid(prepared["labelled_at"]))
    prepared = prepared.filter(pc.and_(given, placed))
    newest_first = prepared.sort_by([("labelled_at", "descending"), ("actual", "descending")])
    newest_first = newest_first.append_column("rank", pa.array(np.arange(newest_first.num_rows)))
    newest = first_of_each(newest_first, "prediction_id", ["rank"]).drop_columns(["rank"])
    if newest.num_rows == newest_first.num_rows:
        first, reports = newest, pa.array(np.ones(newest.num_rows, np.int64))
    else:
        oldest_first = newest_first.set_column(3, "rank", pa.array(-np.arange(newest_first.num_rows)))
        first = first_of_each(oldest_first, "prediction_id", ["rank"])
        distinct = newest_first.group_by(["prediction_id", "actual", "labelled_at"]).aggregate([])
        counts = distinct.group_by("prediction_id").aggregate([([], "count_all")]).sort_by("prediction_id")
        reports = counts["count_all"]
    newest = newest.append_column("label: first_actual", first["actual"])
    newest = newest.append_column("label: first_labelled_at", first["labelled_at"])
    return newest.append_column("label: reports", reports)


def _times(labels: pa.Table, name: str) -> pa.ChunkedArray:
    return as_utc(labels[name], name=name, table="label log", each_alone=True)


def timely_labels(
    labels: pa.Table, predictions: pa.Table, *, columns: LabelColumns, log: LogColumns, max_delay: timedelta
) -> pa.Table:
    """Return the labels of `predictions` that became known in time: up to `max_delay` after the hour they belong to.

    Decided label by label, so that an hour gets the same labels whichever other hours are joined with it.
    `predictions` must be prepared (`capture.predictions.prepare_predictions`).
    """
    require_columns(labels, columns.names(), table="label log")
    ids = predictions[log.prediction_id].combine_chunks()
    named = as_text(labels[columns.prediction_id])
    place = pc.index_in(named, value_set=ids)
    known_at = _times(labels, columns.labelled_at)
    length = round(HOUR / timedelta(microseconds=1))
    predicted = predictions[log.predicted_at].cast(pa.int64()).to_numpy()
    start = pa.array(predicted // length * length).take(place.combine_chunks())
    delay = pc.subtract(known_at.cast(pa.int64()), start)
    latest = length + round(max_delay / timedelta(microseconds=1))
    return labels.filter(pc.and_(pc.greater_equal(delay, 0), pc.less(delay, latest)))


def join_labels(predictions: pa.Table, labels: pa.Table | None, *, id_column: str, as_of: datetime) -> pa.Table:
    """Return the predictions with the columns of `LABELLED`, null where nothing is known at `as_of`.

    `labels` must be prepared (`prepare_labels`) from rows known before `as_of`: a later correction would hide them.
    The order of the predictions is kept.
    """
    own = [name for name in LABELLED if name in predictions.column_names]
    predictions = predictions.drop_columns(own)  # what a log says of them is not what is known as of then
    if labels is None or labels.num_rows == 0:
        for name, type_ in LABELLED.items():
            predictions = predictions.append_column(name, pa.nulls(predictions.num_rows, type_))
        return predictions
    known = labels.filter(pc.less(labels["labelled_at"], pa.scalar(as_of, TIME_TYPE)))
    place = pc.index_in(predictions[id_column], value_set=known["prediction_id"].combine_chunks())
    for name in LABELLED:
        predictions = predictions.append_column(name, known[name].take(place))
    return predictions


def touched_hours(
    labels: pa.Table, log: PredictionLog, *, model: str, columns: LabelColumns, id_column: str, max_delay: timedelta
) -> tuple[datetime, ...]:
    """Return the hours whose predictions `labels` speak of, oldest first.

    A batch that carries `predicted_at` in every row says so itself; otherwise the ids are looked up in the prediction
    log, from `max_delay` before the earliest label on.
    """
    if "predicted_at" in labels.column_names:
        times = _times(labels, "predicted_at")
        if times.null_count == 0:
            return hours_in(times)
    known_at = _times(labels, columns.labelled_at)
    bounds: Mapping[str, datetime] = pc.min_max(known_at).as_py()
    if bounds["min"] is None:
        return ()
    wanted = as_text(labels[columns.prediction_id]).drop_null().combine_chunks()
    start, end = hour_of(bounds["min"] - max_delay), hour_of(bounds["max"]) + HOUR
    found = []
    for hour in log.hours(model, since=start):
        if hour >= end:
            break
        logged = log.read(Window(model, hour, hour + HOUR))[id_column]
        if pc.any(pc.is_in(as_text(logged), value_set=wanted)).as_py():
            found.append(hour)
    return tuple(found)


FURTHEST_AHEAD = timedelta(days=7)
"""How far ahead of the clock labels are looked for: a wrong zone is at most 14 hours."""


def hours_of_labels_ahead(
    known: LabelLog,
    log: PredictionLog,
    *,
    model: str,
    columns: LabelColumns,
    id_column: str,
    max_delay: timedelta,
    now: datetime,
) -> dict[datetime, datetime]:
    """Return the hours with labels that say they become known later than now, and when the first of them will be."""
    labels = known.read(model, start=now, end=now + FURTHEST_AHEAD)
    found: dict[datetime, datetime] = {}
    if labels is not None:
        moments = _times(labels, columns.labelled_at)
        for hour in hours_in(moments):
            part = labels.filter(pc.equal(pc.floor_temporal(moments, unit="hour"), pa.scalar(hour, TIME_TYPE)))
            touched = touched_hours(part, log, model=model, columns=columns, id_column=id_column, max_delay=max_delay)
            found = dict.fromkeys(touched, hour + HOUR) | found
    return found


def hours_in(times: pa.ChunkedArray) -> tuple[datetime, ...]:
    """Return the distinct UTC hours that hold any of `times`, oldest first."""
    micros = times.drop_null().cast(pa.int64()).to_numpy()
    hours = np.unique(micros // 3_600_000_000)
    return tuple((EPOCH + int(hour) * HOUR).astimezone(UTC) for hour in hours)
