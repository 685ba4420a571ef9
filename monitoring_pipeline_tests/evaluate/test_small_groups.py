from dataclasses import replace

import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.evaluate.small_groups import without_small_group
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.thresholds import JudgingPolicy
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.traffic import START

FEW = Signal(
    "performance.accuracy", "churn", "1", START, START + HOUR, 0.91, rows=7, segment="plan=gold",
    low=0.8, high=0.97, p_value=0.2, detail={"wrong": 1},
)  # fmt: skip


def test_of_a_small_group_nothing_is_left_but_that_it_is_small() -> None:
    found = without_small_group(FEW, 20)
    assert (found.value, found.low, found.high, found.p_value, found.rows, found.detail) == (
        None,
        None,
        None,
        None,
        0,
        {},
    )
    assert found.absence is Absence.SUPPRESSED
    assert found.key == FEW.key
    assert "7" not in found.reason


def test_a_small_group_is_unknown_and_never_healthy() -> None:
    (verdict,) = judge_signals([without_small_group(FEW, 20)], {}, JudgingPolicy())
    assert verdict.level is Level.UNKNOWN


@pytest.mark.parametrize("same", [replace(FEW, rows=20), replace(FEW, segment="")])
def test_large_groups_and_the_model_as_a_whole_are_shown(same: Signal) -> None:
    assert without_small_group(same, 20) is same


def test_nothing_is_suppressed_unless_it_is_asked_for() -> None:
    assert without_small_group(FEW, 1) is FEW


def test_how_few_rows_there_were_does_not_stand_in_a_reason_either() -> None:
    few = replace(FEW, value=None, absence=Absence.TOO_FEW_ROWS, reason="7 rows, 100 are needed")
    assert "7" not in without_small_group(few, 20).reason


def test_a_group_whose_labels_are_yet_to_come_goes_on_saying_so_without_a_count() -> None:
    waiting = replace(FEW, value=None, rows=0, absence=Absence.NO_LABELS_YET, reason="none of 12 predictions")
    found = without_small_group(waiting, 20)
    assert found.absence is Absence.NO_LABELS_YET
    assert "12" not in found.reason


def test_a_group_without_any_row_is_empty_and_not_suppressed() -> None:
    empty = replace(FEW, value=None, rows=0, absence=Absence.EMPTY_HOUR, reason="no prediction was logged")
    assert without_small_group(empty, 20) is empty
