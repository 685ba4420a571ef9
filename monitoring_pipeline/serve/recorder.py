"""The recorder: predictions on their way from a request into the prediction log.

A request only puts its record into a bounded queue; one thread stores batches. Every record is counted once: as
stored, lost, refused by the sample or by a full queue. Add what is done with a batch here. Keep formats out: they
belong in stores.
"""

import atexit
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from threading import Condition, Event, Lock, Thread
from time import monotonic
from typing import Any

import pyarrow as pa

from monitoring_pipeline.capture.predictions import PredictionLog
from monitoring_pipeline.capture.sampling import id_hashes
from monitoring_pipeline.crash_points import reached
from monitoring_pipeline.serve.ledger import Ledger, unaccounted

_log = logging.getLogger(__name__)

Record = Mapping[str, Any]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


class Recorded(StrEnum):
    """What a request learns of its record."""

    ACCEPTED = "accepted"
    SAMPLED_OUT = "sampled_out"
    DROPPED = "dropped"


def is_sampled(prediction_id: str, rate: float) -> bool:
    """Return whether the share `rate` of all ids that hash lowest holds this one, as `sample_rows` chooses."""
    return rate >= 1 or int(id_hashes([prediction_id])[0]) < rate * 2**64


class Recorder:
    """Records of one model on their way into a prediction log.

    schema: the columns of the log; one of type null takes whatever comes. rate: the share of predictions that is
    logged. capacity: records that may wait; beyond it they are dropped. A batch is stored every `flush_s`, or once
    `batch_rows` wait, and again for up to `retry_s` where the log cannot take it. complete: adds to a batch what is not
    needed for the answer, such as what a shadow says; if it fails, the batch is stored without. ledgers: folder of
    counters that survive a kill.
    """

    def __init__(
        self,
        log: PredictionLog,
        model: str,
        schema: pa.Schema,
        *,
        rate: float = 1.0,
        capacity: int = 10_000,
        batch_rows: int = 1000,
        flush_s: float = 1.0,
        retry_s: float = 60.0,
        complete: Callable[[pa.Table], pa.Table] | None = None,
        ledgers: Path | None = None,
    ) -> None:
        self._log, self._model, self._schema = log, model, schema
        self._rate, self._capacity, self._batch_rows = rate, capacity, batch_rows
        self._flush_s, self._retry_s, self._complete = flush_s, retry_s, complete
        self.lost_before = 0 if ledgers is None else unaccounted(ledgers)
        if self.lost_before:
            _log.warning("processes before this one were killed with up to %d records not stored", self.lost_before)
        self._ledger = Ledger(ledgers)
        self._queue: deque[Record] = deque()
        self._lock = Lock()
        self._settled = Condition(self._lock)
        self._wake, self._closing = Event(), Event()
        self._thread = Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def record(self, prediction_id: str, record: Record) -> Recorded:
        """Take a record on, or say why not. Waits for nothing but a lock that is held for microseconds."""
        outcome = Recorded.ACCEPTED if is_sampled(prediction_id, self._rate) else Recorded.SAMPLED_OUT
        with self._lock:
            if outcome is Recorded.ACCEPTED:
                if self._closing.is_set() or self._ledger.pending >= self._capacity:
                    outcome = Recorded.DROPPED
                else:
                    self._queue.append(record)
            self._ledger.add(outcome)
            waiting = len(self._queue)
        if waiting == self._batch_rows:
            self._wake.set()
        return outcome

    def counts(self) -> dict[str, int]:
        """Return what became of all records, with those that processes before this one took with them."""
        return self._ledger.counts() | {"lost_before": self.lost_before}

    @property
    def pending(self) -> int:
        return self._ledger.pending

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and not self._closing.is_set()

    def flush(self, *, timeout: float = 10.0) -> bool:
        """Wait until what has been accepted so far is stored or lost; False where that takes longer."""
        with self._settled:
            target = self._ledger.counts()["accepted"]
            self._wake.set()
            return self._settled.wait_for(lambda: self._ledger.counts()["accepted"] - self.pending >= target, timeout)

    def close(self, *, timeout: float = 10.0) -> bool:
        """Store what waits and accept no more; False where something is left, which the next process will count."""
        with self._lock:
            self._closing.set()  # under the lock: who comes after is told, who came before is in the queue
        self._wake.set()
        self._thread.join(timeout)
        atexit.unregister(self.close)
        with self._lock:
            left = self.pending
            if not self._thread.is_alive():
                self._ledger.close()
        if left:
            _log.error("%d records were not stored before the end", left)
        return left == 0

    def _run(self) -> None:
        while True:
            self._wake.wait(self._flush_s)
            self._wake.clear()
            closing = self._closing.is_set()
            while batch := self._take():
                stored = self._store(batch)
                with self._settled:
                    self._ledger.add("stored" if stored else "lost", len(batch))
                    self._settled.notify_all()
            if closing:
                return

    def _take(self) -> list[Record]:
        with self._lock:
            return [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_rows))]

    def _store(self, batch: Sequence[Record]) -> bool:
        try:
            rows = _table(batch, self._schema)
            if self._complete is not None:
                rows = self._completed(rows)
        except Exception:  # noqa: BLE001 - one batch must not end the thread that stores all others
            _log.exception("%d records are lost: they make no table", len(batch))
            return False
        began, pause = monotonic(), FIRST_PAUSE_S
        while True:
            try:
                reached("recorder.before_append")
                self._log.append(self._model, rows)
                reached("recorder.after_append")
                return True
            except Exception as error:  # noqa: BLE001 - each kind of log fails in ways of its own
                if self._closing.is_set() or monotonic() - began + pause > self._retry_s:
                    _log.exception("%d records are lost: the log did not take them", len(batch))
                    return False
                _log.warning("the log did not take %d records, trying again: %s", len(batch), error)
                self._closing.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _completed(self, rows: pa.Table) -> pa.Table:
        assert self._complete is not None
        try:
            return self._complete(rows)
        except Exception:  # noqa: BLE001 - what completes a record must not cost the record
            _log.exception("%d records are stored as they are: what completes them failed", rows.num_rows)
            return rows


def _table(batch: Sequence[Record], schema: pa.Schema) -> pa.Table:
    columns = {field.name: _column([record.get(field.name) for record in batch], field.type) for field in schema}
    return pa.table(columns)


def _column(values: list[Any], wanted: pa.DataType) -> pa.Array:
    if not pa.types.is_null(wanted):
        return pa.array(values, wanted)
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
