import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.workflow.build import build_definitions
from monitoring_pipeline_tests.deployments import ASKED

ROOT = Path(__file__).parents[2]
OUTSIDE = {"prediction_log", "label_log", "registered_model"}
REPORTS = {"drift_report", "performance_report", "quality_report", "operations_report"}
DAILY = ("sample_report", "attribution_report", "slice_report", "evidently_report", "shadow_report", "health_page")
HEAVY = ("mlflow", "evidently", "sklearn", "skops", "slack_sdk", "matplotlib")


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_definitions([parse_monitor(ASKED), parse_monitor({**ASKED, "model": "returns"})])


def names(keys: set[dg.AssetKey], model: str = "churn") -> set[str]:
    assert {key.path[0] for key in keys} <= {model}, "assets of another model"
    return {key.path[1] for key in keys}


def test_the_definitions_can_be_loaded(defs: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(defs)


def test_the_code_location_loads_in_a_fresh_process_without_heavy_libraries(tmp_path: Path) -> None:
    folder = tmp_path / "monitors"
    folder.mkdir()
    (folder / "churn.yaml").write_text(json.dumps(ASKED))
    program = (
        "import sys, dagster as dg\n"
        "from monitoring_pipeline.definitions import defs\n"
        "dg.Definitions.validate_loadable(defs)\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), len(list(defs.resolve_all_job_defs())) > 5)\n"
    )
    variables = {"MONITORING_MONITORS": str(folder), "MONITORING_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    loaded = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "[] True"
    assert not list(tmp_path.glob("*.db")), "loading must not touch the state"


def test_lineage_leads_from_the_logs_and_the_registry_to_the_promotion(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    above = graph.get_ancestor_asset_keys(dg.AssetKey(["churn", "promotion"]))
    own = {key for key in graph.get_all_asset_keys() if key.path[0] == "churn"}
    assert names(own) - names(set(above)) == {"promotion", *DAILY}, "nothing is made of the daily reports"
    assert names({key for key in above if not graph.get(key).parent_keys}) == OUTSIDE


def test_outcomes_come_from_labels_and_profiles_from_predictions(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    parents = {
        name: names(set(graph.get(dg.AssetKey(["churn", name])).parent_keys))
        for name in ("serving_sample", "serving_profile", "outcomes", "reference_distributions", "verdicts")
    }
    assert parents == {
        "serving_sample": {"prediction_log"},
        "serving_profile": {"prediction_log", "reference_distributions"},
        "outcomes": {"prediction_log", "label_log"},
        "reference_distributions": {"registered_model"},
        "verdicts": REPORTS,
    }


def test_every_asset_says_what_it_is_whose_and_of_which_kind(defs: dg.Definitions) -> None:
    specs = list(defs.resolve_all_asset_specs())
    assert len(specs) == 2 * (16 + len(DAILY))
    for spec in specs:
        assert spec.description, spec.key
        assert spec.kinds, spec.key
        assert list(spec.owners) == ["team:churn"], spec.key
        assert spec.tags["monitoring/model"] == spec.key.path[0]
        page = str(spec.description).rpartition("`docs/")[2].rstrip("`")
        assert (ROOT / "docs" / page).is_file(), spec.key


def test_the_groups_of_a_monitor_are_listed_in_the_order_of_the_flow(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    groups = {key: graph.get(key).group_name for key in graph.get_all_asset_keys() if key.path[0] == "churn"}
    assert sorted(set(groups.values())) == [
        f"churn_{name}" for name in ("1_sources", "2_describe", "3_evaluate", "4_judge", "5_daily", "6_retrain")
    ]
    backwards = [
        (parent.path[1], key.path[1])
        for key in groups
        for parent in graph.get(key).parent_keys
        if groups[parent] > groups[key]
    ]
    assert backwards == []


def test_jobs_schedules_and_sensors_say_what_they_are_for(defs: dg.Definitions) -> None:
    repository = defs.get_repository_def()
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    said = {each.name: each.description for each in jobs}
    said |= {each.name: each.description for each in repository.schedule_defs}
    said |= {each.name: each.description for each in repository.sensor_defs}
    assert [name for name, description in said.items() if len(description or "") < 30] == []


def test_hourly_assets_have_utc_hours_and_one_backfill_policy(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    partitioned = {key for key in graph.get_all_asset_keys() if graph.get(key).partitions_def is not None}
    hourly = {"serving_sample", "serving_profile", "outcomes", "verdicts", *REPORTS}
    assert {key.path[1] for key in partitioned} == {*hourly, *DAILY}
    for key in partitioned:
        partitions = graph.get(key).partitions_def
        of_hours = key.path[1] in hourly
        assert isinstance(partitions, dg.HourlyPartitionsDefinition if of_hours else dg.DailyPartitionsDefinition)
        assert str(partitions.timezone) == "UTC"
        assert graph.get(key).backfill_policy == dg.BackfillPolicy.single_run()


def test_jobs_execute_in_one_process_and_are_marked_with_their_model(defs: dg.Definitions) -> None:
    jobs = [job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]
    assert len(jobs) == 2 * 8 + 4
    for job in jobs:
        assert job.executor_def is dg.in_process_executor, job.name
        assert job.tags.get("monitoring/model", "none") == job.name.partition("__")[0] or "__" not in job.name
    by_hand = defs.resolve_implicit_global_asset_job_def()  # what is materialised in the UI
    assert by_hand.executor_def is dg.in_process_executor


def test_a_job_is_looked_for_among_the_assets_of_its_own_model(defs: dg.Definitions) -> None:
    own = {key for key in defs.resolve_asset_graph().get_all_asset_keys() if key.path[0] == "churn"}
    for job in ("hourly", "daily", "late_labels", "reference", "retraining"):
        looked_at = defs.resolve_job_def(f"churn__{job}").asset_layer.asset_graph.source_asset_graph
        assert looked_at.get_all_asset_keys() == own


@pytest.mark.parametrize(
    ("name", "minutes", "at", "key"),
    [
        ("every_hour", "10 * * * *", datetime(2026, 11, 21, 6, 10, tzinfo=UTC), "2026-11-21-05:00"),
        ("every_day", "40 0 * * *", datetime(2026, 11, 21, 0, 40, tzinfo=UTC), "2026-11-20"),
        ("every_hour", "10 * * * *", datetime(2020, 1, 1, tzinfo=UTC), None),
    ],
)
def test_what_is_over_is_requested_minutes_after_its_end(
    defs: dg.Definitions, name: str, minutes: str, at: datetime, key: str | None
) -> None:
    schedule, repository = defs.resolve_schedule_def(f"churn__{name}"), defs.get_repository_def()
    assert (schedule.cron_schedule, schedule.execution_timezone) == (minutes, "UTC")
    with dg.build_schedule_context(scheduled_execution_time=at, repository_def=repository) as context:
        requests = schedule.evaluate_tick(context).run_requests or []
    assert [(each.run_key, each.partition_key) for each in requests] == ([(key, key)] if key else [])


def test_no_sensor_runs_before_somebody_switches_it_on(defs: dg.Definitions) -> None:
    sensors = defs.resolve_sensor_def
    found = [sensors(name) for name in ("outbox", "churn__verdict_alerts", "churn__retraining", "returns__late_labels")]
    assert {sensor.default_status for sensor in found} == {dg.DefaultSensorStatus.STOPPED}


def test_a_check_that_somebody_adds_to_an_asset_belongs_to_its_jobs() -> None:
    @dg.asset_check(asset=dg.AssetKey(["churn", "verdicts"]))
    def rows_are_ours() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    own = dg.Definitions(asset_checks=[rows_are_ours])
    made = dg.Definitions.merge(build_definitions([parse_monitor(ASKED)]), own)
    assert "churn__verdicts_rows_are_ours" in {node.name for node in made.resolve_job_def("churn__hourly").nodes}
