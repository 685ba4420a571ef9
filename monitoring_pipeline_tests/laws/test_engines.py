"""Every engine gives the profile that one pass over all rows gives, however they lie in files or a table.

Add an engine to `ENGINES`, with what puts tables where it reads them. Keep hours and versions out: they belong in
`test_sql_engine`. What only Spark promises is here, because a second session would take longer than all of it.
"""

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline.describe.columns import Column, ColumnKind, ColumnRole, DatetimePart, numeric_bins
from monitoring_pipeline.describe.engines.engine import Engine, ProfilePlan, profile_of_text, profile_text
from monitoring_pipeline.describe.engines.local import LocalEngine
from monitoring_pipeline.describe.engines.spark import SparkEngine, spark_session
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.errors import MonitoringError, TableError
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.traffic import column

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")

ROUNDING = 1e-12
"""Of the sum of the sizes of what was added."""

START = datetime(2026, 11, 20, tzinfo=UTC)
NAMES = ["basic", "plus", "pro", "Zürich", "", "NaN", "1.0", "' OR 1=1 --", "a`b"]
SPECIAL = [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1e-300, 1e139, 1e300, -1.7e308, None]

Profiled = Callable[[Sequence[pa.Table], ProfilePlan], Profile]
"""What puts tables, of one type each, where an engine reads them, and profiles them there."""


def rows(count: int, seed: int) -> pa.Table:
    """Return rows with everything that logs hold: nulls, what is not finite, names and times nobody expected."""
    generator = np.random.default_rng(seed)

    def some(values: Sequence[Any]) -> list[Any]:
        return [values[place] for place in generator.integers(0, len(values), count)]

    amount = [*SPECIAL, *generator.lognormal(3.0, 2.0, max(count - len(SPECIAL), 0)).tolist()][:count]
    seconds = generator.integers(0, 7 * 86_400, count)
    at = [START + timedelta(seconds=int(second), microseconds=7) for second in seconds]
    return pa.table(
        {
            "amount": pa.array(amount, pa.float64()),
            "far away": pa.array(1e9 + generator.normal(size=count), pa.float64()),
            "whole": pa.array(generator.integers(-3, 9, count), mask=generator.random(count) < 0.2),
            "single": pa.array(generator.normal(size=count).astype(np.float32)),
            "plan": pa.array(some([*NAMES, None]), pa.string()),
            "flag": pa.array(some([True, False, None]), pa.bool_()),
            "unknown": pa.nulls(count, pa.float64()),
            "said": pa.array(some(["1", "+2.5", "many", "inf", None]), pa.string()),
            "at": pa.array(at, pa.timestamp("us", tz="UTC")),
            "since": pa.array([each - timedelta(days=3) for each in at], pa.timestamp("us", tz="UTC")),
        }
    )


BEFORE = rows(500, seed=1)
PLAN = ProfilePlan(
    "3",
    {
        **{name: column(name, BEFORE[name].to_pylist()) for name in ("amount", "far away", "whole", "single")},
        "unknown": column("unknown", [0.0, 1.0]),
        "said": column("said", [1.0, 2.5]),
        "never logged": column("never logged", [1.0, 2.0]),
        "plan": column("plan", NAMES[:3], ColumnKind.CATEGORICAL),
        "whole as names": Column(
            *("whole as names", ColumnRole.FEATURE, ColumnKind.CATEGORICAL),
            *(column("", ["1", "2"], ColumnKind.CATEGORICAL).bins, "whole"),
        ),
        "flag": column("flag", ["true", "false"], ColumnKind.BOOLEAN),
        **{
            f"since.{part}": Column(
                *(f"since.{part}", ColumnRole.FEATURE, ColumnKind.DATETIME),
                *(numeric_bins(np.arange(24.0), groups=10), "since", part),
            )
            for part in DatetimePart
        },
    },
    "at",
)
TABLES = [rows(40, seed=2), rows(0, seed=3), rows(700, seed=4), rows(1, seed=5), rows(9, seed=6)]


def written(tables: Sequence[pa.Table], folder: Path) -> list[Path]:
    """Write each table as a file of several row groups."""
    files = [folder / f"{number}.parquet" for number in range(len(tables))]
    for file, table in zip(files, tables, strict=True):
        pq.write_table(table, file, row_group_size=250, compression="zstd")
    return files


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SparkSession"]:
    require("java", "/usr/lib/jvm/*/bin/java")
    warehouse = tmp_path_factory.mktemp("warehouse")
    with spark_session("local[2]", {"spark.sql.warehouse.dir": str(warehouse)}) as opened:
        yield opened


