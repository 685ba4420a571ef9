from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.stats import binom, norm

from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.hours import profile_hours
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.reference_building import ColumnSpec, ReferencePlan, specs_of
from monitoring_pipeline.describe.spans import Baseline, FixedPeriod, SameHoursOfWeek, TrailingWeeks
from monitoring_pipeline.evaluate.drift import DriftPolicy, drift_by_version, drift_signals, table_drift
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline_tests.traffic import LOG, MODEL, SPECS, VERSION, by_metric, drift, hour, log_rows, reference

ROWS = 2000
REFERENCE = reference(log_rows(5000, seed=1))
TENURE = (ColumnSpec("tenure", ColumnRole.FEATURE, ColumnKind.NUMERIC),)


def normal(rows: int, *, seed: int, mean: float = 0.0, at: int = 0) -> pa.Table:
    return log_rows(rows, seed=seed, at=at, tenure=np.random.default_rng([seed, 5]).normal(mean, 1, rows))


def moved(signal: Signal) -> list[dict[str, object]]:
    bins = signal.detail["bins"]
    assert isinstance(bins, list)
    return bins


@pytest.mark.parametrize("shift", [0.25, 0.5, 1.0])
def test_a_shift_of_a_normal_column_measures_what_the_closed_forms_say(shift: float) -> None:
    against = reference(normal(40_000, seed=2), TENURE)
    found = by_metric(drift(against, normal(40_000, seed=3, mean=shift), [hour(0)]))
    edges = norm.ppf(np.linspace(0, 1, 11))
    p, q = np.diff(norm.cdf(edges)), np.diff(norm.cdf(edges - shift))
    in_ten_bins = float(((q - p) * np.log(q / p)).sum())
    assert in_ten_bins < shift**2  # grouping loses some of it
    values = {metric: signal.value for metric, signal in found.items()}
    assert values["drift.psi"] == pytest.approx(in_ten_bins, rel=0.06)
    ks = found["drift.ks"]
    assert ks.low is not None
    assert ks.high is not None
    assert ks.low - 0.01 <= 2 * norm.cdf(shift / 2) - 1 <= ks.high + 0.01
    assert values["drift.wasserstein"] == pytest.approx(shift, abs=0.02)
    assert values["drift.wasserstein_normalised"] == pytest.approx(shift, abs=0.02)
    midpoint = (p + q) / 2
    divergence = float((p * np.log(p / midpoint) + q * np.log(q / midpoint)).sum() / 2)
    assert values["drift.js"] == pytest.approx(divergence, rel=0.06)
    assert values["drift.js_distance"] == pytest.approx(np.sqrt(divergence / np.log(2)), rel=0.03)
    assert all(found[f"drift.{name}"].p_value == pytest.approx(0, abs=1e-9) for name in ("psi", "js", "ks"))


def test_what_moved_is_named_with_its_range_its_direction_and_both_proportions() -> None:
    against = reference(normal(40_000, seed=2), TENURE)
    signal = by_metric(drift(against, normal(10_000, seed=3, mean=1.0), [hour(0)]))["drift.psi"]
    bins = moved(signal)
    assert len(bins) == 3
    top = bins[0]
    assert str(top["bin"]).endswith(", inf)")
    assert top["direction"] == "up"
    assert top["reference"] == pytest.approx(0.1, abs=0.005)
    assert top["current"] == pytest.approx(1 - norm.cdf(norm.ppf(0.9) - 1), abs=0.01)
    assert {entry["direction"] for entry in bins} == {"up", "down"}
    contributions = [float(str(entry["contribution"])) for entry in bins]
    assert contributions == sorted(contributions, reverse=True)
    assert signal.value is not None
    assert sum(contributions) < signal.value
    assert contributions[0] == pytest.approx((0.389 - 0.1) * np.log(3.89), rel=0.05)


