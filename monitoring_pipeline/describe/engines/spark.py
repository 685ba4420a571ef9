"""The Spark engine: files and row groups as tasks of a cluster, whose workers count where they read.

Rows do not travel: a task is a path and some row groups, its answer one profile as JSON, merged in a tree. Only a table
that nothing but Spark can read goes through Arrow. Add a source of rows here when Spark reads it. Keep counting out: it
belongs in `describe.kernel`.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from monitoring_pipeline.describe.engines.engine import ProfilePlan, profile_of_text, profile_text
from monitoring_pipeline.describe.parquet_pass import ParquetRows, profile_parquet
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.errors import MonitoringError, TableError

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import SparkSession

Item = TypeVar("Item")
Task = tuple[str, Sequence[int] | None]
"""A file, and which of its row groups; None for all."""

Answer = tuple[str, str]
"""What a task made, and why it made nothing. A failure that is no fault of the machine is not worth another attempt."""

NOTHING: Answer = ("", "")

PYTHON = "spark.pyspark.python"
TASKS_PER_SLOT = 2
CONF = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": "131072",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
LOCAL_CONF = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", PYTHON: sys.executable}


@contextmanager
def spark_session(master: str, conf: Mapping[str, str]) -> Iterator["SparkSession"]:
    """Yield the session that is open already, or one that is closed at the end."""
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise MonitoringError("engine spark: PySpark is not installed. Install monitoring-pipeline[spark].") from error
    if (running := SparkSession.getActiveSession()) is not None:
        yield running
        return
    asked = {**CONF, **(LOCAL_CONF if master.startswith("local") else {}), **conf}
    try:
        session = SparkSession.builder.master(master).appName("monitoring").config(map=dict(asked)).getOrCreate()
    except (PySparkException, OSError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        fix = "It needs Java 17 or newer, and a master that answers."
        raise MonitoringError(f"engine spark: no session on {master} ({said}). {fix}") from error
    # PySpark takes the Python of its workers from the environment of this process alone.
    session.sparkContext.pythonExec = asked.get(PYTHON, session.sparkContext.pythonExec)
    try:
        yield session
    finally:
        session.stop()


@dataclass(frozen=True, slots=True)
class SparkEngine:
    """Profiles Parquet files, or a table by its name, on the slots of a session."""

    session: "SparkSession"

    def profile(self, rows: Sequence[Path] | str, plan: ProfilePlan) -> Profile:
        """Return the profile of files that the workers see under the same paths, or of a table of the catalogue."""
        text = self.session.sparkContext.broadcast(plan.to_json())
        try:
            answers = self._of_table(rows, plan, text) if isinstance(rows, str) else self._of_files(rows, text)
            found, failure = answers.treeAggregate(NOTHING, _merged, _merged)
        finally:
            text.unpersist()
        if failure:
            raise TableError(failure)
        return profile_of_text(found) if found else plan.nothing()

    def each(self, work: Callable[[Sequence[Item]], None], items: Sequence[Item]) -> None:
        """Have `work` done on all items, some at a time; raises what the first failure said."""
        for _, failure in self._spread(items).mapPartitions(partial(_answered, work)).collect():
            if failure:
                raise MonitoringError(failure)

    def _of_files(self, files: Sequence[Path], plan: Any) -> "RDD[Answer]":
        tasks: list[Task] = [(str(file.absolute()), None) for file in files]
        if len(tasks) < self._slots:
            tasks = [(str(file.absolute()), [group]) for file in files for group in range(_groups(file))]
        return self._spread(tasks).mapPartitions(partial(_answered, partial(_files, plan)))

    def _of_table(self, table: str, plan: ProfilePlan, text: Any) -> "RDD[Answer]":
        from pyspark.errors import PySparkException

        try:
            rows = self.session.table(table)
            present = [name for name in plan.sources() if name in rows.columns] or rows.columns[:1]
            chosen = rows.select([f"`{name.replace('`', '``')}`" for name in present])
        except PySparkException as error:
            said = str(error).splitlines()[0]
            raise TableError(f"table {table}: it cannot be read ({said}). Correct its name.") from error
        answers = chosen.mapInArrow(partial(_batches, text), "made string, failure string")
        return answers.rdd.map(tuple)

    def _spread(self, items: Sequence[Item]) -> "RDD[Item]":
        return self.session.sparkContext.parallelize(items, max(1, min(len(items), self._slots)))

    @property
    def _slots(self) -> int:
        return self.session.sparkContext.defaultParallelism * TASKS_PER_SLOT


def _groups(file: Path) -> int:
    return int(ParquetRows(file).metadata.num_row_groups)


def _answered(work: Callable[[Sequence[Item]], str | None], items: Iterator[Item]) -> Iterator[Answer]:
    """Yield what `work` makes of the items of one task, or why it cannot."""
    try:
        yield work(list(items)) or "", ""
    except MonitoringError as error:
        yield "", str(error)


def _files(plan: Any, tasks: Sequence[Task]) -> str:
    asked = ProfilePlan.from_json(plan.value)
    parts = (
        profile_parquet(Path(path), asked.columns, asked.version, time=asked.time, threads=1, groups=groups)
        for path, groups in tasks
    )
    return profile_text(reduce(Profile.merge, parts, asked.nothing()))


def _batches(plan: Any, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    asked = ProfilePlan.from_json(plan.value)
    tables = (pa.Table.from_batches([batch]) for batch in batches)
    parts = (Profile.of(rows, asked.version, asked.columns, time=asked.time) for rows in tables)
    made = profile_text(reduce(Profile.merge, parts, asked.nothing()))
    yield pa.RecordBatch.from_pydict({"made": [made], "failure": [""]})


def _merged(one: Answer, other: Answer) -> Answer:
    if failure := one[1] or other[1]:
        return "", failure
    if not (one[0] and other[0]):
        return one[0] or other[0], ""
    return profile_text(profile_of_text(one[0]).merge(profile_of_text(other[0]))), ""
