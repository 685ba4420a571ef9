"""The recorder: predictions on their way from a request into the prediction log.

A request puts its rows into a spool on disk, as the log may keep them, and one thread stores them from there. Every row
is counted once: as stored, lost, refused by the sample or by a full spool. Add what is done with rows here. Keep
formats out: they belong in stores.
"""

import atexit
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from threading import Condition, Event, Lock, Thread
from time import monotonic
from typing import Any

import pyarrow as pa

from monitoring_pipeline.capture.predictions import PredictionLog
from monitoring_pipeline.capture.privacy import Privacy, PrivatePredictionLog
from monitoring_pipeline.capture.sampling import id_hashes
from monitoring_pipeline.capture.windows import EPOCH
from monitoring_pipeline.crash_points import reached
from monitoring_pipeline.serve.spool import PART_ROWS, Part, Spool, rows_of, spool_of

_log = logging.getLogger(__name__)

Record = Mapping[str, Any]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0

MOST_BYTES = 128 * 2**20
"""Of rows that wait for the log: minutes at the highest rate a machine answers, hours at a usual one."""


class Recorded(StrEnum):
    """What becomes of a row."""

    ACCEPTED = "accepted"
    RECOVERED = "recovered"  # a process that was killed had accepted it
    STORED = "stored"
    LOST = "lost"
    DROPPED = "dropped"  # the spool is full
    SAMPLED_OUT = "sampled_out"
    IN_MEMORY = "in_memory"  # accepted while the disk was full: a kill would lose it


def is_sampled(prediction_id: str, rate: float) -> bool:
    """Return whether the share `rate` of all ids that hash lowest holds this one, as `sample_rows` chooses."""
    return rate >= 1 or int(id_hashes([prediction_id])[0]) < rate * 2**64