def test_without_a_change_p_values_are_as_small_as_they_say_they_are() -> None:
    hours = [hour(number) for number in range(150)]
    rows = pa.concat_tables([log_rows(400, seed=1000 + number, at=number) for number in range(150)])
    signals = drift(reference(log_rows(50_000, seed=4)), rows, hours)
    for column, metric in (("tenure", "psi"), ("score", "psi"), ("plan", "js"), ("tenure", "ks")):
        p_values = [each.p_value for each in signals if (each.column, each.metric) == (column, f"drift.{metric}")]
        for level in (0.05, 0.5):
            alarms = sum(value is not None and value <= level for value in p_values)
            low, high = binom.interval(0.9999, 150, level)
            assert alarms <= high, (column, metric, level)
            assert metric == "ks" or alarms >= low / 2, (column, metric, level)  # KS from bins errs towards silence


def absences(signals: Sequence[Signal]) -> set[Absence | None]:
    return {signal.absence for signal in signals}


def test_an_empty_hour_is_empty_and_a_thin_one_has_too_few_rows() -> None:
    empty = drift(REFERENCE, log_rows(9, seed=5, at=7), [hour(0)])
    assert absences(empty) == {Absence.EMPTY_HOUR}
    assert len(empty) == 2 * 7 + 2 * 5  # numbers have three metrics that need an order, categories one without
    thin = drift(REFERENCE, log_rows(99, seed=5), [hour(0)], min_rows=100)
    assert absences(thin) == {Absence.TOO_FEW_ROWS}
    assert all("99 rows, drift needs 100" in signal.reason and signal.rows == 99 for signal in thin)
    assert absences(drift(REFERENCE, log_rows(100, seed=5), [hour(0)], min_rows=100)) == {None}


def test_a_window_that_reaches_back_before_the_first_described_hour_is_warming_up() -> None:
    hours = [hour(number) for number in range(24)]
    signals = drift(REFERENCE, log_rows(2400, seed=6, hours=24), hours, windows=(1, 24))
    by_window = {window: [each for each in signals if each.window == window] for window in ("1h", "24h")}
    assert absences(by_window["1h"]) == {None}
    last = [each for each in by_window["24h"] if each.window_end == hour(24)]
    assert absences(last) == {None}
    assert {each.rows for each in last} == {2400}
    assert absences([each for each in by_window["24h"] if each not in last]) == {Absence.WARMING_UP}


def test_a_window_is_what_one_pass_over_its_rows_gives_in_whatever_range_it_is_computed() -> None:
    rows = log_rows(2400, seed=7, hours=24)
    hours = [hour(number) for number in range(24)]
    ranged = [each for each in drift(REFERENCE, rows, hours, windows=(24, 6)) if each.window_end == hour(24)]
    alone = drift(REFERENCE, rows, [hour(23)], windows=(24, 6), described=hours)
    assert ranged == alone
    assert [each.detail for each in ranged] == [each.detail for each in alone]
    whole = table_drift(REFERENCE, Profile.of(rows, VERSION, REFERENCE.specs), start=hour(0), end=hour(24))
    for found, expected in zip([each for each in ranged if each.window == "24h"], whole, strict=True):
        assert (found.metric, found.column, found.rows) == (expected.metric, expected.column, expected.rows)
        assert found.value == pytest.approx(expected.value, rel=1e-9)


def test_new_categories_are_named_and_counted_as_never_seen() -> None:
    plans = (["basic"] * 50 + ["gold"] * 30 + ["Zürich"] * 15 + ["x"] * 3 + ["y"] * 2) * 5
    found = by_metric(drift(REFERENCE, log_rows(500, seed=8, plan=plans), [hour(0)]), "plan")["drift.psi"]
    assert found.detail["unseen"] == {"gold": 150, "Zürich": 75, "x": 15}
    top = moved(found)[0]
    assert (top["bin"], top["direction"]) == ("never seen in the reference", "up")
    assert top["current"] == pytest.approx(0.5, abs=0.01)
    assert found.value is not None
    assert found.value > 1


