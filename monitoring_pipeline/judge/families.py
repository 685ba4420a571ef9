"""Drift judged report by report: the more columns are looked at, the rarer one of them must be to count.

A family is what one report shows side by side: every column and segment of one metric, window and baseline. Add
another correction for many comparisons here. Keep formulas out: they belong in stats.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.calibration import BlockModel, Calibrations
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
    return signal.metric, signal.version, signal.window_end, signal.window, signal.baseline


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


@dataclass(frozen=True, slots=True)
class _Member:
    """A signal, its band, and how rare its value is without change: by sampling alone, and by the reference's blocks.

    Below the band nothing counts as change, however significant: the p-value is 1.
    """

    signal: Signal
    band: Thresholds
    blocks: BlockModel | None

    @property
    def value(self) -> float:
        return float(self.signal.value if self.signal.value is not None else math.nan)

    @property
    def shrunk(self) -> bool:
        """Whether it is a ratio below 1, whose band holds downwards."""
        return self.signal.metric in RATIOS and self.value < 1

    @property
    def size(self) -> float:
        """How far out the value is: what halved has moved as far as what doubled."""
        if not self.shrunk:
            return self.value
        return 1 / self.value if self.value > 0 else math.inf

    @property
    def p_value(self) -> float:
        known = [self.signal.p_value] if self.signal.p_value is not None else []
        known += [self.blocks.p_value(self.size)] if self.blocks is not None else []
        if not known and self.band.needs_calibration:
            return math.nan
        return max(known, default=0.0) if self.size > self.band.warning else 1.0


def _judge_family(signals: Sequence[Signal], calibrations: Calibrations, policy: JudgingPolicy) -> list[Verdict]:
    members = [
        _Member(signal, policy.bands[signal.metric], calibrations.of(signal) if policy.calibrated else None)
        for signal in signals
    ]
    adjust = benjamini_yekutieli if policy.dependent else benjamini_hochberg
    adjusted = adjust([member.p_value for member in members])
    rate = policy.alarm_rate(signals[0].length, calibrated=all(member.blocks is not None for member in members))
    warning, critical = (_rarity(adjusted, allowed, policy) for allowed in (rate, rate / CRITICAL_RARITY))
    return [_verdict(member, float(q), rate, warning, critical) for member, q in zip(members, adjusted, strict=True)]


def _rarity(adjusted: np.ndarray, rate: float, policy: JudgingPolicy) -> float:
    """Return the p-value at which a column of this report counts as drifted: the step the correction stopped at."""
    found, tested = int((adjusted <= rate).sum()), max(int(np.isfinite(adjusted).sum()), 1)
    harder = sum(1 / rank for rank in range(1, tested + 1)) if policy.dependent else 1.0
    return rate * max(found, 1) / (tested * harder)


def _verdict(member: _Member, q: float, rate: float, warning_rarity: float, critical_rarity: float) -> Verdict:
    signal, band, value = member.signal, member.band, member.value
    if not all(number is None or math.isfinite(number) for number in (value, signal.p_value)):
        return Verdict(signal, Level.UNKNOWN, None, "none", "the value or its p-value is not a number")
    if math.isnan(q):
        reason = "informational: neither the reference nor theory says how large it is without change"
        return Verdict(signal, Level.OK, None, "none", reason)
    levels = [(Level.WARNING, band.warning, warning_rarity, rate)]
    if band.critical is not None:
        levels.insert(0, (Level.CRITICAL, band.critical, critical_rarity, rate / CRITICAL_RARITY))
    for level, floor, rarity, allowed in levels:
        limit, origin = _threshold(member, floor, rarity)
        if member.size > floor and q <= allowed:
            return Verdict(signal, level, _shown(member, limit), origin, _said(member, level, limit, origin), q)
    limit, origin = _threshold(member, band.warning, warning_rarity)
    if member.size <= limit:
        return Verdict(signal, Level.OK, _shown(member, limit), origin, "within the threshold", q)
    reason = f"within sampling noise: p = {member.p_value:.3g}, {warning_rarity:.2g} needed, with {signal.rows} rows"
    return Verdict(signal, Level.OK, _shown(member, limit), "null_distribution", reason, q)


def _threshold(member: _Member, floor: float, rarity: float) -> tuple[float, str]:
    """Return the larger of the band and the calibrated limit, and which of the two it is."""
    limit = member.blocks.limit(rarity) if member.blocks is not None else -math.inf
    return (limit, "calibrated") if limit > floor else (floor, member.band.origin)


def _shown(member: _Member, limit: float) -> float:
    """Return the threshold on the side of 1 on which a ratio lies."""
    return 1 / limit if member.shrunk and limit > 0 else limit


def _said(member: _Member, level: Level, limit: float, origin: str) -> str:
    blocks = f" on {member.blocks.independent:.3g} blocks" if origin == "calibrated" and member.blocks else ""
    side = "below" if member.shrunk else "above"
    return f"{member.value:.4g} is {side} the {level} threshold {_shown(member, limit):.4g} ({origin}{blocks})"


def effective_rows(signal: Signal, calibrations: Calibrations) -> float | None:
    """Return how many independent rows a window is worth, from how far the reference's own blocks lie apart."""
    blocks = calibrations.of(signal)
    if blocks is None or not math.isfinite(blocks.inflation):
        return None
    return signal.rows / blocks.inflation
