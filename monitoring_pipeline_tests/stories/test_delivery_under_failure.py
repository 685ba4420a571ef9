"""Slack, PagerDuty, a mail server and a webhook fail in every way there is: nothing is lost, and nobody is flooded."""

import io
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from monitoring_pipeline.judge.rules import RuleOutcome
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.channels import http
from monitoring_pipeline.notify.delivery import DeliveryPolicy, DeliveryReport, Outcome, deliver_pending
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.settings.channels import Channels, make_channels
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.outbox_store import Notification, Posted
from monitoring_pipeline_tests.outcomes import firing, hour, quiet
from monitoring_pipeline_tests.sinks import (
    CUT,
    HANG,
    Answer,
    Behaviour,
    Cut,
    Hang,
    HttpSink,
    SmtpSink,
    http_sink,
    like_pagerduty,
    like_slack,
    ok,
    smtp_sink,
)

SECRETS = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "PAGERDUTY_ROUTING_KEY": "k" * 32,
    "MONITORING_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
KINDS = ("slack", "pagerduty", "email", "webhook")
HTTP = ("slack", "pagerduty", "webhook")
MINUTE = timedelta(minutes=1)


@dataclass
class Services:
    """Four services on loopback, what reached them, and a deployment that tells them of its incidents."""

    state: StateDatabase
    http: dict[str, HttpSink]
    mail: SmtpSink
    refusal: dict[str, Answer] = field(default_factory=dict)  # what a service answers to everything
    reached: dict[str, float] = field(default_factory=dict)  # when it was last asked
    now: datetime = field(default_factory=lambda: hour(0))
    printed: io.StringIO = field(default_factory=io.StringIO)

    def channels(self) -> Channels:
        return Channels.model_validate(
            {
                "slack": {"channel": "#ml", "base_url": f"{self.http['slack'].url}/api/"},
                "pagerduty": {"url": f"{self.http['pagerduty'].url}/v2/enqueue"},
                "email": {
                    "host": "127.0.0.1",
                    "port": self.mail.port,
                    "security": "none",
                    "sender": "ml@example.com",
                    "recipients": ("oncall@example.com",),
                },
                "webhook": {"url": f"{self.http['webhook'].url}/in"},
            }
        )

    def happen(self, *outcomes: RuleOutcome, to: Sequence[str] = KINDS) -> None:
        targets = self.channels().targets()
        rules = DeliveryRules(lambda _severity: [targets[name] for name in to], per_hour=1000)
        policies = {"feature_drift": AlertPolicy(resolve_after=1)}
        self.state.apply_outcomes(outcomes, now=self.now, policies=policies, rules=rules)

    def deliver(self, policy: DeliveryPolicy | None = None) -> DeliveryReport:
        channels, wanting = make_channels(
            [self.channels()], SECRETS.get, clock=lambda: datetime.now(UTC), stream=self.printed
        )
        assert not wanting
        return deliver_pending(self.state, channels, worker="test", clock=lambda: self.now, policy=policy)

    def go_on_for(self, length: timedelta, *, every: timedelta = MINUTE) -> None:
        """Look for mail every minute, as the daemon does twice, or less often."""
        end = self.now + length
        while self.now < end:
            self.deliver()
            self.now += every

    def notes(self, kind: str) -> list[Notification]:
        return [note for note in self.state.notifications() if note.channel.partition(":")[0] == kind]

    def arrived(self, kind: str) -> list[tuple[str, str]]:
        """Return what reached the readers of a channel, in order: the step, and what tells a repetition."""
        if kind == "email":
            return [(_step(mail.message["Subject"]), mail.message["Message-ID"]) for mail in self.mail.mails]
        taken = self.http[kind].taken
        if kind == "slack":
            posted = [each for each in taken if each.path.endswith("postMessage")]
            posts = [each.json for each in posted if each.behaviour != REFUSALS[kind][0]]
            return [(_step(post["text"]), post["client_msg_id"]) for post in posts]
        if kind == "webhook":
            return [(each.json["type"].removeprefix("incident."), each.headers["Webhook-Id"]) for each in taken]
        events = [each.json for each in taken]
        summaries = [event.get("payload", {}).get("summary", "Resolved:") for event in events]
        return [(_step(said), _step(said) + event["dedup_key"]) for said, event in zip(summaries, events, strict=True)]

    def requests(self, kind: str) -> int:
        """Return how often a service was bothered."""
        if kind == "email":
            return sum(command.upper().startswith("MAIL") for command in self.mail.commands)
        return len(self.http[kind].received)


