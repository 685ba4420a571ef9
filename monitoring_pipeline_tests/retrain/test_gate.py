import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.metrics import log_loss, roc_auc_score

from monitoring_pipeline.retrain.gate import GatePolicy, Outcome, evaluate_challenger, log_losses

Array = NDArray[np.float64]
POLICY = GatePolicy(minimum_rows=100)


def scores(seed: int, rows: int, *, noise: tuple[float, float]) -> tuple[Array, Array, Array]:
    """Truth and the scores of two models that see the same signal through noise of their own."""
    generator = np.random.default_rng(seed)
    truth = (generator.random(rows) < 0.4).astype(float)
    first, second = (truth + generator.normal(0, width, rows) for width in noise)
    return truth, *(1 / (1 + np.exp(-(2 * each - 1.2))) for each in (first, second))  # type: ignore[return-value]


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_a_model_no_better_than_the_champion_is_promoted_no_more_often_than_stated(metric: str) -> None:
    pairs = 400
    policy = GatePolicy(metric=metric, margin=0.0, largest_loss=1.0, minimum_rows=100)  # type: ignore[arg-type]
    promoted = 0
    for seed in range(pairs):
        truth, champion, challenger = scores(seed, 120, noise=(1.0, 1.0))
        promoted += evaluate_challenger(truth, champion, challenger, policy).outcome is Outcome.PROMOTE
    stated = (1 - policy.confidence) / 2
    assert promoted <= binom.ppf(0.999, pairs, stated)
    assert promoted >= 1  # the gate is not simply shut


def test_a_wider_confidence_asks_for_more() -> None:
    truth, champion, challenger = scores(3, 400, noise=(1.0, 0.8))
    loose, strict = (
        evaluate_challenger(truth, champion, challenger, replace(POLICY, confidence=confidence))
        for confidence in (0.5, 0.999999)
    )
    for wide, narrow in zip(strict.comparisons, loose.comparisons, strict=True):
        assert wide.low < narrow.low < narrow.gain < narrow.high < wide.high
    assert (loose.outcome, strict.outcome) == (Outcome.PROMOTE, Outcome.KEEP_CHAMPION)


def test_a_clearly_better_challenger_is_promoted_with_its_gain_in_words() -> None:
    truth, champion, challenger = scores(1, 2000, noise=(1.5, 0.7))
    found = evaluate_challenger(truth, champion, challenger, POLICY)
    assert found.outcome is Outcome.PROMOTE
    auc, loss = found.comparisons
    assert auc.champion == pytest.approx(roc_auc_score(truth, champion))
    assert auc.challenger == pytest.approx(roc_auc_score(truth, challenger))
    assert loss.champion == pytest.approx(log_loss(truth, champion))
    assert loss.gain == pytest.approx(loss.champion - loss.challenger)
    assert auc.gain > 0.1
    assert loss.gain > 0
    assert found.reasons[0].startswith(
        f"roc_auc {auc.champion:.4f} -> {auc.challenger:.4f} (+{auc.gain:.4f}, 95% interval"
    )
    assert found.mcnemar_p_value < 0.01
    assert (found.rows, found.positives) == (2000, int(truth.sum()))


def test_a_worse_challenger_is_kept_out_with_every_reason() -> None:
    truth, champion, challenger = scores(1, 2000, noise=(0.7, 1.5))
    found = evaluate_challenger(truth, champion, challenger, GatePolicy(minimum_rows=5000))
    assert found.outcome is Outcome.KEEP_CHAMPION
    assert len(found.reasons) == 4
    assert found.reasons[0] == "2000 hold-out rows, 5000 needed"
    assert "the margin is +0.0050" in found.reasons[1]
    assert "is not above zero" in found.reasons[2]
    assert "log_loss loses" in found.reasons[3]


def test_a_gain_below_the_margin_is_no_reason_to_change() -> None:
    truth, champion, challenger = scores(1, 2000, noise=(1.5, 0.7))
    found = evaluate_challenger(truth, champion, challenger, GatePolicy(margin=0.9))
    assert found.outcome is Outcome.KEEP_CHAMPION
    assert [reason for reason in found.reasons if "the margin is +0.9000" in reason] == list(found.reasons)


def test_a_challenger_that_ranks_better_but_is_badly_calibrated_is_kept_out() -> None:
    truth, champion, challenger = scores(1, 2000, noise=(1.5, 0.7))
    found = evaluate_challenger(truth, champion, challenger**9, POLICY)
    assert found.comparisons[0].gain > 0.1
    assert found.outcome is Outcome.KEEP_CHAMPION
    assert found.reasons == (f"log_loss loses {-found.comparisons[1].gain:.4f}, at most 0.0100 is allowed",)


def test_what_cannot_be_compared_is_never_promoted() -> None:
    truth, champion, challenger = scores(1, 500, noise=(1.5, 0.7))
    broken = challenger.copy()
    broken[7] = np.nan
    cases = {
        "one class": (np.zeros(500), champion, challenger),
        "a score that is no number": (truth, champion, broken),
        "no rows": (truth[:0], champion[:0], challenger[:0]),
        "the model itself": (truth, champion, champion),
    }
    for name, (actual, first, second) in cases.items():
        for metric in ("roc_auc", "log_loss"):
            found = evaluate_challenger(actual, first, second, replace(POLICY, metric=metric))
            assert found.outcome is Outcome.KEEP_CHAMPION, name
            assert found.reasons, name
            assert not any("nan" in reason for reason in found.reasons), name
    assert evaluate_challenger(*cases["no rows"], POLICY).reasons == ("0 hold-out rows, 100 needed",)


def test_the_same_rows_give_the_same_evaluation_and_it_can_be_written_down() -> None:
    rows = scores(1, 500, noise=(1.0, 0.9))
    first, second = evaluate_challenger(*rows, POLICY), evaluate_challenger(*rows, POLICY)
    assert first == second
    document = json.loads(json.dumps(first.to_json(), allow_nan=False))
    assert set(document["comparisons"]) == {"roc_auc", "log_loss"}
    assert document["outcome"] == first.outcome.value
    assert document["reasons"] == list(first.reasons)


def test_certain_scores_have_a_finite_loss() -> None:
    losses = log_losses(np.array([0.0, 1.0, 0.5]), np.array([1.0, 1.0, 0.0]))
    assert losses == pytest.approx([34.539, 0, np.log(2)], abs=1e-3)
