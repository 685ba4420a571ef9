"""The training set of a challenger: recent labelled predictions, split in time, and its out-of-sample predictions.

Add a way of choosing training rows here. Keep models and registries out: a trainer arrives as a callable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import MonitoringError, TableError

Trainer = Callable[[pd.DataFrame], Any]
"""Takes rows with the features and a column `actual`; returns a fitted classifier with `predict_proba`, or a regressor.
"""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Which labelled predictions a challenger learns from and which it is judged on.

    The hold-out is the newest `holdout` of them and is never trained on; `window` reaches back from where it starts.
    """

    window: timedelta
    holdout: timedelta
    minimum_rows: int


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """Rows to train on and rows to judge on, with the digest of both."""

    training: pd.DataFrame
    holdout: pd.DataFrame
    digest: str


class TooFewRowsError(MonitoringError):
    """There is not enough labelled traffic to train or to judge a challenger."""


def split_training_set(
    labelled: pd.DataFrame,
    *,
    features: Sequence[str],
    time: str,
    as_of: datetime,
    plan: TrainingPlan,
    older: pd.DataFrame | None = None,
    task: Task = Task.BINARY,
) -> TrainingSet:
    """Return the training set as of a moment from labelled predictions (features, `time`, `actual`).

    `older` rows (the same columns) are put before the window: what the champion's reference already knows. Rows whose
    outcome means nothing to the task are left out.
    """
    columns = [*features, time, "actual"]
    if labelled.empty:
        raise TooFewRowsError(
            f"training rows as of {as_of:%Y-%m-%d %H:%M}Z: no prediction was logged. See that the service logs them."
        )
    if missing := [name for name in columns if name not in labelled]:
        raise TableError.missing_columns("labelled predictions", missing, [str(name) for name in labelled])
    rows = _with_outcome(labelled[columns], task)
    boundary = pd.Timestamp(as_of - plan.holdout)
    recent = rows[(rows[time] >= boundary - plan.window) & (rows[time] < boundary)]
    holdout = rows[(rows[time] >= boundary) & (rows[time] < pd.Timestamp(as_of))]
    if older is not None:
        before = recent[time].min() if len(recent) else boundary
        kept = _with_outcome(older[columns], task)
        recent = pd.concat([kept[kept[time] < before], recent])
    for name, part, needed in (("training", recent, plan.minimum_rows), ("hold-out", holdout, 2)):
        different = part["actual"].nunique()
        if len(part) < needed or different < 2:
            of, both = ("outcome(s)", "at least two") if task is Task.REGRESSION else ("class(es)", "both classes")
            raise TooFewRowsError(
                f"{name} rows as of {as_of:%Y-%m-%d %H:%M}Z: {len(part)} rows of {different} {of}, needed {needed} of "
                f"{both}. Wait for more labels, or widen retraining.training_window."
            )
    recent = recent.sort_values(time, kind="stable").reset_index(drop=True)
    holdout = holdout.sort_values(time, kind="stable").reset_index(drop=True)
    return TrainingSet(recent, holdout, frame_digest([recent, holdout]))


def _with_outcome(rows: pd.DataFrame, task: Task) -> pd.DataFrame:
    usable = rows["actual"].isin([0, 1])
    if task is Task.REGRESSION:
        rows = rows.assign(actual=pd.to_numeric(rows["actual"], errors="coerce"))
        usable = rows["actual"].abs() < np.inf
    return rows.loc[usable]


def frame_digest(frames: Sequence[pd.DataFrame]) -> str:
    """Return a digest of the content of tables, for lineage: their columns, their rows and where each table ends."""
    content = sha256()
    for frame in frames:
        content.update(repr((len(frame), [str(name) for name in frame.columns])).encode())
        content.update(np.ascontiguousarray(pd.util.hash_pandas_object(frame, index=False).to_numpy()).tobytes())
    return content.hexdigest()


def load_trainer(name: str) -> Trainer:
    """Return the callable `package.module:function` names."""
    module_name, _, attribute = name.partition(":")
    try:
        trainer: Trainer = getattr(import_module(module_name), attribute)
        if not callable(trainer):
            raise TypeError(f"it is a {type(trainer).__name__}")
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise MonitoringError(
            f"trainer {name!r}: {error}. Name an importable function as package.module:function; the folder that "
            "holds the package must be on PYTHONPATH."
        ) from error
    return trainer


def cross_fitted_scores(
    rows: pd.DataFrame, trainer: Trainer, *, features: Sequence[str], task: Task = Task.BINARY, folds: int = 3
) -> NDArray[np.float64]:
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
        estimator, left_out = trainer(others), rows.iloc[block][list(features)]
        regressor = task is Task.REGRESSION
        scores[block] = estimator.predict(left_out) if regressor else estimator.predict_proba(left_out)[:, 1]
    return scores
