"""What schemathesis finds when it reads the service's own description and sends what that allows, and what it does not.

It looks for 500s, for answers that are not described, for valid requests that are refused and wrong ones that are not,
and for routes that forget their key.
"""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import schemathesis
from click.testing import CliRunner
from hypothesis import strategies as st
from schemathesis.cli import schemathesis as command_line

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.capture.predictions import EARLIEST, LATEST
from monitoring_pipeline.serve.routing import CHAMPION, SHADOW
from monitoring_pipeline_tests.scoring import Registered, Scoring, listening, scorer

KEY = "the-key"

# From when to when a moment may be is nothing that JSON Schema can say.
FIRST, LAST = EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None) - timedelta(microseconds=1)
schemathesis.openapi.format("date-time", st.datetimes(FIRST, LAST).map(lambda at: f"{at.isoformat()}Z"))


@pytest.mark.parametrize(
    ("api_keys", "said"),
    [
        ([], ["--phases", "examples,coverage,fuzzing", "--max-examples", "40"]),
        ([KEY], ["--phases", "examples,coverage", "--header", f"Authorization: Bearer {KEY}"]),
    ],
    ids=["open", "with a key"],
)
def test_the_service_does_what_its_description_says_and_nothing_it_is_sent_makes_it_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_keys: list[str], said: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # it keeps what it sent in the working directory
    registered = Registered({name: scorer(name, 0.1 * int(name)) for name in "39"}, {CHAMPION: "3", SHADOW: "9"})
    with listening(Scoring(tmp_path, registered, api_keys=[Credential(key) for key in api_keys]).app) as port:
        command = ["run", f"http://127.0.0.1:{port.number}/openapi.json", "--checks", "all", *said]
        done = CliRunner().invoke(command_line, [*command, "--generation-deterministic", "--no-color"])
    assert done.exit_code == 0, done.output
    assert "7 selected / 7 total" in done.output


def test_the_page_on_serving_names_every_path_there_is_and_no_other(tmp_path: Path) -> None:
    app = Scoring(tmp_path, Registered({"3": scorer("3", 0.3)}, {CHAMPION: "3"})).app
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    named = set(re.findall(r"`(GET|POST) (/[a-z/.]+)`", page))
    there = {(method, path) for path, methods in app.openapi()["paths"].items() for method in methods}
    assert named == {(method.upper(), path) for method, path in there} | {("GET", "/openapi.json")}
