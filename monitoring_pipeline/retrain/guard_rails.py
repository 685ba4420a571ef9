"""Guard-rails: what a challenger must not be worse at, however much better it is on the whole.

Add a guard-rail as a function that returns a `Finding`, and its name to `RAILS`. Keep the comparison as a whole out: it
belongs in gate.

A guard-rail objects when the harm is beyond its limit and is no chance: of two equal models, `1 - confidence` of all
comparisons meet any objection at all. That share is divided evenly between the guard-rails that take a sample, and
within one between everything it looks at, so that many small segments do not find what is not there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from monitoring_pipeline.describe.groups import AND, Grouping, attributes_of
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.gains import FEWEST_DAYS, FloatArray, IntArray, Units, known, log_losses, mean_of

if TYPE_CHECKING:
    import pandas as pd

RAILS = ("segments", "fairness", "calibration", "latency", "size", "back_test")
SAMPLED = ("segments", "fairness", "calibration", "back_test")
"""Those whose finding is a matter of chance."""

CALIBRATION_ROWS, CALIBRATION_BINS = 500, 10

ROUNDS, ROWS_AT_ONCE = 15, 100
"""How often both models are timed, and on how many rows: a service scores few at a time."""

ROW = "(row)"
SHOWN = 5
"""Names in a sentence."""


class Status(StrEnum):
    """What a guard-rail has to say."""

    PASSED = "passed"
    OBJECTS = "objects"
    NOT_KNOWN = "not_known"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one guard-rail found, against its limit, in a sentence."""

    rail: str
    status: Status
    reason: str
    found: float | None = None
    limit: float | None = None

    def to_json(self) -> dict[str, Any]:
        numbers = {"found": known(self.found), "limit": known(self.limit)}
        return {"rail": self.rail, "status": self.status.value, "reason": self.reason, **numbers}


@dataclass(frozen=True, slots=True)
class RailPolicy:
    """The limits, None for a guard-rail nobody asks for, and which of them must be known.

    segments: by which share of the champion's loss that of a segment may grow. fairness: the smallest rate of a group
    over the largest, which may be lower only where the champion's is. calibration: by how much the calibration error
    may grow; of regressors, as a share of the champion's error. latency, size: how many times that of the champion;
    size_bytes: the largest model there may be. A segment or group has at least `min_rows`.
    """

    segments: float | None = 0.1
    fairness: float | None = 0.8
    calibration: float | None = 0.02
    latency: float | None = 3.0
    size: float | None = 10.0
    size_bytes: int | None = None
    required: tuple[str, ...] = ()
    parts: Grouping = field(default_factory=Grouping)
    groups: Grouping = field(default_factory=Grouping)
    min_rows: int = 100
    confidence: float = 0.95

    @property
    def tail(self) -> float:
        """How often a single guard-rail may object to a model that is no worse."""
        return (1 - self.confidence) / len(SAMPLED)


@dataclass(frozen=True, slots=True, eq=False)
class HoldOut:
    """What both models said of the same labelled rows, and the columns that say which rows belong together."""

    truth: FloatArray
    champion: FloatArray
    challenger: FloatArray
    units: Units
    columns: pa.Table
    task: Task = Task.BINARY
    threshold: float = 0.5

    def losses(self, predicted: FloatArray) -> FloatArray:
        return log_losses(predicted, self.truth) if self.task is Task.BINARY else np.abs(predicted - self.truth)

    def enough(self, rows: IntArray, least: int) -> bool:
        """Whether rows are enough, and of enough days, to tell harm from chance."""
        return len(rows) >= least and len(np.unique(self.units.of_row[rows])) >= FEWEST_DAYS

    def missing(self, names: Sequence[str]) -> list[str]:
        """Return of which columns nothing can be known, in words."""
        return [
            f"{name}, which the hold-out has no column of" for name in names if name not in self.columns.column_names
        ]

    def members(self, grouping: Grouping) -> dict[tuple[str, ...], dict[str, IntArray]]:
        """Return the rows of every group, by the attributes it is of."""
        found: dict[tuple[str, ...], dict[str, IntArray]] = {}
        present = [name for name in grouping.attributes if name in self.columns.column_names]
        numbers = pa.array(np.arange(len(self.truth)))
        for name, part in grouping.split(self.columns.select(present).append_column(ROW, numbers)):
            found.setdefault(attributes_of(name), {})[name] = part[ROW].to_numpy()
        return found


def sampled_rails(held: HoldOut, policy: RailPolicy) -> list[Finding]:
    """Return what the guard-rails find that need nothing but the hold-out."""
    asked = {
        "segments": (policy.segments, segments),
        "fairness": (policy.fairness, fairness),
        "calibration": (policy.calibration, calibration),
    }
    if not np.isfinite([held.champion, held.challenger]).all():
        why = "is not checked: a prediction is no number"
        return [
            Finding(name, Status.NOT_KNOWN, f"{name} {why}", limit=limit)
            for name, (limit, _) in asked.items()
            if limit is not None
        ]
    return [check(held, policy, limit) for limit, check in asked.values() if limit is not None]


