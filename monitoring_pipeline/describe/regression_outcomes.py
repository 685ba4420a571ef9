"""Outcomes of a model that predicts a number.

Add a counter here when it is additive and a metric of numbers needs it. Keep metrics out: they belong in evaluate.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from monitoring_pipeline.describe.columns import FloatArray
from monitoring_pipeline.describe.log_histogram import LARGEST, LogHistogram
from monitoring_pipeline.describe.loss_model import FOLDS, ExpectedLosses
from monitoring_pipeline.describe.moments import Moments
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task, counts_of, numbers_of, sums_and_squares

LOSSES = ("absolute", "squared", "percentage", "pinball")

SMALLEST_DIVISOR = np.finfo(np.float64).eps
"""What the percentage error divides by at least, as in scikit-learn."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RegressionOutcomes(OutcomeProfile):
    """Counters of predicted numbers; a residual is the actual number minus the predicted one.

    A label, or a prediction, that is not finite or beyond `LARGEST` means nothing: one such number would outweigh all
    others for ever. actual, prediction, residual: moments over the labelled rows with a usable prediction, those of
    the actual also weighted by the squared residual. residuals: how they are distributed. losses: sums of each of
    LOSSES and of its square, shape (4, 2). nonzero: rows behind the percentage error, whose actual is not 0. bounded,
    covered: labelled rows with both bounds, and those that lie within them. expected_rows: all rows with a usable
    prediction, labelled or not, where a loss model says what to expect of them; expected_losses: sums of their expected
    |error| and error^2 by each fold, shape (FOLDS, 2); expected_variances: sums of the variances of both, shape (2,).
    """

    task: ClassVar[Task] = Task.REGRESSION

    actual: Moments = field(default_factory=Moments)
    prediction: Moments = field(default_factory=Moments)
    residual: Moments = field(default_factory=Moments)
    residuals: LogHistogram = field(default_factory=LogHistogram)
    losses: FloatArray = field(default_factory=lambda: np.zeros((len(LOSSES), 2)))
    nonzero: int = 0
    bounded: int = 0
    covered: int = 0
    expected_rows: int = 0
    expected_losses: FloatArray = field(default_factory=lambda: np.zeros((FOLDS, 2)))
    expected_variances: FloatArray = field(default_factory=lambda: np.zeros(2))

    @classmethod
    def of(
        cls,
        joined: pa.Table,
        *,
        prediction: str | None,
        lower: str | None,
        upper: str | None,
        quantile: float = 0.5,
        expected: ExpectedLosses | None = None,
    ) -> "RegressionOutcomes":
        """Return the profile of predictions with columns `actual` and `labelled_at` (`capture.labels.join_labels`).

        `quantile` is that of the pinball loss; `expected` is what the loss model of the version says of the rows.
        """
        nothing = np.full(joined.num_rows, np.nan)
        actual = numbers_of(joined["actual"])
        served, low, high = (numbers_of(joined[name]) if name else nothing for name in (prediction, lower, upper))
        usable = np.abs(actual) <= LARGEST
        given = np.abs(served) <= LARGEST
        both = usable & given
        truth, predicted = actual[both], served[both]
        residual = truth - predicted
        size, nonzero = np.abs(residual), truth != 0
        losses = (
            size,
            np.square(residual),
            (size / np.maximum(np.abs(truth), SMALLEST_DIVISOR))[nonzero],
            np.maximum(quantile * residual, (quantile - 1) * residual),
        )
        bounded = usable & ~np.isnan(low) & ~np.isnan(high)
        foreseen: dict[str, Any] = {}
        if expected is not None:
            means, variances = (np.sort(each[..., given], axis=-1).sum(axis=-1) for each in expected)
            foreseen = {"expected_rows": int(given.sum()), "expected_losses": means, "expected_variances": variances}
        return cls(
            **counts_of(joined, usable),
            actual=Moments.of(truth, np.square(residual)),
            prediction=Moments.of(predicted),
            residual=Moments.of(residual),
            residuals=LogHistogram.of(residual),
            losses=sums_and_squares(*losses),
            nonzero=int(nonzero.sum()),
            bounded=int(bounded.sum()),
            covered=int((bounded & (low <= actual) & (actual <= high)).sum()),
            **foreseen,
        )
