"""How restless the hourly error rate of a model version is while nothing is wrong.

The limits of control charts rest on it: real errors come in bad days, so that hours differ by more than a binomial
and resemble the hours before them. Add what a chart needs to know of ordinary hours here. Keep charts out: they belong
in evaluate.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.binary_outcomes import SCORE_BINS, BinaryOutcomes
from monitoring_pipeline.describe.columns import FloatArray
from monitoring_pipeline.describe.outcomes import HourlyOutcomes, OutcomeProfile
from monitoring_pipeline.stats.autocorrelation import autocorrelation_decay, variance_inflation

FEWEST_ROWS = 20
"""Labelled rows below which an hour has no error score: one error among a few rows is many standard deviations."""

FEWEST_HOURS = 48
"""Hours with a score below which nothing is said of their dispersion."""


@dataclass(frozen=True, slots=True)
class ErrorDispersion:
    """The error rate, and how hourly errors scatter about it.

    dispersion: mean square of the hours' binomial z-scores, 1 for independent rows. autocorrelation: of consecutive
    hours. persistence: the factor by which the autocorrelation falls with every further hour. hours: how many hours
    had a score.
    """

    rate: float
    dispersion: float
    autocorrelation: float
    persistence: float
    hours: int

    @property
    def share(self) -> float:
        """Share of the dispersion that lasts beyond its hour; the rest is noise."""
        return min(self.autocorrelation / self.persistence, 1.0) if self.persistence > 0 else 0.0

    def inflation(self, hours: float = math.inf) -> float:
        """How many rows of a stretch of `hours` tell as much as one independent row."""
        return max(self.dispersion * float(variance_inflation(self.share, self.persistence, hours=hours)), 1.0)

    @classmethod
    def of(cls, outcomes: HourlyOutcomes, *, fewest_rows: int = FEWEST_ROWS) -> "ErrorDispersion | None":
        """Return the dispersion of a version's hours, or None where too few have labels or none has an error."""
        if not outcomes:
            return None
        first = min(outcomes)
        hours = [first + step * HOUR for step in range(round((max(outcomes) - first) / HOUR) + 1)]
        errors, rows = errors_by_hour(outcomes, hours, fewest_rows=fewest_rows)
        scored = int((rows > 0).sum())
        if scored < FEWEST_HOURS or not 0 < errors.sum() < rows.sum():
            return None
        rate = float(errors.sum() / rows.sum())
        scores = error_scores(errors, rows, rate=rate)
        dispersion = float(np.nanmean(np.square(scores)))
        share, persistence = autocorrelation_decay(scores)
        return cls(rate, dispersion, share * persistence, persistence, scored)

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ErrorDispersion":
        numbers = {name: float(document[name]) for name in ("rate", "dispersion", "autocorrelation", "persistence")}
        return cls(**numbers, hours=int(document["hours"]))


def errors_of(outcome: OutcomeProfile) -> tuple[int, int]:
    """Return the wrong predictions and the rows they are among: of served classes, else of scores cut at one half."""
    if not isinstance(outcome, BinaryOutcomes):
        return 0, 0
    (tn, fp), (fn, tp) = outcome.confusion.tolist()
    if rows := tn + fp + fn + tp:
        return fp + fn, rows
    half = SCORE_BINS // 2
    return int(outcome.positives[:half].sum() + outcome.negatives[half:].sum()), outcome.scored


def errors_by_hour(
    outcomes: HourlyOutcomes, hours: list[datetime], *, fewest_rows: int = FEWEST_ROWS
) -> tuple[FloatArray, FloatArray]:
    """Return errors and rows by hour, both 0 where an hour is missing or has fewer rows than `fewest_rows`."""
    found = [errors_of(outcomes[hour]) if hour in outcomes else (0, 0) for hour in hours]
    errors, rows = np.array(found, dtype=np.float64).reshape(-1, 2).T
    enough = rows >= max(fewest_rows, 1)
    return np.where(enough, errors, 0.0), np.where(enough, rows, 0.0)


def error_scores(errors: FloatArray, rows: FloatArray, *, rate: float) -> FloatArray:
    """Return binomial z-scores: errors beyond those expected, over their standard deviation; NaN without rows."""
    expected = np.where(rows > 0, rows, np.nan) * rate
    return np.asarray((errors - expected) / np.sqrt(expected * (1 - rate)))
