"""Outcomes of a classifier with two classes, 0 and 1.

Add a counter here when it is additive and a metric of two classes needs it. Keep metrics out: they belong in evaluate.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa

from monitoring_pipeline.describe.columns import FloatArray, IntArray
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task, counts_of, numbers_of, sums_and_squares

SCORE_BINS = 500
"""Equal-width bins of the score on [0, 1]. AUC from them is off by at most half the share of tied pairs."""

CLIP = 1e-15
"""Scores are clipped to [CLIP, 1 - CLIP] before taking logarithms, as scikit-learn did before it used float eps."""


def _counts() -> IntArray:
    return np.zeros(SCORE_BINS, np.int64)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BinaryOutcomes(OutcomeProfile):
    """Counters of the predictions of a binary classifier.

    positive: labelled rows of class 1. positives, negatives, score_sums: of labelled rows by score bin, shape
    (SCORE_BINS,). scored: labelled rows with a usable score. confusion: [actual][predicted], shape (2, 2). losses: sums
    of log loss, its square, Brier score, its square. decided: all rows, labelled or not, by served class, shape (2,).
    served: those with a usable score by served class (0, 1, none) and score bin, shape (3, SCORE_BINS).
    """

    task: ClassVar[Task] = Task.BINARY

    positive: int = 0
    scored: int = 0
    positives: IntArray = field(default_factory=_counts)
    negatives: IntArray = field(default_factory=_counts)
    score_sums: FloatArray = field(default_factory=lambda: np.zeros(SCORE_BINS))
    confusion: IntArray = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    losses: FloatArray = field(default_factory=lambda: np.zeros(4))
    decided: IntArray = field(default_factory=lambda: np.zeros(2, np.int64))
    served: IntArray = field(default_factory=lambda: np.zeros((3, SCORE_BINS), np.int64))

    @classmethod
    def of(cls, joined: pa.Table, *, score: str | None, prediction: str | None) -> "BinaryOutcomes":
        """Return the profile of predictions with columns `actual` and `labelled_at` (`capture.labels.join_labels`)."""
        nothing = np.full(joined.num_rows, np.nan)
        actual = numbers_of(joined["actual"])
        scores = numbers_of(joined[score]) if score is not None else nothing
        classes = numbers_of(joined[prediction]) if prediction is not None else nothing
        usable, decided = (actual == 0) | (actual == 1), (classes == 0) | (classes == 1)
        valid = (scores >= 0) & (scores <= 1)
        confusion = np.zeros((2, 2), np.int64)
        both = usable & decided
        np.add.at(confusion, (actual[both].astype(np.int64), classes[both].astype(np.int64)), 1)
        served = np.zeros((3, SCORE_BINS), np.int64)
        shown = np.where(decided, classes, 2.0)[valid].astype(np.int64)
        np.add.at(served, (shown, score_bins(scores[valid])), 1)
        labelled = usable & valid
        truth = actual[labelled].astype(np.int64)
        positives, negatives, sums = _score_counters(scores[labelled], truth)
        return cls(
            **counts_of(joined, usable),
            positive=int((actual == 1).sum()),
            scored=int(labelled.sum()),
            positives=positives,
            negatives=negatives,
            score_sums=sums,
            confusion=confusion,
            losses=_loss_sums(scores[labelled], truth),
            decided=np.bincount(classes[decided].astype(np.int64), minlength=2),
            served=served,
        )


def score_bins(scores: FloatArray) -> IntArray:
    """Return the bin of each score on [0, 1], both ends inside."""
    return np.minimum((scores * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)


def _score_counters(scores: FloatArray, truth: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    # Sorted first, so that the sums do not depend on the order of the rows.
    order = np.lexsort((truth, scores))
    scores, truth = scores[order], truth[order]
    place = score_bins(scores)
    positives, negatives = (np.bincount(place[truth == value], minlength=SCORE_BINS) for value in (1, 0))
    sums = np.bincount(place, weights=scores, minlength=SCORE_BINS)
    return positives.astype(np.int64), negatives.astype(np.int64), np.asarray(sums, dtype=np.float64)


def _loss_sums(scores: FloatArray, truth: IntArray) -> FloatArray:
    clipped = np.clip(scores, CLIP, 1 - CLIP)
    log_loss = -np.log(np.where(truth == 1, clipped, 1 - clipped))
    return sums_and_squares(log_loss, np.square(scores - truth)).ravel()
