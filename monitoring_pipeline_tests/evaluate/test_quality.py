from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.hours import profile_hours
from monitoring_pipeline.describe.profiles import Profile, rows_by_hour
from monitoring_pipeline.describe.reference_building import ColumnSpec
from monitoring_pipeline.describe.references import Reference, UsualRanges
from monitoring_pipeline.describe.usual_ranges import usual_ranges
from monitoring_pipeline.evaluate.quality import MEASURES, QualityPolicy, quality_by_version
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.traffic import LOG, MODEL, VERSION, hour, log_rows, reference

ROWS, HOURS = 200, 48
NUMERIC = ("normal", "skewed", "count", "holes", "hour")
SPECS = (
    *(ColumnSpec(name, ColumnRole.FEATURE, ColumnKind.NUMERIC) for name in NUMERIC),
    ColumnSpec("plan", ColumnRole.FEATURE, ColumnKind.CATEGORICAL),
)


def rows(*, seed: int, at: int = 0, hours: int = 1, **columns: Any) -> pa.Table:
    generator = np.random.default_rng(seed)
    size = ROWS * hours
    holes = generator.normal(size=size).astype(object)
    holes[generator.random(size) < 0.4] = None
    usual = {
        "normal": generator.normal(10, 2, size),
        "skewed": generator.lognormal(size=size),
        "count": generator.poisson(3, size).astype(float),
        "holes": pa.array(holes.tolist(), pa.float64()),
        "hour": ((at + np.arange(size) // ROWS) % 24).astype(float),
    }
    return log_rows(size, seed=seed, at=at, hours=hours, **(usual | columns))


@cache
def learnt() -> tuple[Reference, UsualRanges]:
    table = rows(seed=1, at=-HOURS, hours=HOURS)
    against = reference(table, SPECS, time="predicted_at")
    hourly = {
        at: Profile.of(part, VERSION, against.specs) for at, part in rows_by_hour(table, time="predicted_at").items()
    }
    return against, usual_ranges(against.columns, hourly, [HOUR, 24 * HOUR])


def quality(table: pa.Table, hours: Sequence[int] = (0,), *, windows: Sequence[int] = (1,), **policy: Any) -> Any:
    against, usual = learnt()
    reached = [hour(number) for number in range(min(hours) - max(windows) + 1, max(hours) + 1)]
    profiles = profile_hours(prepare_predictions(table, LOG), {VERSION: against}, reached, LOG)
    asked = QualityPolicy(tuple(length * HOUR for length in windows), **policy)
    return quality_by_version(
        MODEL, profiles, {VERSION: against}, {VERSION: usual}, [hour(number) for number in hours], asked
    )


def levels(signals: Sequence[Signal]) -> Mapping[tuple[str, str], Level]:
    """Return what is not fine, by column and metric."""
    found = {
        (each.column, each.metric.removeprefix("quality.")): judge_by_limits(each, LIMITS[each.metric]).level
        for each in signals
    }
    return {key: level for key, level in found.items() if level is not Level.OK}


def of(signals: Sequence[Signal], column: str, metric: str) -> Signal:
    (found,) = [each for each in signals if (each.column, each.metric) == (column, f"quality.{metric}")]
    return found


def test_an_hour_like_the_reference_is_well_though_a_column_is_40_percent_null_and_another_constant() -> None:
    found = quality(rows(seed=2))
    assert levels(found) == {}
    holes = of(found, "holes", "null_rate")
    assert holes.value == pytest.approx(0.4, abs=0.1)
    assert holes.baseline_value == pytest.approx(0.5, abs=0.05)
    assert of(found, "hour", "constant").value == 1
    assert of(found, "hour", "constant").baseline_value == 1


GENERATOR = np.random.default_rng(0)
NORMAL = GENERATOR.normal(10, 2, ROWS)
SKEWED = GENERATOR.lognormal(size=ROWS)


def holed(values: np.ndarray, count: int) -> pa.Array:
    return pa.array([None if place < count else value for place, value in enumerate(values)], pa.float64())


CHANGES: Mapping[str, tuple[str, Any, str, Level]] = {
    "5 % missing": ("skewed", holed(SKEWED, 25), "null_rate", Level.WARNING),
    "a column gone missing": ("holes", pa.nulls(ROWS, pa.float64()), "null_rate", Level.CRITICAL),
    "missing where none ever was": ("normal", holed(NORMAL, 3), "required_null_rate", Level.CRITICAL),
    "infinite": ("normal", np.where(np.arange(ROWS) < 20, np.inf, NORMAL), "invalid_rate", Level.CRITICAL),
    "text": ("normal", [str(value) for value in NORMAL[:-9]] + ["?"] * 9, "invalid_rate", Level.WARNING),
    "moved": ("normal", NORMAL + 6, "mean_shift", Level.WARNING),
    "spread out": ("normal", 10 + (NORMAL - 10) * 2.5, "variance_ratio", Level.WARNING),
    "drawn together": ("normal", 10 + (NORMAL - 10) * 0.3, "variance_ratio", Level.WARNING),
    "one value of 1e30": ("skewed", np.append(SKEWED[1:], 1e30), "above_range", Level.WARNING),
    "a code for missing": ("normal", np.append(NORMAL[1:], -999), "below_range", Level.WARNING),
    "a tenth beyond all known": ("normal", np.append(NORMAL[40:], [25.0] * 40), "out_of_range_share", Level.WARNING),
    "outliers": ("normal", np.append(NORMAL[30:], [16.5] * 30), "outlier_share_z", Level.WARNING),
    "stuck": ("normal", np.full(ROWS, 10.0), "constant", Level.WARNING),
    "new values": ("count", np.append(GENERATOR.poisson(3, ROWS - 30), [2.5] * 30), "unseen_share", Level.CRITICAL),
    "new plans": ("plan", ["basic"] * 160 + ["gold"] * 40, "unseen_share", Level.CRITICAL),
    "fewer plans": ("plan", ["basic", "plus"] * 100, "distinct_change", Level.WARNING),
    "more plans": ("plan", [f"plan {number % 9}" for number in range(ROWS)], "distinct_change", Level.WARNING),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_by_its_measure_and_touches_no_other_column(name: str) -> None:
    column, values, metric, level = CHANGES[name]
    found = levels(quality(rows(seed=3, **{column: values})))
    assert found[column, metric] is level
    assert {named for named, _ in found} == {column}


def test_the_words_say_how_much_is_missing_and_that_more_than_a_tenth_is_high() -> None:
    found = quality(rows(seed=3, skewed=holed(SKEWED, 50)))
    assert of(found, "skewed", "null_rate").reason == "high: 25.0% of the values are missing, at most 0.0% usually are"
    assert of(found, "skewed", "required_null_rate").reason.startswith("50 of 200 values are missing in a column that")


def test_one_value_missing_is_chance_unless_the_settings_say_that_none_may() -> None:
    table = rows(seed=3, normal=holed(NORMAL, 1))
    alone = of(quality(table), "normal", "required_null_rate")
    assert alone.p_value == pytest.approx(ROWS / (ROWS + ROWS * HOURS))
    assert judge_by_limits(alone, LIMITS[alone.metric]).level is Level.OK
    assert levels(quality(table, required=("normal",))) == {("normal", "required_null_rate"): Level.CRITICAL}


def test_all_values_missing_is_not_known_to_be_well_by_any_measure() -> None:
    found = quality(rows(seed=3, normal=pa.nulls(ROWS, pa.float64())))
    known = {each.metric for each in found if each.column == "normal" and each.value is not None}
    assert known == {"quality.null_rate", "quality.required_null_rate"}
    assert levels(found)["normal", "null_rate"] is Level.CRITICAL


def test_windows_without_enough_rows_or_hours_have_no_quality() -> None:
    assert {each.absence for each in quality(rows(seed=4).slice(0, 29))} == {Absence.TOO_FEW_ROWS}
    empty = quality(rows(seed=4), hours=(1,), windows=(1, 2))
    assert {each.absence for each in empty if each.window == "1h"} == {Absence.EMPTY_HOUR}
    against, usual = learnt()
    young = quality_by_version(
        MODEL,
        profile_hours(prepare_predictions(rows(seed=4), LOG), {VERSION: against}, [hour(0)], LOG),
        {VERSION: against},
        {VERSION: usual},
        [hour(0)],
        QualityPolicy((2 * HOUR,)),
    )
    assert {(each.absence, each.reason) for each in young} == {(Absence.WARMING_UP, "1 of 2 hours described")}


def test_a_version_without_a_reference_is_not_known_to_be_well() -> None:
    profiles = profile_hours(prepare_predictions(rows(seed=5), LOG), {}, [hour(0)], LOG)
    (found,) = quality_by_version(MODEL, profiles, {}, {}, [hour(0)], QualityPolicy((HOUR,)))
    assert (found.metric, found.absence) == ("quality.null_rate", Absence.NO_REFERENCE)


def test_without_stretches_of_time_in_the_reference_spread_and_variety_of_a_window_say_nothing() -> None:
    against, _ = learnt()
    profiles = profile_hours(prepare_predictions(rows(seed=2), LOG), {VERSION: against}, [hour(0)], LOG)
    found = quality_by_version(MODEL, profiles, {VERSION: against}, {}, [hour(0)], QualityPolicy((HOUR,)))
    assert {each.metric for each in found if each.absence} == {
        "quality.variance_ratio",
        "quality.distinct_change",
        "quality.constant",
    }


def test_an_hour_has_the_same_quality_alone_and_in_a_range() -> None:
    table = rows(seed=6, hours=30)
    ranged = quality(table, hours=tuple(range(24, 30)), windows=(1, 24))
    for number in (24, 29):
        alone = quality(table, hours=(number,), windows=(1, 24))
        assert [each for each in ranged if each.window_end == hour(number + 1)] == alone
    assert len(ranged) > 6 * len(MEASURES)


def test_windows_hold_the_extremes_of_all_their_hours() -> None:
    table = rows(seed=7, hours=3, normal=np.append(np.random.default_rng(7).normal(10, 2, 3 * ROWS - 1), 100.0))
    for number, expected in ((2, True), (1, False)):
        found = of(quality(table, hours=(number,), windows=(2,)), "normal", "above_range")
        assert (found.value is not None and found.value > 30) is expected


def test_a_measure_that_fails_costs_nothing_but_itself() -> None:
    against, usual = learnt()
    entry = against.columns["normal"]
    broken = replace(entry, summary={name: value for name, value in entry.summary.items() if name != "quantiles"})
    profiles = profile_hours(prepare_predictions(rows(seed=8), LOG), {VERSION: against}, [hour(0)], LOG)
    healthy, damaged = (
        quality_by_version(MODEL, profiles, {VERSION: each}, {VERSION: usual}, [hour(0)], QualityPolicy((HOUR,)))
        for each in (against, replace(against, columns={**against.columns, "normal": broken}))
    )
    failed = {(each.column, each.metric): each.reason for each in damaged if each.absence is Absence.FAILED}
    ranges = {("normal", f"quality.{side}_range") for side in ("below", "above")}
    assert failed == dict.fromkeys(ranges, "KeyError: 'quantiles'")
    lost = {*ranges, ("normal", "quality.outlier_share_iqr")}  # without quartiles there is no such measure
    kept = [each for each in healthy if (each.column, each.metric) not in lost]
    assert [each for each in damaged if each.absence is not Absence.FAILED] == kept


POISON: Mapping[str, Any] = {
    "infinite": [float("inf"), float("-inf")] * (ROWS // 2),
    "nothing": pa.nulls(ROWS),
    "NaN": [float("nan")] * ROWS,
    "huge": [1e30, -1e308] * (ROWS // 2),
    "text in a number": ["1", "x", None, "1e999"] * (ROWS // 4),
    "whole numbers": [2**62, 0] * (ROWS // 2),
    "lists": [[1], None] * (ROWS // 2),
    "booleans": [True, None] * (ROWS // 2),
    "a category a row": [f"new {number}" for number in range(ROWS)],
}


@pytest.mark.parametrize("column", ["normal", "count", "plan"])
def test_rubbish_in_one_column_changes_no_bit_of_the_quality_of_another(column: str) -> None:
    healthy = quality(rows(seed=9))
    for name, values in POISON.items():
        poisoned = quality(rows(seed=9, **{column: values}))
        others = [[(each, each.detail) for each in part if each.column != column] for part in (healthy, poisoned)]
        assert others[0] == others[1], name
        assert len(healthy) == len(poisoned)
        assert all(np.isfinite(each.value) for each in poisoned if each.value is not None)


def test_without_change_one_verdict_in_a_thousand_at_most_is_no_ok() -> None:
    table = rows(seed=10, hours=72)
    found = quality(table, hours=tuple(range(24, 72)), windows=(1, 24))
    known = [each for each in found if each.value is not None]
    wrong = [each for each in known if judge_by_limits(each, LIMITS[each.metric]).level is not Level.OK]
    assert len(known) > 4000
    assert len(wrong) <= len(known) / 1000
