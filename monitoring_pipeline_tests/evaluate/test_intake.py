from typing import Any

import pyarrow as pa
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.intake import IntakeProfile, intake_of_hour
from monitoring_pipeline.describe.quarantine import IntakePlan, Reason
from monitoring_pipeline.evaluate.intake import IntakePolicy, intake_by_version
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.traffic import LOG, MODEL, VERSION, hour, log_rows

PLAN = IntakePlan(LOG, {"tenure": ColumnKind.NUMERIC}, ("tenure", "plan"))


def signals(*hours: pa.Table, reference: IntakeProfile | None = None, length: int = 1) -> dict[str, Signal]:
    """Return the signals of the last of some hours by metric."""
    hourly = {hour(number): intake_of_hour(rows, PLAN)[0] for number, rows in enumerate(hours)}
    known = {VERSION: reference} if reference else {}
    found = intake_by_version(MODEL, hourly, known, [max(hourly)], IntakePolicy((length * HOUR,)))
    return {each.metric: each for each in found}


def level(signal: Signal) -> Level:
    return judge_by_limits(signal, LIMITS[signal.metric]).level


def logged(at: int = 0, **columns: Any) -> pa.Table:
    return log_rows(200, seed=1, at=at, **columns)


def test_an_hour_of_good_rows_has_every_rate_at_zero() -> None:
    found = signals(logged())
    assert {each.value for each in found.values()} == {0.0}
    assert {f"quality.{reason}_rate" for reason in Reason} <= found.keys()
    assert all(level(each) is Level.OK for each in found.values() if each.metric in LIMITS)


def test_rows_logged_twice_and_rows_without_a_time_are_counted_and_said() -> None:
    rows = logged()
    twice = signals(pa.concat_tables([rows, rows.slice(0, 60)]))["quality.duplicate_ids"]
    assert twice.value == pytest.approx(60 / 260)
    assert (twice.rows, level(twice)) == (260, Level.CRITICAL)
    assert twice.reason == "60 of 260 rows repeat the id of another one of their hour"
    times = ["2026-11-20"] * 195 + ["soon"] * 5
    lost = signals(logged(predicted_at=times))["quality.unreadable_time_rate"]
    assert (lost.value, level(lost)) == (0.025, Level.WARNING)
    assert lost.reason == "5 of 200 rows have unreadable time, and count in no statistic: predicted_at (5)"


def test_a_rate_counts_from_what_the_reference_rows_have() -> None:
    values = [float("inf")] * 50 + [1.0] * 150
    alone = signals(logged(tenure=values))["quality.quarantined_rate"]
    assert (alone.value, level(alone)) == (0.25, Level.CRITICAL)
    usual = IntakeProfile.of(logged(tenure=values), PLAN)
    same = signals(logged(tenure=values), reference=usual)["quality.quarantined_rate"]
    assert (same.baseline_value, level(same)) == (0.25, Level.OK)


def test_a_window_adds_up_its_hours_and_an_empty_one_is_never_well() -> None:
    bad = logged(tenure=[float("inf")] * 20 + [1.0] * 180)
    found = signals(bad, logged(at=1), length=2)["quality.infinite_rate"]
    assert (found.value, found.rows, found.detail) == (0.05, 400, {"columns": {"tenure": 20}})
    assert {each.absence for each in signals(bad, pa.table({}), length=2).values()} == {None}
    assert {each.absence for each in signals(bad, length=2).values()} == {Absence.WARMING_UP}
