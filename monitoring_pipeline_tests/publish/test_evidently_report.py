import subprocess
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, sync_playwright

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.publish.evidently_report import EvidentlyPolicy, EvidentlyReport, harmless, render_evidently
from monitoring_pipeline_tests.binaries import require

HOSTILE = (
    "</script><script>window.harmed=1</script>",
    '<img src=x onerror="window.harmed=2">',
    "<svg/onload=window.harmed=3>",
    "[x](javascript:window.harmed=4)",
    "${window.harmed=5}",
    "%{customdata}<br><a href='javascript:window.harmed=6'>click</a>",
    "\u2028\u202e\x00'\";window.harmed=7//",
    "{{constructor.constructor('window.harmed=8')()}}",
)
POLICY = EvidentlyPolicy(max_rows=400)


def rows(seed: int, more: Mapping[str, Any] | None = None, *, shift: float = 0.0) -> pa.Table:
    generator = np.random.default_rng(seed)
    plan = generator.choice(["basic", "plus"], 400).tolist()
    return pa.table({"tenure": generator.normal(shift, 1.0, 400), "plan": plan, **(more or {})})


KINDS = {"tenure": ColumnKind.NUMERIC, "plan": ColumnKind.CATEGORICAL}


def hostile_rows(seed: int) -> pa.Table:
    generator = np.random.default_rng(seed)
    numbers: dict[str, Any] = {f"{name} number": generator.normal(size=400) for name in HOSTILE}
    return rows(seed, numbers | {name: generator.choice(HOSTILE, 400) for name in HOSTILE})


@pytest.fixture(scope="module")
def hostile() -> EvidentlyReport:
    kinds = {f"{name} number": ColumnKind.NUMERIC for name in HOSTILE}
    kinds |= dict.fromkeys((*HOSTILE, "<b>gone</b>"), ColumnKind.CATEGORICAL)
    return render_evidently(hostile_rows(1), hostile_rows(2), columns=KINDS | kinds, policy=POLICY)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = require("chromium", "/usr/bin/chromium")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        started = playwright.chromium.launch(executable_path=str(chromium), headless=True, args=flags)
        yield started
        started.close()


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


def tags(page: bytes) -> list[str]:
    parser = Tags()
    parser.feed(page.decode())
    return parser.found