def _step(title: str) -> str:
    heads = {"Resolved": "resolved", "Critical, worse": "worsened", "Not delivered": "undelivered"}
    return next((step for head, step in heads.items() if title.startswith(head)), "opened")


@pytest.fixture(scope="module")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("empty") / "state.db"
    state = StateDatabase(f"sqlite:///{path}")
    state.migrate()
    state.close()
    return path.read_bytes()


@pytest.fixture
def services(empty_state: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setattr(http, "TIMEOUT_S", 1.5)  # a busy machine answers late, too
    (tmp_path / "state.db").write_bytes(empty_state)
    state = StateDatabase(f"sqlite:///{tmp_path / 'state.db'}")
    refusal: dict[str, Answer] = {}
    reached: dict[str, float] = {}

    def unless_refused(name: str, usually: Callable[[HttpSink, bytes], Answer]) -> Callable[[HttpSink, bytes], Answer]:
        def answer(sink: HttpSink, body: bytes) -> Answer:
            reached[name] = time.monotonic()
            return refusal.get(name) or usually(sink, body)

        return answer

    usual = {"slack": like_slack, "pagerduty": like_pagerduty, "webhook": ok}
    with ExitStack() as stack:
        sinks = {name: stack.enter_context(http_sink(unless_refused(name, each))) for name, each in usual.items()}
        yield Services(state, sinks, stack.enter_context(smtp_sink()), refusal, reached)
    state.close()


def _asking(wish: str) -> Answer:
    return Answer(429, "slow down", {"Retry-After": wish})


PASSING: dict[str, tuple[Behaviour, tuple[str, str], timedelta]] = {
    "full, with seconds": (_asking("600"), ("RCPT", "450 later"), 10 * MINUTE),
    "full, with a date": (_asking("written when it is asked"), ("MAIL", "451 later"), 19 * MINUTE),
    "full, for a century": (_asking("3153600000"), ("RCPT", "452 later"), 60 * MINUTE),
    "full, until yesterday": (_asking("-86400"), ("CONNECT", "421 later"), timedelta(seconds=30)),
    "full, in no known form": (_asking("soon, I hope"), ("DATA", "451 later"), timedelta(seconds=30)),
    "broken": (Answer(500, "oops"), (".", "451 oops"), timedelta(seconds=30)),
    "away": (Answer(503, "restarting"), ("CONNECT", "421 restarting"), timedelta(seconds=30)),
    "hanging": (Hang(), (".", HANG), timedelta(seconds=30)),
    "taken, then reset": (Cut(), (".", CUT), timedelta(seconds=30)),
}
"""How a service fails once, over HTTP and over SMTP, and how long HTTP is left alone after it."""


@pytest.mark.parametrize("failure", PASSING)
def test_a_failure_that_passes_loses_nothing_and_repeats_only_what_may_not_have_arrived(
    services: Services, failure: str
) -> None:
    behaviour, (verb, reply), wait = PASSING[failure]
    if failure == "full, with a date":
        behaviour = _asking(format_datetime(datetime.now(UTC) + 20 * MINUTE, usegmt=True))
    for sink in services.http.values():
        sink.script(behaviour)
    services.mail.script(verb, reply)
    services.happen(firing(0))
    services.deliver()
    for kind in HTTP:
        (note,) = services.notes(kind)
        assert wait <= note.next_attempt_at - services.now <= max(wait * 1.27, timedelta(minutes=1)), kind
    services.happen(firing(1, severity=Level.CRITICAL))
    services.happen(quiet(2))
    services.go_on_for(2 * timedelta(hours=1))

    unknown = failure in ("hanging", "taken, then reset")
    for kind in KINDS:
        notes, arrived = services.notes(kind), services.arrived(kind)
        assert [note.status for note in notes] == [Posted.SENT] * 3, kind
        assert [note.attempts for note in notes] == [2, 1, 1], kind
        assert [note.outcome_unknown for note in notes] == [unknown, False, False], kind
        assert list(dict.fromkeys(step for step, _ in arrived)) == ["opened", "worsened", "resolved"], kind
        assert Counter(step for step, _ in arrived) == {"opened": 1 + unknown, "worsened": 1, "resolved": 1}, kind
        assert len({name for _, name in arrived}) == 3, f"{kind}: a repetition can be told from news"


REFUSALS = {
    "slack": (Answer(200, '{"ok": false, "error": "invalid_auth"}', {"Content-Type": "application/json"}), "email"),
    "pagerduty": (Answer(400, '{"status": "invalid event"}'), "slack"),
    "webhook": (Answer(404, "nothing here"), "slack"),
}
"""What a service answers for good, and who hears of it."""


@pytest.mark.parametrize("status", [None, 400, 401, 404])
@pytest.mark.parametrize("kind", REFUSALS)
def test_what_is_refused_for_good_is_told_elsewhere_and_arrives_once_the_cause_is_gone(
    services: Services, kind: str, status: int | None
) -> None:
    usual, other = REFUSALS[kind]
    services.refusal[kind] = usual if status is None else Answer(status, "no")
    services.happen(firing(0), to=[kind])
    services.go_on_for(timedelta(days=1), every=10 * MINUTE)
    assert services.requests(kind) == 1, "nobody is bothered with what he refused"
    dead, notice = services.state.notifications()
    assert (dead.status, notice.status) == (Posted.DEAD, Posted.SENT)
    assert notice.channel.startswith(other)
    assert [step for step, _ in services.arrived(other)] == ["undelivered"]
    assert "outbox --revive" in notice.message.next_step

    services.refusal.clear()
    assert services.state.revive_dead(now=services.now) == 1
    services.go_on_for(5 * MINUTE)
    assert [step for step, _ in services.arrived(kind)] == ["opened"]
    assert {note.status for note in services.state.notifications()} == {Posted.SENT}


@pytest.mark.parametrize("reply", [("RCPT", "550 no such user"), ("MAIL", "553 not you"), (".", "554 not that")])
def test_mail_that_is_refused_for_good_is_told_of_on_slack(services: Services, reply: tuple[str, str]) -> None:
    services.mail.script(*reply)
    services.happen(firing(0), to=["email"])
    services.go_on_for(timedelta(days=1), every=10 * MINUTE)
    assert services.requests("email") == 1
    assert [step for step, _ in services.arrived("slack")] == ["undelivered"]
    assert services.state.revive_dead(now=services.now) == 1
    services.deliver()
    assert [step for step, _ in services.arrived("email")] == ["opened"]


def test_a_beginning_that_was_refused_is_not_sent_after_the_end(services: Services) -> None:
    services.http["pagerduty"].script(Answer(400, "no"))
    services.happen(firing(0), to=["pagerduty"])
    services.go_on_for(2 * MINUTE)
    services.happen(firing(1, severity=Level.CRITICAL), to=["pagerduty"])
    services.happen(quiet(2), to=["pagerduty"])
    services.go_on_for(2 * MINUTE)
    assert services.state.revive_dead(now=services.now) == 0
    services.go_on_for(2 * MINUTE)
    events = [each.json["event_action"] for each in services.http["pagerduty"].taken]
    assert events == ["trigger", "resolve"], "a trigger after the resolve would page for ever"


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_that_hangs_delays_nobody_elses_mail(
    services: Services, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 2.5)
    if kind == "email":
        services.mail.script("CONNECT", HANG)
    else:
        services.http[kind].script(Hang())
    services.happen(firing(0))
    began = time.monotonic()
    report = services.deliver()
    took = time.monotonic() - began
    assert took >= 2.5
    assert [outcome for _, name, outcome in report.outcomes if not name.startswith(kind)] == [Outcome.SENT] * 3
    others = [services.reached[name] - began for name in HTTP if name != kind]
    assert max(others) < 1.5, "they did not wait for it to time out"
    assert [name for _, name, _ in report.outcomes] == sorted(name for _, name, _ in report.outcomes)


def test_a_server_that_drips_is_left_behind_and_its_mail_arrives_later(services: Services) -> None:
    with dripping_server() as port:
        channels = services.channels()
        services.http["webhook"].url, usual = f"http://127.0.0.1:{port}", services.http["webhook"].url
        services.happen(firing(0))
        began = time.monotonic()
        report = services.deliver(DeliveryPolicy(lease=timedelta(seconds=1)))
        assert time.monotonic() - began < 3
    assert [name.partition(":")[0] for name in report.left_behind] == ["webhook"]
    assert report.count(Outcome.SENT) == 3
    services.http["webhook"].url = usual
    services.now += 3 * MINUTE
    held = report.left_behind[0]
    made, _ = make_channels([channels], SECRETS.get, clock=lambda: datetime.now(UTC), stream=services.printed)
    again = {held: made[channels.targets()["webhook"]]}
    # The first worker may write its own failure before or after the second looks: either way the mail is due once more.
    for _ in range(3):
        deliver_pending(services.state, again, worker="other", clock=lambda: services.now)
        services.now += 3 * MINUTE
    (note,) = services.notes("webhook")
    assert (note.status, note.outcome_unknown) == (Posted.SENT, True)
    assert [step for step, _ in services.arrived("webhook")] == ["opened"]


@contextmanager
def dripping_server() -> Iterator[int]:
    """A server whose answer never ends, a byte at a time: no time-out of a socket sees it."""
    over, listener = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        listener.settimeout(10)
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            while not over.wait(0.1):
                connection.sendall(b"a")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        over.set()
        thread.join()
        listener.close()


def test_a_day_without_slack_is_no_storm_and_all_of_it_arrives_in_the_end(services: Services) -> None:
    services.refusal["slack"] = Answer(500, "oops")
    models = [f"model_{number:02}" for number in range(12)]
    services.happen(*(firing(0, model=name) for name in models))
    per_hour = []
    for _ in range(30):
        before = services.requests("slack")
        services.go_on_for(timedelta(hours=1))
        per_hour.append(services.requests("slack") - before)
    tries = services.requests("slack")
    assert {note.attempts for note in services.notes("slack")} == {30}
    assert tries == 12 * 30, "30 for each, and then no more"
    assert per_hour[-1] == 0
    assert max(per_hour) <= 60, "one request a call, however many wait"
    assert max(per_hour[2:]) <= 2 * len(models), per_hour
    for kind in ("pagerduty", "webhook"):
        assert len(services.arrived(kind)) == 12
        assert services.requests(kind) == 12
    assert Counter(step for step, _ in services.arrived("email")) == {"opened": 12, "undelivered": 12}

    services.happen(*(replace(quiet(9), model=name) for name in models[:4]))
    services.refusal.clear()
    assert services.state.revive_dead(now=services.now) == 12
    services.go_on_for(5 * MINUTE)
    assert {note.status for note in services.state.notifications()} == {Posted.SENT}
    assert Counter(step for step, _ in services.arrived("slack")) == {"opened": 12, "resolved": 4}


def test_an_end_that_was_told_makes_the_beginning_no_news_after_an_outage(services: Services) -> None:
    services.refusal["slack"] = Answer(401, "no")
    services.happen(firing(0), to=["slack"])
    services.go_on_for(2 * MINUTE)
    services.refusal.clear()
    services.happen(quiet(1), to=["slack"])
    services.go_on_for(2 * MINUTE)
    assert services.state.revive_dead(now=services.now) == 0
    assert [step for step, _ in services.arrived("slack")] == ["resolved"]


def test_what_somebody_asked_for_is_given_to_the_whole_channel(services: Services) -> None:
    services.http["slack"].script(_asking("180"))
    services.happen(*(firing(0, model=f"model_{number}") for number in range(8)))
    services.go_on_for(3 * MINUTE)
    assert services.requests("slack") == 1, "seven others wait with the one that was refused"
    assert [services.requests(kind) for kind in ("pagerduty", "email", "webhook")] == [8, 8, 8]
    services.go_on_for(3 * MINUTE)
    assert len(services.arrived("slack")) == 8
