"""The pictures of docs/images, taken in a browser from what a demonstration left: its health page and the Dagster UI.

    python docs/build_screenshots.py [.monitoring/demo]

Needs Chromium and `pip install playwright`. Add a picture here when a page shows one. Keep what is in them out: that is
the demonstration's.
"""

import json
import os
import subprocess
import sys
import sysconfig
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.workflow.monitor_assets import Group
from monitoring_pipeline_tests.processes import free_port, graphql, running, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
GROUPS = [group for group in Group if group is not Group.DAILY]
"""Groups that are opened in the lineage: seven daily reports side by side would make the others tiny."""

WIDEST = 1600
LARGEST = 300_000
"""Bytes of a picture: a page is read over a slow line, too."""


def main(home: Path) -> None:
    """Take all pictures anew."""
    from playwright.sync_api import sync_playwright

    places = {"HOME": home, "MONITORS": home / "monitors", "CLOCK": home / "clock"}
    env = {**os.environ, **{f"MONITORING_{name}": str(place) for name, place in places.items()}}  # noqa: TID251 - for them
    env |= {"DAGSTER_HOME": str(home / "dagster"), "DO_NOT_TRACK": "true"}
    subprocess.run([sys.executable, "-m", "monitoring_pipeline.cli", "report"], env=env, cwd=ROOT, check=True)
    told, port, log = json.loads((home / "summary.json").read_text()), free_port(), home / "webserver.log"
    server = Path(sysconfig.get_path("scripts")) / "dagster-webserver"
    serve: list[str | Path] = [server, "-m", "monitoring_pipeline.definitions", "-h", "127.0.0.1", "-p", str(port)]
    with running(serve, env=env, cwd=ROOT, log=log), sync_playwright() as playwright:
        wait_until("the webserver answers", lambda: graphql(port, "{ version }"), seconds=90, logs=[log])
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", headless=True, args=FLAGS)
        address, assets = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/assets/{told['model']}"
        health = opened(browser, (home / "data/health" / f"model={told['model']}.html").as_uri(), 1440, 900)
        keep("health_page", health.screenshot())
        opened_groups = ",".join(f"global@global:{told['model']}_{group}" for group in GROUPS)
        keep("lineage", lineage(opened(browser, f"{address}/asset-groups?expanded={opened_groups}", 2800, 1700)))
        verdicts = f"{assets}/verdicts?view=partitions&partition={worst_hour(home, told):%Y-%m-%d-%H:%M}"
        keep("verdicts", opened(browser, verdicts, 1500, 1330).screenshot())
        browser.close()


def opened(browser: "Browser", address: str, width: int, height: int) -> "Page":
    """Return a page when nothing on it moves any more, without the navigation of the UI."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(address)
    page.wait_for_timeout(5000)
    hide = page.get_by_text("Hide navigation")
    if hide.count():
        hide.click()
        page.wait_for_timeout(2000)
    return page


def lineage(page: "Page") -> bytes:
    """Return what is drawn of the graph, and no more."""
    boxes = [box for each in page.locator("foreignObject").all() if (box := each.bounding_box())]
    left, top = min(box["x"] for box in boxes) - 20, min(box["y"] for box in boxes) - 20
    right, bottom = max(box["x"] + box["width"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    return page.screenshot(clip={"x": left, "y": top, "width": right + 20 - left, "height": bottom + 20 - top})


def worst_hour(home: Path, told: dict[str, str]) -> datetime:
    """Return the hour in which most rules fire."""
    span = (datetime.fromisoformat(told[end]) for end in ("from", "until"))
    rules = HourlyStore(home / "data").read_rules(told["model"], *span)
    return max(rules, key=lambda hour: sum(outcome.state is RuleState.FIRING for outcome in rules[hour]))


def keep(name: str, picture: bytes) -> None:
    """Write a picture, with as few colours as one of text needs."""
    from io import BytesIO

    from PIL import Image

    path = IMAGES / f"{name}.png"
    drawn = Image.open(BytesIO(picture)).convert("RGB")
    drawn.thumbnail((WIDEST, 2 * WIDEST))
    drawn.quantize(256).save(path, optimize=True)
    size = path.stat().st_size
    sys.stdout.write(f"{path.relative_to(ROOT)}: {size // 1000} kB\n")
    if size > LARGEST:
        raise SystemExit(f"{path}: {size} bytes, {LARGEST} are allowed. Show less in it.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".monitoring/demo").absolute())
