"""The HTTP interface for what people do with incidents: signed requests in, recorded actions out.

Add a route here when another program has to reach incidents. Keep out what an action needs and does: it belongs in
notify, and the arguments of `app_of` bring the database and the clock.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import ActionError, StoreError
from monitoring_pipeline.notify.actions import Action, IncidentNotFoundError, parse_action
from monitoring_pipeline.notify.channels.signatures import keys, verify
from monitoring_pipeline.serve.guard import Guard, Rate

RATE = Rate(per_s=20, burst=200)
LONGEST_BODY = 64 * 1024
LONGEST_ID = 200

_log = logging.getLogger(__name__)


class Replays(Protocol):
    """What remembers requests for as long as their signature is good, so that none is carried out twice."""

    def claim(self, message_id: str, now: datetime) -> bool:
        """Take on a request; False where somebody has already."""
        ...

    def release(self, message_id: str) -> None:
        """Forget a request that changed nothing: its sender may try again under the same id."""
        ...


def app_of(
    apply: Callable[[Action], Mapping[str, object]],
    secret: Credential,
    *,
    clock: Callable[[], datetime],
    replays: Replays,
    hosts: Sequence[str] = (),
) -> Starlette:
    """Return the app: `POST /incidents/actions` carries out one action, `GET /health` says that it listens.

    `apply` returns what the caller is told, as JSON; it raises IncidentNotFoundError, or ActionError for what does not
    apply to the incident as it stands. Requests are signed with `secret` as Standard Webhooks has it; ValueError when
    that is not a secret.
    """
    keys(secret.reveal())

    async def act(request: Request) -> JSONResponse:
        body, now = await _body(request), clock()
        try:
            message_id = verify(secret.reveal(), request.headers, body, now=now)
        except ValueError as error:
            raise HTTPException(401, f"The request was not accepted: {error}.") from None
        if len(message_id) > LONGEST_ID:
            raise HTTPException(400, f"webhook-id has {len(message_id)} characters: at most {LONGEST_ID}.")
        # One thread for all of it: the claim may be a row of the database too.
        return JSONResponse(await run_in_threadpool(_carry_out, message_id, body, now))

    def _carry_out(message_id: str, body: bytes, now: datetime) -> dict[str, object]:
        try:
            if not replays.claim(message_id, now):
                raise HTTPException(409, f"webhook-id {message_id!r} was taken already: nothing was done again.")
            try:
                return dict(apply(_action(body, now)))
            except BaseException:
                replays.release(message_id)
                raise
        except IncidentNotFoundError as error:
            raise HTTPException(404, str(error)) from None
        except ActionError as error:
            raise HTTPException(409, str(error)) from None
        except StoreError as error:
            _log.warning("action %r was not carried out: %s", message_id, error)
            raise HTTPException(503, "Nothing was done: try again in a minute.", {"Retry-After": "60"}) from None

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[Route("/incidents/actions", act, methods=["POST"]), Route("/health", health)],
        exception_handlers={HTTPException: _problem, Exception: _failure},
        middleware=[Middleware(Guard, rate=RATE, hosts=hosts)],
    )


async def _body(request: Request) -> bytes:
    """Return the body; one that is too long is refused before it is all read."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise HTTPException(413, f"The body is longer than {LONGEST_BODY} bytes: an action is a few lines of JSON.")
    return body


def _action(body: bytes, now: datetime) -> Action:
    try:
        said = json.loads(body)
        if isinstance(said, dict):
            return parse_action(said, now=now)
    except ActionError as error:
        raise HTTPException(400, str(error)) from None
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body is not JSON.") from None
    raise HTTPException(400, f"The body is a JSON {type(said).__name__}: needed an object with kind and author.")


async def _problem(_: Request, error: Exception) -> JSONResponse:
    """Return what went wrong as RFC 9457 has it."""
    assert isinstance(error, HTTPException)
    return _answer(error.status_code, error.detail, error.headers)


async def _failure(_: Request, __: Exception) -> JSONResponse:
    return _answer(500, "It failed here, and the log says why. Nothing is known to have been done.", None)


def _answer(status: int, detail: str, headers: Mapping[str, str] | None) -> JSONResponse:
    told = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(told, status, headers, media_type="application/problem+json")
