import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.freshness import FreshnessProfile, LoggedSource, Reading, SourceAges, TableSource
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.evaluate.freshness import FreshnessPolicy, freshness_by_version, read_sources
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.traffic import START, hour

POPULARITY = LoggedSource(name="popularity", max_age=HOUR, column="popularity_at")
USERS = TableSource(name="users", max_age=6 * HOUR, url_env="URL", table="users", column="updated_at")
SHARES = ("fresh_share", "stale_share", "critical_share")


def profile(ages: Any, **sources: SourceAges) -> FreshnessProfile:
    """What rows with these ages of popularity, in seconds, add up to."""
    counted = SourceAges.of(np.asarray(ages, np.float64), HOUR)
    return FreshnessProfile(counted.rows, counted.fresh, {"popularity": counted, **sources})


def measured(
    hourly: Mapping[datetime, FreshnessProfile],
    *,
    reference: FreshnessProfile | None = None,
    length: int = 1,
    at: int = 0,
) -> dict[tuple[str, str], Signal]:
    policy = FreshnessPolicy((length * HOUR,), (POPULARITY, USERS))
    references = {} if reference is None else {"1": reference}
    by_version = {moment: {"1": part} for moment, part in hourly.items()}
    signals = freshness_by_version("m", by_version, references, [hour(at)], policy)
    return {(signal.metric.removeprefix("freshness."), signal.column): signal for signal in signals}


def test_shares_of_fresh_stale_and_critical_rows_add_up_to_one() -> None:
    found = measured({hour(0): profile([60] * 6 + [5000] * 3), hour(1): profile([9000])}, length=2, at=1)
    assert [found[name, "popularity"].value for name in SHARES] == [0.6, 0.3, 0.1]
    assert found["requests_fresh_share", ""].value == 0.6
    assert found["requests_fresh_share", ""].rows == 10


def test_a_source_gone_stale_is_critical_and_says_what_is_wrong() -> None:
    ages = [60.0] * 80 + [9000.0] * 10 + [math.nan] * 5 + [math.inf] * 3 + [-7200.0] * 2
    signal = measured({hour(0): profile(ages)})["critical_share", "popularity"]
    verdict = judge_by_limits(signal, LIMITS[signal.metric])
    assert verdict.level is Level.CRITICAL
    assert verdict.reason == (
        "popularity: 10 of 100 older than 2 h, 5 of 100 of unknown age, 3 of 100 with a timestamp that is no time, "
        "2 of 100 from the future: a clock is wrong, or a time zone"
    )
    few = measured({hour(0): profile([60.0] * 99 + [9000.0])})["critical_share", "popularity"]
    assert judge_by_limits(few, LIMITS[few.metric]).level is Level.OK


def test_ages_are_held_against_those_of_the_reference_rows() -> None:
    found = measured({hour(0): profile([1800.0] * 200)}, reference=profile([600.0] * 99 + [3000.0]))
    assert found["age_p50", "popularity"].value == pytest.approx(1800, rel=0.01)
    assert found["age_p50", "popularity"].baseline_value == pytest.approx(600, rel=0.01)
    assert found["age_ratio", "popularity"].value == pytest.approx(3, rel=0.02)
    assert found["age_ratio", "popularity"].baseline_value == 1.0
    assert ("age_ratio", "popularity") not in measured({hour(0): profile([1800.0])})
    instant = measured({hour(0): profile([5.0])}, reference=profile([0.0] * 9))["age_ratio", "popularity"]
    assert instant.absence is Absence.UNDEFINED


def test_a_table_that_was_read_once_an_hour_has_shares_of_its_readings() -> None:
    stale = SourceAges.of(np.array([7 * 3600.0]), 6 * HOUR)
    found = measured({hour(0): profile([60.0] * 50, users=stale)})
    assert (found["stale_share", "users"].value, found["stale_share", "users"].rows) == (1.0, 1)
    verdict = judge_by_limits(found["stale_share", "users"], LIMITS["freshness.stale_share"])
    assert verdict.level is Level.WARNING
    lost = SourceAges.of(np.array([math.nan]), 6 * HOUR, problem="connection refused")
    found = measured({hour(0): profile([60.0], users=lost)})
    verdict = judge_by_limits(found["critical_share", "users"], LIMITS["freshness.critical_share"])
    assert (verdict.level, verdict.reason) == (Level.CRITICAL, "users: 1 of 1 of unknown age (connection refused)")
    assert found["age_p50", "users"].absence is Absence.UNDEFINED


def test_a_source_that_was_not_read_an_empty_hour_and_a_young_window_say_so() -> None:
    found = measured({hour(0): profile([60.0])})
    assert {found[name, "users"].absence for name in (*SHARES, "age_p95")} == {Absence.MISSING_COLUMN}
    empty = measured({hour(0): FreshnessProfile.empty()})
    assert {signal.absence for signal in empty.values()} == {Absence.EMPTY_HOUR}
    young = measured({hour(2): profile([60.0])}, length=3, at=2)
    assert {signal.absence for signal in young.values()} == {Absence.WARMING_UP}


class Shelf:
    """A clock that knows what it is told."""

    def __init__(self, newest: datetime | StoreError | None) -> None:
        self._newest = newest

    def newest(self, source: object) -> datetime | None:
        if isinstance(self._newest, StoreError):
            raise self._newest
        return self._newest


def test_a_source_that_cannot_be_read_is_of_unknown_age_and_says_why() -> None:
    def read(newest: datetime | StoreError | None) -> Reading:
        readings = read_sources([POPULARITY, USERS], Shelf(newest), at=START)
        assert readings.keys() == {"users"}
        return readings["users"]

    assert read(START - timedelta(hours=2)) == Reading(7200.0)
    nothing, broken = read(None), read(StoreError("connection refused"))
    assert math.isnan(nothing.age_s)
    assert math.isnan(broken.age_s)
    assert (nothing.problem, broken.problem) == ("it has no rows", "connection refused")
