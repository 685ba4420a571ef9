"""Features that come from a table nobody fills any more."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour

TABLE = {"url_env": "FEATURES_URL", "table": "users", "column": "at"}
SOURCES = {"sources": [{"name": "users", "max_age": "1h", "sql": TABLE}]}


def critical_share(deployment: Deployment, number: int) -> Signal:
    found = deployment.store.read_signals("service", MODEL, hour(number), hour(number + 1))[hour(number)]
    return next(each for each in found if each.metric == "freshness.critical_share" and each.window == "1h")


def test_the_age_of_a_table_is_read_for_the_hour_that_just_ended_and_kept_when_it_is_described_again(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'features.db'}"
    monkeypatch.setenv("FEATURES_URL", url)
    with sa.create_engine(url).begin() as connection:
        connection.execute(sa.text("create table users (at text)"))
        connection.execute(sa.text("insert into users values (:at)"), {"at": hour(-5).isoformat()})
    deployment.watch({"freshness": SOURCES})
    deployment.serve(0, 1)
    deployment.set_clock(hour(2) + timedelta(minutes=5))
    assert deployment.process(0, 1).success
    stale = critical_share(deployment, 1)
    assert stale.value == 1.0, "five hours old, where one is allowed and two are stale"
    assert critical_share(deployment, 0).absence is Absence.WARMING_UP or critical_share(deployment, 0).value is None

    deployment.set_clock(hour(9))
    assert deployment.process(0, 1).success
    assert critical_share(deployment, 1) == stale, "what was read then"
