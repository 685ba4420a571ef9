"""What a classifier's performance is expected to be from its scores alone, before any label is known.

Add an estimate from histograms of scores here. Keep windows and labels out: they belong in evaluate.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitoring_pipeline.stats.classification import average_precision_from_histograms, roc_auc_from_histograms

FloatArray = NDArray[np.float64]


class ScoreCalibration(NamedTuple):
    """Probability of the positive class by score bin, and the bins that share one, with the rows it rests on.

    probability: shape (bins,). starts: first bin of each block of equal probability. rows: behind each block.
    """

    probability: FloatArray
    starts: NDArray[np.int64]
    rows: FloatArray


def isotonic_calibration(positives: ArrayLike, negatives: ArrayLike) -> ScoreCalibration:
    """Return how probable a positive is in each score bin, never falling with the score.

    Parameters
    ----------
    positives, negatives
        Labelled rows by score bin, shape (bins,).

    Returns
    -------
    ScoreCalibration
        Isotonic least squares on the shares of positives, weighted by rows; a bin without rows has the probability of
        the nearest block below it, or above where there is none. Without any row every probability is NaN.

    Notes
    -----
    Whatever a model's scores mean, as long as they rank: calibrated on the reference they become probabilities.

    References
    ----------
    Zadrozny and Elkan (2002), "Transforming classifier scores into accurate multiclass probability estimates",
    section 3.2.

    Examples
    --------
    >>> isotonic_calibration([0, 3, 1, 8], [4, 1, 3, 0]).probability.tolist()
    [0.0, 0.5, 0.5, 1.0]
    """
    from scipy.optimize import isotonic_regression

    hits, misses = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    rows = hits + misses
    (known,) = np.nonzero(rows)
    if not len(known):
        return ScoreCalibration(np.full(len(rows), np.nan), np.zeros(1, np.int64), np.zeros(1))
    fitted = isotonic_regression(hits[known] / rows[known], weights=rows[known]).x
    place = np.maximum(np.searchsorted(known, np.arange(len(rows)), side="right") - 1, 0)
    probability = np.asarray(fitted[place], np.float64)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(probability)) + 1])
    return ScoreCalibration(probability, starts, np.add.reduceat(rows, starts))


class Expected(NamedTuple):
    """A metric's expected value and the standard deviation of what labels will show, shape of the leading axes."""

    value: FloatArray
    std: FloatArray


