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
)
from monitoring_pipeline.capture.windows import EPOCH, HOUR, Window, hour_of


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
    """
    require_columns(labels, columns.names(), table=table)
    prepared = pa.table(
        {
            "prediction_id": as_text(labels[columns.prediction_id], name=columns.prediction_id, table=table),
            "actual": _decoded(labels[columns.actual]),
            "labelled_at": as_utc(labels[columns.labelled_at], name=columns.labelled_at, table=table),
        }
    )
    given = pc.invert(pc.is_null(prepared["actual"], nan_is_null=True))
    placed = pc.and_(pc.is_valid(prepared["prediction_id"]), pc.is_valid(prepared["labelled_at"]))
    prepared = prepared.filter(pc.and_(given, placed))
    newest_first = prepared.sort_by([("labelled_at", "descending"), ("actual", "descending")])
    newest_first = newest_first.append_column("rank", pa.array(np.arange(newest_first.num_rows)))
    return first_of_each(newest_first, "prediction_id", ["rank"]).drop_columns(["rank"])


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def timely_labels(
    labels: pa.Table, predictions: pa.Table, *, columns: LabelColumns, log: LogColumns, max_delay: timedelta
) -> pa.Table:
    """Return the labels of `predictions` that became known in time: up to `max_delay` after the hour they belong to.

    Decided label by label, so that an hour gets the same labels whichever other hours are joined with it.
    `predictions` must be prepared (`capture.predictions.prepare_predictions`).
    """
    require_columns(labels, columns.names(), table="label log")
    ids = predictions[log.prediction_id].combine_chunks()
    named = as_text(labels[columns.prediction_id], name=columns.prediction_id, table="label log")
    place = pc.index_in(named, value_set=ids)
    known_at = as_utc(labels[columns.labelled_at], name=columns.labelled_at, table="label log")
    length = round(HOUR / timedelta(microseconds=1))
    predicted = predictions[log.predicted_at].cast(pa.int64()).to_numpy()
    start = pa.array(predicted // length * length).take(place.combine_chunks())
    delay = pc.subtract(known_at.cast(pa.int64()), start)
    latest = length + round(max_delay / timedelta(microseconds=1))
    return labels.filter(pc.and_(pc.greater_equal(delay, 0), pc.less(delay, latest)))


def join_labels(predictions: pa.Table, labels: pa.Table | None, *, id_column: str, as_of: datetime) -> pa.Table:
    """Return the predictions with columns `actual` and `labelled_at`, null where nothing is known at `as_of`.

    `labels` must be prepared (`prepare_labels`) from rows known before `as_of`: a later correction would hide them.
    The order of the predictions is kept.
    """
    own = [name for name in ("actual", "labelled_at") if name in predictions.column_names]
    predictions = predictions.drop_columns(own)  # what a log says of them is not what is known as of then
    if labels is None or labels.num_rows == 0:
        nulls = pa.nulls(predictions.num_rows)
        return predictions.append_column("actual", nulls.cast(pa.float64())).append_column(
            "labelled_at", nulls.cast(TIME_TYPE)
        )
    known = labels.filter(pc.less(labels["labelled_at"], pa.scalar(as_of, TIME_TYPE)))
    place = pc.index_in(predictions[id_column], value_set=known["prediction_id"].combine_chunks())
    return predictions.append_column("actual", known["actual"].take(place)).append_column(
        "labelled_at", known["labelled_at"].take(place)
    )


def touched_hours(
    labels: pa.Table, log: PredictionLog, *, model: str, columns: LabelColumns, id_column: str, max_delay: timedelta
) -> tuple[datetime, ...]:
    """Return the hours whose predictions `labels` speak of, oldest first.

    A batch that carries `predicted_at` in every row says so itself; otherwise the ids are looked up in the prediction
    log, from `max_delay` before the earliest label on.
    """
    if "predicted_at" in labels.column_names:
        times = as_utc(labels["predicted_at"], name="predicted_at", table="label log")
        if times.null_count == 0:
            return hours_in(times)
    known_at = as_utc(labels[columns.labelled_at], name=columns.labelled_at, table="label log")
    bounds: Mapping[str, datetime] = pc.min_max(known_at).as_py()
    if bounds["min"] is None:
        return ()
    ids = as_text(labels[columns.prediction_id], name=columns.prediction_id, table="label log")
    wanted = ids.drop_null().combine_chunks()
    start, end = hour_of(bounds["min"] - max_delay), hour_of(bounds["max"]) + HOUR
    found = []
    for hour in log.hours(model, since=start):
        if hour >= end:
            break
        logged = log.read(Window(model, hour, hour + HOUR))[id_column]
        known = as_text(logged, name=id_column, table="prediction log")
        if pc.any(pc.is_in(known, value_set=wanted)).as_py():
            found.append(hour)
    return tuple(found)


def hours_in(times: pa.ChunkedArray) -> tuple[datetime, ...]:
    """Return the distinct UTC hours that hold any of `times`, oldest first."""
    micros = times.drop_null().cast(pa.int64()).to_numpy()
    hours = np.unique(micros // 3_600_000_000)
    return tuple((EPOCH + int(hour) * HOUR).astimezone(UTC) for hour in hours)
