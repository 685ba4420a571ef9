from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import ndcg_score

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task
from monitoring_pipeline.evaluate.performance import PerformancePolicy, performance_signals
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline_tests.traffic import hour

COLUMNS = LogColumns(request="request", item="item")
SHOWN, TOP = 8, 3


def lists(number: int, seed: int, *, items: int = 400) -> tuple[Any, Any, Any]:
    """Return scores, graded relevance that depends on them, and items of lists, each of shape (number, SHOWN)."""
    generator = np.random.default_rng(seed)
    scores = generator.random((number, SHOWN))
    relevance = generator.binomial(2, 0.6 * scores**3).astype(float)
    return scores, relevance, generator.integers(0, items, (number, SHOWN))


def outcome(scores: Any, relevance: Any, items: Any, *, seed: str = "", **plan: Any) -> OutcomeProfile:
    requests = np.repeat([f"{seed}-{number}" for number in range(len(scores))], SHOWN)
    columns = {"request": requests, "item": items.ravel(), "score": scores.ravel(), "actual": relevance.ravel()}
    known = pa.nulls(scores.size, pa.timestamp("us", tz="UTC"))
    return OutcomePlan(Task.RANKING, COLUMNS, top=TOP, **plan).of(pa.table(columns | {"labelled_at": known}))


def measured(
    *hours: OutcomeProfile, baseline: OutcomeProfile | None = None, min_rows: int = 1, **plan: Any
) -> dict[str, Signal]:
    asked = OutcomePlan(Task.RANKING, COLUMNS, top=TOP, **plan)
    policy = PerformancePolicy((len(hours) * HOUR,), min_rows=min_rows, plan=asked)
    by_hour = {hour(at): each for at, each in enumerate(hours)}
    signals = performance_signals("m", "1", by_hour, [hour(len(hours) - 1)], policy, baseline=baseline)
    return {signal.metric.removeprefix("performance."): signal for signal in signals}


def test_the_numbers_are_those_of_the_raw_lists_and_the_gain_is_that_of_scikit_learn() -> None:
    parts = [lists(number, seed) for seed, number in enumerate((90, 1, 120))]
    found = measured(*(outcome(*part, seed=str(at)) for at, part in enumerate(parts)))
    scores, relevance, _ = (np.concatenate(column) for column in zip(*parts, strict=True))
    ranked = np.take_along_axis(relevance, np.argsort(-scores, axis=1), axis=1) > 0
    answered = ranked.any(axis=1)
    exact = {
        "ctr": (relevance > 0).mean(),
        "ndcg_at_k": ndcg_score(relevance[answered], scores[answered], k=TOP),
        "recall_at_k": (ranked[:, :TOP].sum(axis=1)[answered] / ranked.sum(axis=1)[answered]).mean(),
        "hit_rate_at_k": ranked[:, :TOP].any(axis=1).mean(),
        "mean_reciprocal_rank": np.where(answered, 1 / (1 + ranked.argmax(axis=1)), 0.0).mean(),
        "requests": len(scores),
    }
    assert 0 < answered.sum() < len(scores)
    assert {name: found[name].value for name in exact} == pytest.approx(exact, rel=1e-9)
    assert (found["ndcg_at_k"].rows, found["hit_rate_at_k"].rows) == (answered.sum(), len(scores))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    names = ("ctr", "ndcg_at_k", "recall_at_k", "hit_rate_at_k", "mean_reciprocal_rank")
    everything, hits = measured(outcome(*lists(20_000, 99))), dict.fromkeys(names, 0)
    for seed in range(200):
        found = measured(outcome(*lists(150, seed)))
        for name in names:
            low, value, high = found[name].low, everything[name].value, found[name].high
            assert low is not None
            assert value is not None
            assert high is not None
            hits[name] += low <= value <= high
    assert all(181 <= each <= 198 for each in hits.values()), hits  # 190 are expected at 95 %


def test_coverage_is_of_the_catalogue_and_without_its_size_of_all_items_ever_recommended() -> None:
    few, many = outcome(*lists(40, 1, items=20)), outcome(*lists(1000, 2, items=200))
    assert measured(few, catalogue=80)["item_coverage"].value == 20 / 80
    assert measured(few, baseline=many)["item_coverage"].value == 20 / 200
    assert measured(few)["item_coverage"].absence is Absence.NO_REFERENCE


def test_a_few_lists_of_many_items_say_nothing_yet() -> None:
    found = measured(outcome(*lists(20, 3)), min_rows=100)
    assert found["hit_rate_at_k"].reason == "20 lists with a usable label, 100 are needed (performance.min_rows)"
    assert "lists with a usable label above 0" in found["recall_at_k"].reason


def test_hours_without_a_relevant_item_have_hits_of_0_and_no_gain() -> None:
    scores, relevance, items = lists(50, 4)
    found = measured(outcome(scores, relevance * 0, items))
    assert (found["ctr"].value, found["hit_rate_at_k"].value, found["mean_reciprocal_rank"].value) == (0.0, 0.0, 0.0)
    assert found["ndcg_at_k"].absence is Absence.TOO_FEW_ROWS
