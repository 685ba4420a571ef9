"""What the routes of the scoring service do: answer, record, take labels, tell how things stand.

Add what a route does here. Keep HTTP out: it belongs in `app`.
"""

import uuid
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Any

import pyarrow as pa

from monitoring_pipeline.capture.predictions import TIME_TYPE
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.serve.contract import Contract, Prediction
from monitoring_pipeline.serve.fallback import Answer, Circuit, circuits
from monitoring_pipeline.serve.instrument import Instrument
from monitoring_pipeline.serve.recorder import Recorder
from monitoring_pipeline.serve.reloading import Models
from monitoring_pipeline.serve.routing import CHAMPION, Router

_STATES = {Circuit.CLOSED: 0.0, Circuit.HALF_OPEN: 1.0, Circuit.OPEN: 2.0}

Record = dict[Any, Any]


@dataclass(frozen=True, slots=True)
class Answering:
    """One model in service. `begin` names the part that answers first, "" for the usual one."""

    contract: Contract
    models: Models
    recorder: Recorder
    store_labels: Callable[[pa.Table], object]
    instrument: Instrument
    router: Router
    begin: Callable[[], str]

    def __post_init__(self) -> None:
        """Let the metrics read what the parts count."""
        read, models, recorder = self.instrument.metrics.read_from, self.models, self.recorder
        read("recorder_records_total", lambda: {(name,): float(rows) for name, rows in recorder.counts().items()})
        read("recorder_queue_rows", lambda: {(): float(recorder.pending)})
        read("model_info", lambda: {(self.contract.model, *each): 1.0 for each in self.aliases().items()})
        read(
            "serving_circuit_state",
            lambda: {(link.name, link.version): _STATES[state] for link, state in circuits(models.serving.chains)},
        )

    @property
    def version(self) -> str:
        """The champion's."""
        return self.models.serving.scorers[CHAMPION].version

    def aliases(self) -> dict[str, str]:
        return {alias: scorer.version for alias, scorer in self.models.serving.scorers.items()}

    def answer(
        self, asked: Sequence[Any], endpoint: str, notes: MutableMapping[str, Any], *, recorded: bool = True
    ) -> list[Prediction]:
        """Score requests, record them, and return the answers; raises UnansweredError when nothing can answer."""
        began, at, latency_ms = perf_counter(), self.instrument.clock(), dict[str, float]()
        ids = [each.prediction_id or str(uuid.uuid4()) for each in asked]
        if self.contract.names_ids:
            notes.update({"prediction_id": ids[0]} if len(ids) == 1 else {"prediction_ids": ids})
        rows = [each.features.model_dump(by_alias=True) for each in asked]
        shared = {"status": "ok", "endpoint": endpoint, "batch_rows": len(ids)}
        records: list[Record] = [{} for _ in ids]
        if recorded or self.router.assign is not None:
            said = zip(ids, asked, rows, strict=True)
            records = [self._request(id_, at, each, row, shared) for id_, each, row in said]
        unit = self.router.unit or self.contract.columns.prediction_id
        units = [None if (name := record.get(unit)) is None else str(name) for record in records]
        serving = self.models.serving  # once: it may be replaced before this is answered
        answers: list[tuple[Answer, str]] = []
        failed = ""
        try:
            with self.instrument.stage("score", latency_ms):
                answers = self.router.score(serving, rows, units, begin=self.begin())
        except Exception as error:
            failed = type(error).__name__
            raise
        finally:
            latency_ms["total"] = (perf_counter() - began) * 1000
            if recorded:
                nobody = self._unanswered(serving.scorers[CHAMPION].version, failed)
                took = self._latencies(latency_ms)
                said_of = [self._outcome(*each) for each in answers] or [nobody] * len(ids)
                self.recorder.record(ids, [one | took | more for one, more in zip(records, said_of, strict=True)])
        self._count([answer for answer, _ in answers])
        notes["served_by"] = ",".join(sorted({answer.served_by for answer, _ in answers}))
        return [self._prediction(id_, at, *given) for id_, given in zip(ids, answers, strict=True)]

    def take_labels(self, labels: Sequence[Any]) -> int:
        """Store labels and return how many: what is answered is in the log."""
        columns, now = self.contract.labels, self.instrument.clock()
        found = {
            columns.prediction_id: pa.array([label.prediction_id for label in labels]),
            columns.actual: pa.array([label.actual for label in labels]),
            columns.labelled_at: pa.array([label.labelled_at or now for label in labels], TIME_TYPE),
        }
        if all(label.predicted_at is not None for label in labels):
            found["predicted_at"] = pa.array([label.predicted_at for label in labels], TIME_TYPE)
        else:
            self.recorder.flush()  # some may have been made a moment ago, and all are about to be looked up
        with self.instrument.stage("store_labels"):
            self.store_labels(pa.table(found))
        self.instrument.metrics.add("serving_labels_total", amount=len(labels))
        return len(labels)

    def describe(self) -> dict[str, Any]:
        """Return what serves, and how it fares."""
        contract = self.contract
        return {
            "model": contract.model,
            "version": self.version,
            "task": str(contract.task),
            "threshold": contract.threshold,
            "features": {name: str(kind) for name, kind in contract.features.items()},
            "aliases": self.aliases(),
            "links": [
                {"name": link.name, "version": link.version, "circuit": str(state)}
                for link, state in circuits(self.models.serving.chains)
            ],
            "begins_with": self.begin(),
            "records": self.recorder.counts() | {"pending": self.recorder.pending},
            "problem": self.models.problem,
        }

    def _served(self, score: float) -> float:
        return score if self.contract.task is Task.REGRESSION else float(score >= self.contract.threshold)

    def _prediction(self, id_: str, at: datetime, answer: Answer, variant: str) -> Prediction:
        return Prediction.model_construct(
            prediction_id=id_,
            predicted_at=at,
            model=self.contract.model,
            version=answer.version,
            prediction=self._served(answer.score),
            score=None if self.contract.task is Task.REGRESSION else answer.score,
            served_by=answer.served_by,
            variant=variant,
        )

    def _request(self, id_: str, at: datetime, asked: Any, row: Mapping[str, Any], shared: Mapping[str, Any]) -> Record:
        """Return what is recorded of a request, however it is answered."""
        columns, context = self.contract.columns, getattr(asked, "context", None)
        record: Record = {**row, **(context.model_dump(by_alias=True) if context is not None else {})}
        record |= {columns.prediction_id: id_, columns.predicted_at: at}
        return record | self._named({**shared, "entity_id": asked.entity})

    def _outcome(self, answer: Answer, variant: str) -> Record:
        columns = self.contract.columns
        score = None if self.contract.task is Task.REGRESSION else answer.score
        record: Record = {columns.version: answer.version, columns.score: score}
        record |= self._named({"served_by": answer.served_by, "variant": variant or None})
        return record | {columns.prediction: self._served(answer.score)}

    def _unanswered(self, version: str, status: str) -> Record:
        return {self.contract.columns.version: version} | self._named({"status": status})

    def _latencies(self, latency_ms: Mapping[str, float]) -> Record:
        named = {column: latency_ms.get(stage) for stage, column in self.contract.columns.latency_ms.items()}
        return named | self._named({"latency_ms": latency_ms["total"]})

    def _named(self, said: Mapping[str, Any]) -> Record:
        names = self.contract.names
        return {names[name]: value for name, value in said.items() if name in names}

    def _count(self, answers: Sequence[Answer]) -> None:
        groups: dict[tuple[str, str], list[float]] = {}
        for answer in answers:
            groups.setdefault((answer.version, answer.served_by), []).append(answer.score)
        for (version, served_by), scores in groups.items():
            self.instrument.scored(version, served_by, scores, shares=self.contract.task is not Task.REGRESSION)
