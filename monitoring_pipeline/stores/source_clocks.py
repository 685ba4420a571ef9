"""How new the tables and feature views are that features come from.

Add a way to read a kind of source here. Keep what its age means out: it belongs in evaluate.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from importlib import import_module
from typing import Any

import sqlalchemy as sa

from monitoring_pipeline.capture.windows import EPOCH
from monitoring_pipeline.describe.freshness import FeastSource, TableSource
from monitoring_pipeline.errors import StoreError


class SourceClocks:
    """Asks databases, by the name of the variable that held their URL, and Feast repositories."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = urls

    def newest(self, source: TableSource | FeastSource) -> datetime | None:
        """Return the time of the newest row, None where there is none; raises StoreError where it cannot be read."""
        return self._newest_row(source) if isinstance(source, TableSource) else _last_materialised(source)

    def _newest_row(self, source: TableSource) -> datetime | None:
        url = self._urls.get(source.url_env)
        if not url:
            raise StoreError(
                f"source {source.name}: {source.url_env} is not set. Put the URL of its database into that variable."
            )
        try:
            address = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError):  # neither is quoted: a URL that cannot be read shows its password
            raise StoreError(
                f"source {source.name}: what {source.url_env} holds is not the URL of a database. "
                "Write dialect://user:password@host/database, with special characters percent-encoded."
            ) from None
        # Always quoted: a name is never read as SQL.
        name, column = sa.quoted_name(source.table, quote=True), sa.quoted_name(source.column, quote=True)
        schema = None if source.schema is None else sa.quoted_name(source.schema, quote=True)
        table = sa.table(name, sa.column(column), schema=schema)
        try:
            engine = sa.create_engine(address, poolclass=sa.NullPool)
            with engine.connect() as connection:
                found = connection.execute(sa.select(sa.func.max(table.c[column]))).scalar()
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            why = str(getattr(error, "orig", error)).strip().partition("\n")[0]
            raise StoreError(
                f"source {source.name}: the newest {source.column!r} of {source.table!r} could not be read ({why}). "
                f"Check the database of {source.url_env} and the names under freshness.sources."
            ) from error
        return _moment(found, source)


def _moment(found: Any, source: TableSource) -> datetime | None:
    """Return what a database gives for a time: with or without a zone, a date, or ISO 8601 text; UTC where unsaid."""
    try:
        if isinstance(found, str):
            found = datetime.fromisoformat(found)
        if isinstance(found, date) and not isinstance(found, datetime):
            found = datetime.combine(found, EPOCH.timetz())
        if found is None or isinstance(found, datetime):
            return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        pass
    raise StoreError(
        f"source {source.name}: the newest {source.column!r} of {source.table!r} is {found!r}, not a time. "
        "Name a column of timestamps, or of ISO 8601 text."
    )


def _last_materialised(source: FeastSource) -> datetime | None:
    try:
        feast = import_module("feast")
    except ImportError as error:
        raise StoreError(
            f"source {source.name}: Feast is not installed, which its feature view {source.feature_view!r} needs. "
            "Install it (pip install feast), or watch the table behind the view with sql:."
        ) from error
    try:
        newest: datetime | None = (
            feast.FeatureStore(repo_path=source.repository).get_feature_view(source.feature_view).most_recent_end_time
        )
    except Exception as error:  # Feast raises whatever its registry and its stores raise
        raise StoreError(
            f"source {source.name}: feature view {source.feature_view!r} of {source.repository} could not be read "
            f"({error}). Check both names under freshness.sources."
        ) from error
    return newest
