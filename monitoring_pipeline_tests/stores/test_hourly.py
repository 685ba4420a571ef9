from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.judge.conditions import WhyNot
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.objects import Place, sizes
from monitoring_pipeline.stores.signal_tables import signals_table, verdicts_table
from monitoring_pipeline_tests.traffic import MODEL, SPECS, VERSION, hour, log_rows, reference
from monitoring_pipeline_tests.verdicts import signal

REFERENCE = reference(log_rows(300, seed=1))
SIGNALS = [
    signal(value=0.25, low=0.1, high=0.5, p_value=1e-9, rows=7, column="Zürich\n|", detail={"bins": [{"bin": "a"}]}),
    signal(value=float("inf"), baseline_value=-0.0, unit="nat", baseline="", segment="EU"),
    signal(value=None, absence=Absence.WARMING_UP, reason="2 of 3 hours described"),
    signal("performance.accuracy", 5e-324, window="7d"),
]
VERDICTS = [Verdict(each, level, 0.1, "textbook", "why") for each, level in zip(SIGNALS, Level, strict=True)]


OUTCOMES = [
    RuleOutcome(
        *("drift", MODEL, hour(0), RuleState.FIRING, Level.CRITICAL, "because", tuple(VERDICTS), "runbook.md"),
        owner="team:growth",
        since=hour(0) - timedelta(hours=3),
    ),
    RuleOutcome("quiet", MODEL, hour(0), RuleState.UNKNOWN, Level.WARNING, "", why=WhyNot.NO_SUCH_SIGNAL),
]


@pytest.fixture
def store(place: Place) -> HourlyStore:
    return HourlyStore(place)


def test_signals_come_back_as_they_were_detail_included(store: HourlyStore) -> None:
    store.write_signals("drift", MODEL, {hour(0): SIGNALS})
    found = store.read_signals("drift", MODEL, hour(0), hour(1))[hour(0)]
    assert found == SIGNALS
    assert [each.detail for each in found] == [each.detail for each in SIGNALS]
    assert found[0].window_start.utcoffset() == timedelta(0)


def test_verdicts_come_back_as_they_were_and_can_be_asked_for_by_metric(store: HourlyStore) -> None:
    store.write_verdicts(MODEL, {hour(0): VERDICTS})
    assert store.read_verdicts(MODEL, hour(0), hour(1)) == {hour(0): VERDICTS}
    some = store.read_verdicts(MODEL, hour(0), hour(1), ["performance.accuracy"])
    assert some == {hour(0): VERDICTS[3:]}
    assert store.read_verdicts(MODEL, hour(0), hour(1), []) == {hour(0): []}


def test_rules_come_back_with_the_verdicts_that_made_them(store: HourlyStore) -> None:
    store.write_rules(MODEL, {hour(0): OUTCOMES})
    assert store.read_rules(MODEL, hour(0), hour(1)) == {hour(0): OUTCOMES}


def test_rules_stored_before_they_had_owners_and_reasons_are_read(store: HourlyStore) -> None:
    store.write_rules(MODEL, {hour(0): OUTCOMES})
    (table,) = store.read("rules", MODEL, hour(0), hour(1)).values()
    store.write("rules", MODEL, hour(0), table.drop_columns(["owner", "since", "why"]))
    (found,) = store.read_rules(MODEL, hour(0), hour(1)).values()
    assert found == [replace(outcome, owner="", since=hour(0), why=None) for outcome in OUTCOMES]


def test_an_hour_that_was_processed_and_had_nothing_is_not_one_that_was_not_processed(store: HourlyStore) -> None:
    store.write_profiles(MODEL, hour(0), [])
    store.write_outcomes(MODEL, hour(0), {})
    store.write_signals("drift", MODEL, {hour(0): []})
    store.write_rules(MODEL, {hour(0): []})
    assert store.read_profiles(MODEL, hour(0), hour(3)) == {hour(0): []}
    assert store.read_outcomes(MODEL, hour(0), hour(3)) == {hour(0): {}}
    assert store.read_signals("drift", MODEL, hour(0), hour(3)) == {hour(0): []}
    assert store.read_rules(MODEL, hour(0), hour(3)) == {hour(0): []}
    assert store.read_served(MODEL, hour(0), hour(3)) == {hour(0): {}}
    assert store.read_labelled(MODEL, hour(0), hour(3)) == {hour(0): 0}


