import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.database import SignedRequests, StateDatabase
from monitoring_pipeline.stores.tables import metadata, webhook_messages
from monitoring_pipeline_tests.processes import forks

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def migrate(url: str, together: Barrier | None = None) -> None:
    state = StateDatabase(url)
    if together is not None:
        together.wait(60)
    state.migrate()
    state.close()


def test_the_migrations_lead_to_the_tables_the_code_uses(state: StateDatabase) -> None:
    with state.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_indexes_that_keep_things_single_are_partial_in_both_dialects(state: StateDatabase) -> None:
    with state.reading() as connection:
        found = {
            (index["name"], bool(index["unique"]), any("where" in key for key in index["dialect_options"]))
            for table in ("alerts", "retrain_episodes")
            for index in sa.inspect(connection).get_indexes(table)
        }
    assert ("one_open_alert_per_fingerprint", True, True) in found
    assert ("one_open_episode_per_model", True, True) in found


def test_several_processes_may_migrate_a_new_database_at_the_same_time(empty_url: str) -> None:
    context = forks()
    together = context.Barrier(4)
    workers = [context.Process(target=migrate, args=(empty_url, together)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    state = StateDatabase(empty_url)
    assert state.incidents() == []
    state.close()


def test_incidents_of_one_rule_become_incidents_with_one_alert(empty_url: str) -> None:
    state = StateDatabase(empty_url)
    state.migrate("0001")
    moment = "2026-11-20 06:00:00+00:00" if empty_url.startswith("postgres") else "2026-11-20 06:00:00.000000"
    row = dict.fromkeys(("opened_at", "updated_at", "first_hour", "last_hour"), moment)
    row |= {
        "id": "churn/drift@1",
        "fingerprint": "churn/drift",
        "model": "churn",
        "rule": "drift",
        "severity": "warning",
    }
    row |= {"status": "open", "evidence_summary": "[]", "runbook": "r", "reason": "why"}
    columns = ", ".join(row)
    with state.writing() as connection:
        values = ", ".join(f"'{value}'" for value in row.values())
        connection.exec_driver_sql(f"INSERT INTO incidents ({columns}, quiet_evaluations) VALUES ({values}, 2)")
        connection.exec_driver_sql(
            "INSERT INTO incident_events (id, incident_id, at, hour, step, why, severity, reason, evidence) "
            f"VALUES (1, 'churn/drift@1', '{moment}', '{moment}', 'opened', 'started_firing', 'warning', 'why', '[]')"
        )
    state.migrate()
    (incident,), (alert,) = state.incidents(), state.alerts()
    assert (incident.rules, incident.firing, incident.announced_at) == (("drift",), ("drift",), incident.opened_at)
    assert (alert.incident_id, alert.quiet_evaluations, alert.since) == (incident.id, 2, incident.first_hour)
    assert [event.why for event in state.incident_events(incident.id)] == ["started_firing"]
    state.close()


def test_migrating_again_changes_nothing(state: StateDatabase) -> None:
    assert SignedRequests(state).claim("a", NOON)
    state.migrate()
    assert not SignedRequests(state).claim("a", NOON)


def test_sqlite_writes_ahead_so_that_readers_never_wait(tmp_path: Path) -> None:
    path = tmp_path / "100% new" / "state.db"
    migrate(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_moment_comes_back_in_utc_whatever_zone_it_came_from(state: StateDatabase) -> None:
    there = NOON.astimezone(timezone(timedelta(hours=-5)))
    assert SignedRequests(state).claim("a", there)
    with state.reading() as connection:
        stored = connection.execute(sa.select(webhook_messages.c.received_at)).scalar_one()
    assert stored == NOON
    assert stored.utcoffset() == timedelta(0)


def test_a_moment_without_a_zone_is_refused(state: StateDatabase) -> None:
    with pytest.raises(sa.exc.StatementError, match="has no time zone"):
        SignedRequests(state).claim("a", NOON.replace(tzinfo=None))


def test_a_database_without_tables_says_what_to_do_and_keeps_its_password(empty_url: str, tmp_path: Path) -> None:
    (tmp_path / "new folder").mkdir()
    state = StateDatabase(empty_url.replace("postgres@", "postgres:hunter2@"))
    with pytest.raises(StoreError, match="Check that it is reachable and that its tables are migrated") as caught:
        state.incidents()
    assert "hunter2" not in str(caught.value)
    state.close()