def spark_table(session: "SparkSession", tables: Sequence[pa.Table], folder: Path) -> str:
    """Keep tables as one that only the catalogue of Spark knows, in ORC files."""
    files = written(tables, folder)
    session.sql("drop table if exists served")
    session.read.parquet(*map(str, files)).repartition(3).write.format("orc").saveAsTable("served")
    return "served"


FILES = ["local", pytest.param("spark", marks=pytest.mark.slow)]
ENGINES = [*FILES, pytest.param("spark table", marks=pytest.mark.slow)]


@pytest.fixture
def profiled(request: pytest.FixtureRequest, tmp_path: Path) -> Profiled:
    """Return what profiles tables with the engine a test is told of."""
    name: str = request.param
    if name == "local":
        return lambda tables, plan: LocalEngine().profile(written(tables, tmp_path), plan)
    session: SparkSession = request.getfixturevalue("session")
    engine = SparkEngine(session)
    if name == "spark":
        return lambda tables, plan: engine.profile(written(tables, tmp_path), plan)
    return lambda tables, plan: engine.profile(spark_table(session, tables, tmp_path), plan)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine[Sequence[Path]]:
    """Return the engine of files that a test is told of."""
    return LocalEngine() if request.param == "local" else SparkEngine(request.getfixturevalue("session"))


def counts(profile: Profile) -> Any:
    """Return everything but sums."""
    exact = ("nulls", "invalid", "low", "high", "unseen", "unseen_rows", "distinct")
    columns = {
        name: (found.counts.tolist(), *(getattr(found, each) for each in exact))
        for name, found in profile.columns.items()
    }
    return profile.version, profile.segment, profile.bins, profile.rows, columns


def assert_same(found: Profile, expected: Profile) -> None:
    assert counts(found) == counts(expected)
    for name, own in expected.columns.items():
        size = np.abs(own.sums).sum()
        np.testing.assert_allclose(found.columns[name].sums, own.sums, rtol=0, atol=ROUNDING * size, err_msg=name)
        assert found.columns[name].squares == pytest.approx(own.squares, rel=ROUNDING, abs=0), name


def in_one_pass(tables: Sequence[pa.Table], plan: ProfilePlan = PLAN) -> Profile:
    return Profile.of(pa.concat_tables(tables), plan.version, plan.columns, time=plan.time)


@pytest.mark.parametrize("profiled", ENGINES, indirect=True)
def test_an_engine_gives_the_profile_of_one_pass_over_all_rows(profiled: Profiled) -> None:
    expected = in_one_pass(TABLES)
    assert {"amount", "said"} <= {name for name, found in expected.columns.items() if found.invalid}
    assert expected.columns["plan"].unseen_rows > 0
    assert_same(profiled(TABLES, PLAN), expected)


@pytest.mark.parametrize("profiled", ENGINES, indirect=True)
def test_the_order_of_files_changes_no_count(profiled: Profiled) -> None:
    mixed = random.Random(0).sample(TABLES, len(TABLES))
    assert_same(profiled(mixed, PLAN), in_one_pass(TABLES))


@pytest.mark.parametrize("profiled", ENGINES, indirect=True)
def test_rows_that_are_not_there_have_the_empty_profile(profiled: Profiled) -> None:
    assert_same(profiled([TABLES[1]], PLAN), PLAN.nothing())


@pytest.mark.parametrize("profiled", ENGINES, indirect=True)
def test_columns_that_are_all_missing_are_null_in_every_row(profiled: Profiled) -> None:
    plan = ProfilePlan("3", {"never logged": PLAN.columns["never logged"]})
    found = profiled(TABLES, plan)
    assert (found.rows, found.columns["never logged"].nulls) == (750, 750)
    assert_same(found, in_one_pass(TABLES, plan))


@pytest.mark.parametrize("profiled", ENGINES, indirect=True)
def test_ages_need_the_time_of_the_row(profiled: Profiled) -> None:
    plan = ProfilePlan("3", {name: PLAN.columns[name] for name in ("since.age_days", "since.hour_of_day")})
    found = profiled(TABLES, plan)
    assert (found.columns["since.age_days"].nulls, found.columns["since.hour_of_day"].nulls) == (750, 0)


