from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import Status, Step
from monitoring_pipeline.notify.incidents import Incident, Move
from monitoring_pipeline.notify.silences import Silence, silence_of
from monitoring_pipeline.notify.stages import Context, DeliveryRules, announce, settle, step_key
from monitoring_pipeline_tests.incidents import opened, resolved
from monitoring_pipeline_tests.outcomes import hour

RULES = DeliveryRules(lambda severity: ["console", "slack"] if severity == "critical" else ["console"], per_hour=3)
NOW = hour(1)


def context(now: datetime = NOW, **known: object) -> Context:
    return Context(RULES, now, **known)  # type: ignore[arg-type]


def news(incident: Incident, step: Step = Step.OPENED) -> Move:
    return Move(incident, step, "why")


def test_every_channel_of_the_severity_is_told_at_once() -> None:
    notices, withheld = announce(news(opened(severity=Level.CRITICAL)), context())
    assert [(notice.channel, notice.not_before, notice.step_key) for notice in notices] == [
        ("console", NOW, "opened"),
        ("slack", NOW, "opened"),
    ]
    assert all(notice.message is not None for notice in notices)
    assert withheld == []


def test_what_is_merely_informative_goes_where_information_goes() -> None:
    rules = replace(RULES, channels_for=lambda severity: [severity])
    (notice,), _ = announce(news(replace(opened(), sev=4)), replace(context(), rules=rules))
    assert notice.channel == "info"


def test_history_pages_nobody_and_says_so() -> None:
    notices, withheld = announce(news(opened()), context(hour(0) + timedelta(days=2)))
    assert notices == []
    assert [(held.stage, held.why) for held in withheld] == [
        ("inhibit", "history: it was evaluated 2 days, 0:00:00 after it happened")
    ]


def test_the_end_of_what_nobody_heard_of_is_not_told() -> None:
    notices, (withheld,) = announce(news(resolved(), Step.RESOLVED), context())
    assert (notices, withheld.why) == ([], "nobody was told that it had begun")
    known = replace(resolved(), announced_at=hour(0))
    assert announce(news(known, Step.RESOLVED), context())[0] != []


def silence(matchers: str) -> Silence:
    until = hour(9).isoformat()
    return silence_of("1", matchers, until=until, now=hour(0), author="ada", comment="a new release")


@pytest.mark.parametrize(("matchers", "told"), [("rule=feature_drift", 0), ("model=another", 1)])
def test_a_silence_holds_back_what_it_matches_and_names_its_author(matchers: str, told: int) -> None:
    notices, withheld = announce(news(opened()), context(silences=[silence(matchers)]))
    assert len(notices) == told
    assert [held.why for held in withheld] == ["silenced by ada until 2026-11-20 15:00Z: a new release"] * (1 - told)


def test_the_end_of_a_silenced_incident_is_told_to_those_who_knew_it() -> None:
    known = replace(resolved(), announced_at=hour(0))
    assert announce(news(known, Step.RESOLVED), context(silences=[silence("model=churn")]))[0] != []


def test_what_was_told_is_not_told_again() -> None:
    notices, (withheld,) = announce(news(opened()), context(told={("opened", "console")}))
    assert (notices, withheld.stage) == ([], "deduplicate")


def test_more_than_the_hour_allows_waits_and_the_end_of_an_incident_does_not() -> None:
    recent = {"console": [NOW - timedelta(minutes=minutes) for minutes in (50, 20, 10)]}
    (waiting,), _ = announce(news(opened()), context(recent=recent))
    assert waiting.not_before == NOW + timedelta(minutes=10), "an hour after the third last"
    known = replace(resolved(), announced_at=hour(0))
    (ended,), _ = announce(news(known, Step.RESOLVED), context(recent=recent))
    assert ended.not_before == NOW


def test_a_digest_is_written_in_the_morning() -> None:
    rules = replace(RULES, digests=("console",))
    (notice,), _ = announce(news(opened()), replace(context(), rules=rules))
    assert notice.not_before == datetime.fromisoformat("2026-11-20T08:00Z")
    (notice,), _ = announce(news(opened()), replace(context(hour(4)), rules=rules))
    assert notice.not_before == datetime.fromisoformat("2026-11-21T08:00Z")


def test_several_hours_at_once_are_one_piece_of_news() -> None:
    began, worse = opened(), opened(severity=Level.CRITICAL)
    (told,) = settle([news(began), news(began, Step.UPDATED), news(worse, Step.WORSENED)])
    assert (told.step, told.incident.severity) == (Step.OPENED, Level.CRITICAL)
    assert settle([news(began), news(resolved(), Step.RESOLVED)]) == [], "over before anybody could look"
    assert settle([news(began, Step.UPDATED)]) == []
    (ended,) = settle([news(worse, Step.WORSENED), news(resolved(), Step.RESOLVED)])
    assert ended.incident.status is Status.RESOLVED


def test_each_thing_that_can_happen_once_has_one_key() -> None:
    again = replace(opened(), times_reopened=2)
    escalated = replace(opened(), escalation_level=3)
    assert step_key(news(opened())) == "opened"
    assert step_key(news(opened(severity=Level.CRITICAL), Step.WORSENED)) == "worsened:critical"
    assert step_key(news(again, Step.REOPENED)) == "reopened#2"
    assert step_key(news(escalated, Step.ESCALATED)) == "escalated:3"
