"""One measured number: a value with its interval, and what it needs to mean something.

Add here what every measure has. Keep formulas out: each task has a file of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from monitoring_pipeline.evaluate.signals import Absence

Costs = Mapping[str, Mapping[str, float]]
"""What a prediction costs, by actual and by predicted class; what is not named costs nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric of one set of outcomes; the value is NaN where the rows do not define it, for the `reason` given.

    part: what it is of, where not of all rows, such as `class=late`. basis: what a row must have to count, in words,
    where more than a label; basis_rows of them there are. counted: what is counted, where not rows.
    """

    name: str
    value: float
    rows: int
    low: float = np.nan
    high: float = np.nan
    unit: str = "1"
    part: str = ""
    basis: str = ""
    basis_rows: int = 0
    counted: str = "labelled rows"
    p_value: float | None = None
    absence: Absence = Absence.UNDEFINED
    reason: str = "the formula divides by zero on these rows"
    detail: dict[str, object] = field(default_factory=dict)