def test_a_column_that_goes_missing_in_most_rows_is_said_to_be_null() -> None:
    tenure = np.where(np.random.default_rng(9).random(ROWS) < 0.6, np.nan, np.random.default_rng(10).gamma(2, 12, ROWS))
    found = by_metric(drift(REFERENCE, log_rows(ROWS, seed=9, tenure=tenure), [hour(0)]), "tenure")
    top = moved(found["drift.psi"])[0]
    assert (top["bin"], top["direction"], top["reference"]) == ("null", "up", pytest.approx(0, abs=1e-3))
    assert top["current"] == pytest.approx(0.6, abs=0.03)
    ks, alike = found["drift.ks"].value, by_metric(drift(REFERENCE, log_rows(ROWS, seed=9), [hour(0)]), "tenure")
    assert ks is not None
    assert ks < 0.06  # the values that are left have not moved
    assert alike["drift.psi"].value == pytest.approx(0, abs=0.02)


def test_a_column_that_is_not_logged_any_more_has_drifted_and_its_order_is_not_defined() -> None:
    rows = log_rows(ROWS, seed=11)
    found = drift(REFERENCE, rows.drop_columns(["tenure"]), [hour(0)])
    own = by_metric(found, "tenure")
    psi = own["drift.psi"].value
    assert psi is not None
    assert psi > 5
    assert moved(own["drift.psi"])[0]["bin"] == "null"
    assert own["drift.ks"].absence is own["drift.wasserstein"].absence is Absence.UNDEFINED
    others = [each for each in found if each.column != "tenure"]
    assert others == [each for each in drift(REFERENCE, rows, [hour(0)]) if each.column != "tenure"]


def test_a_column_that_never_had_a_value_and_still_has_none_has_not_drifted() -> None:
    nothing = [None] * 500
    against = reference(log_rows(500, seed=12, tenure=nothing))
    found = by_metric(drift(against, log_rows(500, seed=13, tenure=nothing), [hour(0)]), "tenure")
    assert found["drift.psi"].value == 0.0
    assert found["drift.ks"].absence is Absence.UNDEFINED


def test_a_constant_that_changes_is_never_seen_before_and_has_no_scale() -> None:
    against = reference(log_rows(500, seed=12, tenure=[3.7] * 500))
    found = by_metric(drift(against, log_rows(500, seed=13, tenure=[3.8] * 500), [hour(0)]), "tenure")
    assert moved(found["drift.psi"])[0]["bin"] in ("never seen in the reference", "= 3.7")
    assert found["drift.ks"].value == 1.0
    assert found["drift.wasserstein"].value == pytest.approx(0.1)
    assert "drift.wasserstein_normalised" not in found


def test_the_label_of_a_reference_is_not_looked_for_in_traffic() -> None:
    rows = log_rows(500, seed=14).append_column("late", pa.array([0.0, 1.0] * 250))
    against = reference(rows, (*SPECS, ColumnSpec("late", ColumnRole.LABEL, ColumnKind.CATEGORICAL)))
    assert "late" not in {signal.column for signal in drift(against, log_rows(500, seed=15), [hour(0)])}


def test_no_hours_are_no_signals() -> None:
    assert drift_signals(REFERENCE, {}, [], DriftPolicy((HOUR,))) == []


def described(rows: pa.Table, version: str) -> Profile:
    return Profile.of(rows, version, REFERENCE.specs if version == VERSION else {})


def test_every_version_that_served_is_evaluated_and_one_without_a_reference_says_so() -> None:
    own, other = described(log_rows(200, seed=16), VERSION), described(log_rows(50, seed=17), "4")
    profiles: dict[datetime, list[Profile]] = {hour(0): [own, other], hour(1): []}
    policy = DriftPolicy((HOUR,), min_rows=1)
    signals = drift_by_version(MODEL, profiles, {VERSION: REFERENCE}, [hour(0), hour(1)], policy)
    first = [signal for signal in signals if signal.window_end == hour(1)]
    assert {signal.version for signal in first} == {VERSION, "4"}
    (missing,) = [signal for signal in first if signal.version == "4"]
    assert (missing.absence, missing.rows) == (Absence.NO_REFERENCE, 50)
    assert "churn v4 has no reference. Log its reference rows" in missing.reason
    (silent,) = [signal for signal in signals if signal.window_end == hour(2)]
    assert silent.absence is Absence.EMPTY_HOUR


