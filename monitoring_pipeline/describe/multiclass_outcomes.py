"""Outcomes of a classifier with more than two classes, each known by its name.

Add a counter here when it is additive and a metric of several classes needs it. Keep metrics out: they belong in
evaluate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.describe.binary_outcomes import CLIP, SCORE_BINS, score_bins
from monitoring_pipeline.describe.columns import FloatArray, IntArray
from monitoring_pipeline.describe.kernel import category_names
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task, counts_of, numbers_of, sums_and_squares

SHOWN_BINS = 100
"""Bins of the probabilities by served class, of which there are as many as pairs of classes."""

CONFIDENCE_BINS = 20


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MulticlassOutcomes(OutcomeProfile):
    """Counters of the predictions of a classifier of several classes; what never occurred is not named.

    confusion: rows by actual and by predicted class. scored: labelled rows with a usable probability of every class.
    positives, negatives: of those, by class and by bin of its probability, shape (SCORE_BINS,): rows of the class and
    of the others. losses: sums of log loss, its square, Brier score, its square. confidence: rows, hits and sums of
    the largest probability by bin of it, shape (3, CONFIDENCE_BINS). shown: all rows with usable probabilities,
    labelled or not, by served class, class, and bin of its probability, shape (SHOWN_BINS,).
    """

    task: ClassVar[Task] = Task.MULTICLASS

    scored: int = 0
    confusion: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    positives: Mapping[str, IntArray] = field(default_factory=dict)
    negatives: Mapping[str, IntArray] = field(default_factory=dict)
    losses: FloatArray = field(default_factory=lambda: np.zeros(4))
    confidence: FloatArray = field(default_factory=lambda: np.zeros((3, CONFIDENCE_BINS)))
    shown: Mapping[str, Mapping[str, IntArray]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, joined: pa.Table, *, classes: Sequence[str], probabilities: Mapping[str, str], prediction: str | None
    ) -> "MulticlassOutcomes":
        """Return the profile of predictions with columns `actual` and `labelled_at`; other classes are unusable.

        `probabilities` names the column of every class; without all of them there are no scores. Without a column of
        the served class the most probable one counts as served.
        """
        actual = _places(joined["actual"], classes)
        usable = actual >= 0
        scores = np.full((joined.num_rows, len(classes)), np.nan)
        if set(classes) <= probabilities.keys():
            scores = np.stack([numbers_of(joined[probabilities[name]]) for name in classes], axis=-1)
        valid = ((scores >= 0) & (scores <= 1)).all(axis=-1)
        if prediction is not None:
            served = _places(joined[prediction], classes)
        else:
            served = np.where(valid, np.argmax(np.nan_to_num(scores), axis=-1), -1)
        both, labelled = usable & (served >= 0), usable & valid
        counts = np.zeros((len(classes), len(classes)), np.int64)
        np.add.at(counts, (actual[both], served[both]), 1)
        probable, truth = scores[labelled], actual[labelled]
        place = score_bins(probable)
        hit = truth[:, None] == np.arange(len(classes))
        by_bin = [
            {name: _counted(place[chosen[:, at], at], SCORE_BINS) for at, name in enumerate(classes) if len(truth)}
            for chosen in (hit, ~hit)
        ]
        return cls(
            **counts_of(joined, usable),
            scored=int(labelled.sum()),
            confusion={
                name: {each: int(counts[i, j]) for j, each in enumerate(classes) if counts[i, j]}
                for i, name in enumerate(classes)
                if counts[i].any()
            },
            positives=by_bin[0],
            negatives=by_bin[1],
            losses=_loss_sums(probable, hit),
            confidence=_confidence(probable, truth),
            shown=_shown(scores[valid], served[valid], classes),
        )


def _places(column: pa.ChunkedArray, classes: Sequence[str]) -> IntArray:
    """Return the place of each row's class, -1 where it is missing or none of them."""
    found = pc.index_in(category_names(column), value_set=pa.array(classes, pa.string()))
    return np.asarray(pc.fill_null(found, -1).to_numpy(), dtype=np.int64)


def _counted(places: IntArray, size: int) -> IntArray:
    return np.bincount(places, minlength=size).astype(np.int64)


def _loss_sums(scores: FloatArray, hit: FloatArray) -> FloatArray:
    if not len(scores):
        return np.zeros(4)
    return sums_and_squares(-np.log(np.clip(scores[hit], CLIP, 1.0)), np.square(scores - hit).sum(axis=-1)).ravel()


def _confidence(scores: FloatArray, truth: IntArray) -> FloatArray:
    if not len(scores):
        return np.zeros((3, CONFIDENCE_BINS))
    best = scores.argmax(axis=-1)
    largest = scores[np.arange(len(best)), best]
    order = np.argsort(largest)
    place = np.minimum((largest * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)[order]
    weights = (None, (best == truth)[order], largest[order])
    return np.stack([np.bincount(place, each, minlength=CONFIDENCE_BINS) for each in weights]).astype(np.float64)


def _shown(scores: FloatArray, served: IntArray, classes: Sequence[str]) -> dict[str, dict[str, IntArray]]:
    place = np.minimum((scores * SHOWN_BINS).astype(np.int64), SHOWN_BINS - 1)
    return {
        name: {each: _counted(place[served == i, j], SHOWN_BINS) for j, each in enumerate(classes)}
        for i, name in enumerate(classes)
        if (served == i).any()
    }
