"""The commands for incidents, on a small deployment with a real state database."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.delivery import Claim
from monitoring_pipeline.settings.load import load_monitor
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline.workflow.telling import delivery_rules
from monitoring_pipeline_tests.incidents import ATTACK
from monitoring_pipeline_tests.outcomes import firing, hour, outcome, psi

ROOT = Path(__file__).parents[1]
NOW = hour(1) + timedelta(minutes=10)
DRIFT = "churn/feature_drift@2026-11-20T06Z"
MONITOR: dict[str, Any] = {
    "model": "churn",
    "start": "2026-11-01T00:00Z",
    "features": {"numeric": ["tenure"]},
    "notifications": {"slack": {"channel": "#ml"}, "pagerduty": {}},
}
ACTIONS = {
    "ack": (),
    "triage": ("--sev", "2"),
    "mitigate": ("--text", "rolled back"),
    "note": ("--text", "looking at it"),
    "resolve": (),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "monitors").mkdir()
    watch(tmp_path, MONITOR)
    (tmp_path / "clock").write_text(NOW.isoformat())
    variables = {"HOME": tmp_path, "MONITORS": tmp_path / "monitors", "CLOCK": tmp_path / "clock"}
    for name, value in variables.items():
        monkeypatch.setenv(f"MONITORING_{name}", str(value))
    for name in ("MONITORING_DATABASE_URL", "MONITORING_SERVICES", "MONITORING_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    database(tmp_path).migrate()
    return tmp_path


def watch(home: Path, document: dict[str, Any]) -> None:
    (home / "monitors" / f"{document['model']}.yaml").write_text(json.dumps(document))


def database(home: Path) -> StateDatabase:
    return StateDatabase(f"sqlite:///{home / 'monitoring.db'}")


def happen(home: Path, *outcomes: RuleOutcome) -> None:
    """Apply outcomes of rules as the pipeline does, for the monitor of churn."""
    policies = {each.rule: AlertPolicy() for each in outcomes}
    rules = delivery_rules(load_monitor(home / "monitors" / "churn.yaml"))
    database(home).apply_outcomes(outcomes, now=outcomes[-1].hour, policies=policies, rules=rules)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], terminal_width=200)


def done(*arguments: object) -> Any:
    """Run a command that answers programs, and return its answer."""
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    return json.loads(result.stdout, parse_constant=refuse)


def refused(result: Result, *said: str) -> None:
    """Check that a command ended with a message for the user on stderr, and nothing else."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in said:
        assert part in result.stderr


def told(home: Path, step: str) -> list[str]:
    return [each.channel for each in database(home).notifications() if each.message.step == step]


def test_what_nobody_took_on_in_time_is_counted(home: Path) -> None:
    happen(home, firing(0, severity=Level.CRITICAL))
    (home / "clock").write_text((hour(0) + timedelta(minutes=30)).isoformat())
    assert run("incidents").stderr == "", "an hour is allowed"
    (home / "clock").write_text((hour(0) + timedelta(hours=3)).isoformat())
    assert run("incidents").stderr == "SEV-2: 1 not taken on in time\n"
    run("ack", DRIFT, "--by", "ana")
    assert run("incidents").stderr == "SEV-2: 1 not taken on in time\n", "late is late"


def test_the_gravest_open_incident_is_listed_first_and_what_is_over_only_when_asked(home: Path) -> None:
    assert run("incidents").stdout == "no open incidents\n"
    assert run("incidents", "--all").stdout == "no incidents\n"
    happen(home, firing(0), firing(0, model="returns", severity=Level.CRITICAL))
    lines = run("incidents").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["returns/feature_drift@2026-11-20T06Z", "SEV-2", "data"],
        [DRIFT, "SEV-3", "data"],
    ]
    assert "nobody" in lines[1]
    assert [each["id"] for each in done("incidents", "--model", "churn")] == [DRIFT]
    run("resolve", DRIFT, "--by", "ana")
    assert DRIFT not in run("incidents").stdout
    assert [each["status"] for each in done("incidents", "--all")] == ["open", "resolved"]


