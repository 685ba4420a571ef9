"""The page of promises names tests that there are."""

import re

import pytest

from monitoring_pipeline_tests.pages import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


def test_every_promise_names_its_test() -> None:
    rows = re.findall(r"^\| (.+) \|$", PAGE.partition("## What is promised")[2], flags=re.M)
    promises = [row for row in rows if row != "promise | proved by" and "---" not in row]
    assert len(promises) > 20
    assert all("::test_" in promise for promise in promises)


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_test_exists(file: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", (ROOT / "monitoring_pipeline_tests" / file).read_text(), flags=re.M)


def test_weaknesses_are_reported_in_private_and_to_no_address_that_may_not_exist() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    assert "Report a vulnerability" in page
    assert not re.search(r"\S+@\S+\.\w+", page)
