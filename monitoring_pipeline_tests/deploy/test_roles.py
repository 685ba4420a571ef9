"""Each user of the databases can do what its process does, and nothing else, on a real PostgreSQL."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.predictions import TIME_TYPE
from monitoring_pipeline.capture.subjects import Subject
from monitoring_pipeline.capture.windows import Window
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.database import SignedRequests, StateDatabase
from monitoring_pipeline.stores.postgres_erasure import PostgresErasure
from monitoring_pipeline.stores.postgres_log import PostgresLabelLog, PostgresPredictionLog
from monitoring_pipeline.stores.postgres_tables import Tables
from monitoring_pipeline.stores.recorded_counts import DatabaseCounts
from monitoring_pipeline_tests.postgres import running_postgres
from monitoring_pipeline_tests.traffic import LOG, MODEL, START, log_rows

pytestmark = pytest.mark.postgres
DEPLOY = Path(__file__).parents[2] / "deploy" / "postgres"
NAMES = ("MONITORING_OWNER", "MONITORING_MONITOR", "MONITORING_WRITER", "MONITORING_READER", "DAGSTER", "MLFLOW")
PASSWORDS = {f"{name}_PASSWORD": f"pass'word of {name}" for name in NAMES}
NOW = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        Path(folder).chmod(0o755)
        with running_postgres(Path(folder) / "server") as url:
            psql(url, "-c", "CREATE DATABASE dagster")
            psql(url, "-f", DEPLOY / "create-databases.sql")
            psql(url, "-f", DEPLOY / "roles.sql")
            state = StateDatabase(address(url, "owner"))
            state.migrate()
            state.close()
            Tables(address(url, "owner"), "monitoring", DAY).make()
            yield url


@pytest.fixture(scope="module")
def logged(server: str) -> str:
    """The server after the scoring service has stored predictions of two days, and labels."""
    writer = address(server, "writer")
    predictions = PostgresPredictionLog(writer, LOG)
    assert predictions.append(MODEL, log_rows(40, seed=1, hours=30)) == 40
    wider = log_rows(10, seed=2, at=50, active=[True] * 10, customer_id=["c1"] * 10)
    assert predictions.append(MODEL, wider) == 10
    moments = pa.array([START] * 2, TIME_TYPE)
    labels = pa.table({"prediction_id": ["2-0", "x"], "actual": [1, 0], "labelled_at": moments})
    assert PostgresLabelLog(writer, LabelColumns()).append(MODEL, labels, hours=[START]).sequence == 1
    return server


def psql(url: str, *arguments: str | Path) -> str:
    (binary,) = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))[-1:]
    command = [binary, "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-d", url, *arguments]
    done = subprocess.run(command, env={**os.environ, **PASSWORDS}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def address(server: str, role: str, database: str = "monitoring") -> str:
    return server.replace("postgres@", f"monitoring_{role}@").removesuffix("/postgres") + f"/{database}"


def refused(url: str, statement: str) -> bool:
    """Return whether a statement is refused for want of a right; it is never carried out."""
    try:
        connection = psycopg2.connect(url)
    except psycopg2.OperationalError as error:
        return "permission denied for database" in str(error)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        return False
    except psycopg2.errors.InsufficientPrivilege:
        return True
    finally:
        connection.close()


READS_LOG = ("SELECT * FROM monitoring.predictions_churn", "SELECT * FROM monitoring.labels_churn")
ADDS_TO_LOG = ("INSERT INTO monitoring.arrivals VALUES ('m', 9, 1, '{}')",)
HARMS_LOG = (
    *(f"{verb} monitoring.predictions_churn" for verb in ("DELETE FROM", "TRUNCATE", "DROP TABLE")),
    *(f"{verb} monitoring.predictions_churn_20261120" for verb in ("DELETE FROM", "DROP TABLE")),
    "UPDATE monitoring.predictions_churn SET score = 0",
    "ALTER TABLE monitoring.predictions_churn DROP COLUMN score",
    "DELETE FROM monitoring.parts",
    "UPDATE monitoring.row_types SET columns = '{}'",
    "DROP SCHEMA monitoring CASCADE",
    "CREATE TABLE monitoring.mine ()",
    "DROP FUNCTION monitoring.make_column",
)
READS_STATE = ("SELECT * FROM public.incidents", "SELECT * FROM public.outbox", "SELECT * FROM public.alembic_version")
WRITES_STATE = (
    "INSERT INTO public.webhook_messages VALUES ('m', now())",
    "UPDATE public.incidents SET owner = ''",
    "UPDATE public.outbox SET status = ''",
)
HARMS_STATE = (
    *("DELETE FROM public.incidents", "DELETE FROM public.outbox", "DROP TABLE public.incidents"),
    *("TRUNCATE public.retrain_decisions", "UPDATE public.alembic_version SET version_num = ''"),
    *("ALTER TABLE public.outbox ADD COLUMN x int", "CREATE TABLE public.mine ()", "CREATE SCHEMA mine"),
)
MAY = {
    "writer": {*ADDS_TO_LOG},
    "monitor": {*READS_LOG, *READS_STATE, *WRITES_STATE},
    "reader": {*READS_STATE},
}
EVERYTHING = (*READS_LOG, *ADDS_TO_LOG, *HARMS_LOG, *READS_STATE, *WRITES_STATE, *HARMS_STATE)


@pytest.mark.parametrize("role", MAY)
def test_a_user_may_do_what_is_listed_and_nothing_else(logged: str, role: str) -> None:
    allowed = {each for each in EVERYTHING if not refused(address(logged, role), each)}
    assert allowed == MAY[role]


@pytest.mark.parametrize("role", MAY)
def test_a_user_of_the_pipeline_reaches_no_other_database_and_becomes_nobody_else(logged: str, role: str) -> None:
    for database in ("dagster", "mlflow"):
        assert refused(address(logged, role, database), "SELECT 1")
    assert refused(address(logged, role), "SET ROLE monitoring_owner")
    assert refused(address(logged, role), "CREATE ROLE mine")


def test_the_scoring_service_adds_days_and_columns_it_may_not_look_at(logged: str) -> None:
    log = PostgresPredictionLog(address(logged, "writer"), LOG)
    with pytest.raises(StoreError, match="permission denied"):
        log.read(Window(MODEL, START, START + DAY))
    seen = PostgresPredictionLog(address(logged, "monitor"), LOG).read(Window(MODEL, START, START + 3 * DAY))
    assert seen.num_rows == 50
    assert seen["customer_id"].drop_null().to_pylist() == ["c1"] * 10


@pytest.mark.parametrize(
    "call",
    [
        "make_relation('parts', 'hour')",
        "make_partition('parts', 'parts_1', now(), now() + interval '1 day')",
        "make_partition('predictions_churn', 'labels_churn', now(), now() + interval '1 day')",
        "make_column('row_types', 'x', 'text')",
        "make_column('predictions_churn', 'x', 'text; DROP TABLE monitoring.parts')",
    ],
)
def test_what_adds_to_a_log_for_its_writer_does_nothing_else(logged: str, call: str) -> None:
    with pytest.raises(psycopg2.Error), psycopg2.connect(address(logged, "writer")) as connection:
        connection.cursor().execute(f"SELECT monitoring.{call}")
    assert psql(address(logged, "owner"), "-Atc", "SELECT count(*) > 0 FROM monitoring.parts").strip() == "t"


def test_others_cannot_make_tables_through_the_functions_of_the_writer(logged: str) -> None:
    for role in ("monitor", "reader"):
        assert refused(address(logged, role), "SELECT monitoring.make_relation('predictions_x', 'at')")


def test_runs_and_the_command_line_work_as_the_monitor(logged: str) -> None:
    state = StateDatabase(address(logged, "monitor"))
    state.migrate()
    requests = SignedRequests(state)
    assert requests.claim("msg_1", NOW)
    assert not requests.claim("msg_1", NOW)
    requests.release("msg_1")
    assert requests.claim("msg_1", NOW)
    assert state.incidents(MODEL) == []
    assert PostgresLabelLog(address(logged, "monitor"), LabelColumns()).arrivals(MODEL, after=0, limit=9)
    state.close()


def test_the_exporter_works_as_the_reader(logged: str) -> None:
    state = StateDatabase(address(logged, "reader"))
    assert DatabaseCounts(state).read() is not None
    state.close()


def test_only_the_owner_forgets(logged: str) -> None:
    def log(role: str) -> PostgresErasure:
        return PostgresErasure(Tables(address(logged, role), "monitoring", DAY), "predictions", MODEL, "predicted_at")

    subject = Subject("customer_id", frozenset(["c1"]), ("prediction_id",))
    for role in ("monitor", "writer", "reader"):
        with pytest.raises(StoreError, match="permission denied"):
            log(role).erase(subject, dry=False)
    assert log("owner").erase(subject, dry=True) == 10


def test_dagster_and_mlflow_are_at_home_in_their_own_database_alone(logged: str) -> None:
    server = logged.removesuffix("/postgres")
    for role, other in (("dagster", "mlflow"), ("mlflow", "dagster")):
        own = server.replace("postgres@", f"{role}@")
        psql(f"{own}/{role}", "-c", "CREATE TABLE runs (id serial); INSERT INTO runs DEFAULT VALUES; DROP TABLE runs")
        for database in (other, "monitoring"):
            assert refused(f"{own}/{database}", "SELECT 1")


def test_passwords_are_kept_and_what_one_user_had_made_is_handed_over(server: str) -> None:
    before = server.removesuffix("/postgres")
    psql(f"{before}/dagster", "-c", "CREATE TABLE event_logs (id serial)")
    tables = Tables(f"{before}/monitoring", "monitoring", DAY)
    with tables.connected() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE monitoring.old (id int)")
        cursor.execute("ALTER FUNCTION monitoring.make_column OWNER TO postgres")
        connection.commit()
    psql(server, "-f", DEPLOY / "roles.sql")
    owners = "SELECT tableowner FROM pg_tables WHERE tablename IN ('event_logs', 'old')"
    assert psql(f"{before}/dagster", "-Atc", owners).strip() == "dagster"
    assert psql(f"{before}/monitoring", "-Atc", owners).strip() == "monitoring_owner"
    Tables(address(server, "owner"), "monitoring", DAY).make()
    kept = psql(server, "-Atc", "SELECT count(rolpassword) FROM pg_authid WHERE rolname LIKE 'monitoring_%'")
    assert kept.strip() == "4"