@pytest.mark.parametrize("engine", FILES, indirect=True)
def test_no_files_have_the_empty_profile(engine: Engine[Sequence[Path]]) -> None:
    assert_same(engine.profile([], PLAN), PLAN.nothing())


@pytest.mark.parametrize("engine", FILES, indirect=True)
def test_a_column_may_have_another_type_in_every_file(engine: Engine[Sequence[Path]], tmp_path: Path) -> None:
    types = [pa.int64(), pa.float32(), pa.string(), pa.null()]
    tables = [
        pa.table({"whole": pa.nulls(2) if type_ == pa.null() else pa.array([1, 7]).cast(type_)}) for type_ in types
    ]
    plan = ProfilePlan("3", {name: PLAN.columns[name] for name in ("whole", "whole as names")})
    parts = [Profile.of(table, "3", plan.columns) for table in tables]
    found = engine.profile(written(tables, tmp_path), plan)
    assert_same(found, reduce(Profile.merge, parts))
    assert found.columns["whole"].nulls == 2


@pytest.mark.parametrize("damage", ["footer", "inside", "gone"])
@pytest.mark.parametrize("many", [False, True], ids=["few files", "many files"])
@pytest.mark.parametrize("engine", FILES, indirect=True)
def test_a_file_that_cannot_be_read_is_named(
    engine: Engine[Sequence[Path]], tmp_path: Path, damage: str, many: bool
) -> None:
    files = written(TABLES * (4 if many else 1), tmp_path)
    if damage == "gone":
        files[2].unlink()
    else:
        content = files[2].read_bytes()
        broken = content[:-200] if damage == "footer" else content[:4] + b"\xff" * 6000 + content[6004:]
        files[2].write_bytes(broken)
    advice = r" \(.*\)\. Restore or remove the file\.$"
    said = {
        "gone": r"no such file\. Check the path\.$",
        "footer": f"not a readable Parquet file{advice}",
        "inside": f".* cannot be read{advice}",
    }
    with pytest.raises(TableError, match=rf"{files[2]}: {said[damage]}"):
        engine.profile(files, PLAN)


@pytest.mark.slow
def test_a_table_that_is_not_in_the_catalogue_is_named(session: "SparkSession") -> None:
    with pytest.raises(TableError, match=r"table nowhere: it cannot be read .*TABLE_OR_VIEW_NOT_FOUND"):
        SparkEngine(session).profile("nowhere", PLAN)


@pytest.mark.slow
def test_work_is_done_once_for_every_item_and_what_is_wrong_with_one_is_said(
    session: "SparkSession", tmp_path: Path
) -> None:
    def work(items: Sequence[int]) -> None:
        for item in items:
            with (tmp_path / str(item)).open("x") as file:
                file.write("done")
            if item == 7:
                raise MonitoringError("item 7: it is broken. Mend it.")

    with pytest.raises(MonitoringError, match=r"^item 7: it is broken\. Mend it\.$"):
        SparkEngine(session).each(work, range(8))
    assert {path.name for path in tmp_path.iterdir()} == set(map(str, range(8)))


def test_without_java_spark_says_what_it_needs() -> None:
    start = "from monitoring_pipeline.describe.engines.spark import spark_session as s; s('local[2]', {}).__enter__()"
    environment = {**os.environ, "JAVA_HOME": "/nowhere"}
    ended = subprocess.run([sys.executable, "-c", start], env=environment, capture_output=True, text=True, check=False)
    *_, said = ended.stderr.splitlines()
    assert re.search(
        r"MonitoringError: engine spark: no session on local\[2\] \(.*\)\. It needs Java 17 or newer", said
    )


def test_a_profile_and_a_plan_are_the_same_after_their_way_as_text() -> None:
    profile = in_one_pass(TABLES)
    back = profile_of_text(profile_text(profile))
    assert counts(back) == counts(profile)
    assert {name: found.sums.tobytes() for name, found in back.columns.items()} == {
        name: found.sums.tobytes() for name, found in profile.columns.items()
    }
    plan = ProfilePlan.from_json(PLAN.to_json())
    assert (plan.version, plan.time, plan.sources()) == (PLAN.version, PLAN.time, PLAN.sources())
    assert plan.nothing().bins == PLAN.nothing().bins
