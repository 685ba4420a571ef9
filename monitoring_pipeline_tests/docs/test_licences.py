import re
import runpy

from monitoring_pipeline_tests.pages import ROOT

MADE = runpy.run_path(str(ROOT / "docs" / "build_licences.py"))
PAGE = (ROOT / "docs" / "licences.md").read_text()


def test_nothing_that_is_passed_on_is_under_a_licence_nobody_looked_at() -> None:
    licences = {name: MADE["licence_of"](package) for name, package in MADE["runtime"]().items()}
    assert len(licences) > 100
    assert {name: each for name, each in licences.items() if not MADE["is_allowed"](each)} == {}


def test_the_page_lists_every_package_that_is_installed() -> None:
    listed = dict(re.findall(r"^\| ([\w.-]+) \| (.+) \|$", PAGE, flags=re.M))
    missing = {name for name in MADE["runtime"]() if name not in listed}
    assert not missing, "What is installed has changed: run `make docs`."


def test_a_licence_that_asks_something_of_the_code_around_it_is_not_allowed() -> None:
    allowed = MADE["is_allowed"]
    assert not any(allowed(each) for each in ("GPL-3.0-only", "AGPL-3.0", "not stated", "MIT AND GPL-2.0-only", ""))
    assert allowed("(GPL-2.0-only OR MIT) AND Apache-2.0") is allowed("MIT AND Apache-2.0") is True
