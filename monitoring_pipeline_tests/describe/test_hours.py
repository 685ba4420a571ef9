import pyarrow as pa

from monitoring_pipeline.capture.labels import join_labels
from monitoring_pipeline.capture.predictions import UNVERSIONED, LogColumns, prepare_predictions
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.hours import (
    hours_before_first,
    hours_by_version,
    outcome_hours,
    profile_hours,
    profiles_of_version,
    serving_version,
)
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.reference_building import ReferencePlan
from monitoring_pipeline_tests.traffic import LOG, VERSION, hour, log_rows, reference

REFERENCE = reference(log_rows(300, seed=0))
HOURS = [hour(0), hour(1), hour(2)]


def prepared(*parts: pa.Table) -> pa.Table:
    return prepare_predictions(pa.concat_tables(parts), LOG)


def test_every_hour_has_a_profile_for_each_version_that_served_in_it() -> None:
    rows = prepared(
        log_rows(9, seed=1, at=0), log_rows(4, seed=2, at=2, model_version=["4"] * 4), log_rows(2, seed=3, at=2)
    )
    described = profile_hours(rows, {VERSION: REFERENCE}, HOURS, LOG)
    assert {at: [(p.version, p.rows) for p in entries] for at, entries in described.items()} == {
        hour(0): [(VERSION, 9)],
        hour(1): [],
        hour(2): [(VERSION, 2), ("4", 4)],
    }


def test_a_version_without_a_reference_is_counted_but_not_described() -> None:
    described = profile_hours(prepared(log_rows(9, seed=1)), {}, HOURS[:1], LOG)
    (profile,) = described[hour(0)]
    assert (profile.rows, profile.columns) == (9, {})


def test_a_log_without_versions_has_one() -> None:
    columns = LogColumns(version=None)
    rows = prepare_predictions(log_rows(9, seed=1), columns)
    described = profile_hours(rows, {}, HOURS[:1], columns)
    assert [profile.version for profile in described[hour(0)]] == [UNVERSIONED]
    assert list(outcome_hours(joined(rows), HOURS[:1], OutcomePlan(columns=columns), {})[hour(0)]) == [UNVERSIONED]


def joined(rows: pa.Table) -> pa.Table:
    return join_labels(rows, None, id_column="prediction_id", as_of=hour(99))


def test_outcomes_are_by_hour_and_version_too() -> None:
    rows = prepared(log_rows(9, seed=1, at=0), log_rows(4, seed=2, at=2, model_version=["4"] * 4))
    outcomes = outcome_hours(joined(rows), HOURS, OutcomePlan(columns=LOG), {})
    assert {at: {version: entry.rows for version, entry in entries.items()} for at, entries in outcomes.items()} == {
        hour(0): {VERSION: 9},
        hour(1): {},
        hour(2): {"4": 4},
    }
    assert outcome_hours(pa.table({}), HOURS[:1], OutcomePlan(), {}) == {hour(0): {}}


def test_an_hour_a_version_did_not_serve_in_is_empty_and_one_without_its_reference_is_not_described() -> None:
    undescribed = Profile(VERSION, 7, {})
    own = Profile.empty(VERSION, REFERENCE.specs)
    profiles = {hour(0): [own], hour(1): [Profile("4", 3, {})], hour(2): [undescribed], hour(3): []}
    found = profiles_of_version(profiles, REFERENCE)
    assert {at: profile.rows for at, profile in found.items()} == {hour(0): 0, hour(1): 0, hour(3): 0}


SEGMENTED = reference(log_rows(300, seed=0), plan=ReferencePlan(segments=["plan"], most=2))


def test_an_hour_has_a_profile_of_every_version_and_of_every_segment_of_its_rows() -> None:
    plans = ["basic"] * 4 + ["plus"] * 2 + ["pro", "gold", None]
    rows = prepared(log_rows(9, seed=1, plan=plans), log_rows(2, seed=2, at=1, plan=["plus"] * 2))
    described = profile_hours(rows, {VERSION: SEGMENTED}, HOURS, LOG)
    assert {at: {p.segment: p.rows for p in entries} for at, entries in described.items()} == {
        hour(0): {"": 9, "plan=basic": 4, "plan=plus": 2, "plan=(other)": 3},
        hour(1): {"": 2, "plan=plus": 2},
        hour(2): {},
    }
    whole, *parts = described[hour(0)]
    for name, column in whole.columns.items():
        assert sum(part.columns[name].rows for part in parts) == column.rows
        assert sum(part.columns[name].counts for part in parts).tolist() == column.counts.tolist()  # type: ignore[union-attr]


def test_a_segment_is_empty_in_hours_in_which_it_had_no_rows() -> None:
    rows = prepared(log_rows(9, seed=1, plan=["basic"] * 9), log_rows(2, seed=2, at=1, plan=["plus"] * 2))
    described = profile_hours(rows, {VERSION: SEGMENTED}, HOURS, LOG)
    basic = profiles_of_version(described, SEGMENTED, segment="plan=basic")
    assert {at: (profile.rows, profile.segment) for at, profile in basic.items()} == {
        hour(0): (9, "plan=basic"),
        hour(1): (0, "plan=basic"),
        hour(2): (0, "plan=basic"),
    }
    assert [profile.rows for profile in profiles_of_version(described, SEGMENTED).values()] == [9, 2, 0]


def test_hours_counted_in_the_bins_of_an_earlier_reference_are_not_described() -> None:
    rows = prepared(log_rows(9, seed=1), log_rows(2, seed=2, at=1))
    before = profile_hours(rows, {VERSION: reference(log_rows(300, seed=4))}, HOURS[:1], LOG)
    after = profile_hours(rows, {VERSION: SEGMENTED}, HOURS[1:], LOG)
    for segment in ("", "plan=basic"):
        assert list(profiles_of_version(before | after, SEGMENTED, segment=segment)) == HOURS[1:]


def test_the_version_that_serves_is_the_one_with_most_rows_in_the_last_hour_that_had_any() -> None:
    served = {hour(0): {"1": 5, "2": 9}, hour(1): {}, hour(2): {"3": 0}, hour(4): {"1": 4, "10": 4}}
    assert [serving_version(served, hour(number)) for number in (-1, 0, 1, 3, 9)] == [None, "2", "2", "2", "10"]


def test_hours_that_others_served_before_a_version_took_over_are_counted_within_the_window_alone() -> None:
    traffic = {hour(0): 9, hour(1): 9, hour(2): 0, hour(3): 9, hour(4): 9}
    served = {hour(3): 1, hour(4): 9}
    assert hours_before_first(served, traffic, start=hour(0), end=hour(5)) == 2
    assert hours_before_first(served, traffic, start=hour(1), end=hour(5)) == 1
    assert hours_before_first(served, traffic, start=hour(3), end=hour(5)) == 0
    assert hours_before_first({}, {}, start=hour(0), end=hour(5)) == 0


def test_a_version_is_evaluated_for_as_long_as_it_is_in_a_window() -> None:
    served = {hour(0): {"1": 5}, hour(1): {"1": 2, "2": 7}, hour(2): {}, hour(4): {"2": 1}}
    hours = [hour(number) for number in range(5)]
    assert hours_by_version(served, hours, reach=2 * HOUR) == {
        "1": [hour(0), hour(1), hour(2)],
        "2": [hour(1), hour(2), hour(4)],
    }
    assert hours_by_version(served, [hour(2)], reach=HOUR) == {}
