"""Who is told of an incident as time goes by: through the sensor that notices, and the job that tells."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.notify.actions import parse_action
from monitoring_pipeline.notify.alerts import AlertPolicy, Status
from monitoring_pipeline.notify.incidents import Incident
from monitoring_pipeline.notify.messages import Message
from monitoring_pipeline.workflow.alerting import apply_rule_outcomes
from monitoring_pipeline.workflow.telling import carry_out, channel_names, delivery_rules, keep_up_with
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.outcomes import firing, hour, outcome, psi, quiet
from monitoring_pipeline_tests.sinks import smtp_sink

SENSOR = "incidents_waiting"
OPENED_AT = hour(1) + timedelta(minutes=10)
ANA, BEN, CHO, DITA = (f"email:{name}@example.org" for name in ("ana", "ben", "cho", "dita"))
PEOPLE = {name: {"name": name.capitalize(), "email": f"{name}@example.org"} for name in ("ana", "ben", "cho", "dita")}
ON_CALL = {"people": PEOPLE, "schedules": {"first": {"people": ["ana"]}, "second": {"people": ["ben"]}}}
LEVELS: list[dict[str, Any]] = [
    {"after": "0m", "role": "on call", "schedule": "first"},
    {"after": "15m", "role": "second on call", "schedule": "second"},
    {"after": "30m", "role": "team lead", "people": ["cho"]},
    {"after": "60m", "role": "head of engineering", "people": ["dita"]},
]
LADDER: dict[str, Any] = {"on_call": ON_CALL, "escalation": {"levels": LEVELS}}


def critical(number: int, *evidence: Verdict) -> RuleOutcome:
    return outcome(number, RuleState.FIRING, severity=Level.CRITICAL, evidence=evidence or (psi(number),))


def losing(number: int) -> RuleOutcome:
    """Return what a rule on a metric of the business says that is beyond its critical limit."""
    verdict = psi(number)
    return critical(number, replace(verdict, signal=replace(verdict.signal, metric="business.revenue", column="")))


def happen(deployment: Deployment, *outcomes: RuleOutcome, at: datetime | None = None) -> Incident:
    """Have hours judged so, and applied ten minutes after the last of them is over; return the newest incident."""
    for each in outcomes:
        deployment.store.write_rules(MODEL, {each.hour: [each]})
    deployment.set_clock(at or outcomes[-1].hour + HOUR + timedelta(minutes=10))
    apply_rule_outcomes(deployment.monitoring, deployment.monitor, outcomes[0].hour, outcomes[-1].hour + HOUR)
    return deployment.monitoring.database.incidents(MODEL)[-1]


def wait(deployment: Deployment, minutes: float, *, since: datetime = OPENED_AT) -> bool:
    """Let it be so many minutes after the opening, and do what the sensor asks for; whether it asked for anything."""
    deployment.set_clock(since + timedelta(minutes=minutes))
    runs = deployment.pass_on(SENSOR)
    assert all(run.success for run in runs)
    return bool(runs)


def act(deployment: Deployment, kind: str, minutes: float = 5, **said: Any) -> None:
    """Do something with the newest incident, so many minutes after the opening."""
    database, now = deployment.monitoring.database, OPENED_AT + timedelta(minutes=minutes)
    said = {"kind": kind, "author": "ana", **said}
    if kind not in ("silence", "unsilence", "open"):
        said["incident_id"] = database.incidents(MODEL)[-1].id
    carry_out(database, deployment.monitors, parse_action(said, now=now))


def messages(deployment: Deployment, channel: str = "console") -> list[Message]:
    return [each.message for each in deployment.monitoring.database.notifications() if each.channel == channel]


def steps(deployment: Deployment, channel: str = "console") -> list[tuple[str, tuple[str, ...]]]:
    return [(message.step, message.to) for message in messages(deployment, channel)]


def timeline(deployment: Deployment, step: str) -> list[str]:
    database = deployment.monitoring.database
    return [event.why for event in database.incident_events(database.incidents(MODEL)[-1].id) if event.step == step]


def test_an_hour_in_which_nobody_answers_tells_each_level_once_at_its_time(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, critical(0))
    asked = [minute for minute in range(0, 95, 5) if wait(deployment, minute)]
    assert asked == [15, 30, 60]
    assert steps(deployment) == [
        ("opened", (ANA,)),
        ("escalated", (BEN,)),
        ("escalated", (CHO,)),
        ("escalated", (DITA,)),
    ]
    assert timeline(deployment, "escalated") == [
        "level 2, second on call: nobody has acknowledged it for 15 min",
        "level 3, team lead: nobody has acknowledged it for 30 min",
        "level 4, head of engineering: nobody has acknowledged it for 1 h",
    ]


def test_an_incident_taken_on_calls_nobody_else(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, critical(0))
    assert wait(deployment, 16)
    act(deployment, "acknowledge", 20)
    assert not any(wait(deployment, minute) for minute in (30, 45, 60, 75))
    assert [step for step, _ in steps(deployment)] == ["opened", "escalated", "acknowledged"]


def test_a_warning_calls_nobody_and_one_that_grows_worse_begins_with_who_is_on_call(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, firing(0))
    assert not any(wait(deployment, minute) for minute in (0, 60, 300))
    happen(deployment, firing(0), critical(10))
    worse = OPENED_AT + 10 * HOUR
    asked = [minute for minute in (0, 5, 15, 30) if wait(deployment, minute, since=worse)]
    assert asked[-2:] == [15, 30], "counted from the moment it was worth calling somebody"
    found = steps(deployment)
    assert [to for _, to in found if to] == [(ANA,), (BEN,), (CHO,)]
    assert [step for step, _ in found[:2]] == ["opened", "worsened"]


def test_a_person_who_calls_it_grave_has_it_climb_from_then_on(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, firing(0))
    act(deployment, "triage", 120, fields={"sev": 1})
    assert [minute for minute in (120, 125, 135) if wait(deployment, minute)] == [120, 135]
    assert [to for _, to in steps(deployment)] == [(), (ANA,), (BEN,)]


def test_what_goes_on_an_hour_after_it_was_taken_on_goes_one_level_up_once(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, critical(0))
    act(deployment, "acknowledge")
    happen(deployment, critical(1))
    asked = [minute for minute in (55, 64, 65, 70, 120) if wait(deployment, minute)]
    assert asked == [65]
    assert steps(deployment)[-1] == ("escalated", (BEN,))
    assert timeline(deployment, "escalated") == [
        "level 2, second on call: still breaching 1 h after it was acknowledged"
    ]


def test_what_is_quiet_since_it_was_taken_on_goes_nowhere(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, critical(0))
    act(deployment, "acknowledge")
    happen(deployment, critical(0), quiet(1))
    assert not any(wait(deployment, minute) for minute in (65, 120))


def test_a_mitigation_that_does_not_help_goes_one_level_up(deployment: Deployment) -> None:
    deployment.watch(LADDER)

    def still(number: int) -> RuleOutcome:
        verdict = psi(number)
        return critical(number, replace(verdict, signal=replace(verdict.signal, window_start=hour(number))))

    happen(deployment, still(0))
    act(deployment, "acknowledge")
    act(deployment, "mitigate", 6, text="rolled back")
    happen(deployment, still(1))
    assert not wait(deployment, 66), "that hour began before the mitigation"
    happen(deployment, still(2))
    assert wait(deployment, 121)
    assert timeline(deployment, "escalated") == [
        "level 2, second on call: still breaching 1 h 55 min after it was mitigated"
    ]


def test_a_loss_of_the_business_calls_the_team_lead_beside_who_is_on_call(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, losing(0))
    assert [minute for minute in (0, 15, 30, 60) if wait(deployment, minute)] == [60]
    assert steps(deployment) == [("opened", (ANA, CHO)), ("escalated", (DITA,))]


def test_a_loss_that_shows_later_calls_the_team_lead_then(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, critical(0))
    act(deployment, "acknowledge")
    happen(deployment, losing(1))
    assert wait(deployment, 61)
    assert steps(deployment)[-1] == ("escalated", (CHO,))


def test_an_incident_that_comes_back_asks_from_the_start(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, critical(0))
    act(deployment, "acknowledge")
    happen(deployment, critical(0), quiet(1), quiet(2))
    assert deployment.monitoring.database.incidents(MODEL)[-1].status is Status.RESOLVED
    incident = happen(deployment, critical(15))
    assert (incident.times_reopened, incident.acknowledged_at) == (1, None)
    again = OPENED_AT + 15 * HOUR
    assert [minute for minute in (0, 14, 15) if wait(deployment, minute, since=again)] == [15]
    assert [entry for entry in steps(deployment) if entry[1]] == [
        ("opened", (ANA,)),
        ("reopened", (ANA,)),
        ("escalated", (BEN,)),
    ]


def test_a_silenced_incident_is_left_alone_until_the_silence_ends(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, critical(0))
    act(deployment, "silence", text="a migration", fields={"matchers": f"model={MODEL}", "until": "40m"})
    assert [minute for minute in (15, 30, 44, 46) if wait(deployment, minute)] == [46]
    assert steps(deployment) == [("opened", (ANA,)), ("escalated", (CHO,))]
    assert timeline(deployment, "escalated") == [
        "level 3, team lead: nobody has acknowledged it for 46 min; levels passed: 2"
    ]


def test_what_a_silence_held_back_is_told_when_it_ends_to_who_is_on_call_then(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    act(deployment, "silence", -30, text="a migration", fields={"matchers": f"model={MODEL}", "until": "1h"})
    happen(deployment, critical(0))
    assert messages(deployment) == []
    assert timeline(deployment, "withheld")[0].startswith("opened: silenced by ana")
    assert [minute for minute in (0, 29, 30, 35, 45) if wait(deployment, minute)] == [30, 45]
    assert steps(deployment) == [("opened", (ANA,)), ("escalated", (BEN,))]


def test_after_an_outage_of_the_daemon_the_highest_level_that_has_somebody_is_told(deployment: Deployment) -> None:
    deployment.watch({"on_call": ON_CALL})  # four levels, of which two have somebody
    happen(deployment, critical(0))
    assert wait(deployment, 70)
    assert steps(deployment) == [("opened", (ANA,)), ("escalated", (BEN,))]
    assert not wait(deployment, 75)


def test_with_nobody_on_call_nothing_climbs(deployment: Deployment) -> None:
    happen(deployment, losing(0))
    assert not any(wait(deployment, minute) for minute in range(0, 125, 20))
    assert steps(deployment) == [("opened", ())]


PAGER: dict[str, Any] = {"pagerduty": {}}
ON_PAGER = "pagerduty:PAGERDUTY_ROUTING_KEY"


def test_a_pager_takes_over_with_the_announcement(deployment: Deployment) -> None:
    deployment.watch(LADDER | {"notifications": PAGER})
    happen(deployment, critical(0))
    assert not any(wait(deployment, minute) for minute in (0, 15, 30, 60))
    assert steps(deployment, ON_PAGER) == steps(deployment) == [("opened", ())]


def test_a_pager_that_no_route_leads_to_is_handed_what_climbs(deployment: Deployment) -> None:
    deployment.watch(LADDER | {"notifications": PAGER | {"routes": {"critical": ["console"]}}})
    happen(deployment, critical(0))
    assert steps(deployment, ON_PAGER) == []
    assert [minute for minute in (0, 1, 15, 30, 60) if wait(deployment, minute)] == [0]
    assert steps(deployment, ON_PAGER) == [("escalated", ())]
    assert steps(deployment) == [("opened", ())]


def test_a_pager_hears_of_a_loss_and_the_team_lead_too(deployment: Deployment) -> None:
    deployment.watch(LADDER | {"notifications": PAGER})
    happen(deployment, losing(0))
    assert CHO in messages(deployment, ON_PAGER)[0].to


def test_a_first_level_with_a_channel_of_its_own_is_told_there(deployment: Deployment) -> None:
    own = [LEVELS[0] | {"channels": ["slack"]}, *LEVELS[1:]]
    routes: dict[str, Any] = {"slack": {"channel": "#calls"}, "routes": {"critical": ["console"]}}
    deployment.watch(LADDER | {"escalation": {"levels": own}, "notifications": routes})
    happen(deployment, critical(0))
    assert [minute for minute in (0, 1, 15) if wait(deployment, minute)] == [0, 15]
    assert steps(deployment, "slack:#calls") == [("escalated", (ANA,))]
    assert steps(deployment) == [("opened", (ANA,)), ("escalated", (BEN,))]


def test_whoever_an_escalation_told_hears_who_took_it_on_and_when_it_is_over(deployment: Deployment) -> None:
    deployment.watch(LADDER | {"notifications": PAGER | {"routes": {"critical": ["console"]}}})
    happen(deployment, critical(0))
    wait(deployment, 0)
    act(deployment, "acknowledge")
    happen(deployment, critical(0), quiet(1), quiet(2))
    assert [step for step, _ in steps(deployment, ON_PAGER)] == ["escalated", "acknowledged", "resolved"]
    assert [step for step, _ in steps(deployment)] == ["opened", "acknowledged", "resolved"]


def test_a_channel_that_heard_of_the_warning_hears_the_end_of_what_it_became(deployment: Deployment) -> None:
    routes = {"warning": ["slack"], "critical": ["console"]}
    deployment.watch({"notifications": {"slack": {"channel": "#ml"}, "routes": routes}})
    happen(deployment, firing(0), at=OPENED_AT)
    happen(deployment, firing(0), critical(1))
    happen(deployment, quiet(2), quiet(3))
    assert [step for step, _ in steps(deployment, "slack:#ml")] == ["opened", "resolved"]
    assert [step for step, _ in steps(deployment)] == ["worsened", "resolved"]


def test_what_grows_worse_names_who_is_on_call_at_once(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, firing(0))
    happen(deployment, firing(0), critical(1))
    assert steps(deployment) == [("opened", ()), ("worsened", (ANA,))]
    assert not wait(deployment, 61)


def test_two_jobs_at_once_tell_a_level_once(deployment: Deployment) -> None:
    deployment.watch(LADDER)
    happen(deployment, critical(0))
    now = OPENED_AT + timedelta(minutes=15)
    deployment.set_clock(now)
    found = deployment.tick(SENSOR)
    assert found.run_requests[0].tags["models"] == MODEL
    assert len(keep_up_with(deployment.monitoring.database, deployment.monitor, now=now)) == 1
    assert deployment.start(SENSOR, found)[0].success
    assert [step for step, _ in steps(deployment)] == ["opened", "escalated"]


def test_history_calls_nobody_until_it_is_the_present(deployment: Deployment) -> None:
    deployment.watch(LADDER | {"notifications": {"late_after": "6h"}})
    happen(deployment, critical(0), at=hour(8))
    assert timeline(deployment, "withheld") == ["opened: history: it was evaluated 8:00:00 after it happened"]
    assert not any(wait(deployment, minute, since=hour(8)) for minute in (0, 15, 60))
    assert messages(deployment) == []
    happen(deployment, critical(0), critical(8))
    assert [step for step, _ in steps(deployment)] == ["opened"]


def test_an_incident_for_which_there_is_no_channel_keeps_nothing_running(deployment: Deployment) -> None:
    deployment.watch({"notifications": {"routes": {"warning": []}}})
    happen(deployment, firing(0))
    assert deployment.tick(SENSOR).skip_message == "nobody waits for an answer"


def test_monitors_wait_for_answers_on_their_own(deployment: Deployment) -> None:
    deployment.watch(LADDER, {"model": "returns"})
    happen(deployment, critical(0))
    deployment.set_clock(OPENED_AT + timedelta(minutes=20))
    (request,) = deployment.tick(SENSOR).run_requests
    assert request.tags["models"] == MODEL


def test_a_digest_is_one_mail_in_the_morning(deployment: Deployment) -> None:
    with smtp_sink() as server:
        mail = {"host": "127.0.0.1", "port": server.port, "security": "none", "sender": "ml@example.org"}
        deployment.watch({"notifications": {"email": mail | {"recipients": ["team@example.org"]}}})
        names = channel_names(deployment.monitor.notifications, "info")
        assert names == ["console", "digest:email:team@example.org"]
        deployment.monitoring.database.apply_outcomes(
            [firing(0), firing(0, model="returns")],
            now=hour(1),
            policies={"feature_drift": AlertPolicy()},
            rules=replace(delivery_rules(deployment.monitor), channels_for=lambda _severity: names),
        )
        deployment.set_clock(hour(1) + timedelta(minutes=59))
        assert deployment.tick("outbox").run_requests[0].tags["channels"] == "console"
        deployment.pass_on("outbox")
        assert server.mails == []
        deployment.set_clock(hour(2))
        assert deployment.pass_on("outbox")[0].success
        (digest,) = server.mails
        assert digest.part("plain").count("feature_drift") >= 2
        assert "returns" in digest.part("plain")
        assert deployment.tick("outbox").skip_message == "nothing due"
