from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from monitoring_pipeline.describe.freshness import FeastSource, LoggedSource, TableSource
from monitoring_pipeline.settings.freshness import Freshness

SOURCES: list[dict[str, Any]] = [
    {"name": "popularity", "kind": "popularity", "column": "popularity_at"},
    {"name": "clicks", "kind": "streaming", "max_age": "15m", "column": "clicks_at"},
    {"name": "users", "kind": "batch_user_features", "sql": {"url_env": "URL", "table": "u", "column": "t"}},
    {"name": "items", "max_age": "2h", "sql": {"url_env": "URL", "schema": "s", "table": "i", "column": "t"}},
    {"name": "vectors", "kind": "embeddings", "feast": {"repository": "features/", "feature_view": "vectors"}},
]


def test_sources_are_read_with_the_age_that_is_given_or_usual_for_their_kind() -> None:
    section = Freshness.model_validate({"sources": tuple(SOURCES)})
    windows = (timedelta(hours=1),)
    assert section.policy(windows).windows == windows
    assert section.policy(windows).sources == (
        LoggedSource(name="popularity", max_age=timedelta(hours=1), column="popularity_at"),
        LoggedSource(name="clicks", max_age=timedelta(minutes=15), column="clicks_at"),
        TableSource(name="users", max_age=timedelta(hours=6), url_env="URL", table="u", column="t"),
        TableSource(name="items", max_age=timedelta(hours=2), url_env="URL", table="i", column="t", schema="s"),
        FeastSource(name="vectors", max_age=timedelta(hours=24), repository="features/", feature_view="vectors"),
    )
    assert section.variables() == ("URL",)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"name": "a", "max_age": "1h"}, "give one of column, sql and feast"),
        ({**SOURCES[0], "feast": SOURCES[4]["feast"]}, "give one of column, sql and feast"),
        ({"name": "a", "column": "at"}, "give max_age, or a kind"),
        ({**SOURCES[0], "kind": "popular"}, "Known here: batch_user_features"),
        ({**SOURCES[2], "sql": {"url_env": "postgresql://u:p@h/d", "table": "u", "column": "t"}}, "in capitals"),
    ],
)
def test_a_source_that_says_too_little_or_too_much_is_refused(source: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Freshness.model_validate({"sources": (source,)})


def test_two_sources_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="Two sources are named popularity"):
        Freshness.model_validate({"sources": (SOURCES[0], SOURCES[0])})
