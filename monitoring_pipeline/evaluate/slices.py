"""The parts of the traffic that a model serves worst, found rather than configured.

Metrics: `performance.worst_slice`, the mean loss of each slice that stands out from the rest, named by its segment such
as `carrier=MQ & temp in [12, 15)`; `performance.slice_worsened`, how much further it stands out than in the reference
rows; `performance.slices_found`, how many there are. Add the loss of a task to `_losses`. Keep formulas out: they
belong in stats.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtr

from monitoring_pipeline.describe.binary_outcomes import CLIP
from monitoring_pipeline.describe.columns import CategoricalBins, Column, ColumnKind, ColumnRole, IntArray
from monitoring_pipeline.describe.groups import AND
from monitoring_pipeline.describe.kernel import (
    LARGEST,
    category_names,
    column_values,
    floats_with_nan,
    row_places,
)
from monitoring_pipeline.describe.log_histogram import LARGEST as LARGEST_LOSS
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task, numbers_of
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.performance import label_absence
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.evaluate.slice_search import Limits, Losses, Slice, search, set_apart
from monitoring_pipeline.stats.intervals import normal_interval, wilson_interval

WIDTH = 1.96
"""Standard errors on either side of a difference: 95 %."""

EXTREME = 0.999
"""Losses beyond this quantile count as this much when slices are compared: one absurd number must not hide them all."""


@dataclass(frozen=True, slots=True)
class SlicePolicy:
    """What is searched and what stands out.

    columns: all features where empty. min_rows: labelled rows of a slice. most: slices that are named.
    max_candidates: pairs of groups that are compared, those of the columns first whose own groups stand out most.
    max_rows: labelled rows that are looked at, evenly drawn from all. alpha: how often a search may name any slice
    where none is worse than the others, rows being independent.
    """

    plan: OutcomePlan = field(default_factory=OutcomePlan)
    columns: tuple[str, ...] = ()
    min_rows: int = 100
    most: int = 5
    max_candidates: int = 20_000
    max_rows: int = 100_000
    alpha: float = 0.05
    min_coverage: float = 0.6


class _Cut(NamedTuple):
    """A column as groups: the group of every row and the names of the groups."""

    column: Column
    codes: IntArray
    names: tuple[str, ...]


def slice_signals(
    reference: Reference, before: pa.Table, rows: pa.Table, *, start: datetime, end: datetime, policy: SlicePolicy
) -> list[Signal]:
    """Return the worst slices of the labelled rows of [start, end), worst first, and how many there are.

    `rows` and the reference rows `before` have the outcome in a column `actual`; both are of one model version.
    """
    if policy.plan.task is Task.RANKING:
        return []
    place = (reference.model, reference.version, start, end)
    time = policy.plan.columns.predicted_at
    loss = _losses(rows, policy.plan)
    (known,) = np.nonzero(np.isfinite(loss.values))
    why = label_absence(OutcomeProfile(rows=rows.num_rows, labelled=len(known)), min_coverage=policy.min_coverage)
    if why is None and len(known) < 2 * policy.min_rows:
        needed = f"{2 * policy.min_rows} are needed (slices.min_rows)"
        why = Absence.TOO_FEW_ROWS, f"{len(known)} labelled rows, {needed}"
    if why:
        return [Signal("performance.slices_found", *place, absence=why[0], reason=why[1], rows=len(known))]
    known = known[np.linspace(0, len(known) - 1, min(len(known), policy.max_rows)).astype(np.int64)]
    rows, loss = rows.take(pa.array(known)), Losses(loss.values[known], loss.wrong)
    cuts, lost = _cuts(reference, rows, policy.columns, time)
    codes, limits = [cut.codes for cut in cuts], Limits(policy.min_rows, policy.max_candidates, policy.alpha)
    capped = loss if loss.wrong else Losses(np.minimum(loss.values, np.quantile(loss.values, EXTREME)), wrong=False)
    striking, candidates = search(codes, capped, limits)
    named = set_apart(striking, codes, capped, limits, most=policy.most)
    detail: dict[str, object] = {"candidates": candidates} | ({"columns_failed": lost} if lost else {})
    said = f"{len(named)} of {candidates} slices stand out from the rest"
    found = [Signal("performance.slices_found", *place, value=len(named), rows=len(known), reason=said, detail=detail)]
    earlier = _losses(before, policy.plan)
    for each in named:
        found += _slice_signals(place, each, cuts, loss, before, earlier, detail, policy)
    return found


def _losses(joined: pa.Table, plan: OutcomePlan) -> Losses:
    """Return 1 for a wrong class, or what the scores cost where no class is served; the size of a residual."""
    nothing = np.full(joined.num_rows, np.nan)
    columns = plan.columns
    served = joined[columns.prediction] if columns.prediction in joined.column_names else None
    if plan.task is Task.REGRESSION:
        size = np.abs(numbers_of(joined["actual"]) - numbers_of(served)) if served is not None else nothing
        return Losses(np.where(size <= LARGEST_LOSS, size, np.nan), wrong=False)
    actual = _classes(joined["actual"], plan)
    if served is not None:
        shown = _classes(served, plan)
        if (shown >= 0).any():
            return Losses(np.where((actual >= 0) & (shown >= 0), actual != shown, np.nan), wrong=True)
    if plan.task is Task.BINARY:
        score = numbers_of(joined[columns.score]) if columns.score in joined.column_names else nothing
        usable = (actual >= 0) & (score >= 0) & (score <= 1)
        return Losses(np.where(usable, np.square(score - actual), np.nan), wrong=False)
    if not plan.classes or not {columns.probabilities.get(name) for name in plan.classes} <= set(joined.column_names):
        return Losses(nothing, wrong=False)
    probable = np.stack([numbers_of(joined[columns.probabilities[name]]) for name in plan.classes])
    chosen = probable[actual, np.arange(joined.num_rows)]
    valid = (actual >= 0) & ((probable >= 0) & (probable <= 1)).all(axis=0)
    return Losses(np.where(valid, -np.log(np.clip(chosen, CLIP, 1.0)), np.nan), wrong=False)


def _classes(column: pa.ChunkedArray, plan: OutcomePlan) -> IntArray:
    """Return the number of every row's class, -1 where it is none of the model's."""
    if plan.task is Task.BINARY:
        numbers = numbers_of(column)
        return np.where((numbers == 0) | (numbers == 1), numbers, -1).astype(np.int64)
    found = pc.index_in(category_names(column), value_set=pa.array(plan.classes, pa.string()))
    return np.asarray(pc.fill_null(found, -1).to_numpy(), dtype=np.int64)


def _cuts(
    reference: Reference, rows: pa.Table, wanted: Sequence[str], time: str | None
) -> tuple[list[_Cut], dict[str, str]]:
    """Return the columns to search, and those that could not be read with the reason."""
    cuts, lost = [], {}
    for column in reference.specs.values():
        asked = column.name in wanted or column.read_from in wanted if wanted else column.role is ColumnRole.FEATURE
        if not asked or column.read_from not in rows.column_names:
            continue
        try:
            cuts.append(_cut(column, rows, time))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one column must not cost the others
            lost[column.name] = f"{type(error).__name__}: {error}"
    return cuts, lost


def _cut(column: Column, rows: pa.Table, time: str | None) -> _Cut:
    name, bins = column.name, column.bins
    found = column_values(rows, column.read_from, column.part, time)
    if isinstance(bins, CategoricalBins):
        known = (*(f"{name}={each}" for each in bins.categories), f"{name} is another known category")
        names = (*known, f"{name} never seen in the reference", f"{name} is missing")
        return _Cut(column, row_places(found, column.kind, bins), names)
    values = floats_with_nan(found, ColumnKind.NUMERIC if column.part else column.kind)
    usable = np.abs(values) <= LARGEST
    groups = bins.groups[np.searchsorted(bins.edges, np.where(usable, values, 0.0), side="right")]
    ranges = [bins.describe_group(group) for group in range(bins.group_count)]
    named = tuple(f"{name}={each[2:]}" if each.startswith("= ") else f"{name} in {each}" for each in ranges)
    unseen = (f"{name} never seen in the reference", f"{name} is missing or unusable")
    return _Cut(column, np.where(usable, groups, bins.group_count + 1), (*named, *unseen))


def _slice_signals(
    place: tuple[str, str, datetime, datetime],
    found: Slice,
    cuts: Sequence[_Cut],
    loss: Losses,
    before: pa.Table,
    earlier: Losses,
    detail: dict[str, object],
    policy: SlicePolicy,
) -> Iterator[Signal]:
    name = AND.join(cuts[at].names[group] for at, group in found.groups)
    unit = "target" if policy.plan.task is Task.REGRESSION else "1"
    inside = found.among([cut.codes for cut in cuts])
    own, rest = loss.values[inside], loss.values[~inside]
    value, gap = float(own.mean()), float(own.mean() - rest.mean())
    low, high = wilson_interval(own.sum(), len(own)) if loss.wrong else normal_interval(value, own.var(), rows=len(own))
    time = policy.plan.columns.predicted_at
    was_inside = found.among({at: _cut(cuts[at].column, before, time).codes for at, _ in found.groups})
    known = np.isfinite(earlier.values)
    past, past_rest = earlier.values[known & was_inside], earlier.values[known & ~was_inside]
    enough = min(len(past), len(past_rest)) >= policy.min_rows
    yield Signal(
        "performance.worst_slice", *place, value=value, low=float(low), high=float(high), rows=len(own), segment=name,
        unit=unit, p_value=found.p_value, baseline_value=float(past.mean()) if enough else None,
        reason=f"mean loss {value:.3g} in the {len(own)} rows with {name}, {rest.mean():.3g} in all others",
        detail=detail | {"rest": float(rest.mean()), "share": len(own) / len(loss.values)},
    )  # fmt: skip
    if not enough:
        reason = f"{len(past)} labelled reference rows with {name}, {policy.min_rows} are needed (slices.min_rows)"
        yield Signal("performance.slice_worsened", *place, absence=Absence.NO_REFERENCE, reason=reason, segment=name)
        return
    gap_before = float(past.mean() - past_rest.mean())
    error = float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in (own, rest, past, past_rest))))
    # It was chosen for its losses now: as many comparisons as when it was found.
    p_value = min(float(ndtr((gap_before - gap) / error)) * found.comparisons, 1.0) if error else 1.0
    yield Signal(
        "performance.slice_worsened", *place, value=gap - gap_before, low=gap - gap_before - WIDTH * error,
        high=gap - gap_before + WIDTH * error, rows=len(own), segment=name, unit=unit, p_value=p_value,
        reason=f"losses with {name} are {gap:+.3g} from the rest, {gap_before:+.3g} in the reference",
    )  # fmt: skip
