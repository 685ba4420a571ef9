"""Scoring services for tests: models that always say the same, a registry in memory, the app on a port of its own.

Add what a test needs to ask a service here. Keep what it should answer out: that belongs in the test.
"""

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import uvicorn
from numpy.typing import NDArray
from starlette.types import ASGIApp

from monitoring_pipeline.capture.labels import LabelColumns, touched_hours
from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import HOUR, Window, hour_of
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.serve.app import create_app
from monitoring_pipeline.serve.contract import Contract
from monitoring_pipeline.serve.fallback import Chain, CircuitBreaker, Link, QualityGate, constant
from monitoring_pipeline.serve.instrument import Instrument, families
from monitoring_pipeline.serve.metrics import Metrics
from monitoring_pipeline.serve.recorder import Recorder
from monitoring_pipeline.serve.reloading import Models
from monitoring_pipeline.serve.routing import CHALLENGER, CHAMPION, RULE, SHADOW, Serving, with_shadow
from monitoring_pipeline.serve.scoring import Scorer
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog

MODEL = "churn"
NOW = datetime(2026, 11, 20, 13, 15, tzinfo=UTC)
COLUMNS = LogColumns(
    served_by="served_by", status="status", entity="user", latency_ms={"total": "latency_ms", "score": "score_ms"}
)
KINDS = {
    "tenure": ColumnKind.NUMERIC,
    "plan": ColumnKind.CATEGORICAL,
    "is_new": ColumnKind.BOOLEAN,
    "seen_at": ColumnKind.DATETIME,
}
ROW: dict[str, Any] = {"tenure": 12.0, "plan": "plus", "is_new": False, "seen_at": "2026-11-20T12:00:00Z"}
CONTRACT = Contract(MODEL, KINDS, COLUMNS, context=("country",), example={"tenure": 12.0, "plan": "plus"}, max_rows=50)


@dataclass
class Steady:
    """A classifier that gives everybody the same probability, or fails; it may take its time."""

    probability: float
    takes_s: float = 0.0
    broken: bool = False

    def predict_proba(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        if self.broken:
            raise RuntimeError("out of order")
        time.sleep(self.takes_s)
        return np.tile([1 - self.probability, self.probability], (len(rows), 1))


def scorer(version: str, probability: float, **how: Any) -> Scorer:
    return Scorer(MODEL, version, ("tenure", "plan"), Steady(probability, **how))


@dataclass
class Registered:
    """Versions and aliases in memory (`serve.reloading.Source`)."""

    scorers: dict[str, Scorer]
    pointers: dict[str, str]
    reachable: bool = True
    loads: list[str] = field(default_factory=list)

    def aliases(self) -> dict[str, str]:
        if not self.reachable:
            raise RegistryError("the registry does not answer. Look at its log.")
        return dict(self.pointers)

    def load(self, version: str) -> Scorer:
        self.loads.append(version)
        if version not in self.scorers:
            raise RegistryError(f"{MODEL} v{version} cannot be fetched. See that it exists.")
        return self.scorers[version]


def chains(scorers: Mapping[str, Scorer], metrics: Metrics) -> Serving:
    """Return what serves: each model, then the champion, then a rule that says 0.125."""

    def link(alias: str, one: Scorer) -> Link:
        return Link(
            alias, one.version, lambda rows: one.score(CONTRACT.frame(rows)), breaker=CircuitBreaker(failures=3)
        )

    links = {alias: link(alias, one) for alias, one in scorers.items() if alias != SHADOW}
    links[RULE] = Link(RULE, "", constant(0.125), robust=True, fills=True)
    gate = QualityGate(tuple(KINDS), ranges={"tenure": (0, 1000)}, most_unusable=0.75)
    found = {
        alias: Chain(tuple(links[name] for name in dict.fromkeys([alias, CHAMPION, RULE])), gate, metrics)
        for alias in (CHAMPION, CHALLENGER)
        if alias in links
    }
    return Serving(scorers, found)


class Scoring:
    """A service over a folder, with its logs and what it says of itself."""

    def __init__(self, folder: Path, registered: Registered, *, poll_s: float = 0.05, **app: Any) -> None:
        self.registered = registered
        self.metrics = Metrics(families([0.5]))
        self.predictions = ParquetPredictionLog(folder, COLUMNS)
        self.labels = ParquetLabelLog(folder, LabelColumns())
        self.models = Models(
            registered,
            lambda scorers: chains(scorers, self.metrics),
            aliases=(CHAMPION, CHALLENGER, SHADOW),
            accept=CONTRACT.check,
            metrics=self.metrics,
            poll_s=poll_s,
        )
        self.models.refresh()
        self.recorder = Recorder(
            self.predictions,
            MODEL,
            CONTRACT.schema,
            folder / "spool",
            flush_s=0.05,
            complete=lambda rows: with_shadow(rows, self.models.serving),
        )
        self.instrument = Instrument(self.metrics, clock=lambda: NOW)
        self.app = create_app(CONTRACT, self.models, self.recorder, self._store, instrument=self.instrument, **app)

    def _store(self, labels: pa.Table) -> None:
        columns = LabelColumns()
        hours = touched_hours(
            labels, self.predictions, model=MODEL, columns=columns, id_column="prediction_id", max_delay=24 * HOUR
        )
        self.labels.append(MODEL, labels, hours=hours)

    def logged(self) -> list[dict[str, Any]]:
        """Return the rows of the hour, once what was accepted is stored."""
        assert self.recorder.flush()
        start = hour_of(NOW)
        rows: list[dict[str, Any]] = self.predictions.read(Window(MODEL, start, start + HOUR)).to_pylist()
        return rows


@dataclass
class Port:
    """Where a service listens."""

    number: int

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        """Return the status, the body (read as JSON where it is), and the headers of an answer."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {"content-type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.number, timeout=20)
        try:
            connection.request(method, path, content, named)
            answer = connection.getresponse()
            text, told = answer.read(), {key.lower(): value for key, value in answer.getheaders()}
        finally:
            connection.close()
        return answer.status, json.loads(text) if "json" in told.get("content-type", "") else text.decode(), told

    def predict(self, features: Mapping[str, Any] = ROW, **more: Any) -> dict[str, Any]:
        status, answer, _ = self.ask("POST", "/predict", {"features": features, **more})
        assert status == 200, answer
        said: dict[str, Any] = answer
        return said


@contextmanager
def listening(app: ASGIApp) -> Iterator[Port]:
    """Run an app on a free port of loopback, by a real server in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            end = time.monotonic() + 10
            while not server.started and time.monotonic() < end:
                time.sleep(0.01)
            yield Port(opened.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
