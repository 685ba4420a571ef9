import os
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from monitoring_pipeline.cli import app
from monitoring_pipeline.settings.defaults import default_rules
from monitoring_pipeline.settings.load import load_monitors
from monitoring_pipeline.workflow.alerting import apply_rule_outcomes
from monitoring_pipeline_tests.deployments import customers, deploying
from monitoring_pipeline_tests.pages import GUIDES, README, ROOT
from monitoring_pipeline_tests.traffic import hour

pytestmark = pytest.mark.slow

PAGES = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Root cause", "Escalation", "Communication"]
FINDS = {
    "business-metric-drop": "performance_decline",
    "error-rate": "timeout",
    "feature-drift": "drift.psi · tenure",
    "high-latency": "900",
    "low-accuracy": "performance.accuracy",
    "prediction-drift": "score_drift",
    "rollback": "churn | version | 1 | champion",
    "stale-data": "hourly_churn",
}
"""What following the diagnosis of a page brings to light in the deployment of these tests."""

BROKEN, LAST = 6, 14


def shell_blocks(page: Path) -> list[str]:
    """Return the blocks of a page that read the stores; `console` blocks need files of the reader's own."""
    return re.findall(r"^ *```sh\n(.*?)^ *```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)


BLOCKS = [(page.stem, block) for page in PAGES for block in shell_blocks(page)]


@pytest.fixture(scope="module")
def home(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A deployment whose tenure turned into seconds, while requests became slow and some failed."""
    home = tmp_path_factory.mktemp("runbooks") / "home"
    with pytest.MonkeyPatch.context() as patch, deploying(template, home, patch) as made:
        made.watch({"rules": None, "columns": {"latency_ms": {"total": "latency_ms"}, "status": "status"}})
        rows = customers([hour(number) for number in range(LAST + 1)])
        bad = rows["predicted_at"] >= hour(BROKEN)
        rows = rows.assign(latency_ms=12.0, status="ok")
        rows.loc[bad, "tenure"] *= 86_400
        rows.loc[bad, "latency_ms"] = 900.0
        rows.loc[bad & (rows.index % 9 == 0), "status"] = "timeout"
        made.log(rows)
        made.label(rows)
        made.set_clock(hour(LAST + 1) + timedelta(minutes=20))
        made.compute(0, LAST)
        apply_rule_outcomes(made.monitoring, made.monitor, hour(0), hour(LAST + 1))
        yield home


@pytest.fixture(scope="module")
def printed(home: Path, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each diagnosis command printed; one that several pages share is run once."""
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "MODEL": "churn", "SINCE": f"{hour(BROKEN):%Y-%m-%d}"}
    found: dict[str, str] = {}
    for block, page in {block: page for page, block in BLOCKS}.items():
        folder = tmp_path_factory.mktemp(page)
        done = subprocess.run(
            ["bash", "-e", "-c", block], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{page}: {block}{done.stderr}"
        found[block] = done.stdout
    return found


def test_there_is_a_page_for_every_kind_of_alarm() -> None:
    assert {page.stem for page in PAGES} == set(FINDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_same_sections_and_fits_on_a_page(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == SECTIONS
    assert len(lines) <= 70


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_leads_only_to_pages_that_exist(page: Path) -> None:
    linked = re.findall(r"\]\(([^)]+)\)", page.read_text())
    assert [link for link in linked if not (page.parent / link).exists()] == []


def test_every_rule_by_default_and_of_the_monitors_here_links_a_page_that_exists() -> None:
    rules = [*default_rules(window="24h", long="7d", features=["tenure"], score="score", prediction="prediction")]
    rules += [rule for monitor in load_monitors(ROOT / "monitors") for rule in monitor.alert_rules()]
    assert rules
    assert [rule.runbook for rule in rules if not (ROOT / rule.runbook).is_file()] == []


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page}-{place}" for place, (page, _) in enumerate(BLOCKS)])
def test_a_diagnosis_command_runs_and_finds_something(page: str, block: str, printed: dict[str, str]) -> None:
    assert re.search(r"2026-11-20|[0-9]+ rows|churn", printed[block]), printed[block]
    assert "Empty DataFrame" not in printed[block]


@pytest.mark.parametrize(("page", "found"), FINDS.items(), ids=list(FINDS))
def test_the_diagnosis_of_a_page_brings_to_light_what_it_is_about(
    page: str, found: str, printed: dict[str, str]
) -> None:
    assert found in "".join(printed[block] for name, block in BLOCKS if name == page)


@pytest.mark.parametrize("page", [README, *GUIDES, *PAGES], ids=lambda page: page.stem)
def test_every_command_a_page_names_exists_with_the_options_it_gives(page: Path) -> None:
    """Whether it is run or only shown."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    text = re.sub(r"\\\n *", "", page.read_text())
    wrong = []
    for name, rest in re.findall(r"(?<![\w/-])monitoring-pipeline ([a-z][a-z-]+)([^`\n|&;]*)", text):
        options = re.findall(r"(?<!\S)(--[a-z-]+)", rest)
        known = {option for each in commands[name].params for option in each.opts} if name in commands else set()
        wrong += [f"{name} {option}" for option in options if option not in known] + ([name] if not known else [])
    assert wrong == []
