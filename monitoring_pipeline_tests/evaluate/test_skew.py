from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.layouts import Layout
from monitoring_pipeline.describe.profiles import rows_by_hour
from monitoring_pipeline.describe.reference_building import ColumnSpec, specs_of
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.evaluate.skew import SkewPolicy, skew_by_version
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.settings.skew import Skew
from monitoring_pipeline_tests.traffic import LOG, MODEL, START, VERSION, hour, log_rows, reference

DAYS, COUNT, PLAN, PAID, JOINED = "days_since_last_interaction", "orders", "plan", "paid", "joined"
SPECS = [
    ColumnSpec(DAYS, ColumnRole.FEATURE, ColumnKind.NUMERIC),
    ColumnSpec(COUNT, ColumnRole.FEATURE, ColumnKind.NUMERIC),
    ColumnSpec(PLAN, ColumnRole.FEATURE, ColumnKind.CATEGORICAL),
    ColumnSpec(PAID, ColumnRole.FEATURE, ColumnKind.BOOLEAN),
    *specs_of(JOINED, ColumnRole.FEATURE, ColumnKind.DATETIME, groups=10, aged=True),
    ColumnSpec("score", ColumnRole.SCORE, ColumnKind.NUMERIC),
]
HOURLY = SkewPolicy((HOUR,))


def customers(
    rows: int, changes: Mapping[str, Any] | None = None, *, seed: int = 1, at: int = 0, hours: int = 1
) -> pa.Table:
    rng = np.random.default_rng(seed)
    usual = {
        DAYS: rng.integers(0, 366, rows).astype(np.float64),
        COUNT: rng.poisson(4, rows),
        PAID: rng.random(rows) < 0.3,
        JOINED: [START - timedelta(days=float(age)) for age in rng.uniform(1, 900, rows)],
    }
    return log_rows(rows, seed=seed, at=at, hours=hours, **(usual | dict(changes or {})))


TRAINING = customers(5000, seed=9, at=-500, hours=480)
REFERENCE = reference(TRAINING, SPECS, time="predicted_at")
LAYOUT = Layout.of(TRAINING, [entry.column for entry in REFERENCE.columns.values()])


def skew(*tables: pa.Table, hours: int = 1, policy: SkewPolicy = HOURLY, layout: Layout = LAYOUT) -> list[Signal]:
    """Return the skew of every hour of some tables, which may store a column differently."""
    samples: dict[Any, pa.Table] = {}
    for table in tables:
        samples |= rows_by_hour(prepare_predictions(table, LOG), time=LOG.predicted_at)
    wanted = [hour(number) for number in range(hours)]
    return skew_by_version(MODEL, samples, {VERSION: REFERENCE}, wanted, policy, log=LOG, layouts={VERSION: layout})


def by_name(signals: list[Signal]) -> Mapping[tuple[str, str], Signal]:
    return {(signal.metric.removeprefix("skew."), signal.column): signal for signal in signals}


def changed(changes: Mapping[str, Any]) -> dict[str, str]:
    found = skew(customers(40, changes, seed=3))
    return {each.column: each.reason for each in found if each.metric == "skew.changed_meaning" and each.value}


def test_days_that_become_unix_timestamps_are_critical_in_their_first_hour_and_named() -> None:
    before = customers(30, seed=2, at=0)
    since = np.random.default_rng(4).integers(0, 366, 30) * 86_400.0
    after = customers(30, seed=3, at=1, changes={DAYS: START.timestamp() + 3600 - since})
    verdicts = {
        each.window_start: judge_by_limits(each, LIMITS[each.metric])
        for each in skew(before, after, hours=2)
        if each.metric == "skew.changed_meaning" and each.column == DAYS
    }
    assert [verdicts[hour(number)].level for number in (0, 1)] == [Level.OK, Level.CRITICAL]
    assert verdicts[hour(1)].reason.startswith(
        "looks like Unix timestamps in seconds: Kolmogorov-Smirnov distance from training 1.00; "
        "0 to 365 in training, now 1.7"
    )


