"""Where the predictions and labels of one model are logged, as written in YAML.

Add a kind of store here. Keep URLs and passwords out: a store names the variable that holds its URL.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field

from monitoring_pipeline.settings.conditions import Duration, Name, Section
from monitoring_pipeline.settings.freshness import Variable


class ParquetLog(Section):
    """Files in the state directory: no server is needed."""

    kind: Literal["parquet"] = "parquet"


class PostgresLog(Section):
    """Tables that are made in a schema of a PostgreSQL database, with a partition per day or hour."""

    kind: Literal["postgres"]
    url_env: Variable
    in_schema: Name = Field(default="monitoring", alias="schema")
    partition: Literal["day", "hour"] = "day"

    @property
    def length(self) -> timedelta:
        return timedelta(days=1) if self.partition == "day" else timedelta(hours=1)


class TableForm(Section):
    """A table or view; `columns` says what a column of the log is called in it, `only` which of its rows are meant."""

    table: str
    in_schema: str | None = Field(default=None, alias="schema")
    columns: Mapping[str, str] = Field(default_factory=dict)
    only: Mapping[str, str | int | bool] = Field(default_factory=dict)

    def named(self) -> dict[str, Any]:
        """Return what the store is told of it."""
        return {"name": self.table, "schema": self.in_schema, "columns": self.columns, "only": self.only}


class LabelTable(TableForm):
    """A table of labels, `arrived_at` the log's name of the column of when a row was stored or last changed.

    Without it that is taken to be when the label became known. Labels are looked at once they are `settled`.
    """

    arrived_at: str | None = None
    settled: Duration = timedelta(minutes=5)


class SqlLog(Section):
    """Tables that somebody else writes, in any database SQLAlchemy knows; without `labels` those are in files."""

    kind: Literal["sql"]
    url_env: Variable
    predictions: TableForm
    labels: LabelTable | None = None


LogForm = Annotated[ParquetLog | PostgresLog | SqlLog, Discriminator("kind")]
