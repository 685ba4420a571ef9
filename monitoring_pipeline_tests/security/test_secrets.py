"""Every secret is a word that occurs nowhere else; after runs that fail in every way nobody can read it anywhere."""

import base64
import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.cli import app
from monitoring_pipeline.settings.channels import Channels, make_channels
from monitoring_pipeline.settings.deployment import Deployment as Places
from monitoring_pipeline.workflow.exporter import Exporter
from monitoring_pipeline_tests.deployments import ASKED, MODEL, Deployment
from monitoring_pipeline_tests.processes import free_port
from monitoring_pipeline_tests.scoring import Registered, Scoring, listening, scorer
from monitoring_pipeline_tests.sinks import Answer, HttpSink, SmtpSink, http_sink, smtp_sink
from monitoring_pipeline_tests.traffic import hour

pytestmark = pytest.mark.slow

PASSWORD = "canary-of-addresses"
KEY = base64.b64encode(b"canary-of-webhooks-32-bytes-long").decode()
SECRETS = {
    "SLACK_BOT_TOKEN": "xoxb-canary-of-slack",
    "PAGERDUTY_ROUTING_KEY": "canary0of0pagerduty0000000000000",
    "SMTP_PASSWORD": "canary-of-mail",
    "MONITORING_WEBHOOK_SECRET": f"whsec_{KEY}",
    "ALERTMANAGER_TOKEN": "canary-of-alertmanager",
    "MONITORING_API_KEYS": "canary-of-the-service",
    "MONITORING_PII_KEY": "canary-of-personal-data-and-32-bytes",
    "MONITORING_HEARTBEAT_URL": "http://127.0.0.1:1/canary-of-pings",
}
VARIABLES = ("SLACK_BOT_TOKEN", "PAGERDUTY_ROUTING_KEY", "MONITORING_WEBHOOK_SECRET", "ALERTMANAGER_TOKEN")
CANARIES = {*SECRETS.values(), KEY, PASSWORD, "canary-of-pings"}


def forms(canary: str) -> set[str]:
    """Return the ways a secret may be written down, also as part of something longer."""
    coded = {base64.b64encode(b" " * shift + canary.encode()).decode()[4:-4] for shift in range(3)}
    return {canary, quote(canary, safe=""), canary.encode().hex(), *coded}


def leaked(text: str) -> list[str]:
    return sorted(canary for canary in CANARIES if any(form in text for form in forms(canary)))


@dataclass
class Heard:
    """Everything anybody could read of what a deployment did."""

    texts: dict[str, str] = field(default_factory=dict)

    def hear(self, where: str, text: str) -> None:
        self.texts[f"{len(self.texts)} {where}"] = text

    def run(self, *command: str) -> int:
        """Run a command, and keep what it prints and the traceback of what it did not expect."""
        result = CliRunner().invoke(app, command)
        raised = "".join(traceback.format_exception(*result.exc_info)) if result.exc_info else ""
        self.hear(" ".join(command), result.output + raised)
        return result.exit_code

    def hear_files(self, folder: Path) -> None:
        for path in (each for each in folder.rglob("*") if each.is_file()):
            text = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else ""
            self.hear(f"file {path.relative_to(folder)}", text + path.read_bytes().decode("latin-1"))

    def hear_runs(self, instance: dg.DagsterInstance) -> None:
        for run in instance.get_runs():
            events = "\n".join(map(str, instance.all_logs(run.run_id)))
            self.hear(f"run of {run.job_name}", f"{run} {run.run_config} {run.tags} {events}")

    def leaks(self) -> dict[str, list[str]]:
        return {where: found for where, text in self.texts.items() if (found := leaked(text))}