def expected_metrics(served: ArrayLike, calibration: ScoreCalibration) -> dict[str, Expected]:
    """Return the expected metrics of rows whose labels are not known yet, by name.

    Parameters
    ----------
    served
        Rows by served class (0, 1, none) and by equal score bin on [0, 1], shape (..., 3, bins).
    calibration
        Of the same bins.

    Returns
    -------
    dict of str to Expected
        accuracy, precision, recall and f1 of the rows with a served class; roc_auc, average_precision (without a
        deviation), log_loss, brier and positive_rate of all. NaN where a formula divides by zero.

    Notes
    -----
    Every row is positive with its calibrated probability, independently of the others, and the probabilities are as
    uncertain as the reference rows make them; the deviations follow by the delta method. They know nothing of a change
    in what scores mean (concept drift), which no estimate without labels can see. Scores are taken at the middle of
    their bin.

    References
    ----------
    Guillory et al. (2021), "Predicting with confidence on unseen distributions"; Białek et al. (2024), "Estimating
    model performance under covariate shift without labels", for the expected confusion matrix.

    Examples
    --------
    Two rows that were served as positive are positive with probability 0.5 each:

    >>> certain = ScoreCalibration(np.array([0.0, 0.5]), np.array([0, 1]), np.array([np.inf, np.inf]))
    >>> found = expected_metrics([[0, 0], [0, 2], [0, 0]], certain)["accuracy"]
    >>> float(found.value), float(found.std)
    (0.5, 0.3535533905932738)
    """
    rows = np.asarray(served, np.float64)
    p = calibration.probability
    bins = rows.shape[-1]
    score = (np.arange(bins) + 0.5) / bins
    total = rows.sum(axis=-2)
    positives, negatives = total * p, total * (1 - p)
    with np.errstate(divide="ignore", invalid="ignore"):
        n, pos, neg = (part.sum(axis=-1) for part in (total, positives, negatives))
        shown0, shown1 = rows[..., 0, :].sum(axis=-1), rows[..., 1, :].sum(axis=-1)
        tp, fn = (rows[..., 1, :] * p).sum(axis=-1), (rows[..., 0, :] * p).sum(axis=-1)
        decided = shown0 + shown1
        tn = shown0 - fn
        actual = tp + fn
        accuracy, precision, recall = (tp + tn) / decided, tp / shown1, tp / actual
        f1 = 2 * tp / (shown1 + actual)
        area = roc_auc_from_histograms(positives, negatives)
        below = (np.cumsum(negatives, axis=-1) - negatives / 2) / neg[..., None]
        above = 1 - (np.cumsum(positives, axis=-1) - positives / 2) / pos[..., None]
        # What one more positive in a bin, in place of a negative, adds to each metric: by served class, and by bin.
        counts = np.stack([n, decided, shown1, actual, shown1 + actual])
        of_rows, of_decided, of_shown, of_actual, of_both = np.ones(bins) / counts[..., None]
        none = np.zeros(bins)
        ranked = (below - area[..., None]) / pos[..., None] - (above - area[..., None]) / neg[..., None]
        log_loss = -(positives * np.log(score) + negatives * np.log(1 - score)).sum(axis=-1) / n
        brier = (positives * (1 - score) ** 2 + negatives * score**2).sum(axis=-1) / n
        gains = {
            "accuracy": (accuracy, [-of_decided, of_decided, none]),
            "precision": (precision, [none, of_shown, none]),
            "recall": (recall, [-recall[..., None] * of_actual, (1 - recall[..., None]) * of_actual, none]),
            "f1": (f1, [-f1[..., None] * of_both, (2 - f1[..., None]) * of_both, none]),
            "roc_auc": (area, [ranked] * 3),
            "log_loss": (log_loss, [-np.log(score / (1 - score)) * of_rows] * 3),
            "brier": (brier, [(1 - 2 * score) * of_rows] * 3),
            "positive_rate": (pos / n, [of_rows] * 3),
        }
        found = {
            name: Expected(np.asarray(value), _deviation(rows, gain, calibration))
            for name, (value, gain) in gains.items()
        }
        found["average_precision"] = Expected(
            average_precision_from_histograms(positives, negatives), np.full(n.shape, np.nan)
        )
    return found


def _deviation(rows: FloatArray, gain: list[FloatArray], calibration: ScoreCalibration) -> FloatArray:
    p = calibration.probability
    change = np.stack([np.broadcast_to(part, rows.shape[:-2] + rows.shape[-1:]) for part in gain], axis=-2)
    change = np.where(rows > 0, change, 0.0)
    sampling = (rows * np.square(change)).sum(axis=-2) @ (p * (1 - p))
    # The rows of a block share its probability, and with it its error.
    blocks = np.add.reduceat((rows * change).sum(axis=-2), calibration.starts, axis=-1)
    shared = np.square(blocks) @ _uncertainty(calibration)
    return np.asarray(np.sqrt(sampling + shared))


def _uncertainty(calibration: ScoreCalibration) -> FloatArray:
    """Return the variance of each block's probability; of three positives in three rows it is not zero."""
    p, rows = calibration.probability[calibration.starts], calibration.rows
    with np.errstate(invalid="ignore"):
        share = np.where(np.isfinite(rows), (p * rows + 0.5) / (rows + 1), p)
    return np.asarray(share * (1 - share) / np.maximum(rows, 1))


def expected_accuracy_deviation(served: Sequence[tuple[ArrayLike, ScoreCalibration]], *, rows: int) -> float:
    """Return the standard deviation of the accuracy that labels will show, for any number of classes.

    Parameters
    ----------
    served
        For each class the rows served as it, by bin of its own probability, shape (bins,), and its calibration.
    rows
        All rows with a served class.

    Returns
    -------
    float
        From sampling and from the finite reference, as in `expected_metrics`.

    Examples
    --------
    >>> even = ScoreCalibration(np.array([0.5]), np.array([0]), np.array([np.inf]))
    >>> expected_accuracy_deviation([([4], even), ([0], even)], rows=4)
    0.25
    """
    variance = 0.0
    for counts, calibration in served:
        n, p = np.asarray(counts, np.float64), calibration.probability
        blocks = np.add.reduceat(n, calibration.starts)
        variance += float(n @ (p * (1 - p)) + np.square(blocks) @ _uncertainty(calibration))
    return float(np.sqrt(variance) / rows)
