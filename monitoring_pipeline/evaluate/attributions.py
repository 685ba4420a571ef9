"""Attribution drift: does a model lean on other features than it did on its reference rows.

Metrics, each of three ways to measure how much a feature matters: by how far the output moves when the feature's values
are shuffled (`attribution.importance`), by how much worse the loss gets (`attribution.loss_importance`), and by SHAP
values (`attribution.shap_importance`); a value is the feature's share of the total. Of each way also `change`, the
absolute change of a share; `rank_correlation`, Spearman's over the features; `ndcg`, how well the order of today's
importances ranks those of the reference; and `top_changes`, how many of the top features left the top. The intervals
of the last three end where noise in the importances alone explains the value. Add a comparison of importances to
`_compared`. Keep models out: only `serve` loads one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from scipy.special import stdtrit

from monitoring_pipeline.describe.columns import FloatArray
from monitoring_pipeline.evaluate.signals import Absence, Signal

WAYS: Mapping[str, str] = {"output": "attribution.", "loss": "attribution.loss_", "shap": "attribution.shap_"}
"""What is measured, and how the names of its metrics begin."""

COMPARED = ("rank_correlation", "ndcg", "top_changes")

DRAWS = 400
"""Of importances that differ by noise alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Importances:
    """How much each feature mattered on some rows, shape (features, repeats); repeats differ as samples would."""

    features: tuple[str, ...]
    values: FloatArray
    rows: int

    def shares(self) -> tuple[FloatArray, FloatArray]:
        """Return each feature's share of the total and its standard error, shapes (features,); NaN without a total.

        An importance below zero is noise around none.
        """
        means = np.maximum(self.values.mean(axis=1), 0.0)
        total = means.sum() if means.sum() > 0 else np.nan
        return means / total, self.values.std(axis=1, ddof=1) / total

    def to_json(self) -> dict[str, Any]:
        return {"features": list(self.features), "values": self.values.tolist(), "rows": self.rows}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Importances":
        values = np.asarray(document["values"], dtype=np.float64)
        return cls(tuple(document["features"]), values, int(document["rows"]))


Measured = Mapping[str, Importances] | str
"""Importances by what was measured, or in words why there are none."""


def attribution_signals(
    model: str,
    version: str,
    reference: Measured,
    current: Measured,
    *,
    start: datetime,
    end: datetime,
    ways: Sequence[str] = ("output", "loss"),
    top: int = 10,
    seed: int = 0,
) -> Iterator[Signal]:
    """Yield the attributions of rows of [start, end) against those of the reference rows, in each of the `ways`."""
    place: dict[str, Any] = {"model": model, "version": version, "window_start": start, "window_end": end}
    for way in ways:
        before, now = _usable(way, reference, "reference"), _usable(way, current, "sampled")
        for side in (before, now):
            if not isinstance(side, Importances):
                yield from (Signal(WAYS[way] + name, **place, absence=side[0], reason=side[1]) for name in COMPARED)
                break
        if isinstance(before, Importances) and isinstance(now, Importances):
            yield from _by_feature(WAYS[way], before, now, place)
            yield from _compared(WAYS[way], before, now, place, top, np.random.default_rng(seed))


def _usable(way: str, measured: Measured, which: str) -> Importances | tuple[Absence, str]:
    if isinstance(measured, str):
        return Absence.FAILED, f"importances on the {which} rows: {measured}"
    if way not in measured:
        return Absence.TOO_FEW_ROWS, f"too few labelled {which} rows"
    if not np.isfinite(measured[way].shares()[0]).all():
        return Absence.UNDEFINED, f"no feature matters to the model on the {which} rows"
    return measured[way]


