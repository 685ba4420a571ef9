"""Which stages describe a log that is a table. That they write the same is in laws/test_sql_engine.py."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.workflow.push_down import StagesInPlace
from monitoring_pipeline.workflow.stages import Stages, stages_at
from monitoring_pipeline_tests.traffic import hour

LOG = {"kind": "sql", "url_env": "WAREHOUSE_URL", "predictions": {"table": "served"}}


def stages(folder: Path, **asked: Any) -> Stages:
    shortest = {"model": "churn", "start": "2026-04-01T00:00Z", "features": {"numeric": ["tenure"]}}
    monitor = parse_monitor(shortest | {"log": LOG} | asked)
    deployment = Deployment.from_environment({}, root=folder)
    return stages_at(monitor, deployment, {"WAREHOUSE_URL": f"sqlite:///{folder / 'w.db'}"}.get)


def test_rows_are_read_unless_the_database_is_asked_to_count(tmp_path: Path) -> None:
    assert type(stages(tmp_path)) is Stages
    assert type(stages(tmp_path, engine={"kind": "sql"})) is StagesInPlace


def test_a_database_that_no_statement_is_written_for_is_named(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(tmp_path / "w.db")) as connection:
        connection.execute("CREATE TABLE served (prediction_id TEXT, predicted_at TEXT)")
    with pytest.raises(StoreError, match=r"engine sql speaks .*trino, not sqlite. Choose engine: {kind: local}"):
        stages(tmp_path, engine={"kind": "sql"}).describe([hour(0)])


def test_only_who_asks_for_sql_loads_what_writes_it() -> None:
    code = "import sys, monitoring_pipeline.workflow.stages; print('sqlglot' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip().endswith("False")
