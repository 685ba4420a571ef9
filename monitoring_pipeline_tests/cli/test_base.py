"""What all commands share: help, suggestions, completion, answers to programs, and how fast they are there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from monitoring_pipeline.cli import app
from monitoring_pipeline_tests.pages import ROOT

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
PAGE = ROOT / "docs" / "command-line.md"
HEAVY = {"dagster", "mlflow", "pandas", "sklearn", "sqlalchemy", "evidently", "skops", "scipy", "numpy", "pyarrow"}

WITHOUT_JSON = {"demo", "serve", "metrics-exporter", "incident-webhook", "push-metrics", "deliver", "post-mortem"}
"""They answer nobody: what they do goes on, or is a document."""


def python(code: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"]])
def test_help_loads_none_of_the_libraries_that_the_commands_need(arguments: list[str]) -> None:
    done = python(
        "import sys\nfrom monitoring_pipeline.cli import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"sys.exit(' '.join({HEAVY!r} & set(sys.modules)))"
    )
    assert done.stderr.strip() == ""
    assert "Usage" in done.stdout


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WITHOUT_JSON))
def test_a_command_that_answers_answers_programs_too(name: str) -> None:
    assert any("--format" in each.opts for each in COMMANDS[name].params)


def test_every_command_has_an_example_on_the_page_of_the_command_line() -> None:
    shown = set(re.findall(r"^monitoring-pipeline ([a-z-]+)|\(monitoring-pipeline ([a-z-]+)", PAGE.read_text(), re.M))
    assert set(COMMANDS) - {name for pair in shown for name in pair} == set()


def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    done = CliRunner().invoke(app, ["statsu"])
    assert done.exit_code == 2
    assert "Did you mean 'status'?" in done.stderr


def test_completion_knows_commands_and_their_options() -> None:
    code = "from monitoring_pipeline.cli import app\napp(prog_name='monitoring-pipeline')"
    asked = {"_MONITORING_PIPELINE_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    assert python(code, COMP_WORDS="monitoring-pipeline sta", **asked).stdout.split() == ["status"]
    options = python(code, COMP_WORDS="monitoring-pipeline status --f", **(asked | {"COMP_CWORD": "2"}))
    assert options.stdout.split() == ["--format", "--fail-on"]


def test_progress_is_shown_on_terminals_alone(tmp_path: Path) -> None:
    code = (
        "from monitoring_pipeline.cli.base import progress\n"
        "with progress('working', 2) as done:\n    done(1)\n    done(1)\nprint('answer')"
    )
    done = python(code)
    assert (done.stdout, done.stderr) == ("answer\n", "")
    shown = subprocess.run(
        ["script", "-qec", f'{sys.executable} -c "{code}" > {tmp_path / "out"}', "/dev/null"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "working" in shown.stdout
    assert (tmp_path / "out").read_text() == "answer\n"
