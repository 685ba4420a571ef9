import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitoring_pipeline.cli import app
from monitoring_pipeline_tests.traffic import START
from monitoring_pipeline_tests.workflow.test_forgetting import EVERYWHERE, OTHER, SUBJECT, deployment

MONITOR = f"""
model: churn
start: {START.isoformat()}
features: {{categorical: [plan]}}
columns: {{entity: customer_id}}
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    deployment(tmp_path / "data")
    (tmp_path / "churn.yaml").write_text(MONITOR)
    (tmp_path / "values").write_text(f"\n{SUBJECT}\n")
    monkeypatch.setenv("MONITORING_HOME", str(tmp_path))
    files = ["--monitor", str(tmp_path / "churn.yaml"), "--value-file", str(tmp_path / "values")]
    return ["forget", *files, "--column", "customer_id"]


def test_what_would_go_and_what_went_is_told_by_place_and_without_the_value(command: list[str]) -> None:
    for more in (["--dry-run"], []):
        told = CliRunner().invoke(app, [*command, *more, "--format", "json"])
        assert told.exit_code == 0, told.output
        answer = json.loads(told.output)
        assert answer["dry_run"] is bool(more)
        assert {each["place"]: each["count"] for each in answer["places"] if each["count"]} == EVERYWHERE
        assert SUBJECT not in told.output
    table = CliRunner().invoke(app, command)
    assert table.exit_code == 0
    assert "quarantine" in table.output


def test_values_can_come_by_a_pipe_and_never_from_the_command_line(command: list[str]) -> None:
    piped = [word if not word.endswith("values") else "-" for word in command]
    told = CliRunner().invoke(app, [*piped, "--format", "json"], input=f"{OTHER}\n")
    assert {each["place"]: each["count"] for each in json.loads(told.output)["places"]}["predictions"] == 3
    assert CliRunner().invoke(app, [*command, "--value", SUBJECT]).exit_code == 2


@pytest.mark.parametrize(("content", "words"), [("\n", "is empty"), (None, "No such file")])
def test_a_file_that_names_nobody_is_refused(
    command: list[str], tmp_path: Path, content: str | None, words: str
) -> None:
    (tmp_path / "values").unlink()
    if content is not None:
        (tmp_path / "values").write_text(content)
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 2
    assert words in told.output