@pytest.mark.browser
def test_nothing_in_names_or_values_of_columns_is_run_by_a_browser(
    hostile: EvidentlyReport, browser: Browser, tmp_path: Path
) -> None:
    assert hostile.failure == ""
    (tmp_path / "page.html").write_bytes(hostile.page)
    page, asked = browser.new_page(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    page.get_by_text("Dataset Drift", exact=True).wait_for()
    page.locator("tbody button").nth(0).click()  # unfolds the chart of a column
    page.locator(".js-plotly-plot").first.wait_for()
    page.get_by_text("Tests", exact=True).click()
    page.get_by_text("Value Drift for column").first.wait_for()
    assert page.evaluate("window.harmed") is None
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [(tmp_path / "page.html").as_uri()]
    page.close()


def test_the_page_has_the_tags_of_a_page_of_harmless_rows(hostile: EvidentlyReport) -> None:
    plain = render_evidently(rows(1), rows(2), columns=KINDS, policy=POLICY)
    assert tags(hostile.page) == tags(plain.page)
    assert "script" in tags(plain.page)


def test_columns_that_would_cost_the_report_are_left_out_and_named() -> None:
    def with_bad(seed: int) -> pa.Table:
        bad: dict[str, Any] = {
            "empty": pa.nulls(400, pa.float64()),
            "constant": ["one"] * 400,
            "moment": pa.array([0] * 400, pa.timestamp("us", tz="UTC")),
            "infinite": np.full(400, np.inf),
            "nested": [[1]] * 400,
        }
        return rows(seed, bad | ({"only_now": [1.0] * 400} if seed == 2 else {}))

    kinds = dict.fromkeys(("empty", "infinite", "only_now"), ColumnKind.NUMERIC)
    kinds |= {"constant": ColumnKind.CATEGORICAL, "moment": ColumnKind.DATETIME, "nested": ColumnKind.CATEGORICAL}
    report = render_evidently(with_bad(1), with_bad(2), columns=KINDS | kinds, policy=POLICY)
    assert report.failure == ""
    assert dict(report.left_out) == {
        "empty": "no usable value in the reference sample",
        "infinite": "no usable value in the reference sample",
        "only_now": "the reference sample lacks it",
        "constant": "one constant",
        "moment": "dates and times are not compared",
        "nested": "one constant",
    }
    assert b"constant (one constant)" in report.page
    assert len(report.tests) == 1 + len(KINDS)


def test_a_shifted_column_fails_its_test_and_the_others_pass() -> None:
    report = render_evidently(rows(1), rows(2, shift=1.0), columns=KINDS, policy=POLICY)
    assert {test.name: test.passed for test in report.tests} == {
        "Share of Drifted Columns: Less 0.500": False,
        "Value Drift for column tenure": False,
        "Value Drift for column plan": True,
    }
    assert report.page.startswith(b"\n    <!DOCTYPE html>")


def test_a_sample_without_rows_and_rows_without_columns_are_failures_in_words() -> None:
    assert render_evidently(rows(1).slice(0, 0), rows(2), columns=KINDS).failure == (
        "one of the two samples has no rows"
    )
    assert render_evidently(rows(1), rows(2), columns={}).failure == "no column can be compared"


def test_a_page_beyond_the_allowed_size_is_refused_but_its_tests_are_kept() -> None:
    report = render_evidently(rows(1), rows(2), columns=KINDS, policy=EvidentlyPolicy(max_megabytes=1.0))
    assert report.page == b""
    assert "MB, 1 are allowed (evidently.max_megabytes)" in report.failure
    assert len(report.tests) == 3


def test_what_evidently_raises_is_its_failure_and_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    from evidently import Report
    from evidently.core.report import ReferenceMetricNotFound

    def broken(*given: Any) -> None:
        raise ReferenceMetricNotFound("a metric")

    monkeypatch.setattr(Report, "run", broken)
    report = render_evidently(rows(1), rows(2), columns=KINDS, policy=POLICY)
    assert (report.page, report.failure) == (
        b"",
        "Evidently failed: RuntimeError: Reference data not found for a metric",
    )


def test_rows_are_bounded_by_a_seed_and_rare_categories_are_shown_as_one() -> None:
    many = pa.table({"id": [f"user {number}" for number in range(3000)]})
    kinds, policy = {"id": ColumnKind.CATEGORICAL}, EvidentlyPolicy(max_rows=100)
    first = render_evidently(many, many, columns=kinds, policy=policy, seed=1)
    assert b"100 sampled rows against 100 reference rows" in first.page
    assert b"(all others)" in first.page
    again = render_evidently(many, many, columns=kinds, policy=policy, seed=1)
    assert first.tests == again.tests


def test_harmless_texts_stay_distinct_and_short() -> None:
    shown = harmless(["a<b", "a\u203ab", "a\u2039b", "x" * 100, "x" * 101, "", "tenure (months), %"])
    assert shown["tenure (months), %"] == "tenure (months), %"
    assert len(set(shown.values())) == len(shown)
    assert max(map(len, shown.values())) <= 84
    assert not any(sign in text for text in harmless(HOSTILE).values() for sign in "<>&\"'`\\{}$\x00\u2028\u202e")


def test_evidently_is_loaded_only_to_make_a_page_and_its_telemetry_never() -> None:
    program = """
import socket, sys
import pyarrow as pa
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.publish.evidently_report import render_evidently
assert not {"evidently", "pandas"} & set(sys.modules)
def refuse(*given): raise AssertionError(f"connects to {given}")
socket.socket.connect = refuse
rows = pa.table({"a": [1.0, 2.0, 3.0] * 20})
assert render_evidently(rows, rows, columns={"a": ColumnKind.NUMERIC}).failure == ""
assert "evidently" in sys.modules
assert not {"evidently.telemetry", "iterative_telemetry"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={})
