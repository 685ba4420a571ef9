from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.capture.windows import Window
from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.hours import profile_hours
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.hourly import DAILY_OUTCOMES, DAILY_PROFILES, HourlyStore
from monitoring_pipeline.stores.objects import Place, sizes
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline.stores.retention import Limits, compact, remove_expired
from monitoring_pipeline_tests.traffic import LOG, MODEL, START, VERSION, hour, log_rows, reference

DAYS = 4


def midnight(day: int) -> datetime:
    return START + timedelta(days=day)


def limits(rows: int, hours: int, days: int) -> Limits:
    return Limits(midnight(rows), midnight(hours), midnight(days))


@pytest.fixture
def store(place: Place) -> HourlyStore:
    """Return a store with some days of everything."""
    store, log = HourlyStore(place), ParquetPredictionLog(place, LOG)
    known = {VERSION: reference(log_rows(300, seed=1))}
    for number in range(0, 24 * DAYS, 4):
        at, rows = hour(number), log_rows(5 + number % 3, seed=number, at=number)
        log.append(MODEL, rows)
        store.write("samples", MODEL, at, rows)
        store.write("quarantine", MODEL, at, rows.slice(0, 1))
        profiles = profile_hours(prepare_predictions(rows, LOG, table="rows"), known, [at], LOG)[at]
        store.write_profiles(MODEL, at, profiles)
        store.write_outcomes(MODEL, at, {VERSION: BinaryOutcomes(rows=7, labelled=number)})
        store.write_signals("drift", MODEL, {at: []})
    for day in range(DAYS):
        store.write("sample_verdicts", MODEL, hour(24 * day + 23), pa.table({"a": [1]}))
    known_at = {"prediction_id": ["1", "2"], "actual": [1, 0], "labelled_at": [hour(3), hour(50)]}
    ParquetLabelLog(place, LabelColumns()).append(MODEL, pa.table(known_at), hours=[hour(1)])
    return store


def days_of(place: Place, kind: str) -> set[int]:
    """Return the days of which files of a kind are left."""
    found = [name for name in sizes(place / kind / f"model={MODEL}") if name.endswith(".parquet")]
    return {day for day in range(DAYS) for name in found if f"{midnight(day):%Y-%m-%d}" in name}


def test_rows_go_first_then_what_was_made_of_hours_then_what_was_made_of_days(store: HourlyStore, place: Place) -> None:
    remove_expired(store, place, MODEL, limits(3, 2, 1), dry_run=False)
    for kind in ("predictions", "quarantine"):
        assert days_of(place, kind) == {3}
    assert days_of(place, "labels") == set(), "those known on the third day were of predictions that are gone"
    for kind in ("samples", "profiles", "outcomes", "drift"):
        assert days_of(place, kind) == {2, 3}
    for kind in (DAILY_PROFILES, DAILY_OUTCOMES, "sample_verdicts"):
        assert 0 not in days_of(place, kind)
        assert 1 in days_of(place, kind)
    assert len(ParquetLabelLog(place, LabelColumns()).arrivals(MODEL, after=0, limit=9)) == 1


def test_a_dry_run_says_exactly_what_would_go_and_changes_nothing(store: HourlyStore, place: Place) -> None:
    before = sizes(place)
    said = remove_expired(store, place, MODEL, limits(3, 2, 1), dry_run=True)
    assert sizes(place) == before
    done = remove_expired(store, place, MODEL, limits(3, 2, 1), dry_run=False)
    assert said == done
    gone = {name: size for name, size in before.items() if name not in sizes(place)}
    assert sum(each.bytes for each in done) == sum(gone.values())
    assert sum(each.files for each in done) == len(gone)
    assert remove_expired(store, place, MODEL, limits(3, 2, 1), dry_run=False) == []


