"""Claim: recording adds less than 100 µs to the median of what a caller waits for, at 200 requests a second.

The service runs twice, each in a process of its own; one of them is asked with the header of a probe, for which nothing
is recorded. A third process asks both in turn, a stretch of requests each. What a stretch shows is compared with the
stretch beside it, so that a busy machine is busy for both.
"""

import json
import multiprocessing as mp
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import uvicorn

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.serve.app import CANARY, create_app
from monitoring_pipeline.serve.contract import Contract
from monitoring_pipeline.serve.fallback import Chain, Link, QualityGate, constant
from monitoring_pipeline.serve.instrument import Instrument, families
from monitoring_pipeline.serve.metrics import Metrics
from monitoring_pipeline.serve.recorder import Recorded, Recorder
from monitoring_pipeline.serve.reloading import Models
from monitoring_pipeline.serve.routing import CHAMPION, Serving
from monitoring_pipeline.serve.scoring import Scorer
from monitoring_pipeline.stores.parquet import ParquetPredictionLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

RATE, STRETCH, STRETCHES = 200, 200, 40
NAMES = tuple(f"feature_{number}" for number in range(15))
BODY = json.dumps({"features": dict.fromkeys(NAMES, 1.5)}).encode()
PORTS = {"recorded": 18_201, "not recorded": 18_202}
HEADERS = {"recorded": dict[str, str](), "not recorded": {CANARY: "1"}}


class Source:
    """One version that is always champion; what it takes to score is not what is measured."""

    def aliases(self) -> dict[str, str]:
        return {CHAMPION: "1"}

    def load(self, version: str) -> Scorer:
        return Scorer("bench", version, NAMES, None)


def ignore(_: object) -> None:
    """Take it and do nothing."""


def serve(port: int, folder: Path, told: "Connection") -> None:
    """Run a service until the process is ended; on request, tell what its calls of `record` took."""
    contract = Contract("bench", dict.fromkeys(NAMES, ColumnKind.NUMERIC))
    metrics = Metrics(families())
    chain = Chain((Link(CHAMPION, "1", constant(0.25)),), QualityGate(NAMES), metrics)
    models = Models(Source(), lambda scorers: Serving(scorers, {CHAMPION: chain}), accept=ignore, metrics=metrics)
    models.refresh()
    log = ParquetPredictionLog(folder, contract.columns)
    recorder = Recorder(log, "bench", contract.schema, folder / "spool")
    calls: list[float] = []
    inner = recorder.record

    def timed(ids: Any, records: Any) -> Recorded:
        began = time.perf_counter()
        outcome = inner(ids, records)
        calls.append(time.perf_counter() - began)
        return outcome

    recorder.record = timed  # type: ignore[method-assign]
    instrument = Instrument(metrics, clock=lambda: datetime.now(UTC))
    app = create_app(contract, models, recorder, ignore, instrument=instrument)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False))

    @app.get("/told")
    def tell() -> None:
        told.send((calls, recorder.counts()))

    server.run()


@contextmanager
def services(folder: Path) -> "Iterator[dict[str, Connection]]":
    """Run both services."""
    with ExitStack() as stack:
        found = {}
        for name, port in PORTS.items():
            here, there = mp.Pipe()
            process = mp.Process(target=serve, args=(port, folder / name, there), daemon=True)
            process.start()
            stack.callback(process.join, 10)
            stack.callback(process.terminate)
            found[name] = here
        yield found


def stretch(connection: HTTPConnection, headers: dict[str, str]) -> list[float]:
    """Ask at the rate, each request when it is due, and return what each took in microseconds."""
    took = []
    due = time.perf_counter()
    for _ in range(STRETCH):
        due += 1 / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        connection.request("POST", "/predict", BODY, {"content-type": "application/json"} | headers)
        answer = connection.getresponse()
        answer.read()
        took.append((time.perf_counter() - began) * 1e6)
        assert answer.status == 200, answer.status
    return took


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile."""
    return float(np.quantile(values, share))


def connected(port: int) -> HTTPConnection:
    """Return a connection, once somebody listens."""
    end = time.monotonic() + 60
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.connect()
            return connection
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def main(stretches: int = STRETCHES) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, services(Path(folder)) as told:
        connections = {name: connected(port) for name, port in PORTS.items()}
        for name, connection in connections.items():
            stretch(connection, HEADERS[name])
        found: dict[str, list[list[float]]] = {name: [] for name in PORTS}
        for number in range(stretches):
            # Which of the two comes first changes, so that neither always follows a pause.
            for name in list(PORTS) if number % 2 else list(PORTS)[::-1]:
                found[name].append(stretch(connections[name], HEADERS[name]))
        connections["recorded"].request("GET", "/told")
        calls, counts = told["recorded"].recv()
    print(f"{stretches} stretches of {STRETCH} requests each at {RATE}/s, {len(NAMES)} features, one connection")
    print(f"{'':16}{'p50 µs':>10}{'p99 µs':>10}")
    for name, parts in found.items():
        every = [value for part in parts for value in part]
        print(f"{name:16}{quantile(every, 0.5):10.0f}{quantile(every, 0.99):10.0f}")
    for share in (0.5, 0.99):
        pairs = zip(found["recorded"], found["not recorded"], strict=True)
        added = [quantile(one, share) - quantile(other, share) for one, other in pairs]
        low, high = np.quantile(added, [0.25, 0.75])
        half = f"half of the pairs: {low:.0f} to {high:.0f}"
        print(f"added at p{100 * share:.0f}: {statistics.median(added):.0f} µs ({half})")
    print(f"record() itself: p50 {1e6 * quantile(calls, 0.5):.1f} µs, p99 {1e6 * quantile(calls, 0.99):.1f} µs")
    print(f"records: {counts}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else STRETCHES)
