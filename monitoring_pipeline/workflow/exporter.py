"""The endpoint Prometheus scrapes: what the stores hold of all monitors, written again only where it changed.

Nothing is kept beyond what would be read again: after a restart the page is the same. Add a source to `Exporter`. Keep
names and labels out: they belong in publish.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.publish.exposition import Form, Written, form_for, page, written
from monitoring_pipeline.publish.host import Host, read_gpus
from monitoring_pipeline.publish.metrics import (
    Families,
    RecordedCounts,
    families_of_hour,
    families_of_records,
    never_evaluated,
)
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.serve.guard import Guard, Rate
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.stores.health_history import HISTORY, read_health
from monitoring_pipeline.stores.mlflow_alias import version_of_alias
from monitoring_pipeline.stores.newest_hours import NewestHours, Stamp
from monitoring_pipeline.stores.objects import place_at
from monitoring_pipeline.stores.recorded_counts import DatabaseCounts

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

Place = tuple[str, str]
"""What a source is called, and the model it is about."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """What one source gave, and how it was written for those who scraped it."""

    families: Families
    written: dict[Form, Written] = field(default_factory=dict)

    def write(self, form: Form) -> Written:
        if form not in self.written:
            self.written[form] = written(self.families, form)
        return self.written[form]


class Exporter:
    """What is known of some models, by their names in the registry and the files of their monitors, which may end."""

    def __init__(
        self,
        deployment: Deployment,
        models: Mapping[str, Path],
        *,
        clock: Callable[[], datetime],
        ends: Mapping[str, datetime] | None = None,
    ) -> None:
        self._models, self._clock, self._ends = dict(sorted(models.items())), clock, ends or {}
        self._hours = NewestHours(place_at(deployment.data_address))
        self._counts = DatabaseCounts(StateDatabase(deployment.database_url))
        self._health = deployment.state_directory / HISTORY
        self._host = Host(deployment.state_directory)
        self._registry = deployment.tracking_uri
        self._champions: dict[str, str | None] = {}
        self._known: dict[str, tuple[Stamp | None, Part]] = {}
        self._recorded: tuple[RecordedCounts | None, Part] = None, Part(Families())
        self._lock = Lock()
        self._sources: dict[Place, Callable[[], Part]] = {
            ("state_database", ""): self._records,
            ("health_checks", ""): self._services,
            ("host", ""): lambda: Part(self._host.read()),
            ("gpu", ""): lambda: Part(read_gpus()),
            ("monitors", ""): self._monitors,
            **{("hours", model): partial(self._hour, model) for model in self._models},
        }

    def parts(self) -> list[Part]:
        """Return what each source gives. One that cannot be read takes only its own with it, and is said to be down."""
        found, up = [], Families()
        with self._lock:
            for (source, model), read in self._sources.items():
                try:
                    found.append(read())
                    up.add("exporter_source_up", 1, source=source, model=model)
                except Exception as error:  # noqa: BLE001 - one broken file must not hide all other models
                    _log.warning("%s could not be exported: %s", " of ".join(filter(None, (source, model))), error)
                    up.add("exporter_source_up", 0, source=source, model=model)
        return [*found, Part(up)]

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """Return everything in the format a scraper accepts, and what that is called."""
        form = form_for(accept)
        return page([part.write(form) for part in self.parts()], form), form.content_type

    def ask_registry(self) -> None:
        """Learn which versions are champions; not for every page, since a registry may take seconds to answer."""
        found: dict[str, str | None] = {}
        try:
            for model in self._models:
                found[model] = version_of_alias(self._registry, model, CHAMPION)
        except Exception as error:  # noqa: BLE001 - whoever asks again and again must not end here
            _log.info("the registry was not read: %s", error)
        self._champions = found

    def _hour(self, model: str) -> Part:
        stamp = self._hours.stamp(model, now=self._clock())
        known = self._known.get(model)
        if known is None or known[0] != stamp:
            found = never_evaluated(model) if stamp is None else families_of_hour(self._hours.read(model, stamp))
            known = self._known[model] = stamp, Part(found)
        return known[1]

    def _records(self) -> Part:
        severities = (Level.WARNING.value, Level.CRITICAL.value)
        statuses = [status.value for status in EpisodeStatus]
        models, counts = list(self._models), self._counts.read()
        if counts != self._recorded[0]:
            found = families_of_records(counts, models=models, severities=severities, statuses=statuses)
            self._recorded = counts, Part(found)
        return self._recorded[1]

    def _services(self) -> Part:
        found = Families()
        for service, checks in read_health(self._health).checks.items():
            found.add("service_level", checks[-1].level.rank, service=service)
            found.add("service_last_checked_timestamp_seconds", checks[-1].slot.timestamp(), service=service)
        return Part(found)

    def _monitors(self) -> Part:
        found = Families()
        found.add("pipeline_build_info", 1, version=version("monitoring-pipeline"))
        for model, champion in self._champions.items():
            if champion is not None:
                found.add("registry_alias_info", 1, model=model, alias=CHAMPION, version=champion)
        for model, file in self._models.items():
            found.add("monitor_config_changed_timestamp_seconds", file.stat().st_mtime, model=model)
        for model, end in self._ends.items():
            found.add("monitor_end_timestamp_seconds", end.timestamp(), model=model)
        return Part(found)


RATE = Rate(per_s=20, burst=200)


def app_of(exporter: Exporter, *, hosts: tuple[str, ...] = ()) -> "Starlette":
    """Return the app: `GET /metrics` is the page, `GET /health` says that it listens. `hosts` may be asked for."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    def metrics(request: "Request") -> Response:  # not async: it runs in a thread
        content, kind = exporter.page(request.headers.get("accept", ""))
        return Response(content, media_type=kind)

    async def health(_: "Request") -> JSONResponse:
        return JSONResponse({"status": "ok"})

    middleware = [Middleware(Guard, rate=RATE, hosts=hosts)]
    return Starlette(routes=[Route("/metrics", metrics), Route("/health", health)], middleware=middleware)
