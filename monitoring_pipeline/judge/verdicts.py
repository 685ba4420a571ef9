"""The Verdict on one signal, and the level scale every decision uses.

Add a level here only if it changes what a person does. Keep formulas out: signals arrive measured.
"""

from dataclasses import dataclass
from enum import StrEnum

from monitoring_pipeline.evaluate.signals import Signal


class Level(StrEnum):
    """How bad it is. UNKNOWN is not OK: it neither raises nor clears an alarm."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Order of badness among the known levels; UNKNOWN is -1."""
        return {"unknown": -1, "ok": 0, "warning": 1, "critical": 2}[self.value]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a signal means: its level, the threshold it was held against and where that came from.

    q_value: the p-value corrected for all that was looked at in the same report, where there is one.
    """

    signal: Signal
    level: Level
    threshold: float | None
    threshold_origin: str  # "calibrated", "textbook", "null_distribution", "baseline", "absolute", "none"
    reason: str
    q_value: float | None = None
