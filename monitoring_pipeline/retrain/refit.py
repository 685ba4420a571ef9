"""How a challenger is fitted: by a function of the user's, by refitting the champion's estimator, or by recalibrating.

Add a way of fitting to `fitter`. Keep which rows are fitted on out, and processes and registries too.
"""

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.retrain.training import TooFewRowsError, TrainingError

if TYPE_CHECKING:
    import pandas as pd

REFIT, RECALIBRATE = "refit", "recalibrate"

Fit = Callable[["pd.DataFrame"], Any]
"""Takes rows with the features and a column `actual`; returns a fitted classifier with `predict_proba`, or a regressor.
"""

FOLDS = 3


class TrainerError(TrainingError):
    """A trainer cannot be found, failed, took more than it may, or returned what is no model."""


def load_trainer(name: str) -> Callable[..., Any]:
    """Return the callable `package.module:function` names."""
    module_name, _, attribute = name.partition(":")
    try:
        trainer: Callable[..., Any] = getattr(import_module(module_name), attribute)
        if not callable(trainer):
            raise TypeError(f"it is a {type(trainer).__name__}")
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise TrainerError(
            f"trainer {name!r}: {error}. Name an importable function as package.module:function; the folder that "
            "holds the package must be on PYTHONPATH."
        ) from error
    return trainer


def fitter(trainer: str, *, features: Sequence[str], task: Task, balanced: bool, champion: Any = None) -> Fit:
    """Return what fits a challenger; `champion` is the fitted estimator that `refit` and `recalibrate` start from.

    With `balanced` every class weighs the same in total; a trainer is given that as `sample_weight`.
    """
    columns = list(features)
    if balanced and task is Task.REGRESSION:
        raise TrainerError("retraining.class_weight is balanced, and a regressor has no classes. Leave it out.")
    if trainer == RECALIBRATE and task is not Task.BINARY:
        raise TrainerError("retraining.trainer recalibrate maps scores of two classes; there are none. Choose refit.")
    if trainer in (REFIT, RECALIBRATE):
        start = _without_recalibration(champion)
        prepare = _refitted if trainer == REFIT else _recalibrated

        def fit(rows: "pd.DataFrame") -> Any:
            estimator = prepare(start)
            outcomes = rows["actual"] if task is Task.REGRESSION else rows["actual"].astype(np.int64)
            weights = {_weight_argument(estimator): balanced_weights(outcomes)} if balanced else {}
            return estimator.fit(rows[columns], outcomes, **weights)

        return fit
    function = load_trainer(trainer)
    if not balanced:
        return function
    parameters = inspect.signature(function).parameters.values()
    if not any(each.name == "sample_weight" or each.kind is each.VAR_KEYWORD for each in parameters):
        raise TrainerError(
            f"trainer {trainer!r} takes no sample_weight, which retraining.class_weight hands to it. Let it take one, "
            "or leave class_weight out."
        )
    return lambda rows: function(rows, sample_weight=balanced_weights(rows["actual"]))


def balanced_weights(outcomes: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return a weight for each row, of mean 1, so that every class weighs the same in total."""
    _, places, counts = np.unique(np.asarray(outcomes), return_inverse=True, return_counts=True)
    return np.asarray(len(places) / (len(counts) * counts[places]))


def _refitted(estimator: Any) -> Any:
    from sklearn.base import clone

    return clone(estimator)


def _recalibrated(estimator: Any) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    # Platt's map rises everywhere, so no two rows change places; isotonic steps would tie many.
    return CalibratedClassifierCV(FrozenEstimator(estimator), method="sigmoid")


def _without_recalibration(estimator: Any) -> Any:
    """Return what an earlier recalibration was put upon: a map of a map is fitted no better, and frozen never again."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    while isinstance(estimator, CalibratedClassifierCV) and isinstance(estimator.estimator, FrozenEstimator):
        estimator = estimator.estimator.estimator
    return estimator


def _weight_argument(estimator: Any) -> str:
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    prefix, last = "", estimator
    while isinstance(last, Pipeline):
        prefix, last = f"{prefix}{last.steps[-1][0]}__", last.steps[-1][1]
    if not has_fit_parameter(last, "sample_weight"):
        raise TrainerError(
            f"the champion's {type(last).__name__} takes no weights, which retraining.class_weight asks for. Leave it "
            "out, or name a trainer of your own."
        )
    return f"{prefix}sample_weight"


def scores_of(estimator: Any, rows: "pd.DataFrame", task: Task) -> npt.NDArray[np.float64]:
    """Return the probability of the positive class, or the value predicted, of each row; refuses what gives none."""
    regressor = task is Task.REGRESSION
    method, shape = ("predict", (len(rows),)) if regressor else ("predict_proba", (len(rows), 2))
    if isinstance(estimator, type) or not callable(getattr(estimator, method, None)):
        given = f"the class {estimator.__name__}" if isinstance(estimator, type) else f"a {type(estimator).__name__}"
        needed = "fitted regressor" if regressor else "fitted classifier with predict_proba"
        raise TrainerError(f"the trainer returned {given}, needed a {needed}.")
    found = np.asarray(getattr(estimator, method)(rows), dtype=np.float64)
    if found.shape != shape or not np.isfinite(found).all():
        raise TrainerError(
            f"{method} of the trained {type(estimator).__name__} gave {found.shape} values, "
            f"{int((~np.isfinite(found)).sum())} of them not finite; needed {shape}, all finite."
        )
    return found if regressor else found[:, 1]


def cross_fitted_scores(
    rows: "pd.DataFrame", fit: Fit, *, features: Sequence[str], task: Task = Task.BINARY, folds: int = FOLDS
) -> npt.NDArray[np.float64]:
    """Return an out-of-sample score, or predicted value, for every row.

    Each contiguous block is scored by a model fitted without it; `rows` are in the order of time. Scores of rows a
    model was fitted on would make the reference look better than serving ever can.
    """
    scores = np.empty(len(rows))
    for block in np.array_split(np.arange(len(rows)), folds):
        others = rows.iloc[np.setdiff1d(np.arange(len(rows)), block)]
        if task is Task.BINARY and others["actual"].nunique() < 2:
            raise TooFewRowsError(
                f"{len(rows)} training rows: without one of {folds} blocks in time one class is left, needed both. "
                "Wait for more labels, or widen retraining.training_window."
            )
        scores[block] = scores_of(fit(others), rows.iloc[block][list(features)], task)
    return scores
