"""Hours described in a process of their own and on Spark: the files are those of the run itself."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.workflow.engines import _on_a_worker
from monitoring_pipeline.workflow.partitions import range_tags
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.deployments import HOURLY_FILES, Deployment
from monitoring_pipeline_tests.traffic import hour

pytestmark = [
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
    # Dagster reads a property of its own that it calls a preview.
    pytest.mark.filterwarnings("ignore:Function `PipesMessageReader.expected_writer_count`"),
]
PROCESS = {"kind": "process"}
SPARK = {"kind": "spark", "master": "local[2]"}
SAMPLE, PROFILE = SERVING = [dg.AssetKey(["churn", name]) for name in ("serving_sample", "serving_profile")]


def described(deployment: Deployment, engine: dict[str, str]) -> tuple[dict[str, bytes], dg.AssetMaterialization]:
    """Return the files of four hours, described anew, and what the last of them says of its profile."""
    for kind in HOURLY_FILES:
        shutil.rmtree(deployment.monitoring.data / kind, ignore_errors=True)
    deployment.watch({"engine": engine})
    result = deployment.run("churn__hourly", tags=range_tags(hour(0), hour(3)), asset_selection=SERVING)
    assert result.success
    *_, last = (each.materialization for each in result.get_asset_materialization_events() if each.asset_key == PROFILE)
    return deployment.files(), last


@pytest.mark.parametrize(
    "engine", [PROCESS, pytest.param(SPARK, marks=pytest.mark.slow)], ids=lambda each: each["kind"]
)
def test_an_engine_writes_the_files_that_the_run_itself_would(deployment: Deployment, engine: dict[str, str]) -> None:
    if engine["kind"] == "spark":
        require("java", "/usr/lib/jvm/*/bin/java")
    deployment.serve(0, 1)
    deployment.serve(3, 3, shift=8.0, rows=90)
    deployment.set_clock(hour(5))
    expected, usual = described(deployment, {"kind": "local"})
    found, told = described(deployment, engine)
    assert found == expected
    assert len([name for name in found if name.startswith("profiles/")]) == 4
    more = {name: value.value for name, value in told.metadata.items() if name not in usual.metadata}
    assert set(more) == ({"described_in_seconds", "peak_memory_mb"} if engine == PROCESS else set())
    assert all(isinstance(value, int | float) and 0 < value < 2000 for value in more.values())
    assert {name: told.metadata[name] for name in usual.metadata} == usual.metadata


def test_what_is_wrong_in_the_process_is_what_fails_the_step(deployment: Deployment) -> None:
    deployment.watch({"engine": PROCESS})
    deployment.serve(0, 0)
    deployment.set_clock(hour(2))
    (file,) = (deployment.monitoring.data / "predictions").rglob("*.parquet")
    file.write_bytes(b"PAR1 and nothing more")
    asked: dict[str, Any] = {"tags": range_tags(hour(0), hour(0)), "asset_selection": SERVING}
    result = deployment.run("churn__hourly", raise_on_error=False, **asked)
    (failed,) = (each for each in result.all_events if each.is_step_failure)
    error = failed.step_failure_data.error
    assert error is not None
    assert error.cause is not None
    assert error.cause.message.startswith(f"monitoring_pipeline.errors.MonitoringError: {file}: not a readable Parquet")


def test_a_process_that_is_killed_fails_the_step_and_the_next_run_makes_the_hours_whole(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.serve(0, 1)
    deployment.set_clock(hour(5))
    expected, _ = described(deployment, {"kind": "local"})
    deployment.watch({"engine": PROCESS})
    monkeypatch.setenv("MONITORING_CRASH_AT", "file.before_rename:7")
    asked: dict[str, Any] = {"tags": range_tags(hour(0), hour(3)), "asset_selection": SERVING}
    result = deployment.run("churn__hourly", raise_on_error=False, **asked)
    (failed,) = (each for each in result.all_events if each.is_step_failure)
    assert "External execution process failed with code -9" in str(failed.step_failure_data.error)
    monkeypatch.delenv("MONITORING_CRASH_AT")
    assert deployment.run("churn__hourly", **asked).success
    assert deployment.files() == expected


def test_a_worker_that_does_not_see_the_data_says_what_to_mount(deployment: Deployment, tmp_path: Path) -> None:
    elsewhere = replace(deployment.monitoring.deployment, data=str(tmp_path / "nowhere"))
    with pytest.raises(MonitoringError, match=r"a worker has no folder .*nowhere\. Mount it"):
        _on_a_worker(deployment.monitor, elsewhere, {}, [hour(0)])
