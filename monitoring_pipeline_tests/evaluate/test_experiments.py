import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.columns import FloatArray
from monitoring_pipeline.describe.experiment_arms import BUCKETS, ExperimentArm, ExperimentColumns
from monitoring_pipeline.describe.log_histogram import LogHistogram
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.evaluate.experiments import (
    ExperimentPolicy,
    ExperimentReport,
    Recommendation,
    experiment_report,
)
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline_tests.traffic import MODEL, START, by_metric

DAY = timedelta(days=1)
POLICY = ExperimentPolicy("new_model", START, 0.01, log=LogColumns(status="status", latency_ms={"total": "ms"}))
FAST = np.full(5000, 0.05)


def arm(
    rows: int, converted: int, *, known: int | None = None, errors: int = 0, seconds: FloatArray = FAST
) -> ExperimentArm:
    """Return an arm of independent rows, of which so many converted."""
    bucket = np.arange(BUCKETS) == 0
    known = rows if known is None else known
    return ExperimentArm(
        np.stack([rows * bucket, known * bucket]),
        np.stack([converted * bucket, 0 * bucket]).astype(np.float64),
        np.array([[converted, 0.0], [0.0, 0.0]]),
        OperationsProfile(rows=rows, errors=errors, latency={"total": LogHistogram.of(seconds)}),
    )


def report(*days: tuple[ExperimentArm, ExperimentArm], **asked: Any) -> ExperimentReport:
    ends = [START + number * DAY for number in range(1, len(days) + 1)]
    arms = [{"control": control, "treatment": treatment} for control, treatment in days]
    return experiment_report(zip(ends, arms, strict=True), replace(POLICY, **asked))


BETTER = arm(40_000, 4000), arm(40_000, 4800)
SAME = arm(40_000, 4000), arm(40_000, 4020)


def test_a_treatment_that_is_better_beyond_the_limit_of_its_look_is_shipped() -> None:
    found = report(BETTER)
    assert found.recommendation is Recommendation.SHIP
    (look,) = found.looks
    assert look.decides
    assert look.effect.difference == pytest.approx(0.02)
    assert look.interval[0] < 0.02 < look.interval[1]
    assert "treatment is better: 0.1 -> 0.12 (lift +20.00%" in found.reasons[0]


def test_a_treatment_that_is_worse_is_reverted_whichever_way_worse_is() -> None:
    assert report(BETTER[::-1]).recommendation is Recommendation.REVERT
    assert report(BETTER, higher_is_better=False).recommendation is Recommendation.REVERT
    assert report(BETTER[::-1], higher_is_better=False).recommendation is Recommendation.SHIP


def test_an_experiment_with_all_planned_information_and_no_difference_is_stopped() -> None:
    found = report(SAME)
    assert found.fraction > 1
    assert found.recommendation is Recommendation.STOP
    assert "not shown to differ" in found.reasons[0]


def test_before_that_it_goes_on_and_no_difference_is_shown_before_the_first_look() -> None:
    found = report((arm(1200, 120), arm(1200, 160)))
    assert found.looks == ()
    assert found.recommendation is Recommendation.CONTINUE
    signals = by_metric(found.signals(MODEL, version="4", baseline="3"))
    assert signals["experiment.lift"].absence is Absence.WARMING_UP
    assert signals["experiment.information"].value == pytest.approx(found.fraction)


def test_looks_are_taken_when_the_information_is_there_and_end_with_the_first_that_decides() -> None:
    day = arm(1000, 100), arm(1000, 102)
    waiting = report(*[day] * 14)
    assert [(look.at - START).days for look in waiting.looks] == [3, 6, 9, 12]
    assert waiting.recommendation is Recommendation.CONTINUE
    better = arm(1000, 100), arm(1000, 150)
    decided = report(*[better] * 14)
    assert [look.decides for look in decided.looks][-1:] == [True]
    assert len(decided.looks) < 4
    assert report(*[better] * 14, boundary="always_valid").looks[0].at == START + DAY
    assert report(*[better] * 20, boundary="fixed").looks[0].fraction > 1


def test_a_small_difference_that_a_plain_test_would_take_is_not_enough_at_an_early_look() -> None:
    found = report((arm(4000, 400), arm(4000, 457)))
    (look,) = found.looks
    assert look.effect.p_value < 0.05
    assert found.recommendation is Recommendation.CONTINUE


def test_few_rows_recommend_nothing_however_large_the_difference() -> None:
    found = report((arm(5000, 500), arm(5000, 900, known=999)), (arm(0, 0), arm(0, 0)))
    assert found.recommendation is not Recommendation.SHIP
    found = report((arm(999, 100), arm(999, 500)))
    assert found.recommendation is Recommendation.CONTINUE
    assert found.reasons == ("999 rows with an outcome in the smaller arm, 1000 needed",)


