"""Reports of many columns: how often they name a drift that is none, and that they name those that are."""

import math
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.calibration import Calibrations
from monitoring_pipeline.judge.families import effective_rows, family_of, judge_families
from monitoring_pipeline.judge.thresholds import TEXTBOOK, JudgingPolicy, Thresholds
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.verdicts import MORNING, reference_of, signal

NOTHING = Calibrations({})
REPORTS, COLUMNS = 500, 40


def report(p_values: list[float | None], *, value: float = 0.2, metric: str = "drift.psi", **more: Any) -> list[Signal]:
    return [signal(metric, value, column=f"c{place}", p_value=p, **more) for place, p in enumerate(p_values)]


def judged(signals: list[Signal], calibrations: Calibrations = NOTHING, **asked: Any) -> list[Verdict]:
    return judge_families(signals, calibrations, JudgingPolicy(**asked))


def levels(p_values: list[float | None], *, value: float = 0.2, **asked: Any) -> list[str]:
    return [verdict.level.value for verdict in judged(report(p_values, value=value), **asked)]


def is_drift(verdict: Verdict) -> bool:
    return verdict.level in (Level.WARNING, Level.CRITICAL)


@pytest.mark.parametrize("rate", [0.2, 0.02])
def test_without_a_change_reports_name_a_drift_as_seldom_as_stated(rate: float) -> None:
    p_values = np.random.default_rng(1).random((REPORTS, COLUMNS))
    signals = [
        each for number, row in enumerate(p_values) for each in report(row.tolist(), hour=MORNING + number * HOUR)
    ]
    alarmed = {verdict.signal.window_end for verdict in judged(signals, alpha=rate) if is_drift(verdict)}
    low, high = binom.interval(0.95, REPORTS, rate)
    assert low <= len(alarmed) <= high


def test_columns_that_move_together_do_not_alarm_more_often() -> None:
    generator = np.random.default_rng(2)
    shared = np.sqrt(0.8) * generator.normal(size=(REPORTS, 1))
    p_values = norm.sf(shared + np.sqrt(0.2) * generator.normal(size=(REPORTS, COLUMNS)))
    signals = [
        each for number, row in enumerate(p_values) for each in report(row.tolist(), hour=MORNING + number * HOUR)
    ]
    alarmed = {verdict.signal.window_end for verdict in judged(signals, alpha=0.05) if is_drift(verdict)}
    assert len(alarmed) <= binom.ppf(0.975, REPORTS, 0.05)


def test_one_drift_among_forty_columns_is_found_and_no_other_named() -> None:
    p_values = np.random.default_rng(3).uniform(0.01, 1, COLUMNS).tolist()
    p_values[17] = 1e-6
    found = judged(report(p_values), alpha=0.01)
    assert [verdict.signal.column for verdict in found if is_drift(verdict)] == ["c17"]
    assert found[17].q_value == pytest.approx(4e-5)


def test_two_that_drifted_make_it_easier_for_the_third() -> None:
    others: list[float | None] = [0.9] * 7
    assert levels([0.001, 0.001, 0.013, *others], alpha=0.05) == ["warning"] * 3 + ["ok"] * 7
    assert levels([0.9, 0.9, 0.013, *others], alpha=0.05) == ["ok"] * 10


def test_a_correction_for_any_dependence_is_stricter() -> None:
    p_values: list[float | None] = [0.001, 0.004, 0.012, *[0.9] * 7]
    assert levels(p_values, alpha=0.05) == ["warning"] * 3 + ["ok"] * 7
    assert levels(p_values, alpha=0.05, dependent=True) == ["warning"] + ["ok"] * 9


def test_reports_are_judged_one_by_one() -> None:
    """The same p-value counts in a report of one column and not in one of forty, whatever stands beside it."""
    alone = [
        signal("drift.psi", 0.2, p_value=0.004, column="a", **place)
        for place in (
            {"window": "7d"},
            {"hour": MORNING + HOUR},
            {"version": "2"},
            {"baseline": "same_hours_4w"},
            {"span": "last_10000"},
        )
    ]
    alone.append(signal("drift.js", 0.2, p_value=0.004, column="a"))
    wide = report([0.004, *[0.9] * 39])
    assert len({family_of(each) for each in [*alone, *wide]}) == 7
    found = judged([*wide[:20], *alone, *wide[20:]], alpha=0.01)
    assert [verdict.signal for verdict in found] == [*wide[:20], *alone, *wide[20:]]
    assert [verdict.signal for verdict in found if is_drift(verdict)] == alone


def test_the_segments_of_a_column_belong_to_its_report() -> None:
    segments = [signal("drift.psi", 0.2, p_value=0.9, column="a", segment=f"plan={number}") for number in range(39)]
    whole = signal("drift.psi", 0.2, p_value=0.004, column="a")
    assert judged([whole], alpha=0.01)[0].level is Level.WARNING
    assert judged([whole, *segments], alpha=0.01)[0].level is Level.OK
    assert judged([whole, *segments], alpha=0.01)[0].q_value == pytest.approx(0.16)


