import json
import math
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from monitoring_pipeline.describe.freshness import FreshnessProfile, LoggedSource, Reading, SourceAges, TableSource
from monitoring_pipeline_tests.traffic import START, log_rows

FIVE = timedelta(minutes=5)
STREAM = LoggedSource(name="stream", max_age=FIVE, column="stream_at")
TABLE = TableSource(name="users", max_age=timedelta(hours=6), url_env="URL", table="users", column="updated_at")


def profile(stamps: Any, *, reading: Reading | None = None) -> FreshnessProfile:
    """Rows that were all answered at START, whose stream features are of the times given."""
    rows = log_rows(len(stamps), seed=1, predicted_at=[START] * len(stamps), stream_at=stamps)
    readings = None if reading is None else {"users": reading}
    return FreshnessProfile.of(rows, [STREAM, TABLE], predicted_at="predicted_at", readings=readings)


def before(**length: float) -> datetime:
    return START - timedelta(**length)


def test_exactly_the_longest_age_is_fresh_and_exactly_twice_that_is_stale() -> None:
    stamps = [START, before(minutes=5), before(minutes=5, microseconds=1), before(minutes=10), before(minutes=10.01)]
    ages = profile(stamps).sources["stream"]
    assert (ages.rows, ages.fresh, ages.stale, ages.critical) == (5, 2, 2, 1)


def test_every_whole_minute_is_as_old_as_itself() -> None:
    stamps = [before(minutes=minutes) for minutes in range(1, 120)]
    rows = log_rows(len(stamps), seed=1, predicted_at=[START] * len(stamps), built_at=stamps)
    for minutes in range(1, 120):
        source = LoggedSource(name="a", max_age=timedelta(minutes=minutes), column="built_at")
        assert FreshnessProfile.of(rows, [source], predicted_at="predicted_at").all_fresh == minutes


def test_missing_unreadable_and_future_timestamps_are_critical_and_counted_apart() -> None:
    ahead = [(START + timedelta(seconds=seconds)).isoformat() for seconds in (4, 6, 3600)]
    found = profile([None, "soon", "", before(minutes=1).isoformat(), *ahead])
    ages = found.sources["stream"]
    assert (ages.missing, ages.unreadable, ages.future) == (1, 2, 2)
    assert (ages.fresh, ages.critical) == (2, 5)  # four seconds ahead is how clocks differ
    assert (found.rows, found.all_fresh) == (7, 2)
    assert ages.ages.count == 2


@pytest.mark.parametrize("poison", [[1_763_600_000] * 3, [True] * 3, [[1]] * 3, [float("nan")] * 3, [None] * 3])
def test_a_column_that_holds_no_times_is_of_unknown_age(poison: list[Any]) -> None:
    found = profile(poison)
    assert found.sources["stream"].critical == 3
    assert found.all_fresh == 0


def test_a_column_the_log_does_not_have_is_of_unknown_age() -> None:
    rows = log_rows(4, seed=1)
    found = FreshnessProfile.of(rows, [STREAM], predicted_at="predicted_at").sources["stream"]
    assert (found.rows, found.missing, found.critical) == (4, 4, 4)


def test_a_reading_counts_once_and_makes_all_requests_of_its_hour_as_fresh_as_it_is() -> None:
    fresh = profile([START] * 9, reading=Reading(3600.0))
    assert (fresh.all_fresh, fresh.sources["users"].rows, fresh.sources["users"].fresh) == (9, 1, 1)
    stale = profile([START] * 9, reading=Reading(7 * 3600.0))
    assert (stale.all_fresh, stale.sources["users"].stale) == (0, 1)
    unknown = profile([START] * 9, reading=Reading(math.nan, "it has no rows"))
    assert (unknown.all_fresh, unknown.sources["users"].critical) == (0, 1)
    assert unknown.merge(fresh).sources["users"].problem == "it has no rows"
    assert FreshnessProfile.from_json(json.loads(json.dumps(unknown.to_json(), allow_nan=False))) == unknown


def test_a_source_that_was_not_read_has_no_counters_and_costs_no_request() -> None:
    found = profile([START] * 2)
    assert found.all_fresh == 2
    assert found.sources.keys() == {"stream"}


def test_ages_of_an_hour_add_up_by_source() -> None:
    first, second = profile([START]), profile([before(minutes=7)])
    merged = first.merge(second).sources["stream"]
    assert merged == SourceAges.of(pa.array([0.0, 420.0]).to_numpy(), FIVE)
