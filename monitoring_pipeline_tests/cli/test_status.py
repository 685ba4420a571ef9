"""How monitors are, of a deployment whose tenure turned into seconds at hour 6."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.workflow.alerting import apply_rule_outcomes
from monitoring_pipeline_tests.deployments import Deployment, customers, deploying
from monitoring_pipeline_tests.traffic import hour

BROKEN, LAST = 6, 11


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["status", *arguments])


@pytest.fixture(scope="module")
def broken(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    home = tmp_path_factory.mktemp("status") / "home"
    with pytest.MonkeyPatch.context() as patch, deploying(template, home, patch) as made:
        made.watch({}, {"model": "idle"})
        rows = customers([hour(number) for number in range(LAST + 1)])
        rows.loc[rows["predicted_at"] >= hour(BROKEN), "tenure"] *= 86_400
        made.log(rows)
        made.set_clock(hour(LAST + 1) + timedelta(minutes=20))
        made.compute(0, LAST)
        apply_rule_outcomes(made.monitoring, made.monitor, hour(0), hour(LAST + 1))
        yield made


def entries(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*arguments, "--format", "json").stdout)
    return found


def test_each_monitor_is_said_to_be_what_its_rules_say_since_when_and_why(broken: Deployment) -> None:
    churn, idle = entries()
    assert (churn["model"], churn["status"], churn["champion"]) == ("churn", "degraded", "1")
    assert churn["since"] == hour(BROKEN).isoformat()
    assert churn["because"].startswith("rule feature_drift: ")
    assert (churn["last_hour"], churn["is_stale"]) == (hour(LAST).isoformat(), False)
    (incident,) = churn["open_incidents"]
    assert incident.startswith("churn/feature_drift@")
    assert (idle["status"], idle["because"], idle["is_stale"]) == ("unknown", "no hour has been judged yet", True)
    shown = run()
    assert shown.exit_code == 0
    assert "degraded since 2026-11-20 06:00Z: rule feature_drift" in shown.stdout
    assert "never" in shown.stdout


@pytest.mark.parametrize(
    ("model", "level", "code"), [("churn", "warning", 1), ("churn", "critical", 0), ("idle", "critical", 1)]
)
def test_fail_on_ends_with_1_for_what_is_as_bad_or_stale(broken: Deployment, model: str, level: str, code: int) -> None:
    assert run(model, "--fail-on", level).exit_code == code
    assert run(model).exit_code == 0


def test_one_model_is_asked_for_by_name_and_an_unknown_one_is_answered_with_the_nearest(broken: Deployment) -> None:
    assert [each["model"] for each in entries("churn")] == ["churn"]
    wrong = run("chrun")
    assert wrong.exit_code == 2
    assert "no monitor watches 'chrun': those that exist watch churn, idle. Did you mean 'churn'?" in wrong.stderr


def test_it_needs_no_registry_that_answers(broken: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert [each["champion"] for each in entries()] == [None, None]