def test_an_hour_like_training_has_every_signal_and_raises_nothing() -> None:
    found = by_name(skew(customers(100)))
    parts = [f"{JOINED}.{part}" for part in ("hour_of_day", "day_of_week", "age_days")]
    features = [DAYS, COUNT, PLAN, PAID]
    assert {name for name, _ in found} == {"distance", "missing", "retyped", "changed_meaning"}
    assert {column for name, column in found if name == "distance"} == {*features, *parts}
    assert {column for name, column in found if name == "changed_meaning"} == set(features)
    assert {column for name, column in found if name in ("missing", "retyped")} == {*features, JOINED}
    assert {each.value for (name, _), each in found.items() if name != "distance"} == {0.0}
    assert all((found["distance", name].value or 0) < 0.25 for name in features)
    assert all(each.rows == 100 for each in found.values())


@pytest.mark.parametrize(
    ("columns", "column", "words"),
    [
        ({DAYS: np.arange(40) * 9.0 * 24}, DAYS, "days turned into hours"),
        ({PLAN: ["Basic"] * 24 + ["PLUS"] * 12 + ["pro "] * 4}, PLAN, "names in another case"),
        ({PAID: ["yes"] * 12 + ["no"] * 28}, PAID, "yes and no under other names"),
        ({COUNT: np.full(40, -1)}, COUNT, "the constant -1 in every row"),
    ],
)
def test_each_kind_of_change_is_named_and_touches_no_other_feature(
    columns: dict[str, Any], column: str, words: str
) -> None:
    found = changed(columns)
    assert list(found) == [column]
    assert f"looks like {words}" in found[column]


def test_two_features_that_changed_places_are_both_named() -> None:
    rows = customers(200, seed=3)
    found = changed({DAYS: rows[COUNT].slice(0, 40), COUNT: rows[DAYS].slice(0, 40)})
    assert found.keys() == {DAYS, COUNT}
    assert f"the values of '{COUNT}': the two changed places" in found[DAYS]


def test_a_feature_that_always_lay_below_another_is_seen_to_change_places_within_a_day() -> None:
    rng = np.random.default_rng(5)
    season = np.repeat(np.linspace(0, 30, 100), 50)
    warm = season + rng.normal(50, 5, 5000)
    training = customers(
        5000, seed=9, at=-500, hours=480, changes={"warm": warm, "cool": warm - rng.uniform(1, 9, 5000)}
    )
    specs = [ColumnSpec(name, ColumnRole.FEATURE, ColumnKind.NUMERIC) for name in ("warm", "cool")]
    known = reference(training, specs)
    layout = Layout.of(training, [entry.column for entry in known.columns.values()])
    now = rng.normal(65, 1, 480)
    for day, expected in (({"warm": now, "cool": now - 5}, 0.0), ({"warm": now - 5, "cool": now}, 1.0)):
        rows = prepare_predictions(customers(480, day, hours=24), LOG)
        samples = rows_by_hour(rows, time=LOG.predicted_at)
        policy, of = SkewPolicy((24 * HOUR,)), {VERSION: known}
        signals = skew_by_version(MODEL, samples, of, [hour(23)], policy, log=LOG, layouts={VERSION: layout})
        assert {each.value for each in signals if each.metric == "skew.changed_meaning"} == {expected}


def test_a_feature_that_is_not_logged_or_always_null_is_missing_and_infinitely_far() -> None:
    found = by_name(skew(customers(40, {COUNT: pa.nulls(40, pa.int64())}).drop_columns([DAYS])))
    assert [found["missing", name].value for name in (DAYS, COUNT, PLAN)] == [1.0, 1.0, 0.0]
    assert found["missing", COUNT].reason == "null in all 40 rows, 0.0% in training"
    assert found["distance", DAYS].absence is Absence.MISSING_COLUMN
    assert found["distance", COUNT].absence is Absence.TOO_FEW_ROWS
    assert judge_by_limits(found["missing", DAYS], LIMITS["skew.missing"]).level is Level.CRITICAL


