"""The checks of one monitor: its reference loads, rows and labels arrive, and their columns are those it watches.

Add a check here and name it in `CHECKS`. Keep out what belongs to the model's quality: that is measured every hour.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.labels import LABELLED
from monitoring_pipeline.capture.predictions import as_utc
from monitoring_pipeline.capture.windows import HOUR, Window, hour_of
from monitoring_pipeline.evaluate.heartbeats import in_words
from monitoring_pipeline.judge.status import STALE_AFTER
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.mlflow_alias import version_of_alias
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.objects import place_at
from monitoring_pipeline.stores.reference_store import ReferenceStore
from monitoring_pipeline.workflow.examination import Check, Outcome, Surroundings, has_columns
from monitoring_pipeline.workflow.logs import logs_at

ROWS_SINCE = timedelta(days=7)


def _reference(around: Surroundings, monitor: Monitor) -> Iterator[Check]:
    what, model, uri = f"{monitor.model}: reference", monitor.registry_name, around.deployment.tracking_uri
    version = version_of_alias(uri, model, CHAMPION)
    if version is None:
        fix = f"Register a version of {model} and set its alias {CHAMPION}."
        yield Check(what, Outcome.FAILED, f"no version of {model} is {CHAMPION}", f"the alias {CHAMPION}", fix)
        return
    reference = ReferenceStore(place_at(around.deployment.data_address), MlflowRegistry(uri)).load(model, version)
    if reference is None:
        fix = f"Log its rows with log_reference, then run the job {monitor.model}__reference."
        yield Check(what, Outcome.FAILED, f"version {version} has none", "one of the champion", fix)
        return
    yield Check(what, Outcome.OK, f"version {version}: {len(reference.columns)} columns of {reference.rows:,} rows")
    yield has_columns(
        f"{monitor.model}: columns of the reference", [each.name for each in monitor.column_specs()], reference.columns
    )


def _predictions(around: Surroundings, monitor: Monitor) -> Iterator[Check]:
    what, name, end = f"{monitor.model}: predictions arrive", monitor.registry_name, _last_moment(around, monitor)
    log, _ = logs_at(monitor, place_at(around.deployment.data_address), around.secret)
    hours = [hour for hour in log.hours(name, since=hour_of(end - ROWS_SINCE)) if hour <= end]
    if not hours:
        fix = "Look whether the service logs its predictions, and where."
        yield Check(what, Outcome.FAILED, f"none in {in_words(ROWS_SINCE)}", "rows", fix)
        return
    rows = log.read(Window(name, hours[-1], hours[-1] + HOUR))
    yield _arrival(what, rows[monitor.columns.predicted_at], end, allowed=STALE_AFTER)
    needed = [*monitor.columns.names(), *monitor.watched_columns()]
    there = [*rows.column_names, *LABELLED]  # what a formula may name comes with the labels
    yield has_columns(f"{monitor.model}: columns of the log", needed, there)


def _labels(around: Surroundings, monitor: Monitor) -> Iterator[Check]:
    what, asked, end = f"{monitor.model}: labels arrive", monitor.labels, _last_moment(around, monitor)
    _, log = logs_at(monitor, place_at(around.deployment.data_address), around.secret)
    days = asked.max_delay // timedelta(days=1) + 1
    for day in range(days):  # the newest are wanted: nobody reads a month of labels for them
        until = end - timedelta(days=day)
        labels = log.read(monitor.registry_name, start=until - timedelta(days=1), end=until)
        if labels is not None:
            yield _arrival(what, labels[asked.labelled_at], end, allowed=asked.maturity + STALE_AFTER)
            return
    fix = "Look at what writes the label log; without labels performance is only estimated."
    yield Check(what, Outcome.WARNING, f"none in {days} days", f"some within {in_words(asked.max_delay)}", fix)


def _last_moment(around: Surroundings, monitor: Monitor) -> datetime:
    return around.now if monitor.end is None else min(around.now, monitor.end)


def _arrival(what: str, times: pa.ChunkedArray, now: datetime, *, allowed: timedelta) -> Check:
    newest = pc.max(as_utc(times, name="time", table=what, each_alone=True)).as_py()
    age = now - newest
    late = age > allowed
    fix = "Look at what writes the log." if late else ""
    found = f"the newest is {in_words(age)} old, {newest:%Y-%m-%d %H:%M}Z"
    return Check(what, Outcome.WARNING if late else Outcome.OK, found, f"at most {in_words(allowed)}", fix)


CHECKS: dict[str, Callable[[Surroundings, Monitor], Iterator[Check]]] = {
    "reference": _reference,
    "predictions": _predictions,
    "labels": _labels,
}
