"""A month of hours, asked for as the dialog of the Dagster UI asks: its webserver, its daemon, one run."""

import os
import sys
import sysconfig
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.processes import free_port, graphql, running, wait_until
from monitoring_pipeline_tests.traffic import hour

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MONTH = 30 * 24
LAUNCH = """mutation($asked: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $asked) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
STATUS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } } } }"""
DAEMON = """\
from dagster._daemon import controller
from dagster._daemon.cli import main
controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 3  # it looks for backfills twice a minute otherwise
main()
"""


def test_a_month_is_one_run_whose_every_hour_is_materialised(deployment: Deployment, tmp_path: Path) -> None:
    deployment.watch({"start": hour(-MONTH).isoformat()})
    deployment.serve(-MONTH, -MONTH + 23)  # the other hours are empty: quicker, and judged like any
    deployment.set_clock(hour(1))
    deployment.run(f"{MODEL}__reference")
    job = deployment.defs.resolve_job_def(f"{MODEL}__hourly")
    assets = sorted(job.asset_layer.executable_asset_keys)
    partitions = [f"{hour(number):%Y-%m-%d-%H:%M}" for number in range(-MONTH, 0)]

    env = {**os.environ, "DAGSTER_HOME": str(deployment.home / "dagster"), "DAGSTER_EVENT_BATCH_SIZE": "1000"}
    scripts, module, port = Path(sysconfig.get_path("scripts")), ["-m", "monitoring_pipeline.definitions"], free_port()
    webserver = require("dagster-webserver", str(scripts / "dagster-webserver"))
    ui: list[str | Path] = [webserver, *module, "-h", "127.0.0.1", "-p", str(port)]
    daemon = [sys.executable, "-c", DAEMON, "run", *module]
    logs = [tmp_path / "webserver.log", tmp_path / "daemon.log"]
    with running(ui, env=env, cwd=ROOT, log=logs[0]), running(daemon, env=env, cwd=ROOT, log=logs[1]):
        wait_until("the webserver answers", lambda: graphql(port, "{ version }"), seconds=90, logs=logs)
        asked = {"partitionNames": partitions, "assetSelection": [{"path": key.path} for key in assets], "tags": []}
        launched = graphql(port, LAUNCH, asked=asked)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched

        def ended() -> bool:
            found = deployment.instance.get_backfill(launched["backfillId"])
            return found is not None and found.status.value.startswith(("COMPLETED", "FAILED", "CANCELED"))

        # Of the instance: a webserver that is asked five times a second is busy with nothing else.
        wait_until("the backfill ends", ended, seconds=420, logs=logs)
        backfill = graphql(port, STATUS, id=launched["backfillId"])["partitionBackfillOrError"]
    assert backfill == {"status": "COMPLETED_SUCCESS", "error": None}

    runs = deployment.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": launched["backfillId"]}))
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS]
    for key in assets:
        assert len(deployment.instance.get_materialized_partitions(key)) == MONTH, key
    assert deployment.store.hours("verdicts", MODEL) == [hour(number) for number in range(-MONTH, 0)]