def test_what_has_expired_is_said_to_be_and_is_not_an_hour_without_traffic(store: HourlyStore, place: Place) -> None:
    log = ParquetPredictionLog(place, LOG)
    assert store.expired("profiles", MODEL) is None
    remove_expired(store, place, MODEL, limits(2, 1, 1), dry_run=False)
    assert store.expired("predictions", MODEL) == midnight(2)
    assert store.expired("profiles", MODEL) == midnight(1)
    with pytest.raises(StoreError, match=r"2026-11-20T04Z: expired.*retention.hot"):
        log.read(Window(MODEL, hour(4), hour(5)))
    assert log.read(Window(MODEL, hour(49), hour(50))).num_rows == 0, "this one had none"
    remove_expired(store, place, MODEL, limits(1, 1, 1), dry_run=False)
    assert store.expired("predictions", MODEL) == midnight(2), "longer retention brings nothing back"


def test_a_day_adds_up_to_what_its_hours_were(store: HourlyStore, place: Place) -> None:
    hours = store.read_profiles(MODEL, midnight(0), midnight(1)).values()
    labelled = store.read_labelled(MODEL, midnight(0), midnight(DAYS))
    compact(store, place, MODEL, before=midnight(1))
    remove_expired(store, place, MODEL, limits(2, 2, 0), dry_run=False)
    (day,) = store.read_profiles(MODEL, midnight(0), midnight(1), kind=DAILY_PROFILES)[midnight(0)]
    every = [profile for profiles in hours for profile in profiles]
    assert day.rows == sum(profile.rows for profile in every)
    for name, column in day.columns.items():
        assert column.counts.tolist() == np.sum([profile.columns[name].counts for profile in every], axis=0).tolist()
    left = store.read_labelled(MODEL, midnight(0), midnight(DAYS))
    assert sum(left.values()) == sum(labelled.values())
    assert len(left) < len(labelled)


def test_a_removal_that_was_cut_short_is_finished_and_its_day_keeps_all_its_hours(
    store: HourlyStore, place: Place
) -> None:
    remove_expired(store, place, MODEL, limits(1, 0, 0), dry_run=False)
    before = store.read_profiles(MODEL, midnight(0), midnight(1))
    remove_expired(store, place, MODEL, limits(1, 1, 0), dry_run=False)
    day = store.read_profiles(MODEL, midnight(0), midnight(1), kind=DAILY_PROFILES)
    # As after a crash: the day is there, and some of its hours still are.
    at, profiles = list(before.items())[-1]
    store.write_profiles(MODEL, at, profiles)
    remove_expired(store, place, MODEL, limits(1, 1, 0), dry_run=False)
    assert days_of(place, "profiles") == {1, 2, 3}
    assert str(store.read_profiles(MODEL, midnight(0), midnight(1), kind=DAILY_PROFILES)) == str(day)


def test_profiles_that_a_baseline_compares_with_stay_however_old(store: HourlyStore, place: Place) -> None:
    fixed = Limits(midnight(3), midnight(3), midnight(3), ((hour(26), hour(30)),))
    remove_expired(store, place, MODEL, fixed, dry_run=False)
    assert days_of(place, "profiles") == {1, 3}
    assert days_of(place, "samples") == {3}


def test_rows_stay_where_a_training_may_want_all_of_them(store: HourlyStore, place: Place) -> None:
    remove_expired(store, place, MODEL, Limits(None, midnight(3), midnight(3)), dry_run=False)
    assert days_of(place, "predictions") == days_of(place, "quarantine") == {0, 1, 2, 3}


def test_other_models_and_references_are_left_alone(store: HourlyStore, place: Place) -> None:
    store.write("samples", "another", hour(0), pa.table({"a": [1]}))
    far = datetime(2030, 1, 1, tzinfo=UTC)
    remove_expired(store, place, MODEL, Limits(far, far, far), dry_run=False)
    left = {name for name in sizes(place) if not name.startswith(("labels/", "expired/"))}
    assert left == {"samples/model=another/2026-11-20T00Z.parquet"}
