"""Drift judged report by report: the more columns are looked at, the rarer one of them must be to count.

A family is what one report shows side by side: every column and segment of one metric, window and baseline. Add
another correction for many comparisons here. Keep formulas out: they belong in stats.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from monitoring_pipeline.describe.columns import FloatArray
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.calibration import BlockModel, Calibrations, limits, p_values
from monitoring_pipeline.judge.thresholds import RATIOS, JudgingPolicy, Thresholds
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.stats.corrections import benjamini_hochberg, benjamini_yekutieli

CRITICAL_RARITY = 10
"""A critical drift is this many times as rare as one that warns."""


def judge_by_p_value(signals: Sequence[Signal], *, rate: float | None) -> list[Verdict]:
    """Return the verdicts on tests that have no threshold but their p-values, together one family.

    Without a rate they are informational.
    """
    adjusted = benjamini_hochberg([math.nan if each.p_value is None else each.p_value for each in signals])
    return [_by_p_value(signal, float(q), rate) for signal, q in zip(signals, adjusted, strict=True)]


def _by_p_value(signal: Signal, q: float, rate: float | None) -> Verdict:
    if signal.value is None or math.isnan(signal.value):
        return Verdict(signal, Level.UNKNOWN, None, "none", signal.reason or "the value is not a number")
    if rate is None or math.isnan(q):
        return Verdict(signal, Level.OK, None, "none", "informational: it confirms other evidence")
    level = Level.WARNING if q <= rate else Level.OK
    return Verdict(signal, level, None, "null_distribution", f"corrected p = {q:.3g}, {rate:.2g} is allowed", q)


def family_of(signal: Signal) -> tuple[object, ...]:
    """Return what the signals of one report have in common."""
    return signal.metric, signal.version, signal.window_start, signal.window_end, signal.span, signal.baseline


def judge_families(signals: Sequence[Signal], calibrations: Calibrations, policy: JudgingPolicy) -> list[Verdict]:
    """Return the verdicts on drift signals that have a value and a band, in the same order."""
    families = defaultdict(list)
    for place, signal in enumerate(signals):
        families[family_of(signal)].append(place)
    verdicts: dict[int, Verdict] = {}
    for places in families.values():
        judged = _judge_family([signals[place] for place in places], calibrations, policy)
        verdicts.update(zip(places, judged, strict=True))
    return [verdicts[place] for place in range(len(signals))]


class _Step(NamedTuple):
    """What a report asks of a drift for a level: the band, how rare it is by itself, and how far out that lies.

    `limits` are those of the reference's own blocks, one for each signal; -inf where it has none.
    """

    level: Level
    floor: float
    rate: float
    rarity: float
    limits: Sequence[float]


def _judge_family(signals: Sequence[Signal], calibrations: Calibrations, policy: JudgingPolicy) -> list[Verdict]:
    band = policy.bands[signals[0].metric]
    models = [calibrations.of(signal) if policy.calibrated else None for signal in signals]
    sizes = [_size(signal) for signal in signals]
    p_values = _p_values(signals, np.array(sizes), models, band)
    adjusted = (benjamini_yekutieli if policy.dependent else benjamini_hochberg)(p_values)
    rate = policy.alarm_rate(signals[0].length, calibrated=None not in models)
    steps = []
    for level, floor, allowed in _levels(band, rate):
        rarity = _rarity(adjusted, allowed, policy)
        steps.append(_Step(level, floor, allowed, rarity, limits(models, rarity).tolist()))
    rows = zip(signals, sizes, p_values.tolist(), adjusted.tolist(), models, strict=True)
    return [_verdict(place, _Member(*row, band.origin), steps) for place, row in enumerate(rows)]


def _levels(band: Thresholds, rate: float) -> Iterator[tuple[Level, float, float]]:
    if band.critical is not None:
        yield Level.CRITICAL, band.critical, rate / CRITICAL_RARITY
    yield Level.WARNING, band.warning, rate


def _p_values(
    signals: Sequence[Signal], sizes: FloatArray, models: Sequence[BlockModel | None], band: Thresholds
) -> FloatArray:
    """Return how rare each value is without change, by sampling and by the reference's blocks, whichever is commoner.

    Below the band nothing counts as change, however significant: the p-value is 1.
    """
    sampling = np.array([0.0 if signal.p_value is None else signal.p_value for signal in signals])
    found = np.where(sizes > band.warning, np.fmax(sampling, np.nan_to_num(p_values(models, sizes))), 1.0)
    if band.needs_calibration:
        found[[each.p_value is None and model is None for each, model in zip(signals, models, strict=True)]] = np.nan
    return found


def _shrunk(signal: Signal) -> bool:
    """Whether it is a ratio below 1, whose band holds downwards."""
    return signal.metric in RATIOS and signal.value is not None and signal.value < 1


def _size(signal: Signal) -> float:
    """Return how far out the value is: what halved has moved as far as what doubled."""
    value = math.nan if signal.value is None else float(signal.value)
    if not _shrunk(signal):
        return value
    return 1 / value if value > 0 else math.inf


def _rarity(adjusted: np.ndarray, rate: float, policy: JudgingPolicy) -> float:
    """Return the p-value at which a column of this report counts as drifted: the step the correction stopped at."""
    found, tested = int((adjusted <= rate).sum()), max(int(np.isfinite(adjusted).sum()), 1)
    harder = sum(1 / rank for rank in range(1, tested + 1)) if policy.dependent else 1.0
    return rate * max(found, 1) / (tested * harder)


class _Member(NamedTuple):
    """A signal in its report; `q` is its p-value corrected for all that the report looks at."""

    signal: Signal
    size: float
    p: float
    q: float
    model: BlockModel | None
    origin: str

    def threshold(self, floor: float, limit: float) -> tuple[float, str]:
        """Return the larger of the band and the calibrated limit, and which of the two it is."""
        return (limit, "calibrated") if limit > floor else (floor, self.origin)

    def shown(self, limit: float) -> float:
        """Return the threshold on the side of 1 on which a ratio lies."""
        return 1 / limit if limit > 0 and _shrunk(self.signal) else limit


def _verdict(place: int, member: _Member, steps: Sequence[_Step]) -> Verdict:
    signal, q = member.signal, member.q
    if not all(number is None or math.isfinite(number) for number in (signal.value, signal.p_value)):
        return Verdict(signal, Level.UNKNOWN, None, "none", "the value or its p-value is not a number")
    if math.isnan(q):
        reason = "informational: neither the reference nor theory says how large it is without change"
        return Verdict(signal, Level.OK, None, "none", reason)
    for step in steps:
        if member.size > step.floor and q <= step.rate:
            limit, origin = member.threshold(step.floor, step.limits[place])
            return Verdict(signal, step.level, member.shown(limit), origin, _said(member, step.level, limit, origin), q)
    warning = steps[-1]
    limit, origin = member.threshold(warning.floor, warning.limits[place])
    if member.size <= limit:
        return Verdict(signal, Level.OK, member.shown(limit), origin, "within the threshold", q)
    reason = f"within sampling noise: p = {member.p:.3g}, {warning.rarity:.2g} needed, with {signal.rows} rows"
    return Verdict(signal, Level.OK, member.shown(limit), "null_distribution", reason, q)


def _said(member: _Member, level: Level, limit: float, origin: str) -> str:
    blocks = f" on {member.model.independent:.3g} blocks" if origin == "calibrated" and member.model else ""
    side = "below" if _shrunk(member.signal) else "above"
    return f"{member.signal.value:.4g} is {side} the {level} threshold {member.shown(limit):.4g} ({origin}{blocks})"


def effective_rows(signal: Signal, calibrations: Calibrations) -> float | None:
    """Return how many independent rows a window is worth, from how far the reference's own blocks lie apart."""
    blocks = calibrations.of(signal)
    if blocks is None or not math.isfinite(blocks.inflation):
        return None
    return signal.rows / blocks.inflation
