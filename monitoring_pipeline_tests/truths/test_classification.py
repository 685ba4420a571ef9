"""Classification metrics from counters against scikit-learn on the rows."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn import metrics

from monitoring_pipeline.stats.classification import (
    accuracy,
    average_precision_from_histograms,
    expected_calibration_error,
    f1_score,
    precision,
    recall,
    roc_auc_error_bound,
    roc_auc_from_histograms,
    roc_auc_interval,
)
from monitoring_pipeline.stats.paired import delong_paired

BINS = 20


def scored(seed: int, rows: int = 400) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    labels = generator.random(rows) < 0.3
    return labels, np.clip(generator.normal(0.35 + 0.2 * labels, 0.15), 0, 0.999)


def histograms(labels: NDArray[np.bool_], bin_of: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.bincount(bin_of[labels], minlength=BINS), np.bincount(bin_of[~labels], minlength=BINS)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_a_confusion_matrix_agree_with_scikit_learn(seed: int) -> None:
    labels, scores = scored(seed)
    predicted = scores > 0.5
    (tn, fp), (fn, tp) = metrics.confusion_matrix(labels, predicted)
    assert float(accuracy(tp + tn, labels.size)) == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert float(precision(tp, fp)) == pytest.approx(metrics.precision_score(labels, predicted))
    assert float(recall(tp, fn)) == pytest.approx(metrics.recall_score(labels, predicted))
    assert float(f1_score(tp, fp, fn)) == pytest.approx(metrics.f1_score(labels, predicted))


def test_a_metric_that_divides_by_zero_is_missing_for_its_own_row_only() -> None:
    for value in (accuracy([0, 1], [0, 2]), precision([0, 1], [0, 1]), recall([0, 1], [0, 1])):
        assert np.isnan(value).tolist() == [True, False]
    assert np.isnan(f1_score([0, 1, 0], [0, 1, 1], [0, 0, 0])).tolist() == [True, False, False]
    assert float(f1_score(0, 1, 0)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_auc_and_average_precision_agree_with_scikit_learn_on_the_bins(seed: int) -> None:
    labels, scores = scored(seed)
    bin_of = (scores * BINS).astype(np.int64)
    counts = histograms(labels, bin_of)
    assert float(roc_auc_from_histograms(*counts)) == pytest.approx(metrics.roc_auc_score(labels, bin_of), abs=1e-12)
    assert float(average_precision_from_histograms(*counts)) == pytest.approx(
        metrics.average_precision_score(labels, bin_of), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_auc_of_the_rows_is_within_the_bound_of_the_auc_of_the_bins(seed: int) -> None:
    labels, scores = scored(seed)
    counts = histograms(labels, (scores * BINS).astype(np.int64))
    gap = abs(float(roc_auc_from_histograms(*counts)) - metrics.roc_auc_score(labels, scores))
    assert 0 < gap <= float(roc_auc_error_bound(*counts)) < 0.05


def test_the_auc_interval_has_delongs_variance_on_the_logit_scale() -> None:
    labels, scores = scored(1)
    bin_of = (scores * BINS).astype(np.int64)
    low, high = roc_auc_interval(*histograms(labels, bin_of))
    # Against scores without any information on other rows, DeLong's comparison of a model with a constant has the
    # variance of the model's own area: a constant ranks nothing, so its placements do not vary.
    alone = delong_paired(np.zeros(labels.size), bin_of, labels)
    error = (alone.high - alone.difference) / 1.959963984540054
    half = 1.959963984540054 * error / (alone.auc_second * (1 - alone.auc_second))
    centre = np.log(alone.auc_second / (1 - alone.auc_second))
    expected = 1 / (1 + np.exp(-np.array([centre - half, centre + half])))
    np.testing.assert_allclose([float(low), float(high)], expected, rtol=1e-9)


@pytest.mark.parametrize(("positives", "negatives", "shift"), [(10, 10, 1.0), (50, 50, 2.0), (100, 400, 1.0)])
def test_the_auc_interval_contains_the_true_area_as_often_as_promised(
    positives: int, negatives: int, shift: float
) -> None:
    generator, repetitions, fine = np.random.default_rng(positives), 2000, 400

    def binned(rows: int, mean: float) -> NDArray[np.int64]:
        bin_of = np.clip((generator.normal(mean, 1, (repetitions, rows)) + 4) * fine / 10, 0, fine - 1).astype(np.int64)
        flat = np.bincount((bin_of + fine * np.arange(repetitions)[:, None]).ravel(), minlength=repetitions * fine)
        return flat.reshape(repetitions, fine)

    low, high = roc_auc_interval(binned(positives, shift), binned(negatives, 0.0))
    truth = ndtr(shift / np.sqrt(2))
    assert 0.93 <= ((low <= truth) & (truth <= high)).mean() <= 0.99


def test_perfect_separation_and_a_single_row_of_a_class_leave_doubt() -> None:
    low, high = roc_auc_interval([[0, 5], [0, 1], [1, 0]], [[5, 0], [9, 0], [3, 3]])
    assert (low < [0.6, 0.21, 0.3]).all()
    assert (high[:2] == 1).all()
    assert 0 < high[2] < 1


def test_one_class_only_has_no_area_no_interval_and_no_bound() -> None:
    only_negative = [0, 0], [3, 4]
    assert np.isnan(roc_auc_from_histograms(*only_negative))
    assert np.isnan(roc_auc_error_bound(*only_negative))
    assert np.isnan(roc_auc_interval(*only_negative)).all()
    assert np.isnan(average_precision_from_histograms(*only_negative))


def test_leading_axes_are_hours_and_each_is_its_own() -> None:
    hours = [scored(seed) for seed in range(3)]
    counts = [histograms(labels, (scores * BINS).astype(np.int64)) for labels, scores in hours]
    positives, negatives = (np.stack([each[side] for each in counts]) for side in (0, 1))
    for function in (roc_auc_from_histograms, average_precision_from_histograms, roc_auc_error_bound):
        assert function(positives, negatives).tolist() == [float(function(*each)) for each in counts]
    low, high = roc_auc_interval(positives, negatives)
    assert list(zip(low, high, strict=True)) == [tuple(map(float, roc_auc_interval(*each))) for each in counts]


def test_calibration_error_agrees_with_the_gaps_of_scikit_learns_calibration_curve() -> None:
    from sklearn.calibration import calibration_curve

    labels, scores = scored(2, rows=2000)
    bin_of = (scores * BINS).astype(np.int64)
    counts = np.bincount(bin_of, minlength=BINS)
    frequency, mean_score = calibration_curve(labels, scores, n_bins=BINS)
    expected = np.average(np.abs(frequency - mean_score), weights=counts[counts > 0])
    ours = expected_calibration_error(
        counts, np.bincount(bin_of, labels, minlength=BINS), np.bincount(bin_of, scores, minlength=BINS)
    )
    assert float(ours) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(expected_calibration_error([0, 0], [0, 0], [0, 0]))
