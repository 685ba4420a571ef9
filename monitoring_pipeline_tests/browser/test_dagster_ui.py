import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.deployments import ASKED, MODEL, Deployment, deploying, make_template
from monitoring_pipeline_tests.processes import free_port, graphql, running, wait_until
from monitoring_pipeline_tests.traffic import hour

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("dagster-ui")]

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 20_000
LAST = 7
WELL_UNTIL = 3
ASSETS = [
    "prediction_log",
    "label_log",
    "registered_model",
    "reference_distributions",
    "serving_sample",
    "serving_profile",
    "outcomes",
    "drift_report",
    "performance_report",
    "verdicts",
    "training_set",
    "challenger",
    "challenger_evaluation",
    "promotion",
]
COLLAPSE = {
    "name": "accuracy_collapse",
    "condition": {"metric": "performance.accuracy", "window": "4h", "level": "critical"},
    "for": 2,
    "resolve_after": 2,
    "severity": "critical",
    "runbook": "https://runbooks.example/accuracy",
}


@dataclass
class Visit:
    """A page of the UI, and everything it complained of or asked of another machine."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("websocket", lambda socket: self._asked(socket.url))

    def open(self, path: str) -> None:
        self.page.goto(f"{self.address}{path}")

    def partition(self, asset: str, number: int) -> Locator:
        """Open one hour of an asset and return what the page shows of its metadata."""
        key = f"{hour(number):%Y-%m-%d-%H:%M}"
        self.open(f"/assets/{MODEL}/{asset}?view=partitions&partition={quote(key)}")
        expect(self.page.get_by_text("Metadata", exact=True)).to_be_visible()
        return self.page.locator("tr", has=self.page.locator("table"))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.complaints.append(f"asked another machine: {url}")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Eight hours of a model; in the last four of them what it has learnt is no longer true."""
    require("chromium", "/usr/bin/chromium")
    folder = tmp_path_factory.getbasetemp() / "deployment-template"
    if not folder.exists():
        make_template(folder)
    with (
        pytest.MonkeyPatch.context() as patch,
        deploying(folder, tmp_path_factory.mktemp("ui") / "home", patch) as made,
    ):
        made.watch({"rules": [*ASKED["rules"], COLLAPSE]})
        made.serve(0, WELL_UNTIL)
        made.serve(WELL_UNTIL + 1, LAST, turned=True)
        made.set_clock(hour(LAST + 2))
        made.run(f"{MODEL}__reference")
        made.process(0, LAST)
        yield made


@pytest.fixture(scope="module")
def address(deployment: Deployment) -> Iterator[str]:
    home, port = deployment.home / "dagster", free_port()
    program = require("dagster-webserver", str(Path(sysconfig.get_path("scripts")) / "dagster-webserver"))
    command = [program, "-m", "monitoring_pipeline.definitions", "-h", "127.0.0.1", "-p", str(port)]
    log = deployment.home / "webserver.log"
    with running(command, env={**os.environ, "DAGSTER_HOME": str(home)}, cwd=ROOT, log=log):
        wait_until("the webserver answers", lambda: graphql(port, "{ version }"), seconds=60, logs=[log])
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Browser]:
    # After the deployment: Dagster runs event loops of its own, which cannot be inside that of Playwright.
    chromium = require("chromium", "/usr/bin/chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(chromium), headless=True, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    expect.set_options(timeout=WAIT_MS)
    page = browser.new_page(viewport={"width": 2800, "height": 1300})
    made = Visit(page, address)
    yield made
    page.close()
    assert made.complaints == []


def test_the_lineage_shows_every_asset_of_a_monitor(visit: Visit) -> None:
    visit.open("/asset-groups")
    expect(visit.page.get_by_text(f"{MODEL}_hourly").last).to_be_visible()
    visit.page.keyboard.press("Alt+e")
    for asset in ASSETS:
        expect(visit.page.get_by_text(asset, exact=True).first).to_be_visible()


def test_an_hour_of_verdicts_shows_what_stands_out_and_why_rules_fire(visit: Visit) -> None:
    shown = visit.partition("verdicts", LAST)
    worst = shown.filter(has_text="what_stands_out").locator("tbody tr").first
    print(shown.filter(has_text="what_stands_out").first.inner_text()[:1500])
    visit.page.screenshot(path="/tmp/shots/t_verdicts.png")


def test_checks(visit: Visit) -> None:
    visit.open(f"/assets/{MODEL}/verdicts?view=checks")
    visit.page.wait_for_timeout(3000)
    visit.page.screenshot(path="/tmp/shots/t_checks.png")
    Path("/tmp/shots/t_checks.html").write_text(visit.page.content())
    visit.partition("drift_report", LAST)
    visit.page.wait_for_timeout(1000)
    Path("/tmp/shots/t_drift.html").write_text(visit.page.content())
    visit.open(f"/assets/{MODEL}/reference_distributions")
    visit.page.wait_for_timeout(3000)
    Path("/tmp/shots/t_ref.html").write_text(visit.page.content())
