"""The services of a deployment, from one YAML file: which are asked how they are, and what they should answer.

Add a kind of service to `KINDS`, a setting to its section. Keep models out: a monitor is a file of its own. The state
database, MLflow's server and the pipeline itself are known from the deployment and need no entry.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from monitoring_pipeline.errors import Problem, SettingsError
from monitoring_pipeline.evaluate import service_health
from monitoring_pipeline.evaluate.service_health import Output
from monitoring_pipeline.judge.service_health import ServiceLimits
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.settings.conditions import Duration, Name, Section, all_different, matching
from monitoring_pipeline.settings.documents import Document, looks_secret, read_document, strings
from monitoring_pipeline.settings.sections import Notifications

DEFAULT_FILE = "services.yaml"
OWN = ("database", "mlflow", "pipeline")
"""Services that are checked without an entry."""

Address = Annotated[str, matching(r"https?://[^\s@?#]+", "Write http://host:port or https://host, without a user.")]
Path_ = Annotated[str, matching(r"/\S*", "Write a path of the service, such as /health.")]
Pointer = Annotated[str, matching(r"(/[^/\s]*)+", "Write a JSON pointer, such as /predictions/0/score.")]
Variable = Annotated[str, matching(r"[A-Z][A-Z0-9_]*", "Name an environment variable in capitals; the token is there.")]


@dataclass(frozen=True, slots=True)
class Kind:
    """Where a kind of service says how it is."""

    health: str = "/health"
    version: str | None = None
    version_path: str | None = None
    expect: tuple[tuple[str, Output], ...] = ()
    severity: Level = Level.CRITICAL


KINDS = {
    "scoring": Kind(version="/version"),
    "mlflow": Kind(version_path="/version"),
    "grafana": Kind("/api/health", "/version", expect=(("/database", "ok"),), severity=Level.WARNING),
    "http": Kind(),
}


class Canary(Section):
    """A request with a known answer."""

    name: Name
    path: Path_ = "/predict"
    request: dict[str, Any] | list[Any]
    output: Pointer
    expected: bool | float | str
    tolerance: float = Field(default=1e-6, ge=0)
    version: Pointer | None = None

    def canary(self) -> service_health.Canary:
        return service_health.Canary(**{name: getattr(self, name) for name in type(self).model_fields})


class Service(Section):
    """One service; what is not said follows from its kind."""

    name: Name
    kind: Literal["scoring", "mlflow", "grafana", "http"] = "scoring"
    url: Address
    health: Path_ | None = None
    version: Pointer | None = None
    expect: dict[Pointer, bool | float | str] | None = None
    slow_ms: float = Field(default=1000.0, gt=0)
    severity: Literal["warning", "critical"] | None = None
    token_env: Variable | None = None
    canaries: tuple[Canary, ...] = ()

    @model_validator(mode="after")
    def _names_of_canaries_differ(self) -> "Service":
        all_different("canaries", [canary.name for canary in self.canaries])
        return self

    def service(self) -> service_health.Service:
        kind = KINDS[self.kind]
        return service_health.Service(
            name=self.name,
            url=self.url,
            health=self.health or kind.health,
            version=self.version or kind.version,
            version_needed=self.version is not None,
            version_path=kind.version_path,
            expect=self.expect if self.expect is not None else dict(kind.expect),
            token_env=self.token_env,
            canaries=tuple(canary.canary() for canary in self.canaries),
        )

    def limits(self) -> ServiceLimits:
        severity = KINDS[self.kind].severity if self.severity is None else Level(self.severity)
        tolerances = tuple((canary.name, canary.tolerance) for canary in self.canaries)
        return ServiceLimits(severity, self.slow_ms, tolerances=tolerances)


class Services(Section):
    """The whole file. `max_behind` is how late a monitor's newest judged hour may be."""

    timeout_s: float = Field(default=5.0, gt=0, le=30)
    max_behind: Duration = timedelta(hours=3)
    notifications: Notifications = Notifications()
    services: tuple[Service, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> "Services":
        all_different("services", [*OWN, *(service.name for service in self.services if service.kind != "mlflow")])
        all_different("services", [service.name for service in self.services])
        return self

    def limits(self) -> dict[str, ServiceLimits]:
        """Return the limits of every service, by its name."""
        own = dict.fromkeys(OWN, ServiceLimits(max_behind_hours=self.max_behind / timedelta(hours=1)))
        return own | {service.name: service.limits() for service in self.services}


def services_file(env: Mapping[str, str], *, root: Path) -> Path:
    """Return where the services of a deployment are described: MONITORING_SERVICES, or services.yaml at the root."""
    return root / (env.get("MONITORING_SERVICES") or DEFAULT_FILE)


def load_services(path: Path) -> Services:
    """Return the services a file describes, or those every deployment has where there is no file.

    Raises SettingsError with everything that is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Services()
    except (OSError, UnicodeDecodeError) as error:
        found = f"cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8 text'}."
        raise SettingsError([Problem(str(path), None, "the file", found, "Check its permissions.")]) from error
    document = read_document(text, str(path))
    problems = list(document.problems)
    problems += [
        document.problem(where, "looks like a secret.", "Put it into a variable, and name that with token_env.")
        for where, value in strings(document.data)
        if looks_secret(value)
    ]
    if document.data and not problems:
        try:
            return Services.model_validate_json(json.dumps(document.data))
        except ValidationError as error:
            problems.extend(_problems(error, document))
    raise SettingsError(sorted(problems, key=lambda problem: problem.line or 0))


def _problems(error: ValidationError, document: Document) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        path = tuple(part for part in detail["loc"] if part not in ("bool", "float", "str", "[key]"))
        if detail["type"] == "missing":
            yield document.problem(path, "is missing.", f"Add `{path[-1]}:`.")
        elif detail["type"] == "extra_forbidden":
            known = ", ".join(_keys(path))
            fix = f"Known here: {known}." if known else "Correct its name, or remove it."
            yield document.problem(path, f"{path[-1]!r} is not a setting.", fix)
        else:
            fix = detail["msg"].removeprefix("Value error, ").removesuffix(".")
            yield document.problem(path, f"{detail['input']!r:.60} cannot be used.", f"{fix}.")


def _keys(path: tuple[str | int, ...]) -> list[str]:
    """Return the settings that can stand beside the one at `path`; none further inside the notifications."""
    if path[0] == "notifications":
        return list(Notifications.model_fields) if len(path) == 2 else []
    sections: tuple[type[Section], ...] = (Services, Service, Canary)
    return list(sections[sum(isinstance(part, int) for part in path)].model_fields)
