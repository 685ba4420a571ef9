"""Asking services how they are: HTTP services with their canaries, and the state database.

Add a kind of service as a function that returns a Probe. Keep what the answers mean out: it belongs in evaluate.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import sqlalchemy as sa

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.evaluate.service_health import Canary, CanaryAnswer, Probe, Service, at_pointer
from monitoring_pipeline.stores.http import Answer, ask

CANARY_HEADER = {"X-Monitoring-Canary": "1"}
"""Tells the service that nobody asked: such a prediction does not belong into the prediction log."""


def probe_together(probes: Mapping[str, Callable[[], Probe]], *, deadline_s: float) -> list[Probe]:
    """Return all probes, made side by side; one that has not come back by the deadline is a problem of its own."""
    found: dict[str, Probe] = {}

    def run(name: str, probe: Callable[[], Probe]) -> None:
        try:
            found[name] = probe()
        except Exception as error:  # noqa: BLE001 - one service that cannot be asked must not hide the others
            # Not its text: that of a driver may hold an address with its password.
            problem = f"{name} could not be asked ({type(error).__name__}). Look at the log of this run."
            found[name] = Probe(name, problem=problem)

    # Daemons: a pool would wait for the last of its threads when the process ends.
    threads = [Thread(target=run, args=item, daemon=True) for item in probes.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + deadline_s
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"gave no answer within {deadline_s:g} s. Look at its load and its log."
    return [found.get(name) or Probe(name, problem=f"{name} {late}") for name in probes]


def probe_service(service: Service, *, timeout_s: float, token: Credential | None) -> Probe:
    """Ask an HTTP service after its health and its version, then for the answers to its canaries."""
    address = service.url.rstrip("/")
    where = f"{service.name} at {address}{service.health}"
    if service.token_env and not token:
        problem = f"{where}: {service.token_env} is not set. Put the service's token into that variable."
        return Probe(service.name, problem=problem)
    headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
    try:
        answer = ask(address + service.health, timeout_s=timeout_s, headers=headers)
    except StoreError as error:
        return Probe(service.name, problem=f"{where}: {error}. Look whether it runs, and at its log.")
    if not answer.ok:
        problem = f"{where} answered {answer.said}, 200 is needed. Look at the log of the service."
        return Probe(service.name, answer.latency_ms, problem=problem)
    version, problem = _health_of(service, answer)
    if service.version_path:
        version = _text_at(address + service.version_path, timeout_s, headers)
    if problem:
        return Probe(service.name, answer.latency_ms, version, f"{where} {problem}")
    canaries = tuple(
        _ask_canary(service, canary, version, timeout_s=timeout_s, headers=headers) for canary in service.canaries
    )
    return Probe(service.name, answer.latency_ms, version, canaries=canaries)


def _health_of(service: Service, answer: Answer) -> tuple[str, str]:
    """Return the version a health answer gives, "" where it gives none, and what is wrong with it."""
    if service.version is None and not service.expect:
        return "", ""
    try:
        document = answer.document()
        for pointer, needed in service.expect.items():
            if (found := at_pointer(document, pointer)) != needed:
                return "", f"says {found!r:.60} at {pointer}, {needed!r} is needed. Look at the log of the service."
        return (str(at_pointer(document, service.version)) if service.version else ""), ""
    except (LookupError, ValueError) as error:
        if not service.expect and not service.version_needed:
            return "", ""
        if isinstance(error, LookupError):
            return "", f"has nothing at {error.args[0]}. Correct the pointer, or what the service answers."
        return "", "answered text where JSON is needed. Correct the path of its health answer."


def _text_at(url: str, timeout_s: float, headers: Mapping[str, str]) -> str:
    """Return the short text at an address, "" where there is none: a service need not tell its version."""
    try:
        answer = ask(url, timeout_s=timeout_s, headers=headers)
    except StoreError:
        return ""
    return answer.body.decode(errors="replace").strip()[:40] if answer.ok else ""


def _ask_canary(
    service: Service, canary: Canary, version: str, *, timeout_s: float, headers: Mapping[str, str]
) -> CanaryAnswer:
    where = f"canary {canary.name} of {service.name} at {service.url.rstrip('/')}{canary.path}"
    try:
        answer = ask(
            service.url.rstrip("/") + canary.path,
            timeout_s=timeout_s,
            body=canary.request,
            headers={**headers, **CANARY_HEADER},
        )
        if not answer.ok:
            fix = "Send the request by hand, or correct it in the services file."
            return CanaryAnswer(canary.name, problem=f"{where} was answered {answer.said}, 200 is needed. {fix}")
        document = answer.document()
        output = at_pointer(document, canary.output)
        if canary.version is not None:
            version = str(at_pointer(document, canary.version))
    except StoreError as error:
        return CanaryAnswer(canary.name, problem=f"{where}: {error}. Look at the log of the service.")
    except LookupError as error:
        fix = "Correct the pointer, or what the service answers."
        return CanaryAnswer(canary.name, problem=f"{where}: the answer has nothing at {error.args[0]}. {fix}")
    except ValueError:
        return CanaryAnswer(canary.name, problem=f"{where} was answered with text, JSON is needed. Correct its path.")
    if not isinstance(output, bool | int | float | str):
        fix = "Let the pointer lead to a number or a text."
        problem = f"{where}: {canary.output} leads to {type(output).__name__}. {fix}"
        return CanaryAnswer(canary.name, version=version, problem=problem)
    return CanaryAnswer(canary.name, output, version)


def probe_database(url: str, *, timeout_s: float) -> Probe:
    """Ask the state database for a row, its version, and the revision of its tables."""
    name = "database"
    try:
        address = sa.make_url(url)
        is_sqlite = address.get_backend_name() == "sqlite"
        if is_sqlite and address.database and not Path(address.database).exists():
            # Connecting would make an empty one.
            problem = f"{name}: there is no file {address.database}. Run monitoring-pipeline migrate."
            return Probe(name, problem=problem)
        wait: dict[str, Any] = {"timeout": timeout_s} if is_sqlite else {"connect_timeout": max(1, round(timeout_s))}
        engine = sa.create_engine(address, poolclass=sa.NullPool, connect_args=wait)
        start = time.perf_counter()
        with engine.connect() as connection:
            connection.execute(sa.select(1)).scalar_one()
            latency_ms = 1000 * (time.perf_counter() - start)
            numbers = connection.dialect.server_version_info or ()
            version = f"{connection.dialect.name} {'.'.join(map(str, numbers))}"
            found, needed = _revision(connection), _newest_revision()
    except (sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
        why = str(getattr(error, "orig", None) or type(error).__name__).strip().partition("\n")[0]
        return Probe(name, problem=f"{name}: {why}. Look whether it runs, and at MONITORING_DATABASE_URL.")
    if found != needed:
        problem = f"{name}: its tables are at {found or 'no revision'}, {needed} is needed"
        return Probe(name, latency_ms, version, f"{problem}. Run monitoring-pipeline migrate.")
    return Probe(name, latency_ms, version)


def _revision(connection: sa.Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _newest_revision() -> str | None:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(__file__).parent / "migrations")).get_current_head()
