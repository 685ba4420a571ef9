"""A tabletop exercise: a feature pipeline breaks, and its incident is followed from detection to post-mortem.

The people are played with the command line; what the pipeline says to them is read as they would read it.
"""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitoring_pipeline.cli import app
from monitoring_pipeline.notify.postmortem import QUESTION
from monitoring_pipeline.workflow.alerting import apply_rule_outcomes
from monitoring_pipeline_tests.deployments import ROWS, Deployment, customers
from monitoring_pipeline_tests.traffic import hour

BROKEN, MENDED, OVER = 6, 18, 68
"""Numbers of the hours in which tenure begins to come in seconds, comes in days again, and is looked at last."""

AFTER = timedelta(minutes=20)
"""How long after its end an hour is judged."""

PEOPLE = {
    "people": {
        "ana": {"name": "Ana Costa", "email": "ana@example.org"},
        "ben": {"name": "Ben Okafor", "email": "ben@example.org"},
        "cho": {"name": "Cho Min-ji", "email": "cho@example.org"},
    },
    "schedules": {"first": {"people": ["ana"]}, "second": {"people": ["ben"]}},
}


def cli(*arguments: str) -> str:
    """Return what a command that succeeds prints."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def pass_hours(deployment: Deployment, first: int, last: int, *, at_once: bool = False) -> None:
    """Serve and label the hours numbered `first` to `last` as they were, and judge each as it ends, or all at once."""
    for number in range(first, last + 1):
        rows = customers([hour(number)])
        if BROKEN <= number < MENDED:
            rows["tenure"] *= 86_400
        deployment.log(rows)
        deployment.label(rows)
        if not at_once or number == last:
            judged = first if at_once else number
            deployment.set_clock(hour(number + 1) + AFTER)
            deployment.compute(judged, number)
            apply_rule_outcomes(deployment.monitoring, deployment.monitor, hour(judged), hour(number + 1))


def told(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the dispatcher says on the console."""
    assert all(run.success for run in deployment.pass_on("outbox"))
    return capsys.readouterr().out


def seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()


@pytest.mark.slow
def test_a_broken_feature_pipeline_is_seen_told_taken_on_mended_and_written_up(
    deployment: Deployment, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    deployment.watch({"rules": None, "on_call": PEOPLE})  # the default rules
    opened, taken = hour(BROKEN + 1) + AFTER, hour(BROKEN + 1) + AFTER + timedelta(minutes=22)

    # Nothing is wrong, and nobody is told.
    pass_hours(deployment, 0, BROKEN - 1)
    assert told(deployment, capsys) == ""
    assert cli("incidents") == "no open incidents\n"

    # The first bad hour is known when it has ended; one message says what happened, to whom, and what to do.
    pass_hours(deployment, BROKEN, BROKEN)
    message = told(deployment, capsys)
    assert message.count("Critical: churn: feature_changed_meaning") == 1
    for part in (
        "tenure",
        "SEV-2, data",
        "Owner: team:churn",
        "email:ana@example.org",
        "Runbook: docs/runbooks/feature-drift.md",
    ):
        assert part in message, part
    identity = re.search(r"Incident: (\S+)", message)
    assert identity is not None
    assert identity[1] == f"churn/feature_changed_meaning@{hour(BROKEN):%Y-%m-%dT%H}Z"

    # A quarter of an hour later nobody has answered: the second on call is told.
    deployment.set_clock(opened + timedelta(minutes=16))
    assert [run.success for run in deployment.pass_on("incidents_waiting")] == [True]
    escalation = told(deployment, capsys)
    assert "not taken on yet" in escalation
    assert "email:ben@example.org" in escalation

    # Ben takes it on, by the beginning of its name, and nobody else is called.
    deployment.set_clock(taken)
    cli("ack", "churn", "--by", "ben", "--text", "looking")
    assert "Taken on by ben" in told(deployment, capsys)
    deployment.set_clock(taken + timedelta(minutes=40))
    assert deployment.pass_on("incidents_waiting") == []

    # More rules fire as their windows fill. They join the incident; it stays one thing, and one message, to look into.
    pass_hours(deployment, BROKEN + 1, MENDED - 1)
    (found,) = json.loads(cli("incidents", "--all", "--format", "json"))
    assert set(found["firing"]) == {"feature_changed_meaning", "feature_drift", "score_drift", "performance_decline"}
    assert told(deployment, capsys) == ""

    # Diagnosis: what is bad, where, since when, and what the rules of today would have done.
    shown = cli("incident", "churn")
    for part in (
        "drift.psi · tenure · 4h",
        "seen after 1:20:00, taken on after 0:22:00",
        "acknowledged",
        "same_columns",
    ):
        assert part in shown, part
    replayed = cli("replay-rules", "--monitor", str(deployment.home / "monitors" / "churn.yaml"))
    assert "feature_changed_meaning" in replayed

    # It is triaged and mitigated, on record in words; a mistake is refused, and says why.
    deployment.set_clock(hour(MENDED) + AFTER)
    cli("triage", "churn", "--by", "ben", "--sev", "2", "--kind", "data", "--text", "tenure comes in seconds")
    cli("mitigate", "churn", "--by", "ben", "--text", "release 41 of the features is undone", "--at", str(hour(MENDED)))
    again = CliRunner().invoke(app, ["ack", "churn", "--by", "cho"])
    assert again.exit_code == 2
    assert "acknowledged by ben" in again.stderr

    # Hours are good again; once all its rules have been quiet for long enough it resolves by itself, and says so.
    pass_hours(deployment, MENDED, OVER, at_once=True)
    assert told(deployment, capsys).count("Resolved: churn: ") == 1
    (over,) = json.loads(cli("incidents", "--all", "--format", "json"))
    assert (over["id"], over["status"]) == (identity[1], "resolved")
    resolved = datetime.fromisoformat(over["resolved_at"])
    assert hour(MENDED + 2) < resolved <= hour(OVER + 1) + AFTER
    assert {name: over[name] for name in over if name.startswith("time_to_")} == {
        "time_to_detect_s": seconds(hour(BROKEN), opened),
        "time_to_acknowledge_s": seconds(opened, taken),
        "time_to_mitigate_s": seconds(opened, hour(MENDED)),
        "time_to_resolve_s": seconds(opened, resolved),
    }

    # The post-mortem tells what is on record, and asks what no record knows.
    page = tmp_path / "post-mortem.md"
    cli("post-mortem", "churn", "--by", "ben", "--output", str(page))
    draft = page.read_text()
    harmed = ROWS * (MENDED - BROKEN)
    for part in (
        f"{harmed} predictions ({harmed} by version 1)",
        "80 min after it began",
        "after 22 min, by ben",
        "escalated",
        "release 41 of the features is undone",
        "| feature_changed_meaning | critical |",
        "It was escalated once.",
        "Keep the rows of",
        "tenure: ",
        f"{QUESTION}who was hurt",
        f"{QUESTION}which check upstream should have stopped it?",
    ):
        assert part in draft, part
    for known in (
        "nobody acknowledged it",
        "no mitigation is on record",
        "it is still open",
        "this system told nobody",
    ):
        assert known not in draft, "what is on record is not asked"
    refused = CliRunner().invoke(app, ["post-mortem", "churn", "--output", str(page)])
    assert (refused.exit_code, page.read_text()) == (2, draft), "what people wrote into it stays"
    assert "post_mortem" in cli("incident", "churn")