def test_one_incident_is_shown_with_what_is_bad_and_all_that_happened(home: Path) -> None:
    happen(home, firing(0))
    run("ack", DRIFT, "--by", "ana", "--text", "mine")
    shown = run("incident", DRIFT).stdout
    for part in ("Warning: churn: feature_drift", "drift.psi", "0.41", "started_firing", "acknowledged", "ana", "mine"):
        assert part in shown
    found = done("incident", DRIFT)
    assert (found["acknowledged_by"], found["time_to_acknowledge_s"]) == ("ana", 4200.0)
    assert [line["step"] for line in found["timeline"]] == ["opened", "acknowledged"]


def test_a_person_takes_an_incident_through_its_life_and_every_word_is_on_record(home: Path) -> None:
    happen(home, firing(0))
    assert run("ack", DRIFT, "--by", "ana").stdout == f"incident: {DRIFT}, status: open, sev: 3, severity: warning\n"
    assert done("triage", DRIFT, "--by", "ana", "--sev", "1", "--kind", "model")["sev"] == 1
    done("note", DRIFT, "--by", "ben", "--text", "the source changed a unit")
    done("mitigate", DRIFT, "--by", "ana", "--text", "rolled back to 11")
    assert done("resolve", DRIFT, "--by", "ana")["status"] == "resolved"
    assert done("reopen", DRIFT, "--by", "cho", "--text", "it came back")["status"] == "open"
    steps = [(line["step"], line["author"], line["why"]) for line in done("incident", DRIFT)["timeline"]]
    assert steps[1:] == [
        ("acknowledged", "ana", ""),
        ("triaged", "ana", "SEV-1, model"),
        ("noted", "ben", "the source changed a unit"),
        ("mitigated", "ana", "rolled back to 11"),
        ("resolved", "ana", ""),
        ("reopened", "cho", "it came back"),
    ]
    assert told(home, "acknowledged") == ["console", "slack:#ml"]


def test_a_user_reports_what_no_rule_saw(home: Path) -> None:
    opened = done("report-incident", "churn", "--by", "ana", "--text", "customers call", "--severity", "critical")
    assert opened["incident"].startswith("churn/reported@")
    assert told(home, "opened") == ["console", "pagerduty:PAGERDUTY_ROUTING_KEY", "slack:#ml"]
    assert done("incident", opened["incident"])["reason"] == "customers call"


def test_a_report_is_of_the_registered_model_under_whichever_of_its_names(home: Path) -> None:
    watch(home, MONITOR | {"registered_model": "prod.churn"})
    opened = done("report-incident", "churn", "--by", "ana", "--text", "customers call")
    assert done("incident", opened["incident"])["model"] == "prod.churn", "where its rules and its ladder look for it"


def test_the_beginning_of_an_id_is_enough_where_it_is_clear_which_one_is_meant(home: Path) -> None:
    happen(home, firing(0), firing(0, model="returns"), firing(0, rule="other", model="returns2"))
    assert done("ack", "churn", "--by", "ana")["incident"] == DRIFT
    several = run("ack", "returns", "--by", "ana")
    names = "returns/feature_drift@2026-11-20T06Z, returns2/other@2026-11-20T06Z"
    refused(several, f"'returns' could be any of {names}: write more of it")
    run("resolve", "returns2", "--by", "ana")
    assert done("ack", "returns", "--by", "ana")["incident"].startswith("returns/"), "the only one that is open"
    refused(run("incident", "churm"), "there is no incident 'churm': `monitoring-pipeline incidents --all` lists them")
    refused(run("ack", "", "--by", "ana"), "the incident has no name")


