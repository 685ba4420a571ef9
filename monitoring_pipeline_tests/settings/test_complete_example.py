"""One file that says everything about alerts: it is understood, and each mistake in it is told with its line."""

from datetime import timedelta
from pathlib import Path

import pytest

from monitoring_pipeline.errors import Problem, SettingsError
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.settings.channels import CHANNEL_NAMES
from monitoring_pipeline.settings.load import load_monitor
from monitoring_pipeline.settings.monitor import Monitor

EXAMPLE = Path(__file__).with_name("complete.yaml")
TEXT = EXAMPLE.read_text()


@pytest.fixture(scope="module")
def monitor() -> Monitor:
    return load_monitor(EXAMPLE)


def test_every_channel_is_there_and_hears_of_what_the_routes_say(monitor: Monitor) -> None:
    asked = monitor.notifications
    assert set(asked.targets()) == set(CHANNEL_NAMES)
    assert asked.routing().channels_for("critical") == ["console", "slack", "pagerduty", "email"]
    assert (asked.late_after, asked.per_hour, asked.digest_hour) == (timedelta(hours=12), 10, 7)


def test_rules_wait_and_end_as_they_are_told_to(monitor: Monitor) -> None:
    drift, accuracy, burns = monitor.alert_rules()
    assert (drift.resolve_after, drift.cooldown, drift.critical_cooldown) == (
        4,
        timedelta(hours=12),
        timedelta(hours=4),
    )
    assert (drift.owner, accuracy.owner) == ("team:data", "team:churn")
    assert [level for level, _ in accuracy.bands] == [Level.CRITICAL, Level.WARNING]
    assert [level for level, _ in burns.bands] == [Level.CRITICAL]


def test_the_ladder_names_people_and_channels_and_keeps_what_it_has_from_the_pager(monitor: Monitor) -> None:
    ladder = monitor.ladder()
    assert (ladder.sev, ladder.handed_to, ladder.business_level) == (2, "", 2)
    assert ladder.mitigated_within == timedelta(minutes=30)
    assert [(level.role, level.channels) for level in ladder.levels] == [
        ("on call", ()),
        ("team lead", ("slack", "email")),
    ]
    assert ladder.targets == {1: timedelta(minutes=10), 2: timedelta(hours=2), 3: timedelta(hours=24)}


def test_incidents_are_grouped_by_the_sources_that_are_named(monitor: Monitor) -> None:
    policy = monitor.incidents.policy()
    assert (policy.same_onset, policy.reopen_within) == (timedelta(hours=12), timedelta(hours=6))
    assert policy.sources == {"charges": "billing", "plan": "billing"}


def test_all_that_is_promised_can_be_told_from_the_log(monitor: Monitor) -> None:
    promised = {each.name: each.target for each in monitor.objectives_policy().objectives}
    assert promised == {
        "availability": 0.999,
        "latency_p99": 0.99,
        "fallback": 0.98,
        "freshness": 0.99,
        "model_age": 0.99,
        "performance": 0.99,
        "fairness": 0.9,
    }


@pytest.mark.parametrize(
    ("right", "wrong", "where", "words"),
    [
        ("cooldown: {warning: 12h", "cooldown: {warning: soon", "rules[0].cooldown.warning", "15m, 24h, 7d"),
        ("of: 4", "of: 2", "rules[0].for", "2 evaluations never hold 3 breaches: ask for fewer"),
        ("critical: [console, slack", "critical: [console, slck", "notifications.routes.critical[1]", "'slack'"),
        ("late_after: 12h", "late_aftr: 12h", "notifications.late_aftr", "Did you mean 'late_after'?"),
        ("digest_hour: 7", "digest_hour: 24", "notifications.digest_hour", "less than or equal to 23"),
        ("user: ml}", "user: ml, security: none}", "notifications.email", "set security to starttls or tls"),
        ("https://hooks", "http://hooks", "notifications.webhook.url", "An address starts with https://"),
        ("MONITORING_WEBHOOK_SECRET", "whsec_MfKQ9r", "notifications.webhook.secret_env", "revoke the secret"),
        ("same_onset: 12h", "same_onset: 12", "incidents.same_onset", "A duration is a whole number"),
        ("email: ana@example.org, ", "email: ana, ", "on_call.people.ana.email", "such as ana@example.org"),
        ("ben, cho]", "ben, choo]", "on_call.schedules.first.people[2]", "Did you mean 'cho'?"),
        ("{person: cho", "{person: ch0", "on_call.schedules.first.overrides[0].person", "Did you mean 'cho'?"),
        ("Europe/Lisbon", "Europe/Lisboa", "on_call.schedules.first.time_zone", "write one such as Europe/Lisbon"),
        ("schedule: first", "schedule: frist", "escalation.levels[0].schedule", "Did you mean 'first'?"),
        ("lead, people: [cho]", "lead, people: [dita]", "escalation.levels[1].people[0]", "Known here: ana, ben, cho."),
        ("slack, email]}", "slack, pager]}", "escalation.levels[1].channels[1]", "Did you mean 'pagerduty'?"),
        ("business_level: 2", "business_level: 0", "escalation.business_level", "greater than or equal to 1"),
        ("0.999}", "1}", "objectives.availability.target", "less than 1"),
        ("stage: total", "stage: whole", "objectives.latency_p99.stage", "Known here: model, total."),
        ("metric: accuracy}", "metric: acuracy}", "objectives.performance.metric", "Did you mean 'accuracy'?"),
    ],
)
def test_a_mistake_is_told_with_its_place_its_line_and_what_to_do(
    tmp_path: Path, right: str, wrong: str, where: str, words: str
) -> None:
    assert TEXT.count(right) == 1
    found = problems(tmp_path, TEXT.replace(right, wrong))
    line = TEXT[: TEXT.index(right)].count("\n") + 1
    assert {(problem.line, problem.where) for problem in found} == {(line, where)}
    assert any(words in problem.fix for problem in found)


def test_levels_out_of_order_are_told_at_the_ladder(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, TEXT.replace("after: 20m", "after: 0m"))
    assert (problem.line, problem.where) == (TEXT[: TEXT.index("escalation:")].count("\n") + 1, "escalation")
    assert "put them in order of `after`" in problem.fix


@pytest.mark.parametrize(
    ("without", "name", "fix"),
    [
        ("  status: status\n", "availability", "in columns.status"),
        ("  served_by: served_by\n", "fallback", "in columns.served_by"),
        ("fairness: {attributes: [plan]}\n", "fairness", "in fairness.attributes"),
    ],
)
def test_a_promise_that_nothing_measures_is_told_with_what_to_log(
    tmp_path: Path, without: str, name: str, fix: str
) -> None:
    assert TEXT.count(without) == 1
    text = TEXT.replace(without, "")
    (problem,) = problems(tmp_path, text)
    assert (problem.where, problem.message) == (f"objectives.{name}", "is promised, and nothing measures it.")
    assert text.splitlines()[(problem.line or 0) - 1].startswith(f"  {name}:")
    assert fix in problem.fix


def problems(directory: Path, text: str) -> tuple[Problem, ...]:
    path = directory / "churn.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_monitor(path)
    return caught.value.problems
