import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.judge.rules import RuleOutcome
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.delivery import Claim, DeliveryPolicy, DeliveryReport, Outcome, deliver_pending
from monitoring_pipeline.notify.messages import Message
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.outbox_store import Notification, Posted
from monitoring_pipeline_tests.outcomes import firing, hour, quiet

POLICY = DeliveryPolicy(lease=timedelta(minutes=2), per_channel=20, max_attempts=4)
NOW = hour(0)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Wire:
    """A channel that keeps what reached its readers, and may do something before or after."""

    name = "slack"

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.threads: list[str | None] = []
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def send(self, message: Message, *, dedup_key: str, thread: str | None = None) -> str | None:
        self.before()
        self.arrived.append(dedup_key)
        self.threads.append(thread)
        self.after()
        return f"post {len(self.arrived)}"


class Mail(Wire):
    """A channel that is read once a day."""

    name = "slack"

    def __init__(self) -> None:
        super().__init__()
        self.digests: list[list[str]] = []

    def send_digest(self, messages: Sequence[Message], *, dedup_key: str) -> None:
        self.before()
        self.arrived.append(dedup_key)
        self.digests.append([message.step for message in messages])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wire() -> Wire:
    return Wire()


def happen(state: StateDatabase, *outcomes: RuleOutcome, channels: tuple[str, ...] = ("slack",)) -> None:
    policies = {"feature_drift": AlertPolicy(resolve_after=1)}
    rules = DeliveryRules(lambda _severity: channels, late_after=timedelta(days=30), per_hour=1000)
    state.apply_outcomes(outcomes, now=NOW, policies=policies, rules=rules)


def fill(state: StateDatabase, *, models: int = 1) -> None:
    happen(state, *(firing(0, model=f"model_{number:02}") for number in range(models)))


def deliver(state: StateDatabase, wire: Wire, clock: Clock, policy: DeliveryPolicy = POLICY) -> DeliveryReport:
    return deliver_pending(state, {"slack": wire}, worker="test", clock=clock, policy=policy)


def fails(error: BaseException) -> Callable[[], None]:
    def raising() -> None:
        raise error

    return raising


def only(state: StateDatabase) -> Notification:
    (note,) = state.notifications()
    return note


def test_what_is_due_is_sent_once_and_dated(state: StateDatabase, wire: Wire, clock: Clock) -> None:
    fill(state)
    report = deliver(state, wire, clock)
    deliver(state, wire, clock)
    assert report.count(Outcome.SENT) == 1
    assert wire.arrived == ["model_00/feature_drift@2026-11-20T06Z/opened"]
    assert (only(state).status, only(state).sent_at, only(state).attempts) == (Posted.SENT, NOW, 1)
    assert state.incidents()[0].notified_at == NOW


def test_later_evaluations_keep_the_date_of_the_first_notice(state: StateDatabase, wire: Wire, clock: Clock) -> None:
    fill(state)
    deliver(state, wire, clock)
    happen(state, firing(1, model="model_00"))
    assert state.incidents()[0].notified_at == NOW


def test_a_failure_that_passes_is_retried_later_and_not_before(state: StateDatabase, wire: Wire, clock: Clock) -> None:
    fill(state)
    wire.before = fails(DeliveryError("full", retryable=True, retry_after=600))
    assert deliver(state, wire, clock).count(Outcome.RETRY) == 1
    assert only(state).next_attempt_at >= NOW + timedelta(minutes=10)
    wire.before = lambda: None
    clock.now = NOW + timedelta(minutes=9)
    assert deliver(state, wire, clock).outcomes == ()
    clock.now = NOW + timedelta(minutes=13)
    assert deliver(state, wire, clock).count(Outcome.SENT) == 1
    assert only(state).last_error == "full", "what went wrong on the way stays on record"


