import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.fixture
def judged(deployment: Deployment) -> Deployment:
    deployment.serve(0, 3)
    deployment.set_clock(hour(4))
    deployment.compute(0, 3)
    return deployment


def test_a_report_is_written_where_it_says_with_the_sentence_on_it(judged: Deployment, tmp_path: Path) -> None:
    done = run(MODEL, "--out", tmp_path / "pages")
    assert done.exit_code == 0, done.stderr
    sentence, path = done.stdout.splitlines()
    assert sentence.startswith(f"{MODEL} is fine since ")
    assert Path(path.strip()) == tmp_path / "pages" / "model=churn.html"
    assert sentence in Path(path.strip()).read_text()

    answer = json.loads(run("--format", "json", "--at", hour(2).isoformat()).stdout)
    (entry,) = answer
    assert Path(entry["page"]) == judged.monitoring.data.absolute() / "health" / "model=churn.html"
    assert (entry["model"], entry["bytes"]) == (MODEL, Path(entry["page"]).stat().st_size)
    assert "Judged until</dt><dd>20 November 2026, 02:00 UTC" in Path(entry["page"]).read_text()


def test_a_model_that_nobody_watches_is_named_with_those_that_are(judged: Deployment) -> None:
    done = run("chrn")
    assert done.exit_code == 2
    assert f"Did you mean {MODEL!r}" in done.stderr
