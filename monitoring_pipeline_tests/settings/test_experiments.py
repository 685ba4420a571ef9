from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.experiment_arms import ExperimentColumns
from monitoring_pipeline.evaluate.experiments import ExperimentPolicy
from monitoring_pipeline.serve.assignment import Assignment
from monitoring_pipeline.settings.experiments import Experiment, GuardRails
from monitoring_pipeline.stats.experiments import plan_experiment

START = datetime(2026, 11, 20, tzinfo=UTC)
LOG = LogColumns(status="status", latency_ms={"model": "ms", "total": "all_ms"})


def test_the_defaults_of_the_file_are_those_of_the_comparison() -> None:
    asked = Experiment(start=START, baseline=0.1)
    what = ExperimentColumns()
    assert asked.policy("x", LOG) == ExperimentPolicy("x", START, 0.1 * 0.02, what, LOG)
    assert asked.assignment("x") == Assignment("x")


def test_every_setting_arrives() -> None:
    asked = Experiment(
        start=START,
        baseline=-20.0,
        variance=9.0,
        relative_mde=0.1,
        outcome="profit",
        unit="customer",
        covariate="profit_before",
        higher_is_better=False,
        treatment_share=0.2,
        excluded=0.5,
        alpha=0.01,
        power=0.9,
        boundary="pocock",
        looks=4,
        min_rows=2000,
        max_days=7,
        guard_rails=GuardRails(latency_p99_ms=None, error_rate=0.02),
    )
    what = ExperimentColumns("profit", "customer", "profit_before")
    log = LogColumns(latency_ms={"model": "ms", "features": "other_ms"})
    first = ExperimentPolicy("y", START, 2.0, what, log, 0.2, 0.01, 0.9, "pocock", 4, higher_is_better=False)
    expected = replace(first, min_rows=2000, max_days=7, latency_p99=None, stage="features", error_rate=0.02)
    assert asked.policy("y", log) == expected
    assert asked.assignment("y") == Assignment("y", 0.2, 0.5)


def test_days_count_only_the_traffic_that_takes_part() -> None:
    asked = Experiment(start=START, baseline=0.1, excluded=0.5, looks=3)
    expected = plan_experiment(0.1, boundary="obrien_fleming", looks=3, rows_per_day=5000)
    assert asked.plan(rows_per_day=10_000) == expected


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"baseline": 0.0}, "baseline 0 with a change"),
        ({"baseline": 12.0}, "a share that stays between 0 and 1"),
        ({"min_rows": 10}, "min_rows"),
        ({"start": START + timedelta(minutes=1)}, "whole hour"),
        ({"boundary": "haybittle"}, "boundary"),
    ],
)
def test_what_cannot_be_run_is_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Experiment.model_validate({"start": START, "baseline": 0.1} | wrong)