def test_a_failure_no_retry_can_mend_is_kept_until_somebody_revives_it(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    fill(state)
    wire.before = fails(DeliveryError("invalid_auth", retryable=False))
    assert deliver(state, wire, clock).count(Outcome.DEAD) == 1
    clock.now = hour(48)
    assert deliver(state, wire, clock).outcomes == ()
    wire.before = lambda: None
    assert state.revive_dead(now=clock.now, channel="console") == 0
    assert state.revive_dead(now=clock.now, channel="slack") == 1
    assert deliver(state, wire, clock).count(Outcome.SENT) == 1


def test_after_the_last_attempt_it_is_given_up(state: StateDatabase, wire: Wire, clock: Clock) -> None:
    fill(state)
    wire.before = fails(DeliveryError("down", retryable=True))
    outcomes = []
    for number in range(6):
        clock.now = hour(number * 24)
        outcomes += [outcome for _, _, outcome in deliver(state, wire, clock).outcomes]
    assert outcomes == [Outcome.RETRY, Outcome.RETRY, Outcome.RETRY, Outcome.DEAD]
    assert (only(state).status, only(state).attempts, only(state).last_error) == (Posted.DEAD, 4, "down")


def test_an_unknown_outcome_is_on_record_and_sent_again_under_the_same_key(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    fill(state)
    wire.after = fails(DeliveryError("no answer", retryable=True, outcome_unknown=True))
    assert deliver(state, wire, clock).count(Outcome.UNKNOWN) == 1
    assert only(state).outcome_unknown
    wire.before, wire.after = fails(DeliveryError("full", retryable=True)), lambda: None
    clock.now = hour(1)
    assert deliver(state, wire, clock).count(Outcome.RETRY) == 1
    wire.before = lambda: None
    clock.now = hour(2)
    assert deliver(state, wire, clock).count(Outcome.SENT) == 1
    assert len(wire.arrived) == 2
    assert len(set(wire.arrived)) == 1
    assert only(state).outcome_unknown, "a reader may have seen it twice, and the record says so"


@pytest.mark.parametrize("death", ["before", "after"])
def test_a_worker_killed_around_the_send_loses_nothing(
    state: StateDatabase, wire: Wire, clock: Clock, death: str
) -> None:
    fill(state)
    setattr(wire, death, fails(SystemExit("killed")))
    with pytest.raises(SystemExit):
        deliver(state, wire, clock)
    wire.before = wire.after = lambda: None
    clock.now = NOW + timedelta(minutes=1)
    assert deliver(state, wire, clock).outcomes == (), "the lease still holds"
    clock.now = NOW + timedelta(minutes=3)
    assert deliver(state, wire, clock).count(Outcome.SENT) == 1
    assert len(wire.arrived) == (1 if death == "before" else 2)
    assert len(set(wire.arrived)) == 1
    assert only(state).outcome_unknown
    assert only(state).last_error == "worker test did not report back"


def test_a_message_that_kills_every_worker_is_given_up_in_the_end(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    fill(state)
    wire.before = fails(SystemExit("killed"))
    for number in range(POLICY.max_attempts):
        clock.now = hour(number)
        with pytest.raises(SystemExit):
            deliver(state, wire, clock)
    clock.now = hour(99)
    assert deliver(state, wire, clock).count(Outcome.DEAD) == 1
    assert "did not report back" in (only(state).last_error or "")


def test_a_worker_whose_lease_ran_out_can_mark_nothing_any_more(state: StateDatabase, wire: Wire, clock: Clock) -> None:
    fill(state)
    slow = state.claim("slack", now=NOW, lease=POLICY.lease, worker="slow")
    assert slow is not None
    assert state.claim("slack", now=NOW, lease=POLICY.lease, worker="other") is None
    late = NOW + timedelta(minutes=3)
    quick = state.claim("slack", now=late, lease=POLICY.lease, worker="quick")
    assert quick is not None
    assert (quick.id, quick.dedup_key, quick.token) == (slow.id, slow.dedup_key, slow.token + 1)
    assert not state.mark_sent(slow, now=late)
    assert not state.mark_retry(slow, at=late, error="late", outcome_unknown=False)
    assert not state.mark_dead(slow, now=late, error="late", outcome_unknown=False)
    assert state.mark_sent(quick, now=late)
    assert not state.mark_sent(quick, now=late), "sent is marked once"
    assert only(state).sent_at == late


def test_a_send_that_outlasts_its_lease_is_reported_as_fenced_off(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    fill(state)
    taken: list[Claim | None] = []

    def overtaken() -> None:
        clock.now = NOW + timedelta(minutes=5)
        taken.append(state.claim("slack", now=clock.now, lease=POLICY.lease, worker="quick"))

    wire.after = overtaken
    assert deliver(state, wire, clock).count(Outcome.FENCED) == 1
    (other,) = taken
    assert other is not None
    assert state.mark_sent(other, now=clock.now)


def test_one_call_sends_no_storm_and_the_next_goes_on(state: StateDatabase, wire: Wire, clock: Clock) -> None:
    fill(state, models=7)
    policy = DeliveryPolicy(per_channel=3)
    assert [deliver(state, wire, clock, policy).count(Outcome.SENT) for _ in range(4)] == [3, 3, 1, 0]
    assert wire.arrived == sorted(wire.arrived), "oldest first"


def test_a_channel_that_refuses_is_left_alone_until_the_next_call(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    fill(state, models=5)
    tries: list[int] = []

    def refuse() -> None:
        tries.append(1)
        raise DeliveryError("down", retryable=True)

    wire.before = refuse
    assert deliver(state, wire, clock).count(Outcome.RETRY) == 1
    assert len(tries) == 1


def test_the_end_of_an_incident_waits_for_the_news_of_its_beginning(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    fill(state)
    wire.before = fails(DeliveryError("down", retryable=True))
    deliver(state, wire, clock)
    happen(state, replace(quiet(1), model="model_00"))
    wire.before = lambda: None
    assert deliver(state, wire, clock).outcomes == ()
    clock.now = hour(1)
    assert deliver(state, wire, clock).count(Outcome.SENT) == 2
    assert [key.rpartition("/")[2] for key in wire.arrived] == ["opened", "resolved"]


def test_a_defect_in_one_channel_does_not_keep_another_from_its_mail(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    happen(state, firing(0), channels=("broken", "nobody", "slack"))
    broken = Wire()
    broken.name = "broken"
    broken.before = fails(TypeError("a defect"))
    report = deliver_pending(state, {"broken": broken, "slack": wire}, worker="test", clock=clock, policy=POLICY)
    assert [(channel, outcome) for _, channel, outcome in report.outcomes] == [
        ("broken", Outcome.UNKNOWN),
        ("slack", Outcome.SENT),
    ]
    assert report.not_configured == ("nobody",)
    assert {note.channel: note.last_error for note in state.notifications()}["broken"] == "broken: TypeError: a defect"


def test_dispatchers_working_at_once_send_everything_and_nothing_twice(state_url: str, clock: Clock) -> None:
    state = StateDatabase(state_url)
    fill(state, models=24)
    wire = Wire()
    together = threading.Barrier(4)

    def dispatch(number: int) -> DeliveryReport:
        own = StateDatabase(state_url)
        together.wait()
        report = deliver_pending(own, {"slack": wire}, worker=f"w{number}", clock=clock, policy=DeliveryPolicy())
        own.close()
        return report

    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(dispatch, range(4)))
    deliver(state, wire, clock, DeliveryPolicy(per_channel=100))
    assert Counter(wire.arrived).most_common(1)[0][1] == 1
    assert len(wire.arrived) == 24
    assert {outcome for report in reports for _, _, outcome in report.outcomes} <= {Outcome.SENT}
    assert {note.status for note in state.notifications()} == {Posted.SENT}
    state.close()


def test_later_steps_of_an_incident_name_the_post_of_the_first(state: StateDatabase, wire: Wire, clock: Clock) -> None:
    fill(state)
    deliver(state, wire, clock)
    happen(state, replace(quiet(1), model="model_00"))
    deliver(state, wire, clock)
    assert wire.threads == [None, "post 1"]


def test_a_letter_that_cannot_be_delivered_is_told_of_elsewhere_once(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    other = Wire()
    other.name = "console"
    fill(state)
    wire.before = fails(DeliveryError("channel_not_found", retryable=False))
    deliver_pending(state, {"slack": wire, "console": other}, worker="test", clock=clock, policy=POLICY)
    deliver_pending(state, {"slack": wire, "console": other}, worker="test", clock=clock, policy=POLICY)
    dead, notice = state.notifications()
    assert (dead.status, notice.channel, notice.status) == (Posted.DEAD, "console", Posted.SENT)
    assert notice.message.title == "Not delivered to slack: Warning: model_00: feature_drift"
    assert "channel_not_found" in notice.message.reason


def test_a_digest_is_one_message_and_all_of_it_is_marked(state: StateDatabase, clock: Clock) -> None:
    mail, policy = Mail(), replace(POLICY, digests=("slack",))
    fill(state, models=3)
    mail.before = fails(DeliveryError("busy", retryable=True))
    assert deliver(state, mail, clock, policy).count(Outcome.RETRY) == 3
    mail.before = lambda: None
    clock.now = NOW + timedelta(hours=1)
    assert deliver(state, mail, clock, policy).count(Outcome.SENT) == 3
    assert mail.digests == [["opened"] * 3]
    assert mail.arrived == ["digest/model_00/feature_drift@2026-11-20T06Z/opened"]


def test_one_digest_takes_all_that_is_due_of_an_incident(state: StateDatabase, clock: Clock) -> None:
    mail, policy = Mail(), replace(POLICY, digests=("slack",))
    fill(state, models=2)
    happen(state, replace(quiet(1), model="model_00"))
    mail.before = fails(DeliveryError("busy", retryable=True))
    deliver(state, mail, clock, policy)
    mail.before = lambda: None
    clock.now = hour(1)
    assert deliver(state, mail, clock, policy).count(Outcome.SENT) == 3
    assert mail.digests == [["opened", "opened", "resolved"]]


def test_a_digest_another_worker_holds_the_beginning_of_leaves_the_end_to_it(
    state: StateDatabase, clock: Clock
) -> None:
    mail, policy = Mail(), replace(POLICY, digests=("slack",))
    fill(state)
    happen(state, replace(quiet(1), model="model_00"))
    assert state.claim("slack", now=NOW, lease=POLICY.lease, worker="other") is not None
    assert deliver(state, mail, clock, policy).outcomes == ()


def test_a_channel_that_asks_to_be_left_alone_gets_nothing_at_all_meanwhile(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    fill(state, models=5)
    wire.before = fails(DeliveryError("full", retryable=True, retry_after=120))
    deliver(state, wire, clock)
    wire.before = lambda: None
    clock.now = NOW + timedelta(seconds=119)
    assert deliver(state, wire, clock).outcomes == ()
    clock.now = NOW + timedelta(seconds=151)
    assert deliver(state, wire, clock).count(Outcome.SENT) == 5
    assert [note.attempts for note in state.notifications()] == [2, 1, 1, 1, 1], "waiting is no attempt"


def test_an_absurd_wish_to_be_left_alone_holds_the_others_back_for_minutes_only(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    fill(state, models=2)
    wire.before = fails(DeliveryError("full", retryable=True, retry_after=86_400))
    deliver(state, wire, clock)
    wire.before = lambda: None
    clock.now = NOW + POLICY.longest_pause
    assert deliver(state, wire, clock).count(Outcome.SENT) == 1
    assert wire.arrived == ["model_01/feature_drift@2026-11-20T06Z/opened"]


def test_what_was_overtaken_is_not_revived(state: StateDatabase, wire: Wire, clock: Clock) -> None:
    fill(state, models=2)
    wire.before = fails(DeliveryError("invalid", retryable=False))
    deliver(state, wire, clock)
    deliver(state, wire, clock)
    happen(state, replace(quiet(1), model="model_00"))
    wire.before = lambda: None
    assert deliver(state, wire, clock).count(Outcome.SENT) == 1
    assert state.revive_dead(now=NOW) == 1
    deliver(state, wire, clock)
    assert [key.partition("/")[0] for key in wire.arrived] == ["model_00", "model_01"]
    assert [note.status for note in state.notifications()] == [Posted.OVERTAKEN, Posted.SENT, Posted.SENT]
    assert state.revive_dead(now=NOW) == 0


def test_what_is_revived_together_arrives_in_its_order(state: StateDatabase, wire: Wire, clock: Clock) -> None:
    fill(state)
    happen(state, replace(quiet(1), model="model_00"))
    wire.before = fails(DeliveryError("invalid", retryable=False))
    deliver(state, wire, clock)
    deliver(state, wire, clock)
    assert {note.status for note in state.notifications()} == {Posted.DEAD}
    wire.before = lambda: None
    assert state.revive_dead(now=NOW) == 2
    deliver(state, wire, clock)
    assert [key.rpartition("/")[2] for key in wire.arrived] == ["opened", "resolved"]


def test_the_news_of_a_dead_letter_goes_where_people_read_and_in_the_end_to_the_log(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    channels = {name: Wire() for name in ("console", "pagerduty", "slack", "email", "webhook")}
    for name, channel in channels.items():
        channel.name = name
        if name != "console":
            channel.before = fails(DeliveryError("invalid", retryable=False))
    fill(state)
    for _ in range(5):
        deliver_pending(state, channels, worker="test", clock=clock, policy=POLICY)
    assert [(note.channel, note.status) for note in state.notifications()] == [
        ("slack", Posted.DEAD),
        ("email", Posted.DEAD),
        ("console", Posted.SENT),
    ]
    assert channels["pagerduty"].arrived == [], "it would page somebody, and never be told the end"


def test_a_slow_channel_is_left_for_the_next_call_after_a_while(state: StateDatabase, wire: Wire, clock: Clock) -> None:
    fill(state, models=6)

    def takes_its_time() -> None:
        clock.now += timedelta(seconds=9)

    wire.after = takes_its_time
    assert deliver(state, wire, clock).count(Outcome.SENT) == 4, "after half a minute"
    assert deliver(state, wire, clock).count(Outcome.SENT) == 2


def test_a_channel_that_never_comes_back_is_left_behind_and_its_mail_claimed_anew(
    state: StateDatabase, wire: Wire, clock: Clock
) -> None:
    happen(state, firing(0), channels=("dripping", "slack"))
    dripping, over = Wire(), threading.Event()
    dripping.name = "dripping"

    def hangs() -> None:
        over.wait(30)

    dripping.before = hangs
    policy = replace(POLICY, lease=timedelta(seconds=0.5))
    channels = {"dripping": dripping, "slack": wire}
    report = deliver_pending(state, channels, worker="test", clock=clock, policy=policy)
    assert [(name, outcome) for _, name, outcome in report.outcomes] == [("slack", Outcome.SENT)]
    assert report.left_behind == ("dripping",)
    clock.now = NOW + timedelta(minutes=1)
    found = state.claim("dripping", now=clock.now, lease=POLICY.lease, worker="other")
    assert found is not None
    over.set()
    assert state.mark_sent(found, now=clock.now)