def test_an_id_that_another_one_begins_with_names_itself(home: Path) -> None:
    longer = outcome(48, RuleState.FIRING, rule="feature_drift@2026-11-20T06Z", evidence=(psi(48, column="plan"),))
    happen(home, firing(0), longer)
    assert [each["id"] for each in done("incidents")] == [DRIFT, f"{DRIFT}@2026-11-22T06Z"]
    assert done("incident", DRIFT)["id"] == DRIFT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("triage", DRIFT), "triage: fields: found neither sev nor kind, needed at least one of them"),
        (("triage", DRIFT, "--kind", "weather"), "kind: found 'weather', needed one of system, data, model"),
        (("triage", DRIFT, "--sev", "5"), "--sev"),
        (("reopen", DRIFT), f"{DRIFT} is open: reopen does not apply to it"),
        (("note", DRIFT, "--text", " "), "note: text: found only blanks, needed words"),
        (("note", DRIFT, "--text", "a" * 501), "text: found 501 characters, needed at most 500"),
        (("note", DRIFT), "--text"),
        (("report-incident", "churm", "--text", "x"), "no monitor watches 'churm': those that exist watch churn"),
        (("report-incident", "churn", "--text", "x", "--severity", "bad"), "needed one of warning, critical"),
        (("silence", "modell=churn", "--until", "2h", "--text", "x"), "modell"),
        (("silence", "model=churn", "--until", "soon", "--text", "x"), "until: "),
        (("silence", "model=churn", "--until", "2020-01-01T00:00Z", "--text", "x"), "silence: "),
        (("unsilence", "5ac0"), "there is no silence '5ac0' that holds"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_is_needed(home: Path, arguments: Sequence[str], said: str) -> None:
    happen(home, firing(0))
    refused(run(*arguments, "--by", "ana"), said)
    assert [line["step"] for line in done("incident", DRIFT)["timeline"]] == ["opened"], "nothing of it is on record"


def test_who_has_been_taken_on_is_named_to_whoever_comes_second(home: Path) -> None:
    happen(home, firing(0))
    run("ack", DRIFT, "--by", "ana")
    refused(run("ack", DRIFT, "--by", "ben"), f"{DRIFT} was acknowledged by ana at 2026-11-20 07:10Z")


def test_who_does_it_is_who_is_logged_in_unless_they_say_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happen(home, firing(0))
    monkeypatch.setenv("LOGNAME", "dita")
    run("note", DRIFT, "--text", "here")
    assert done("incident", DRIFT)["timeline"][-1]["author"] == "dita"


def test_where_nobody_is_logged_in_they_have_to_say_who_they_are(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happen(home, firing(0))
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_294_967_000)  # as in a container whose user has no name
    refused(run("note", DRIFT, "--text", "here"), "say who you are", "--by")
    assert run("note", DRIFT, "--text", "here", "--by", "ana").exit_code == 0


def test_a_silence_is_made_listed_and_ended_early(home: Path) -> None:
    assert run("silences").stdout == "no silences\n"
    made = done("silence", "model=churn, rule=~drift.*", "--until", "2h", "--by", "ana", "--text", "a migration")
    assert made["until"] == (NOW + timedelta(hours=2)).isoformat()
    shown = run("silences").stdout
    for part in (made["silence"], 'model="churn", rule=~"drift.*"', "2026-11-20 09:10Z", "ana", "a migration"):
        assert part in shown
    assert [each["silence"] for each in done("silences")] == [made["silence"]]
    assert run("unsilence", made["silence"], "--by", "ana").exit_code == 0
    assert done("silences") == []
    refused(run("unsilence", made["silence"], "--by", "ana"), "that holds")


def test_a_silenced_incident_is_listed_and_says_who_silenced_it(home: Path) -> None:
    run("silence", "model=churn", "--until", "2h", "--by", "ana", "--text", "a migration")
    (home / "clock").write_text((NOW + timedelta(hours=1)).isoformat())
    happen(home, firing(2))
    assert told(home, "opened") == []
    held = "churn/feature_drift@2026-11-20T08Z"
    assert "silenced by ana until 2026-11-20 09:10Z: a migration" in run("incident", held).stdout
    assert held in run("incidents").stdout


def give_up(home: Path) -> Claim:
    """Have the message for Slack given up."""
    claim = database(home).claim("slack:#ml", now=NOW, lease=timedelta(minutes=2), worker="test")
    assert claim is not None
    assert database(home).mark_dead(claim, now=NOW, error="slack: \x1b[2Jinvalid_auth", outcome_unknown=False)
    return claim


def test_the_outbox_shows_what_waits_and_what_was_given_up_and_revives_it(home: Path) -> None:
    assert run("outbox").stdout == "nothing waits, nothing was given up\n"
    happen(home, firing(0))
    give_up(home)
    shown = run("outbox").stdout
    assert [line.split()[:3] for line in shown.splitlines()[1:]] == [
        ["console", "pending", "0"],
        ["slack:#ml", "dead", "1"],
    ]
    assert {each["channel"]: each["status"] for each in done("outbox")} == {"console": "pending", "slack:#ml": "dead"}
    revived = run("outbox", "--revive")
    assert revived.stdout.startswith("1 message(s) are on their way again\n")
    assert {each.status for each in database(home).notifications()} == {Posted.PENDING}
    assert done("outbox", "--revive")[0]["status"] == "pending", "for a program the count goes to stderr"


def test_what_comes_from_data_neither_steers_a_terminal_nor_forges_markup(home: Path) -> None:
    hostile = f"[red]{ATTACK}[/red]\x1b[2J\x07\u202e"
    happen(home, replace(outcome(0, RuleState.FIRING, evidence=(psi(0, column=hostile),)), reason=hostile))
    run("note", DRIFT, "--by", "[bold]eve", "--text", f"[link=x]{ATTACK}")
    run("silence", "column=[red]", "--until", "1h", "--by", "[b]eve", "--text", "[/b] over")
    give_up(home)
    for arguments in (("incidents",), ("incident", DRIFT), ("silences",), ("outbox",)):
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        assert not {"\x1b", "\x07", "\u202e"} & set(result.stdout)
    assert "[red]" in run("incidents").stdout
    assert "[bold]eve" in run("incident", DRIFT).stdout
    assert "[/b] over" in run("silences").stdout
    assert done("incident", DRIFT)["reason"] == hostile, "a program gets it as it is"


def test_an_incident_of_a_model_without_monitor_can_be_taken_on_and_the_console_hears_it(home: Path) -> None:
    happen(home, firing(0, model="gone"))
    assert done("ack", "gone", "--by", "ana")["status"] == "open"
    assert told(home, "acknowledged") == ["console", "slack:#ml"], "and whoever was told that it began"


def test_an_incident_is_found_by_its_id_as_it_is_and_as_it_is_shown_whatever_characters_it_holds(home: Path) -> None:
    name = "go\u200bne  \x1b[2Jé"
    happen(home, firing(0, model=name))
    (whole,) = (each["id"] for each in done("incidents"))
    shown = run("incidents").stdout
    for named in (whole, "go\\u200bne", "go ne [2Jé/feature_drift", name):
        assert done("note", named, "--by", "ana", "--text", f"as {named}")["incident"] == whole
    assert "go\\u200bne" in shown
    assert "\x1b" not in run("ack", whole, "--by", "ana").stdout
    assert done("incident", whole)["acknowledged_by"] == "ana"
    assert done("silence", f'model="{name}"', "--until", "1h", "--text", "known")["matchers"] == [f'model="{name}"']


def test_who_takes_on_a_service_that_is_down_is_told_where_the_services_file_says(home: Path) -> None:
    (home / "services.yaml").write_text(json.dumps({"notifications": {"slack": {"channel": "#ops"}}}))
    happen(home, firing(0, rule="health_database", model="deployment"))
    assert run("ack", "deployment", "--by", "ana").exit_code == 0
    assert told(home, "acknowledged") == ["console", "slack:#ops", "slack:#ml"], "and whoever was told that it began"


def test_a_mistake_in_a_file_keeps_nobody_from_taking_an_incident_on(home: Path) -> None:
    happen(home, firing(0))
    (home / "monitors" / "churn.yaml").write_text("model: [\x1b[2J")
    result = run("ack", DRIFT, "--by", "ana")
    assert result.exit_code == 0
    assert "churn.yaml" in result.stderr
    assert "Until that is corrected only the console hears of it." in result.stderr
    assert "\x1b" not in result.stderr
    assert database(home).incident(DRIFT).acknowledged_by == "ana"
    refused(run("report-incident", "churn", "--by", "ana", "--text", "x"), "churn.yaml")


@pytest.mark.parametrize("command", ["incidents", "silences", "outbox"])
def test_a_database_that_is_not_there_yet_is_an_error_that_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("MONITORING_HOME", str(home / "nowhere"))
    refused(run(command), "state database sqlite:///", "Check that it is reachable and that its tables are migrated.")


def test_a_post_mortem_is_printed_or_written_and_the_writing_is_on_record(home: Path) -> None:
    happen(home, firing(0))
    assert DRIFT in run("post-mortem", DRIFT, "--by", "ana").stdout
    assert done("incident", DRIFT)["timeline"][-1]["step"] == "opened"
    result = run("post-mortem", DRIFT, "--by", "ana", "--output", home / "draft.md")
    assert result.exit_code == 0, result.output
    assert DRIFT in (home / "draft.md").read_text()
    assert done("incident", DRIFT)["timeline"][-1]["step"] == "post_mortem"


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (None, "environment: MONITORING_WEBHOOK_SECRET: is not set. Make one: echo whsec_"),
        ("hunter2", "environment: MONITORING_WEBHOOK_SECRET: cannot be used. a signing secret is whsec_"),
    ],
)
def test_a_webhook_without_a_good_secret_does_not_start(
    home: Path, monkeypatch: pytest.MonkeyPatch, secret: str | None, said: str
) -> None:
    if secret is not None:
        monkeypatch.setenv("MONITORING_WEBHOOK_SECRET", secret)
    result = run("incident-webhook", "--port", "1")
    refused(result, said)
    assert "hunter2" not in result.stderr