NIGHTS, TROUGH = 35, 3


def day_and_night(*, last_trough: float = 3.0) -> pa.Table:
    """Five weeks in which values at 03:00 are three times those of the day, or so many times in the last night."""
    parts = []
    for number in range(NIGHTS * 24):
        night = number % 24 == TROUGH
        rows = 400 if night else 20
        factor = (last_trough if number == hours_after(NIGHTS - 1) else 3.0) if night else 1.0
        values = np.random.default_rng([number, 6]).gamma(2.0, 12.0, rows) * factor
        parts.append(log_rows(rows, seed=number, at=number, tenure=values))
    return pa.concat_tables(parts)


def hours_after(days: int) -> int:
    return days * 24 + TROUGH


def first_days(rows: pa.Table, days: int) -> pa.Table:
    return rows.filter(pc.less(rows["predicted_at"], pa.scalar(hour(days * 24))))


@pytest.mark.parametrize(("last_trough", "real"), [(3.0, False), (1.0, True)])
def test_a_nightly_trough_is_drift_from_training_but_not_from_the_same_hours_of_other_weeks(
    last_trough: float, real: bool
) -> None:
    rows = day_and_night(last_trough=last_trough)
    daytime = rows.filter(pc.not_equal(pc.hour(rows["predicted_at"]), TROUGH))
    against = reference(first_days(daytime, 28), TENURE)
    night, described = hour(hours_after(NIGHTS - 1)), [hour(number) for number in range(NIGHTS * 24)]
    asked: dict[str, Any] = {"metrics": ("psi",), "baselines": (SameHoursOfWeek(4), TrailingWeeks(4))}
    signals = drift(against, rows, [night], described=described, min_rows=100, **asked)
    psi = {signal.baseline: signal for signal in signals}
    assert list(psi) == ["training", "same_hours_4w", "trailing_4w"]
    values = {name: float(signal.value or 0.0) for name, signal in psi.items()}
    assert (values["training"] > 0.25) is not real  # a night like the days is what training knows
    assert (values["same_hours_4w"] > 0.25) is real
    assert values["trailing_4w"] > 0.1  # half nights, half days
    if not real:
        assert values["same_hours_4w"] < 0.1
        assert (psi["same_hours_4w"].p_value or 0.0) > 0.01


FIVE_HOURS = pa.concat_tables([log_rows(300, seed=number, at=number) for number in range(5)])


def test_the_last_predictions_are_a_window_of_whole_hours_that_bears_their_number() -> None:
    signals = drift(REFERENCE, FIVE_HOURS, [hour(4)], last_predictions=1000, described=[hour(n) for n in range(5)])
    last = [signal for signal in signals if signal.span]
    assert {(signal.window, signal.window_start, signal.window_end) for signal in last} == {
        ("last_1000", hour(1), hour(5))
    }
    whole = table_drift(
        REFERENCE,
        Profile.of(FIVE_HOURS.slice(300), VERSION, REFERENCE.specs),
        start=hour(1),
        end=hour(5),
    )
    for found, expected in zip(last, whole, strict=True):
        assert (found.metric, found.column, found.rows) == (expected.metric, expected.column, 1200)
        assert found.value == pytest.approx(expected.value, rel=1e-9)


def test_with_less_traffic_than_that_there_are_no_last_predictions() -> None:
    signals = drift(REFERENCE, FIVE_HOURS, [hour(4)], last_predictions=1501, described=[hour(n) for n in range(5)])
    last = [signal for signal in signals if signal.span]
    assert absences(last) == {Absence.TOO_FEW_ROWS}
    assert last[0].reason == "fewer than 1501 predictions in the 30d before"
    quiet = drift(REFERENCE, FIVE_HOURS, [hour(4 + 30 * 24)], last_predictions=301)
    assert absences([signal for signal in quiet if signal.span]) == {Absence.TOO_FEW_ROWS}


