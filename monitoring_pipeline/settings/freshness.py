"""Where features come from and how old they may be, as written in YAML.

Add a kind of source, or a usual age, here. Keep URLs and passwords out: a source names the variable that holds its URL.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from monitoring_pipeline.describe import freshness
from monitoring_pipeline.evaluate.freshness import FreshnessPolicy
from monitoring_pipeline.settings.conditions import Duration, Name, Section, all_different, matching

USUAL_AGES: Mapping[str, timedelta] = {
    "batch_user_features": timedelta(hours=6),
    "item_features": timedelta(hours=12),
    "streaming": timedelta(minutes=5),
    "popularity": timedelta(hours=1),
    "embeddings": timedelta(hours=24),
}
"""How old features of a kind may be unless the file says otherwise."""

Variable = Annotated[str, matching(r"[A-Z][A-Z0-9_]*", "Name an environment variable in capitals that holds the URL.")]


class Table(Section):
    """A table of a database and its column of timestamps."""

    url_env: Variable
    table: str
    column: str
    in_schema: str | None = Field(default=None, alias="schema")


class FeatureView(Section):
    """A Feast feature view and the folder of its repository."""

    repository: str
    feature_view: str


class Source(Section):
    """One source: a column of the log (`column`), a table (`sql`) or a feature view (`feast`).

    Up to `max_age` it is fresh, up to twice that stale, beyond it critical.
    """

    name: Name
    kind: Annotated[str, matching("|".join(USUAL_AGES), f"Known here: {', '.join(USUAL_AGES)}.")] | None = None
    max_age: Duration | None = None
    column: str | None = None
    sql: Table | None = None
    feast: FeatureView | None = None

    @model_validator(mode="after")
    def _is_one_source_with_an_age(self) -> "Source":
        if sum(place is not None for place in (self.column, self.sql, self.feast)) != 1:
            raise ValueError("Say where the timestamps are: give one of column, sql and feast.")
        if self.max_age is None and self.kind is None:
            raise ValueError(f"Say how old it may be: give max_age, or a kind ({', '.join(USUAL_AGES)}).")
        return self

    def source(self) -> freshness.Source:
        max_age = self.max_age or USUAL_AGES[self.kind or ""]
        if self.sql is not None:
            where = self.sql.model_dump(exclude={"in_schema"}) | {"schema": self.sql.in_schema}
            return freshness.TableSource(name=self.name, max_age=max_age, **where)
        if self.feast is not None:
            return freshness.FeastSource(name=self.name, max_age=max_age, **self.feast.model_dump())
        return freshness.LoggedSource(name=self.name, max_age=max_age, column=self.column or "")


class Freshness(Section):
    """The sources of features whose age is watched."""

    sources: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> "Freshness":
        all_different("sources", [source.name for source in self.sources])
        return self

    def policy(self, windows: tuple[timedelta, ...]) -> FreshnessPolicy:
        """Return what is measured."""
        return FreshnessPolicy(windows, tuple(source.source() for source in self.sources))

    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that hold the URLs of databases."""
        return tuple(dict.fromkeys(source.sql.url_env for source in self.sources if source.sql is not None))
