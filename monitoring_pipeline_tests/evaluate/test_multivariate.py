from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom, norm

from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.reference_building import ColumnSpec, specs_of
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.drift import table_drift
from monitoring_pipeline.evaluate.multivariate import (
    MultivariatePolicy,
    calibrate_multivariate,
    multivariate_signals,
)
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline_tests.traffic import START, VERSION, hour, reference

COLUMNS = ("age", "income", "tenure", "usage")
POLICY = MultivariatePolicy(max_rows=800)
DAY = timedelta(days=1)
QUICK = replace(POLICY, metrics=("mmd", "energy", "reconstruction_error"), max_rows=400)


def rows_like(
    rows: int, *, seed: int, correlation: float = 0.8, days: int = 1, weather: float = 0.0, **columns: Any
) -> pa.Table:
    """Return four normal columns; the first two move together, and `weather` shifts every day's rows as one."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 4))
    values[:, 1] = correlation * values[:, 0] + np.sqrt(1 - correlation**2) * values[:, 1]
    day = np.arange(rows) * days // rows
    values += weather * rng.normal(size=(days, 4))[day]
    usual = dict(zip(COLUMNS, values.T, strict=True)) | {"at": [START + timedelta(days=float(each)) for each in day]}
    return pa.table(usual | columns)


def against(rows: pa.Table, **kinds: ColumnKind) -> Reference:
    named = dict.fromkeys(COLUMNS, ColumnKind.NUMERIC) | kinds
    return reference(rows, [ColumnSpec(name, ColumnRole.FEATURE, kind) for name, kind in named.items()])


def signals(
    of: Reference, before: pa.Table, now: pa.Table, policy: MultivariatePolicy = POLICY, **more: Any
) -> dict[str, Signal]:
    rng = np.random.default_rng(1)
    found = multivariate_signals(of, before, now, start=hour(0), end=hour(24), policy=policy, rng=rng, **more)
    return {signal.metric.removeprefix("multivariate."): signal for signal in found}


REFERENCE_ROWS = rows_like(3000, seed=1)
REFERENCE = against(REFERENCE_ROWS)


def p_values(found: Mapping[str, Signal]) -> dict[str, float]:
    return {name: signal.p_value for name, signal in found.items() if signal.p_value is not None}


def test_a_correlation_that_breaks_is_seen_by_whole_rows_and_by_no_column_alone() -> None:
    now = rows_like(2000, seed=2, correlation=0.0)
    current = Profile.of(now, VERSION, REFERENCE.specs)
    by_column = [each.p_value for each in table_drift(REFERENCE, current, start=hour(0), end=hour(24))]
    assert min(each for each in by_column if each is not None) > 0.01
    found = signals(REFERENCE, REFERENCE_ROWS, now)
    p_value = p_values(found)
    assert p_value["mmd"] == p_value["energy"] == pytest.approx(1 / 101)
    assert p_value["domain_auc"] < 1e-6
    assert p_value["reconstruction_error"] < 1e-6
    assert found["reconstruction_error"].value is not None
    assert found["reconstruction_error"].value > 1.1
    named = found["domain_auc"].detail["columns"]
    assert isinstance(named, list)
    assert {entry["column"] for entry in named[:2]} == {"age", "income"}


def test_without_a_change_nothing_is_seen_and_every_signal_says_what_its_p_value_is_of() -> None:
    found = signals(REFERENCE, REFERENCE_ROWS, rows_like(2000, seed=3))
    assert min(p_values(found).values()) > 0.01
    assert len(p_values(found)) == 4
    assert {signal.rows for signal in found.values()} == {800}
    assert {signal.detail["p_value"] for signal in found.values()} == {"rows"}
    assert found["domain_auc"].value == pytest.approx(0.5, abs=0.05)
    assert found["reconstruction_error"].value == pytest.approx(1, abs=0.05)


def test_the_same_rows_and_seed_give_the_same_bits() -> None:
    now = rows_like(1000, seed=4)
    assert signals(REFERENCE, REFERENCE_ROWS, now) == signals(REFERENCE, REFERENCE_ROWS, now)


def test_a_metric_comes_out_the_same_whichever_others_are_asked_for() -> None:
    now = rows_like(1000, seed=4)
    alone = signals(REFERENCE, REFERENCE_ROWS, now, replace(QUICK, metrics=("energy",)))
    assert alone["energy"] == signals(REFERENCE, REFERENCE_ROWS, now, QUICK)["energy"]


@pytest.mark.parametrize("metric", ["reconstruction_error", "energy"])
def test_windows_without_a_change_alarm_as_often_as_the_level_says(metric: str) -> None:
    policy = replace(QUICK, metrics=(metric,), min_rows=50, max_rows=100, permutations=39)
    alarms = 0
    for seed in range(200):
        before = rows_like(200, seed=1000 + seed)
        found = signals(REFERENCE, before, rows_like(200, seed=5000 + seed), policy)[metric]
        alarms += found.p_value is not None and found.p_value <= 0.05
    assert alarms <= binom.ppf(0.999, 200, 0.05)


def test_days_that_differ_by_their_weather_alarm_as_rows_and_not_as_blocks_and_a_change_alarms_as_both() -> None:
    before = rows_like(12_000, seed=5, days=20, weather=0.15)
    of = against(before)
    blocks = calibrate_multivariate(of, before, time="at", length=DAY, policy=QUICK, rng=np.random.default_rng(1))
    assert {name: entry.independent for name, entry in blocks.items()} == dict.fromkeys(QUICK.metrics, 20)
    ordinary = [
        signals(of, before, rows_like(600, seed=seed, weather=0.15), QUICK, calibration=blocks)
        for seed in range(20, 30)
    ]
    rows_alarms = sum(float(str(found["mmd"].detail["rows_p_value"])) <= 0.05 for found in ordinary)
    assert rows_alarms >= 6
    for metric in QUICK.metrics:
        assert sum(p_values(found)[metric] <= 0.05 for found in ordinary) <= 2
    assert ordinary[0]["mmd"].detail["p_value"] == "blocks"
    changed = signals(of, before, rows_like(600, seed=40, weather=0.15, correlation=-0.8), QUICK, calibration=blocks)
    assert max(p_values(changed).values()) < 0.05
    assert p_values(changed)["reconstruction_error"] < 1e-4


def test_too_few_blocks_or_times_calibrate_nothing() -> None:
    timeless = REFERENCE_ROWS.set_column(4, "at", pa.nulls(3000, pa.timestamp("us", "UTC")))
    for rows in (REFERENCE_ROWS, timeless):
        rng = np.random.default_rng(1)
        found = calibrate_multivariate(REFERENCE, rows, time="at", length=timedelta(hours=1), policy=QUICK, rng=rng)
        assert found == {}


def test_one_absurd_value_changes_no_conclusion() -> None:
    now = rows_like(1000, seed=6)
    dirty = now.set_column(0, "age", pa.array([1e12, np.inf, None, *now["age"].to_pylist()[3:]]))
    clean, found = signals(REFERENCE, REFERENCE_ROWS, now, QUICK), signals(REFERENCE, REFERENCE_ROWS, dirty, QUICK)
    for metric in ("mmd", "energy", "reconstruction_error"):
        assert found[metric].value == pytest.approx(clean[metric].value, abs=0.02)
        assert p_values(found)[metric] > 0.05


def test_a_column_gone_missing_or_null_or_text_is_a_change_with_its_name() -> None:
    now = rows_like(800, seed=7)
    nulls = now.set_column(0, "age", pa.nulls(800))
    text = now.set_column(0, "age", pa.array(["n/a"] * 800))
    for rows in (nulls, text, now.drop_columns(["age"])):
        found = signals(REFERENCE, REFERENCE_ROWS, rows)["domain_auc"]
        assert found.value == pytest.approx(1)
        named = found.detail["columns"]
        assert isinstance(named, list)
        assert named[0]["column"] == "age"


def test_a_log_of_other_columns_is_a_change_of_all_of_them() -> None:
    found = signals(REFERENCE, REFERENCE_ROWS, pa.table({"other": np.arange(500)}))
    assert found["domain_auc"].value == pytest.approx(1)
    assert p_values(found)["mmd"] == pytest.approx(1 / 101)


def test_the_age_of_a_datetime_is_counted_from_the_time_of_each_sides_rows() -> None:
    def log(start: int, age: int) -> pa.Table:
        at = [START + timedelta(minutes=start + minute) for minute in range(500)]
        return rows_like(500, seed=start, at=at, made=[moment - age * DAY for moment in at])

    before = log(0, 1)
    specs = specs_of("made", ColumnRole.FEATURE, ColumnKind.DATETIME, groups=10, aged=True)
    of = reference(before, specs, time="at")
    for age, least, most in ((1, 0.05, 1.0), (3, 0.0, 0.01)):
        policy = replace(QUICK, metrics=("mmd",))
        found = signals(of, before, log(0, age), policy, reference_time="at", current_time="at")
        assert least <= p_values(found)["mmd"] <= most


def test_new_categories_are_a_change() -> None:
    before = rows_like(1000, seed=8, plan=["a", "b"] * 500)
    of = against(before, plan=ColumnKind.CATEGORICAL)
    found = signals(of, before, rows_like(1000, seed=9, plan=["a", "c"] * 500), QUICK)
    assert p_values(found)["mmd"] == pytest.approx(1 / 101)


def test_too_few_rows_on_either_side_or_none_say_why_there_is_no_value() -> None:
    few = rows_like(50, seed=10)
    for before, now, absence, reason in (
        (REFERENCE_ROWS, few, Absence.TOO_FEW_ROWS, "50 rows, multivariate drift needs 200"),
        (few, REFERENCE_ROWS, Absence.TOO_FEW_ROWS, "50 rows of the reference, multivariate drift needs 200"),
        (REFERENCE_ROWS, few.slice(0, 0), Absence.EMPTY_HOUR, "no prediction was logged"),
    ):
        found = signals(REFERENCE, before, now)
        assert {(each.absence, each.reason) for each in found.values()} == {(absence, reason)}
        assert len(found) == 4


def test_features_that_never_vary_leave_nothing_to_measure() -> None:
    constant = pa.table({name: np.ones(300) for name in COLUMNS})
    found = signals(against(constant), constant, constant)
    assert {each.absence for each in found.values()} == {Absence.UNDEFINED}
    only_scores = reference(REFERENCE_ROWS, [ColumnSpec("age", ColumnRole.SCORE, ColumnKind.NUMERIC)])
    assert {each.absence for each in signals(only_scores, REFERENCE_ROWS, REFERENCE_ROWS).values()} == {
        Absence.UNDEFINED
    }


def test_a_single_feature_cannot_be_reconstructed_and_the_other_metrics_still_answer() -> None:
    of = reference(REFERENCE_ROWS, [ColumnSpec("age", ColumnRole.FEATURE, ColumnKind.NUMERIC)])
    found = signals(of, REFERENCE_ROWS, rows_like(1000, seed=11))
    assert {name for name, each in found.items() if each.absence is Absence.UNDEFINED} == {"reconstruction_error"}


def test_a_classifier_that_cannot_be_trained_fails_alone_and_says_why() -> None:
    found = signals(REFERENCE, REFERENCE_ROWS, rows_like(400, seed=12), replace(POLICY, folds=900))
    assert found["domain_auc"].absence is Absence.FAILED
    assert found["domain_auc"].reason.startswith("domain_auc: ValueError: n_splits=900")
    assert sorted(p_values(found)) == ["energy", "mmd", "reconstruction_error"]


def test_the_power_of_the_row_tests_grows_with_the_shift() -> None:
    shifts = [0.0, 0.1, 0.3]
    values = []
    for shift in shifts:
        now = rows_like(800, seed=13)
        moved = now.set_column(2, "tenure", pa.array(np.asarray(now["tenure"]) + shift))
        values.append(
            signals(REFERENCE, REFERENCE_ROWS, moved, replace(POLICY, metrics=("domain_auc",)))["domain_auc"].value
        )
    assert values == sorted(values, key=lambda value: value or 0)
    assert values[-1] is not None
    assert values[-1] > norm.cdf(0.3 / np.sqrt(2)) - 0.06  # the best there is knows that only the tenure moved
