"""Everything fires at once, or on and off for a week: a handful of incidents and of messages, and little state."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from monitoring_pipeline.capture.windows import HOUR, window_length
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.rules import Rule, RuleOutcome, RuleState, evaluate_rules
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.notify.alerts import AlertPolicy, Status, json_ready
from monitoring_pipeline.notify.replay import replay
from monitoring_pipeline.notify.routing import routing_of
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.settings.defaults import default_rules
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.tables import alerts, incident_events, incidents, outbox
from monitoring_pipeline_tests.outcomes import firing, hour, outcome, quiet

CHANNELS = ("console", "pagerduty", "slack", "email", "webhook")
BINS = [
    {"bin": f"[{n}, {n + 1})", "contribution": 0.1, "reference": 0.1, "current": 0.2, "direction": "up"}
    for n in range(10)
]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDatabase]:
    database = StateDatabase(f"sqlite:///{tmp_path / 'state.db'}")
    database.migrate()
    yield database
    database.close()


def breach(metric: str, window: str, column: str, number: int, value: float) -> Verdict:
    end = hour(number) + HOUR
    signal = Signal(
        metric,
        model="churn",
        version="1",
        window_start=end - window_length(window),
        window_end=end,
        value=value,
        rows=5000,
        column=column,
        detail={"bins": BINS},
    )
    return Verdict(signal, Level.CRITICAL, 0.25, "calibrated", f"{metric} of {column} is {value:.2f}, above 0.25")


def all_of_them(features: Sequence[str], number: int) -> list[Verdict]:
    """Return the verdicts of an hour in which every feature has drifted, is missing, and means something else."""
    found = [breach("drift.psi", "24h", name, number, 0.4 + place / 1000) for place, name in enumerate(features)]
    found += [breach("quality.null_rate", "1h", name, number, 0.9) for name in features]
    return found + [breach("skew.changed_meaning", "1h", name, number, 1.0) for name in features[: len(features) // 10]]


def names(count: int) -> list[str]:
    return [f"feature_{number:03}" for number in range(count)]


def rules_for(features: Sequence[str]) -> tuple[Rule, ...]:
    return default_rules(window="24h", long="7d", features=features, score="score", prediction="prediction")


def storm(state: StateDatabase, features: Sequence[str], hours: int, *, calm: int = 0) -> int:
    """Let everything fire for some hours and be well for some more, as the pipeline does; return how many verdicts."""
    rules, verdicts = rules_for(features), dict[datetime, list[Verdict]]()
    policies = {each.name: AlertPolicy(each.resolve_after, each.cooldown, each.critical_cooldown) for each in rules}
    routing = routing_of(None, available=CHANNELS)
    count = 0
    for number in range(hours):
        verdicts[hour(number)] = all_of_them(features, number)
        count += len(verdicts[hour(number)])
        found = evaluate_rules(rules, verdicts, [hour(number)], model="churn")
        apply(state, found, number, policies, DeliveryRules(routing.channels_for))
    for number in range(hours, hours + calm):
        found = [outcome(number, RuleState.QUIET, rule=each.name) for each in rules]
        apply(state, found, number, policies, DeliveryRules(routing.channels_for))
    return count


def apply(
    state: StateDatabase,
    found: Sequence[RuleOutcome],
    number: int,
    policies: dict[str, AlertPolicy],
    rules: DeliveryRules,
) -> None:
    now = hour(number) + HOUR + timedelta(minutes=10)
    state.apply_outcomes(found, now=now, policies=policies, rules=rules)


def bytes_of_rows(state: StateDatabase, table: sa.Table) -> list[int]:
    with state.reading() as connection:
        rows = connection.execute(sa.select(table)).mappings().all()
    return [len(json.dumps(json_ready(dict(row)), default=str)) for row in rows]


def bytes_of_file(state: StateDatabase) -> int:
    with state.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())


def test_ten_thousand_verdicts_of_a_day_are_one_incident_and_two_messages_a_channel(state: StateDatabase) -> None:
    empty = bytes_of_file(state)
    assert storm(state, names(200), 24, calm=24) >= 10_000
    (incident,) = state.incidents()
    assert incident.status is Status.RESOLVED
    assert set(incident.rules) == {"data_missing", "feature_changed_meaning", "feature_drift"}
    told = Counter((note.channel, note.step_key) for note in state.notifications())
    assert told == {(channel, step): 1 for channel in CHANNELS for step in ("opened", "resolved")}
    assert max(bytes_of_rows(state, incidents)) < 40_000
    assert max(bytes_of_rows(state, alerts)) < 40_000
    assert max(bytes_of_rows(state, outbox)) < 3_000
    events = bytes_of_rows(state, incident_events)
    assert max(events) < 2_500
    assert len(events) <= 24 * 3 + 2, "one line for each rule and hour"
    assert bytes_of_file(state) - empty < 500_000


def test_rows_are_no_larger_for_more_features(tmp_path: Path) -> None:
    sizes = {}
    for count in (50, 200):
        state = StateDatabase(f"sqlite:///{tmp_path / f'{count}.db'}")
        state.migrate()
        storm(state, names(count), 3)
        sizes[count] = [max(bytes_of_rows(state, table)) for table in (incidents, alerts, incident_events, outbox)]
        state.close()
    assert sizes[200] == pytest.approx(sizes[50], rel=0.02)


def test_two_hundred_rules_that_begin_in_one_day_are_one_incident(state: StateDatabase) -> None:
    begins = np.random.default_rng(7).integers(0, 24, 200)
    policies = {f"drift_of_{name}": AlertPolicy() for name in names(200)}
    for number in range(24):
        found = [
            outcome(number, RuleState.FIRING, evidence=(breach("drift.psi", "24h", name, number, 0.4),), rule=rule)
            for rule, name, begin in zip(policies, names(200), begins, strict=True)
            if begin <= number
        ]
        apply(state, found, number, policies, DeliveryRules(lambda _severity: ["slack"]))
    (incident,) = state.incidents()
    assert len(incident.rules) == 200
    assert [note.step_key for note in state.notifications()] == ["opened"]
    assert len(bytes_of_rows(state, alerts)) == 200
    assert max(bytes_of_rows(state, alerts)) < 4_000
    assert max(bytes_of_rows(state, incidents)) < 60_000
    assert max(bytes_of_rows(state, incident_events)) < 2_500


def test_a_rule_that_fires_every_other_hour_for_a_week_is_told_of_once(state: StateDatabase) -> None:
    policies = {rule.name: AlertPolicy(rule.resolve_after, rule.cooldown) for rule in rules_for(["tenure"])}
    for number in range(7 * 24):
        apply(state, [week_of(1, 1)[number]], number, policies, DeliveryRules(lambda _severity: ["slack"]))
    (incident,) = state.incidents()
    assert incident.status is Status.OPEN
    assert [note.step_key for note in state.notifications()] == ["opened"]
    assert len(bytes_of_rows(state, incident_events)) == 84, "one line for each hour it fired in"


def week_of(on: int, off: int) -> list[RuleOutcome]:
    """Return a week in which a rule fires for some hours, is quiet for some, and so on."""
    return [firing(number) if number % (on + off) < on else quiet(number) for number in range(7 * 24)]


@pytest.mark.parametrize(("on", "off"), [(1, 1), (1, 2), (1, 3), (3, 3), (3, 6), (3, 12), (4, 3)])
def test_no_flapping_of_a_default_rule_tells_more_than_its_patience_allows(on: int, off: int) -> None:
    for rule in rules_for(["tenure"]):
        policy = AlertPolicy(rule.resolve_after, rule.cooldown, rule.critical_cooldown)
        found = replay(week_of(on, off), {"feature_drift": policy})
        if off < rule.resolve_after:
            assert len(found.told) == 1, f"{rule.name}: it never ends, so it cannot begin again"
        # It ends after so many quiet hours, and begins again no sooner than a cooldown after that.
        round_trip = rule.resolve_after + max(rule.cooldown // HOUR, 1)
        assert len(found.told) <= 2 * (7 * 24 // round_trip + 1), rule.name