def _by_feature(prefix: str, reference: Importances, current: Importances, place: dict[str, Any]) -> Iterator[Signal]:
    (shares_before, noise_before), (shares, noise) = reference.shares(), current.shares()
    width = float(stdtrit(current.values.shape[1] - 1, 0.975))
    for number, feature in enumerate(current.features):
        value, before = float(shares[number]), float(shares_before[number])
        half, change = width * float(noise[number]), abs(value - before)
        unsure = width * float(np.hypot(noise[number], noise_before[number]))
        at = place | {"column": feature, "rows": current.rows}
        low, high = max(value - half, 0.0), min(value + half, 1.0)
        yield Signal(f"{prefix}importance", **at, value=value, low=low, high=high, baseline_value=before)
        reason = f"{feature} has {value:.0%} of the importance, {before:.0%} at the reference"
        low, high = max(change - unsure, 0.0), min(change + unsure, 1.0)
        yield Signal(f"{prefix}change", **at, value=change, low=low, high=high, reason=reason)


def _compared(
    prefix: str,
    reference: Importances,
    current: Importances,
    place: dict[str, Any],
    top: int,
    rng: np.random.Generator,
) -> Iterator[Signal]:
    (before, noise_before), (now, noise_now) = reference.shares(), current.shares()
    # What the reference's own importances look like, measured twice with the noise of either side.
    drawn = [before + noise * rng.standard_normal((DRAWS, len(before))) for noise in (noise_before, noise_now)]
    at = place | {"rows": current.rows}
    for name, formula in (("rank_correlation", _rank_correlation), ("ndcg", _ndcg)):
        value, by_noise = float(formula(before, now)), formula(*drawn)
        if np.isfinite(value):
            high = min(value + 1 - float(np.nanquantile(by_noise, 0.025)), 1.0)
            p_value = float((1 + (by_noise <= value).sum()) / (1 + DRAWS))
            yield Signal(prefix + name, **at, value=value, low=value, high=high, p_value=p_value)
        else:
            reason = "there is one feature, or all matter alike"
            yield Signal(prefix + name, **at, absence=Absence.UNDEFINED, reason=reason)
    top = min(top, len(before))
    left = _in_top(before, top) & ~_in_top(now, top)
    entered = _in_top(now, top) & ~_in_top(before, top)
    lost = float(np.quantile((_in_top(drawn[0], top) & ~_in_top(drawn[1], top)).sum(axis=1), 0.975))
    detail: dict[str, object] = {
        "top": top,
        "left": [current.features[each] for each in np.flatnonzero(left)],
        "entered": [current.features[each] for each in np.flatnonzero(entered)],
    }
    value = float(left.sum())
    yield Signal(
        f"{prefix}top_changes",
        **at,
        value=value,
        low=max(value - lost, 0.0),
        high=value,
        unit="features",
        detail=detail,
    )


def _rank_correlation(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return Spearman's rank correlation over the last axis, NaN where one side has no order."""
    from scipy.stats import rankdata

    ranks = [rankdata(side, axis=-1) - (side.shape[-1] + 1) / 2 for side in (first, second)]
    size = np.sqrt(np.square(ranks[0]).sum(axis=-1) * np.square(ranks[1]).sum(axis=-1))
    return np.asarray((ranks[0] * ranks[1]).sum(axis=-1) / np.where(size > 0, size, np.nan))


def _ndcg(relevance: FloatArray, scores: FloatArray) -> FloatArray:
    """Return the normalised discounted cumulative gain over the last axis, averaged over the orders of tied scores."""
    from scipy.stats import rankdata

    relevance = np.maximum(relevance, 0.0)
    passed = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, relevance.shape[-1] + 2)))])
    first, last = (rankdata(-scores, method=which, axis=-1).astype(np.int64) for which in ("min", "max"))
    gain = (relevance * (passed[last] - passed[first - 1]) / (last - first + 1)).sum(axis=-1)
    best = (-np.sort(-relevance, axis=-1) * np.diff(passed)).sum(axis=-1)
    return np.asarray(gain / np.where(best > 0, best, np.nan))


def _in_top(values: FloatArray, top: int) -> Any:
    """Return which features are among the first `top`, of equal ones those named first."""
    return np.argsort(np.argsort(-values, axis=-1, kind="stable"), axis=-1) < top
