import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from monitoring_pipeline.describe.freshness import FeastSource, TableSource
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.source_clocks import SourceClocks

NEWEST = datetime(2026, 11, 20, 13, 45, 30, tzinfo=UTC)
VIEW = FeastSource(name="users", max_age=timedelta(hours=6), repository="features/", feature_view="user_stats")
NASTY = 'x"; DROP TABLE users; --'


def source(table: str = "users", column: str = "updated_at", *, schema: str | None = None) -> TableSource:
    return TableSource(
        name="users", max_age=timedelta(hours=6), url_env="FEATURES_URL", table=table, column=column, schema=schema
    )


@pytest.fixture
def engine(empty_url: str) -> Iterator[sa.Engine]:
    if empty_url.startswith("sqlite"):
        Path(sa.make_url(empty_url).database or "").parent.mkdir(exist_ok=True)
    made = sa.create_engine(empty_url)
    yield made
    made.dispose()


def clock(engine: sa.Engine) -> SourceClocks:
    return SourceClocks({"FEATURES_URL": engine.url.render_as_string(hide_password=False)})


def fill(engine: sa.Engine, values: list[object], type_: Any, name: str = "users") -> None:
    metadata = sa.MetaData()
    table = sa.Table(name, metadata, sa.Column("updated_at", type_), sa.Column(NASTY, type_))
    metadata.create_all(engine)
    with engine.begin() as connection:
        for value in values:
            connection.execute(table.insert().values({table.c.updated_at: value, table.c[NASTY]: value}))


@pytest.mark.parametrize("zoned", [True, False])
def test_the_newest_timestamp_of_a_table_is_found(engine: sa.Engine, zoned: bool) -> None:
    given = NEWEST if zoned and engine.dialect.name != "sqlite" else NEWEST.replace(tzinfo=None)
    fill(engine, [given, given - timedelta(days=3), None], sa.DateTime(timezone=zoned))
    assert clock(engine).newest(source()) == NEWEST


def test_dates_and_text_in_iso_form_are_times_too(engine: sa.Engine) -> None:
    fill(engine, [NEWEST.date()], sa.Date())
    assert clock(engine).newest(source()) == datetime(2026, 11, 20, tzinfo=UTC)
    fill(engine, ["2026-11-20T14:45:30+01:00", "2026-11-20T13:00:00Z"], sa.Text(), name="texts")
    assert clock(engine).newest(source("texts")) == NEWEST


def test_a_table_without_rows_has_no_newest_one(engine: sa.Engine) -> None:
    fill(engine, [], sa.DateTime())
    assert clock(engine).newest(source()) is None


def test_names_are_never_read_as_sql(engine: sa.Engine) -> None:
    fill(engine, [NEWEST.replace(tzinfo=None)], sa.DateTime(), name="users")
    assert clock(engine).newest(source(column=NASTY)) == NEWEST
    with pytest.raises(StoreError, match="could not be read"):
        clock(engine).newest(source(NASTY))
    schema = "main" if engine.dialect.name == "sqlite" else "public"
    assert clock(engine).newest(source(schema=schema)) == NEWEST  # the table is still there


def test_what_is_no_time_is_refused_by_name(engine: sa.Engine) -> None:
    fill(engine, [1_763_600_000], sa.BigInteger())
    with pytest.raises(StoreError, match="source users: the newest 'updated_at' of 'users' is 1763600000, not a time"):
        clock(engine).newest(source())


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    url = "postgresql://reader:hunter2@127.0.0.1:1/features"
    with pytest.raises(StoreError, match="FEATURES_URL") as raised:
        SourceClocks({"FEATURES_URL": url}).newest(source())
    assert "hunter2" not in str(raised.value)
    for bad in ("hunter2", "postgresql://reader:hunt@er:2@host/x", "nothing://reader:hunter2@host/x"):
        with pytest.raises(StoreError, match="FEATURES_URL") as raised:
            SourceClocks({"FEATURES_URL": bad}).newest(source())
        assert "hunt" not in str(raised.value)
    with pytest.raises(StoreError, match="FEATURES_URL is not set"):
        SourceClocks({}).newest(source())


def test_a_feature_view_without_feast_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "feast", None)  # as where it is not installed
    with pytest.raises(StoreError, match=r"Feast is not installed.*pip install feast.*sql:"):
        SourceClocks({}).newest(VIEW)


def test_a_feature_view_is_as_new_as_what_was_last_materialised(monkeypatch: pytest.MonkeyPatch) -> None:
    def view(name: str) -> SimpleNamespace:
        if name != "user_stats":
            raise LookupError(f"no feature view {name}")
        return SimpleNamespace(most_recent_end_time=NEWEST)

    feast = ModuleType("feast")
    monkeypatch.setattr(feast, "FeatureStore", lambda repo_path: SimpleNamespace(get_feature_view=view), raising=False)
    monkeypatch.setitem(sys.modules, "feast", feast)
    assert SourceClocks({}).newest(VIEW) == NEWEST
    other = FeastSource(name="users", max_age=timedelta(hours=6), repository="features/", feature_view="x")
    with pytest.raises(StoreError, match=r"feature view 'x' of features/ could not be read \(no feature view x\)"):
        SourceClocks({}).newest(other)
