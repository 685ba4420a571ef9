"""PostgreSQL goes away in the middle of a materialisation: what it interrupts is done again, and nothing is lost."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline.workflow.alerting import apply_rule_outcomes
from monitoring_pipeline.workflow.partitions import range_tags
from monitoring_pipeline.workflow.sensors import GRACE
from monitoring_pipeline_tests.deployments import MODEL, NO_COMPUTE_LOGS, Deployment
from monitoring_pipeline_tests.faults.invariants import computed_alike, no_hour_is_missing, prove, stored_hours
from monitoring_pipeline_tests.postgres import Server, postgres_server
from monitoring_pipeline_tests.processes import wait_until
from monitoring_pipeline_tests.stores.conftest import execute, sibling
from monitoring_pipeline_tests.traffic import hour
from monitoring_pipeline_tests.workers import NEVER, finished, run_hours, start

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

INSTANCE = "telemetry: {{enabled: false}}\nstorage: {{postgres: {{postgres_url: '{url}'}}}}\n"


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        Path(folder).chmod(0o755)
        with postgres_server(Path(folder) / "server") as found:
            yield found


@pytest.mark.parametrize("seconds", [0, 3, 60])
def test_an_outage_of_so_many_seconds_in_a_run_costs_at_most_that_run(
    deployment: Deployment, server: Server, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = deployment.home / "dagster_on_postgres"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE.format(url=server.url) + NO_COMPUTE_LOGS)
    execute(server.url, "CREATE DATABASE state")
    monkeypatch.setenv("MONITORING_DATABASE_URL", sibling(server.url, "state"))
    deployment.serve(0, 5, shift=25.0)
    deployment.set_clock(hour(6) + GRACE)
    deployment.monitoring.database.migrate()
    with dg.DagsterInstance.from_config(str(home)):  # makes its tables
        pass
    run = start(run_hours, NEVER, home, range_tags(hour(0), hour(5)))
    outcomes = deployment.monitoring.data / "outcomes"
    wait_until("it is at work", lambda: list(outcomes.rglob("*.parquet")), seconds=60)
    server.stop()
    time.sleep(seconds)
    server.start()
    run.join(180)
    assert run.exitcode is not None, "it hangs"
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (recorded,) = instance.get_runs()
        if recorded.status is not dg.DagsterRunStatus.SUCCESS:
            instance.report_run_failed(recorded)
            finished(run_hours, home, range_tags(hour(0), hour(5)))
        newest = instance.get_runs()[0]
        assert newest.status is dg.DagsterRunStatus.SUCCESS
        told = instance.fetch_materializations(dg.AssetKey([MODEL, "verdicts"]), limit=100).records
    assert {record.partition_key for record in told} == {f"2026-11-20-{number:02}:00" for number in range(6)}
    changed = [apply_rule_outcomes(deployment.monitoring, deployment.monitor, hour(0), hour(6)) for _ in range(2)]
    assert [bool(each) for each in changed] == [True, False], "the pool has new connections, and does it once"
    hours = stored_hours(deployment.store, MODEL, {hour(number): 60 for number in range(6)})
    before = deployment.files()
    deployment.compute(0, 5)
    prove(no_hour_is_missing(hours), computed_alike(before, deployment.files()))
