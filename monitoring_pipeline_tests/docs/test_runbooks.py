import os
import re
import subprocess
import sysconfig
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.settings.defaults import default_rules
from monitoring_pipeline.settings.load import load_monitors
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline_tests.verdicts import verdict

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
NAMES = {
    "business-metric-drop",
    "error-rate",
    "feature-drift",
    "high-latency",
    "low-accuracy",
    "prediction-drift",
    "stale-data",
}
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Root cause", "Escalation", "Communication"]
HOUR = datetime(2013, 4, 29, 8, tzinfo=UTC)


def shell_blocks(page: Path) -> list[str]:
    """Return the blocks of a page that read the stores; `console` blocks need files of the reader's own."""
    return re.findall(r"^ *```sh\n(.*?)^ *```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)


BLOCKS = [(page.stem, block) for page in PAGES for block in shell_blocks(page)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment's folder after one hour of a model called churn: logged, labelled, judged."""
    home = tmp_path_factory.mktemp("home")
    log = LogColumns(latency_ms={"total": "latency_ms"}, status="status")
    ParquetPredictionLog(home / "data", log).append(
        "churn",
        pa.table(
            {
                "prediction_id": ["a", "b"],
                "predicted_at": [HOUR, HOUR],
                "model_version": ["1", "1"],
                "prediction": [0.0, 1.0],
                "score": [0.2, 0.8],
                "tenure": [3.0, None],
                "latency_ms": [12.0, 90.0],
                "status": ["ok", "timeout"],
            }
        ),
    )
    labels = pa.table({"prediction_id": ["a"], "actual": [0.0], "labelled_at": [HOUR]})
    ParquetLabelLog(home / "data", LabelColumns()).append("churn", labels, hours=[HOUR])
    hourly = HourlyStore(home / "data")
    verdicts = [
        verdict(Level.WARNING, column="tenure", hour=HOUR),
        verdict(Level.CRITICAL, column="score", hour=HOUR),
        verdict(Level.CRITICAL, "performance.accuracy", hour=HOUR),
        verdict(Level.UNKNOWN, "performance.roc_auc", hour=HOUR),
    ]
    hourly.write_verdicts("churn", HOUR, verdicts)
    fired = RuleOutcome("feature_drift", "churn", HOUR, RuleState.FIRING, Level.WARNING, "tenure is far off")
    hourly.write_rules("churn", HOUR, [fired])
    return home


def test_there_is_a_page_for_every_kind_of_alarm() -> None:
    assert {page.stem for page in PAGES} == NAMES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_same_sections_and_fits_on_a_page(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == SECTIONS
    assert len(lines) <= 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_leads_only_to_pages_that_exist(page: Path) -> None:
    linked = re.findall(r"\]\(([^)]+)\)", page.read_text())
    assert [link for link in linked if not (page.parent / link).exists()] == []


def test_every_rule_by_default_and_of_the_monitors_here_links_a_page_that_exists() -> None:
    rules = [*default_rules(window="24h", features=["tenure"], score="score", prediction="prediction")]
    rules += [rule for monitor in load_monitors(ROOT / "monitors") for rule in monitor.alert_rules()]
    assert rules
    assert [rule.runbook for rule in rules if not (ROOT / rule.runbook).is_file()] == []


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page}-{place}" for place, (page, _) in enumerate(BLOCKS)])
def test_a_diagnosis_command_runs_and_finds_something(page: str, block: str, home: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "MONITORING_HOME": str(home), "MODEL": "churn"}
    done = subprocess.run(
        ["bash", "-e", "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search("2013-04-29|2 rows|churn|tenure", done.stdout), done.stdout
    assert "Empty DataFrame" not in done.stdout
