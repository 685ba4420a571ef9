import itertools
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.stores.retention import ELSEWHERE, FOREVER, HOURLY, ROWS
from monitoring_pipeline.workflow.episodes import EPISODE_TAG
from monitoring_pipeline.workflow.monitor_status import monitor_status
from monitoring_pipeline.workflow.storage import limits_of, prune_runs, tidy
from monitoring_pipeline_tests.deployments import ASKED, MODEL, Deployment, open_instance
from monitoring_pipeline_tests.postgres import running_postgres
from monitoring_pipeline_tests.traffic import START, hour

DAYS = dg.DailyPartitionsDefinition("2026-01-01")
SHORT = {"retention": {"hot": "1d", "warm": "1d", "cold": "1d"}, "retraining": {"trainer": "none"}}
POSTGRES = """\
storage:
  postgres:
    postgres_url: {url}
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
_numbers = itertools.count()


@dg.asset(partitions_def=DAYS)
def daily() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"made": next(_numbers)})


@dg.asset
def whole() -> None: ...


@dg.asset
def broken() -> None:
    raise ValueError("not today")


@dg.job
def other() -> None: ...


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    if request.param == "sqlite":
        with open_instance(tmp_path / "dagster") as found:
            yield found
        return
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        Path(folder).chmod(0o755)
        with running_postgres(Path(folder) / "server") as url:
            (tmp_path / "dagster.yaml").write_text(POSTGRES.format(url=url))
            with dg.DagsterInstance.from_config(str(tmp_path)) as found:
                yield found


def made(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, key: str | None = None, **more: str) -> str:
    """Materialise assets in one run, and return its id."""
    done = dg.materialize(list(assets), instance=instance, partition_key=key, tags=more, raise_on_error=False)
    return done.run_id


def shown(instance: dg.DagsterInstance) -> dict[str, object]:
    """Return what the UI shows of the assets: which partitions there are, and what is newest of each."""
    found: dict[str, object] = {"partitions": sorted(instance.get_materialized_partitions(daily.key))}
    for key in ("2026-01-01", "2026-01-02"):
        filters = dg.AssetRecordsFilter(asset_key=daily.key, asset_partitions=[key])
        (newest,) = instance.fetch_materializations(filters, limit=1).records
        assert newest.asset_materialization is not None
        found[key] = newest.run_id, newest.asset_materialization.metadata["made"].value
    for asset in (daily, whole):
        event = instance.get_latest_materialization_event(asset.key)
        assert event is not None
        found[asset.key.to_user_string()] = event.run_id
    return found


def runs(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def test_runs_go_that_nothing_needs_and_the_newest_of_everything_stays(instance: dg.DagsterInstance) -> None:
    replaced = [made(instance, daily, key="2026-01-01"), made(instance, whole), made(instance, broken)]
    kept = [made(instance, daily, key=key) for key in ("2026-01-02", "2026-01-01")] + [made(instance, whole)]
    jobs = [other.execute_in_process(instance=instance).run_id for _ in range(3)]
    retraining = made(instance, daily, key="2026-01-02", **{EPISODE_TAG: "churn-1"})
    kept[0] = made(instance, daily, key="2026-01-02")
    before = shown(instance)
    waiting = instance.create_run_for_job(other, status=dg.DagsterRunStatus.STARTED).run_id
    events = {run_id: len(instance.all_logs(run_id)) for run_id in kept}
    later = datetime.now(UTC) + timedelta(minutes=1)

    everything = runs(instance)
    assert prune_runs(instance, before=later - timedelta(days=1)) == 0
    count = prune_runs(instance, before=later, dry_run=True)
    assert runs(instance) == everything
    assert prune_runs(instance, before=later) == count
    assert runs(instance) == {*kept, retraining, waiting}
    assert shown(instance) == before
    assert {run_id: len(instance.all_logs(run_id)) for run_id in kept} == events
    assert not any(instance.all_logs(run_id) for run_id in [*replaced, *jobs])
    assert prune_runs(instance, before=later) == 0


def test_a_deleted_run_leaves_no_event_behind(instance: dg.DagsterInstance) -> None:
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    made(instance, whole)
    kept = made(instance, whole)
    other.execute_in_process(instance=instance)
    prune_runs(instance, before=datetime.now(UTC) + timedelta(minutes=1))
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    with storage.index_connection() as connection:
        left = {row[0] for row in connection.execute(sa.select(Events.c.run_id).where(Events.c.asset_key.is_not(None)))}
    assert left == {kept}


def test_without_a_section_nothing_is_removed_and_hours_still_become_days(deployment: Deployment) -> None:
    deployment.serve(0, 5)
    deployment.set_clock(hour(7))
    deployment.compute(0, 5)
    before = deployment.store.read_verdicts(MODEL, hour(0), hour(6))
    done = tidy(deployment.monitor, deployment.monitoring.kept, START + timedelta(days=900), dry_run=False)
    assert not done.removed
    assert done.files_saved > 50
    assert deployment.store.read_verdicts(MODEL, hour(0), hour(6)) == before


def test_every_kind_that_hours_leave_has_its_place_in_a_tier(deployment: Deployment) -> None:
    deployment.serve(0, 1)
    deployment.set_clock(hour(3))
    deployment.compute(0, 1)
    kinds = {path.name for path in deployment.monitoring.data.iterdir()}
    assert kinds <= ROWS | HOURLY | FOREVER | ELSEWHERE


def test_hours_that_have_expired_are_not_asked_for_again(deployment: Deployment) -> None:
    deployment.watch(SHORT)
    deployment.serve(0, 1)
    deployment.set_clock(hour(3))
    deployment.compute(0, 1)
    now = START + timedelta(days=400)
    tidy(deployment.monitor, deployment.monitoring.kept, now, dry_run=False)
    before = deployment.store.expired("verdicts", MODEL)
    assert before is not None
    assert before > hour(24)
    deployment.set_clock(before + timedelta(hours=3))
    found = deployment.tick(f"{MODEL}__missed_hours")
    (request,) = found.run_requests
    assert request.run_key.startswith(f"{before:%Y-%m-%dT%H}")
    with pytest.raises(Exception, match="expired"):
        deployment.compute(0, 1)
    status = monitor_status(deployment.monitor, deployment.store, [], now=hour(5))
    assert status.because == f"what was judged before {before:%Y-%m-%d} has expired, by its `retention`"


def test_the_rows_of_a_retraining_that_is_over_go_and_its_documents_stay(tmp_path: Path) -> None:
    monitor, now = parse_monitor({**ASKED, **SHORT}), START + timedelta(days=100)
    kept = set()
    for run, days in (("over", 3), ("going_on", 0)):
        folder = tmp_path / "retraining" / monitor.model / run
        folder.mkdir(parents=True)
        for name, age in (("training.parquet", 3), ("holdout.parquet", 3), ("evaluation.json", days)):
            (folder / name).write_text("12")
            os.utime(folder / name, ((now - timedelta(days=age)).timestamp(),) * 2)
            kept |= {f"{run}/{name}"} if run == "going_on" or name.endswith("json") else set()
    other = parse_monitor(ASKED)
    assert tidy(other, tmp_path / "kept", now, here=tmp_path, dry_run=False).removed == (), (
        "without a section nothing goes"
    )
    for dry_run in (True, False):
        (removed,) = tidy(monitor, tmp_path / "kept", now, here=tmp_path, dry_run=dry_run).removed
        assert (removed.kind, removed.files, removed.bytes) == ("retraining", 2, 4)
    assert {str(path.relative_to(path.parents[1])) for path in tmp_path.rglob("*.*")} == kept


def test_nothing_goes_that_an_hour_of_today_looks_back_at() -> None:
    now = START + timedelta(days=500, hours=5)
    midnight = START + timedelta(days=500)
    monitor = parse_monitor({**ASKED, **SHORT, "labels": {"max_delay": "30d"}})
    found = limits_of(monitor, now)
    assert found is not None
    assert found.rows == midnight - timedelta(days=31), "a label may come after a month"
    assert found.hours <= midnight - timedelta(days=57), "volume is compared with eight weeks"
    trained = parse_monitor({**ASKED, "retention": {}, "retraining": {**ASKED["retraining"], "training_window": "60d"}})
    found = limits_of(trained, now)
    assert found is not None
    assert found.rows is not None
    assert found.rows < midnight - timedelta(days=60)
    everything = parse_monitor({**ASKED, "retention": {}, "retraining": {"training_window": "all"}})
    found = limits_of(everything, now)
    assert found is not None
    assert found.rows is None
    assert limits_of(parse_monitor(ASKED), now) is None


def test_the_job_says_what_it_did_and_one_model_does_not_stand_in_the_way_of_another(deployment: Deployment) -> None:
    deployment.serve(0, 1)
    deployment.set_clock(hour(3))
    deployment.compute(0, 1)
    deployment.watch({**SHORT, "model": "returns"}, SHORT)
    deployment.set_clock(START + timedelta(days=400))
    done = deployment.run("tidy_storage", run_config={"ops": {"tidy_files": {"config": {"dry_run": True}}}})
    assert done.success
    assert deployment.store.expired("verdicts", MODEL) is None
    broken = deployment.monitoring.data / "expired" / "model=returns"
    broken.mkdir(parents=True)
    (broken / "before.json").write_text("{")
    (deployment.monitoring.data / "samples" / "model=returns").mkdir(parents=True)
    (deployment.monitoring.data / "samples" / "model=returns" / "2026-11-20T00Z.parquet").write_bytes(b"")
    failed = deployment.run("tidy_storage", raise_on_error=False)
    assert not failed.success
    assert deployment.store.expired("verdicts", MODEL) is not None
