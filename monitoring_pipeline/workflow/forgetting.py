"""Forgetting a subject: its rows go from every place of a monitor that has rows, in an order that a crash cannot harm.

Add a place with rows of predictions here. Keep how rows are removed out: it belongs in stores. What was made of many
rows, profiles and signals, stays: it names nobody where categories are redacted and small groups suppressed.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from monitoring_pipeline.capture.subjects import Subject
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.serve.spool import REFUSED, WAITING, Part, rows_of, spool_of
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.logs import PostgresLog, SqlLog
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.erasure import erase_pages, erase_rows, folders_of, known_of, row_files
from monitoring_pipeline.stores.files import publish
from monitoring_pipeline.stores.objects import Place, place_at
from monitoring_pipeline.stores.postgres_erasure import PostgresErasure
from monitoring_pipeline.stores.postgres_tables import Tables
from monitoring_pipeline.stores.sql_log import SqlPredictionLog
from monitoring_pipeline.workflow.logs import Secret, stored_logs

PASSES = 3
"""Looks at all places, as rows may arrive, or be described, while others are removed."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a deployment keeps its data, its pages and training sets on this machine, and what services hold."""

    data: Place
    here: Path
    spools: Path | None = None

    @classmethod
    def of(cls, deployment: Deployment) -> "Places":
        data = place_at(deployment.data_address)
        here = data if isinstance(data, Path) else deployment.state_directory / "data"
        return cls(data, here, deployment.spools)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many rows or pages about a subject one place had; `left` says why they are still there, "" if they are gone.

    After a dry run all of them are.
    """

    place: str
    count: int
    left: str = ""


def forget(
    monitor: Monitor, places: Places, secret: Secret, *, column: str, values: Collection[str], dry: bool
) -> list[Forgotten]:
    """Remove the rows in which `column` has one of `values`, and what there is of the same predictions elsewhere.

    Values that were hashed before they were stored are found by their hashes.
    """
    privacy = monitor.privacy.protection(secret, model=monitor.model)
    known = frozenset(form for value in values for form in privacy.both(value))
    columns = monitor.columns
    keys = tuple(dict.fromkeys([columns.prediction_id, monitor.labels.prediction_id, "prediction_id"]))
    ids = known if column == columns.prediction_id else frozenset[str]()
    subject = Subject(column, known, keys, ids)
    found: dict[str, Forgotten] = {}
    for _ in range(1 if dry else PASSES):
        seen = list(_once(monitor, places, secret, subject, dry=dry))
        for each in seen:
            earlier = found.get(each.place)
            gone = earlier.count if earlier and not each.left else 0
            found[each.place] = Forgotten(each.place, each.count + gone, each.left)
        if not any(each.count for each in seen if not each.left):
            break
    return list(found.values())


def _once(monitor: Monitor, places: Places, secret: Secret, subject: Subject, *, dry: bool) -> Iterator[Forgotten]:
    model, log = monitor.registry_name, monitor.log
    folders = [*folders_of(places.data, model), ("retraining", places.here / "retraining" / monitor.model)]
    files = row_files(folders, subject)
    subject, days = known_of(files, subject)
    stores = _in_postgres(monitor, secret)
    theirs = 0
    for store in stores:
        subject, more = store.known_of(subject)
        days |= more
    if isinstance(log, SqlLog):
        predictions, _ = stored_logs(monitor, places.data, secret)
        assert isinstance(predictions, SqlPredictionLog)
        rows = predictions.about(subject)
        theirs, subject = rows.num_rows, subject.with_ids(subject.ids_in(rows))
    # What says which predictions are the subject's goes last.
    yield Forgotten("evidently pages", erase_pages(places.here, model, days, dry=dry))
    for kind, count in erase_rows(files, subject, dry=dry).items():
        yield Forgotten(kind, count)
    if places.spools is not None:
        yield from _in_spool(spool_of(places.spools, model), subject, dry=dry)
    for store in sorted(stores, key=lambda each: each.log):
        yield Forgotten(f"{store.log} in PostgreSQL", store.erase(subject, dry=dry))
    if isinstance(log, SqlLog):
        yield Forgotten(f"table {log.predictions.table}", theirs, _instruction(log, subject.column) if theirs else "")


def _in_spool(folder: Path, subject: Subject, *, dry: bool) -> Iterator[Forgotten]:
    """Remove what no log took of what the scoring service answered; what waits for the log is still the service's."""
    waiting = 0
    for path in sorted(folder.glob(f"*/*{WAITING}")):
        with suppress(FileNotFoundError):  # it has just been stored
            waiting += int(_about(subject, *rows_of(Part(path))).sum())
    refused = 0
    for path in sorted(folder.glob(f"*/*{REFUSED}")):
        names, rows = rows_of(Part(path))
        about = _about(subject, names, rows)
        refused += int(about.sum())
        if about.any() and not dry:
            kept = [names, *(row for row, theirs in zip(rows, about, strict=True) if not theirs)]
            publish(path, b"".join(json.dumps(line).encode() + b"\n" for line in kept), lasting=True)
    if refused:
        yield Forgotten("rows no log took", refused)
    if waiting:
        left = "the service holds them until the log takes them: run this again when it has"
        yield Forgotten("rows that wait for the log", waiting, left)


def _about(subject: Subject, names: list[str], rows: list[list[Any]]) -> npt.NDArray[np.bool_]:
    texts = [[None if value is None else str(value) for value in row] for row in rows]
    columns = zip(names, zip(*texts, strict=True), strict=True) if rows else ()
    return subject.rows_of(pa.table({name: pa.array(values, pa.string()) for name, values in columns}))


def _in_postgres(monitor: Monitor, secret: Secret) -> list[PostgresErasure]:
    asked, model = monitor.log, monitor.registry_name
    if not isinstance(asked, PostgresLog):
        return []
    url = secret(asked.url_env)
    if not url:
        raise StoreError(f"log of {monitor.model}: {asked.url_env} is not set. Put the URL of its database into it.")
    tables = Tables(url, asked.in_schema, asked.length)
    times = {"labels": monitor.labels.labelled_at, "predictions": monitor.columns.predicted_at}
    return [PostgresErasure(tables, log, model, time) for log, time in times.items()]


def _instruction(log: SqlLog, column: str) -> str:
    named = log.predictions.columns.get(column, column)
    return (
        f"the table is only read here: delete the rows with these values of {named!r} there, as whoever writes it, and "
        "then their labels. Until then, hours that are computed anew have them again"
    )