@pytest.mark.parametrize("metric", sorted(set(TEXTBOOK)))
def test_a_value_within_its_band_never_counts_however_significant(metric: str) -> None:
    band = TEXTBOOK[metric].warning
    within, beyond = (signal(metric, value, p_value=0.0) for value in (band, band * 1.01))
    assert [verdict.level for verdict in judged([within])] == [Level.OK]
    assert [verdict.level for verdict in judged([beyond])] == [Level.WARNING]


def test_a_value_within_its_band_makes_nothing_easier_for_others() -> None:
    small = report([0.0] * 9, value=0.05)
    other = signal("drift.psi", 0.2, p_value=0.02, column="other")
    assert judged([*small, other], alpha=0.05)[-1].level is Level.OK


@pytest.mark.parametrize(
    ("value", "p_value", "level"),
    [
        (0.20, 1e-9, "warning"),
        (0.30, 1e-9, "critical"),
        (0.30, 0.0010, "critical"),
        (0.30, 0.0011, "warning"),
        (0.30, 0.0110, "ok"),
        (0.25, 0.0, "warning"),
    ],
)
def test_critical_needs_the_critical_band_and_a_tenth_of_the_rate(value: float, p_value: float, level: str) -> None:
    assert levels([p_value], value=value, alpha=0.01) == [level]


def test_ks_is_never_critical() -> None:
    found = judged([signal("drift.ks", 1.0, p_value=0.0)])
    assert (found[0].level, found[0].threshold) == (Level.WARNING, 0.10)


def test_what_neither_theory_nor_the_reference_can_judge_is_informational() -> None:
    shift = [signal("drift.wasserstein_normalised", 9.0, column=name) for name in ("a", "b")]
    found = judged(shift)
    assert [(verdict.level, verdict.q_value, verdict.threshold) for verdict in found] == [(Level.OK, None, None)] * 2
    assert found[0].reason.startswith("informational")
    known = Calibrations({"1": reference_of({"a": [0.10, 0.12, 0.11, 0.13] * 4}, metric="wasserstein_normalised")})
    assert [verdict.level for verdict in judged(shift, known)] == [Level.WARNING, Level.OK]
    assert [verdict.level for verdict in judged(shift, known, calibrated=False)] == [Level.OK, Level.OK]


def test_a_band_of_ones_own_judges_by_itself_where_there_is_no_theory() -> None:
    bands = {"drift.std_ratio": Thresholds(1.5, 3.0, "absolute")}
    values = [1.4, 1.6, 3.1]
    found = judged([signal("drift.std_ratio", value, column=str(value)) for value in values], bands=bands)
    assert [verdict.level for verdict in found] == ["ok", "warning", "critical"]


def test_a_spread_that_shrinks_leaves_its_band_as_one_that_grows_does() -> None:
    bands = {"drift.std_ratio": Thresholds(1.5, 3.0, "absolute")}
    found = judged([signal("drift.std_ratio", value, column=str(value)) for value in (0.7, 0.5, 0.3, 0.0)], bands=bands)
    assert [verdict.level for verdict in found] == ["ok", "warning", "critical", "critical"]
    assert [verdict.threshold for verdict in found] == pytest.approx([1 / 1.5, 1 / 1.5, 1 / 3, 1 / 3])
    assert found[1].reason == "0.5 is below the warning threshold 0.6667 (absolute)"


@pytest.mark.parametrize("spoilt", [{"value": math.inf}, {"value": math.nan}, {"value": 0.2, "p_value": math.nan}])
def test_what_is_not_a_number_is_unknown_and_spoils_no_other_column(spoilt: dict[str, Any]) -> None:
    others = report([1e-9, 0.9])
    found = judged([*others, signal("drift.psi", column="spoilt", **spoilt)])
    assert [verdict.level for verdict in found] == ["warning", "ok", "unknown"]
    assert [verdict.level for verdict in judged(others)] == ["warning", "ok"]


def test_a_column_that_is_restless_by_nature_is_allowed_more() -> None:
    restless = Calibrations({"1": reference_of({"c0": [0.2, 0.4, 0.3, 0.5] * 8})})
    (verdict,) = judged(report([1e-12], value=0.35), restless)
    assert (verdict.level, verdict.threshold_origin) == (Level.OK, "calibrated")
    assert verdict.threshold is not None
    assert verdict.threshold > 0.5
    assert verdict.reason == "within the threshold"
    (verdict,) = judged(report([1e-12], value=5.0), restless)
    assert (verdict.level, verdict.threshold_origin) == (Level.CRITICAL, "calibrated")
    assert verdict.reason.endswith("(calibrated on 32 blocks)")
    (verdict,) = judged(report([1e-12], value=0.35), restless, calibrated=False)
    assert (verdict.level, verdict.threshold_origin) == (Level.CRITICAL, "textbook")