def test_profiles_of_several_versions_and_segments_share_an_hour(store: HourlyStore) -> None:
    own = Profile.of(log_rows(40, seed=2), VERSION, REFERENCE.specs)
    segment = Profile.of(log_rows(9, seed=3), VERSION, REFERENCE.specs, "EU")
    undescribed = Profile("4", 5, {})
    store.write_profiles(MODEL, hour(0), [own, segment, undescribed])
    found = store.read_profiles(MODEL, hour(0), hour(1))[hour(0)]
    assert [(each.version, each.segment, each.rows, len(each.columns)) for each in found] == [
        (VERSION, "", 40, len(SPECS)),
        (VERSION, "EU", 9, len(SPECS)),
        ("4", "", 5, 0),
    ]
    for name, expected in own.columns.items():
        assert found[0].columns[name].counts.tobytes() == expected.counts.tobytes()
        assert found[0].columns[name].sums.tobytes() == expected.sums.tobytes()


def test_rows_served_and_labelled_are_read_without_the_rest(store: HourlyStore) -> None:
    own = Profile.of(log_rows(40, seed=2), VERSION, REFERENCE.specs)
    store.write_profiles(MODEL, hour(1), [own, Profile("4", 5, {})])
    assert store.read_served(MODEL, hour(0), hour(3)) == {hour(1): {VERSION: 40, "4": 5}}
    labelled = replace(BinaryOutcomes(), rows=9, labelled=4)
    store.write_outcomes(MODEL, hour(1), {"3": labelled, "4": labelled})
    assert store.read_labelled(MODEL, hour(0), hour(3)) == {hour(1): 8}


def test_writing_an_hour_again_replaces_it_as_a_whole(store: HourlyStore) -> None:
    for signals in (SIGNALS, SIGNALS[:1]):
        store.write_signals("drift", MODEL, {hour(0): signals})
    assert store.read_signals("drift", MODEL, hour(0), hour(1)) == {hour(0): SIGNALS[:1]}


def test_the_same_records_give_the_same_bytes(store: HourlyStore, place: Place) -> None:
    for number in (0, 1):
        store.write_signals("drift", MODEL, {hour(number): SIGNALS})
    first, second = ((place / name).read_bytes() for name in sizes(place))
    assert first == second


def test_hours_kinds_and_models_are_kept_apart(store: HourlyStore) -> None:
    table = pa.table({"a": [1]})
    for kind, model, number in (("samples", "m", 5), ("samples", "m", 2), ("samples", "m/x", 3), ("other", "m", 4)):
        store.write(kind, model, hour(number), table)
    assert store.hours("samples", "m") == [hour(2), hour(5)]
    assert list(store.read("samples", "m", hour(0), hour(5))) == [hour(2)]
    assert (store.hours("samples", "m/x"), store.hours("other", "m")) == ([hour(3)], [hour(4)])


def test_a_sample_without_rows_or_even_columns_is_stored(store: HourlyStore) -> None:
    for number, table in enumerate((pa.table({}), log_rows(0, seed=1))):
        store.write("samples", MODEL, hour(number), table)
    found = store.read("samples", MODEL, hour(0), hour(2))
    assert [table.num_rows for table in found.values()] == [0, 0]


def test_a_broken_hour_is_named(store: HourlyStore, place: Place) -> None:
    store.write("samples", MODEL, hour(0), pa.table({"a": [1]}))
    (name,) = sizes(place)
    (place / name).write_bytes(b"")
    with pytest.raises(StoreError, match="2026-11-20T00Z"):
        store.read("samples", MODEL, hour(0), hour(1))


def test_tables_of_signals_and_verdicts_have_one_row_each_and_the_window_by_name() -> None:
    assert signals_table(SIGNALS)["window"].to_pylist() == ["24h", "24h", "24h", "7d"]
    assert verdicts_table(VERDICTS)["level"].to_pylist() == [level.value for level in Level]
    assert signals_table([]).num_rows == 0
