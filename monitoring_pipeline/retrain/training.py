"""The training set of a challenger: labelled predictions, split in time into what is learnt from and judged on.

Add a way of choosing rows here. Keep where rows come from and what is wrong with them out: reasons to leave a row out
arrive with it. Fitting belongs in refit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import numpy as np
import pandas as pd

from monitoring_pipeline.capture.windows import hour_of
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import MonitoringError, TableError

NEARLY_ALL = 0.95
"""Of the labels that ever come; what the last twentieth would have said changes a comparison little."""

ENOUGH_TO_TIME = 100
"""Mature labels below which they do not tell how long labels take."""


class TrainingError(MonitoringError):
    """A challenger cannot be trained; the message says why, and the retraining ends with it."""


class TooFewRowsError(TrainingError):
    """There is not enough labelled traffic to train or to judge a challenger."""


class BrokenDataError(TrainingError):
    """The data are not to be learnt from: they are known to be wrong, or too few of their labels are there."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Which labelled predictions a challenger learns from and which it is judged on.

    The hold-out is the newest `holdout` of them and is never trained on; `window` reaches back from where it starts,
    without one everything counts. Rows from before `since` are not trained on. At most `max_rows` are, drawn at random.
    Labels older than `maturity` are as complete as they get; in both parts `min_coverage` of the rows must have one.
    """

    window: timedelta | None
    holdout: timedelta
    minimum_rows: int
    maturity: timedelta = timedelta(hours=24)
    min_coverage: float = 0.6
    max_rows: int | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """Rows to train on and rows to judge on, both from before `end`, with the digest of both.

    `left_out` counts the rows of the window that are in neither, by why; `available` are the training rows there were
    before any were drawn. `coverage` is the share of usable predictions that have a label.
    """

    training: pd.DataFrame
    holdout: pd.DataFrame
    digest: str
    end: datetime
    available: int
    coverage: float
    left_out: Mapping[str, int]


def split_training_set(
    labelled: pd.DataFrame,
    *,
    features: Sequence[str],
    time: str,
    as_of: datetime,
    plan: TrainingPlan,
    excluded: pd.Series | None = None,
    carried: Sequence[str] = (),
    older: pd.DataFrame | None = None,
    task: Task = Task.BINARY,
) -> TrainingSet:
    """Return the training set as of a moment from predictions (features, `time`, `actual`, `labelled_at`).

    `excluded` says of each row why it is left out, null where it is not. `older` rows (the same columns) are put before
    the window: what the champion's reference already knows. `carried` columns stay with the rows.
    """
    columns = [*features, time, "actual"]
    if labelled.empty:
        raise TooFewRowsError(
            f"training rows as of {as_of:%Y-%m-%d %H:%M}Z: no prediction was logged. See that the service logs them."
        )
    if missing := [name for name in (*columns, "labelled_at") if name not in labelled]:
        raise TableError.missing_columns("labelled predictions", missing, [str(name) for name in labelled])
    end, mature = _settled_end(labelled, time, as_of, plan.maturity, task)
    boundary = pd.Timestamp(end - plan.holdout)
    start = labelled[time].min() if plan.window is None else boundary - plan.window
    if plan.since is not None:
        start = max(start, min(pd.Timestamp(plan.since), boundary))
    window = labelled[(labelled[time] >= start) & (labelled[time] < pd.Timestamp(as_of))]
    why_not = pd.Series(None, window.index, object) if excluded is None else excluded[window.index].astype(object)
    broken = int((why_not.notna() & (window[time] < pd.Timestamp(end))).sum())
    why_not = why_not.mask(window[time] >= pd.Timestamp(end), "labels not due yet")
    sound = window[why_not.isna()]
    rows = _with_outcome(sound, task)
    unknown = int(sound["actual"].isna().sum())
    counts = {"no label": unknown, "label that means nothing": len(sound) - unknown - len(rows)}
    left_out = {str(why): int(count) for why, count in why_not.value_counts().items()}
    left_out |= {why: count for why, count in counts.items() if count}

    rows = rows[[*columns, *(name for name in carried if name in rows and name not in columns)]]
    recent, holdout = rows[rows[time] < boundary], rows[rows[time] >= boundary]
    served = {"training": int((sound[time] < boundary).sum()), "hold-out": int((sound[time] >= boundary).sum())}
    labels = {"training": len(recent), "hold-out": len(holdout)}
    if older is not None:
        before = recent[time].min() if len(recent) else boundary
        kept = _with_outcome(older[columns], task)
        recent = pd.concat([kept[kept[time] < before], recent])
    least = plan.min_coverage if mature else max(plan.min_coverage, NEARLY_ALL)
    for name, part, needed in (("training", recent, plan.minimum_rows), ("hold-out", holdout, 2)):
        where = f"{name} rows as of {as_of:%Y-%m-%d %H:%M}Z"
        _require_rows(part, needed, where, task, broken, left_out)
        if labels[name] < least * served[name]:
            why = "" if mature else f", as none is older than labels.maturity ({plan.maturity})"
            raise BrokenDataError(
                f"{where}: {labels[name] / served[name]:.0%} of {served[name]} predictions have a label, needed "
                f"{least:.0%}{why}: those that are there may not be like the others. See that labels arrive, or lower "
                "retraining.min_label_coverage if that share is usual."
            )
    recent = recent.sort_values(time, kind="stable").reset_index(drop=True)
    holdout = holdout.sort_values(time, kind="stable").reset_index(drop=True)
    available = len(recent)
    if plan.max_rows is not None and available > plan.max_rows:
        # Seeded by what there was to choose from: the same rows give the same sample, on any machine.
        seed = int(frame_digest([recent[columns]])[:16], 16)
        drawn = np.random.default_rng(seed).choice(available, plan.max_rows, replace=False)
        recent = recent.iloc[np.sort(drawn)].reset_index(drop=True)
    digest = frame_digest([recent[columns], holdout[columns]])
    return TrainingSet(recent, holdout, digest, end, available, len(rows) / len(sound), left_out)


def _require_rows(
    part: pd.DataFrame, needed: int, where: str, task: Task, broken: int, left_out: Mapping[str, int]
) -> None:
    different = part["actual"].nunique()
    if len(part) >= needed and different >= 2:
        return
    of, both = ("outcome(s)", "at least two") if task is Task.REGRESSION else ("class(es)", "both classes")
    words = ", ".join(f"{count} ({why})" for why, count in left_out.items())
    kind = BrokenDataError if broken and len(part) + broken >= needed else TooFewRowsError
    raise kind(
        f"{where}: {len(part)} rows of {different} {of}, needed {needed} of {both}"
        f"{f'; left out: {words}' if words else ''}. Wait for more labels, or widen retraining.training_window."
    )


def _settled_end(
    labelled: pd.DataFrame, time: str, as_of: datetime, maturity: timedelta, task: Task
) -> tuple[datetime, bool]:
    """Return the hour up to which nearly all labels are there that will ever be, and whether mature ones say so.

    Labels that come early may not be like the others, as frauds are reported before it is known what was none. So rows
    count from the age on at which nearly all labels of the slower kind of outcome have come, at most `maturity`. That
    looks at no row's own label: choosing among young rows by whether they have one would choose by outcome.
    """
    known = _with_outcome(labelled, task)
    old = known[known[time] <= pd.Timestamp(as_of - maturity)]
    mature = len(old) >= ENOUGH_TO_TIME
    known = old if mature else known
    outcomes = known["actual"].astype(np.float64)
    delays = (known["labelled_at"] - known[time]).groupby(outcomes > outcomes.mean())
    seconds = float(np.nanmax([0.0, *delays.quantile(NEARLY_ALL).dt.total_seconds()]))
    return hour_of(as_of - min(timedelta(seconds=seconds), maturity)), mature


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