def segments(held: HoldOut, policy: RailPolicy, limit: float) -> Finding:
    """Object where the loss of a segment grows by more than a share of the champion's."""
    every = {name: rows for group in held.members(policy.parts).values() for name, rows in group.items()}
    large = {name: rows for name, rows in every.items() if held.enough(rows, policy.min_rows)}
    few = f"fewer than {policy.min_rows} rows or {FEWEST_DAYS} {held.units.name}s"
    unchecked = held.missing(policy.parts.attributes)
    unchecked += [f"{name}: {few}" for name in every if name not in large]
    if not large:
        why = _listed(unchecked) or "no column is named in segments.columns"
        return Finding("segments", Status.NOT_KNOWN, f"segments are not checked: {why}", limit=limit)
    first, second = held.losses(held.champion), held.losses(held.challenger)
    against, worst = [], ("", -np.inf)
    for name, rows in large.items():
        harm, before = mean_of((second - first)[rows], held.units.of_row[rows]), float(first[rows].mean())
        share = harm.value / before if before else np.inf if harm.value > 0 else 0.0
        worst = max(worst, (name, share), key=lambda each: each[1])
        if share > limit and harm.value > harm.half_width(policy.tail / len(large)):
            against.append(f"{name} by {share:.1%} ({before:.4f} -> {before + harm.value:.4f})")
    left_out = f"; not checked: {_listed(unchecked)}" if unchecked else ""
    if against:
        reason = f"the loss grows in {_listed(against)}, at most {limit:.1%} is allowed{left_out}"
        return Finding("segments", Status.OBJECTS, reason, worst[1], limit)
    grown = f"{worst[1]:+.1%} in {worst[0]}, the worst of {len(large)}"
    return Finding("segments", Status.PASSED, f"no segment is certainly worse: {grown}{left_out}", worst[1], limit)


class _Rates(NamedTuple):
    """Of the rows of each group a rate is of, which both models select; and the shares of them."""

    rows: Mapping[str, IntArray]
    champion: Mapping[str, float]
    challenger: Mapping[str, float]


def fairness(held: HoldOut, policy: RailPolicy, limit: float) -> Finding:
    """Object where two groups are treated more unequally than the limit, and than the champion treats any two."""
    names = policy.groups.attributes
    if held.task is not Task.BINARY or not names:
        why = "a regressor has no rates" if names else "no column is named in fairness.attributes"
        return Finding("fairness", Status.NOT_KNOWN, f"fairness is not checked: {why}", limit=limit)
    chosen = {"champion": held.champion >= held.threshold, "challenger": held.challenger >= held.threshold}
    sides = {
        "selection rate": np.ones(len(held.truth), bool),
        "true positive rate": held.truth == 1,
        "false positive rate": held.truth == 0,
    }
    compared, unchecked = [], held.missing(names)
    for attributes, groups in held.members(policy.groups).items():
        for rate, side in sides.items():
            own = {name: rows[side[rows]] for name, rows in groups.items()}
            large = {name: rows for name, rows in own.items() if held.enough(rows, policy.min_rows)}
            if len(large) < 2:
                few = f"fewer than two groups of {policy.min_rows} rows and {FEWEST_DAYS} {held.units.name}s"
                unchecked.append(f"{rate} by {AND.join(attributes)}: {few}")
                continue
            shares = [{name: float(chosen[model][rows].mean()) for name, rows in large.items()} for model in chosen]
            compared.append((f"{rate} of", _Rates(large, *shares)))
    left_out = f"; not checked: {_listed(unchecked)}" if unchecked else ""
    if not compared:
        return Finding("fairness", Status.NOT_KNOWN, f"fairness is not checked: {_listed(unchecked)}", limit=limit)
    pairs = sum(len(rates.rows) * (len(rates.rows) - 1) for _, rates in compared)
    against, worst = [], ("", np.inf)
    for what, rates in compared:
        least, most = (choose(rates.challenger, key=rates.challenger.__getitem__) for choose in (min, max))
        ratio, before = (_ratio(shares) for shares in (rates.challenger, rates.champion))
        said = f"the {what} {least} is {ratio:.2f} of that of {most}, {before:.2f} between groups with the champion"
        worst = min(worst, (said, ratio), key=lambda each: each[1])
        if ratio < min(limit, before) and _pair_is_worse(held, rates, (least, most), chosen, policy.tail / pairs):
            against.append(said)
    if against:
        reason = f"{_listed(against)}; at least {limit:.2f} is wanted{left_out}"
        return Finding("fairness", Status.OBJECTS, reason, worst[1], limit)
    return Finding("fairness", Status.PASSED, f"no certain loss of fairness: {worst[0]}{left_out}", worst[1], limit)


