from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom, norm

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.references import ColumnSpec
from monitoring_pipeline.evaluate.drift import DriftPolicy, drift_by_version, drift_signals, table_drift
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline_tests.traffic import MODEL, SPECS, VERSION, by_metric, drift, hour, log_rows, reference

ROWS = 2000
REFERENCE = reference(log_rows(5000, seed=1))
NORMAL = (ColumnSpec("tenure", ColumnRole.FEATURE, ColumnKind.NUMERIC),)


def normal(rows: int, *, seed: int, mean: float = 0.0, at: int = 0) -> pa.Table:
    return log_rows(rows, seed=seed, at=at, tenure=np.random.default_rng([seed, 5]).normal(mean, 1, rows))


def moved(signal: Signal) -> list[dict[str, object]]:
    bins = signal.detail["bins"]
    assert isinstance(bins, list)
    return bins


@pytest.mark.parametrize("shift", [0.25, 0.5, 1.0])
def test_a_shift_of_a_normal_column_measures_what_the_closed_forms_say(shift: float) -> None:
    against = reference(normal(40_000, seed=2), NORMAL)
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
    against = reference(normal(40_000, seed=2), NORMAL)
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
    assert len(empty) == 2 * 6 + 2 * 3
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
