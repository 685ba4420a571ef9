"""The back-test: whether the way challengers are trained would have beaten the champion before.

Add here what is judged over several folds in time. Keep the gate's own hold-out out: it belongs in gate.

The champion has seen the rows it was trained on, so only later ones are judged, and the first fold begins where there
are rows enough to train on before it. In each fold a model is fitted on the rows before it and compared with the
champion on the rows in it; the labels of the last rows before a fold count as known, although some of them came later.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.gains import (
    ERRORS,
    Comparison,
    FloatArray,
    GateMetric,
    compare,
    gains,
    mean_of,
    per_row,
    units_of,
)
from monitoring_pipeline.retrain.guard_rails import Finding, Status

if TYPE_CHECKING:
    import pandas as pd

    Score = Callable[[pd.DataFrame], FloatArray]


@dataclass(frozen=True, slots=True)
class Fold:
    """One span of time, how many rows were trained on before it, and what came of it."""

    start: datetime
    end: datetime
    trained_on: int
    rows: int
    comparison: Comparison

    def to_json(self) -> dict[str, Any]:
        place = {"start": self.start.isoformat(), "end": self.end.isoformat()}
        return place | {"trained_on": self.trained_on, "rows": self.rows} | self.comparison.to_json()


@dataclass(frozen=True, slots=True)
class BackTest:
    """The folds that could be judged, and what they say together."""

    metric: GateMetric
    folds: tuple[Fold, ...]
    finding: Finding

    def to_json(self) -> dict[str, Any]:
        return {"metric": self.metric, "folds": [fold.to_json() for fold in self.folds]}


@dataclass(frozen=True, slots=True)
class BackTestPolicy:
    """How many folds, of which metric, how much the mean gain may lie below zero, and on how many rows is trained.

    `largest_loss` is a share of the champion's error where the metric is one. `tail`: how often a way of training that
    is no worse may be objected to.
    """

    folds: int
    metric: GateMetric
    largest_loss: float
    tail: float
    minimum_rows: int
    confidence: float = 0.95
    task: Task = Task.BINARY


def back_test(
    rows: "pd.DataFrame",
    fit: "Callable[[pd.DataFrame], Score]",
    champion: "Score",
    *,
    time: str,
    since: datetime | None,
    policy: BackTestPolicy,
) -> BackTest:
    """Judge the way of training on labelled rows from before the hold-out (features, `time`, `actual`).

    `since` is the end of what the champion was trained on; without it nothing is known.
    """
    if since is None:
        return _not_known(policy, "when the champion's training ended is not on record (its tag trained_until)")
    ordered = rows.sort_values(time, kind="stable")
    if len(ordered) <= policy.minimum_rows:
        return _not_known(
            policy, f"{len(ordered)} rows, more than {policy.minimum_rows} needed to train before any fold"
        )
    first, last = max(since, ordered[time].iloc[policy.minimum_rows - 1]), ordered[time].iloc[-1]
    if first >= last:
        return _not_known(policy, f"no row is later than {since:%Y-%m-%d %H:%M}Z, when the champion's training ended")
    edges = [first + (last - first) * number / policy.folds for number in range(policy.folds + 1)]
    folds, parts = [], []
    for start, end in pairwise(edges):
        before, part = ordered[ordered[time] <= start], ordered[(ordered[time] > start) & (ordered[time] <= end)]
        if min(each["actual"].nunique() for each in (before, part)) < 2:
            continue
        truth = part["actual"].to_numpy(dtype=np.float64)
        scores = champion(part), fit(before)(part)
        times = np.asarray(part[time], dtype="datetime64[ns]")
        found = compare(policy.metric, truth, *scores, units_of(times), confidence=policy.confidence)
        if not np.isfinite(found.gain):
            continue
        folds.append(Fold(start, end, len(before), len(part), found))
        parts.append((times, *(per_row(policy.metric, truth, each) for each in scores)))
    if not folds:
        return _not_known(policy, f"none of {policy.folds} folds has outcomes that differ, in it and before it")
    times, champions, anew = (np.concatenate([part[place] for part in parts]) for place in range(3))
    gain = mean_of(gains(policy.metric, champions, anew), units_of(times).of_row)
    limit = policy.largest_loss * (float(champions.mean()) if policy.metric in ERRORS else 1.0)
    said = f"over {len(folds)} of {policy.folds} folds {policy.metric} gains {gain.value:+.4f} on average"
    if not np.isfinite(gain.half_width(policy.tail)):
        return _not_known(policy, "its folds are of a single hour")
    if gain.value < -limit and gain.value < -gain.half_width(policy.tail):
        finding = Finding("back_test", Status.OBJECTS, f"{said}; at least {-limit:+.4f} is wanted", gain.value, -limit)
    else:
        finding = Finding("back_test", Status.PASSED, said, gain.value, -limit)
    return BackTest(policy.metric, tuple(folds), finding)


def _not_known(policy: BackTestPolicy, why: str) -> BackTest:
    finding = Finding("back_test", Status.NOT_KNOWN, f"there is no back-test: {why}", limit=-policy.largest_loss)
    return BackTest(policy.metric, (), finding)