def _ratio(shares: Mapping[str, float]) -> float:
    most = max(shares.values())
    return min(shares.values()) / most if most else 1.0


def _pair_is_worse(
    held: HoldOut, rates: _Rates, pair: tuple[str, str], chosen: Mapping[str, npt.NDArray[np.bool_]], tail: float
) -> bool:
    """Whether the ratio of two rates certainly fell: of the log ratio, to first order, a number for each row."""
    parts, change, total = [], 0.0, sum(len(rates.rows[name]) for name in pair)
    for name, sign in zip(pair, (1, -1), strict=True):
        rows = rates.rows[name]
        part = np.zeros(len(rows))
        for model, way in (("challenger", sign), ("champion", -sign)):
            hits = chosen[model][rows]
            # Half a hit keeps the logarithm of none finite.
            share = (hits.sum() + 0.5) / (len(rows) + 1)
            change += way * np.log(share)
            part += way * (hits - hits.mean()) / share
        parts.append(part * total / len(rows))
    fall = mean_of(np.concatenate(parts), held.units.of_row[np.concatenate([rates.rows[name] for name in pair])])
    return bool(change < -fall.half_width(tail))


def calibration(held: HoldOut, policy: RailPolicy, limit: float) -> Finding:
    """Object where what the challenger says lies further from what comes true, over ranges of what it says."""
    rows = len(held.truth)
    if not held.enough(np.arange(rows), CALIBRATION_ROWS):
        units = f"{held.units.count} {held.units.name}s, {CALIBRATION_ROWS} and {FEWEST_DAYS} needed"
        reason = f"calibration is not checked: {rows} rows of {units}"
        return Finding("calibration", Status.NOT_KNOWN, reason, limit=limit)
    first, second = (_calibration_gaps(predicted, held.truth) for predicted in (held.champion, held.challenger))
    unit = 1.0 if held.task is Task.BINARY else float(held.losses(held.champion).mean()) or 1.0
    growth = mean_of(second - first, held.units.of_row)
    grown = growth.value / unit
    said = f"the calibration error goes from {first.mean():.4f} to {second.mean():.4f}"
    if grown > limit and growth.value > growth.half_width(policy.tail):
        reason = f"{said}, which is {grown:.4f} more; at most {limit:.4f} is allowed"
        return Finding("calibration", Status.OBJECTS, reason, grown, limit)
    return Finding("calibration", Status.PASSED, said, grown, limit)


def _calibration_gaps(predicted: FloatArray, truth: FloatArray) -> FloatArray:
    """Return for each row what it adds to the expected calibration error, over ranges of equally many rows."""
    edges = np.quantile(predicted, np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS)
    place = np.searchsorted(edges, predicted, side="right")
    gaps = predicted - truth
    return np.asarray(np.sign(np.bincount(place, gaps, CALIBRATION_BINS))[place] * gaps)


def latency(
    champion: "Callable[[pd.DataFrame], Any]",
    challenger: "Callable[[pd.DataFrame], Any]",
    rows: "pd.DataFrame",
    *,
    clock: Callable[[], float],
    limit: float,
) -> Finding:
    """Object where the challenger takes so many times longer; timed in turns, so that a busy machine slows both."""
    few = rows.head(ROWS_AT_ONCE)
    if few.empty:
        return Finding("latency", Status.NOT_KNOWN, "latency is not checked: the hold-out has no rows", limit=limit)
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(-1, ROUNDS):
        for place in (0, 1) if number % 2 else (1, 0):
            start = clock()
            (champion, challenger)[place](few)
            if number >= 0:  # the first round only warms up
                spent[place].append((clock() - start) / len(few))
    first, second = (float(np.median(each)) for each in spent)
    times = second / first if first else np.inf
    said = f"scoring a row takes {1e6 * second:.3g} µs, {times:.2f} times the champion's {1e6 * first:.3g}"
    if times > limit:
        return Finding("latency", Status.OBJECTS, f"{said}; at most {limit:g} times is allowed", times, limit)
    return Finding("latency", Status.PASSED, said, times, limit)


def size(champion: int, challenger: int, policy: RailPolicy) -> Finding:
    """Object where the challenger's file is so many times larger than the champion's, or than anything may be."""
    if not (champion and challenger):
        return Finding("size", Status.NOT_KNOWN, "size is not checked: the registry does not say it", limit=policy.size)
    times = challenger / champion
    said = f"the model has {challenger:,} bytes, {times:.2f} times the champion's {champion:,}"
    if policy.size_bytes is not None and challenger > policy.size_bytes:
        reason = f"{said}; at most {policy.size_bytes:,} are allowed"
        return Finding("size", Status.OBJECTS, reason, float(challenger), float(policy.size_bytes))
    if policy.size is not None and times > policy.size:
        return Finding("size", Status.OBJECTS, f"{said}; at most {policy.size:g} times is allowed", times, policy.size)
    return Finding("size", Status.PASSED, said, times, policy.size)


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