def test_numbers_that_come_as_text_and_text_that_comes_as_numbers_are_retyped() -> None:
    texts = [str(number) for number in range(40)]
    found = by_name(skew(customers(40, {DAYS: texts, PLAN: np.arange(40), PAID: np.arange(40) % 2})))
    assert {name: found["retyped", name].value for name in (DAYS, PLAN, PAID, COUNT)} == {
        DAYS: 1.0,
        PLAN: 1.0,
        PAID: 0.0,  # missing values turn booleans into numbers
        COUNT: 0.0,
    }
    assert found["retyped", DAYS].reason == "stored as text, training had numbers"
    assert found["distance", DAYS].value is not None


def test_without_a_layout_nothing_is_said_of_types() -> None:
    found = by_name(skew(customers(40), layout=Layout()))
    assert found["retyped", DAYS].absence is Absence.NO_REFERENCE


def test_a_quiet_hour_is_judged_by_the_day_it_ends() -> None:
    rows = customers(240, hours=24, changes={DAYS: np.arange(240) * 1.5 * 86_400})
    last = [each for each in skew(rows, hours=24, policy=SkewPolicy()) if each.window_end == hour(24)]
    found = {(each.window, each.metric): each for each in last if each.column == DAYS}
    assert found["1h", "skew.changed_meaning"].absence is Absence.TOO_FEW_ROWS
    assert "days turned into seconds" in found["24h", "skew.changed_meaning"].reason
    assert ("24h", "skew.missing") not in found


def test_an_hour_alone_and_in_a_range_gives_the_same_signals() -> None:
    rows = customers(600, hours=30)
    samples = rows_by_hour(prepare_predictions(rows, LOG), time=LOG.predicted_at)
    wanted = [hour(number) for number in range(30)]

    def signals(hours: list[Any]) -> list[Signal]:
        return skew_by_version(
            MODEL, samples, {VERSION: REFERENCE}, hours, SkewPolicy(), log=LOG, layouts={VERSION: LAYOUT}
        )

    assert [each for each in signals(wanted) if each.window_end == hour(30)] == signals(wanted[-1:])


def test_a_poisoned_column_leaves_the_signals_of_the_others_as_they_were() -> None:
    clean = {key: each for key, each in by_name(skew(customers(40))).items() if key[1] != DAYS}
    for bad in ([float("inf")] * 40, [[1]] * 40, [1e300] * 40, ["x"] * 40, [b"\xff"] * 40, [{"a": 1}] * 40):
        found = by_name(skew(customers(40, {DAYS: bad})))
        assert {key: each for key, each in found.items() if key[1] != DAYS} == clean


def test_a_version_without_a_reference_and_an_hour_without_rows_say_so() -> None:
    other = customers(40, {"model_version": ["4"] * 40})
    assert [(each.version, each.absence) for each in skew(other)] == [("4", Absence.NO_REFERENCE)]
    later = skew(customers(40), hours=2, policy=SkewPolicy((HOUR, 2 * HOUR)))
    quiet = [each for each in later if each.window_start == hour(1)]
    assert {each.absence for each in quiet} == {Absence.EMPTY_HOUR}


def test_features_whose_meaning_may_change_are_not_asked() -> None:
    policy = Skew(unasked=(DAYS,)).policy((HOUR, 24 * HOUR, 168 * HOUR))
    assert policy == SkewPolicy((HOUR, 24 * HOUR), 20, frozenset({DAYS}))
    found = by_name(skew(customers(40), policy=policy))
    assert ("changed_meaning", DAYS) not in found
    assert ("changed_meaning", COUNT) in found