class Lines(logging.Handler):
    """Keeps every line of every logger, with its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.text = io.StringIO()

    def emit(self, record: logging.LogRecord) -> None:
        self.text.write(f"{self.format(record)} {record.args}\n")


@pytest.fixture
def heard(capfd: pytest.CaptureFixture[str]) -> Iterator[Heard]:
    """What is heard during a test; when it ends no canary may be in it."""
    logging.disable(logging.NOTSET)
    lines, root, found = Lines(), logging.getLogger(), Heard()
    level = root.level
    root.addHandler(lines)
    root.setLevel(logging.DEBUG)
    yield found
    root.setLevel(level)
    root.removeHandler(lines)
    found.hear("log lines", lines.text.getvalue())
    printed = capfd.readouterr()
    found.hear("printed", printed.out + printed.err)
    assert found.leaks() == {}


def repeating(secret: str) -> Callable[[HttpSink, bytes], Answer]:
    """Refuse, and say back the secret that was sent, in every way a careless service may."""

    def answer(_sink: HttpSink, body: bytes) -> Answer:
        told = {"ok": False, "error": f"no {secret}", "status": f"invalid key {secret}", "message": body.decode()}
        return Answer(403, json.dumps(told), {"X-Token": secret})

    return answer


@dataclass
class Services:
    """A deployment whose secrets are canaries, and the services it tells, which refuse."""

    deployment: Deployment
    sinks: dict[str, HttpSink]
    mail: SmtpSink

    def channels(self) -> dict[str, Any]:
        mail = {"host": "127.0.0.1", "port": self.mail.port, "security": "none", "user": "me"}
        return {
            "slack": {"channel": "#ml", "base_url": f"{self.sinks['slack'].url}/api/"},
            "pagerduty": {"url": f"{self.sinks['pagerduty'].url}/v2/enqueue"},
            "email": mail | {"sender": "ml@example.com", "recipients": ["oncall@example.com"]},
            "webhook": {"url": f"{self.sinks['webhook'].url}/in"},
            "alertmanager": {"url": self.sinks["alertmanager"].url, "token_env": "ALERTMANAGER_TOKEN"},
        }

    def watch(self, **more: Any) -> None:
        told = ["console", *self.channels()]
        routes = {"info": told, "warning": told, "critical": told}
        asked = {"notifications": {**self.channels(), "routes": routes}, "privacy": {"hash": ["customer"]}}
        self.deployment.watch(asked | more)


@pytest.fixture
def services(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    sent = ("slack", "pagerduty", "webhook", "alertmanager")
    secrets = dict(zip(sent, [SECRETS[name] for name in VARIABLES], strict=True))
    with ExitStack() as stack:
        sinks = {name: stack.enter_context(http_sink(repeating(secret))) for name, secret in secrets.items()}
        mail = stack.enter_context(smtp_sink())
        mail.script("AUTH", *([f"535 no {SECRETS['SMTP_PASSWORD']}"] * 50))
        made = Services(deployment, sinks, mail)
        made.watch()
        yield made


def test_the_search_finds_a_secret_in_each_of_its_forms() -> None:
    for canary in CANARIES:
        coded = base64.b64encode(f"\0me\0{canary}".encode()).decode()
        for text in (canary, f"a{quote(canary, safe='')}b", coded):
            assert canary in leaked(f"...{text}...")
    assert leaked("nothing here") == []


def test_no_secret_is_told_when_every_service_refuses_and_the_trainer_fails(services: Services, heard: Heard) -> None:
    deployment, retraining = services.deployment, ASKED["retraining"]
    aged = [{"name": "age", "condition": {"metric": "model.age_days", "above": 1}}]
    trainer = "monitoring_pipeline_tests.trainers:raising"
    services.watch(retraining=retraining | {"trainer": trainer, "minimum_labelled_rows": 100, "triggers": aged})
    deployment.serve(0, 3)
    deployment.set_clock(hour(4) + timedelta(minutes=45))
    assert deployment.process(0, 3).success
    deployment.monitoring.database.migrate()
    assert heard.run("report-incident", MODEL, "--text", "a customer called", "--by", "ana") == 0
    assert heard.run("deliver") == 0
    deployment.run("deliver_notifications", raise_on_error=False)
    assert all(sink.received for sink in services.sinks.values()), "the others were asked"
    assert any(line.startswith("AUTH") for line in services.mail.commands), "and the mail server"
    (request,) = deployment.tick(f"{MODEL}__retraining").run_requests
    assert not deployment.run(f"{MODEL}__retraining", tags=request.tags, raise_on_error=False).success

    for command in (["status", "--format", "json"], ["doctor", "--format", "json"], ["doctor"], ["outbox"]):
        heard.run(*command)
    for command in (["outbox", "--format", "json"], ["incidents", "--format", "json"], ["report"], ["check-config"]):
        heard.run(*command)
    places = Places.from_environment({"MONITORING_HOME": str(deployment.home)}, root=deployment.home)
    exporter = Exporter(places, {MODEL: Path(__file__)}, clock=lambda: datetime.now(UTC))
    heard.hear("metrics", exporter.page()[0].decode())
    heard.hear_runs(deployment.instance)
    heard.hear("outbox", "\n".join(map(str, deployment.monitoring.database.notifications())))
    deployment.monitoring.teardown_after_execution(None)  # type: ignore[arg-type]
    heard.hear_files(deployment.home)


DOWN = (
    *("postgresql://me:{}@127.0.0.1:1/monitoring", "postgresql+psycopg2://127.0.0.1:1/m?user=me&password={}"),
    *("postgresql://me:{}@127.0.0.1:port/m", "postgresql://me:{}/x@127.0.0.1:1/m", "nosuch://me:{}@db/m"),
    *("postgresql+nosuch://me:{}@db/m", "{}", "://me:{}@", "postgresql://me:{}@[::1/m", "sqlite:////nowhere/{}.db?{}"),
)


@pytest.mark.parametrize("address", DOWN[:8])
def test_no_password_is_told_when_the_state_database_is_not_there(
    services: Services, heard: Heard, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    deployment = services.deployment
    deployment.serve(0, 0)
    deployment.set_clock(hour(1) + timedelta(minutes=45))
    monkeypatch.setenv("MONITORING_DATABASE_URL", address.format(PASSWORD))
    for command in (
        *(["status", "--format", "json"], ["doctor", "--format", "json"], ["migrate"], ["deliver"], ["incidents"]),
        *(["push-metrics", "--to", "statsd://127.0.0.1:8125"], ["report"], ["outbox"]),
    ):
        heard.run(*command)
    asked = {"ops": {f"{MODEL}__apply_rules": {"config": {"start": f"{hour(0)}", "end": f"{hour(1)}"}}}}
    for job, config in (("deliver_notifications", {}), (f"{MODEL}__alerting", asked)):
        assert not deployment.run(job, raise_on_error=False, run_config=config).success
    heard.hear_runs(deployment.instance)
    heard.hear_files(deployment.home)


@pytest.mark.parametrize(
    "address",
    [
        *("http://me:{}@127.0.0.1:1", "https://me:{}@127.0.0.1:1/mlflow", "http://me:{}@127.0.0.1:port"),
        *("postgresql://me:{}@127.0.0.1:1/mlflow", "nosuch://me:{}@mlflow", "http://me:{}@[::1"),
    ],
)
def test_no_password_is_told_when_mlflow_is_not_there(
    services: Services, heard: Heard, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)  # else it goes on for hours
    deployment = services.deployment
    deployment.serve(0, 0)
    deployment.set_clock(hour(1) + timedelta(minutes=45))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(PASSWORD))
    for command in (
        *(
            ["doctor", "--format", "json"],
            ["status", "--format", "json"],
            ["rollback", MODEL, "--why", "x", "--by", "a"],
        ),
        *(["init", "--model", MODEL], ["serve", "--monitor", str(deployment.home / "monitors" / f"{MODEL}.yaml")]),
    ):
        heard.run(*command)
    assert not deployment.run(f"{MODEL}__reference", raise_on_error=False).success
    deployment.process(0, 0)
    exporter = Exporter(deployment.monitoring.deployment, {MODEL: Path(__file__)}, clock=lambda: datetime.now(UTC))
    exporter.ask_registry()
    heard.hear("metrics", exporter.page()[0].decode())
    heard.hear_runs(deployment.instance)
    heard.hear_files(deployment.home)


@pytest.mark.parametrize("address", DOWN)
@pytest.mark.parametrize("kind", ["postgres", "sql"])
def test_no_password_is_told_when_the_log_is_in_a_database_that_is_not_there(
    services: Services, heard: Heard, monkeypatch: pytest.MonkeyPatch, address: str, kind: str
) -> None:
    # A service whose log is away does not end: it answers, and counts what it could not record.
    monkeypatch.setattr("uvicorn.run", lambda *_, **__: None)
    deployment = services.deployment
    monkeypatch.setenv("LOG_URL", address.format(PASSWORD, PASSWORD))
    table = {"predictions": {"table": "p"}} if kind == "sql" else {}
    read = {"url_env": "LOG_URL", "table": "orders", "column": "at"}
    source = {"name": "orders", "max_age": "1h", "sql": read}
    services.watch(log={"kind": kind, "url_env": "LOG_URL"} | table, freshness={"sources": [source]})
    deployment.set_clock(hour(1) + timedelta(minutes=45))
    heard.run("doctor", "--format", "json")
    heard.run("serve", "--monitor", str(deployment.home / "monitors" / f"{MODEL}.yaml"))
    result = deployment.run(f"{MODEL}__hourly", partition_key=f"{hour(0):%Y-%m-%d-%H:%M}", raise_on_error=False)
    assert not result.success
    heard.hear_runs(deployment.instance)


@pytest.mark.parametrize(
    "text",
    [
        "notifications: {slack: {channel: '#ml', token_env: xoxb-canary-of-slack}}",
        f"notifications: {{webhook: {{url: 'https://me:{PASSWORD}@example.com/x'}}}}",
        f"log: {{kind: sql, url_env: 'postgresql://me:{PASSWORD}@db/x', predictions: {{table: p}}}}",
        f"postgresql://me:{PASSWORD}@db/x: [",
        f"model: 'postgresql://me:{PASSWORD}@db/x'",
        f"'postgresql://me:{PASSWORD}@db/x': 1",
        f"start: https://me:{PASSWORD}@example.com",
        f"windows: ['https://me:{PASSWORD}@example.com']",
        "description: xoxb-canary-of-slack",
    ],
)
def test_no_secret_is_told_that_stands_in_a_file_by_mistake(services: Services, heard: Heard, text: str) -> None:
    folder = services.deployment.home / "monitors"
    (folder / f"{MODEL}.yaml").write_text(text)
    for command in (["check-config", str(folder / f"{MODEL}.yaml")], ["status"], ["doctor"], ["deliver"]):
        assert heard.run(*command) != 0


def test_no_key_is_told_by_the_scoring_service(heard: Heard, tmp_path: Path) -> None:
    key = SECRETS["MONITORING_API_KEYS"]
    service = Scoring(tmp_path, Registered({"1": scorer("1", 0.5)}, {"champion": "1"}), api_keys=[Credential(key)])
    with listening(service.app) as port:
        for headers in ({}, {"x_api_key": "wrong"}, {"authorization": f"Bearer {key}x"}, {"x_api_key": key}):
            for path, body in (("/predict", {"features": {"tenure": {}}}), ("/predict", b"{"), ("/labels", {"a": 1})):
                _, answer, told = port.ask("POST", path, body, **headers)
                heard.hear(f"{path} {headers.keys()}", f"{answer} {told}")
        for path in ("/metrics", "/openapi.json", "/health", "/nothing"):
            heard.hear(path, str(port.ask("GET", path)))


def test_nothing_that_holds_a_secret_prints_it(heard: Heard) -> None:
    port = free_port()
    asked = {
        "slack": {"channel": "#ml"},
        "pagerduty": {},
        "email": {"host": "x", "sender": "a@b.example", "recipients": ("a@b.example",), "user": "me"},
        "webhook": {"url": f"http://127.0.0.1:{port}"},
        "alertmanager": {"url": f"http://127.0.0.1:{port}", "token_env": "ALERTMANAGER_TOKEN"},
    }
    forms = [Channels.model_validate(asked)]
    channels, wanting = make_channels(forms, SECRETS.get, clock=lambda: datetime.now(UTC), stream=io.StringIO())
    assert not wanting
    places = Places.from_environment(
        {
            "MONITORING_DATABASE_URL": f"postgresql://me:{PASSWORD}@db/x",
            "MLFLOW_TRACKING_URI": f"https://me:{PASSWORD}@mlflow",
        },
        root=Path(),
    )
    for channel in channels.values():
        heard.hear(type(channel).__name__, f"{vars(channel)}")
    holders: Sequence[Any] = [*channels.values(), *holders_of_addresses(places)]
    for each in holders:
        heard.hear(type(each).__name__, f"{each!r} {each}")


def holders_of_addresses(places: Places) -> list[Any]:
    from monitoring_pipeline.capture.privacy import PiiKey
    from monitoring_pipeline.serve.importance import ImportanceRequest
    from monitoring_pipeline.stores.database import StateDatabase
    from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
    from monitoring_pipeline.stores.postgres_log import PostgresPredictionLog
    from monitoring_pipeline.stores.source_clocks import SourceClocks
    from monitoring_pipeline.workflow.scoring_service import RegisteredModels

    registry, url = MlflowRegistry(places.tracking_uri), places.database_url
    request = ImportanceRequest(places.tracking_uri, MODEL, "1", (), methods=("permutation",), label="actual")
    return [
        *(places, registry, RegisteredModels(registry, MODEL, (), None), SourceClocks({"A": url}), request),  # type: ignore[arg-type]
        *(StateDatabase(url), PiiKey(SECRETS["MONITORING_PII_KEY"].encode()), PostgresPredictionLog),
    ]