def test_a_calm_column_keeps_the_textbook_as_its_floor() -> None:
    calm = Calibrations({"1": reference_of({"c0": [0.010, 0.012, 0.011, 0.013] * 8})})
    (verdict,) = judged(report([1e-12], value=0.09), calm)
    assert (verdict.level, verdict.threshold, verdict.threshold_origin) == (Level.OK, 0.10, "textbook")
    (verdict,) = judged(report([1e-12], value=0.11), calm)
    assert (verdict.level, verdict.threshold, verdict.threshold_origin) == (Level.WARNING, 0.10, "textbook")


def test_chance_that_explains_a_value_is_named() -> None:
    (verdict,) = judged(report([0.2], value=0.4, rows=40))
    assert (verdict.level, verdict.threshold, verdict.threshold_origin) == (Level.OK, 0.1, "null_distribution")
    assert verdict.reason == "within sampling noise: p = 0.2, 0.01 needed, with 40 rows"


def test_the_p_value_needed_is_the_one_that_would_have_been_enough() -> None:
    for dependent, needed in ((False, 0.005), (True, 0.005 / 1.5)):
        (verdict, _) = judged(report([0.009, 0.9]), dependent=dependent)
        assert f"{needed:.2g} needed" in verdict.reason
        assert levels([needed * 0.999, 0.9], dependent=dependent) == ["warning", "ok"]
        assert levels([needed * 1.001, 0.9], dependent=dependent) == ["ok", "ok"]


CALM, RESTLESS = [0.02, 0.03, 0.025, 0.04] * 3, [0.2, 0.5, 0.3, 0.9] * 3
KNOWN = Calibrations({"1": reference_of({f"c{place}": (CALM, RESTLESS, [])[place % 3] for place in range(8)})})
MEMBER = st.tuples(st.floats(0, 4), st.none() | st.floats(0, 1) | st.floats(0, 0.01))
FINE = st.sampled_from([0.1, 0.01, 0.3])


@given(st.lists(MEMBER, min_size=1, max_size=8), FINE, st.booleans(), st.sampled_from(["drift.psi", "drift.ks"]))
def test_thresholds_that_are_shown_agree_with_the_verdicts(
    members: list[tuple[float, float | None]], rate: float, dependent: bool, metric: str
) -> None:
    signals = [signal(metric, value, column=f"c{place}", p_value=p) for place, (value, p) in enumerate(members)]
    for verdict in judged(signals, KNOWN, alpha=rate, dependent=dependent):
        value, threshold, q_value = verdict.signal.value, verdict.threshold, verdict.q_value
        assert value is not None
        assert threshold is not None
        assert q_value is not None
        assert is_drift(verdict) == (value > threshold and q_value <= rate)
        if not is_drift(verdict):
            assert (value <= threshold) == (verdict.threshold_origin != "null_distribution")
        if verdict.level is Level.CRITICAL:
            assert q_value <= rate / 10
            assert metric != "drift.ks"


@given(st.lists(MEMBER, min_size=1, max_size=8))
def test_worse_values_are_never_judged_milder(members: list[tuple[float, float | None]]) -> None:
    signals = [signal("drift.psi", value, column=f"c{place}", p_value=p) for place, (value, p) in enumerate(members)]
    worse = [signal("drift.psi", value * 2, column=f"c{place}", p_value=p) for place, (value, p) in enumerate(members)]
    for before, after in zip(judged(signals, KNOWN), judged(worse, KNOWN), strict=True):
        assert after.level.rank >= before.level.rank


def test_a_drift_costs_no_other_column_its_verdict() -> None:
    p_values = np.random.default_rng(5).random(COLUMNS).tolist()
    verdicts = defaultdict(list)
    for first in (0.5, 1e-9):
        for verdict in judged(report([first, *p_values[1:]]), alpha=0.3):
            verdicts[verdict.signal.column].append(verdict.level.rank)
    assert all(with_drift >= without for without, with_drift in verdicts.values())


def test_a_window_is_worth_fewer_rows_where_rows_resemble_each_other() -> None:
    reference = reference_of({"c0": CALM, "c1": []})
    entry = reference.columns["c0"]
    inflated = replace(entry.calibration["psi"]["24h"], inflation=8.0)
    columns = {**reference.columns, "c0": replace(entry, calibration={"psi": {"24h": inflated}})}
    calibrations = Calibrations({"1": replace(reference, columns=columns)})
    assert effective_rows(signal(column="c0", rows=2000), calibrations) == 250.0
    assert effective_rows(signal(column="c1", rows=2000), calibrations) is None
    assert effective_rows(signal(column="c0", rows=2000), Calibrations({"1": reference})) is None