def test_no_day_at_all_is_no_reason_for_anything() -> None:
    found = report()
    assert found.recommendation is Recommendation.CONTINUE
    assert {signal.absence for signal in found.signals(MODEL, version="4", baseline="3")} >= {Absence.UNDEFINED}


@pytest.mark.parametrize(
    "day", [(arm(40_000, 4000), arm(41_500, 4980)), (arm(40_000, 4000), arm(40_000, 4500, known=38_000))]
)
def test_a_broken_split_of_rows_or_of_labels_refuses_to_conclude(day: tuple[ExperimentArm, ExperimentArm]) -> None:
    found = report(day)
    assert found.looks[-1].decides
    assert found.split_p_value < 0.001
    assert found.recommendation is Recommendation.STOP
    assert "the split is broken" in found.reasons[0]


def test_rows_of_few_users_are_not_taken_for_a_broken_split() -> None:
    spread = np.random.default_rng(5).poisson(5, BUCKETS) * 100
    control = ExperimentArm(np.stack([spread, spread]), np.zeros((2, BUCKETS)), np.zeros((2, 2)))
    treatment = replace(control, counts=control.counts[:, ::-1] + 30)
    rows, users = (
        report((control, treatment), what=ExperimentColumns(unit=unit)) for unit in ("prediction_id", "user")
    )
    assert rows.split_p_value < 0.001
    assert users.split_p_value > 0.05


@pytest.mark.parametrize(
    ("treatment", "expected", "word"),
    [
        (arm(40_000, 4800, errors=900), Recommendation.REVERT, "error_rate 0.0225, control 0, the limit is 0.01"),
        (arm(40_000, 4800, errors=410), Recommendation.CONTINUE, "error_rate 0.01025"),
        (arm(40_000, 4800, seconds=np.full(5000, 0.5)), Recommendation.REVERT, "latency_p99 0.5"),
        (arm(40_000, 4800, seconds=FAST[:10]), Recommendation.CONTINUE, "latency_p99 is not known"),
    ],
)
def test_a_guard_rail_that_is_broken_reverts_and_one_in_doubt_ships_nothing(
    treatment: ExperimentArm, expected: Recommendation, word: str
) -> None:
    found = report((BETTER[0], treatment))
    assert found.recommendation is expected
    assert word in found.reasons[0]


def test_errors_that_nobody_logs_are_not_known_and_limits_can_be_lifted() -> None:
    unlogged = LogColumns(latency_ms={"total": "ms"})
    assert report(BETTER, log=unlogged).recommendation is Recommendation.CONTINUE
    assert report(BETTER, log=unlogged, error_rate=None).recommendation is Recommendation.SHIP


def test_an_experiment_ends_when_its_time_is_up_whatever_it_still_lacks() -> None:
    day = arm(100, 10), arm(100, 10)
    found = report(*[day] * 28)
    assert found.recommendation is Recommendation.STOP
    assert found.reasons[0] == "28 days have passed"
    assert report(*[day] * 27).recommendation is Recommendation.CONTINUE


def test_outcomes_that_never_vary_are_not_known() -> None:
    found = report((arm(5000, 0), arm(5000, 0)))
    assert found.recommendation is Recommendation.CONTINUE
    assert "no outcome varies" in found.reasons[0]


def test_signals_carry_the_interval_of_their_look_and_the_report_is_plain_json() -> None:
    found = report(BETTER)
    signals = by_metric(found.signals(MODEL, version="4", baseline="3"))
    lift = signals["experiment.lift"]
    assert lift.value == pytest.approx(0.2)
    assert (lift.version, lift.column, lift.baseline, lift.rows) == ("4", "new_model", "3", 80_000)
    assert lift.low is not None
    assert 0.1 < lift.low < 0.2
    assert signals["experiment.difference"].baseline_value == pytest.approx(0.1)
    assert signals["experiment.error_rate"].value == 0
    assert signals["experiment.latency_p99"].value == pytest.approx(0.05, rel=0.01)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["recommendation"] == "ship"
    assert document["looks"][0]["effect"]["difference"] == pytest.approx(0.02)
    assert json.loads(json.dumps(report().to_json(), allow_nan=False))["looks"] == []


def test_a_covariate_makes_the_same_rows_tell_more() -> None:
    random = np.random.default_rng(7)

    def rows(mean: float) -> ExperimentArm:
        before = random.normal(0, 1, 4000)
        pair = np.stack([mean + before + random.normal(0, 0.5, 4000), before])
        bucket = np.arange(4000) % BUCKETS
        counts = np.stack([np.bincount(bucket, minlength=BUCKETS)] * 2)
        totals = np.stack([np.bincount(bucket, each, BUCKETS) for each in pair]).astype(np.float64)
        return ExperimentArm(counts, totals, np.einsum("ir,jr->ij", pair, pair))

    day = rows(0.0), rows(0.05)
    plain = report(day, change=0.05)
    adjusted = report(day, change=0.05, what=ExperimentColumns(covariate="before"))
    assert adjusted.fraction > 4 * plain.fraction
