"""Random work and random faults, on SQLite and PostgreSQL: whatever comes, every invariant holds when it is over.

`FAULT_SEEDS=20` plays the stories of twenty seeds instead of one.
"""

import os
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from monitoring_pipeline_tests.deployments import Deployment
from monitoring_pipeline_tests.faults.worlds import WEBHOOK, World, catch_up
from monitoring_pipeline_tests.sinks import HttpSink, http_sink
from monitoring_pipeline_tests.workers import NEVER, SECRET, start

SEEDS = range(1, 1 + int(os.environ.get("FAULT_SEEDS", "1")))
STEPS = 8 if len(SEEDS) > 1 else 5


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpSink]:
    monkeypatch.setenv(WEBHOOK, SECRET)
    with http_sink() as found:
        yield found


def story_of(world: World) -> None:
    world.come_to_rest()
    proved = world.prove()
    assert proved["hours"] >= STEPS
    assert proved["files"] > 50
    assert proved["decisions"] >= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_breaks_every_invariant_holds_when_it_is_over(
    deployment: Deployment, sink: HttpSink, seed: int
) -> None:
    world = World(deployment, sink, seed)
    world.happen(STEPS)
    story_of(world)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_breaks_every_invariant_holds_with_the_state_in_postgresql(
    deployment: Deployment, sink: HttpSink, seed: int, postgres_only: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITORING_DATABASE_URL", postgres_only)
    world = World(deployment, sink, 1000 + seed)
    admin = sa.create_engine(postgres_only.rpartition("/")[0] + "/postgres", isolation_level="AUTOCOMMIT")
    name = postgres_only.rpartition("/")[2]

    def cut_the_connections() -> None:
        worker = start(catch_up, NEVER)
        for _ in range(20):
            worker.join(0.1)
            with admin.connect() as connection:
                query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
                connection.execute(sa.text(query), {"name": name})
        worker.join(120)

    world.happen(STEPS, [cut_the_connections, cut_the_connections])
    story_of(world)
    admin.dispose()
