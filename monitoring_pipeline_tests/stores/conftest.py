"""State databases, migrated and empty: one on SQLite, one on a real PostgreSQL. Places for files: folder and bucket."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline_tests.buckets import bucket, bucket_server, place
from monitoring_pipeline_tests.postgres import running_postgres

__all__ = ["bucket", "bucket_server", "place"]

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    # Not tmp_path: its parents are closed to the user the server runs as.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        Path(folder).chmod(0o755)
        with running_postgres(Path(folder) / "server") as url:
            yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "state.db"
    state = StateDatabase(f"sqlite:///{path}")
    state.migrate()
    state.close()
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> str:
    execute(postgres_url, "CREATE DATABASE template")
    state = StateDatabase(sibling(postgres_url, "template"))
    state.migrate()
    state.close()
    return "template"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        path = tmp_path / "state.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), path)
        return f"sqlite:///{path}"
    return str(request.getfixturevalue("postgres_only"))


@pytest.fixture
def postgres_only(request: pytest.FixtureRequest) -> str:
    template, url = request.getfixturevalue("migrated_postgres"), request.getfixturevalue("postgres_url")
    name = f"state_{next(_numbers)}"
    execute(url, f"CREATE DATABASE {name} TEMPLATE {template}")
    return sibling(url, name)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new folder' / 'state.db'}"
    url = request.getfixturevalue("postgres_url")
    name = f"empty_{next(_numbers)}"
    execute(url, f"CREATE DATABASE {name}")
    return sibling(url, name)


@pytest.fixture
def state(state_url: str) -> Iterator[StateDatabase]:
    database = StateDatabase(state_url)
    yield database
    database.close()


def execute(url: str, statement: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def sibling(url: str, database: str) -> str:
    return url.rpartition("/")[0] + f"/{database}"
