import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_1samp
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score, root_mean_squared_error

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.evaluate.gains import Units, log_losses, mean_of, units_of
from monitoring_pipeline.judge.objectives import BUDGET, MODEL, SERVICE
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.retrain.gate import (
    LONGEST_TAG,
    Evaluation,
    GatePolicy,
    Outcome,
    Override,
    evaluate_challenger,
    respect_budgets,
    respect_guard_rails,
    version_tags,
)
from monitoring_pipeline.retrain.guard_rails import Finding, Status
from monitoring_pipeline.stats.paired import delong_paired
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


def compared(truth: Array, champion: Array, challenger: Array, policy: GatePolicy = POLICY) -> Evaluation:
    """Return the evaluation of classifiers whose rows come ten a day."""
    return evaluate_challenger(truth, champion, challenger, Units(np.arange(len(truth)) // 10), policy)


def test_a_wider_confidence_asks_for_more() -> None:
    truth, champion, challenger = scores(3, 400, noise=(1.0, 0.8))
    loose, strict = (
        compared(truth, champion, challenger, replace(POLICY, confidence=confidence)) for confidence in (0.5, 0.999999)
    )
    for wide, narrow in zip(strict.comparisons, loose.comparisons, strict=True):
        assert wide.low < narrow.low < narrow.gain < narrow.high < wide.high
    assert (loose.outcome, strict.outcome) == (Outcome.PROMOTE, Outcome.KEEP_CHAMPION)


def test_a_clearly_better_challenger_is_promoted_with_its_gain_in_words() -> None:
    truth, champion, challenger = scores(1, 2000, noise=(1.5, 0.7))
    found = compared(truth, champion, challenger)
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
    found = compared(truth, champion, challenger, GatePolicy(minimum_rows=5000))
    assert found.outcome is Outcome.KEEP_CHAMPION
    assert len(found.reasons) == 4
    assert found.reasons[0] == "2000 hold-out rows, 5000 needed"
    assert "the margin is +0.0050" in found.reasons[1]
    assert "is not above zero" in found.reasons[2]
    assert "log_loss loses" in found.reasons[3]


def test_a_gain_below_the_margin_is_no_reason_to_change() -> None:
    truth, champion, challenger = scores(1, 2000, noise=(1.5, 0.7))
    found = compared(truth, champion, challenger, GatePolicy(margin=0.9))
    assert found.outcome is Outcome.KEEP_CHAMPION
    assert [reason for reason in found.reasons if "the margin is +0.9000" in reason] == list(found.reasons)


def test_a_challenger_that_ranks_better_but_is_badly_calibrated_is_kept_out() -> None:
    truth, champion, challenger = scores(1, 2000, noise=(1.5, 0.7))
    found = compared(truth, champion, challenger**9)
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
            found = compared(actual, first, second, replace(POLICY, metric=metric))
            assert found.outcome is Outcome.KEEP_CHAMPION, name
            assert found.reasons, name
            assert not any("nan" in reason for reason in found.reasons), name
    assert compared(*cases["no rows"]).reasons == ("0 hold-out rows, 100 needed",)


def test_the_same_rows_give_the_same_evaluation_and_it_can_be_written_down() -> None:
    rows = scores(1, 500, noise=(1.0, 0.9))
    first, second = compared(*rows), compared(*rows)
    assert first == second
    document = json.loads(json.dumps(first.to_json(), allow_nan=False))
    assert set(document["comparisons"]) == {"roc_auc", "log_loss"}
    unknown = compared(rows[0][:1], rows[1][:1], rows[2][:1]).to_json()
    assert json.loads(json.dumps(unknown, allow_nan=False))["comparisons"]["roc_auc"]["gain"] is None
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


def regressed(truth: Array, champion: Array, challenger: Array, days: Array, policy: GatePolicy = ERRORS) -> Evaluation:
    return evaluate_challenger(truth, champion, challenger, Units(days.astype(np.int64)), policy, task=Task.REGRESSION)


def test_the_gain_of_a_regressor_is_that_of_the_published_metrics_with_students_interval_over_days() -> None:
    truth, champion, challenger, days = values(1, noise=(20.0, 10.0))
    found = regressed(truth, champion, challenger, days)
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
        return regressed(truth * unit, champion * unit, challenger * unit, days, asked)

    wanted = 0.9 * decided(1.0).comparisons[0].champion
    assert decided(1.0).outcome is Outcome.KEEP_CHAMPION
    assert decided(1.0).reasons[0].endswith(f"the margin is {wanted:+.4f}")
    assert [reason.split()[0] for reason in decided(1000.0).reasons] == [r.split()[0] for r in decided(1.0).reasons]


def test_a_regressor_with_rare_disasters_is_kept_out_by_the_other_error() -> None:
    truth, champion, _, days = values(1, noise=(20.0, 10.0))
    challenger = truth + 1.0
    challenger[::168] += 400.0
    found = regressed(truth, champion, challenger, days)
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
        found = regressed(*case)
        assert found.outcome is Outcome.KEEP_CHAMPION, name
        assert found.reasons, name
        assert not any("nan" in reason for reason in found.reasons), name
    one_day = regressed(*cases["one day"]).reasons
    assert one_day[:2] == (
        "1 hold-out days, 7 needed",
        "mae is not known: it needs several days and predictions that are numbers",
    )
    week = slice(6 * 24)
    found = regressed(truth[week], champion[week], challenger[week], days[week])
    assert found.reasons == ("6 hold-out days, 7 needed",)


def test_rows_that_are_alone_have_delongs_interval_and_students() -> None:
    truth, champion, challenger = scores(5, 800, noise=(1.2, 1.0))
    auc, loss = evaluate_challenger(truth, champion, challenger, Units(np.arange(800)), POLICY).comparisons
    expected = delong_paired(champion, challenger, truth)
    assert (auc.gain, auc.low, auc.high) == pytest.approx(
        (expected.difference, expected.low, expected.high), rel=5e-3
    ), "but for Student's quantile and a divisor of n - 1 in one place and n in the other"
    falls = ttest_1samp(log_losses(champion, truth) - log_losses(challenger, truth), 0.0)
    assert loss.p_value == pytest.approx(falls.pvalue)


def test_days_are_counted_or_hours_where_there_are_fewer_than_three() -> None:
    times = np.datetime64("2026-04-01T00:30") + np.arange(72) * np.timedelta64(1, "h")
    assert (units_of(times).name, units_of(times).count) == ("day", 3)
    assert units_of(times).of_row.tolist() == [0] * 24 + [1] * 24 + [2] * 24
    assert (units_of(times[:48]).name, units_of(times[:48]).count) == ("hour", 48)
    assert evaluate_challenger(*scores(1, 48, noise=(1, 1)), units_of(times[:48]), POLICY).units == (48, "hour")
    truth, champion, challenger, _ = values(1, days=2, noise=(20.0, 10.0))
    found = evaluate_challenger(truth, champion, challenger, units_of(times[:48]), ERRORS, task=Task.REGRESSION)
    assert found.reasons == ("2 hold-out days, 7 needed",)


def test_days_of_uneven_size_count_as_fewer() -> None:
    even, uneven = np.repeat(np.arange(7), 60), np.repeat(np.arange(7), [300, 20, 20, 20, 20, 20, 20])
    gains = np.random.default_rng(0).normal(size=420)
    assert mean_of(gains, even).freedom == pytest.approx(6)
    assert mean_of(gains, uneven).freedom == pytest.approx(420**2 / (300**2 + 6 * 20**2) - 1)
    assert mean_of(gains, uneven).half_width(0.025) > 5 * mean_of(gains, uneven).error


@pytest.mark.parametrize(
    ("task", "words"),
    [(Task.REGRESSION, "use mae or rmse"), (Task.MULTICLASS, "set retraining.trainer to none")],
)
def test_a_metric_that_means_nothing_to_the_task_is_refused(task: Task, words: str) -> None:
    truth, champion, challenger = scores(1, 600, noise=(1, 1))
    with pytest.raises(MonitoringError, match=words):
        evaluate_challenger(truth, champion, challenger, Units(np.arange(600)), POLICY, task=task)


OBJECTION = Finding("segments", Status.OBJECTS, "region=north loses", 0.3, 0.1)
UNKNOWN = Finding("fairness", Status.NOT_KNOWN, "fairness is not checked: no column")
FINE = Finding("size", Status.PASSED, "the model has 10 bytes", 1.0, 10.0)


def test_a_guard_rail_that_objects_keeps_the_champion_beside_every_other_reason() -> None:
    better = compared(*scores(1, 2000, noise=(1.5, 0.7)))
    found = respect_guard_rails(better, [FINE, OBJECTION, UNKNOWN])
    assert (better.outcome, found.outcome) == (Outcome.PROMOTE, Outcome.KEEP_CHAMPION)
    assert found.reasons == ("region=north loses",)
    assert found.guard_rails == (FINE, OBJECTION, UNKNOWN)
    worse = compared(*scores(1, 2000, noise=(0.7, 1.5)))
    assert respect_guard_rails(worse, [OBJECTION]).reasons == (*worse.reasons, "region=north loses")


def test_what_is_not_known_is_on_record_and_holds_back_only_where_it_is_required() -> None:
    better = compared(*scores(1, 2000, noise=(1.5, 0.7)))
    found = respect_guard_rails(better, [UNKNOWN, FINE], required=["size"])
    assert (found.outcome, found.reasons) == (Outcome.PROMOTE, better.reasons)
    assert found.to_json()["guard_rails"][0]["status"] == "not_known"
    held_back = respect_guard_rails(better, [UNKNOWN, FINE], required=["fairness"])
    assert (held_back.outcome, held_back.reasons) == (Outcome.KEEP_CHAMPION, (UNKNOWN.reason,))


def test_the_tags_of_a_version_say_what_became_of_it_against_whom_and_by_how_much() -> None:
    found = compared(*scores(1, 2000, noise=(1.5, 0.7)))
    auc = found.comparisons[0]
    tags = version_tags(found, POLICY, against="7")
    assert tags == {
        "gate_outcome": "promote",
        "gate_reason": found.reasons[0],
        "gate_against": "7",
        "gate_metric": "roc_auc",
        "gate_gain": f"{auc.gain:+.4f}",
        "gate_interval": f"{auc.low:+.4f} to {auc.high:+.4f}",
    }
    truth, champion, challenger = (each[:0] for each in scores(1, 9, noise=(1, 1)))
    long = replace(compared(truth, champion, challenger), reasons=("x" * 9999,))
    nothing = version_tags(long, POLICY, against="7")
    assert "gate_gain" not in nothing
    assert len(nothing["gate_reason"]) == LONGEST_TAG


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
