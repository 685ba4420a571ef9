"""How restless the hourly errors of a model version are while nothing is wrong.

The limits of control charts rest on it: real errors come in bad days, so that hours differ by more than independent
rows would make them, and resemble the hours before them. The error of a row is a number: 1 for a wrong class, the
absolute residual of a predicted number, what the gain of a list lacks of 1. Add what a chart needs to know of ordinary
hours, or the error of another task, here. Keep charts out: they belong in evaluate.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

import numpy as np

from monitoring_pipeline.describe.binary_outcomes import SCORE_BINS, BinaryOutcomes
from monitoring_pipeline.describe.columns import FloatArray
from monitoring_pipeline.describe.multiclass_outcomes import MulticlassOutcomes
from monitoring_pipeline.describe.outcomes import HourlyOutcomes, OutcomeProfile
from monitoring_pipeline.describe.profiles import all_hours
from monitoring_pipeline.describe.ranking_outcomes import GAINS, RankingOutcomes
from monitoring_pipeline.describe.regression_outcomes import LOSSES, RegressionOutcomes
from monitoring_pipeline.stats.autocorrelation import autocorrelation_decay, variance_inflation

FEWEST_ROWS = 20
"""Labelled rows below which an hour has no error score: one error among a few rows is many standard deviations."""

FEWEST_HOURS = 48
"""Hours with a score below which nothing is said of their dispersion."""

ROUNDING = 1e-12
"""A variance below this share of the squared mean is what rounding leaves of none."""

LARGEST_FACTOR = 1000.0
"""No hour errs more than this many times as much as usual, or as little: one absurd hour must not hide the next day."""


@dataclass(frozen=True, slots=True)
class ErrorDispersion:
    """The mean error of a row, and how hourly errors scatter about it.

    rate: the mean. variance: of a row. relative: whether hours are compared by the logarithm of their mean error; then
    the rate is the geometric mean of the hours. dispersion: mean square of the hours' z-scores, 1 for independent rows.
    autocorrelation: of consecutive hours. persistence: the factor by which the autocorrelation falls with every further
    hour. hours: how many hours had a score.
    """

    rate: float
    variance: float
    relative: bool
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
        """Return the dispersion of a version's hours, or None where too few have labels or all rows err alike."""
        if not outcomes:
            return None
        errors, squares, rows = errors_by_hour(outcomes, all_hours(outcomes), fewest_rows=fewest_rows)
        scored = int((rows > 0).sum())
        if scored < FEWEST_HOURS:
            return None
        rate = float(errors.sum() / rows.sum())
        variance = float(squares.sum() / rows.sum()) - rate**2
        if variance <= ROUNDING * rate**2:
            return None
        # How large residuals are has no bound, and hours multiply it: their logarithms are near normal, they are not.
        relative = any(isinstance(outcome, RegressionOutcomes) for outcome in outcomes.values())
        plain = cls(rate, variance, relative, 1.0, 0.0, 0.0, scored)
        if relative:
            plain = replace(plain, rate=rate * float(np.exp(_logarithms(errors, rows, rate=rate)[rows > 0].mean())))
        scores = plain.scores(errors, rows)
        dispersion = float(np.square(scores[rows > 0]).mean())
        share, persistence = autocorrelation_decay(scores)
        return replace(plain, dispersion=dispersion, autocorrelation=share * persistence, persistence=persistence)

    def scores(self, errors: FloatArray, rows: FloatArray) -> FloatArray:
        """Return z-scores of hours: errors beyond those expected over their standard deviation; NaN without rows.

        Of independent rows their mean square is 1, of ordinary hours the dispersion.
        """
        known = np.where(rows > 0, rows, np.nan)
        deviation = np.sqrt(self.variance / known)
        if self.relative:
            return np.asarray(_logarithms(errors, rows, rate=self.rate) / deviation * self.rate)
        return np.asarray((errors / known - self.rate) / deviation)

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ErrorDispersion":
        return cls(**{entry.name: document[entry.name] for entry in fields(cls)})


def errors_of(outcome: OutcomeProfile) -> tuple[float, float, int]:
    """Return the sum of the rows' errors, of their squares, and the rows.

    Of classes, those that were served; of two classes without one, the score cut at one half.
    """
    match outcome:
        case RegressionOutcomes():
            absolute, squared = (float(outcome.losses[LOSSES.index(name), 0]) for name in ("absolute", "squared"))
            return absolute, squared, outcome.residual.rows
        case RankingOutcomes():
            gain, square = outcome.gains[GAINS.index("ndcg")].tolist()
            return outcome.answered - gain, outcome.answered - 2 * gain + square, outcome.answered
        case MulticlassOutcomes():
            rows = sum(sum(counts.values()) for counts in outcome.confusion.values())
            wrong = rows - sum(counts.get(name, 0) for name, counts in outcome.confusion.items())
        case BinaryOutcomes() if rows := int(outcome.confusion.sum()):
            wrong = rows - int(np.trace(outcome.confusion))
        case BinaryOutcomes():
            half = SCORE_BINS // 2
            rows, wrong = outcome.scored, int(outcome.positives[:half].sum() + outcome.negatives[half:].sum())
        case _:
            return 0, 0, 0
    return wrong, wrong, rows


def errors_by_hour(
    outcomes: HourlyOutcomes, hours: list[datetime], *, fewest_rows: int = FEWEST_ROWS
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return errors, their squares and rows by hour, all 0 where an hour has fewer rows than `fewest_rows`."""
    found = [errors_of(outcomes[hour]) if hour in outcomes else (0, 0, 0) for hour in hours]
    errors, squares, rows = np.array(found, dtype=np.float64).reshape(-1, 3).T
    enough = rows >= max(fewest_rows, 1)
    return np.where(enough, errors, 0.0), np.where(enough, squares, 0.0), np.where(enough, rows, 0.0)


def _logarithms(errors: FloatArray, rows: FloatArray, *, rate: float) -> FloatArray:
    """Return the logarithm of each hour's mean error over `rate`, NaN without rows."""
    ratio = errors / np.where(rows > 0, rows * rate, np.nan)
    return np.asarray(np.log(np.clip(ratio, 1 / LARGEST_FACTOR, LARGEST_FACTOR)))
