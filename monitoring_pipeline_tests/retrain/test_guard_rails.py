from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from monitoring_pipeline.describe.groups import Grouping
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.gains import Units
from monitoring_pipeline.retrain.guard_rails import (
    ROUNDS,
    Finding,
    HoldOut,
    RailPolicy,
    Status,
    calibration,
    fairness,
    latency,
    sampled_rails,
    segments,
    size,
)
from monitoring_pipeline.stats.classification import expected_calibration_error

Array = NDArray[np.float64]
ROWS, DAYS = 4000, 10
POLICY = RailPolicy(parts=Grouping(("region",), intersections=False), groups=Grouping(("sex",)))


def held_out(*, worse_in: str = "", unfair_to: str = "", overstated: float = 0.0, task: Task = Task.BINARY) -> HoldOut:
    """Return a hold-out on which the challenger is as good as the champion but for what is asked."""
    generator = np.random.default_rng(3)
    region = generator.choice(["north", "south", "rare"], ROWS, p=[0.5, 0.485, 0.015])
    sex = generator.choice(["f", "m"], ROWS)
    signal = generator.normal(size=ROWS)
    truth = (generator.random(ROWS) < 1 / (1 + np.exp(-2 * signal))).astype(float)
    champion, challenger = (2 * signal + 0.3 * generator.normal(size=ROWS) for _ in range(2))
    challenger = np.where(region == worse_in, -challenger, challenger) - 2.0 * (sex == unfair_to) + overstated
    scores = [1 / (1 + np.exp(-each)) for each in (champion, challenger)]
    if task is Task.REGRESSION:
        truth, scores = 10 * signal, [10 * champion / 2, 10 * challenger / 2]
    columns = pa.table({"region": region, "sex": sex})
    return HoldOut(truth, scores[0], scores[1], Units(np.arange(ROWS) % DAYS), columns, task)


def test_a_challenger_that_is_as_good_everywhere_passes() -> None:
    found = sampled_rails(held_out(), POLICY)
    assert [(each.rail, each.status) for each in found] == [
        ("segments", Status.PASSED),
        ("fairness", Status.PASSED),
        ("calibration", Status.PASSED),
    ]
    assert all(each.found is not None and each.limit is not None for each in found)


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_a_segment_that_is_much_worse_is_named_with_found_and_limit(task: Task) -> None:
    found = segments(held_out(worse_in="south", task=task), POLICY, 0.1)
    assert found.status is Status.OBJECTS
    assert found.reason.startswith("the loss grows in region=south by ")
    assert "north" not in found.reason
    assert "at most 10.0% is allowed; not checked: region=rare: fewer than 100 rows or 3 days" in found.reason
    assert found.found is not None
    assert found.found > 0.5
    assert segments(held_out(worse_in="south", task=task), POLICY, 1000.0).status is Status.PASSED


def test_a_segment_too_small_to_tell_is_left_out_and_named() -> None:
    found = segments(held_out(worse_in="rare"), POLICY, 0.1)
    assert found.status is Status.PASSED
    assert found.reason.endswith("not checked: region=rare: fewer than 100 rows or 3 days")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (replace(POLICY, parts=Grouping()), "no column is named in segments.columns"),
        (replace(POLICY, parts=Grouping(("city",))), "city, which the hold-out has no column of"),
        (replace(POLICY, min_rows=ROWS), "region=north: fewer than 4000 rows or 3 days"),
    ],
)
def test_segments_nothing_is_known_of_never_pass(policy: RailPolicy, words: str) -> None:
    found = segments(held_out(), policy, 0.1)
    assert found.status is Status.NOT_KNOWN
    assert words in found.reason


def test_a_challenger_that_treats_a_group_worse_than_the_champion_does_is_objected_to() -> None:
    found = fairness(held_out(unfair_to="f"), POLICY, 0.8)
    assert found.status is Status.OBJECTS
    assert "the selection rate of sex=f is 0." in found.reason
    assert "between groups with the champion" in found.reason
    assert found.reason.endswith("at least 0.80 is wanted")
    assert found.found is not None
    assert found.found < 0.6
    assert fairness(held_out(unfair_to="f"), POLICY, 0.1).status is Status.PASSED


def test_a_champion_that_is_as_unfair_is_no_reason_to_keep_it() -> None:
    both = held_out(unfair_to="f")
    assert fairness(replace(both, champion=both.challenger), POLICY, 0.8).status is Status.PASSED
    cure = replace(both, champion=both.challenger, challenger=both.champion)
    assert fairness(cure, POLICY, 0.8).status is Status.PASSED


