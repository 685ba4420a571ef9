"""Outcome profiles: predictions joined to what came true, in counters that add up.

Add a counter here when it is additive and a performance metric needs it. Keep metrics out: they belong in evaluate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.describe.columns import ColumnKind, FloatArray, IntArray
from monitoring_pipeline.describe.kernel import floats_with_nan

SCORE_BINS = 500
"""Equal-width bins of the score on [0, 1]. AUC from them is off by at most half the share of tied pairs."""

CLIP = 1e-15
"""Scores are clipped to [CLIP, 1 - CLIP] before taking logarithms, as scikit-learn did before it used float eps."""


@dataclass(frozen=True, slots=True, eq=False)
class OutcomeProfile:
    """Counters of the labelled predictions of a binary classifier; all of them add.

    positives, negatives, score_sums: by score bin, shape (SCORE_BINS,). confusion: [actual][predicted], shape (2, 2).
    scored: labelled rows with a usable score. losses: sums of log loss, its square, Brier score, its square.
    unusable: labels given that are neither 0 nor 1. known_at: latest moment a label became known, in microseconds since
    1970.
    """

    rows: int
    labelled: int
    scored: int
    unusable: int
    positives: IntArray
    negatives: IntArray
    score_sums: FloatArray
    confusion: IntArray
    losses: FloatArray
    known_at: int = 0

    @classmethod
    def empty(cls) -> "OutcomeProfile":
        """Return the profile of no rows, the identity of `merge`."""
        bins = np.zeros(SCORE_BINS, np.int64)
        return cls(0, 0, 0, 0, bins, bins, np.zeros(SCORE_BINS), np.zeros((2, 2), np.int64), np.zeros(4))

    @classmethod
    def of(cls, joined: pa.Table, *, score: str | None, prediction: str | None) -> "OutcomeProfile":
        """Return the profile of predictions with columns `actual` and `labelled_at` (`capture.labels.join_labels`)."""
        actual = _floats(joined["actual"])
        given = joined.num_rows - int(pc.sum(pc.is_null(joined["actual"], nan_is_null=True)).as_py() or 0)
        usable = (actual == 0) | (actual == 1)
        truth = actual[usable].astype(np.int64)
        confusion = np.zeros((2, 2), np.int64)
        if prediction is not None:
            served = _floats(joined[prediction])[usable]
            decided = (served == 0) | (served == 1)
            np.add.at(confusion, (truth[decided], served[decided].astype(np.int64)), 1)
        scores = _floats(joined[score])[usable] if score is not None else np.full(len(truth), np.nan)
        valid = (scores >= 0) & (scores <= 1)
        times = joined["labelled_at"].drop_null().cast(pa.int64()).to_numpy()
        return cls(
            joined.num_rows,
            int(usable.sum()),
            int(valid.sum()),
            given - int(usable.sum()),
            *_score_counters(scores[valid], truth[valid]),
            confusion=confusion,
            losses=_loss_sums(scores[valid], truth[valid]),
            known_at=int(times.max()) if len(times) else 0,
        )

    def merge(self, other: "OutcomeProfile") -> "OutcomeProfile":
        """Return the profile of both batches: counts exactly, sums up to floating-point rounding."""
        added = {
            entry.name: getattr(self, entry.name) + getattr(other, entry.name)
            for entry in fields(self)
            if entry.name != "known_at"
        }
        return OutcomeProfile(**added, known_at=max(self.known_at, other.known_at))

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        document = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in document.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "OutcomeProfile":
        empty = cls.empty()
        values: dict[str, Any] = {}
        for entry in fields(cls):
            blank = getattr(empty, entry.name)
            given = document[entry.name]
            is_array = isinstance(blank, np.ndarray)
            values[entry.name] = np.asarray(given, dtype=blank.dtype).reshape(blank.shape) if is_array else int(given)
        return cls(**values)


HourlyOutcomes = Mapping[datetime, OutcomeProfile]
"""Outcome profiles of one version by the start of their hour."""


def _floats(column: pa.ChunkedArray) -> FloatArray:
    return floats_with_nan(column, ColumnKind.NUMERIC)


def _score_counters(scores: FloatArray, truth: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    # Sorted first, so that the sums do not depend on the order of the rows.
    order = np.lexsort((truth, scores))
    scores, truth = scores[order], truth[order]
    place = np.minimum((scores * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
    positives, negatives = (np.bincount(place[truth == value], minlength=SCORE_BINS) for value in (1, 0))
    sums = np.bincount(place, weights=scores, minlength=SCORE_BINS)
    return positives.astype(np.int64), negatives.astype(np.int64), np.asarray(sums, dtype=np.float64)


def _loss_sums(scores: FloatArray, truth: IntArray) -> FloatArray:
    clipped = np.clip(scores, CLIP, 1 - CLIP)
    log_loss = np.sort(-np.log(np.where(truth == 1, clipped, 1 - clipped)))
    brier = np.sort(np.square(scores - truth))
    return np.array([log_loss.sum(), np.square(log_loss).sum(), brier.sum(), np.square(brier).sum()])
