"""Classification metrics from additive counters: a confusion matrix, or counts per score bin and class.

Add a metric here when it follows from counters that add up over hours. Keep metrics that need the rows out, they
belong in scikit-learn. A metric whose formula divides by zero is NaN.

Score histograms have shape (..., bins), bins in ascending order of the score, one histogram per class. Rows of one bin
count as tied.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitoring_pipeline.stats.intervals import Interval, normal_quantile, wilson_interval


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[np.float64]:
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    return np.asarray(top / np.where(bottom == 0, np.nan, bottom))


def accuracy(correct: ArrayLike, rows: ArrayLike) -> NDArray[np.float64]:
    """Share of the rows predicted right, 0 to 1.

    Examples
    --------
    >>> float(accuracy(3, 4))
    0.75
    """
    return _ratio(correct, rows)


def precision(true_positives: ArrayLike, false_positives: ArrayLike) -> NDArray[np.float64]:
    """Share of the predicted positives that are positive, 0 to 1.

    Examples
    --------
    >>> float(precision(3, 1))
    0.75
    """
    return _ratio(true_positives, np.asarray(true_positives) + false_positives)


def recall(true_positives: ArrayLike, false_negatives: ArrayLike) -> NDArray[np.float64]:
    """Share of the positives that were predicted positive, 0 to 1.

    Examples
    --------
    >>> float(recall(3, 1))
    0.75
    """
    return _ratio(true_positives, np.asarray(true_positives) + false_negatives)


def f1_score(true_positives: ArrayLike, false_positives: ArrayLike, false_negatives: ArrayLike) -> NDArray[np.float64]:
    """Harmonic mean of precision and recall, 0 to 1.

    Defined, and 0, when precision or recall divides by zero but a row is positive in truth or in prediction.

    Examples
    --------
    >>> float(f1_score(3, 1, 1))
    0.75
    """
    twice = 2 * np.asarray(true_positives, dtype=np.float64)
    return _ratio(twice, twice + np.asarray(false_positives) + np.asarray(false_negatives))


def _below(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows in lower bins plus half of those in the same bin: what a row of each bin beats."""
    return np.asarray(counts.cumsum(axis=-1) - counts / 2)


def roc_auc_from_histograms(positive_counts: ArrayLike, negative_counts: ArrayLike) -> NDArray[np.float64]:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Parameters
    ----------
    positive_counts, negative_counts : shapes (..., bins), rows per score bin.

    Returns
    -------
    Shape (...), 0 to 1, 0.5 for a coin. NaN where a class has no rows. Within `roc_auc_error_bound` of the exact value.

    References
    ----------
    Hanley and McNeil (1982), The meaning and use of the area under a receiver operating characteristic curve.

    Examples
    --------
    Of 4 pairs one is lost and one tied:

    >>> float(roc_auc_from_histograms([1, 1, 0], [0, 1, 1]) * 4)
    0.5
    """
    positives, negatives = np.asarray(positive_counts, np.float64), np.asarray(negative_counts, np.float64)
    won = (positives * _below(negatives)).sum(axis=-1)
    return _ratio(won, positives.sum(axis=-1) * negatives.sum(axis=-1))


def roc_auc_error_bound(positive_counts: ArrayLike, negative_counts: ArrayLike) -> NDArray[np.float64]:
    """How far, either way, the exact area under the ROC curve can lie from the one of the bins.

    Parameters and shapes are those of `roc_auc_from_histograms`.

    Notes
    -----
    Each pair within a bin counts half and may truly count 0 or 1: half of sum(p * n) / (P * N).

    Examples
    --------
    >>> float(roc_auc_error_bound([1, 1, 0], [0, 1, 1]))
    0.125
    """
    positives, negatives = np.asarray(positive_counts, np.float64), np.asarray(negative_counts, np.float64)
    return _ratio((positives * negatives).sum(axis=-1) / 2, positives.sum(axis=-1) * negatives.sum(axis=-1))


def _spread(placements: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of the mean placement of a class; NaN below 2 rows."""
    rows = counts.sum(axis=-1)
    mean = _ratio((counts * placements).sum(axis=-1), rows)
    squares = (counts * (placements - mean[..., None]) ** 2).sum(axis=-1)
    return _ratio(squares, rows * (rows - 1))


