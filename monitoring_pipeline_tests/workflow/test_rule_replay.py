import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.settings.load import load_monitor
from monitoring_pipeline.workflow.rule_replay import Candidate, replay_stored
from monitoring_pipeline_tests.deployments import ASKED, MODEL, Deployment, deploying
from monitoring_pipeline_tests.traffic import hour

SHIFTED = 30
"""The hour in which customers begin to use more."""

LAST = 39
BY_LIMIT: dict[str, Any] = {
    "name": "usage",
    "condition": {"metric": "drift.psi", "window": "1h", "column": "usage", "above": 0.25},
    "cooldown": "1h",
}


@pytest.fixture(scope="module")
def deployment(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One deployment for all tests here: they only read what it has stored."""
    with (
        pytest.MonkeyPatch.context() as environment,
        deploying(template, tmp_path_factory.mktemp("replayed") / "home", environment) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def watched(deployment: Deployment) -> Path:
    """The YAML file of a monitor that has seen forty hours, the last ten of them drifted."""
    deployment.watch({"rules": [*ASKED["rules"], BY_LIMIT]})
    deployment.serve(0, SHIFTED - 1)
    deployment.serve(SHIFTED, LAST, shift=8.0)
    deployment.set_clock(hour(LAST + 1))
    deployment.compute(0, LAST)
    return deployment.home / "monitors" / f"{MODEL}.yaml"


def changed(path: Path, **rule: Any) -> Path:
    """Return a copy of the file in which the rule on usage says something else."""
    document = json.loads(path.read_text())
    document["rules"][1] |= rule
    copy = path.with_name("changed.json")
    copy.write_text(json.dumps(document))
    return copy


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["replay-rules", *map(str, arguments)])


def figures(*arguments: object) -> dict[str, Any]:
    answer = run(*arguments, "--format", "json")
    assert answer.exit_code == 0, answer.output
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def of_rule(replay: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(rule for rule in replay["rules"] if rule["rule"] == name)
    return found


def test_rules_as_they_are_say_of_every_hour_what_they_said_then(deployment: Deployment, watched: Path) -> None:
    stored = deployment.store.read_rules(MODEL, hour(0), hour(LAST + 1))
    said = Counter((outcome.rule, outcome.state) for entries in stored.values() for outcome in entries)
    assert said["feature_drift", RuleState.FIRING] > 5
    assert said["usage", RuleState.FIRING] > 5
    (replay,) = figures("--monitor", watched).values()
    assert replay["hours"] == LAST + 1
    for rule in replay["rules"]:
        assert rule["hours_firing"] == said[rule["rule"], RuleState.FIRING]
        assert rule["hours_unknown"] == said[rule["rule"], RuleState.UNKNOWN]


def test_a_changed_threshold_changes_the_counts_and_leaves_the_other_rule_alone(watched: Path) -> None:
    found = figures("--monitor", watched, "--limit", "usage=0.05,0.5,50")
    assert list(found) == [str(watched), *(f"{watched}, usage at {limit}" for limit in ("0.05", "0.5", "50"))]
    hours = [of_rule(replay, "usage")["hours_firing"] for replay in found.values()]
    assert hours[1] > hours[0] >= hours[2] > hours[3] == 0
    assert {of_rule(replay, "feature_drift")["hours_firing"] for replay in found.values()} == {
        of_rule(found[str(watched)], "feature_drift")["hours_firing"]
    }
    messages = [of_rule(replay, "usage")["messages"] for replay in found.values()]
    assert messages[1] > messages[3] == 0


def test_another_file_is_compared_hour_by_hour_on_the_same_signals(watched: Path) -> None:
    patient = changed(watched, **{"for": 3})
    found = figures("--monitor", watched, "--against", patient)
    eager, slow = (of_rule(found[str(path)], "usage") for path in (watched, patient))
    assert datetime.fromisoformat(eager["first"]) < datetime.fromisoformat(slow["first"])
    assert eager["hours_firing"] - slow["hours_firing"] == 2


def test_a_budget_of_alarms_in_the_other_file_judges_the_signals_anew(watched: Path) -> None:
    document = json.loads(watched.read_text())
    document["drift"] |= {"bands": {"psi": {"warning": 40.0}}}
    deaf = watched.with_name("deaf.json")
    deaf.write_text(json.dumps(document))
    found = figures("--monitor", watched, "--against", deaf)
    assert of_rule(found[str(watched)], "feature_drift")["hours_firing"] > 5
    assert of_rule(found[str(deaf)], "feature_drift")["hours_firing"] == 0


def test_what_was_before_the_first_hour_counts_towards_patience(deployment: Deployment, watched: Path) -> None:
    monitor = load_monitor(changed(watched, **{"for": 3}))
    begins = hour(SHIFTED + 5)
    (found,) = replay_stored([Candidate.of(monitor, "late")], deployment.monitoring.deployment, start=begins)
    assert (found.first_hour, found.hours) == (begins, 5)
    assert next(rule for rule in found.rules if rule.rule == "usage").hours_firing == 5


def test_a_person_reads_what_was_sent_which_weeks_and_what_was_worst(watched: Path) -> None:
    answer = run("--monitor", watched)
    assert answer.exit_code == 0
    summary, heads, *_ = answer.stdout.splitlines()
    assert summary == f"{MODEL}, {hour(0):%Y-%m-%d %H:%M}Z to {hour(LAST):%Y-%m-%d %H:%M}Z, 40 hours"
    assert heads.split() == ["rules", "incidents", "messages", "pages", "repetitions", "spared"]
    year, week, _ = hour(SHIFTED).isocalendar()
    assert f"{year}-W{week:02}" in answer.stdout
    assert "drift.psi usage" in answer.stdout
    assert max(map(len, answer.stdout.splitlines())) <= 160


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--limit", "usage"], "numbers"),
        (["--limit", "nothing=1"], "feature_drift, usage"),
        (["--limit", "feature_drift=0.3"], "false_alarms_per_month"),
        (["--from", "2031-01-01"], "no judged hours"),
        (["--to", "2001-01-01"], "there are:"),
    ],
)
def test_what_cannot_be_replayed_is_said_with_what_to_do(watched: Path, arguments: list[str], said: str) -> None:
    answer = run("--monitor", watched, *arguments)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr
