"""Whole reports judged, from rows to verdicts."""

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.reference_building import ReferencePlan
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.describe.spans import SameHoursOfWeek
from monitoring_pipeline.evaluate.drift import DEFAULT_METRICS
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.conditions import SignalCondition
from monitoring_pipeline.judge.datasets import DRIFTED_SHARE
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.rules import Rule, RuleState, evaluate_rule
from monitoring_pipeline.judge.thresholds import JudgingPolicy
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.traffic import MODEL, VERSION, drift, hour, log_rows, reference
from monitoring_pipeline_tests.verdicts import reference_of, signal

POLICY = JudgingPolicy(false_alarms_per_month=2.0)
NOW = [hour(0)]


def judged(signals: list[Signal], against: Reference, policy: JudgingPolicy = POLICY) -> list[Verdict]:
    return judge_signals(signals, {VERSION: against}, policy)


def named(verdicts: list[Verdict]) -> set[tuple[str, str]]:
    """Return the columns and segments that are said to have drifted."""
    return {
        (each.signal.column, each.signal.segment) for each in verdicts if each.level.rank > 0 and each.signal.column
    }


def test_every_signal_has_its_verdict_in_order_and_then_comes_the_report_as_a_whole() -> None:
    signals = [
        signal("performance.f1", 0.9, baseline_value=0.9),
        signal("drift.psi", 0.5, column="a", p_value=1e-9),
        signal("drift.psi", None, column="b"),
        signal("model.age_days", 3.0),
        signal("drift.js", 0.01, column="a", p_value=0.5),
    ]
    found = judge_signals(signals, {"1": reference_of({"a": [], "b": []})}, POLICY)
    assert [each.signal for each in found[:-1]] == signals
    assert [each.level for each in found] == ["ok", "critical", "unknown", "ok", "ok", "critical"]
    assert found[-1].signal.metric == DRIFTED_SHARE
    assert judge_signals([], {}, POLICY) == []


@given(st.sampled_from([*(f"drift.{name}" for name in DEFAULT_METRICS), "performance.f1", "x.y"]))
def test_what_is_absent_is_unknown_and_says_why(metric: str) -> None:
    (found,) = judge_signals([signal(metric, None, column="a")], {}, POLICY)
    assert (found.level, found.reason, found.q_value) == (Level.UNKNOWN, "14 rows, drift needs 1000", None)


def test_a_version_without_a_reference_is_judged_by_the_textbook_and_has_no_share() -> None:
    (found,) = judge_signals([signal("drift.psi", 0.5, column="a", p_value=1e-9)], {}, POLICY)
    assert (found.level, found.threshold_origin) == (Level.CRITICAL, "textbook")


def test_an_index_says_how_many_independent_rows_its_window_is_worth() -> None:
    level = np.repeat(np.random.default_rng(3).normal(0, 20, 7 * 24), 50)
    rows = log_rows(len(level), seed=1, at=-7 * 24, hours=7 * 24)
    restless = rows.set_column(rows.column_names.index("tenure"), "tenure", pa.array(rows["tenure"].to_numpy() + level))
    against = reference(restless, time="predicted_at", windows=(24 * HOUR,))
    described = [hour(number) for number in range(-7 * 24, 0)]
    found = judged(drift(against, restless, [hour(-1)], windows=(24,), described=described), against)
    worth: dict[str, Any] = {
        each.signal.column: each.signal.detail["effective_rows"] for each in found if each.signal.metric == "drift.psi"
    }
    assert worth["tenure"] < 1200 / 5
    assert 1200 / 3 < worth["plan"] <= 1200
    assert all("effective_rows" not in each.signal.detail for each in found if each.signal.metric != "drift.psi")


BY_PLAN = reference(log_rows(9000, seed=1), plan=ReferencePlan(segments=["plan"], most=2))


def in_one_plan(plan: str) -> pa.Table:
    rows = log_rows(4000, seed=20)
    chosen = np.array(rows["plan"].to_pylist()) == plan
    values = rows["tenure"].to_numpy() * np.where(chosen, 2.5, 1.0)
    return rows.set_column(rows.column_names.index("tenure"), "tenure", pa.array(values))


def test_drift_in_one_segment_is_judged_there_and_a_rule_on_segments_fires_on_it() -> None:
    verdicts = judged(drift(BY_PLAN, in_one_plan("pro"), NOW, min_rows=100), BY_PLAN)
    assert named(verdicts) == {("tenure", "plan=(other)")}
    for pattern, state in (
        ("plan=*", RuleState.FIRING),
        ("plan=(other)", RuleState.FIRING),
        ("plan=basic", RuleState.QUIET),
        ("", RuleState.QUIET),
        ("region=*", RuleState.UNKNOWN),
    ):
        rule = Rule("segment_drift", SignalCondition("drift.psi", "1h", segment=pattern, level=Level.WARNING))
        outcome = evaluate_rule(rule, [(hour(0), verdicts)], model=MODEL)
        assert outcome.state is state, pattern
        if state is RuleState.FIRING:
            assert [(each.signal.column, each.signal.segment) for each in outcome.evidence] == [
                ("tenure", "plan=(other)")
            ]


def test_a_segment_that_drifts_does_not_make_the_features_of_all_rows_drift() -> None:
    verdicts = judged(drift(BY_PLAN, in_one_plan("pro"), NOW, min_rows=100), BY_PLAN)
    (share,) = [each for each in verdicts if each.signal.metric == DRIFTED_SHARE]
    assert (share.level, share.signal.value, share.signal.rows) == (Level.OK, 0.0, 2)


@pytest.mark.parametrize("plan", [None, "gold"])
def test_a_column_that_goes_60_percent_null_or_new_is_critical_by_name(plan: str | None) -> None:
    against = reference(log_rows(9000, seed=1))
    plans = [plan if place % 5 < 3 else name for place, name in enumerate(log_rows(2000, seed=5)["plan"].to_pylist())]
    verdicts = judged(drift(against, log_rows(2000, seed=5, plan=plans), NOW), against)
    assert named(verdicts) == {("plan", "")}
    (psi,) = [each for each in verdicts if (each.signal.metric, each.signal.column) == ("drift.psi", "plan")]
    assert psi.level is Level.CRITICAL
    bins: Any = psi.signal.detail["bins"]
    assert bins[0]["bin"] == ("null" if plan is None else "never seen in the reference")
    assert psi.signal.detail.get("unseen") == (None if plan is None else {"gold": 1200})


NIGHTS = 30


def quiet_night(*, real: bool) -> tuple[Reference, list[Signal]]:
    """Four weeks of training by day alone, and the signals of one night: like the nights before it, or not."""
    parts = []
    for number in range(NIGHTS * 24):
        factor = 3.0 if number % 24 == 3 else 1.0
        changed = real and number == (NIGHTS - 1) * 24 + 3
        values = np.random.default_rng([number, 6]).gamma(2.0, 12.0, 100) * (factor * 3 if changed else factor)
        parts.append(log_rows(100, seed=number, at=number, tenure=values))
    rows = pa.concat_tables(parts)
    by_day = pa.concat_tables(part for number, part in enumerate(parts[: 28 * 24]) if number % 24 != 3)
    plan = ReferencePlan([HOUR], recurring=True)
    against = reference(by_day, time="predicted_at", plan=plan)
    night: datetime = hour((NIGHTS - 1) * 24 + 3)
    described = [hour(number) for number in range(NIGHTS * 24)]
    asked: dict[str, Any] = {"metrics": ("psi",), "baselines": (SameHoursOfWeek(4),), "min_rows": 50}
    return against, drift(against, rows, [night], described=described, **asked)


@pytest.mark.parametrize("real", [False, True])
def test_a_nightly_trough_pages_nobody_who_asks_for_the_same_hours_until_it_really_changes(real: bool) -> None:
    against, signals = quiet_night(real=real)
    told = {each.signal.baseline: each.level for each in judged(signals, against) if each.signal.column == "tenure"}
    assert told["training"] is Level.CRITICAL
    assert (told["same_hours_4w"] is Level.OK) is not real


def test_an_hour_without_a_row_is_never_ok() -> None:
    verdicts = judged(drift(BY_PLAN, log_rows(9, seed=1, at=5), NOW), BY_PLAN)
    assert {each.signal.absence for each in verdicts} == {Absence.EMPTY_HOUR, Absence.UNDEFINED}
    assert {each.level for each in verdicts} == {Level.UNKNOWN}
    assert verdicts[-1].signal.metric == DRIFTED_SHARE
