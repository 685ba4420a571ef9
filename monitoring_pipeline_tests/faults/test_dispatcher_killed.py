"""Dispatchers are killed with SIGKILL, and work two at a time: all arrives, what may be there twice is on record."""

import json
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.channels.webhook import WebhookChannel
from monitoring_pipeline.notify.delivery import Channel, DeliveryReport, deliver_pending
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline_tests.outcomes import firing, hour, quiet
from monitoring_pipeline_tests.processes import wait_until
from monitoring_pipeline_tests.sinks import Hang, HttpSink, http_sink
from monitoring_pipeline_tests.workers import NEVER, SECRET, dispatcher

NOW = hour(1)
POINTS = ("outbox.after_claim", "outbox.after_send", "outbox.after_mark")
MAY_HAVE_ARRIVED = {"outbox.after_claim": 1, "outbox.after_send": 1}
"""Messages of which nobody can tell: who is dead cannot say how far it came."""


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with http_sink() as found:
        yield found


def happen(state: StateDatabase, *, models: Sequence[str]) -> None:
    """Something begins in every model and ends in the first."""
    rules = DeliveryRules(lambda _severity: ["webhook"], late_after=timedelta(days=1), per_hour=1000)
    policies = {"feature_drift": AlertPolicy(resolve_after=1)}
    state.apply_outcomes([firing(0, model=name) for name in models], now=NOW, policies=policies, rules=rules)
    state.apply_outcomes([replace(quiet(1), model=models[0])], now=NOW, policies=policies, rules=rules)


def deliver(state: StateDatabase, sink: HttpSink, minutes: int) -> DeliveryReport:
    """Deliver what is due some minutes later, by a dispatcher that lives."""
    channels: dict[str, Channel] = {
        "webhook": WebhookChannel(Credential(sink.url), Credential(SECRET), clock=lambda: NOW)
    }
    now = NOW + timedelta(minutes=minutes)
    return deliver_pending(state, channels, worker="survivor", clock=lambda: now)


def arrivals(sink: HttpSink) -> list[tuple[str, str]]:
    """Return incident and step of what arrived, in order."""
    data = [json.loads(posted.body)["data"] for posted in sink.received]
    return [(each["incident_id"], each["step"]) for each in data]


def assert_all_arrived(state: StateDatabase, sink: HttpSink) -> tuple[int, int]:
    """Return how many arrived twice, and of how many it is on record that they may have."""
    notes = state.notifications()
    assert {note.status for note in notes} == {Posted.SENT}
    arrived = arrivals(sink)
    times = Counter(arrived)
    assert set(times) == {(note.incident_id, note.step_key) for note in notes}
    twice = {key for key, count in times.items() if count > 1}
    unknown = {(note.incident_id, note.step_key) for note in notes if note.outcome_unknown}
    assert max(times.values()) <= 2
    assert twice <= unknown, "nothing comes twice without being on record"
    firsts = list(dict.fromkeys(arrived))
    for incident, step in firsts:
        if step == "resolved":
            assert firsts.index((incident, "opened")) < firsts.index((incident, "resolved"))
    ids = {(posted.headers["Webhook-Id"], key) for posted, key in zip(sink.received, arrived, strict=True)}
    assert len(ids) == len(times), "a reader can tell that it is the same message again"
    return len(twice), len(unknown)


@pytest.mark.parametrize("point", POINTS)
def test_a_dispatcher_killed_at_this_point_loses_nothing(state_url: str, sink: HttpSink, point: str) -> None:
    state = StateDatabase(state_url)
    happen(state, models=["a", "b", "c"])
    with dispatcher(state_url, sink.url, "first", point, now=NOW) as first:
        first.go()
        assert first.ended_by() == -signal.SIGKILL
    assert len(arrivals(sink)) == (0 if point == "outbox.after_claim" else 1)
    deliver(state, sink, minutes=1)
    held = [note.step_key for note in state.notifications() if note.status is Posted.PENDING]
    assert held == (["opened", "resolved"] if point in MAY_HAVE_ARRIVED else []), (
        "the lease holds, the end waits for it"
    )
    deliver(state, sink, minutes=3)
    twice, unknown = assert_all_arrived(state, sink)
    assert unknown == MAY_HAVE_ARRIVED.get(point, 0)
    assert twice == (1 if point == "outbox.after_send" else 0)
    state.close()


def test_a_dispatcher_killed_while_a_server_has_its_request_loses_nothing(state_url: str, sink: HttpSink) -> None:
    state = StateDatabase(state_url)
    happen(state, models=["a", "b"])
    sink.script(Hang())
    with dispatcher(state_url, sink.url, "first", NEVER, now=NOW) as first:
        first.go()
        wait_until("the server has the request", lambda: sink.received, seconds=20)
        first.process.kill()
        assert first.ended_by() == -signal.SIGKILL
    deliver(state, sink, minutes=3)
    assert assert_all_arrived(state, sink) == (1, 1)
    state.close()


def test_a_dispatcher_stopped_past_its_lease_is_fenced_off_when_it_goes_on(state_url: str, sink: HttpSink) -> None:
    state = StateDatabase(state_url)
    happen(state, models=["a"])
    sink.script(Hang())
    with dispatcher(state_url, sink.url, "asleep", NEVER, now=NOW) as asleep:
        asleep.go()
        wait_until("the server has the request", lambda: sink.received, seconds=20)
        asleep.signal(signal.SIGSTOP)
        deliver(state, sink, minutes=3)
        sink.let_go()
        asleep.signal(signal.SIGCONT)
        assert asleep.counts() == {"sent": 0, "retry": 0, "unknown": 0, "dead": 0, "fenced": 1}
        assert asleep.ended_by() == 0
    assert assert_all_arrived(state, sink) == (1, 1)
    state.close()


def test_two_dispatchers_at_once_share_the_work_and_send_nothing_twice(state_url: str, sink: HttpSink) -> None:
    state = StateDatabase(state_url)
    happen(state, models=[f"model_{number:02}" for number in range(60)])
    with (
        dispatcher(state_url, sink.url, "one", NEVER, now=NOW) as one,
        dispatcher(state_url, sink.url, "two", NEVER, now=NOW) as two,
    ):
        one.go()
        two.go()
        sent = [each.counts()["sent"] for each in (one, two)]
        assert (one.ended_by(), two.ended_by()) == (0, 0)
    assert all(sent), f"both took part: {sent}"
    deliver(state, sink, minutes=0)
    assert assert_all_arrived(state, sink) == (0, 0)
    state.close()


@pytest.mark.parametrize("point", ["outbox.after_claim", "outbox.after_send"])
def test_one_of_two_dispatchers_is_killed_and_the_other_goes_on(state_url: str, sink: HttpSink, point: str) -> None:
    state = StateDatabase(state_url)
    happen(state, models=[f"model_{number:02}" for number in range(30)])
    with (
        dispatcher(state_url, sink.url, "one", point, now=NOW) as one,
        dispatcher(state_url, sink.url, "two", NEVER, now=NOW) as two,
    ):
        one.go()
        two.go()
        assert one.ended_by() == -signal.SIGKILL
        assert two.counts()["sent"] >= 1
    deliver(state, sink, minutes=3)
    twice, unknown = assert_all_arrived(state, sink)
    assert (twice, unknown) == (1 if point == "outbox.after_send" else 0, 1)
    state.close()
