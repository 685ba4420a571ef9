from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.shadow import (
    SO_FAR,
    Recommendation,
    ShadowPolicy,
    ShadowRows,
    recommend,
    shadow_coverage,
    shadow_drift,
    shadow_signals,
)
from monitoring_pipeline.evaluate.signals import TRAINING, Absence, Signal
from monitoring_pipeline.stats.paired import delong_paired
from monitoring_pipeline_tests.traffic import MODEL, START, by_metric, log_rows, reference

POLICY = ShadowPolicy(Task.BINARY, margin=0.02)
ERRORS = ShadowPolicy(Task.REGRESSION, "mae", margin=0.05)
PLACE: dict[str, Any] = {
    "model": MODEL,
    "version": "4",
    "baseline": "3",
    "window_start": START,
    "window_end": START + timedelta(days=1),
}


def classified(days: int, *, seed: int = 0, noise: tuple[float, float] = (0.5, 0.5), a_day: int = 480) -> ShadowRows:
    """Return rows whose true chance both versions know, each up to a noise of its own."""
    random, rows = np.random.default_rng(seed), days * a_day
    truth = random.normal(size=rows)
    actual = (random.random(rows) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    served, shadow = (1 / (1 + np.exp(-truth - random.normal(0, each, rows))) for each in noise)
    return ShadowRows(served, shadow, actual, np.arange(rows) * 24 // a_day)


def predicted(days: int, *, seed: int = 0, noise: tuple[float, float] = (1.0, 1.0), rain: float = 0.0) -> ShadowRows:
    """Return numbers both versions predict; on some days `rain` makes one of them err more."""
    random, rows = np.random.default_rng(seed), days * 240
    actual, hours = random.normal(50, 10, rows), np.arange(rows) // 10
    served, shadow = (actual + random.normal(0, each, rows) for each in noise)
    return ShadowRows(served, shadow + rain * (random.random(days) < 0.5)[hours // 24], actual, hours)


def signals(rows: ShadowRows, policy: ShadowPolicy = POLICY, **asked: Any) -> dict[str, Signal]:
    found = by_metric(shadow_signals(rows, policy, PLACE, **asked))
    return {name.removeprefix("shadow."): each for name, each in found.items()}


def test_two_scores_of_the_same_rows_are_compared_in_every_way() -> None:
    rows = classified(4)
    rows = replace(rows, shadow=np.clip(rows.shadow + 0.05, 0, 1))
    found = signals(rows)
    equal = (rows.served >= 0.5) == (rows.shadow >= 0.5)
    assert found["agreement"].value == equal.mean()
    low, high = found["agreement"].low, found["agreement"].high
    assert low is not None
    assert high is not None
    assert low < equal.mean() < high
    assert 0 < (found["kappa"].value or 0) < equal.mean()
    assert found["score_shift"].value == pytest.approx((rows.shadow - rows.served).mean())
    assert 0.03 < (found["score_shift"].low or 0) < 0.05
    assert found["score_shift"].baseline_value == pytest.approx(rows.served.mean())
    assert found["ks"].value == stats.ks_2samp(rows.served, rows.shadow).statistic
    assert found["rank_correlation"].value == pytest.approx(stats.spearmanr(rows.served, rows.shadow).statistic)
    assert 0.01 < (found["psi"].value or 0) < 0.3
    assert {(each.version, each.baseline, each.rows) for each in found.values()} == {("4", "3", 1920)}


def test_both_versions_are_measured_on_the_same_labelled_rows() -> None:
    rows = classified(4, noise=(1.5, 0.2))
    rows.actual[::3] = np.nan
    known = rows.where(np.isfinite(rows.actual))
    found = signals(rows)
    auc, loss = found["roc_auc_gain"], found["log_loss_gain"]
    assert auc.detail == pytest.approx(
        {"served": roc_auc_score(known.actual, known.served), "shadow": roc_auc_score(known.actual, known.shadow)}
    )
    expected = delong_paired(known.served, known.shadow, known.actual)
    assert auc.value == pytest.approx(expected.difference)
    # Rows that are independent vary by hours as much as DeLong says, up to chance.
    assert (auc.low, auc.high) == pytest.approx((expected.low, expected.high), abs=0.01)
    losses = [log_loss(known.actual, each) for each in (known.served, known.shadow)]
    assert (loss.value, loss.baseline_value) == pytest.approx((losses[0] - losses[1], losses[0]))
    assert (loss.low or 0) > 0
    assert auc.rows == loss.rows == len(known.actual)
    so_far = signals(rows, so_far=True)["roc_auc_gain"]
    assert so_far.span == SO_FAR
    assert (so_far.low or 0) < (auc.low or 0), "an interval that holds every day is wider than one that holds once"


@pytest.mark.parametrize(
    ("noise", "expected", "word"),
    [
        ((1.5, 0.2), Recommendation.BETTER, "the shadow is better: roc_auc 0."),
        ((0.2, 1.5), Recommendation.WORSE, "the shadow is worse: roc_auc 0."),
        ((0.9, 0.9), Recommendation.UNDECIDED, "more labelled rows"),
        ((0.05, 0.05), Recommendation.ALIKE, "one of 0.02 would most likely have shown"),
    ],
)
def test_what_labels_say_so_far_is_put_into_words(
    noise: tuple[float, float], expected: Recommendation, word: str
) -> None:
    found, why = recommend(classified(8, noise=noise), POLICY)
    assert found is expected
    assert word in why


def test_the_rows_still_needed_bring_the_information_that_was_planned() -> None:
    few = classified(7, noise=(1.2, 1.2))
    found, why = recommend(few, POLICY)
    assert found is Recommendation.UNDECIDED
    more = float(why.split("needs about ")[1].split()[0].replace(",", ""))
    days = round((more + len(few.actual)) / 480)
    assert recommend(classified(2 * days, seed=1, noise=(1.2, 1.2)), POLICY)[0] is not Recommendation.UNDECIDED
    assert recommend(classified(days // 3, seed=1, noise=(1.2, 1.2)), POLICY)[0] is Recommendation.UNDECIDED


def test_a_shadow_that_sorts_better_and_is_worse_calibrated_is_not_called_better() -> None:
    rows = classified(8, noise=(1.5, 0.2))
    found, why = recommend(replace(rows, shadow=rows.shadow**4), POLICY)
    assert found is Recommendation.UNDECIDED
    assert "better in one thing and worse in another: roc_auc" in why
    assert "log_loss" in why


def test_errors_are_compared_by_day_since_rows_of_a_day_err_together() -> None:
    assert recommend(predicted(14, noise=(2.0, 1.0)), ERRORS)[0] is Recommendation.BETTER
    assert recommend(predicted(14, noise=(1.0, 2.0)), ERRORS)[0] is Recommendation.WORSE
    rainy = predicted(8, rain=0.6)
    by_hour, by_day = (signals(rainy, ERRORS, so_far=each)["mae_gain"] for each in (False, True))
    assert by_hour.value == by_day.value
    assert (by_hour.high or 0) < 0, "240 rows a day look certain"
    assert recommend(rainy, ERRORS)[0] is Recommendation.UNDECIDED, "eight days are not"
    assert "mae" in by_hour.metric
    assert by_hour.unit == "target"


def test_what_is_too_little_to_compare_is_unknown_and_says_why() -> None:
    rows = classified(4)
    nothing = replace(rows, actual=np.full(len(rows.actual), np.nan))
    assert recommend(nothing, POLICY)[0] is Recommendation.UNKNOWN
    assert signals(nothing)["roc_auc_gain"].absence is Absence.NO_LABELS_YET
    assert recommend(rows.where(slice(99)), POLICY) == (
        Recommendation.UNKNOWN,
        "99 rows that both scored have their label, 100 needed",
    )
    assert signals(rows.where(slice(99)))["agreement"].absence is Absence.TOO_FEW_ROWS
    one_class = replace(rows, actual=np.zeros(len(rows.actual)))
    assert recommend(one_class, POLICY)[0] is Recommendation.UNKNOWN
    assert signals(one_class)["roc_auc_gain"].absence is Absence.UNDEFINED
    assert recommend(predicted(6), ERRORS) == (Recommendation.UNKNOWN, "6 days have labels, mae needs 7")
    empty = ShadowRows.concat([])
    assert {each.absence for each in signals(empty).values()} == {Absence.TOO_FEW_ROWS, Absence.NO_LABELS_YET}
    assert shadow_coverage(0, 0, PLACE).absence is Absence.EMPTY_HOUR


def test_a_shadow_that_says_what_is_served_is_alike_and_one_that_says_one_thing_has_no_rank() -> None:
    rows = classified(8)
    same = replace(rows, shadow=rows.served.copy())
    assert recommend(same, POLICY)[0] is Recommendation.ALIKE
    found = signals(same)
    assert [found[name].value for name in ("agreement", "kappa", "score_shift", "psi", "ks")] == [1, 1, 0, 0, 0]
    assert found["rank_correlation"].value == pytest.approx(1)
    constant = signals(replace(rows, shadow=np.full(len(rows.shadow), 0.3)))
    assert constant["rank_correlation"].absence is Absence.UNDEFINED


def test_a_shadow_is_held_against_the_scores_of_its_own_reference() -> None:
    own = reference(log_rows(20_000, seed=1))
    usual = np.random.default_rng(2).beta(2, 3, 5000)
    alike, shifted = (shadow_drift(said, own, "score", POLICY, PLACE) for said in (usual, usual**2))
    assert (alike.value or 1) < 0.02
    assert (shifted.value or 0) > 0.25
    assert (alike.column, alike.baseline, alike.version) == ("score", TRAINING, "4")
    assert shadow_drift(usual[:999], own, "score", POLICY, PLACE).absence is Absence.TOO_FEW_ROWS
    assert shadow_drift(usual, None, "score", POLICY, PLACE).absence is Absence.NO_REFERENCE
    assert shadow_drift(usual, own, "probability", POLICY, PLACE).absence is Absence.NO_REFERENCE


def test_the_share_of_rows_a_shadow_scored_is_that_of_all_rows_served() -> None:
    found = shadow_coverage(150, 600, PLACE)
    assert (found.value, found.rows) == (0.25, 600)
    assert (found.low or 1) < 0.25 < (found.high or 0)


def test_a_shadow_read_every_day_is_seldom_told_from_one_that_is_no_different() -> None:
    told = 0
    for seed in range(60):
        rows = classified(14, seed=seed, a_day=240)
        days = (recommend(rows.where(rows.hours < 24 * (day + 1)), POLICY)[0] for day in range(14))
        told += bool({Recommendation.BETTER, Recommendation.WORSE} & set(days))
    assert told <= stats.binom.ppf(0.999, 60, POLICY.alpha)
