"""The health page in a browser: what is seen, on a phone and on a screen, in both schemes, by keyboard."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from monitoring_pipeline.publish.health_page import Listed, render_index, render_page
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.health_pages import NOW, health_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SIZES = {"phone": (390, 844), "screen": (1440, 900)}
READABLE = 4.5
"""Least contrast of text with what is behind it (WCAG 2.2, AA)."""

CONTRASTS = """() => {
  const channels = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest('.sr, .skip') || element.getClientRects().length === 0) continue;
    const style = getComputedStyle(element);
    const ink = channels(element instanceof SVGElement ? style.fill : style.color);
    const [high, low] = [light(ink), light(behind(element))].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), element.outerHTML.slice(0, 120)]);
  }
  return found;
}"""


@dataclass
class Seen:
    """A page that was opened, and everything it complained of or asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _said(self, message: ConsoleMessage) -> None:
        self.complaints.append(message.text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("health")
    page = health_page(columns=15)
    (made / "page.html").write_text(render_page(page, index="index.html"))
    listed = [Listed("flight_delays", "Arrival delays", page, "page.html")]
    (made / "index.html").write_text(render_index(listed, as_of=NOW))
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = require("chromium", "/usr/bin/chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(chromium), headless=True, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def seen(browser: Browser, folder: Path, request: pytest.FixtureRequest) -> Iterator[Seen]:
    size, scheme = request.param
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    made = Seen(page)
    page.goto((folder / "page.html").as_uri())
    yield made
    page.close()


def test_the_page_is_whole_quiet_and_asks_for_nothing(seen: Seen, folder: Path) -> None:
    page = seen.page
    assert page.title() == "flight_delays: critical"
    assert page.locator(".status .say").inner_text().startswith("flight_delays is critical since 22 April 2013")
    titles = page.locator("main h2").all_inner_texts()
    assert titles == [
        *("Performance", "Drift of the inputs", "Incidents and retrainings", "Data quality and service"),
        *("Promises and their error budgets", "Versions that served"),
    ]
    assert page.locator("figure svg:visible").count() == 2
    assert seen.complaints == []
    assert seen.asked == [(folder / "page.html").as_uri()]


def test_nothing_has_to_be_scrolled_sideways_but_tables(seen: Seen) -> None:
    page = seen.page
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    over = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(each => !each.closest('.wide-table, svg, .sr, .strip')"
        " && each.getClientRects().length && each.getBoundingClientRect().right > window.innerWidth + 1)"
        ".map(each => each.outerHTML.slice(0, 100))"
    )
    assert over == []


def test_all_text_can_be_read(seen: Seen) -> None:
    seen.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = seen.page.evaluate(CONTRASTS)
    assert len(found) > 300
    assert [text for contrast, text in found if contrast < READABLE] == []


def test_text_in_charts_is_as_large_as_on_paper(seen: Seen) -> None:
    heights = seen.page.evaluate(
        "[...document.querySelectorAll('figure svg text')].filter(each => each.getClientRects().length)"
        ".map(each => each.getBoundingClientRect().height)"
    )
    assert len(heights) > 10
    assert min(heights) >= 9


def test_a_column_is_opened_by_keyboard_and_shows_its_values(seen: Seen) -> None:
    page = seen.page
    column = page.locator("#drift details").first
    table = column.locator("table")
    assert not table.is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    for _ in range(40):
        page.keyboard.press("Tab")
        if column.locator("summary").evaluate("each => each === document.activeElement"):
            break
    page.keyboard.press("Enter")
    assert table.is_visible()
    assert table.locator("tbody tr").count() == 12
    assert column.locator("summary").inner_text().startswith("temp")


def test_every_section_has_a_name_and_no_picture_goes_without_words(seen: Seen) -> None:
    page = seen.page
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("navigation", name="Sections").count() == 1
    for title in ("Performance", "Drift of the inputs", "Incidents and retrainings"):
        assert page.get_by_role("region", name=title).count() == 1
    nameless = page.evaluate(
        "[...document.querySelectorAll('svg')].filter(each => !each.closest('[role=img][aria-label]')"
        " && each.getAttribute('aria-hidden') !== 'true').length"
    )
    assert nameless == 0


def test_the_index_leads_to_the_page_and_back(browser: Browser, folder: Path) -> None:
    page = browser.new_page()
    page.goto((folder / "index.html").as_uri())
    page.get_by_role("link", name="flight_delays").click()
    assert page.title() == "flight_delays: critical"
    page.get_by_role("link", name="All models").click()
    assert page.title() == "Model health"
    page.close()