class Recorder:
    """Records of one model on their way into a prediction log.

    schema: the columns of the log; one of type null takes whatever comes. folder: of the spools of all models, on a
    disk that outlives the process. rate: the share of predictions that is logged. most_bytes: what may wait; beyond it
    rows are dropped. Rows are stored every `flush_s`, or once a thousand wait, and tried again for as long as the log
    does not take them; those it refuses for `retry_s`, while it takes others, are set aside. complete: adds to rows
    what is not needed for the answer, such as what a shadow says; if it fails, they are stored without.
    """

    def __init__(
        self,
        log: PredictionLog,
        model: str,
        schema: pa.Schema,
        folder: Path,
        *,
        rate: float = 1.0,
        most_bytes: int = MOST_BYTES,
        flush_s: float = 1.0,
        retry_s: float = 60.0,
        complete: Callable[[pa.Table], pa.Table] | None = None,
    ) -> None:
        self._log, self._model, self._rate, self._most_bytes = log, model, rate, most_bytes
        self._flush_s, self._retry_s, self._complete = flush_s, retry_s, complete
        # Asked of the log, not of the caller: nothing may wait on disk that the log would not keep.
        self._privacy = log.privacy if isinstance(log, PrivatePredictionLog) else Privacy()
        self._hashed = {each.name: each.type for each in schema if each.name in self._privacy.hashed}
        self._kept: pa.Schema = self._privacy.keep(schema.empty_table()).schema
        self._names = self._kept.names
        self._spool = Spool(spool_of(folder, model), self._names)
        self._counts = Counter({Recorded.RECOVERED: self._spool.recovered})
        if self._spool.recovered:
            _log.warning("processes before this one were killed: storing %d rows they left", self._spool.recovered)
        self._lock = Lock()
        self._settled = Condition(self._lock)
        self._wake, self._closing = Event(), Event()
        if self._spool.parts:
            self._wake.set()
        self._thread = Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def record(self, ids: Sequence[str], records: Sequence[Record]) -> Recorded:
        """Take records on, together; returns what became of those that are in the sample. Waits for no disk."""
        sampled = [record for id_, record in zip(ids, records, strict=True) if is_sampled(id_, self._rate)]
        lines = self._lines(sampled)
        outcome = Recorded.ACCEPTED if lines else Recorded.SAMPLED_OUT
        with self._lock:
            self._counts[Recorded.SAMPLED_OUT] += len(ids) - len(sampled)
            if lines and (self._closing.is_set() or self._spool.size + sum(map(len, lines)) > self._most_bytes):
                outcome = Recorded.DROPPED
            elif lines and not self._spool.add(lines):
                self._counts[Recorded.IN_MEMORY] += len(lines)
            self._counts[outcome] += len(lines)
            many = self._pending() >= PART_ROWS
        if many:
            self._wake.set()
        return outcome

    def counts(self) -> dict[str, int]:
        """Return what became of all rows; `accepted` and `recovered` ones are stored or lost later."""
        with self._lock:
            return {outcome.value: self._counts[outcome] for outcome in Recorded}

    @property
    def pending(self) -> int:
        """Rows that are neither stored nor lost yet."""
        with self._lock:
            return self._pending()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and not self._closing.is_set()

    def flush(self, *, timeout: float = 10.0) -> bool:
        """Wait until what has been accepted so far is stored or lost; False where that takes longer."""
        with self._settled:
            target = self._taken()
            self._wake.set()
            return self._settled.wait_for(lambda: self._taken() - self._pending() >= target, timeout)

    def close(self, *, timeout: float = 10.0) -> bool:
        """Store what waits and accept no more; False where something is left, which the next process stores."""
        with self._lock:
            self._closing.set()  # under the lock: who comes after is told, who came before is in the spool
        self._wake.set()
        self._thread.join(timeout)
        atexit.unregister(self.close)
        with self._lock:
            left = self._pending()
            if not self._thread.is_alive():
                self._spool.close()
        if left:
            _log.warning("%d rows are left for the next process to store", left)
        return left == 0

    def _taken(self) -> int:
        return self._counts[Recorded.ACCEPTED] + self._counts[Recorded.RECOVERED]

    def _pending(self) -> int:
        return self._taken() - self._counts[Recorded.STORED] - self._counts[Recorded.LOST]

    def _lines(self, records: Sequence[Record]) -> list[bytes]:
        hashed: list[Record] = [{}] * len(records)
        if records and self._hashed:
            raw = {name: _column([record.get(name) for record in records], kind) for name, kind in self._hashed.items()}
            hashed = self._privacy.keep(pa.table(raw)).to_pylist()
        rows = (
            [(more if name in more else record).get(name) for name in self._names]
            for record, more in zip(records, hashed, strict=True)
        )
        return [_ENCODER.encode(row).encode() + b"\n" for row in rows]

    def _run(self) -> None:
        while True:
            self._wake.wait(self._flush_s)
            self._wake.clear()
            closing = self._closing.is_set()
            while (part := self._first()) is not None and self._store(part):
                pass
            if closing:
                return

    def _first(self) -> Part | None:
        with self._lock:
            return self._spool.first()

    def _store(self, part: Part) -> bool:
        """Store a part, or pass it over; False where this ends before."""
        rows: pa.Table | None = None
        began, pause = monotonic(), FIRST_PAUSE_S
        while True:
            try:
                rows = self._table(part) if rows is None else rows
                reached("recorder.before_append")
                if rows.num_rows:
                    self._log.append(self._model, rows)
                reached("recorder.after_append")
            except Exception as error:  # noqa: BLE001 - each kind of log fails in ways of its own
                if self._closing.is_set():
                    _log.exception("the log did not take %d rows before the end", part.rows)
                    return False
                _log.warning("the log did not take %d rows, trying again: %s", part.rows, error)
                self._closing.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                if monotonic() - began > self._retry_s:
                    self._pass_over(part)
                    return True
            else:
                with self._settled:
                    self._spool.remove(part)
                    self._counts[Recorded.STORED] += rows.num_rows
                    self._counts[Recorded.LOST] += part.rows - rows.num_rows
                    self._settled.notify_all()
                return True

    def _pass_over(self, part: Part) -> None:
        with self._settled:
            stored = self._counts[Recorded.STORED]
            if part.passed_over in (None, stored):  # it may be the log that fails, and not the rows
                part.passed_over = stored
                self._spool.parts.rotate(-1)
                return
            _log.error("%d rows are set aside: the log takes others, and not these", part.rows)
            self._spool.set_aside(part)
            self._counts[Recorded.LOST] += part.rows
            self._settled.notify_all()

    def _table(self, part: Part) -> pa.Table:
        """Return the rows of a part, of another process' columns where that left it, without lines that are damaged."""
        names, whole = rows_of(part)
        if not whole:
            return pa.table({})
        types = {each.name: each.type for each in self._kept}
        columns = zip(names, zip(*whole, strict=True), strict=True)
        table = pa.table({name: _column(list(values), types.get(name, pa.null())) for name, values in columns})
        try:
            return table if self._complete is None else self._complete(table)
        except Exception:  # noqa: BLE001 - what completes a record must not cost the record
            _log.exception("%d rows are stored as they are: what completes them failed", table.num_rows)
            return table


def _plain(value: object) -> object:
    """Return a time as what a column of times is made of, and all else that JSON has no word for as text."""
    return (value - EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else str(value)


_ENCODER = json.JSONEncoder(default=_plain, separators=(",", ":"))


def _column(values: list[Any], wanted: pa.DataType) -> pa.Array:
    """Return values as an array: of the type wanted, or else of their own, or as text. None of them costs its row."""
    for type_ in (wanted, None) if not pa.types.is_null(wanted) else (None,):
        try:
            return pa.array(values, type_)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
    texts = (None if value is None else str(value) for value in values)
    return pa.array([text and text.encode("utf-8", "backslashreplace").decode() for text in texts], pa.string())
