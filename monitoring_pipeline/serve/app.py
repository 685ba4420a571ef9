"""The scoring service: predictions over HTTP, each of them recorded, and the labels that come back.

Add a route here. Keep out what it does (`answers`), what requests hold (`contract`), and where models, records and
labels are kept: those are arguments.
"""

import hmac
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

import pyarrow as pa
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException as StarletteHTTPException

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.serve.answers import Answering
from monitoring_pipeline.serve.contract import Contract, Fault, Prediction, Predictions, Problem, Stored
from monitoring_pipeline.serve.fallback import UnansweredError
from monitoring_pipeline.serve.guard import Guard, Rate
from monitoring_pipeline.serve.instrument import Instrument, Watched
from monitoring_pipeline.serve.recorder import Recorder
from monitoring_pipeline.serve.reloading import Models
from monitoring_pipeline.serve.routing import Router

CANARY = "x-monitoring-canary"
"""A request with this header is a probe: it is answered like any other, and not recorded."""

MAX_BODY = 2**20

RATE = Rate(per_s=2000, burst=4000)
"""Of one address: more than two cores answer, so that only what is no use anyway is turned away."""

TOLD = 20
"""Mistakes of a request that are listed."""

PROBLEM_TYPE = "application/problem+json"

PROBLEMS = {400: "not JSON", 401: "no or a wrong key", 413: "too large", 422: "not what is asked for", 503: "try later"}


def create_app(
    contract: Contract,
    models: Models,
    recorder: Recorder,
    store_labels: Callable[[pa.Table], object],
    *,
    instrument: Instrument,
    router: Router | None = None,
    api_keys: Sequence[Credential] = (),
    begin: Callable[[], str] = str,
    max_body: int = MAX_BODY,
    rate: Rate = RATE,
    hosts: Sequence[str] = (),
) -> FastAPI:
    """Return the service. Its models are followed while it runs, and its records are stored before it ends.

    api_keys: if there are any, every route but `/health` and `/ready` needs one of them, as a bearer token or in
    `X-API-Key`. begin: names the part that answers first, "" for the usual one: the operator's switch. rate: how many
    requests one address may send. hosts: names the service may be asked for by; any, if there are none.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        models.start()
        yield
        models.stop()
        recorder.close()

    app = FastAPI(
        title=f"{contract.model}: predictions",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # its pages run scripts of another site
        redoc_url=None,
        responses={status: {"model": Problem, "description": why} for status, why in PROBLEMS.items()},
        max_body_size=max_body,
        # Its spans go to whatever provider the process has; its logs would hold what callers sent.
        telemetry={"logs": False, "metrics": False},
    )
    app.add_middleware(Guard, rate=rate, hosts=hosts)
    app.add_middleware(Watched, instrument=instrument)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(MonitoringError, _unavailable)
    app.add_exception_handler(Exception, _failed)
    service = Answering(contract, models, recorder, store_labels, instrument, router or Router(), begin)
    _add_routes(app, service, [Depends(_key_check(api_keys))] if api_keys else [])
    _document_problems(app.openapi())  # made once, and kept by the app
    return app


def _document_problems(document: Mapping[str, Any]) -> None:
    """Say that problems have a content type of their own: `responses` gives them that of the answer."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for status in map(str, PROBLEMS):
                told = operation["responses"][status]
                told["content"] = {PROBLEM_TYPE: next(iter(told["content"].values()))}


def _add_routes(app: FastAPI, service: Answering, guarded: Sequence[Any]) -> None:
    one, many, labels = service.contract.request, service.contract.batch, service.contract.feedback

    def answer(asked: Sequence[Any], request: Request) -> list[Prediction]:
        recorded = CANARY not in request.headers
        return service.answer(asked, request.url.path, request.state.notes, recorded=recorded)

    # Not async: they run in threads, and the loop goes on answering probes.
    @app.post("/predict", dependencies=guarded)
    def predict(body: one, request: Request) -> Prediction:  # type: ignore[valid-type]  # made of the features
        return answer([body], request)[0]

    @app.post("/predict/batch", dependencies=guarded)
    def predict_batch(body: many, request: Request) -> Predictions:  # type: ignore[valid-type]  # made of the features
        return Predictions(predictions=answer(body.rows, request))  # type: ignore[attr-defined]  # it has rows

    @app.post("/feedback", dependencies=guarded)
    def feedback(body: labels) -> Stored:  # type: ignore[valid-type]  # made of the task
        return Stored(stored=service.take_labels(body.labels))  # type: ignore[attr-defined]  # it has labels

    @app.get("/model", dependencies=guarded)
    def model() -> dict[str, Any]:
        return service.describe()

    @app.get("/metrics", dependencies=guarded, response_class=PlainTextResponse)
    def metrics() -> Response:
        return Response(service.instrument.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok", "model": service.contract.model, "version": service.version}

    @app.get("/ready")
    def ready() -> dict[str, str]:
        if not service.recorder.is_alive:
            raise HTTPException(503, "The service is ending, or its records are not stored any more.")
        return {"status": "ready", "version": service.version}


def _key_check(api_keys: Sequence[Credential]) -> Callable[..., None]:
    bearer, header = HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False)

    def check(
        token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
        key: Annotated[str | None, Depends(header)],
    ) -> None:
        given = (token.credentials if token is not None else key or "").encode()
        # Every key is compared, whichever fits: the time it takes tells nothing of them.
        if not sum(hmac.compare_digest(given, each.reveal().encode()) for each in api_keys):
            raise HTTPException(401, "Send one of the keys of this service.", {"WWW-Authenticate": "Bearer"})

    return check


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    return _problem(error.status_code, str(error.detail), headers=error.headers)


def _not_valid(_: Request, error: Exception) -> JSONResponse:
    """Say what is wrong and where, without repeating what was sent."""
    assert isinstance(error, RequestValidationError)
    faults = [
        Fault(where=_printable(".".join(map(str, each["loc"]))), message=_printable(each["msg"]))
        for each in error.errors()[:TOLD]
    ]
    return _problem(422, "; ".join(f"{fault.where}: {fault.message}" for fault in faults[:3]), errors=faults)


def _unavailable(_: Request, error: Exception) -> JSONResponse:
    # Of other errors only the kind: their text may name places and addresses.
    told = str(error) if isinstance(error, UnansweredError) else type(error).__name__
    return _problem(503, f"{told.rstrip('.')}. Try again in a moment.", headers={"Retry-After": "1"})


def _failed(_: Request, __: Exception) -> JSONResponse:
    return _problem(500, "It failed here, and the log says why.")


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()[:300]


def _problem(
    status: int, detail: str, *, errors: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    told = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=list(errors))
    return JSONResponse(told.model_dump(), status, headers, media_type=PROBLEM_TYPE)
