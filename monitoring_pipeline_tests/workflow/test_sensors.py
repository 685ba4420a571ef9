"""Each sensor, evaluated on a real instance; what it asks for is executed where a test goes on from there."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.judge.triggers import NoRetrain
from monitoring_pipeline.notify.alerts import Status
from monitoring_pipeline.settings.load import load_monitors
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.workflow import retraining_sensor
from monitoring_pipeline.workflow.episodes import EPISODE_TAG
from monitoring_pipeline.workflow.partitions import hour_of_key
from monitoring_pipeline.workflow.retraining_sensor import record_decisions
from monitoring_pipeline.workflow.sensors import CATCH_UP_HOURS, GRACE, RETRY_EVERY, hours_to_process
from monitoring_pipeline_tests.deployments import (
    ASKED,
    MODEL,
    VERSION,
    Deployment,
    customers,
    definitions_of,
    requested_hours,
)
from monitoring_pipeline_tests.traffic import START, hour

MISSED, LATE, ALERTING = "churn__missed_hours", "churn__late_labels", "churn__verdict_alerts"
RETRAINING, REGISTRY = "churn__retraining", "churn__model_registry"
AGED = {"name": "age", "condition": {"metric": "model.age_days", "above": 1}}
OLD = {"retraining": ASKED["retraining"] | {"triggers": [AGED], "minimum_labelled_rows": 10}}
"""A trigger that the champion, five days old, fulfils at every hour."""


def in_progress(deployment: Deployment, job: str, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED) -> str:
    """Put a run on record that another process executes."""
    definition = deployment.defs.resolve_job_def(job)
    run = deployment.instance.create_run_for_job(definition, status=status)
    return run.run_id


def key(number: int) -> str:
    return f"2026-11-{20 + number // 24}-{number % 24:02}:00"


# Missed hours


def test_complete_hours_nothing_has_processed_are_requested_in_one_run(deployment: Deployment) -> None:
    deployment.set_clock(hour(3) + GRACE)
    found = deployment.tick(MISSED)
    assert requested_hours(found) == [(key(0), key(2))]
    deployment.start(MISSED, found)
    assert deployment.tick(MISSED).skip_message == "every complete hour has been processed"


def test_an_hour_just_over_is_left_to_the_schedule(deployment: Deployment) -> None:
    deployment.set_clock(hour(1) + GRACE - timedelta(seconds=1))
    assert deployment.tick(MISSED).run_requests == []
    deployment.set_clock(hour(1) + GRACE)
    assert requested_hours(deployment.tick(MISSED)) == [(key(0), key(0))]


def test_only_the_hours_missing_in_between_are_requested(deployment: Deployment) -> None:
    deployment.set_clock(hour(5) + GRACE)
    deployment.compute(0, 0)
    deployment.compute(3, 3)
    assert requested_hours(deployment.tick(MISSED)) == [(key(1), key(2)), (key(4), key(4))]


@pytest.mark.parametrize("kind", ["verdicts", "rules", "diagnoses"])
def test_an_hour_of_which_something_could_not_be_written_is_asked_for_again(deployment: Deployment, kind: str) -> None:
    deployment.serve(0, 0)
    deployment.set_clock(hour(1) + GRACE)
    in_the_way = deployment.monitoring.data / kind / f"model={MODEL}" / "2026-11-20T00Z.parquet"
    in_the_way.mkdir(parents=True)
    with pytest.raises(OSError, match="2026-11-20T00Z"):
        deployment.compute(0, 0)
    in_the_way.rmdir()
    assert requested_hours(deployment.tick(MISSED)) == [(key(0), key(0))]
    deployment.compute(0, 0)
    assert deployment.tick(MISSED).run_requests == []


def test_a_long_absence_is_made_good_in_bounded_runs(deployment: Deployment) -> None:
    deployment.set_clock(START + timedelta(days=400))
    (first, last), *others = requested_hours(deployment.tick(MISSED))
    assert (hour_of_key(last) - hour_of_key(first)) / HOUR + 1 == CATCH_UP_HOURS
    assert others == []


def test_no_hour_is_requested_before_the_start_or_after_the_end_of_a_monitor(deployment: Deployment) -> None:
    deployment.set_clock(START - HOUR)
    assert deployment.tick(MISSED).run_requests == []
    deployment.watch({"end": hour(2).isoformat()})
    assert hours_to_process(deployment.monitoring, deployment.monitor, hour(30)) == [hour(0), hour(1)]


def test_nothing_is_requested_while_a_run_is_under_way(deployment: Deployment) -> None:
    deployment.set_clock(hour(3) + GRACE)
    run_id = in_progress(deployment, "churn__hourly")
    assert deployment.tick(MISSED).skip_message == "1 hourly run(s) in progress"
    deployment.instance.delete_run(run_id)
    assert len(deployment.tick(MISSED).run_requests) == 1


def test_an_hour_that_always_fails_holds_no_other_back_and_is_tried_again_but_not_every_minute(
    deployment: Deployment,
) -> None:
    deployment.set_clock(hour(3) + GRACE)
    deployment.log(customers([hour(2)]))
    folder = deployment.monitoring.data / "predictions" / "model=churn" / "hour=2026-11-20T02Z"
    (folder / "broken.parquet").write_bytes(b"half a file")
    used: set[str | None] = set()

    def pass_on() -> list[tuple[str, str]]:
        """Do what the daemon does: a key that was used starts nothing."""
        found = deployment.tick(MISSED)
        new = [request for request in found.run_requests if request.run_key not in used]
        used.update(request.run_key for request in new)
        started = dg.SensorResult(run_requests=new)
        deployment.start(MISSED, started)
        return requested_hours(started)

    assert pass_on() == [(key(0), key(2))]
    assert pass_on() == [(key(0), key(1)), (key(2), key(2))], "in halves, once the whole has failed"
    assert deployment.store.hours("verdicts", MODEL) == [hour(0), hour(1)]
    deployment.set_clock(hour(3) + GRACE + timedelta(minutes=1))
    assert pass_on() == []
    deployment.set_clock(hour(3) + GRACE + RETRY_EVERY)
    (folder / "broken.parquet").unlink()
    assert pass_on() == [(key(2), key(2))]
    assert deployment.tick(MISSED).skip_message == "every complete hour has been processed"


def test_hours_whose_reference_can_be_read_again_are_looked_for_at_every_attempt_and_not_at_every_tick(
    deployment: Deployment,
) -> None:
    deployment.set_clock(hour(1) + GRACE)
    deployment.compute(0, 0)
    deployment.store.write("unread", MODEL, hour(0), pa.table({"version": [VERSION], "why": ["it was away"]}))
    assert requested_hours(deployment.tick(MISSED)) == [(key(0), key(0))]
    assert deployment.tick(MISSED).skip_message == "every complete hour has been processed"
    deployment.set_clock(hour(1) + GRACE + RETRY_EVERY)
    assert requested_hours(deployment.tick(MISSED)) == [(key(0), key(0))], "no run has done it since"


# Late labels


def test_exactly_the_processed_hours_that_changed_are_requested(deployment: Deployment) -> None:
    rows = customers([hour(number) for number in range(6)])
    deployment.log(rows)
    deployment.set_clock(hour(5) + GRACE)
    deployment.compute(0, 4)
    assert deployment.tick(LATE).skip_message == "no labels since arrival 0"
    for number in (1, 2, 4, 5):
        deployment.label(rows[rows["predicted_at"].between(hour(number), hour(number) + HOUR, inclusive="left")])
    found = deployment.tick(LATE)
    assert requested_hours(found) == [(key(1), key(2)), (key(4), key(4))], "hour 5 has not been processed"
    assert all(run.success for run in deployment.start(LATE, found))


def test_no_label_is_requested_twice_and_the_cursor_survives_a_restart(deployment: Deployment) -> None:
    rows = deployment.serve(0, 1, labels=False)
    deployment.set_clock(hour(2) + GRACE)
    deployment.compute(0, 1)
    deployment.label(rows[:60])
    first = deployment.tick(LATE)
    assert deployment.tick(LATE).run_requests == []
    definitions_of.cache_clear()  # a new code location: of the sensor its cursor is left
    assert deployment.tick(LATE).run_requests == []
    deployment.label(rows[60:])
    second = deployment.tick(LATE)
    assert [requested_hours(found) for found in (first, second)] == [[(key(0), key(0))], [(key(1), key(1))]]
    assert first.run_requests[0].run_key != second.run_requests[0].run_key


def test_the_same_tick_twice_asks_for_the_same_runs(deployment: Deployment) -> None:
    rows = deployment.serve(0, 0, labels=False)
    deployment.set_clock(hour(1) + GRACE)
    deployment.compute(0, 0)
    deployment.label(rows)
    killed = deployment.tick(LATE)
    deployment.cursors.clear()  # the daemon died before it stored the cursor
    assert [request.run_key for request in deployment.tick(LATE).run_requests] == [
        request.run_key for request in killed.run_requests
    ]


@pytest.mark.parametrize("job", ["churn__hourly", "__ASSET_JOB"])
def test_labels_wait_for_a_run_that_may_have_read_the_log_before_they_came(deployment: Deployment, job: str) -> None:
    rows = deployment.serve(0, 0, labels=False)
    deployment.set_clock(hour(1) + GRACE)
    run_id = in_progress(deployment, job)
    deployment.label(rows)
    assert "in progress" in str(deployment.tick(LATE).skip_message)
    deployment.compute(0, 0)
    deployment.instance.delete_run(run_id)
    assert requested_hours(deployment.tick(LATE)) == [(key(0), key(0))]


# Alerting


def test_quiet_hours_start_no_run(deployment: Deployment) -> None:
    deployment.serve(0, 4)
    deployment.set_clock(hour(5) + GRACE)
    deployment.process(0, 4)
    found = deployment.tick(ALERTING)
    assert (found.run_requests, found.skip_message) == ([], "5 quiet hours, no open incident")
    assert deployment.tick(ALERTING).skip_message == "no newly judged hours"


def test_firing_hours_are_applied_once_and_quiet_ones_as_long_as_an_incident_is_open(deployment: Deployment) -> None:
    deployment.serve(0, 4, shift=15.0)
    deployment.set_clock(hour(12) + GRACE)
    deployment.process(0, 4)
    (applied,) = deployment.pass_on(ALERTING)
    assert applied.success
    (incident,) = deployment.monitoring.database.incidents(MODEL)
    assert (incident.rule, incident.first_hour) == ("feature_drift", hour(3)), "when it began, an hour before it fired"
    assert deployment.tick(ALERTING).run_requests == []
    deployment.serve(5, 10)
    deployment.process(5, 10)
    assert len(deployment.pass_on(ALERTING)) == 1
    (incident,) = deployment.monitoring.database.incidents(MODEL)
    assert incident.status is Status.RESOLVED


def test_an_hour_judged_again_opens_no_second_incident(deployment: Deployment) -> None:
    deployment.serve(0, 4, shift=15.0)
    deployment.set_clock(hour(6))
    for _ in range(2):
        deployment.process(0, 4)
        assert all(run.success for run in deployment.pass_on(ALERTING))
    assert len(deployment.monitoring.database.incidents(MODEL)) == 1
    assert len(deployment.monitoring.database.notifications()) == 1


# Retraining


def watched(deployment: Deployment, hours: int, *asked: Any) -> None:
    deployment.watch(*(asked or ({},)))
    deployment.serve(0, hours - 1)
    deployment.set_clock(hour(hours) + GRACE)


def test_every_judged_hour_has_its_decision_with_the_values_behind_it(deployment: Deployment) -> None:
    watched(deployment, 4)
    deployment.compute(0, 0)
    deployment.tick(RETRAINING)
    deployment.compute(1, 3)
    assert deployment.tick(RETRAINING).run_requests == []
    decisions = deployment.monitoring.database.decisions(MODEL)
    assert [decision.hour for decision in decisions] == [hour(number) for number in range(4)]
    for number, decision in enumerate(decisions):
        (clause,) = decision.clauses
        assert (decision.fired, decision.reason) == (False, NoRetrain.NOT_ENOUGH_CLAUSES)
        assert (clause.name, clause.state, clause.threshold) == ("age", RuleState.QUIET, 30)
        assert clause.value == pytest.approx(5 + (number + 1) / 24)
    assert deployment.tick(RETRAINING).skip_message == "0 hour(s) decided, no retraining to start"


def test_of_hours_from_before_it_was_switched_on_only_the_newest_is_decided(deployment: Deployment) -> None:
    watched(deployment, 3)
    deployment.compute(0, 2)
    deployment.tick(RETRAINING)
    assert [decision.hour for decision in deployment.monitoring.database.decisions(MODEL)] == [hour(2)]


def test_an_hour_nobody_was_served_in_for_days_has_a_decision_too(deployment: Deployment) -> None:
    deployment.set_clock(hour(2))
    deployment.compute(0, 0)
    deployment.tick(RETRAINING)
    (decision,) = deployment.monitoring.database.decisions(MODEL)
    assert (decision.version, decision.fired, decision.reason) == ("", False, NoRetrain.UNKNOWN)


def test_a_fired_decision_opens_one_episode_and_starts_one_run(deployment: Deployment) -> None:
    watched(deployment, 2, OLD)
    deployment.compute(0, 0)
    found = deployment.tick(RETRAINING)
    (request,) = found.run_requests
    (episode,) = deployment.monitoring.database.episodes(MODEL)
    assert request.run_key == request.tags[EPISODE_TAG] == episode.id
    in_progress_id = deployment.instance.create_run_for_job(
        deployment.defs.resolve_job_def("churn__retraining"), tags=request.tags, status=dg.DagsterRunStatus.STARTED
    ).run_id
    deployment.compute(1, 1)
    assert deployment.tick(RETRAINING).run_requests == []
    assert deployment.monitoring.database.decisions(MODEL)[-1].reason is NoRetrain.EPISODE_OPEN
    assert deployment.instance.get_run_by_id(in_progress_id) is not None


def test_a_tick_killed_after_recording_the_decision_is_made_good_with_the_same_run(deployment: Deployment) -> None:
    watched(deployment, 1, OLD)
    deployment.compute(0, 0)
    (decision,) = record_decisions(deployment.monitoring, deployment.monitor)  # and there the process ends
    keys = [request.run_key for _ in range(2) for request in deployment.tick(RETRAINING).run_requests]
    assert keys == [decision.episode_id] * 2, "asked for until a run is there, which the key allows once"
    assert len(deployment.monitoring.database.episodes(MODEL)) == 1


def test_two_daemons_at_once_record_one_decision_and_ask_for_the_same_run(deployment: Deployment) -> None:
    watched(deployment, 1, OLD)
    deployment.compute(0, 0)
    together = Barrier(2)

    def tick() -> list[str]:
        together.wait()
        return [str(request.run_key) for request in deployment.tick(RETRAINING).run_requests]

    deployment.defs.resolve_sensor_def(RETRAINING)
    with ThreadPoolExecutor(2) as pool:
        first, second = [job.result() for job in [pool.submit(tick), pool.submit(tick)]]
    (episode,) = deployment.monitoring.database.episodes(MODEL)
    assert len(deployment.monitoring.database.decisions(MODEL)) == 1
    assert first == second == [episode.id]


def test_a_failed_run_closes_its_episode_and_the_next_one_waits_for_the_cooldown(deployment: Deployment) -> None:
    watched(deployment, 2, OLD)
    deployment.compute(0, 0)
    (failed,) = deployment.pass_on(RETRAINING)
    assert not failed.success, "one hour is too little to train on"
    assert deployment.tick(RETRAINING).run_requests == []
    (episode,) = deployment.monitoring.database.episodes(MODEL)
    assert episode.status is EpisodeStatus.FAILED
    assert episode.outcome["runs"] == [failed.run_id]
    deployment.compute(1, 1)
    assert deployment.tick(RETRAINING).run_requests == []
    assert deployment.monitoring.database.decisions(MODEL)[-1].reason is NoRetrain.COOLDOWN


def test_a_run_that_is_about_to_be_started_again_keeps_its_episode_open(deployment: Deployment) -> None:
    watched(deployment, 1, OLD)
    deployment.compute(0, 0)
    (request,) = deployment.tick(RETRAINING).run_requests
    deployment.instance.create_run_for_job(
        deployment.defs.resolve_job_def("churn__retraining"),
        tags={**request.tags, "dagster/will_retry": "true"},
        status=dg.DagsterRunStatus.FAILURE,
    )
    assert deployment.tick(RETRAINING).run_requests == []
    assert [episode.finished_at for episode in deployment.monitoring.database.episodes(MODEL)] == [None]


def test_without_a_trainer_a_decision_is_only_recorded(deployment: Deployment) -> None:
    watched(deployment, 1, {"retraining": OLD["retraining"] | {"trainer": None}})
    deployment.compute(0, 0)
    assert deployment.tick(RETRAINING).run_requests == []
    (episode,) = deployment.monitoring.database.episodes(MODEL)
    assert deployment.monitoring.database.decisions(MODEL)[0].fired
    assert episode.status is EpisodeStatus.FAILED
    assert "retraining.trainer" in str(episode.outcome["reasons"])


# Model registry


def test_a_new_champion_and_a_moved_alias_have_their_references_built(deployment: Deployment) -> None:
    assert deployment.tick(REGISTRY).run_requests[0].tags["aliases"] == "champion -> v1"
    assert deployment.tick(REGISTRY).skip_message == "unchanged: champion -> v1"

    version = deployment.add_version(customers([START - HOUR]), trained_until=START - HOUR)
    assert deployment.monitoring.references.load(MODEL, version) is None
    (built,) = deployment.pass_on(REGISTRY)
    assert built.success
    assert deployment.monitoring.references.load(MODEL, version) is not None

    uri = deployment.monitoring.deployment.tracking_uri
    for champion in (version, "1", version):
        MlflowClient(uri, uri).set_registered_model_alias(MODEL, "champion", champion)
        (request,) = deployment.tick(REGISTRY).run_requests
        assert f"champion -> v{champion}" in request.tags["aliases"]
        assert request.run_key is None, "going back to an earlier champion must not be taken for a repetition"


def test_an_alias_nobody_monitors_is_not_news(deployment: Deployment) -> None:
    deployment.tick(REGISTRY)
    deployment.add_version(customers([START - HOUR]), trained_until=START - HOUR, alias="scratch")
    assert deployment.tick(REGISTRY).run_requests == []


# Two monitors


def test_two_monitors_of_one_deployment_do_not_see_each_others_data(deployment: Deployment) -> None:
    other = {"model": "returns", "registered_model": "customer returns"}
    deployment.watch(OLD, other)
    assert len(load_monitors(deployment.home / "monitors")) == 2
    deployment.serve(0, 4, shift=15.0)
    deployment.set_clock(hour(5) + GRACE)
    deployment.process(0, 4)
    no_reference = "no version of customer returns has a reference: materialise it first"
    assert deployment.tick("returns__missed_hours").skip_message == no_reference
    untouched = deployment.files()
    deployment.process(0, 4, model="returns")
    assert deployment.files() == untouched
    served = deployment.store.read_served("customer returns", hour(0), hour(5))
    assert served == {hour(number): {} for number in range(5)}

    assert [len(deployment.pass_on(f"{model}__verdict_alerts")) for model in (MODEL, "returns")] == [1, 0]
    assert [len(deployment.tick(f"{model}__retraining").run_requests) for model in (MODEL, "returns")] == [1, 0]
    assert deployment.tick("returns__late_labels").skip_message == "no labels since arrival 0"
    database = deployment.monitoring.database
    assert (len(database.incidents(MODEL)), database.incidents("customer returns")) == (1, [])
    assert (len(database.episodes(MODEL)), database.episodes("customer returns")) == (1, [])


def test_a_tick_decides_a_bounded_number_of_hours(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    watched(deployment, 4)
    deployment.compute(0, 0)
    deployment.tick(RETRAINING)
    deployment.compute(1, 3)
    monkeypatch.setattr(retraining_sensor, "DECISIONS_PER_TICK", 2)
    decided = [str(deployment.tick(RETRAINING).skip_message).partition(" hour")[0] for _ in range(3)]
    assert decided == ["2", "1", "0"]
