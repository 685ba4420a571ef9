from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.evaluate.attributions import COMPARED, Importances, Measured, attribution_signals
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline_tests.traffic import MODEL, VERSION, by_metric, hour

FEATURES = tuple(f"x{number}" for number in range(12))


def importances(means: Sequence[float], *, noise: float = 0.0, seed: int = 0) -> dict[str, Importances]:
    """Return importances of the output: ten repeats about means that are themselves measured with the noise."""
    generator = np.random.default_rng(seed)
    centres = np.array(means) + noise * generator.standard_normal(len(means))
    values = centres[:, None] + noise * generator.standard_normal((len(means), 10))
    return {"output": Importances(FEATURES[: len(means)], values, 1000)}


def signals(reference: Measured, current: Measured, **asked: Any) -> list[Signal]:
    asked = {"ways": ("output",)} | asked
    return list(attribution_signals(MODEL, VERSION, reference, current, start=hour(0), end=hour(24), **asked))


def alarms(found: Sequence[Signal]) -> set[tuple[str, str]]:
    judged = [judge_by_limits(signal, LIMITS[signal.metric]) for signal in found if signal.metric in LIMITS]
    return {(verdict.signal.metric, verdict.signal.column) for verdict in judged if verdict.level.rank > 0}


def of(found: Sequence[Signal], metric: str, column: str = "") -> Signal:
    return next(each for each in found if (each.metric, each.column) == (f"attribution.{metric}", column))


def test_a_feature_that_takes_over_is_named_with_its_shares() -> None:
    found = signals(importances([6, 3, 1], noise=0.01, seed=1), importances([3, 3, 4], noise=0.01, seed=2))
    risen = of(found, "importance", "x2")
    assert risen.value == pytest.approx(0.4, abs=0.01)
    assert risen.baseline_value == pytest.approx(0.1, abs=0.01)
    assert risen.low is not None
    assert risen.high is not None
    assert risen.low < 0.4 < risen.high
    change = of(found, "change", "x2")
    assert change.value == pytest.approx(0.3, abs=0.01)
    assert change.reason == "x2 has 40% of the importance, 10% at the reference"
    assert {("attribution.change", "x0"), ("attribution.change", "x2")} <= alarms(found)
    assert ("attribution.change", "x1") not in alarms(found)


def test_a_turned_ranking_alarms_and_says_which_features_left_the_top() -> None:
    means = 2.0 ** -np.arange(12)
    found = signals(importances(means.tolist(), noise=1e-6, seed=1), importances(means[::-1].tolist()), top=4)
    top = of(found, "top_changes")
    assert (top.value, top.unit) == (4.0, "features")
    assert top.detail == {"top": 4, "left": ["x0", "x1", "x2", "x3"], "entered": ["x8", "x9", "x10", "x11"]}
    assert of(found, "rank_correlation").value == pytest.approx(-1.0)
    assert {f"attribution.{name}" for name in COMPARED} <= {metric for metric, _ in alarms(found)}


@pytest.mark.parametrize("noise", [0.002, 0.01, 0.03])
def test_importances_that_differ_by_noise_alone_raise_no_alarm(noise: float) -> None:
    means = np.random.default_rng(5).dirichlet(np.full(12, 0.7)).tolist()
    crossed = [
        alarms(signals(importances(means, noise=noise, seed=seed), importances(means, noise=noise, seed=seed + 500)))
        for seed in range(40)
    ]
    assert sum(map(len, crossed)) == 0


def test_without_the_noise_the_same_differences_would_raise_alarms() -> None:
    means = np.random.default_rng(5).dirichlet(np.full(12, 0.7)).tolist()
    moved = importances(means, noise=0.1, seed=3)["output"]
    sure = {"output": Importances(moved.features, moved.values.mean(axis=1, keepdims=True).repeat(10, axis=1), 1000)}
    assert alarms(signals(importances(means), sure))


def test_equal_importances_agree_in_every_way() -> None:
    found = signals(importances([5, 3, 2]), importances([5, 3, 2]))
    values = {each.metric: each.value for each in found if not each.column}
    assert values == {
        "attribution.rank_correlation": pytest.approx(1.0),
        "attribution.ndcg": pytest.approx(1.0),
        "attribution.top_changes": 0.0,
    }
    assert by_metric(found, "x0")["attribution.change"].value == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("reference", "current", "absence", "reason"),
    [
        (importances([1, 1]), "timed out", Absence.FAILED, "importances on the sampled rows: timed out"),
        ("refused", importances([1, 1]), Absence.FAILED, "importances on the reference rows: refused"),
        (importances([1, 1]), {}, Absence.TOO_FEW_ROWS, "too few labelled sampled rows"),
        (importances([1, 1]), importances([0, -1]), Absence.UNDEFINED, "no feature matters"),
    ],
)
def test_what_cannot_be_compared_is_absent_with_the_reason(
    reference: Measured, current: Measured, absence: Absence, reason: str
) -> None:
    found = signals(reference, current)
    assert [each.metric for each in found] == [f"attribution.{name}" for name in COMPARED]
    assert all(each.absence is absence and each.reason.startswith(reason) for each in found)


def test_one_feature_has_no_ranking_but_a_share() -> None:
    found = signals(importances([2]), importances([3]))
    assert of(found, "importance", "x0").value == 1.0
    assert of(found, "rank_correlation").absence is Absence.UNDEFINED


def test_each_way_of_measuring_is_compared_with_itself() -> None:
    both = importances([2, 1]) | {"shap": importances([1, 2])["output"]}
    found = signals(both, both, ways=("output", "loss", "shap"))
    assert of(found, "shap_importance", "x0").value == pytest.approx(1 / 3)
    assert of(found, "loss_ndcg").absence is Absence.TOO_FEW_ROWS


def test_importances_survive_json() -> None:
    before = importances([0.1, 0.7], noise=0.01)["output"]
    after = Importances.from_json(before.to_json())
    assert (after.features, after.rows) == (before.features, before.rows)
    assert np.array_equal(after.values, before.values)


def test_rankings_agree_with_scipy_and_scikit_learn() -> None:
    from scipy.stats import spearmanr
    from sklearn.metrics import ndcg_score

    generator = np.random.default_rng(1)
    for _ in range(50):
        # Small whole numbers, so that there are ties on both sides.
        before, now = (generator.integers(0, 5, 9) + 1e-9 * (np.arange(9) == 0) for _ in range(2))
        found = signals(importances(before.tolist()), importances(now.tolist()))
        assert of(found, "rank_correlation").value == pytest.approx(spearmanr(before, now).statistic)
        assert of(found, "ndcg").value == pytest.approx(ndcg_score(before[None], now[None]))
