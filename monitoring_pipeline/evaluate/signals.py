"""The Signal: one metric value of one window, or the reason why there is none.

Add a metric by naming it `<report>.<metric>` in the file of its report. Keep thresholds out: they belong in judge.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from monitoring_pipeline.capture.windows import HOUR, window_name
from monitoring_pipeline.describe.hours import hours_before_first

DESCRIBED_SHARE = 0.98
"""A trailing window with fewer of its hours described than this is still warming up.

A day must be whole and a week may lack three hours: a week without its Sunday has a drift of weekdays.
"""


TRAINING = "training"
"""The baseline of a signal that is held against the reference rows of its model version."""


class Absence(StrEnum):
    """Why a signal has no value. An absent value is unknown, never healthy."""

    EMPTY_HOUR = "empty_hour"  # no prediction was logged in the window
    TOO_FEW_ROWS = "too_few_rows"
    NO_LABELS_YET = "no_labels_yet"
    LABELS_IMMATURE = "labels_immature"  # some labels, but too small a share of the window's predictions
    ONE_CLASS_ONLY = "one_class_only"  # AUC and the like need both classes
    WARMING_UP = "warming_up"  # a trailing window reaches back before the first profile
    NO_REFERENCE = "no_reference"
    MISSING_COLUMN = "missing_column"
    UNDEFINED = "undefined"  # the formula divides by zero on these rows
    SUPPRESSED = "suppressed"  # so few rows that a number would say something of one of them
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Signal:
    """One value of one metric. Identity is everything but the measurement: see `key`.

    `rows` is the n behind the value; `low` and `high` bound it (95 % interval unless the metric says otherwise).
    `span` names a window that is not a length of time, such as `last_10000` predictions.
    Absent values carry `value=None`, an `absence` and a `reason` in words.
    """

    metric: str
    model: str
    version: str
    window_start: datetime
    window_end: datetime
    value: float | None = None
    absence: Absence | None = None
    reason: str = ""
    unit: str = "1"
    rows: int = 0
    low: float | None = None
    high: float | None = None
    column: str = ""
    segment: str = ""
    baseline: str = TRAINING
    baseline_value: float | None = None
    p_value: float | None = None
    span: str = ""
    detail: dict[str, object] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if (self.value is None) == (self.absence is None):
            raise ValueError(f"{self.metric} of {self.model}: a signal has a value or an absence, exactly one of them")

    @property
    def key(self) -> tuple[str, str, str, datetime, datetime, str, str, str, str]:
        """Identity: a recomputation with the same key replaces the earlier signal."""
        return (
            self.metric,
            self.model,
            self.version,
            self.window_start,
            self.window_end,
            self.column,
            self.segment,
            self.baseline,
            self.span,
        )

    @property
    def length(self) -> timedelta:
        return self.window_end - self.window_start

    @property
    def window(self) -> str:
        """The window as rules name it: `1h`, `24h`, `7d`, `last_10000`."""
        return self.span or window_name(self.length)


def warming_up(
    rows: Mapping[datetime, int], traffic: Mapping[datetime, int], *, start: datetime, length: int
) -> tuple[Absence, str] | None:
    """Return why a window of `length` hours from `start` is not yet one of this version, or None when it is.

    `rows` counts the version's predictions in the described hours of the window, `traffic` those of all versions.
    """
    if len(rows) < DESCRIBED_SHARE * length:
        return Absence.WARMING_UP, f"{len(rows)} of {length} hours described"
    passed = hours_before_first(rows, traffic, start=start, end=start + length * HOUR)
    if any(rows.values()) and passed > (1 - DESCRIBED_SHARE) * length:
        return Absence.WARMING_UP, f"the version took over after {passed} hours of the window had been served"
    return None