def test_check_config_warns_of_too_few_people_and_of_levels_without_any(home: Path) -> None:
    people = {name: {"name": name.capitalize(), "email": f"{name}@example.org"} for name in ("ana", "ben")}
    watch(home, MONITOR | {"on_call": {"people": people, "schedules": {"first": {"people": ["ana", "ben"]}}}})
    result = run("check-config")
    assert result.exit_code == 0, "it is a warning, not a mistake"
    assert "  warning: escalation reaches 2 responders (Ana, Ben), 3 are needed to cover nights" in result.stdout
    assert "  warning: escalation: nobody is named for second on call, team lead" in result.stdout


HEAVY = {"dagster", "mlflow", "pandas", "sklearn", "evidently", "skops", "scipy.stats"}


def loaded(commands: Sequence[Sequence[str]]) -> set[str]:
    """Return the heavy libraries that some commands load in a process of their own."""
    code = (
        "import sys\n"
        "from monitoring_pipeline.cli import app\n"
        f"for command in {commands!r}:\n"
        "    app(command, standalone_mode=False)\n"
        f"sys.exit(' '.join({HEAVY!r} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr, ended.stderr
    return set(ended.stderr.split())


def test_incidents_load_no_orchestrator_registry_or_data_frames(home: Path) -> None:
    happen(home, firing(0))
    by = ("--by", "ana")
    actions = [[name, DRIFT, *by, *options] for name, options in ACTIONS.items()]
    reported = ["report-incident", "churn", *by, "--text", "x"]
    silenced = ["silence", "model=churn", "--until", "1h", *by, "--text", "x"]
    shown = [["incidents"], ["incident", DRIFT], ["silences"], ["outbox"]]
    assert loaded([*actions, ["reopen", DRIFT, *by], reported, silenced, *shown]) == set()
    assert database(home).incident(DRIFT).times_reopened == 1, "they did what they say"
    assert loaded([["post-mortem", DRIFT]]) <= {"pandas"}, "it reads the stored hours"


def test_incidents_of_a_model_nobody_watches_are_answered_with_those_there_are(home: Path) -> None:
    watch(home, MONITOR | {"registered_model": "prod.churn"})
    refused(run("incidents", "--model", "chrun"), "no monitor watches 'chrun'", "Did you mean 'churn'?")
    assert run("incidents", "--model", "deployment").stdout == "no open incidents\n"
    opened = done("report-incident", "churn", "--by", "ana", "--text", "customers call")
    assert [each["id"] for each in done("incidents", "--model", "churn")] == [opened["incident"]]
