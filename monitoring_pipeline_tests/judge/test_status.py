from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.status import STALE_AFTER, status_of
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.incidents import Incident
from monitoring_pipeline_tests.incidents import opened
from monitoring_pipeline_tests.outcomes import firing, hour, outcome, pending, quiet, unknown


def by_hour(*outcomes: RuleOutcome) -> dict[datetime, Sequence[RuleOutcome]]:
    hours = {each.hour for each in outcomes}
    return {at: [each for each in outcomes if each.hour == at] for at in hours}


def reported(severity: Level) -> Incident:
    return replace(opened(), id="churn/reported", rules=("reported",), severity=severity, reason="customers call")


def test_what_was_never_judged_is_unknown_and_stale() -> None:
    found = status_of({}, now=hour(0))
    assert (found.level, found.since, found.last_hour, found.is_stale) == (Level.UNKNOWN, None, None, True)
    assert found.sentence == "unknown: no hour has been judged yet"


def test_a_monitor_without_rules_is_not_fine() -> None:
    assert status_of({hour(0): []}, now=hour(1)).word == "unknown"


def test_where_no_rule_fires_it_is_fine_since_the_last_one_stopped() -> None:
    found = status_of(by_hour(firing(0), firing(1), quiet(2), pending(3)), now=hour(4))
    assert (found.word, found.since) == ("fine", hour(2))
    assert found.because == "none of its 1 rules fires"


def test_a_rule_that_fires_makes_it_degraded_since_it_began_to() -> None:
    found = status_of(by_hour(quiet(0), firing(1), firing(2)), now=hour(3))
    assert (found.word, found.since) == ("degraded", hour(1))
    assert found.because == "rule feature_drift: hour 2 is firing"
    early = replace(firing(1), since=hour(0))
    assert status_of(by_hour(early), now=hour(2)).since == hour(0), "the breaches that made it fire count"


def test_the_worst_rule_leads_and_the_others_are_counted() -> None:
    worse = outcome(1, RuleState.FIRING, severity=Level.CRITICAL, rule="errors")
    found = status_of(by_hour(firing(0), firing(1), worse), now=hour(2))
    assert (found.level, found.since) == (Level.CRITICAL, hour(1))
    assert found.because == "rule errors: hour 1 is firing (and 1 more)"


def test_a_night_in_which_nothing_is_known_ends_nothing() -> None:
    found = status_of(by_hour(firing(0), unknown(1), unknown(2)), now=hour(3))
    assert (found.word, found.since, found.last_hour) == ("degraded", hour(0), hour(2))
    assert status_of(by_hour(quiet(0), unknown(1)), now=hour(2)).word == "fine"


def test_where_no_rule_knows_anything_it_is_unknown_and_where_some_do_not_they_are_named() -> None:
    blind = outcome(0, RuleState.UNKNOWN, rule="accuracy")
    assert status_of(by_hour(blind), now=hour(1)).word == "unknown"
    found = status_of(by_hour(blind, quiet(0)), now=hour(1))
    assert found.sentence.startswith("fine since 2026-11-20 06:00Z: none of its 2 rules fires, 1 of them know nothing")
    assert "accuracy (hour 0 is unknown)" in found.because


@pytest.mark.parametrize(("late", "stale"), [(timedelta(0), False), (timedelta(minutes=1), True)])
def test_it_is_stale_when_a_newer_hour_should_be_there(late: timedelta, stale: bool) -> None:
    now = hour(1) + STALE_AFTER + late
    fine, bad = (status_of(by_hour(each), now=now) for each in (quiet(0), firing(0)))
    assert (fine.is_stale, bad.is_stale) == (stale, stale)
    assert (fine.word, fine.since) == (("unknown", hour(1)) if stale else ("fine", hour(0)))
    assert bad.word == "degraded", "what was bad is not over because nobody looks"
    assert ("nothing has been judged since" in bad.because) == stale


def test_after_its_end_a_monitor_is_not_stale() -> None:
    assert status_of(by_hour(quiet(0)), now=hour(500), end=hour(1)).word == "fine"


def test_it_is_as_of_a_moment() -> None:
    outcomes = by_hour(quiet(0), firing(1))
    assert status_of(outcomes, now=hour(1)).word == "fine"
    assert status_of(outcomes, now=hour(2)).word == "degraded"


def test_an_incident_knows_longer_than_the_lookback_since_when_its_rule_fires() -> None:
    since = hour(-400)
    found = status_of(by_hour(firing(0)), now=hour(1), incidents=[replace(opened(), first_hour=since)])
    assert found.since == since


def test_what_a_person_reported_counts_until_it_is_resolved() -> None:
    found = status_of(by_hour(quiet(0)), now=hour(1), incidents=[reported(Level.CRITICAL)])
    assert (found.word, found.because) == ("critical", "incident churn/reported: customers call")


def test_an_incident_whose_rule_is_quiet_by_now_makes_nothing_worse() -> None:
    assert status_of(by_hour(quiet(0)), now=hour(1), incidents=[opened()]).word == "fine"


def test_what_merely_informs_says_nothing_of_the_model() -> None:
    assert status_of(by_hour(firing(0)), now=hour(1), informative={"feature_drift"}).word == "unknown"
    informs = replace(reported(Level.WARNING), sev=4)
    assert status_of(by_hour(quiet(0)), now=hour(1), incidents=[informs]).word == "fine"
