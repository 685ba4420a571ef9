import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, ttest_1samp
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score, root_mean_squared_error

from monitoring_pipeline.judge.objectives import BUDGET, MODEL, SERVICE
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.retrain.gate import (
    Evaluation,
    GatePolicy,
    Outcome,
    Override,
    evaluate_challenger,
    evaluate_regressor,
    log_losses,
    respect_budgets,
)
from monitoring_pipeline_tests.verdicts import signal, verdict

Array = NDArray[np.float64]
POLICY = GatePolicy(minimum_rows=100)
ERRORS = GatePolicy(metric="mae")


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
    assert (found.mcnemar_p_value or 1.0) < 0.01
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


def values(seed: int, days: int = 14, *, noise: tuple[float, float]) -> tuple[Array, Array, Array, Array]:
    """Truth, the values two models predict, and the day of each row. What a model gets wrong, it does all day."""
    generator = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), 24)
    truth = generator.gamma(2.0, 50.0, len(day))
    first, second = (
        truth + width * (generator.normal(0, 1, days)[day] + generator.normal(0, 0.5, len(day))) for width in noise
    )
    return truth, first, second, day.astype(float)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_a_regressor_no_better_is_promoted_no_more_often_than_stated_though_days_err_together(metric: str) -> None:
    pairs, policy = 1000, GatePolicy(metric=metric, margin=0.0, largest_loss=9.0)  # type: ignore[arg-type]
    cases = [values(seed, noise=(10.0, 10.0)) for seed in range(pairs)]
    promoted = sum(evaluate_regressor(*case, policy).outcome is Outcome.PROMOTE for case in cases)
    stated = (1 - policy.confidence) / 2
    assert promoted <= binom.ppf(0.999, pairs, stated)
    assert promoted >= 1  # the gate is not simply shut
    # Were rows taken as independent, far too many would pass.
    alone = sum(evaluate_regressor(*case[:3], np.arange(14 * 24), policy).outcome is Outcome.PROMOTE for case in cases)
    assert alone > 4 * stated * pairs


def test_the_gain_of_a_regressor_is_that_of_the_published_metrics_with_students_interval_over_days() -> None:
    truth, champion, challenger, days = values(1, noise=(20.0, 10.0))
    found = evaluate_regressor(truth, champion, challenger, days, ERRORS)
    mae, rmse = found.comparisons
    for item, metric in ((mae, mean_absolute_error), (rmse, root_mean_squared_error)):
        assert item.champion == pytest.approx(metric(truth, champion))
        assert item.challenger == pytest.approx(metric(truth, challenger))
        assert item.gain == pytest.approx(item.champion - item.challenger)
        assert item.low < item.gain < item.high
    daily = (np.abs(champion - truth) - np.abs(challenger - truth)).reshape(14, 24).mean(axis=1)
    expected = ttest_1samp(daily, 0.0)
    assert mae.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (mae.low, mae.high) == pytest.approx((interval.low, interval.high))
    assert (found.outcome, found.positives, found.mcnemar_p_value) == (Outcome.PROMOTE, None, None)
    assert found.reasons[0].startswith(f"mae {mae.champion:.4f} -> {mae.challenger:.4f} (+{mae.gain:.4f}, 95% interval")


def test_the_margin_of_an_error_is_a_share_of_the_champions_whatever_its_unit() -> None:
    truth, champion, challenger, days = values(1, noise=(20.0, 10.0))
    asked = replace(ERRORS, margin=0.9)

    def decided(unit: float) -> Evaluation:
        return evaluate_regressor(truth * unit, champion * unit, challenger * unit, days, asked)

    wanted = 0.9 * decided(1.0).comparisons[0].champion
    assert decided(1.0).outcome is Outcome.KEEP_CHAMPION
    assert decided(1.0).reasons[0].endswith(f"the margin is {wanted:+.4f}")
    assert [reason.split()[0] for reason in decided(1000.0).reasons] == [r.split()[0] for r in decided(1.0).reasons]


