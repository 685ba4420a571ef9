"""What a scoring service counts, times and logs: a decorator for functions, a middleware for requests.

Add a metric to `families`, under a name `<domain>_<metric>_<unit>`. Keep what is done with a number out: the recorder
and the pipeline judge.
"""

import json
import logging
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import wraps
from time import perf_counter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from monitoring_pipeline.serve.metrics import Family, Metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Every limit that is published for a latency is the edge of a bucket: 50, 75, 100, 200 and 500 ms, and 2 s."""

SHARES = tuple(step / 20 for step in range(1, 21))

UNMATCHED = "unmatched"
"""The endpoint of requests for what is not there: the paths people try must not become labels."""

Given = ParamSpec("Given")
Returned = TypeVar("Returned")

_log = logging.getLogger(f"{__name__}.requests")


def families(thresholds: Sequence[float] = ()) -> dict[str, Family]:
    """Return the metrics of a scoring service; `thresholds` of scores become edges of buckets."""
    scores = tuple(sorted({*SHARES, *thresholds}))
    confidences = tuple(sorted({*SHARES[9:], *(max(each, 1 - each) for each in thresholds)}))
    return {
        "serving_requests_total": Family("counter", "Requests answered.", ("endpoint", "status")),
        "serving_errors_total": Family("counter", "What failed, by its type.", ("stage", "type")),
        "serving_latency_seconds": Family("histogram", "Time a stage took.", ("stage",), SECONDS),
        "serving_calls_total": Family("counter", "Calls of a stage.", ("stage",)),
        "serving_predictions_total": Family("counter", "Rows scored.", ("version", "served_by")),
        "serving_passed_on_total": Family("counter", "Rows a part did not answer, and why.", ("passed_by", "reason")),
        "serving_defaults_total": Family("counter", "Unusable values, left out or replaced.", ("feature",)),
        "serving_circuit_state": Family("gauge", "0 closed, 1 half open, 2 open.", ("part", "version")),
        "serving_reloads_total": Family("counter", "Attempts to follow the registry.", ("outcome",)),
        "serving_labels_total": Family("counter", "Labels stored."),
        "recorder_records_total": Family("counter", "Records by what became of them.", ("outcome",)),
        "recorder_queue_rows": Family("gauge", "Records that wait to be stored."),
        "model_info": Family("gauge", "The versions in service.", ("model", "alias", "version")),
        "model_score_ratio": Family("histogram", "Score of the positive class.", ("version",), scores),
        "model_confidence_ratio": Family("histogram", "Probability of the likelier class.", ("version",), confidences),
    }


class Instrument:
    """Counts, times and logs. `trace` opens a span by name, such as a tracer's `start_as_current_span`."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
        trace: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.metrics = metrics
        self.clock = clock
        self._trace = trace

    @contextmanager
    def stage(self, name: str, latency_ms: MutableMapping[str, float] | None = None) -> Iterator[None]:
        """Count, time and trace what is done in the block, and note its milliseconds where a mapping is given."""
        began = perf_counter()
        try:
            with self._trace(name):
                yield
        except Exception as error:
            self.metrics.add("serving_errors_total", name, type(error).__name__)
            raise
        finally:
            took = perf_counter() - began
            self.metrics.add("serving_calls_total", name)
            self.metrics.observe("serving_latency_seconds", [took], name)
            if latency_ms is not None:
                latency_ms[name] = took * 1000

    def watched(self, name: str) -> Callable[[Callable[Given, Returned]], Callable[Given, Returned]]:
        """Make every call of a function a stage."""

        def decorate(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
            @wraps(function)
            def call(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
                with self.stage(name):
                    return function(*args, **kwargs)

            return call

        return decorate

    def scored(self, version: str, served_by: str, scores: Sequence[float], *, shares: bool) -> None:
        """Count predictions; where scores are shares, how they and the confidences are distributed."""
        self.metrics.add("serving_predictions_total", version, served_by, amount=len(scores))
        if shares:
            self.metrics.observe("model_score_ratio", scores, version)
            self.metrics.observe("model_confidence_ratio", [max(each, 1 - each) for each in scores], version)


class Watched:
    """ASGI middleware: every request is counted, timed and logged in a line of JSON.

    What the app puts into `request.state.notes` stands in the line: the prediction id, who served it.
    """

    def __init__(self, app: "ASGIApp", instrument: Instrument) -> None:
        self._app = app
        self._instrument = instrument

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, answer = perf_counter(), {"status": 500}
        notes: dict[str, Any] = {}
        scope.setdefault("state", {})["notes"] = notes

        async def noting(message: "Message") -> None:
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            self._instrument.metrics.add("serving_errors_total", "request", type(error).__name__)
            notes["error"] = type(error).__name__
            raise
        finally:
            self._tell(scope, answer["status"], perf_counter() - began, notes)

    def _tell(self, scope: "Scope", status: int, took: float, notes: dict[str, Any]) -> None:
        endpoint = getattr(scope.get("route"), "path", UNMATCHED)
        metrics = self._instrument.metrics
        metrics.add("serving_requests_total", endpoint, str(status))
        metrics.observe("serving_latency_seconds", [took], "request")
        if _log.isEnabledFor(logging.INFO):
            at = self._instrument.clock().isoformat()
            line = {"at": at, "method": scope["method"], "endpoint": endpoint, "status": status}
            _log.info(json.dumps(line | {"latency_ms": round(took * 1000, 3)} | notes, default=str))
