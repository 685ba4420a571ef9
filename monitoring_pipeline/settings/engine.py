"""Where the hours of a model are described: in the run itself, in a process of its own, or on Spark.

Add a kind of engine here, and what runs it in `workflow.engines`. Keep URLs and passwords out: an engine names the
variable that holds its URL.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field

from monitoring_pipeline.settings.conditions import Section


class LocalEngine(Section):
    """The process of the run."""

    kind: Literal["local"] = "local"


class ProcessEngine(Section):
    """A process of its own, through Dagster Pipes: its memory ends with it, and what ends it leaves the run alive."""

    kind: Literal["process"]


class SparkEngine(Section):
    """Tasks of Spark for the hours of a range, with `conf` for its session; an hour alone stays in the run.

    Workers need this package, the variables of the run, and its data in a bucket or under the same path. For a master
    that is not local, `spark.pyspark.python` in `conf` names their Python.
    """

    kind: Literal["spark"]
    master: str = "local[*]"
    conf: Mapping[str, str] = Field(default_factory=dict)


class SqlEngine(Section):
    """The database of a log of kind sql: what is counted is counted there, and few rows are read.

    For DuckDB, PostgreSQL, Snowflake, BigQuery, Databricks and Trino.
    """

    kind: Literal["sql"]


EngineForm = Annotated[LocalEngine | ProcessEngine | SparkEngine | SqlEngine, Discriminator("kind")]
