"""The endpoint Prometheus scrapes: what the stores hold of all monitors, rendered again only where it changed.

Nothing is kept beyond what would be read again: after a restart the page is the same. Add a source to `Exporter`. Keep
names and labels out: they belong in publish.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Lock

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.publish.metrics import (
    CONTENT_TYPE,
    Rendered,
    exposition,
    families_of_hour,
    families_of_records,
    never_evaluated,
    rendered,
    source_family,
)
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.stores.newest_hours import NewestHours, Stamp
from monitoring_pipeline.stores.recorded_counts import DatabaseCounts

HOURS, DATABASE = "hours", "state_database"

_log = logging.getLogger(__name__)


class Exporter:
    """The page of some models, named as in the registry."""

    def __init__(
        self, models: Sequence[str], hours: NewestHours, counts: DatabaseCounts, *, clock: Callable[[], datetime]
    ) -> None:
        self._models = sorted(set(models))
        self._hours, self._counts, self._clock = hours, counts, clock
        self._known: dict[str, tuple[Stamp | None, Rendered]] = {}
        self._lock = Lock()

    def page(self) -> str:
        """Return all metrics. A source that cannot be read takes only its own with it."""
        with self._lock:
            sources: dict[tuple[str, str], Callable[[], Rendered]] = {(DATABASE, ""): self._of_records}
            sources |= {(HOURS, model): lambda model=model: self._of_hour(model) for model in self._models}  # type: ignore[misc]
            parts, up = [], {}
            for place, read in sources.items():
                try:
                    parts.append(read())
                    up[place] = True
                except Exception as error:  # noqa: BLE001 - one broken file must not hide all other models
                    _log.warning("%s could not be exported: %s", " of ".join(filter(None, place)), error)
                    up[place] = False
            return exposition([*parts, rendered(source_family(up))])

    def _of_hour(self, model: str) -> Rendered:
        stamp = self._hours.stamp(model, now=self._clock())
        known = self._known.get(model)
        if known is None or known[0] != stamp:
            found = never_evaluated(model) if stamp is None else families_of_hour(self._hours.read(model, stamp))
            known = self._known[model] = stamp, rendered(found)
        return known[1]

    def _of_records(self) -> Rendered:
        severities = (Level.WARNING.value, Level.CRITICAL.value)
        statuses = [status.value for status in EpisodeStatus]
        counts = self._counts.read()
        return rendered(families_of_records(counts, models=self._models, severities=severities, statuses=statuses))


def exporter_at(deployment: Deployment, models: Sequence[str], *, clock: Callable[[], datetime]) -> Exporter:
    """Return the exporter of a deployment, which changes nothing it reads."""
    data = deployment.state_directory / "data"
    counts = DatabaseCounts(StateDatabase(deployment.database_url))
    return Exporter(models, NewestHours(data), counts, clock=clock)


def app_of(exporter: Exporter, *, hosts: Sequence[str] = ("*",)) -> Starlette:
    """Return the app: `GET /metrics` is the page, `GET /health` says that it listens. `hosts` may be asked for."""

    def metrics(_: Request) -> Response:  # not async: it runs in a thread
        return Response(exporter.page(), media_type=CONTENT_TYPE)

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    # What listens on loopback alone must not be reached by a page in a browser under another name.
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))]
    return Starlette(routes=[Route("/metrics", metrics), Route("/health", health)], middleware=middleware)