def test_a_regressor_with_rare_disasters_is_kept_out_by_the_other_error() -> None:
    truth, champion, _, days = values(1, noise=(20.0, 10.0))
    challenger = truth + 1.0
    challenger[::168] += 400.0
    found = evaluate_regressor(truth, champion, challenger, days, ERRORS)
    assert found.comparisons[0].gain > 0
    assert found.reasons == (
        f"rmse loses {-found.comparisons[1].gain:.4f}, at most {0.01 * found.comparisons[1].champion:.4f} is allowed",
    )


def test_regressors_that_cannot_be_compared_are_never_promoted() -> None:
    truth, champion, challenger, days = values(1, noise=(20.0, 10.0))
    broken = challenger.copy()
    broken[7] = np.nan
    cases = {
        "a prediction that is no number": (truth, champion, broken, days),
        "one day": (truth, champion, challenger, np.zeros(len(truth))),
        "no rows": (truth[:0], champion[:0], challenger[:0], days[:0]),
        "the model itself": (truth, champion, champion, days),
        "two models that are always right": (truth, truth, truth, days),
    }
    for name, case in cases.items():
        found = evaluate_regressor(*case, ERRORS)
        assert found.outcome is Outcome.KEEP_CHAMPION, name
        assert found.reasons, name
        assert not any("nan" in reason for reason in found.reasons), name
    one_day = evaluate_regressor(*cases["one day"], ERRORS).reasons
    assert one_day[:2] == (
        "1 hold-out days, 7 needed",
        "mae is not known: it needs rows of 2 days and predictions that are numbers",
    )
    week = slice(6 * 24)
    found = evaluate_regressor(truth[week], champion[week], challenger[week], days[week], ERRORS)
    assert found.reasons == ("6 hold-out days, 7 needed",)


def budget(objective: str, left: float | None) -> Verdict:
    if left is None:
        return verdict(Level.UNKNOWN, BUDGET, column=objective)
    level = Level.OK if left > 0 else Level.WARNING
    return Verdict(
        signal(BUDGET, left, column=objective), level, 0.0, "objective", f"{left:.0%} of {objective} is left"
    )


@pytest.mark.parametrize("objective", SERVICE)
def test_a_better_challenger_waits_while_a_budget_of_the_service_is_spent(objective: str) -> None:
    outcome, reasons = respect_budgets(Outcome.PROMOTE, ["roc_auc +0.02"], [budget(objective, -0.5)], None)
    assert outcome is Outcome.BUDGET_SPENT
    assert reasons == ("roc_auc +0.02", f"-50% of {objective} is left")


@pytest.mark.parametrize("objective", MODEL)
def test_a_better_challenger_is_the_cure_of_promises_the_model_broke(objective: str) -> None:
    outcome, reasons = respect_budgets(Outcome.PROMOTE, ["roc_auc +0.02"], [budget(objective, -9.0)], None)
    assert (outcome, reasons) == (Outcome.PROMOTE, ("roc_auc +0.02",))


@pytest.mark.parametrize("left", [0.01, None])
def test_a_budget_that_is_left_or_not_known_holds_nobody_back(left: float | None) -> None:
    found = respect_budgets(Outcome.PROMOTE, ["roc_auc +0.02"], [budget("availability", left)], None)
    assert found == (Outcome.PROMOTE, ("roc_auc +0.02",))


def test_an_override_promotes_and_says_who_why_and_what_was_spent() -> None:
    override = Override("anna", "the outage was the network")
    outcome, reasons = respect_budgets(Outcome.PROMOTE, ["better"], [budget("availability", -0.5)], override)
    assert outcome is Outcome.PROMOTE
    assert reasons == (
        "better",
        "-50% of availability is left",
        "the gate was overridden by anna: the outage was the network",
    )


def test_an_override_neither_promotes_a_worse_challenger_nor_is_on_record_where_it_changed_nothing() -> None:
    override, spent = Override("anna", "in a hurry"), [budget("availability", -0.5)]
    assert respect_budgets(Outcome.KEEP_CHAMPION, ["worse"], spent, override) == (Outcome.KEEP_CHAMPION, ("worse",))
    assert respect_budgets(Outcome.PROMOTE, ["better"], [], override) == (Outcome.PROMOTE, ("better",))