def test_a_baseline_that_is_not_yet_described_or_too_thin_is_said_to_be() -> None:
    week = pa.concat_tables([log_rows(20, seed=number, at=number) for number in range(170)])
    baselines: list[Baseline] = [TrailingWeeks(1), SameHoursOfWeek(1), FixedPeriod(hour(0), hour(2))]
    hours = [hour(number) for number in range(170)]
    signals = drift(REFERENCE, week, hours, min_rows=20, metrics=("psi",), baselines=tuple(baselines))
    tenure = {(signal.baseline, signal.window_end): signal for signal in signals if signal.column == "tenure"}
    for baseline, first in zip(
        baselines, (166, 169), strict=False
    ):  # a week may lack three hours, an hour must be there
        assert tenure[baseline.name, hour(first - 1)].absence is Absence.WARMING_UP
        assert tenure[baseline.name, hour(first)].absence is None
    assert tenure["trailing_1w", hour(100)].reason == "baseline trailing_1w: 99 of 168 hours described"
    period = baselines[2].name
    assert [tenure[period, hour(end)].absence for end in (1, 2, 3)] == [None] * 3
    thin = drift(
        REFERENCE, week, [hour(169)], min_rows=20, metrics=("psi",), baselines=tuple(baselines), described=hours[160:]
    )
    assert {signal.absence for signal in thin if signal.baseline == "trailing_1w"} == {Absence.WARMING_UP}
    few = drift(
        REFERENCE,
        week,
        [hour(1)],
        min_rows=21,
        metrics=("psi",),
        windows=(2,),
        baselines=tuple(baselines),
        described=hours,
    )
    assert {signal.absence for signal in few if signal.baseline == period} == {Absence.UNDEFINED}  # nothing is left


@pytest.mark.parametrize("hours", [[24], [23, 24], list(range(30)), [24, 3, 29]])
def test_an_hour_has_the_same_signals_against_every_baseline_in_whatever_range_it_is_computed(hours: list[int]) -> None:
    rows = pa.concat_tables([log_rows(20, seed=1000 + number, at=number) for number in range(-170, 30)])
    described = [hour(number) for number in range(-170, 30)]
    asked: dict[str, Any] = {
        "windows": (1, 6),
        "min_rows": 20,
        "baselines": (TrailingWeeks(1), SameHoursOfWeek(1), FixedPeriod(hour(22), hour(25))),
        "last_predictions": 130,
        "described": described,
    }
    alone = drift(REFERENCE, rows, [hour(24)], **asked)
    ranged = drift(REFERENCE, rows, [hour(number) for number in hours], **asked)
    found = [each for each in ranged if each.window_end == hour(25)]
    assert {each.baseline for each in alone} == {"training", *(each.name for each in asked["baselines"])}
    assert sorted(found, key=lambda each: each.key) == sorted(alone, key=lambda each: each.key)


BY_PLAN = reference(log_rows(9000, seed=1), plan=ReferencePlan(segments=["plan"], most=2))


def test_drift_in_one_segment_is_seen_in_that_segment_and_in_no_other() -> None:
    rows = log_rows(6000, seed=20)
    plans = np.array(rows["plan"].to_pylist())
    tenure = rows["tenure"].to_numpy() * np.where(plans == "plus", 2.0, 1.0)
    moved_rows = rows.set_column(rows.column_names.index("tenure"), "tenure", pa.array(tenure))
    signals = drift(BY_PLAN, moved_rows, [hour(0)], min_rows=100)
    calm = drift(BY_PLAN, rows, [hour(0)], min_rows=100)
    values = {
        name: float(by_metric(signals, "tenure", segment=name)["drift.psi"].value or 0.0)
        for name in ("plan=basic", "plan=plus", "plan=(other)")
    }
    assert values["plan=plus"] > 0.5
    assert max(values["plan=basic"], values["plan=(other)"]) < 0.05
    assert [each for each in signals if each.segment not in ("", "plan=plus")] == [
        each for each in calm if each.segment not in ("", "plan=plus")
    ]
    assert {each.metric for each in signals if each.segment} == {"drift.psi"}


