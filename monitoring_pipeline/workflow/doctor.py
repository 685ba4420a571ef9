"""The checklist of a deployment: what it needs is there, answers, and fits together; no orchestrator needed.

Add a check as a function that yields `Check`s and name it in `_checklist`. Keep checks of one monitor out: they belong
in monitor_checkup.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from importlib import metadata
from pathlib import Path

import sqlalchemy as sa

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.capture.windows import hour_of
from monitoring_pipeline.errors import MonitoringError, without_password
from monitoring_pipeline.evaluate.heartbeats import CLOCKS_DIFFER, in_words, silences
from monitoring_pipeline.notify.channels.connections import opener
from monitoring_pipeline.notify.delivery import Channel
from monitoring_pipeline.notify.messages import Message
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.settings.channels import make_channels
from monitoring_pipeline.settings.load import load_monitors
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.settings.services import load_services, services_file
from monitoring_pipeline.stores.heartbeats import FOLDER, read_heartbeats
from monitoring_pipeline.stores.mlflow_alias import version_of_alias
from monitoring_pipeline.stores.service_probes import probe_database, probe_service
from monitoring_pipeline.workflow import monitor_checkup
from monitoring_pipeline.workflow.examination import Check, Examination, Outcome, Surroundings, failed, side_by_side

TIMEOUT_S = 5.0
CLOCK_SKEW = timedelta(seconds=30)
HEARTBEAT_AGE = timedelta(hours=2)
FIXES = {
    "mlflow": "Look whether it runs, and at MLFLOW_TRACKING_URI.",
    "dagster": "Look whether its PostgreSQL runs, and at DAGSTER_POSTGRES_HOST and its kin.",
}
"""What to do where asking failed with an error that does not say so."""

LITTLE_SPACE, NO_SPACE = 0.1, 0.02
"""Shares of a disk that are free."""


def examine(around: Surroundings) -> list[Check]:
    """Return what every check found; none stops another."""
    try:
        monitors, found = load_monitors(around.deployment.monitors_directory), []
    except MonitoringError as error:
        monitors, found = [], [failed("monitors", error)]
    else:
        found = [Check("monitors", Outcome.OK, f"{len(monitors)} read")]
    return found + side_by_side(_checklist(around, monitors), FIXES)


def _checklist(around: Surroundings, monitors: Sequence[Monitor]) -> dict[str, Examination]:
    checks: dict[str, Examination] = {
        "state database": lambda: _state_database(around),
        "mlflow": lambda: _mlflow(around),
        "dagster": lambda: _dagster(around),
        "services": lambda: _services(around),
    }
    for monitor in monitors:
        for name, look in monitor_checkup.CHECKS.items():
            checks[f"{monitor.model}: {name}"] = partial(look, around, monitor)
    checks["channels"] = lambda: _channels(around, monitors)
    checks["heartbeats"] = lambda: _heartbeats(around, monitors)
    return checks | {"disk": lambda: _disk(around.deployment.state_directory), "libraries": _libraries}


def _state_database(around: Surroundings) -> Iterator[Check]:
    url = around.deployment.database_url
    probe = probe_database(url, timeout_s=TIMEOUT_S)
    if probe.problem:
        yield failed("state database", probe.problem)
        return
    yield Check("state database", Outcome.OK, f"{probe.version}, {probe.latency_ms or 0:.0f} ms")
    if sa.make_url(url).get_backend_name() == "postgresql":
        yield _clock("state database", _moment_of(url), around)


def _moment_of(url: str | sa.URL) -> datetime:
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": round(TIMEOUT_S)})
    with engine.connect() as connection:
        moment: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    return moment.astimezone(UTC)


def _clock(whose: str, moment: datetime, around: Surroundings) -> Check:
    skew = abs(around.clock() - moment)
    outcome = Outcome.FAILED if skew > CLOCKS_DIFFER else Outcome.WARNING if skew > CLOCK_SKEW else Outcome.OK
    fix = "" if outcome is Outcome.OK else "Let both machines keep their time by NTP."
    found = f"{skew.total_seconds():.0f} s apart"
    return Check(f"clock against {whose}", outcome, found, f"at most {in_words(CLOCK_SKEW)}", fix)


def _mlflow(around: Surroundings) -> Iterator[Check]:
    uri = around.deployment.tracking_uri
    if not uri.startswith(("http://", "https://")):
        version_of_alias(uri, "", CHAMPION)
        yield Check("mlflow", Outcome.OK, f"{without_password(uri)} can be read")
        return
    with opener(raises=True).open(f"{uri.rstrip('/')}/health", timeout=TIMEOUT_S) as answer:
        date = answer.headers["Date"]
    yield Check("mlflow", Outcome.OK, f"{without_password(uri)} answers")
    if date:
        yield _clock("mlflow", parsedate_to_datetime(date), around)


def _dagster(around: Surroundings) -> Iterator[Check]:
    home = around.secret("DAGSTER_HOME")
    if home is None:
        yield Check("dagster", Outcome.SKIPPED, "DAGSTER_HOME is not set here")
    elif not (Path(home) / "dagster.yaml").exists():
        found = f"{home} has no dagster.yaml: runs are kept in SQLite files there"
        yield Check("dagster", Outcome.WARNING, found, "an instance", "Copy the dagster.yaml of the deployment there.")
    else:
        yield Check("dagster", Outcome.OK, f"{home}/dagster.yaml")
    if host := around.secret("DAGSTER_POSTGRES_HOST"):
        names = {"username": "USER", "password": "PASSWORD", "database": "DB"}
        given = {part: around.secret(f"DAGSTER_POSTGRES_{name}") for part, name in names.items()}
        port = int(around.secret("DAGSTER_POSTGRES_PORT") or 5432)
        moment = _moment_of(sa.URL.create("postgresql", host=host, port=port, **given))  # type: ignore[arg-type]
        yield Check("dagster's PostgreSQL", Outcome.OK, f"{host}:{port} answers")
        yield _clock("dagster's PostgreSQL", moment, around)


def _services(around: Surroundings) -> Iterator[Check]:
    found = load_services(services_file(around.env, root=Path())).services
    if not found:
        yield Check("services", Outcome.SKIPPED, "none is named in services.yaml")
    for each in found:
        token = Credential(around.secret(each.token_env) or "") if each.token_env else None
        probe = probe_service(each.service(), timeout_s=TIMEOUT_S, token=token)
        well = Check(f"service {each.name}", Outcome.OK, f"answers in {probe.latency_ms or 0:.0f} ms")
        yield failed(well.what, probe.problem) if probe.problem else well


def _channels(around: Surroundings, monitors: Sequence[Monitor]) -> Iterator[Check]:
    told = [monitor.notifications for monitor in monitors]
    told.append(load_services(services_file(around.env, root=Path())).notifications)
    channels, wanting = make_channels(told, around.secret, clock=around.clock, stream=sys.stderr)
    for name, fix in wanting.items():
        yield Check(f"channel {name}", Outcome.FAILED, "cannot be used", fix=f"{fix[0].upper()}{fix[1:]}.")
    if len(channels) + len(wanting) == 1:
        fix = "Name a channel under notifications of a monitor."
        yield Check("channels", Outcome.WARNING, "only the console hears of incidents", "somebody who is called", fix)
    yield from (_channel(name, channel, around) for name, channel in channels.items() if name != "console")


def _channel(name: str, channel: Channel, around: Surroundings) -> Check:
    thread = None
    try:
        for step in ("opened", "resolved") if around.send_test else ():  # nothing is to stay open there
            message, key = _test_message(step, around), f"{_TEST}/{around.clock()}/{step}"
            thread = channel.send(message, dedup_key=key, thread=thread)
    except MonitoringError as error:
        return failed(f"channel {name}", error)
    return Check(f"channel {name}", Outcome.OK, "took a test message" if around.send_test else "is set up, not tried")


_TEST = "monitoring-pipeline-doctor"


def _test_message(step: str, around: Surroundings) -> Message:
    return Message(
        title=f"Test of this channel ({step}): nothing is wrong",
        severity="warning",
        status="resolved" if step == "resolved" else "open",
        model="none",
        facts=(),
        top_bins=(),
        reason="Somebody ran monitoring-pipeline doctor --send-test.",
        next_step="Nothing.",
        runbook="",
        hour=f"{hour_of(around.now):%Y-%m-%d %H:%M}Z",
        incident_id=_TEST,
        step=step,
        fingerprint=_TEST,
        started_at=around.now.isoformat(),
    )


def _heartbeats(around: Surroundings, monitors: Sequence[Monitor]) -> Iterator[Check]:
    now = around.clock()
    models = [monitor.model for monitor in monitors if monitor.end is None or monitor.end > now]
    for beat in read_heartbeats(around.deployment.state_directory / FOLDER, models):
        what = f"heartbeat {beat.name}"
        if problems := silences([beat], now=now, max_age=HEARTBEAT_AGE):
            check = failed(what, problems[0].removeprefix(f"{what}: "))
            # What never ran may be about to.
            outcome = Outcome.WARNING if beat.at is None else Outcome.FAILED
            yield Check(what, outcome, check.found, f"one within {in_words(HEARTBEAT_AGE)}", check.fix)
        elif beat.at is not None:
            yield Check(what, Outcome.OK, f"{in_words(now - beat.at)} ago")


def _disk(folder: Path) -> Iterator[Check]:
    fix = "Make the folder, or correct MONITORING_HOME and its permissions."
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield Check("disk: written", Outcome.OK, f"{folder} can be written")
    except OSError as error:
        yield Check("disk: written", Outcome.FAILED, f"{folder}: {error.strerror}", "permission to write", fix)
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    usage = shutil.disk_usage(there)
    free = usage.free / usage.total
    outcome = Outcome.FAILED if free < NO_SPACE else Outcome.WARNING if free < LITTLE_SPACE else Outcome.OK
    fix = "" if outcome is Outcome.OK else "Remove what is old, or give it a larger disk."
    found = f"{usage.free / 2**30:,.1f} GiB of it free ({free:.0%})"
    yield Check("disk: space", outcome, found, f"{LITTLE_SPACE:.0%}", fix)


def _libraries() -> Iterator[Check]:
    from packaging.requirements import Requirement

    try:
        needed = [Requirement(each) for each in metadata.requires("monitoring-pipeline") or ()]
    except metadata.PackageNotFoundError:
        yield Check("libraries", Outcome.SKIPPED, "the package is not installed: it runs from a folder")
        return
    wrong = []
    for each in (each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})):
        try:
            found = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            found = "is missing"
        if found == "is missing" or not each.specifier.contains(found, prereleases=True):
            wrong.append(f"{each.name} {found}, {each.specifier} is needed")
    fix = "Install the versions of constraints.txt." if wrong else ""
    outcome = Outcome.FAILED if wrong else Outcome.OK
    yield Check("libraries", outcome, "; ".join(wrong) or f"{len(needed)} in the ranges that are needed", fix=fix)