def roc_auc_interval(positive_counts: ArrayLike, negative_counts: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Confidence interval of the area under the ROC curve.

    Parameters
    ----------
    positive_counts, negative_counts : shapes (..., bins), rows per score bin.
    confidence : 0 to 1.

    Returns
    -------
    Low and high, shape (...), 0 to 1. NaN where a class has no rows.

    Notes
    -----
    DeLong's variance on the logit scale, for independent rows. Where that variance is zero or undefined (perfect
    separation, one row in a class) it is Wilson's interval with as many trials as the smaller class has rows: the
    variance of an AUC is at most A (1 - A) / min(P, N). Simulated at 95 % it covers 95 to 99 % with 5 to 50 rows in
    both classes, but 90 % with 20 positives among 1,000 rows at an area of .92, and 93 % with 50.

    References
    ----------
    DeLong, DeLong and Clarke-Pearson (1988), Comparing the areas under two or more correlated receiver operating
    characteristic curves; Birnbaum and Klose (1957), Bounds for the variance of the Mann-Whitney statistic.

    Examples
    --------
    >>> low, high = roc_auc_interval([0, 10], [10, 0])
    >>> round(float(low), 4), float(high)
    (0.7225, 1.0)
    """
    positives, negatives = np.broadcast_arrays(
        np.asarray(positive_counts, np.float64), np.asarray(negative_counts, np.float64)
    )
    area = roc_auc_from_histograms(positives, negatives)
    rows = positives.sum(axis=-1), negatives.sum(axis=-1)
    # The share of the other class each row beats; DeLong takes the share it loses to, which varies as much.
    by_positives = _ratio(_below(negatives), rows[1][..., None])
    by_negatives = _ratio(_below(positives), rows[0][..., None])
    variance = _spread(by_positives, positives) + _spread(by_negatives, negatives)

    usable = (variance > 0) & (area > 0) & (area < 1)
    inner, width = np.where(usable, area, 0.5), np.where(usable, variance, 0.0)
    half = normal_quantile(confidence) * np.sqrt(width) / (inner * (1 - inner))
    odds = inner / (1 - inner)
    smaller = np.minimum(*rows)
    low, high = wilson_interval(area * smaller, smaller, confidence=confidence)
    low = np.where(usable, odds / (odds + np.exp(half)), low)
    return low, np.where(usable, odds / (odds + np.exp(-half)), high)


def average_precision_from_histograms(positive_counts: ArrayLike, negative_counts: ArrayLike) -> NDArray[np.float64]:
    """Average precision: the area under the precision-recall curve, as a step function.

    Parameters
    ----------
    positive_counts, negative_counts : shapes (..., bins), rows per score bin.

    Returns
    -------
    Shape (...), 0 to 1; a coin gets the share of positives. NaN where there are no positives.

    Notes
    -----
    sum over bins from the highest down of (share of the positives in the bin) * (precision at that threshold), which is
    scikit-learn's definition with the bin as the score.

    Examples
    --------
    >>> round(float(average_precision_from_histograms([1, 1], [1, 0]) * 6), 12)
    5.0
    """
    positives = np.asarray(positive_counts, np.float64)[..., ::-1]
    negatives = np.asarray(negative_counts, np.float64)[..., ::-1]
    hits = positives.cumsum(axis=-1)
    selected = hits + negatives.cumsum(axis=-1)
    steps = positives * np.where(selected == 0, 0.0, _ratio(hits, selected))
    return _ratio(steps.sum(axis=-1), positives.sum(axis=-1))


def expected_calibration_error(
    counts: ArrayLike, positive_counts: ArrayLike, score_sums: ArrayLike
) -> NDArray[np.float64]:
    """Expected calibration error: the mean gap between score and observed frequency, 0 to 1.

    Parameters
    ----------
    counts, positive_counts, score_sums : shapes (..., bins): rows, positives and sum of the scores per score bin.

    Returns
    -------
    Shape (...), 0 (calibrated) to 1. NaN without rows.

    Notes
    -----
    sum over bins of rows / n * |positives / rows - mean score|. Noise alone adds up to 0.4 * sqrt(bins / n), so 10 to
    20 bins and a thousand rows at least.

    References
    ----------
    Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning, equation 3.

    Examples
    --------
    >>> float(expected_calibration_error([4, 4], [1, 3], [1.0, 2.0]))
    0.125
    """
    gaps = np.abs(np.asarray(positive_counts, np.float64) - np.asarray(score_sums, np.float64))
    return _ratio(gaps.sum(axis=-1), np.asarray(counts, np.float64).sum(axis=-1))


def calibration_error_interval(counts: ArrayLike, positive_counts: ArrayLike, score_sums: ArrayLike) -> Interval:
    """Return a 95 % interval of the expected calibration error that a calibrated model reaches from zero.

    Parameters
    ----------
    counts, positive_counts, score_sums : shapes (..., bins): rows, positives and sum of the scores per score bin.

    Returns
    -------
    Interval
        low, high: shapes (...). NaN without rows.

    Notes
    -----
    Noise alone makes a gap of sqrt(2 / pi) standard deviations in every bin. The low end takes off what a calibrated
    model shows on so many rows, and 1.96 standard deviations of that; the high end adds those of the gaps. The low end
    is conservative where gaps are large: there noise cancels.

    Examples
    --------
    Half of four rows came true, as their scores say; 1.96 times sqrt(4 * 0.5 * 0.5) rows is the most chance adds:

    >>> low, high = calibration_error_interval([4], [2], [2.0])
    >>> float(low), float(high)
    (0.0, 0.49)
    """
    rows = np.asarray(counts, np.float64)
    total = rows.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(rows > 0, np.asarray(score_sums, np.float64) / rows, 0.0)
        variance = rows * np.clip(mean * (1 - mean), 0.0, None)
        error = expected_calibration_error(counts, positive_counts, score_sums)
        noise = np.sqrt(2 / np.pi) * np.sqrt(variance).sum(axis=-1) / total
        spread = np.sqrt((1 - 2 / np.pi) * variance.sum(axis=-1)) / total
        high = error + 1.96 * np.sqrt(variance.sum(axis=-1)) / total
        return np.maximum(error - noise - 1.96 * spread, 0.0), np.minimum(high, 1.0)
