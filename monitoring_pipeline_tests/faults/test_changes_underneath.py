"""What is changed while the pipeline is at work: its settings, its tables, the clock, the zone of the machine."""

import time
from datetime import timedelta

import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.notify.alerts import AlertPolicy, Status
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.outbox_store import Posted
from monitoring_pipeline.stores.tables import metadata
from monitoring_pipeline.workflow.alerting import apply_rule_outcomes
from monitoring_pipeline.workflow.sensors import GRACE, hours_to_process
from monitoring_pipeline_tests.deployments import ASKED, MODEL, Deployment
from monitoring_pipeline_tests.faults.invariants import computed_alike, no_hour_is_missing, prove, stored_hours
from monitoring_pipeline_tests.outcomes import firing
from monitoring_pipeline_tests.outcomes import hour as at
from monitoring_pipeline_tests.stores.conftest import execute
from monitoring_pipeline_tests.traffic import START, hour

POLICIES = {"feature_drift": AlertPolicy()}
RULES = DeliveryRules(lambda _severity: ["webhook"], per_hour=1000)


def test_settings_that_change_between_ticks_hold_from_then_on_and_lose_no_hour(deployment: Deployment) -> None:
    drifting = [{**ASKED["rules"][0], "condition": {**ASKED["rules"][0]["condition"], "window": "1h"}, "for": 1}]
    deployment.watch({"windows": ["1h"], "rules": drifting})
    deployment.serve(0, 1, shift=25.0)
    deployment.set_clock(hour(2) + GRACE)
    deployment.compute(0, 1)
    apply_rule_outcomes(deployment.monitoring, deployment.monitor, hour(0), hour(2))
    before = deployment.files()
    (incident,) = deployment.monitoring.database.incidents(MODEL, Status.OPEN)

    fewer = {"numeric": ["usage"], "categorical": ["plan"]}
    other = [{**drifting[0], "name": "another_name"}]
    deployment.watch({"windows": ["1h", "4h"], "features": fewer, "rules": other})
    deployment.serve(2, 3, shift=25.0)
    deployment.set_clock(hour(4) + GRACE)
    assert hours_to_process(deployment.monitoring, deployment.monitor, hour(4) + GRACE) == [hour(2), hour(3)]
    deployment.compute(2, 3)
    apply_rule_outcomes(deployment.monitoring, deployment.monitor, hour(2), hour(4))
    prove(no_hour_is_missing(stored_hours(deployment.store, MODEL, {hour(number): 60 for number in range(4)})))
    prove(computed_alike(before, {name: deployment.files()[name] for name in before}))
    signals = deployment.store.read_signals("drift", MODEL, hour(3), hour(4))[hour(3)]
    assert {each.window for each in signals} == {"1h", "4h"}
    known = deployment.monitoring.database.incidents(MODEL, Status.OPEN)
    assert incident.id in {each.id for each in known}, "the rule is gone; its incident is there for somebody to end"


def test_a_worker_goes_on_with_tables_that_a_newer_program_has_migrated(state_url: str) -> None:
    worker = StateDatabase(state_url)
    worker.apply_outcomes([firing(0)], now=at(1), policies=POLICIES, rules=RULES)
    for table in metadata.sorted_tables:
        execute(state_url, f"ALTER TABLE {table.name} ADD COLUMN of_the_future TEXT")
    execute(state_url, "UPDATE alembic_version SET version_num = 'f00d'")
    worker.apply_outcomes([firing(0, model="other")], now=at(1), policies=POLICIES, rules=RULES)
    claim = worker.claim("webhook", now=at(1), lease=timedelta(minutes=2), worker="old")
    assert claim is not None
    assert worker.mark_sent(claim, now=at(1))
    assert [note.status for note in worker.notifications()] == [Posted.SENT, Posted.PENDING]
    assert len(worker.incidents()) == 2
    with pytest.raises(StoreError, match="A newer version of this program has migrated it: upgrade this one"):
        worker.migrate()
    worker.close()


