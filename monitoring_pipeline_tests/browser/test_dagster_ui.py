import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.deployments import ASKED, MODEL, VERSION, Deployment, deploying, make_template
from monitoring_pipeline_tests.processes import free_port, graphql, running, wait_until
from monitoring_pipeline_tests.traffic import hour

pytestmark = [pytest.mark.browser, pytest.mark.slow]

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
FIRING = "accuracy_collapse"
COLLAPSE = {
    "name": FIRING,
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

    def open_partition(self, asset: str, number: int) -> None:
        key = f"{hour(number):%Y-%m-%d-%H:%M}"
        self.open(f"/assets/{MODEL}/{asset}?view=partitions&partition={quote(key)}")
        expect(self.page.get_by_text("Metadata", exact=True)).to_be_visible()

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
    command: list[str | Path] = [program, "-m", "monitoring_pipeline.definitions", "-h", "127.0.0.1", "-p", str(port)]
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


def is_short_for(shown: str, name: str) -> bool:
    """Whether the graph shows this name; it cuts the middle of a long one out."""
    head, cut, tail = shown.partition("…")
    return shown == name or (bool(cut) and name.startswith(head) and name.endswith(tail))


def test_the_lineage_shows_every_asset_of_a_monitor(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 3200, "height": 2000})  # only what is in view is drawn
    visit.open("/asset-groups")
    expect(visit.page.get_by_text(f"{MODEL}_3_evaluate").last).to_be_visible()
    visit.page.keyboard.press("Alt+e")  # expands the groups
    expect(visit.page.locator("foreignObject", has_text="verdicts").first).to_be_visible()
    for _ in range(4):
        visit.page.get_by_role("button", name="zoom_out").click()
    expect(visit.page.locator("foreignObject", has_text="promotion")).to_be_visible()
    shown = [line for text in visit.page.locator("foreignObject > *").all_inner_texts() for line in text.splitlines()]
    assert [asset for asset in ASSETS if not any(is_short_for(line, asset) for line in shown)] == []


def test_an_hour_of_verdicts_shows_what_stands_out_and_why_rules_fire(visit: Visit) -> None:
    visit.open_partition("verdicts", LAST)
    worst = visit.page.locator("tr", has_text=re.compile("critical.*performance.*[14]h.*baseline")).first
    expect(worst).to_be_visible()
    rule = visit.page.locator("tr", has_text=FIRING).last
    expect(rule).to_contain_text(re.compile("firing.*critical.*performance.accuracy over 4h critical or worse: 0"))
    expect(visit.page.get_by_text("[Show Markdown]")).to_have_count(0)


def test_an_hour_shows_what_was_found_of_it_and_not_of_the_last_hour_of_its_run(visit: Visit) -> None:
    visit.open_partition("verdicts", WELL_UNTIL)
    expect(visit.page.locator("tr", has_text=FIRING).last).to_contain_text("quiet")


def test_the_last_hour_of_a_run_shows_how_far_every_column_is_and_a_picture_of_the_hours_before(visit: Visit) -> None:
    visit.open_partition("drift_report", LAST)
    for column in ("usage", "tenure", "plan", "score"):
        row = visit.page.locator("tr", has_text=re.compile(rf"^{column}[0-9.e-]+training{VERSION}$"))
        expect(row).to_be_visible()
    largest = visit.page.locator("tr", has_text=re.compile(r"^largest_psi_4h[0-9.e-]+$"))
    expect(largest).to_be_visible()
    # A picture that the browser could not read would have no width.
    picture = visit.page.get_by_role("img", name=re.compile("^[0-9.e-]+ to [0-9.e-]+$")).first
    expect(picture).to_be_visible()
    assert picture.evaluate("picture => picture.naturalWidth") > 0


def test_the_reference_says_which_version_it_is_of(visit: Visit) -> None:
    visit.open(f"/assets/{MODEL}/reference_distributions")
    row = visit.page.locator("tr", has_text="champion").locator("table tr", has_text="champion")
    expect(row).to_contain_text(re.compile(rf"^\s*{VERSION}\s*champion"))


def test_the_checks_show_how_severe_it_is(visit: Visit) -> None:
    visit.open(f"/assets/{MODEL}/verdicts?view=checks")
    for check, icon in (("no_rule_fires", "cancel"), ("model_is_known_to_be_well", "warning_outline")):
        entry = visit.page.locator("div", has=visit.page.get_by_title(check, exact=True)).filter(has_text="Failed").last
        expect(entry.get_by_role("img", name=icon)).to_be_visible()
    expect(visit.page.get_by_text(f"fires: {FIRING}")).to_be_visible()


def test_the_run_behind_an_hour_is_one_click_away(visit: Visit) -> None:
    visit.open_partition("verdicts", LAST)
    visit.page.locator("a[href^='/runs/']").first.click()
    expect(visit.page.get_by_text("6 checks").first).to_be_visible()
    expect(visit.page.get_by_text("Success", exact=True).first).to_be_visible()
