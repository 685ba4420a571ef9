"""A rehearsal drives the daemon's own iteration: ticks, cursors and run keys are recorded, and its runs are real."""

import sys

import dagster as dg
import pytest

from monitoring_pipeline.workflow.partitions import RANGE_END, RANGE_START
from monitoring_pipeline.workflow.rehearsal import MODULE, rehearsing
from monitoring_pipeline.workflow.retraining_sensor import record_decisions
from monitoring_pipeline.workflow.sensors import GRACE
from monitoring_pipeline_tests.deployments import ASKED, MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour

# Dagster reads its own deprecated property when a code location is loaded in this process.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars`:DeprecationWarning"),
]

MISSED = "2026-11-21-01:00"
AGED = {"name": "age", "condition": {"metric": "model.age_days", "above": 1}}


def test_ticks_are_recorded_runs_are_real_and_a_killed_decision_starts_one_retraining(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.watch({"retraining": ASKED["retraining"] | {"triggers": [AGED], "minimum_labelled_rows": 100}})
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    deployment.serve(0, 25)
    deployment.set_clock(hour(26) + GRACE)
    deployment.compute(0, 24)
    (killed,) = record_decisions(deployment.monitoring, deployment.monitor)  # what a tick did before it was killed
    assert killed.fired

    with rehearsing(deployment.home / "dagster", deployment.home / "clock") as rehearsal:
        names = rehearsal.start_sensors()
        rehearsal.tick(2)
        assert rehearsal.tick_count() == 2 * len(names) == 16
        counts = rehearsal.run_counts()
        runs = rehearsal.instance.get_runs(dg.RunsFilter(job_name="churn__retraining"))
        (hourly,) = rehearsal.instance.get_runs(dg.RunsFilter(job_name="churn__hourly"))
        verdicts = dg.AssetRecordsFilter(asset_key=dg.AssetKey([MODEL, "verdicts"]), asset_partitions=[MISSED])
        records = rehearsal.instance.fetch_materializations(verdicts, limit=5).records
    assert counts["churn__hourly success"] == 1
    assert {hourly.tags[RANGE_START], hourly.tags[RANGE_END]} == {MISSED}, "the one hour that was missing"
    assert hourly.run_id in {record.run_id for record in records}
    assert len(runs) == 1
    assert runs[0].tags["dagster/run_key"] == killed.episode_id
    (episode,) = deployment.monitoring.database.episodes(MODEL)
    assert (episode.run_id, episode.finished_at is not None) == (runs[0].run_id, True)


def test_a_sensor_that_fails_is_not_passed_over(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    with rehearsing(deployment.home / "dagster", deployment.home / "clock") as rehearsal:
        rehearsal.start_sensors()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{deployment.home / 'no such folder' / 'mlflow.db'}")
        with pytest.raises(RuntimeError, match="sensor churn__model_registry failed"):
            rehearsal.tick()


def test_what_is_left_behind_is_an_instance_without_the_in_process_launcher(deployment: Deployment) -> None:
    home = deployment.home / "another"
    with rehearsing(home, deployment.home / "clock"):
        assert "SyncInMemoryRunLauncher" in (home / "dagster.yaml").read_text()
    assert "SyncInMemoryRunLauncher" not in (home / "dagster.yaml").read_text()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_runs_count() == 0