def test_a_clock_that_steps_asks_for_no_hour_early_and_for_none_twice(deployment: Deployment) -> None:
    deployment.serve(0, 5)
    monitor, monitoring = deployment.monitor, deployment.monitoring
    asked = []
    for now in (hour(2), hour(1), hour(4), hour(3), hour(6)):
        deployment.set_clock(now + GRACE)
        hours = hours_to_process(monitoring, monitor, monitoring.now())
        asked.append([round((each - START) / HOUR) for each in hours])
        if hours:
            deployment.compute(asked[-1][0], asked[-1][-1])
    assert asked == [[0, 1], [], [2, 3], [], [4, 5]]
    prove(no_hour_is_missing(stored_hours(deployment.store, MODEL, {hour(number): 60 for number in range(6)})))


def test_labels_ahead_of_the_clock_change_exactly_their_hours_once_they_have_come_true(deployment: Deployment) -> None:
    late = "churn__late_labels"
    rows = deployment.serve(0, 2, labels=False)
    deployment.set_clock(hour(3) + GRACE)
    deployment.compute(0, 2)
    before = deployment.files("outcomes", "performance")
    first, second = (rows[rows["predicted_at"].dt.floor("h") == hour(number)] for number in (0, 1))
    deployment.label(first, known_at=hour(4) + HOUR / 4)
    deployment.label(second.head(30), known_at=hour(4) + HOUR / 2)
    deployment.label(second.tail(30), known_at=hour(6))
    deployment.pass_on(late)
    assert deployment.files("outcomes", "performance") == before, "nobody knows them yet"
    changed: list[set[str]] = []
    for number in (4, 5, 6, 7):
        deployment.set_clock(hour(number) + GRACE)
        deployment.pass_on(late)
        after = deployment.files("outcomes")
        changed.append({name.rpartition("/")[2][11:13] for name in after if after[name] != before[name]})
        before |= after
    assert changed == [set(), {"00", "01"}, set(), {"01"}]


def test_predictions_logged_after_their_hour_was_computed_have_exactly_that_hour_computed_again(
    deployment: Deployment,
) -> None:
    rows = deployment.serve(0, 2, labels=False)
    deployment.set_clock(hour(3) + GRACE)
    deployment.compute(0, 2)
    monitoring, monitor = deployment.monitoring, deployment.monitor
    assert hours_to_process(monitoring, monitor, monitoring.now()) == []
    late = rows[rows["predicted_at"].dt.floor("h") == hour(1)].head(7)
    deployment.log(late.assign(prediction_id="late " + late["prediction_id"]))
    assert hours_to_process(monitoring, monitor, monitoring.now()) == [hour(1)]
    assert [result.success for result in deployment.pass_on(f"{MODEL}__missed_hours")] == [True]
    assert hours_to_process(monitoring, monitor, monitoring.now()) == []
    served = {hour(0): 60, hour(1): 67, hour(2): 60}
    prove(no_hour_is_missing(stored_hours(deployment.store, MODEL, served)))


def test_a_lease_survives_a_clock_that_steps_back_and_ends_when_it_is_right_again(state_url: str) -> None:
    state = StateDatabase(state_url)
    state.apply_outcomes([firing(0)], now=at(1), policies=POLICIES, rules=RULES)
    first = state.claim("webhook", now=at(1), lease=timedelta(minutes=2), worker="one")
    assert first is not None
    back = at(1) - timedelta(minutes=30)
    assert state.claim("webhook", now=back, lease=timedelta(minutes=2), worker="two") is None
    second = state.claim("webhook", now=at(1) + timedelta(minutes=3), lease=timedelta(minutes=2), worker="two")
    assert second is not None
    assert (state.mark_sent(first, now=back), state.mark_sent(second, now=at(2))) == (False, True)
    state.close()


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati", "Asia/Kathmandu"])
def test_the_zone_of_the_machine_changes_no_byte(
    deployment: Deployment, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.serve(0, 1)
    deployment.set_clock(hour(2) + GRACE)
    deployment.compute(0, 1)
    before = deployment.files()
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert time.localtime(START.timestamp()).tm_hour != START.hour
        assert hours_to_process(deployment.monitoring, deployment.monitor, hour(2) + GRACE) == []
        deployment.compute(0, 1)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    prove(computed_alike(before, deployment.files()))
