"""Distinct counts against sets of Python, and against the promise of their bounds."""

import numpy as np
import pytest

from monitoring_pipeline.stats.cardinality import LOG_KEPT, DistinctCount

KEPT = 2**LOG_KEPT


@pytest.mark.parametrize("distinct", [0, 1, 2, 100, KEPT])
def test_few_values_are_counted_exactly(distinct: int) -> None:
    values = [f"value {number}" for number in range(distinct)] * 3
    count = DistinctCount.of(values)
    assert (count.low, count.estimate, count.high) == (distinct, distinct, distinct)


def test_empty_text_is_a_value() -> None:
    assert DistinctCount.of(["", "", "a"]).estimate == 2
    assert DistinctCount.of([""]).merge(DistinctCount.of([""])).estimate == 1


@pytest.mark.parametrize("distinct", [2_000, 200_000])
def test_many_values_are_within_the_error_that_theory_promises(distinct: int) -> None:
    count = DistinctCount.of(map(str, range(distinct)))
    assert count.low < distinct < count.high
    assert count.estimate == pytest.approx(distinct, rel=3 / np.sqrt(KEPT - 1))
    assert (count.high - count.low) / (4 * distinct) == pytest.approx(1 / np.sqrt(KEPT - 1), rel=0.2)
    assert len(count.sketch) < 8 * KEPT + 100


def test_the_bounds_hold_in_about_95_of_100_trials() -> None:
    distinct, trials = 3_000, 200
    counts = (DistinctCount.of(f"{trial}:{number}" for number in range(distinct)) for trial in range(trials))
    held = sum(count.low <= distinct <= count.high for count in counts)
    # 95.4 % of 200, give or take three standard deviations of the binomial.
    assert 182 <= held <= 200


def test_neither_order_nor_repetition_nor_grouping_changes_a_byte() -> None:
    values = [f"value {number}" for number in range(5_000)]
    whole = DistinctCount.of(values)
    shuffled = np.random.default_rng(1).permutation(values * 2).tolist()
    assert DistinctCount.of(shuffled) == whole
    merged = DistinctCount.empty()
    for start in range(0, len(shuffled), 777):
        merged = merged.merge(DistinctCount.of(shuffled[start : start + 777]))
    assert merged == whole