@pytest.mark.parametrize(
    ("policy", "task", "words"),
    [
        (replace(POLICY, groups=Grouping()), Task.BINARY, "no column is named in fairness.attributes"),
        (POLICY, Task.REGRESSION, "a regressor has no rates"),
        (replace(POLICY, groups=Grouping(("age",))), Task.BINARY, "age, which the hold-out has no column of"),
        (
            replace(POLICY, min_rows=ROWS),
            Task.BINARY,
            "selection rate by sex: fewer than two groups of 4000 rows and 3 days",
        ),
    ],
)
def test_fairness_nothing_is_known_of_never_passes(policy: RailPolicy, task: Task, words: str) -> None:
    found = fairness(held_out(task=task), policy, 0.8)
    assert found.status is Status.NOT_KNOWN
    assert words in found.reason


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_a_challenger_that_overstates_is_objected_to_by_its_calibration_error(task: Task) -> None:
    held = held_out(overstated=1.0, task=task)
    found = calibration(held, POLICY, 0.02)
    assert found.status is Status.OBJECTS
    assert found.reason.endswith("at most 0.0200 is allowed")
    assert calibration(replace(held, challenger=held.champion), POLICY, 0.02).status is Status.PASSED


def test_the_calibration_error_is_the_published_one() -> None:
    held = held_out(overstated=1.0)
    errors = []
    for predicted in (held.champion, held.challenger):
        bins = np.searchsorted(np.quantile(predicted, np.arange(1, 10) / 10), predicted, side="right")
        errors.append(expected_calibration_error(*(np.bincount(bins, w) for w in (None, held.truth, predicted))))
    found = calibration(held, POLICY, 0.02)
    assert f"from {errors[0]:.4f} to {errors[1]:.4f}" in found.reason
    assert found.found == pytest.approx(float(errors[1] - errors[0]))


def test_the_calibration_of_few_rows_or_days_is_not_known() -> None:
    held = held_out()
    few = replace(held, truth=held.truth[:499])
    reason = "calibration is not checked: 499 rows of 10 days, 500 and 3 needed"
    assert calibration(few, POLICY, 0.02) == Finding("calibration", Status.NOT_KNOWN, reason, limit=0.02)
    alone = replace(held, units=Units(np.zeros(ROWS, dtype=np.int64), "hour"))
    assert {each.status for each in sampled_rails(alone, POLICY)} == {Status.NOT_KNOWN}


def test_nothing_is_known_of_predictions_that_are_no_numbers() -> None:
    held = held_out()
    held.challenger[7] = np.nan
    assert {(each.status, each.reason.partition(": ")[2]) for each in sampled_rails(held, POLICY)} == {
        (Status.NOT_KNOWN, "a prediction is no number")
    }


class Machine:
    """A clock, and models that take a time each; now and then the machine is busy with something else."""

    def __init__(self, hiccup: float = 0.0) -> None:
        self.now, self.calls, self.hiccup = 0.0, list[str](), hiccup

    def model(self, name: str, seconds: float):  # type: ignore[no-untyped-def]
        def score(rows: pd.DataFrame) -> None:
            self.now += seconds * len(rows) + (self.hiccup if len(self.calls) % 7 == 3 else 0.0)
            self.calls.append(name)

        return score

    def __call__(self) -> float:
        return self.now


def timed(first: float, second: float, *, hiccup: float = 0.0) -> tuple[Finding, Machine]:
    machine, rows = Machine(hiccup), pd.DataFrame({"x": np.zeros(250)})
    models = machine.model("champion", first), machine.model("challenger", second)
    return latency(*models, rows, clock=machine, limit=3.0), machine


def test_latency_is_compared_in_turns_and_by_the_median() -> None:
    found, machine = timed(1e-5, 2e-5, hiccup=60.0)
    assert found.status is Status.PASSED
    assert found.reason == "scoring a row takes 20 µs, 2.00 times the champion's 10"
    assert len(machine.calls) == 2 * (ROUNDS + 1)
    assert all(set(machine.calls[place : place + 2]) == {"champion", "challenger"} for place in range(0, 32, 2))


def test_a_challenger_that_is_too_slow_is_objected_to() -> None:
    found, _ = timed(1e-5, 4e-5)
    assert found.status is Status.OBJECTS
    assert found.found == pytest.approx(4.0)
    assert found.reason.endswith("at most 3 times is allowed")


def test_without_rows_latency_is_not_known() -> None:
    assert latency(str, str, pd.DataFrame(), clock=float, limit=3.0).status is Status.NOT_KNOWN


@pytest.mark.parametrize(
    ("sizes", "policy", "status", "words"),
    [
        ((1000, 9000), POLICY, Status.PASSED, "the model has 9,000 bytes, 9.00 times the champion's 1,000"),
        ((1000, 11_000), POLICY, Status.OBJECTS, "at most 10 times is allowed"),
        ((9000, 9500), replace(POLICY, size_bytes=9400), Status.OBJECTS, "at most 9,400 are allowed"),
        ((0, 9000), POLICY, Status.NOT_KNOWN, "the registry does not say it"),
        ((1, 9000), replace(POLICY, size=None, size_bytes=9400), Status.PASSED, "9,000 bytes"),
    ],
)
def test_a_model_is_not_too_large(sizes: tuple[int, int], policy: RailPolicy, status: Status, words: str) -> None:
    found = size(*sizes, policy)
    assert found.status is status
    assert words in found.reason


def test_a_guard_rail_nobody_asks_for_says_nothing() -> None:
    assert sampled_rails(held_out(), replace(POLICY, segments=None, fairness=None, calibration=None)) == []
