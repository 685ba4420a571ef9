import re
import shutil
import subprocess
from pathlib import Path

import pytest

from monitoring_pipeline_tests.mlflow_store import mlflow_template
from monitoring_pipeline_tests.pages import GUIDES, README, Block, blocks, lines_missing, rows_of_metrics, run_block

BLOCKS = [block for block in blocks(README) if block.is_run or block.file]
GUIDES_WITH_CODE = [page for page in GUIDES if any(block.is_run for block in blocks(page))]

WAITS_OR_NEEDS_MORE = ("make ", "docker compose ", "cp .env.example ", "dg dev ", "dg dev\n")
"""Commands whose blocks may say that they are not run: the whole demonstration, an engine, or no end."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who reads along; its MLflow database is made in advance, which takes ten seconds."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / ".monitoring").mkdir()
    shutil.copyfile(mlflow_template(), folder / ".monitoring" / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def results(reader: Path) -> dict[Block, subprocess.CompletedProcess[str]]:
    """What each block of the README did, up to the first that failed."""
    done: dict[Block, subprocess.CompletedProcess[str]] = {}
    for block in BLOCKS:
        done[block] = run_block(block, reader)
        if done[block].returncode:
            break
    return done


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_of_the_readme_runs_and_prints_what_it_shows(
    block: Block, results: dict[Block, subprocess.CompletedProcess[str]]
) -> None:
    assert block in results, "an earlier block failed"
    done = results[block]
    assert done.returncode == 0, done.stderr[-3000:]
    assert lines_missing(block.output, done.stdout) == [], done.stdout


def test_the_five_steps_end_with_judged_hours_and_a_model_that_is_known_to_drift(
    reader: Path, results: dict[Block, subprocess.CompletedProcess[str]]
) -> None:
    import pyarrow.dataset as ds

    assert len(results) == len(BLOCKS)
    verdicts = ds.dataset(reader / ".monitoring" / "data" / "verdicts" / "model=churn").to_table().to_pandas()
    assert len(set(verdicts["window_end"])) == 24
    last = verdicts[(verdicts["window_end"] == "2026-03-07T00:00Z") & (verdicts["window"] == "24h")]
    assert set(last["version"]) == {"1"}
    levels = last.set_index(["metric", "column"])["level"]
    assert levels["drift.psi", "monthly_charge"] in ("warning", "critical")
    assert levels["drift.psi", "plan"] == "ok"
    assert levels["performance.accuracy", ""] == "critical"


def test_the_units_on_the_page_of_metrics_are_those_of_the_signals(
    reader: Path, results: dict[Block, subprocess.CompletedProcess[str]]
) -> None:
    import pyarrow.parquet as pq

    assert len(results) == len(BLOCKS)
    signals = pq.read_table(reader / "evaluation" / "signals.parquet", columns=["metric", "unit", "value"]).to_pandas()
    units = signals.dropna().drop_duplicates("metric").set_index("metric")["unit"].to_dict()
    explained = {metric: unit for metric, (unit, *_) in rows_of_metrics().items()}
    for metric in [metric for metric, unit in explained.items() if unit == "as above"]:
        explained[metric] = explained[metric.replace("estimate.", "performance.")]
    assert units.items() <= explained.items()
    measured = {metric.partition(".")[0] for metric in units}
    assert {"drift", "performance", "concept", "estimate", "labels", "quality", "skew", "operations"} <= measured


@pytest.mark.parametrize("page", GUIDES_WITH_CODE, ids=lambda page: page.stem)
def test_the_blocks_of_a_guide_run_after_those_of_the_readme(
    page: Path,
    reader: Path,
    results: dict[Block, subprocess.CompletedProcess[str]],
    programs: Path,
    tmp_path: Path,
) -> None:
    assert len(results) == len(BLOCKS)
    folder = tmp_path / "reader"
    shutil.copytree(reader, folder)
    for block in blocks(page):
        done = run_block(block, folder, programs)
        assert done.returncode == 0, f"{block}: {done.stderr[-3000:]}"
        assert lines_missing(block.output, done.stdout) == [], f"{block}: {done.stdout}"


@pytest.mark.parametrize("page", [README, *GUIDES], ids=lambda page: page.stem)
def test_only_commands_that_do_not_end_or_need_more_than_python_are_left_out(page: Path) -> None:
    for block in blocks(page):
        if block.not_run is not None:
            commands = re.sub(r"^#.*\n", "", block.code, flags=re.M).splitlines(keepends=True)
            assert [line for line in commands if not line.startswith(WAITS_OR_NEEDS_MORE)] == [], str(block)