def test_rows_per_segment_add_up_and_rare_and_new_values_are_watched_together() -> None:
    plans = ["basic"] * 300 + ["pro"] * 100 + ["gold"] * 50 + [None] * 50
    signals = drift(BY_PLAN, log_rows(500, seed=21, plan=plans), [hour(0)])
    rows = {each.segment: each.rows for each in signals if each.column == "tenure" and each.metric == "drift.psi"}
    assert rows == {"": 500, "plan=basic": 300, "plan=plus": 0, "plan=(other)": 200}
    assert by_metric(signals, "tenure", segment="plan=plus")["drift.psi"].absence is Absence.EMPTY_HOUR
    other = by_metric(signals, "plan", segment="plan=(other)")["drift.psi"]
    assert other.detail["unseen"] == {"gold": 50}


def test_a_segment_is_warming_up_for_as_long_as_its_version_is() -> None:
    own = profile_hours(prepare_predictions(log_rows(3000, seed=22, at=5), LOG), {VERSION: BY_PLAN}, [hour(5)], LOG)
    others: dict[datetime, list[Profile]] = {hour(number): [Profile("2", 3000, {})] for number in range(5)}
    signals = drift_by_version(MODEL, others | own, {VERSION: BY_PLAN}, [hour(5)], DriftPolicy((6 * HOUR,), min_rows=1))
    assert {(each.segment, each.absence) for each in signals if each.version == VERSION} == {
        (segment, Absence.WARMING_UP) for segment in ("", *BY_PLAN.segments)
    }


def joined(rows: pa.Table, *, frozen: bool = False) -> pa.Table:
    """Return rows of customers who joined up to ten days before them; when frozen, before the first of them."""
    ago = np.random.default_rng(23).uniform(0, 10 * 86_400, rows.num_rows)
    since = pa.array((ago * 1e6).astype("timedelta64[us]"))
    moments = pa.chunked_array([pa.array([hour(0)] * rows.num_rows)]) if frozen else rows["predicted_at"]
    return rows.append_column("joined", pc.subtract(moments.cast(pa.timestamp("us", tz="UTC")), since))


def test_dates_that_stop_moving_are_seen_in_their_age_and_not_in_their_hour_of_day() -> None:
    specs = specs_of("joined", ColumnRole.FEATURE, ColumnKind.DATETIME, groups=10, aged=True)
    against = reference(joined(log_rows(5000, seed=24, at=-240, hours=240)), specs, time="predicted_at")
    at, size = 24 * 14, 3000  # two weeks later, a whole number of days and weeks
    for frozen in (False, True):
        found = drift(against, joined(log_rows(size, seed=25, at=at), frozen=frozen), [hour(at)], metrics=("psi",))
        values = {each.column: float(each.value or 0.0) for each in found}
        assert (values["joined.age_days"] > 2) is frozen
        assert values["joined.hour_of_day"] < 0.05
    assert values["joined.day_of_week"] < 1


def test_dates_of_one_hour_of_the_day_are_seen_in_their_hour() -> None:
    specs = specs_of("joined", ColumnRole.FEATURE, ColumnKind.DATETIME, groups=10, aged=True)
    against = reference(joined(log_rows(5000, seed=24, at=-240, hours=240)), specs, time="predicted_at")
    rows = joined(log_rows(3000, seed=25, at=4))
    noon = pc.add(pc.floor_temporal(rows["joined"], unit="day"), pa.scalar(12 * HOUR))
    rows = rows.set_column(rows.column_names.index("joined"), "joined", noon)
    values = {each.column: float(each.value or 0.0) for each in drift(against, rows, [hour(4)], metrics=("psi",))}
    assert values["joined.hour_of_day"] > 2
    assert values["joined.age_days"] < 0.3


def test_a_distance_between_too_few_rows_for_theory_is_not_significant() -> None:
    (signal,) = drift(reference(log_rows(1, seed=1), TENURE), log_rows(1, seed=2), [hour(0)], metrics=("psi",))
    assert signal.value is not None
    assert signal.p_value is not None
    assert signal.p_value > 0.1
